"""Layers that several networks share, and the settings that they have in common."""

import keras

# Images are channels last here, whatever Keras' own setting says.
DATA_FORMAT = "channels_last"


def flatten(x):
    """Make rows of images; rows stay what they are."""
    return keras.layers.Flatten(data_format=DATA_FORMAT)(x)


def pool_features(x, pooling):
    """Make rows of feature maps (n, height, width, d), by their mean or maximum."""
    kinds = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }
    return kinds[pooling](data_format=DATA_FORMAT, dtype=wide_dtype())(x)


def wide_dtype():
    """Return float32 where layers compute in 16 bits, which wouldn't do for some."""
    half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if half else None
