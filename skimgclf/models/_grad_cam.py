"""Compute the places in images that speak for a class, from gradients: Grad-CAM.

Selvaraju and others (2017), "Grad-CAM: visual explanations from deep networks via
gradient-based localization".
"""

import functools

import numpy as np

from skimgclf.models._networks.augmentation import without_augmentation
from skimgclf.models._start import keras, tensorflow

_TOLERANCE = 1e-3


def make_grad_cam(network, prediction, column=None):
    """Make a function that computes maps of the places that speak for a class.

    Parameters
    ----------
    network : keras.Model
        Of a fitted classifier: feature maps, features, and a softmax layer.
    prediction : callable
        From `Predictor.start`, in which the network stays as it is.
    column : int, default=None
        The class; None for the most probable of each image.

    Returns
    -------
    compute : callable
        Takes images (n_samples, height, width, n_channels) and returns maps (n_samples,
        height, width) of numbers in [0, 1].

    Raises
    ------
    ValueError
        If the network has no feature maps, or can't be cut there.
    """
    network = without_augmentation(network)
    halves = _find_halves(network, network.layers[-1].input)
    if halves is None:
        raise _refuse()
    frozen = prediction.freeze()
    with frozen():
        _check_halves(network, *halves)

    def compute(images):
        with frozen():
            X = tensorflow.constant(images, network.inputs[0].dtype)
            return _compute(*halves, network.layers[-1], X, column)

    return compute


def _compute(front, back, head, images, column):
    """Compute maps by the halves and the softmax layer of a network."""
    maps = front(images)
    with tensorflow.GradientTape() as tape:
        tape.watch(maps)
        features = tensorflow.cast(back(maps), head.kernel.dtype)
        # Below the softmax, where a score depends on one class alone.
        scores = features @ head.kernel + head.bias
        columns = scores.numpy().argmax(axis=1) if column is None else column
        own = scores * np.eye(scores.shape[1], dtype=head.kernel.dtype)[columns]
    maps, gradients = (
        np.asarray(values, "float32") for values in (maps, tape.gradient(own, maps))
    )
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    found = np.maximum(0, (weights * maps).sum(axis=-1, keepdims=True))
    found = tensorflow.image.resize(found, images.shape[1:3]).numpy()[..., 0]
    largest = found.max(axis=(1, 2), keepdims=True)
    return found / np.where(largest > 0, largest, 1)


def _check_halves(network, front, back):
    """Refuse halves that compute something else than the whole network."""
    images = np.random.default_rng(0).random((1, *network.input_shape[1:]))
    found = network.layers[-1](back(front(images.astype("float32"))))
    if not np.allclose(found, network(images, training=False), atol=_TOLERANCE):
        raise _refuse()


def _refuse():
    return ValueError(
        "Grad-CAM needs a network whose layers turn images into feature maps, and "
        "these into the features of the softmax layer, as those of 'cnn', 'resnet' and "
        "the pretrained networks do."
    )


def _find_halves(network, end):
    """Split a network at its feature maps; None if it has none."""
    layers = network.layers
    for place in reversed(range(1, len(layers))):
        layer = layers[place]
        if isinstance(layer, keras.Sequential) or hasattr(layer, "operations"):
            inner = _find_halves(layer, layer.outputs[0])
            if inner is not None:
                front, back = inner
                return (
                    _in_a_row([*layers[1:place], front]),
                    _in_a_row([back, *layers[place + 1 : -1]]),
                )
        elif (_rank(layer.input), _rank(layer.output)) == (4, 2):
            maps = layer.input
            if maps is network.inputs[0]:  # pixels, as in a dense network
                return None
            kinds = keras.layers.MaxPooling2D | keras.layers.AveragePooling2D
            pooling = [e for e in layers if isinstance(e, kinds) and e.output is maps]
            # Finer than what is pooled.
            maps = pooling[0].input if pooling else maps
            parts = keras.Model(network.inputs[0], maps), keras.Model(maps, end)
            return tuple(functools.partial(part, training=False) for part in parts)
    return None


def _in_a_row(functions):
    def call(X):
        for function in functions:
            is_layer = isinstance(function, keras.layers.Layer)
            X = function(X, training=False) if is_layer else function(X)
        return X

    return call


def _rank(tensor):
    return len(getattr(tensor, "shape", ()))
