"""Augment images in training: check presets and layers, and build them."""

import copy

import numpy as np
from sklearn.utils import check_random_state

from skimgclf._validation import ParameterTable, Rule, parameter_error
from skimgclf.models._networks.layers import DATA_FORMAT, wide_dtype
from skimgclf.models._start import keras
from skimgclf.models._training.read_ahead import scale_samples
from skimgclf.models._training.seeds import seeded

# Layers that move images fill the border with the pixels next to it, since digits have
# one background and mirrored strokes would be new strokes. Angles are fractions of a
# turn.
_FILL = {"fill_mode": "nearest", "data_format": DATA_FORMAT}
_RANGE = {"value_range": (0, 1), "data_format": DATA_FORMAT}

# Each preset is a list of the names of layers and their arguments.
PRESETS = {
    "flip": [("RandomFlip", {"mode": "horizontal", "data_format": DATA_FORMAT})],
    "crop": [("ShiftReflected", {})],
    "erase": [("EraseRectangle", {})],
    "light": [
        ("RandomTranslation", {"height_factor": 0.05, "width_factor": 0.05, **_FILL}),
        ("RandomRotation", {"factor": 0.02, **_FILL}),
        ("RandomZoom", {"height_factor": 0.1, **_FILL}),
    ],
    "strong": [
        ("RandomTranslation", {"height_factor": 0.1, "width_factor": 0.1, **_FILL}),
        ("RandomRotation", {"factor": 0.05, **_FILL}),
        ("RandomZoom", {"height_factor": 0.2, **_FILL}),
        ("RandomContrast", {"factor": 0.3, **_RANGE}),
        ("RandomBrightness", {"factor": 0.2, **_RANGE}),
    ],
}

# Height, width and channels of images that layers are tried on.
_MAX_PROBE = 512

# The layer of a network that holds all others of these.
AUGMENTATION_NAME = "image_augmentation"

_EXPECTED = (
    f"None, one of {', '.join(map(repr, PRESETS))}, or a list of these and of Keras "
    "layers"
)


def augment_images(images, augmentation, *, random_state=None):
    """Change images at random, as `KerasImageClassifier` does it in training.

    Parameters
    ----------
    images : array-like of shape (n_samples, height, width, n_channels)
        Float in [0, 1] or uint8.
    augmentation : {"flip", "crop", "erase", "light", "strong"} or list
        As in :class:`skimgclf.KerasImageClassifier`.
    random_state : int, RandomState instance or None, default=None
        Decides the changes; another call with the same int gives the same images.

    Returns
    -------
    augmented : ndarray of the same shape
        In Keras' float type; image i is image i, changed. The presets stay in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from skimgclf.models import augment_images
    >>> images = np.zeros((2, 3, 4, 1))
    >>> images[:, :, 0] = 1
    >>> augment_images(images, "flip", random_state=3)[:, 0, :, 0]
    array([[0., 0., 0., 1.],
           [1., 0., 0., 0.]], dtype=float32)
    """
    plan = _TABLE.check(locals())["augmentation"]
    images = np.asarray(images)
    if images.ndim != 4 or not len(images):
        raise ValueError(
            "augment_images takes images (n_samples, height, width, n_channels), not "
            f"an array of shape {images.shape}."
        )
    if plan is None:
        return scale_samples(images)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    with seeded(seed):
        augment = build_augmentation(plan, images.shape[1:])
        return np.asarray(augment(scale_samples(images), training=True))


def _list_items(augmentation):
    return [augmentation] if isinstance(augmentation, str) else augmentation


def _explain_augmentation(augmentation):
    """Return the expectation that the first invalid item breaks, or None."""
    items = _list_items(augmentation)
    if not isinstance(items, list | tuple) or not items:
        return _EXPECTED
    return next(filter(None, map(_refuse_item, items)), None)


def plan_augmentation(augmentation):
    """Describe a valid augmentation by plain values.

    Parameters
    ----------
    augmentation : {"flip", "crop", "erase", "light", "strong"}, list or None
        As in `KerasImageClassifier`.

    Returns
    -------
    plan : tuple of str and dict or None
        The names of presets, and Keras' descriptions of layers.
    """
    if augmentation is None:
        return None
    return tuple(
        item if isinstance(item, str) else keras.saving.serialize_keras_object(item)
        for item in _list_items(augmentation)
    )


AUGMENTATION = Rule(
    _EXPECTED,
    lambda value: value is None or _explain_augmentation(value) is None,
    ("heavy", 3, [], ["light", "heavy"], [3], dict),
    plan_augmentation,
    _explain_augmentation,
    names=tuple(PRESETS),
)
_TABLE = ParameterTable("augment_images", {"augmentation": AUGMENTATION})


def build_augmentation(plan, image_shape):
    """Build the layer that changes images in training, and leaves them at predict.

    Parameters
    ----------
    plan : tuple
        From `plan_augmentation`.
    image_shape : tuple of int
        Shape of one image.

    Returns
    -------
    augment : keras.Sequential
        Images in [0, 1] to images.
    """
    if len(image_shape) != 3:
        raise ValueError(
            "augmentation changes images of shape (n_samples, height, width, "
            f"n_channels), but X has rows of {image_shape[0]} features. Use "
            "ImageLoader(flatten=False) right in front, or augmentation=None."
        )
    layers = [layer for item in plan for layer in _build_layers(item)]
    augment = keras.Sequential(layers, name=AUGMENTATION_NAME)
    augment.build((None, *image_shape))
    if not all(isinstance(item, str) for item in plan):
        _check_idle(augment, image_shape, plan)
    return augment


def without_augmentation(network):
    """Return a network that shares all layers of another one except augmentation."""
    layers = network.layers
    if AUGMENTATION_NAME not in [layer.name for layer in layers]:
        return network
    x = inputs = keras.Input(network.input_shape[1:])
    for layer in layers[1:]:  # in a row: input, augmentation, features, softmax
        if layer.name != AUGMENTATION_NAME:
            x = layer(x, training=False)
    return keras.Model(inputs, x)


def _refuse_item(item):
    """Return the expectation that an item of an augmentation breaks, or None."""
    if isinstance(item, str):
        return None if item in PRESETS else _EXPECTED
    if not isinstance(item, keras.layers.Layer):
        return _EXPECTED
    # These mix the images of a batch, but not their labels.
    if isinstance(item, keras.layers.CutMix | keras.layers.MixUp):
        return "layers that change one image at a time; mixup mixes labels as well"
    low_high = getattr(item, "value_range", (0, 1))
    if list(low_high) != [0, 1]:
        return f"layers with value_range=(0, 1), as pixels are, not {tuple(low_high)}"
    if getattr(item, "data_format", DATA_FORMAT) != DATA_FORMAT:
        return f"layers with data_format={DATA_FORMAT!r}, as images are"
    return None


def _build_layers(item):
    """Build the layers of a preset's name, or of one layer's description."""
    if isinstance(item, str):
        _refuse_float64(item)
        for name, arguments in PRESETS[item]:
            # In 16 bits the corners of large images would lie on the wrong pixel.
            yield _find_layer(name)(**arguments, dtype=wide_dtype())
        return
    try:
        # Keras changes the description that it is given.
        yield keras.saving.deserialize_keras_object(copy.deepcopy(item))
    except Exception as error:  # Keras raises errors of every kind
        raise parameter_error(
            "KerasImageClassifier",
            "augmentation",
            "layers that Keras can build again: register their classes with "
            "keras.saving.register_keras_serializable",
            item["class_name"],
        ) from error


def _find_layer(name):
    # Late, since their base class is Keras'.
    from skimgclf.models._networks import augmentation_layers

    return getattr(augmentation_layers, name, None) or getattr(keras.layers, name)


def _refuse_float64(preset):
    # Keras 3.15 multiplies floats of both types when it turns an image.
    turns = any(name == "RandomRotation" for name, _ in PRESETS[preset])
    if turns and keras.config.floatx() == "float64":
        raise ValueError(
            f"augmentation={preset!r} doesn't work with keras.config.floatx() "
            "'float64', since Keras can't turn such images: use 'float32'."
        )


def _check_idle(augment, image_shape, plan):
    """Refuse layers that would change images at predict, or their shape."""
    # A saved file may declare images of gigabytes: a small one is changed alike.
    probed = [min(side, _MAX_PROBE) for side in image_shape]
    probe = np.random.default_rng(0).random((2, *probed), dtype="float32")
    shape = tuple(augment.compute_output_shape((2, *image_shape)))
    if shape != (2, *image_shape) or not np.array_equal(
        np.asarray(augment(probe, training=False)), probe.astype(augment.compute_dtype)
    ):
        raise parameter_error(
            "KerasImageClassifier",
            "augmentation",
            "layers that change images in training only, and never their shape; layers "
            "that always change them belong to ImageLoader or to architecture",
            [item if isinstance(item, str) else item["class_name"] for item in plan],
        )
