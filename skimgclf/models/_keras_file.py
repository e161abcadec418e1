"""A network as the bytes of a ``.keras`` file that nobody needs to trust.

Keras' safe mode refuses code in a file, but it can be switched off for a process, and
Keras still fetches what a file names from whatever is registered there, calls functions
that it names as classes, follows links of the weights file and believes its sizes. So a
file is looked through, before Keras sees it, for what isn't plain Keras.
"""

import copy
import io
import json
import math
import numbers
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow

from skimgclf.models._training.optimizer import compile_network
from skimgclf.models._training.seeds import seeded

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {"metadata.json", _CONFIG, _WEIGHTS}

_MODULES = {
    "keras",
    "keras.activations",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.models",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.regularizers",
    "keras.src.models.functional",
    "keras.src.models.sequential",
}
# A layer of keras.applications, with the module that Keras writes for it.
_CLASSES = {("keras.src.applications.convnext", "LayerScale")}
# The operations of a functional model: Add, Reshape and so on.
_OPERATIONS = "keras.src.ops."

# What a configuration may name; everything else in those modules are functions, some of
# which read files.
_KINDS = (
    keras.Operation,  # layers and models too
    keras.DTypePolicy,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
)

# What holds code, or reads other files.
_REFUSED = {
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
}

# How Keras writes values that aren't objects. `__lambda__` isn't among them.
_VALUES = {
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
}
_DTYPE = re.compile(r"bool|(u?int|b?float)\d{1,2}")  # no text of a gigabyte a word

# JSON becomes some ten times larger in memory.
_MAX_CONFIG_BYTES = 1 << 26


def write_network(network, *, include_optimizer=False):
    """Write a network.

    Parameters
    ----------
    network : keras.Model
        A trained network of Keras' own layers.
    include_optimizer : bool, default=False
        Whether to keep what its optimizer has learnt.

    Returns
    -------
    content : bytes
        A ``.keras`` file.
    generators : list of list of int
        The state of the generators of dropout, which Keras leaves out of it.

    Raises
    ------
    ValueError
        If there is something in it that isn't Keras' own.
    """
    check_plain(_describe(network, include_optimizer))
    # Not the network itself: Keras writes the optimizer of a compiled one, whatever
    # `include_optimizer` says.
    copied = copy_network(network)
    if include_optimizer:
        optimizer = network.optimizer
        with seeded(0):
            fresh = type(optimizer).from_config(optimizer.get_config())
            compile_network(copied, fresh)
            _copy_variables(optimizer, copied.optimizer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        copied.save(path)
        content = path.read_bytes()
    generators = [np.array(state).tolist() for state in list_generators(network)]
    try:
        loaded = read_network(content, generators)
    except Exception as error:  # of every kind, as above
        raise ValueError(f"Keras can't read it again: {error}") from error
    _compare(network, loaded)
    return content, generators


def copy_network(network):
    """Build a network again that has the same variables and isn't compiled.

    Parameters
    ----------
    network : keras.Model
        Of layers that Keras can describe.

    Returns
    -------
    copied : keras.Model

    Raises
    ------
    ValueError
        If Keras can't build it from its configuration.
    """
    with seeded(0):  # the weights drawn here are replaced
        try:
            copied = type(network).from_config(network.get_config())
        # Keras 3.13 writes a function as code, and fails on reading it in many ways.
        except Exception as error:
            raise ValueError(
                "Keras can't build it again from its configuration, which holds a "
                "function or a class of its own"
            ) from error
        _copy_variables(network, copied)
    return copied


def read_network(content, generators):
    """Read a network, from a stranger perhaps, without running code.

    Parameters
    ----------
    content : bytes
        A ``.keras`` file.
    generators : list of list of int
        As `write_network` returned them.

    Returns
    -------
    network : keras.Model
        Compiled if the file keeps an optimizer.

    Raises
    ------
    ValueError
        If the file holds anything but a network of Keras' own layers.
    """
    config, n_bytes = _check_content(content)
    with_optimizer = bool(config.get("compile_config"))
    with tempfile.TemporaryDirectory() as folder, seeded(0):
        _check_size(config, n_bytes)
        path = Path(folder, "network.keras")
        path.write_bytes(content)
        network = keras.saving.load_model(path, compile=with_optimizer, safe_mode=True)
    if with_optimizer:
        compile_network(network, network.optimizer)
    states = list_generators(network)
    if len(states) != len(generators):
        raise ValueError("the states of the generators don't fit the network")
    for variable, state in zip(states, generators, strict=True):
        variable.assign(np.array(state, dtype="uint32"))
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise ValueError("weights of the network aren't finite")
    return network


def dump_keras_bytes(network):
    """Write a network as the bytes of a ``.keras`` file, without the date of it.

    Parameters
    ----------
    network : keras.Model

    Returns
    -------
    content : bytes
        The same ones each time, so that joblib's memory knows the network again.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        network.save(path, include_optimizer=False)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in (_CONFIG, _WEIGHTS)}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in {"metadata.json": b"{}", **parts}.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return content.getvalue()


def load_keras_bytes(content):
    """Load a network from the bytes of a ``.keras`` file in Keras' safe mode.

    Parameters
    ----------
    content : bytes
        Of a file by somebody who is trusted: see `read_network` for strangers.

    Returns
    -------
    network : keras.Model
        Not compiled.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        path.write_bytes(content)
        return keras.saving.load_model(path, compile=False)


def check_plain(config):
    """Refuse a configuration that names anything but Keras' own objects.

    Parameters
    ----------
    config : object
        Of JSON's types.

    Raises
    ------
    ValueError
        With the name of what isn't Keras' own, or that holds code or reads files.
    """
    if isinstance(config, list | tuple):
        for item in config:
            check_plain(item)
    elif isinstance(config, dict):
        if "class_name" in config:
            _check_object(config)
        for item in config.values():
            check_plain(item)
    elif isinstance(config, str):
        # Keras takes any text for the name of what the user has registered.
        if keras.saving.get_registered_object(config) is not None:
            raise ValueError(f"{config!r} isn't one of Keras' own classes")
    elif not isinstance(config, numbers.Real | None):
        raise ValueError(f"a {type(config).__name__} is no plain value")


def _check_object(config):
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name of a class")
    if name in _VALUES and module in (None, "builtins"):
        return _check_value(config)
    if name == "function":
        name = config.get("config")
        known = module == "builtins" and registered in (None, name, "function")
        if known and hasattr(keras.activations, str(name)):
            return
    elif name in _REFUSED or name.startswith("__"):
        raise ValueError(f"{name!r} is refused, since it holds code or reads files")
    elif registered in (None, name) and _is_own_class(module, name):
        return
    raise ValueError(f"{registered or name!r} isn't one of Keras' own classes")


def _check_value(config):
    inner = config.get("config")
    dtype = inner.get("dtype", "float32") if isinstance(inner, dict) else "float32"
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError(f"{dtype!r} is no dtype of numbers")


def _is_own_class(module, name):
    if not isinstance(module, str):
        return False
    if (module, name) in _CLASSES:
        return True
    if module not in _MODULES and not module.startswith(_OPERATIONS):
        return False
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, _KINDS)


def _describe(network, include_optimizer):
    try:
        config = json.loads(network.to_json())
    except Exception as error:  # whatever a layer of the user's raises
        raise ValueError(f"Keras can't describe it: {error}") from error
    if not include_optimizer:
        config.pop("compile_config", None)
    return config


def _check_content(content):
    """Refuse what isn't a plain ``.keras`` file.

    Returns
    -------
    config : dict
        The configuration of the network.
    n_bytes : int
        Size of its weights.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(names) != len(_MEMBERS) or set(names) != _MEMBERS:
            raise ValueError(f"network.keras must not hold {', '.join(sorted(names))}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("network.keras is compressed")
        if archive.getinfo(_CONFIG).file_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"{_CONFIG} of network.keras is too large")
        config, weights = json.loads(archive.read(_CONFIG)), archive.read(_WEIGHTS)
    if not isinstance(config, dict):
        raise ValueError(f"{_CONFIG} of network.keras is no JSON object")
    check_plain(config)
    with h5py.File(io.BytesIO(weights), "r") as file:
        _check_weights(file, len(weights))
    return config, len(weights)


def _check_size(config, n_bytes):
    """Refuse a network with more weights than the file holds, before they exist."""
    plain = copy.deepcopy(config)  # Keras changes it
    plain.pop("compile_config", None)
    with tensorflow.Graph().as_default():  # where variables take no memory
        network = keras.saving.deserialize_keras_object(plain, safe_mode=True)
        if not isinstance(network, keras.Model):
            raise ValueError(f"the network is a {type(network).__name__}, not a model")
        n_weights = sum(math.prod(weight.shape) for weight in network.weights)
    if n_weights > n_bytes:
        raise ValueError(
            f"the network has {n_weights:,} weights, and {_WEIGHTS} has "
            f"{n_bytes:,} bytes"
        )


def _check_weights(file, size):
    """Refuse links to other files, and data that are larger than the file."""
    total = 0

    def check(name, link):
        nonlocal total
        item = file[name] if type(link) is h5py.HardLink else None
        if isinstance(item, h5py.Dataset):
            # Keras writes neither chunks nor compression, which can hide a bomb.
            plain = not (item.chunks or item.external or item.is_virtual)
            total += item.nbytes if plain else size + 1
        return name if item is None or total > size else None  # a name ends the visit

    refused = file.visititems_links(check)
    if refused is not None:
        raise ValueError(f"{refused!r} in {_WEIGHTS} is a link, or larger than it")


def list_generators(network):
    """List the variables that Keras' own files leave out, such as dropout's state."""
    kept = {id(variable) for variable in network.weights}
    return [variable for variable in network.variables if id(variable) not in kept]


def _copy_variables(source, target):
    for theirs, mine in zip(source.variables, target.variables, strict=True):
        mine.assign(theirs)


def _compare(network, loaded):
    for mine, theirs in zip(network.variables, loaded.variables, strict=True):
        if not np.array_equal(np.array(mine), np.array(theirs), equal_nan=True):
            raise ValueError(f"Keras doesn't give its weights {mine.path!r} back")
