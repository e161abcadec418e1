"""Build the layers that several networks share."""

import math

from skimgclf.models._start import keras

# Images are channels last here, whatever Keras' own setting says.
DATA_FORMAT = "channels_last"


def flatten(x):
    """Flatten images to rows; rows stay unchanged."""
    return keras.layers.Flatten(data_format=DATA_FORMAT)(x)


def pool_features(x, pooling):
    """Pool feature maps (n, height, width, d) to rows, by their mean or maximum."""
    kinds = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }
    return kinds[pooling](data_format=DATA_FORMAT, dtype=wide_dtype())(x)


def wide_dtype():
    """Return float32 for layers that need it under a policy of 16 bits, else None."""
    half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if half else None


def list_leaves(model):
    """Yield the layers of a network and of all networks in it."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from list_leaves(layer)
        else:
            yield layer


def list_outputs(network, side=None):
    """List the layers of a network with the shapes of their outputs for one sample.

    Parameters
    ----------
    network : keras.Model
        The layers of networks in it are listed too, but for subclasses of keras.Model,
        which have no graph.
    side : int, default=None
        Stands for heights and widths that a network leaves open, as backbones do; None
        for the longest side of the network's samples.

    Returns
    -------
    outputs : list of tuple (keras.Layer, tuple of int)
        In the order of the layers.
    """
    side = side or max(network.inputs[0].shape[1:])
    outputs = []
    for layer in network.layers:
        if isinstance(layer, keras.Sequential) or hasattr(layer, "operations"):
            outputs += list_outputs(layer, side)
            continue
        for output in keras.tree.flatten(layer.output):
            shape = tuple(side if n is None else n for n in output.shape[1:])
            outputs.append((layer, shape))
    return outputs


def count_multiplications(network):
    """Estimate the multiplications of one sample's forward pass."""
    # A convolution uses its weights at each place of its feature maps.
    return sum(
        layer.count_params() * math.prod(shape[:-1])
        for layer, shape in list_outputs(network)
        if layer.weights
    )
