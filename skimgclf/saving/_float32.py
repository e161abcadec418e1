"""Rebuild a network in float32, of layers that exporters know."""

import numpy as np

from skimgclf.models._networks.layers import list_leaves
from skimgclf.models._start import keras

_FLOAT32 = "float32"


def rebuild_in_float32(network):
    """Rebuild a network that exporters would write wrongly.

    A network with another float type, as of mixed precision, becomes one of float32,
    layers that normalize by constants become `keras.layers.Rescaling`, and convolutions
    with a group for each channel become `keras.layers.DepthwiseConv2D`.

    Parameters
    ----------
    network : keras.Model
        Trained; left as it is.

    Returns
    -------
    network : keras.Model
        The same one if nothing is to do.
    """
    if not any(map(_is_odd, list_leaves(network))):
        return network
    copies = []
    rebuilt = _rebuild(network, copies)
    for layer, copy in copies:
        shapes = [weights.shape for weights in copy.weights]
        copy.set_weights(list(map(np.reshape, layer.get_weights(), shapes)))
    return rebuilt


def _is_odd(layer):
    is_float32 = layer.dtype_policy.name == _FLOAT32
    is_normalization = isinstance(layer, keras.layers.Normalization)
    return not is_float32 or is_normalization or _is_depthwise(layer)


def _is_depthwise(layer):
    # Keras 3.15 compiles convolutions in groups by XLA, which tf2onnx doesn't know.
    if type(layer) is not keras.layers.Conv2D:
        return False
    return 1 < layer.groups == layer.filters and layer.kernel.shape[-2] == 1


def _rebuild(network, copies):
    def copy(layer):
        if isinstance(layer, keras.Model):
            return _rebuild(layer, copies)
        if not isinstance(layer, keras.Layer):  # a function of keras.ops
            return layer
        if isinstance(layer, keras.layers.Normalization) and not layer.invert:
            return _rescaling_of(layer)
        make = _depthwise_of if _is_depthwise(layer) else _copy_layer
        copies.append((layer, make(layer)))
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


def _depthwise_of(layer):
    config = _replace_policies(layer.get_config())
    names = ("name", "kernel_size", "strides", "padding", "data_format")
    names += ("dilation_rate", "activation", "use_bias")
    given = {name: config[name] for name in names}
    return keras.layers.DepthwiseConv2D(**given, dtype=_FLOAT32)


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
