"""Arrays to classes: the classifier and the networks that it builds."""

from skimgclf.models._architectures import build_cnn, build_dense
from skimgclf.models._classifier import KerasImageClassifier

__all__ = ["KerasImageClassifier", "build_cnn", "build_dense"]
