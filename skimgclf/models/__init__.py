"""Classify arrays by Keras networks, and compute pretrained features of images.

A process that loads a model with a dense network, and predicts, imports no Keras.
"""

import importlib

from skimgclf.models._start import import_keras

_HOMES = {
    "ImageEmbedder": "_embedder",
    "KerasImageClassifier": "_classifier",
    "augment_images": "_networks.augmentation",
    "build_cnn": "_networks.architectures",
    "build_dense": "_networks.architectures",
    "build_resnet": "_networks.architectures",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Before the user imports it, who would see the lines of TensorFlow's start.
    import_keras()
    # Keras finds its layers by their names in files of networks.
    importlib.import_module(f"{__name__}._networks.augmentation_layers")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
