"""Small classifiers of one kind, whose fits share what TensorFlow has traced."""

from skimgclf import KerasImageClassifier

# TensorFlow traces a network at its first fit, which is most of a short one: fits of
# this network share what was traced. SGD is what it traces fastest.
SMALL = {
    "hidden_layer_sizes": (6,),
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "epochs": 1,
    "random_state": 0,
}


def quick(architecture="dense", **parameters):
    """Make a small classifier with some other parameters."""
    return KerasImageClassifier(architecture, **{**SMALL, **parameters})
