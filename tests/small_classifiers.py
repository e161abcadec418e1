"""Small classifiers of few kinds, whose fits share what TensorFlow has traced."""

import functools

import numpy as np

from skimgclf import KerasImageClassifier
from skimgclf.models._training.schedule import list_variables

# TensorFlow traces a network at its first fit, which is most of a short one: fits of
# this network share what was traced. SGD is what it traces fastest.
SMALL = {
    "hidden_layer_sizes": (6,),
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "epochs": 1,
    "random_state": 0,
}

# One layer, whose weights are zeros at the start: seeds decide the order of samples.
quickest = functools.partial(
    KerasImageClassifier,
    hidden_layer_sizes=(),
    optimizer="sgd",
    epochs=1,
    random_state=0,
)


def quick(architecture="dense", **parameters):
    """Make a small classifier with some other parameters."""
    return KerasImageClassifier(architecture, **{**SMALL, **parameters})


def weights_of(classifier):
    """Return all weights of a fitted classifier in one row."""
    return np.concatenate([w.ravel() for w in classifier.model_.get_weights()])


def numbers_of(classifier):
    """Return all numbers of a network, its optimizer and its schedule."""
    network = classifier.model_
    variables = [*network.variables, *list_variables(network.optimizer)]
    return [variable.numpy() for variable in variables]
