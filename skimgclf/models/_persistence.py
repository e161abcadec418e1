"""A trained network as plain data: what pickle, joblib and deepcopy keep.

A network of a named architecture is kept as what it was built from and its numbers,
and built anew on load; that is a third of the size of a Keras file and does not depend
on Keras' file format. The network of a callable is kept as the bytes of a ``.keras``
file, so that loading never calls the function.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np

from skimgclf.models._architectures import build_network, is_name
from skimgclf.models._scikeras import seeded

_FORMAT = 1


def pack_network(network, blueprint):
    """Turn a network into plain data.

    Parameters
    ----------
    network : keras.Model
        A trained network.
    blueprint : dict
        The arguments of `build_network` that made it.

    Returns
    -------
    packed : dict
        Of numbers, strings, arrays and bytes.
    """
    packed = {
        "format": _FORMAT,
        "keras": keras.__version__,
        "dtype_policy": keras.config.dtype_policy().name,
    }
    if not is_name(blueprint["architecture"]):
        return {**packed, "file": _write_keras_bytes(network)}
    # All variables: get_weights() leaves out the state of dropout's generators.
    variables = [np.asarray(variable) for variable in network.variables]
    return {**packed, "blueprint": blueprint, "variables": variables}


def unpack_network(packed):
    """Turn plain data back into a network.

    Parameters
    ----------
    packed : dict
        Made by `pack_network`.

    Returns
    -------
    network : keras.Model
        Gives the same outputs, bit for bit; not compiled.
    """
    if packed.get("format") != _FORMAT:
        raise ValueError(
            f"This model was saved in format {packed.get('format')!r}, and this "
            f"version of skimgclf reads format {_FORMAT}. Load it with the version of "
            "skimgclf that saved it, or fit it again."
        )
    if "file" in packed:
        return _read_keras_bytes(packed["file"])
    return _rebuild(packed)


def _rebuild(packed):
    policy = keras.config.dtype_policy()
    with seeded(0):  # the weights drawn here are replaced
        keras.config.set_dtype_policy(packed["dtype_policy"])
        try:
            network = build_network(**packed["blueprint"])
        finally:
            keras.config.set_dtype_policy(policy)
    shapes = [tuple(variable.shape) for variable in network.variables]
    if shapes != [values.shape for values in packed["variables"]]:
        raise ValueError(
            f"This model was saved with Keras {packed['keras']}, and its weights don't "
            f"fit the network that Keras {keras.__version__} builds for "
            f"{packed['blueprint']}. Install the former, or fit it again."
        )
    for variable, values in zip(network.variables, packed["variables"], strict=True):
        variable.assign(values)
    return network


def _write_keras_bytes(network):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        network.save(path, include_optimizer=False)
        return path.read_bytes()


def _read_keras_bytes(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        path.write_bytes(content)
        return keras.saving.load_model(path, compile=False)
