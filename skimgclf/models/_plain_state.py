"""A fitted classifier as plain values, without Keras objects, and back.

Unlike the state that pickle keeps, this one can be written as JSON and be checked when
it comes from a stranger.
"""

import copy
import inspect
import math
import os

import keras
import numpy as np
from sklearn.utils.validation import check_is_fitted

from skimgclf._validation import check_keys, parameter_error
from skimgclf.models._checks.parameters import (
    check_builder_parameters,
    check_parameters,
)
from skimgclf.models._classifier import KerasImageClassifier
from skimgclf.models._keras_file import check_plain, read_network, write_network
from skimgclf.models._networks.architectures import ARCHITECTURES
from skimgclf.models._networks.augmentation import plan_augmentation
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._training.fit import Training
from skimgclf.models._training.seeds import seeded

_OWNER = "KerasImageClassifier"
_BLUEPRINT = {
    "architecture",
    "augmentation",
    "fine_tune",
    "image_shape",
    "n_classes",
    "parameters",
    "weights",
}
_LEARNT = {
    "best_iter",
    "blueprint",
    "classes",
    "feature_names",
    "generators",
    "history",
    "image_shape",
    "learning_rate",
    "optimizer",
    "order",
}


class SavedArchitecture:
    """Stands for the function that a saved network was built by, which isn't kept.

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
        return f"<function {self.name}, not saved>"


def describe_classifier(classifier, *, include_optimizer=False):
    """Turn a fitted classifier into plain values and the bytes of its network.

    Parameters
    ----------
    classifier : KerasImageClassifier
        Fitted.
    include_optimizer : bool, default=False
        Whether to keep what the optimizer has learnt.

    Returns
    -------
    parameters : dict of str to object
        Keras objects and functions are replaced by dicts.
    learnt : dict of str to object
        What fit has learnt, but for the weights.
    network : bytes
        A ``.keras`` file.
    """
    check_is_fitted(
        classifier,
        msg="This %(name)s is not fitted yet. Call fit before it is saved.",
    )
    parameters = classifier.get_params(deep=False)
    check_parameters(parameters)
    if parameters["callbacks"] not in (None, []):
        expected = (
            "None to be saved, since callbacks are code: call "
            "set_params(callbacks=None), which changes nothing about what was learnt"
        )
        raise parameter_error(_OWNER, "callbacks", expected, parameters["callbacks"])
    training = classifier._training
    if include_optimizer and getattr(training.network, "optimizer", None) is None:
        raise ValueError(
            "include_optimizer=True, but this classifier has no optimizer: it was "
            "loaded from a file that holds none."
        )
    try:
        network, generators = write_network(
            training.network, include_optimizer=include_optimizer
        )
    except ValueError as error:
        raise ValueError(
            f"The network of this {_OWNER} can't be saved without code: {error}. Build "
            "it from Keras' own layers, or use joblib."
        ) from error
    learnt = {
        "best_iter": training.best_iter,
        "blueprint": _describe_parameters(training.blueprint),
        "classes": training.classes,
        "feature_names": vars(classifier).get("feature_names_in_"),
        "generators": generators,
        "history": training.history,
        "image_shape": tuple(map(int, classifier.image_shape_)),
        "learning_rate": _describe_keras("learning_rate", training.learning_rate),
        "optimizer": _describe_keras("optimizer", training.optimizer),
        "order": training.order.bit_generator.state,
    }
    return _describe_parameters(parameters), learnt, network


def restore_classifier(parameters, learnt, network):
    """Turn plain values, from a stranger perhaps, back into a classifier.

    Parameters
    ----------
    parameters, learnt, network
        As `describe_classifier` returned them.

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
    restored = _restore_parameters(parameters)
    classifier = KerasImageClassifier(**restored)
    check_parameters(classifier.get_params(deep=False))
    optimizer, rate = restored.get("optimizer"), restored.get("learning_rate")
    # Training further compares the objects: equal ones must be the same.
    if learnt["optimizer"] != parameters.get("optimizer"):
        optimizer = _restore_keras(learnt["optimizer"])
    if learnt["learning_rate"] != parameters.get("learning_rate"):
        rate = _restore_keras(learnt["learning_rate"])
    training = Training(
        _read_network(network, learnt),
        _restore_blueprint(learnt["blueprint"]),
        learnt["classes"],
        _restore_order(learnt["order"]),
        optimizer,
        rate,
        learnt["history"],
        learnt["best_iter"],
    )
    classifier.image_shape_ = learnt["image_shape"]
    classifier.n_features_in_ = math.prod(learnt["image_shape"])
    if learnt["feature_names"] is not None:
        classifier.feature_names_in_ = learnt["feature_names"]
    classifier._learn(training)
    return classifier


def _describe_parameters(parameters):
    described = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in parameters.items()
    }
    architecture = described["architecture"]
    if kind_of(architecture) is Kind.FUNCTION:
        described["architecture"] = {"function": _name_of(architecture)}
    for name in ("optimizer", "learning_rate"):
        if name in described:
            described[name] = _describe_keras(name, described[name])
    if "callbacks" in described:
        described["callbacks"] = None
    if isinstance(described["augmentation"], list | tuple):
        described["augmentation"] = type(described["augmentation"])(
            map(_describe_augmentation, described["augmentation"])
        )
    return described


def _describe_augmentation(item):
    """Describe a preset's name, a layer, or what Keras says of a layer."""
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and _is_plain(item):
        return {"object": item}
    return _describe_keras("augmentation", item)


def _name_of(function):
    if isinstance(function, SavedArchitecture):
        return function.name
    function = getattr(function, "func", function)  # of a functools.partial
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None)}.{name}"


def _describe_keras(name, value):
    """Describe an optimizer or a schedule, if it is one and Keras' own."""
    is_class = isinstance(value, type)
    if not is_class and not hasattr(value, "get_config"):
        return value
    if is_class:
        described = {"class": value.__name__}
        known = getattr(keras.optimizers, value.__name__, None) is value
    else:
        described = {"object": keras.saving.serialize_keras_object(value)}
        known = _is_plain(described)
    if not known:
        expected = "one of Keras' own to be saved, since a file holds no code"
        raise parameter_error(_OWNER, name, expected, value)
    return described


def _is_plain(config):
    try:
        check_plain(config)
    except ValueError:
        return False
    return True


def _restore_parameters(described):
    known = {*inspect.signature(KerasImageClassifier).parameters, *_BLUEPRINT}
    if not isinstance(described, dict) or not known.issuperset(described):
        raise ValueError(f"{_OWNER} has unknown parameters: {described!r}")
    restored = dict(described)
    architecture = restored.get("architecture")
    if isinstance(architecture, dict):
        check_keys("architecture", architecture, {"function"})
        restored["architecture"] = SavedArchitecture(str(architecture["function"]))
    for name in {"optimizer", "learning_rate"} & restored.keys():
        restored[name] = _restore_keras(restored[name])
    augmentation = restored.get("augmentation")
    if isinstance(augmentation, list | tuple):
        with seeded(0):  # layers draw seeds, which those of the network replace
            restored["augmentation"] = type(augmentation)(
                _restore_keras(item, "keras.layers") for item in augmentation
            )
    return restored


def _restore_blueprint(described):
    blueprint = _restore_parameters(described)
    plan = plan_augmentation(blueprint["augmentation"])
    return {**blueprint, "augmentation": plan}


def _restore_keras(described, module="keras.optimizers"):
    if not isinstance(described, dict):
        return described
    if set(described) == {"class"}:
        optimizer = getattr(keras.optimizers, str(described["class"]), None)
        if isinstance(optimizer, type):
            return optimizer
    if set(described) == {"object"} and isinstance(described["object"], dict):
        config = described["object"]
        check_plain(config)
        if str(config.get("module")).startswith(module):
            config = copy.deepcopy(config)  # Keras changes it
            return keras.saving.deserialize_keras_object(config, safe_mode=True)
    raise ValueError(f"{described!r} is no object of {module}")


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
    if not isinstance(classes, np.ndarray) or len(classes) < 2:
        raise ValueError("classes must be an array of at least 2 labels")
    if classes.tolist() != sorted(set(classes.tolist())):
        raise ValueError("classes must be sorted, each once")
    blueprint = learnt["blueprint"]
    check_keys("blueprint", blueprint, _BLUEPRINT)
    if (blueprint["image_shape"], blueprint["n_classes"]) != (shape, len(classes)):
        raise ValueError("the blueprint doesn't fit image_shape and classes")
    built = check_builder_parameters(blueprint["parameters"])
    check_keys("parameters of the blueprint", blueprint["parameters"], built)
    architecture = blueprint["architecture"]
    is_function = isinstance(architecture, dict)
    kind = kind_of(architecture)
    is_known = kind in (Kind.APPLICATION, Kind.KERAS_FILE)
    if not (is_function or is_known or architecture in ARCHITECTURES):
        raise ValueError(f"unknown architecture {architecture!r}")
    names = learnt["feature_names"]
    if names is not None and (
        not isinstance(names, np.ndarray) or len(names) != math.prod(shape)
    ):
        raise ValueError("feature_names must be an array of a name a feature")
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


def _read_network(content, learnt):
    network = read_network(content, learnt["generators"])
    expected = (None, *learnt["image_shape"]), (None, len(learnt["classes"]))
    if (network.input_shape, network.output_shape) != expected:
        raise ValueError(
            f"the network maps {network.input_shape} to {network.output_shape}, not "
            f"{expected[0]} to {expected[1]}"
        )
    return network
