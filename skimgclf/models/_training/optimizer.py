"""Prepare the optimizer of a fit: its learning rate, its settings, and its copy."""

import numbers

from skimgclf.models._repairs import leave_out_all_reduce
from skimgclf.models._training.loss import HARD_LOSS, METRICS
from skimgclf.models._training.shared_programs import build_metrics


def compile_network(network, optimizer, *, loss=HARD_LOSS, steps_per_execution=1):
    """Make a network ready to be trained.

    Parameters
    ----------
    network : keras.Model
        Maps samples to probabilities.
    optimizer : keras.optimizers.Optimizer
        Serves this network only.
    loss : str, default="sparse_categorical_crossentropy"
        Keras' name of the loss.
    steps_per_execution : int, default=1
        Number of batches that TensorFlow runs in one call.
    """
    leave_out_all_reduce(optimizer)
    network.compile(
        optimizer, loss, metrics=METRICS, steps_per_execution=steps_per_execution
    )
    optimizer.build(network.trainable_variables)
    build_metrics(network)


def as_float(rate):
    # Keras takes no int and no NumPy number. A schedule stays unchanged.
    return float(rate) if isinstance(rate, numbers.Real) else rate


def copy_optimizer(optimizer, **changes):
    return type(optimizer).from_config({**optimizer.get_config(), **changes})
