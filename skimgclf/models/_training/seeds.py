"""Seed the draws of Keras, one thread at a time."""

import contextlib
import threading

from skimgclf.models._fork_guard import is_forked, use_tensorflow
from skimgclf.models._repairs import own_draws
from skimgclf.models._training.interrupt import holding_interrupts

# The modules that Keras draws seeds in are global, and tracing in TensorFlow isn't safe
# across threads: one fit at a time in a process.
_TRAINING_LOCK = threading.RLock()


def without_training():
    """Let no thread train, so that all values that are read belong to one network.

    Returns
    -------
    context : context manager
    """
    # A fork copies a lock that another thread holds, but not this thread.
    return contextlib.nullcontext() if is_forked() else _TRAINING_LOCK


@contextlib.contextmanager
def alone():
    """Let one thread at a time train, with Ctrl-C held back."""
    use_tensorflow()
    # In this order: whoever waits for another thread's fit is interrupted at once.
    with _TRAINING_LOCK, holding_interrupts():
        yield


@contextlib.contextmanager
def seeded(seed):
    """Build and train under a seed, one thread at a time.

    Parameters
    ----------
    seed : int
        Seed of everything that Keras draws inside. No global generator is touched.
    """
    with alone(), own_draws(seed):
        yield
