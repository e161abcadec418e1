"""Turn a trained network into plain data and arrays, and back.

pickle, joblib, deepcopy and `save_model` keep this form. A network of a named
architecture or backbone is built again from its blueprint. The network of a callable
or of a ``.keras`` file is built again from Keras' own configuration, so that loading
never calls the function nor looks for the file.
"""

import dataclasses
import json

import numpy as np

from skimgclf.exceptions import first_line
from skimgclf.models._dense import is_dense
from skimgclf.models._networks.architectures import build_network
from skimgclf.models._networks.kinds import is_rebuilt_by_name
from skimgclf.models._start import keras
from skimgclf.models._training.loss import HARD_LOSS
from skimgclf.models._training.optimizer import compile_network, copy_without_schedule
from skimgclf.models._training.optimizer_copy import (
    copy_optimizer,
    pack_optimizer,
    unpack_optimizer,
)
from skimgclf.models._training.schedule import list_variables
from skimgclf.models._training.seeds import seeded
from skimgclf.models._training.trained import NetworkHolder, Training

_FORMAT = 2


@dataclasses.dataclass(frozen=True)
class PackedNetwork:
    """A network as plain data and arrays.

    Attributes
    ----------
    description, arrays, blueprint
        As `pack_network` returned and was given them.
    optimizer : keras.optimizers.Optimizer or None
        A new one, like the optimizer that was packed but without a RateSchedule.
    settings : OptimizerSettings or None
        The settings that the optimizer was made from.
    loss : str, default="sparse_categorical_crossentropy"
        Keras' name of the loss to compile the network with.
    """

    description: dict
    arrays: dict
    blueprint: dict | None = None
    optimizer: object = None
    settings: object = None
    loss: str = HARD_LOSS

    def __post_init__(self):
        saved_in = self.description.get("format")
        if saved_in != _FORMAT:
            raise ValueError(
                f"This model was saved in format {saved_in!r}, and this version of "
                f"skimgclf reads format {_FORMAT}. Load it with the version of "
                "skimgclf that saved it, or fit it again."
            )

    def list_weights(self):
        """List the values of all variables of the network."""
        found = {name for name in self.arrays if name.startswith("network/")}
        names = [f"network/{i}" for i in range(len(found))]
        if found != set(names):
            raise ValueError("the weights of the network don't fit its layers")
        return [self.arrays[name] for name in names]

    def without_optimizer(self):
        """Return the same network without an optimizer."""
        arrays = {
            name: array
            for name, array in self.arrays.items()
            if not name.startswith("optimizer/")
        }
        return dataclasses.replace(self, arrays=arrays, optimizer=None)

    def unpack(self):
        """Build the network: it gives the same outputs, bit for bit.

        Returns
        -------
        network : keras.Model
            Compiled if there is an optimizer.
        """
        description = self.description
        # One that serves this network only, however often it is built.
        optimizer = self.optimizer and copy_optimizer(self.optimizer)
        with seeded(0):  # the weights drawn here are replaced
            if description["config"] is None:
                network = _rebuild(description["dtype_policy"], self.blueprint)
            else:
                network = keras.models.model_from_json(description["config"])
            self._assign("network", network.variables)
            if optimizer is not None:
                compile_network(network, optimizer, self.settings, loss=self.loss)
                self._assign("optimizer", list_variables(optimizer))
        return network

    def _assign(self, kind, variables):
        """Compare all shapes and dtypes, and copy the values then."""
        found = {
            name: array for name, array in self.arrays.items() if name.startswith(kind)
        }
        expected = {
            f"{kind}/{i}": (tuple(each.shape), each.dtype.replace("bfloat", "uint"))
            for i, each in enumerate(variables)
        }
        if expected != {name: (a.shape, a.dtype.name) for name, a in found.items()}:
            raise ValueError(
                f"the weights of the {kind}, saved with Keras "
                f"{self.description['keras']}, don't fit what is built here, with "
                f"Keras {keras.__version__} and floatx {keras.config.floatx()!r}. Load "
                "the model with the versions and the floatx that saved it, or fit it "
                "again"
            )
        for i, variable in enumerate(variables):
            values = found[f"{kind}/{i}"]
            if variable.dtype == "bfloat16":
                values = values.view(variable.numpy().dtype)
            variable.assign(values)


def pack_network(network, blueprint=None, optimizer=None):
    """Turn a network into plain data and arrays.

    Parameters
    ----------
    network : keras.Model
        A trained network.
    blueprint : dict, default=None
        The arguments of `build_network` that made it; None for another network.
    optimizer : keras.optimizers.Optimizer, default=None
        The network's optimizer, to keep its state as well.

    Returns
    -------
    description : dict of str to object
        Values that JSON can carry.
    arrays : dict of str to ndarray
        All variables: weights, means of batch normalization, states of generators.

    Raises
    ------
    ValueError
        If Keras can't build the network again from its configuration.
    """
    is_named = blueprint is not None and is_rebuilt_by_name(blueprint["architecture"])
    description = {
        "format": _FORMAT,
        "keras": keras.__version__,
        "dtype_policy": network.dtype_policy.name,
        "config": None,
    }
    # All variables: get_weights() leaves out the state of dropout's generators.
    arrays = _copy_values("network", network.variables)
    if not is_named:
        try:
            description["config"] = _describe(network)
            # Keras writes layers that it can't read again: better to know it now.
            PackedNetwork(description, arrays).unpack()
        except Exception as error:  # of every kind
            raise ValueError(
                "This network can't be saved, since Keras couldn't load it again. "
                "Register the classes of its layers with "
                "keras.saving.register_keras_serializable, and write a Lambda layer "
                f"as such a class. Keras says: {first_line(error)}"
            ) from error
    if optimizer is not None:
        arrays |= _copy_values("optimizer", list_variables(optimizer))
    return description, arrays


def pack_trained(network, blueprint, settings, *, with_optimizer=True):
    """Turn a trained network into plain data and arrays.

    Parameters
    ----------
    network : keras.Model
        Trained; perhaps without an optimizer, as a network that was loaded.
    blueprint : dict
        The arguments of `build_network` that made it.
    settings : OptimizerSettings
        The settings that the optimizer was made from.
    with_optimizer : bool, default=True
        Whether to keep the state of the optimizer.

    Returns
    -------
    packed : PackedNetwork
    """
    optimizer = getattr(network, "optimizer", None) if with_optimizer else None
    description, arrays = pack_network(network, blueprint, optimizer)
    if optimizer is None:
        return PackedNetwork(description, arrays, blueprint)
    optimizer = copy_without_schedule(optimizer)
    return PackedNetwork(
        description, arrays, blueprint, optimizer, settings, network.loss
    )


def pack_training(training, *, with_optimizer):
    """Turn the network of a training into plain data and arrays.

    Parameters
    ----------
    training : Training
        Its network may not have been built yet.
    with_optimizer : bool
        Whether to keep the state of the optimizer.

    Returns
    -------
    packed : PackedNetwork
    """
    packed = training.holder.packed
    if packed is not None:
        return packed if with_optimizer else packed.without_optimizer()
    return pack_trained(
        training.network,
        training.blueprint,
        training.settings,
        with_optimizer=with_optimizer,
    )


def pack_state(state, *, with_optimizer):
    """Turn the attributes of a classifier into ones that can be pickled.

    Parameters
    ----------
    state : dict of str to object
        The attributes; left as they are.
    with_optimizer : bool
        Whether to keep the state of the optimizer.

    Returns
    -------
    packed : dict of str to object
        For `unpack_state`.
    """
    packed = {**state}
    given = packed["optimizer"] = pack_optimizer(state.get("optimizer"))
    if "_training" not in state:
        return packed
    training = packed.pop("_training")
    settings = training.settings
    # One object stays one, since a training goes on with the same optimizer only.
    is_same = settings.optimizer is state.get("optimizer")
    used = given if is_same else pack_optimizer(settings.optimizer)
    network = pack_training(training, with_optimizer=with_optimizer)
    packed["_packed"] = {
        "training": {
            **vars(training),
            "holder": None,
            "settings": dataclasses.replace(settings, optimizer=used),
        },
        "network": (network.description, network.arrays),
        "optimizer": pack_optimizer(network.optimizer),
    }
    del packed["_predictor"]
    return packed


def unpack_state(packed):
    """Turn the result of `pack_state`, perhaps out of a pickle, back into attributes.

    Parameters
    ----------
    packed : dict of str to object
        Left as it is.

    Returns
    -------
    state : dict of str to object
        The attributes.
    training : Training or None
        The training, if the classifier was fitted.
    """
    state = {**packed, "optimizer": unpack_optimizer(packed.get("optimizer"))}
    parts = state.pop("_packed", None)
    if parts is None:
        return state, None
    training, settings = parts["training"], parts["training"]["settings"]
    used = unpack_optimizer(settings.optimizer)
    settings = dataclasses.replace(settings, optimizer=used)
    optimizer = unpack_optimizer(parts["optimizer"])
    packed = PackedNetwork(
        *parts["network"], training["blueprint"], optimizer, settings
    )
    holder = NetworkHolder(packed=packed)
    return state, Training(**{**training, "holder": holder, "settings": settings})


def needs_tensorflow(packed):
    """Tell whether TensorFlow is needed to unpack a state and to predict with it.

    Parameters
    ----------
    packed : dict of str to object
        From `pack_state`, perhaps through a pickle.

    Returns
    -------
    is_needed : bool
        False for dense networks that NumPy computes, with the name of an optimizer.
    """
    optimizers, parts = [packed.get("optimizer")], packed.get("_packed")
    if parts is not None:
        training, (description, _) = parts["training"], parts["network"]
        if not is_dense(training["blueprint"], description["dtype_policy"]):
            return True
        optimizers += [training["settings"].optimizer, parts["optimizer"]]
    return not all(each is None or isinstance(each, str) for each in optimizers)


def _describe(network):
    config = json.loads(network.to_json())
    config.pop("compile_config", None)  # the optimizer is kept apart
    return json.dumps(config)


def _rebuild(dtype_policy, blueprint):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy)
    try:
        # The weights of a backbone are among the variables.
        return build_network(**{**blueprint, "weights": None})
    finally:
        keras.config.set_dtype_policy(policy)


def _copy_values(kind, variables):
    return {f"{kind}/{i}": _copy_value(v) for i, v in enumerate(variables)}


def _copy_value(variable):
    # safetensors stores an array that isn't C-contiguous wrongly, silently.
    values = np.asarray(variable.numpy(), order="C")
    # NumPy has no bfloat16, and safetensors gives none back.
    return values.view("uint16") if variable.dtype == "bfloat16" else values
