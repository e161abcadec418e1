"""Freeze the layers of a pretrained backbone, or let its last layers be trained."""

from skimgclf.models._networks.layers import list_leaves
from skimgclf.models._networks.pretrained import find_inner_model
from skimgclf.models._start import keras


def freeze(network):
    """Keep a backbone from being trained, within a network that has one."""
    find_inner_model(network).trainable = False


def thaw(network, n_layers):
    """Let the last layers of a backbone be trained, within a network that has one.

    Parameters
    ----------
    network : keras.Model
        With a model of `build_backbone` in it.
    n_layers : int or "all"
        How many layers with weights, counted from the end. Batch normalization isn't
        counted and stays as it is: its means of a million photos are better than those
        of a few.
    """
    inner = find_inner_model(network)
    inner.trainable = True
    counted = []
    for layer in list_leaves(inner):
        layer.trainable = False
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        if layer.weights and not is_norm:
            counted.append(layer)
    for layer in counted if n_layers == "all" else counted[-n_layers:]:
        layer.trainable = True
