"""Repair what Keras and TensorFlow do wrong, in one function each.

All private or undocumented names of Keras and TensorFlow that this package touches
stand here. Each function says the cause, the versions in which it was seen, and when it
can go.
"""

import contextlib
import itertools
import random
import threading

import tensorflow
from keras.src.random import seed_generator
from tensorflow.python.eager import context as tensorflow_context

# Fits with a shared program, and after how many of them TensorFlow's kernels are
# cleared: each leaves about a megabyte.
_shared_fits = itertools.count(1)
_FITS_PER_CLEARING = 8


class _Draws:
    """The draws of one thread from a generator of its own; others' from Python's."""

    def __init__(self, seed):
        self._generator = random.Random(seed)
        self._thread = threading.get_ident()

    def randint(self, low, high):
        is_own = threading.get_ident() == self._thread
        return (self._generator if is_own else random).randint(low, high)


@contextlib.contextmanager
def own_draws(seed):
    """Let Keras draw from a generator that only this thread uses.

    Parameters
    ----------
    seed : int
        Of that generator.
    """
    before = seed_generator.python_random
    seed_generator.python_random = _Draws(seed)
    try:
        yield
    finally:
        seed_generator.python_random = before


@contextlib.contextmanager
def quiet_about_retracing():
    thread = threading.get_ident()

    def keep(record):
        return record.thread != thread or "tf.function retracing" not in str(record.msg)

    logger = tensorflow.get_logger()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def forget_kernels(*, is_shared=False):
    # Those of a shared program take a quarter of a second to make: only now and then.
    if not is_shared or next(_shared_fits) % _FITS_PER_CLEARING == 0:
        tensorflow_context.context().clear_kernel_cache()


def leave_out_all_reduce(optimizer):
    if tensorflow.distribute.get_strategy().num_replicas_in_sync == 1:
        optimizer._all_reduce_sum_gradients = _keep_gradients


def _keep_gradients(grads_and_vars):
    return grads_and_vars
