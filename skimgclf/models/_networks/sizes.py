"""Count the weights of a network before it is built."""

import functools
import itertools
import math

from skimgclf.models._networks.architectures import count_halvings
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.pretrained import BackboneSource, build_backbone
from skimgclf.models._start import tensorflow


def count_weights(blueprint):
    """Count the weights that a blueprint implies, without building the network.

    Parameters
    ----------
    blueprint : dict
        The arguments of `build_network`, for a named architecture.

    Returns
    -------
    n_weights : int
        Of all layers but those of the augmentation, which have none.
    """
    parameters, shape = blueprint["parameters"], blueprint["image_shape"]
    if kind_of(blueprint["architecture"]) is Kind.NAMED_BACKBONE:
        n_weights, n_units = _count_backbone(blueprint["architecture"])
    else:
        # Batch normalization has four numbers a unit, in place of one bias.
        per_unit = 4 if parameters["batch_norm"] else 1
        n_weights, n_units = 0, math.prod(shape)
        if blueprint["architecture"] == "cnn":
            n_weights, n_units = _count_convolutions(parameters, shape, per_unit)
        if blueprint["architecture"] == "resnet":
            per_unit = 1
            n_weights, n_units = _count_stages(parameters["conv_filters"], shape)
        for n_next in parameters["hidden_layer_sizes"]:
            n_weights += (n_units + per_unit) * n_next
            n_units = n_next
    return n_weights + (n_units + 1) * blueprint["n_classes"]


def _count_convolutions(parameters, image_shape, per_unit):
    """Count the weights of all blocks, and the units of the last one."""
    height, width, n_channels = image_shape
    area, n_weights = math.prod(parameters["kernel_size"]), 0
    for n_filters in parameters["conv_filters"]:
        n_weights += (area * n_channels + per_unit) * n_filters
        height, width, n_channels = -(-height // 2), -(-width // 2), n_filters
    return n_weights, height * width * n_channels


def _count_stages(conv_filters, image_shape):
    """Count the weights of all stages of "resnet", and its pooled features."""
    first = conv_filters[0]
    convolutions = [
        (image_shape[2], first),
        *[(first, first)] * count_halvings(image_shape),
    ]
    for n_before, n_filters in itertools.pairwise(conv_filters):
        convolutions += [(n_before, n_filters), (n_filters, n_filters)]
    n_weights = sum((9 * n_in + 4) * n_out for n_in, n_out in convolutions)
    return n_weights, 2 * conv_filters[-1]


@functools.cache
def _count_backbone(name):
    """Count the weights of a backbone, and its features."""
    # In a graph of TensorFlow's, variables take no memory.
    with tensorflow.Graph().as_default():
        network = build_backbone(BackboneSource(name, None, (224, 224, 3)))
        n_weights = sum(math.prod(weight.shape) for weight in network.weights)
        return n_weights, network.output_shape[1]
