"""Prepare the optimizer of a fit: its learning rate and its weight decay."""

import dataclasses
import numbers

from skimgclf.models._repairs import leave_out_all_reduce, read_rate
from skimgclf.models._training.loss import HARD_LOSS, METRICS
from skimgclf.models._training.optimizer_copy import copy_optimizer
from skimgclf.models._training.schedule import find_schedule
from skimgclf.models._training.shared_programs import build_metrics

# Keras' names of weights that decay isn't for, since they are small for other reasons.
_SPARED = {"bias", "gamma", "beta", "scale"}


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """The parameters that decide how weights are updated, as they were given.

    Attributes
    ----------
    optimizer : str, keras.optimizers.Optimizer or subclass of it
        An instance is copied.
    learning_rate : float, keras LearningRateSchedule or None
        None for the optimizer's own default.
    learning_rate_schedule : {"constant", "one_cycle", "cosine"}
        How the rate changes in the training.
    weight_decay : float or None
        None for the optimizer's own default.
    """

    optimizer: object
    learning_rate: object
    learning_rate_schedule: str
    weight_decay: float | None


def compile_network(network, optimizer, settings, *, loss=HARD_LOSS):
    """Make a network ready to be trained.

    Parameters
    ----------
    network : keras.Model
        Maps samples to probabilities.
    optimizer : keras.optimizers.Optimizer
        Serves this network only.
    settings : OptimizerSettings
        Those that the optimizer is of; its schedule and its weight decay are set here.
    loss : str, default="sparse_categorical_crossentropy"
        Keras' name of the loss.
    """
    leave_out_all_reduce(optimizer)
    _set_decay(optimizer, settings.weight_decay, network)
    _set_schedule(optimizer, settings.learning_rate_schedule)
    network.compile(optimizer, loss, metrics=METRICS)
    if not optimizer.built:  # a LossScaleOptimizer would begin anew
        optimizer.build(network.trainable_variables)
    build_metrics(network)


def _set_decay(optimizer, weight_decay, network):
    if weight_decay is None:
        return
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.weight_decay = float(weight_decay)
    if hasattr(optimizer, "adam_weight_decay"):  # Muon's, for kernels of convolutions
        optimizer.adam_weight_decay = float(weight_decay)
    spared = list(filter(_is_spared, network.trainable_variables))
    optimizer.exclude_from_weight_decay(var_list=spared)


def _is_spared(variable):
    """Tell biases, and scales and offsets of normalization, from other weights."""
    # Attention and recurrent layers have biases of two axes, and layers of
    # normalization have as many axes as they were told.
    return len(variable.shape) < 2 or variable.name in _SPARED


def _set_schedule(optimizer, shape):
    from skimgclf.models._training.rate_schedule import RateSchedule

    if shape != "constant" and find_schedule(optimizer) is None:
        optimizer.learning_rate = RateSchedule(shape, read_rate(optimizer))


def copy_without_schedule(optimizer):
    """Copy an optimizer, with the peak of its RateSchedule as the learning rate.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        As `compile_network` has set it up.

    Returns
    -------
    copied : keras.optimizers.Optimizer
        Without code of ours, to be stored, and to be set up for another network.
    """
    schedule = find_schedule(optimizer)
    return copy_optimizer(optimizer, schedule and schedule.peak)


def as_float(rate):
    # Keras takes no int and no NumPy number. A schedule stays unchanged.
    return float(rate) if isinstance(rate, numbers.Real) else rate
