"""Describe optimizers, schedules and layers of augmentation, and build them again.

Only classes of Keras' own that hold no code and read no files are described, and each
is built by its class, so that a file can't reach anything else, such as the names that
are registered at Keras.
"""

import functools
import re

from skimgclf.models._repairs import read_excluded_names
from skimgclf.models._start import keras
from skimgclf.models._training.seeds import seeded

# By module, the name of the class that its classes must be subclasses of.
_BASES = {
    "keras": "DTypePolicy",
    "keras.layers": "Layer",
    "keras.optimizers": "Optimizer",
    "keras.optimizers.schedules": "LearningRateSchedule",
}

# How the names of layers without weights begin: Lambda and others hold code, and a
# layer with weights could need more memory than there is.
_LAYERS = (
    "AlphaDropout",
    "AugMix",
    "AutoContrast",
    "Dropout",
    "Equalization",
    "Gaussian",
    "Rand",
    "Solarization",
    "SpatialDropout",
)


def describe_object(value):
    """Describe an object of Keras' own by plain values.

    Parameters
    ----------
    value : object
        An optimizer, a subclass of it, a schedule, a layer, or the description of one
        by Keras.

    Returns
    -------
    described : dict

    Raises
    ------
    ValueError
        If it can't be built again without code.
    """
    if isinstance(value, type):
        described = {"class": value.__name__}
        if build_object(described) is not value:
            raise ValueError(f"{value!r} isn't one of Keras' own classes")
        return described
    is_described = isinstance(value, dict)
    config = value if is_described else keras.saving.serialize_keras_object(value)
    described = {"object": config}
    names = read_excluded_names(value)
    if names is not None:
        described["no_weight_decay"] = names
    build_object(described)
    return described


def build_object(described):
    """Build an object of its description, which a stranger may have written.

    Parameters
    ----------
    described : dict

    Returns
    -------
    value : object

    Raises
    ------
    ValueError
        If `describe_object` can't have returned the dict.
    """
    if isinstance(described, dict) and described.keys() == {"class"}:
        return _find_class("keras.optimizers", described["class"])
    if not isinstance(described, dict) or described.keys() - {"no_weight_decay"} != {
        "object"
    }:
        raise ValueError(f"{described!r} describes no object of Keras")
    with seeded(0):  # layers draw seeds, which those of the network replace
        built = _build(described["object"])
    if "no_weight_decay" in described:
        _exclude(built, described["no_weight_decay"])
    return built


def _exclude(optimizer, names):
    """Exclude variables from weight decay by parts of their names."""
    # As a pattern of a stranger's could take for ever, parts of names are taken only.
    if not isinstance(names, str) or not re.fullmatch(r"[\w/. |-]+", names):
        raise ValueError(f"{names!r} isn't a list of parts of names")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(f"{optimizer!r} has no weight decay")
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.exclude_from_weight_decay(var_names=names.split("|"))


def _build(item):
    if isinstance(item, list | tuple):
        if any(isinstance(part, dict | list | tuple) for part in item):
            raise ValueError(f"{item!r} is no list of plain values")
        return item
    if not isinstance(item, dict):
        return item
    config = item.get("config")
    if not isinstance(config, dict) or item.get("registered_name") is not None:
        raise ValueError(f"{item.get('registered_name')!r} isn't one of Keras' own")
    found = _find_class(item.get("module"), item.get("class_name"))
    built = {name: _build(value) for name, value in config.items()}
    # Its from_config takes a description of the wrapped optimizer only.
    is_wrapper = found is keras.optimizers.LossScaleOptimizer
    return found(**built) if is_wrapper else found.from_config(built)


def _find_class(module, name):
    if isinstance(module, str) and isinstance(name, str) and module in _BASES:
        room = functools.reduce(getattr, module.split(".")[1:], keras)
        found = getattr(room, name, None)
        if isinstance(found, type) and issubclass(found, getattr(room, _BASES[module])):
            if module != "keras.layers" or name.startswith(_LAYERS):
                return found
    raise ValueError(f"{module}.{name} isn't one of Keras' own classes without code")
