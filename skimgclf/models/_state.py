"""A trained network as plain data: what pickle, joblib and deepcopy keep.

A network of a named architecture is kept as what it was built from and its numbers,
and built anew on load; that is a third of the size of a Keras file and does not depend
on Keras' file format. The network of a callable or of a ``.keras`` file is kept as the
bytes of such a file, so that loading never calls the function nor looks for the file.
"""

import keras
import numpy as np

from skimgclf.models._keras_file import (
    copy_network,
    dump_keras_bytes,
    list_generators,
    load_keras_bytes,
)
from skimgclf.models._networks.architectures import build_network
from skimgclf.models._networks.kinds import kind_of
from skimgclf.models._training.optimizer import compile_network
from skimgclf.models._training.seeds import seeded

_FORMAT = 1


def pack_network(network, blueprint, optimizer=None):
    """Turn a network into plain data.

    Parameters
    ----------
    network : keras.Model
        A trained network.
    blueprint : dict
        The arguments of `build_network` that made it.
    optimizer : keras.optimizers.Optimizer, default=None
        The network's optimizer, to keep what it has learnt as well.

    Returns
    -------
    packed : dict
        Of numbers, strings, arrays and bytes.
    """
    packed = {
        "format": _FORMAT,
        "keras": keras.__version__,
        "dtype_policy": network.dtype_policy.name,
    }
    if optimizer is not None:
        packed["optimizer"] = {
            "class": type(optimizer),
            "config": optimizer.get_config(),
            "variables": _copy_values(optimizer),
        }
    if not kind_of(blueprint["architecture"]).is_rebuilt_by_name:
        generators = [np.array(state) for state in list_generators(network)]
        return {**packed, "file": _write_keras_bytes(network), "generators": generators}
    return {**packed, "blueprint": blueprint, "variables": _copy_values(network)}


def unpack_network(packed):
    """Turn plain data back into a network.

    Parameters
    ----------
    packed : dict
        Made by `pack_network`.

    Returns
    -------
    network : keras.Model
        Gives the same outputs, bit for bit; compiled if an optimizer was kept.
    """
    if packed.get("format") != _FORMAT:
        raise ValueError(
            f"This model was saved in format {packed.get('format')!r}, and this "
            f"version of skimgclf reads format {_FORMAT}. Load it with the version of "
            "skimgclf that saved it, or fit it again."
        )
    if "file" in packed:
        network = load_keras_bytes(packed["file"])
        _assign_values(list_generators(network), packed["generators"])
    else:
        network = _rebuild(packed)
    if "optimizer" in packed:
        kept = packed["optimizer"]
        compile_network(network, kept["class"].from_config(kept["config"]))
        _assign_values(network.optimizer.variables, kept["variables"])
    return network


def _rebuild(packed):
    policy = keras.config.dtype_policy()
    with seeded(0):  # the weights drawn here are replaced
        keras.config.set_dtype_policy(packed["dtype_policy"])
        try:
            # The weights of a backbone are among the variables.
            network = build_network(**{**packed["blueprint"], "weights": None})
        finally:
            keras.config.set_dtype_policy(policy)
    shapes = [tuple(variable.shape) for variable in network.variables]
    if shapes != [values.shape for values in packed["variables"]]:
        raise ValueError(
            f"This model's weights, saved with Keras {packed['keras']}, don't fit the "
            f"network that is built here, with Keras {keras.__version__}, for "
            f"{packed['blueprint']}. Load it with the versions that saved it, or fit "
            "it again."
        )
    _assign_values(network.variables, packed["variables"])
    return network


def _copy_values(owner):
    # All variables: get_weights() leaves out the state of dropout's generators.
    return [variable.numpy() for variable in owner.variables]


def _assign_values(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _write_keras_bytes(network):
    try:
        # A copy, since Keras writes the optimizer of a compiled network, whatever it is
        # told. It also writes layers that it can't read again: better to know it now.
        content = dump_keras_bytes(copy_network(network))
        load_keras_bytes(content)
    except Exception as error:
        raise ValueError(
            "The network of this architecture can't be saved, since Keras "
            "couldn't load it again. Register the classes of its layers with "
            "keras.saving.register_keras_serializable, and write a Lambda layer as "
            f"such a class. Keras says: {str(error).splitlines()[0]}"
        ) from error
    return content
