"""Arrays to classes: the classifier, pretrained features, and the networks of both."""

from skimgclf.models._start import without_start_lines

with without_start_lines():  # before any other module imports TensorFlow
    import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"skimgclf trains with Keras on TensorFlow, but Keras uses "
        f"{keras.backend.backend()!r} here: set KERAS_BACKEND=tensorflow."
    )

from skimgclf.models._classifier import KerasImageClassifier
from skimgclf.models._embedder import ImageEmbedder
from skimgclf.models._networks.architectures import (
    build_cnn,
    build_dense,
    build_resnet,
)
from skimgclf.models._networks.augmentation import augment_images

__all__ = [
    "ImageEmbedder",
    "KerasImageClassifier",
    "augment_images",
    "build_cnn",
    "build_dense",
    "build_resnet",
]
