"""Turn a fitted classifier into plain values and arrays, and back."""

import dataclasses
import inspect
import math

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skimgclf._snapshot import detach
from skimgclf._terminal import escape_line
from skimgclf._validation import check_keys
from skimgclf.models._checks.parameters import (
    TABLE,
    check_builder_parameters,
    check_parameters,
)
from skimgclf.models._classifier import KerasImageClassifier
from skimgclf.models._dense import is_dense
from skimgclf.models._networks.architectures import build_network, fill_in_sizes
from skimgclf.models._networks.augmentation import plan_augmentation
from skimgclf.models._networks.kinds import Kind, is_rebuilt_by_name, kind_of
from skimgclf.models._networks.sizes import count_weights
from skimgclf.models._state import PackedNetwork, pack_training
from skimgclf.models._training.optimizer import OptimizerSettings
from skimgclf.models._training.trained import NetworkHolder, Training
from skimgclf.saving._keras_objects import build_object, describe_object
from skimgclf.saving._learnt import check_classes, check_feature_names

_BLUEPRINT = inspect.signature(build_network).parameters.keys()
_LEARNT = {
    "best_iter",
    "blueprint",
    "classes",
    "feature_names",
    "history",
    "image_shape",
    "network",
    "network_optimizer",
    "order",
    "settings",
}
_DTYPE_POLICIES = {
    f"{mixed}{dtype}" for mixed in ("", "mixed_") for dtype in ("float16", "bfloat16")
} | {"float32", "float64"}


class UntrustedNetworkError(ValueError):
    """A file holds a network that Keras must build from its own configuration."""


class SavedArchitecture:
    """Stands for the function that built a saved network, which isn't kept.

    Parameters
    ----------
    name : str
        Of the function, with its module.
    """

    def __init__(self, name):
        self.name = name

    def __call__(self, image_shape):
        """Refuse to build: a file holds no code."""
        raise ValueError(
            f"This classifier was loaded by load_model, and the function {self.name!r} "
            "that built its network isn't in the file. It predicts and can be trained "
            "further; to fit a new network, call set_params(architecture=...) with the "
            "function."
        )

    def __eq__(self, other):
        return type(other) is SavedArchitecture and other.name == self.name

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f"<function {escape_line(self.name)}, not saved>"


def describe_classifier(classifier, *, include_optimizer=False):
    """Turn a fitted classifier into plain values and arrays.

    Parameters
    ----------
    classifier : KerasImageClassifier
        Fitted.
    include_optimizer : bool, default=False
        Whether to keep the state of the optimizer.

    Returns
    -------
    parameters : dict of str to object
        Objects of Keras and functions are replaced by dicts.
    learnt : dict of str to object
        What fit has learnt, but for the weights.
    arrays : dict of str to ndarray
        The weights.
    """
    check_is_fitted(
        classifier,
        msg="This %(name)s is not fitted yet. Call fit before it is saved.",
    )
    classifier = detach(classifier)  # of one fit, whatever other threads do
    parameters = classifier.get_params(deep=False)
    check_parameters(parameters)
    if parameters["callbacks"] not in (None, []):
        expected = (
            "None to be saved, since callbacks are code: call "
            "set_params(callbacks=None), which changes nothing about what was learnt"
        )
        raise TABLE.error("callbacks", expected, parameters["callbacks"])
    training = classifier._training
    packed = pack_training(training, with_optimizer=include_optimizer)
    if include_optimizer and packed.optimizer is None:
        raise ValueError(
            "include_optimizer=True, but this classifier has no optimizer: it was "
            "loaded from a file that holds none."
        )
    learnt = {
        "best_iter": training.best_iter,
        "blueprint": _describe_parameters(training.blueprint),
        "classes": training.classes,
        "feature_names": vars(classifier).get("feature_names_in_"),
        "history": training.history,
        "image_shape": tuple(map(int, classifier.image_shape_)),
        "network": packed.description,
        "network_optimizer": _describe_keras("optimizer", packed.optimizer),
        "order": training.order.bit_generator.state,
        "settings": {
            name: _describe_keras(name, value)
            for name, value in vars(training.settings).items()
        },
    }
    described = _describe_parameters({**parameters, "callbacks": None})
    return described, learnt, packed.arrays


def restore_classifier(parameters, learnt, arrays, *, trusted):
    """Turn plain values and arrays, perhaps a stranger's, back into a classifier.

    Parameters
    ----------
    parameters, learnt, arrays
        As `describe_classifier` returned them.
    trusted : bool
        Whether Keras may build the network from its own configuration.

    Returns
    -------
    classifier : KerasImageClassifier
        Fitted.

    Raises
    ------
    ValueError
        If `describe_classifier` can't have returned them.
    """
    check_keys("learnt", learnt, _LEARNT)
    _check_learnt(learnt)
    restored = _restore_parameters(parameters, TABLE.rules)
    classifier = KerasImageClassifier(**restored)
    check_parameters(classifier.get_params(deep=False))
    blueprint = _restore_blueprint(learnt["blueprint"])
    settings = _restore_settings(learnt["settings"], parameters, restored)
    training = Training(
        holder=_restore_network(learnt, blueprint, settings, arrays, trusted),
        blueprint=blueprint,
        classes=learnt["classes"],
        order=_restore_order(learnt["order"]),
        history=learnt["history"],
        best_iter=learnt["best_iter"],
        settings=settings,
    )
    classifier.image_shape_ = learnt["image_shape"]
    classifier.n_features_in_ = math.prod(learnt["image_shape"])
    if learnt["feature_names"] is not None:
        classifier.feature_names_in_ = learnt["feature_names"]
    classifier._learn(training)
    return classifier


def _describe_parameters(parameters):
    described = {**parameters}
    architecture, items = described["architecture"], described["augmentation"]
    if kind_of(architecture) is Kind.FUNCTION:
        described["architecture"] = {"function": _name_of(architecture)}
    for name in {"optimizer", "learning_rate"} & described.keys():
        described[name] = _describe_keras(name, described[name])
    if isinstance(items, list | tuple):
        described["augmentation"] = type(items)(
            _describe_keras("augmentation", item) for item in items
        )
    return described


def _name_of(function):
    if isinstance(function, SavedArchitecture):
        return function.name
    function = getattr(function, "func", function)  # of a functools.partial
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None)}.{name}"


def _describe_keras(name, value):
    """Describe a value if it is an object of Keras, and return others as they are."""
    if not isinstance(value, type | dict) and not hasattr(value, "get_config"):
        return value
    try:
        return describe_object(value)
    except Exception as error:  # of every kind from `from_config`
        expected = "one of Keras' own to be saved, since a file holds no code"
        raise TABLE.error(name, expected, value) from error


def _restore_keras(described):
    return build_object(described) if isinstance(described, dict) else described


def _restore_parameters(described, names):
    check_keys(f"parameters of {TABLE.owner}", described, names)
    restored = dict(described)
    architecture, items = restored["architecture"], restored["augmentation"]
    if isinstance(architecture, dict):
        check_keys("architecture", architecture, {"function"})
        restored["architecture"] = SavedArchitecture(str(architecture["function"]))
    for name in {"optimizer", "learning_rate"} & restored.keys():
        restored[name] = _restore_keras(restored[name])
    if isinstance(items, list | tuple):
        restored["augmentation"] = type(items)(map(_restore_keras, items))
    return restored


def _restore_blueprint(described):
    blueprint = _restore_parameters(described, _BLUEPRINT)
    built = check_builder_parameters(blueprint["parameters"])
    check_keys("parameters of the blueprint", blueprint["parameters"], built)
    TABLE.check({name: blueprint[name] for name in blueprint.keys() & TABLE.rules})
    plan = plan_augmentation(blueprint["augmentation"])
    built = fill_in_sizes(blueprint["architecture"], built)
    return {**blueprint, "augmentation": plan, "parameters": built}


def _restore_settings(described, parameters, restored):
    names = [field.name for field in dataclasses.fields(OptimizerSettings)]
    check_keys("settings of the optimizer", described, names)
    # Training further compares the objects: equal ones must be the same.
    values = {
        name: restored[name]
        if described[name] == parameters[name]
        else _restore_keras(described[name])
        for name in names
    }
    TABLE.check(values)
    return OptimizerSettings(**values)


def _restore_network(learnt, blueprint, settings, arrays, trusted):
    description, optimizer = learnt["network"], learnt["network_optimizer"]
    check_keys("network", description, {"config", "dtype_policy", "format", "keras"})
    if description["dtype_policy"] not in _DTYPE_POLICIES:
        raise ValueError(f"unknown dtype policy {description['dtype_policy']!r}")
    is_named = is_rebuilt_by_name(blueprint["architecture"])
    if is_named != (description["config"] is None):
        raise ValueError("the configuration of the network doesn't fit the blueprint")
    if is_named:
        _check_size(blueprint, arrays)
    elif not trusted:
        raise UntrustedNetworkError(repr(blueprint["architecture"]))
    packed = PackedNetwork(
        description, arrays, blueprint, _restore_keras(optimizer), settings
    )
    holder = NetworkHolder(packed=packed)
    if optimizer is None and is_dense(blueprint, holder.dtype_policy):
        _check_finite(packed.list_weights())
        return holder  # built when it is needed
    network = holder.network
    _check_finite(network.get_weights())
    expected = (None, *learnt["image_shape"]), (None, len(learnt["classes"]))
    if (network.input_shape, network.output_shape) != expected:
        raise ValueError(
            f"the network maps {network.input_shape} to {network.output_shape}, not "
            f"{expected[0]} to {expected[1]}"
        )
    return holder


def _check_finite(weights):
    if not all(np.isfinite(each).all() for each in weights):
        raise ValueError("weights of the network aren't finite")


def _check_size(blueprint, arrays):
    """Refuse a network with more weights than the file holds, before it is built."""
    n_layers = sum(
        len(blueprint["parameters"][name] or ())
        for name in ("conv_filters", "hidden_layer_sizes")
    )
    if n_layers > len(arrays):
        raise ValueError(
            f"the network has {n_layers:,} layers, and the file {len(arrays):,} arrays"
        )
    n_weights = count_weights(blueprint)
    n_found = sum(array.size for array in arrays.values())
    if n_weights > n_found:
        raise ValueError(
            f"the network has {n_weights:,} weights, and the file {n_found:,} numbers"
        )


def _restore_order(state):
    if not isinstance(state, dict) or state.get("bit_generator") != "PCG64":
        raise ValueError("the order of samples has no state of NumPy's PCG64")
    generator = np.random.Generator(np.random.PCG64(0))
    generator.bit_generator.state = state
    return generator


def _check_learnt(learnt):
    shape, classes = learnt["image_shape"], learnt["classes"]
    if not _is_shape(shape):
        raise ValueError(f"image_shape must be a tuple of 1 or 3 ints, not {shape!r}")
    check_classes(classes)
    blueprint = learnt["blueprint"]
    check_keys("blueprint", blueprint, _BLUEPRINT)
    if (blueprint["image_shape"], blueprint["n_classes"]) != (shape, len(classes)):
        raise ValueError("the blueprint doesn't fit image_shape and classes")
    check_feature_names(learnt["feature_names"], math.prod(shape))
    _check_history(learnt["history"], learnt["best_iter"])


def _is_shape(shape):
    return (
        isinstance(shape, tuple)
        and len(shape) in (1, 3)
        and all(type(length) is int and length > 0 for length in shape)
    )


def _check_history(history, best_iter):
    if not isinstance(history, dict) or not {"loss", "accuracy"} <= history.keys():
        raise ValueError("history must be a dict with loss and accuracy")
    for name, values in history.items():
        if not isinstance(values, list) or len(values) != len(history["loss"]):
            raise ValueError(f"history must have one value an epoch of {name!r}")
        if not all(isinstance(value, float) for value in values):
            raise ValueError(f"history must hold floats, not {values!r}")
    if type(best_iter) is not int or not 1 <= best_iter <= len(history["loss"]):
        raise ValueError(f"best_iter must be an epoch of history, not {best_iter!r}")
