"""Rebuild a network in float32, of layers that exporters know."""

import numpy as np

from skimgclf.models._start import keras

_FLOAT32 = "float32"


def rebuild_in_float32(network):
    """Rebuild a network that exporters would write wrongly.

    A network with another float type, as of mixed precision, becomes one of float32,
    and layers that normalize by constants become `keras.layers.Rescaling`.

    Parameters
    ----------
    network : keras.Model
        Trained; left as it is.

    Returns
    -------
    network : keras.Model
        The same one if nothing is to do.
    """
    if not any(map(_is_odd, network._flatten_layers())):
        return network
    copies = []
    rebuilt = _rebuild(network, copies)
    for layer, copy in copies:
        copy.set_weights(layer.get_weights())
    return rebuilt


def _is_odd(layer):
    is_float32 = layer.dtype_policy.name == _FLOAT32
    return not is_float32 or isinstance(layer, keras.layers.Normalization)


def _rebuild(network, copies):
    def copy(layer):
        if isinstance(layer, keras.Model):
            return _rebuild(layer, copies)
        if not isinstance(layer, keras.Layer):  # a function of keras.ops
            return layer
        if isinstance(layer, keras.layers.Normalization) and not layer.invert:
            return _rescaling_of(layer)
        copies.append((layer, _copy_layer(layer)))
        return copies[-1][1]

    def copy_input(tensor):
        return keras.Input(batch_shape=tensor.shape, dtype=_FLOAT32)

    if isinstance(network, keras.Sequential):  # has the tensors of its last call
        ends = network.inputs[0], network.outputs[0]
    else:
        ends = network.input, network.output
    # Without its optimizer and its loss, which would be copied too.
    bare = keras.Model(*ends, name=network.name)
    inputs = keras.tree.map_structure(copy_input, bare.input)
    return keras.models.clone_model(bare, input_tensors=inputs, clone_function=copy)


def _copy_layer(layer):
    config = layer.get_config()
    if "dtype" in config:
        config["dtype"] = _FLOAT32
    return type(layer).from_config(_replace_policies(config))


def _replace_policies(value):
    """Replace the float types of layers inside of others, in a configuration."""
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":
            return _FLOAT32
        return {name: _replace_policies(item) for name, item in value.items()}
    return [_replace_policies(item) for item in value] if type(value) is list else value


def _rescaling_of(layer):
    # Its constants are tensors, which Keras' exporter to ONNX takes for inputs.
    mean, variance = (
        np.asarray(part, np.float64).ravel() for part in (layer.mean, layer.variance)
    )
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    offset = -mean * scale
    return keras.layers.Rescaling(
        scale.tolist(), offset.tolist(), dtype=_FLOAT32, name=layer.name
    )
