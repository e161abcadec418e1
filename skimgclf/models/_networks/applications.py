"""List the networks of keras.applications, and prepare the pixels that they take."""

import dataclasses

from skimgclf.models._start import keras

# Means and standard deviations of ImageNet's channels, as keras.applications has them
# (imagenet_utils.py): of red, green, blue in [0, 1], and of blue, green, red in bytes.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEAN_BYTES = (103.939, 116.779, 123.68)


@dataclasses.dataclass(frozen=True)
class Family:
    """The images that networks take, such as those of a module of keras.applications.

    Attributes
    ----------
    pixels : {"0 to 1", "0 to 255", "tf", "torch", "caffe"}
        The form of the pixels; the last three are Keras' modes of `preprocess_input`.
    min_size : int
        The least height and width of an image, in pixels.
    """

    pixels: str
    min_size: int


# The key is the module keras.applications.<key>. Its function `preprocess_input` is the
# source of `pixels` (docs: keras.io/api/applications): "0 to 255" where that function
# does nothing, since the networks begin with such layers themselves, else its mode.
FAMILIES = {
    "convnext": Family("0 to 255", 32),
    "densenet": Family("torch", 32),
    "efficientnet_v2": Family("0 to 255", 32),
    "inception_resnet_v2": Family("tf", 75),
    "inception_v3": Family("tf", 75),
    "mobilenet": Family("tf", 32),
    "mobilenet_v2": Family("tf", 32),
    "mobilenet_v3": Family("0 to 255", 32),
    "nasnet": Family("tf", 32),
    "resnet": Family("caffe", 32),
    "resnet_v2": Family("tf", 32),
    "vgg16": Family("caffe", 32),
    "vgg19": Family("caffe", 32),
    "xception": Family("tf", 71),
}

# EfficientNetB0 to B7 aren't offered: Keras builds another network for the file of the
# ImageNet weights than for "imagenet" (without a layer that divides by the standard
# deviation again), so that the features would silently be wrong.
BACKBONES = {
    **dict.fromkeys(
        [f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")],
        "convnext",
    ),
    **dict.fromkeys([f"DenseNet{depth}" for depth in (121, 169, 201)], "densenet"),
    **dict.fromkeys(
        [f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")],
        "efficientnet_v2",
    ),
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "MobileNetV3Large": "mobilenet_v3",
    "NASNetMobile": "nasnet",
    "NASNetLarge": "nasnet",
    **dict.fromkeys([f"ResNet{depth}" for depth in (50, 101, 152)], "resnet"),
    **dict.fromkeys([f"ResNet{depth}V2" for depth in (50, 101, 152)], "resnet_v2"),
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "Xception": "xception",
}


def prepare_pixels(x, pixels):
    """Turn pixels in [0, 1] into the pixels that a family of networks takes.

    Parameters
    ----------
    x : keras.KerasTensor
        Images (n_samples, height, width, 3).
    pixels : str
        As in `Family`.

    Returns
    -------
    prepared : keras.KerasTensor
    """
    if pixels == "0 to 1":
        return x
    if pixels == "tf":  # -1 to 1
        return keras.layers.Rescaling(2.0, offset=-1.0)(x)
    if pixels == "torch":  # standardized by ImageNet's channels
        scale = [1 / deviation for deviation in _DEVIATION]
        offset = [-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset)(x)
    if pixels == "caffe":  # blue, green, red in bytes, less their means
        offset = [-mean for mean in _MEAN_BYTES]
        return keras.layers.Rescaling(255.0, offset=offset)(keras.ops.flip(x, axis=-1))
    return keras.layers.Rescaling(255.0)(x)
