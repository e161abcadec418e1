"""Seed what Keras draws, one thread at a time."""

import contextlib
import random
import threading

from skimgclf.models._fork_guard import use_tensorflow
from skimgclf.models._repairs import own_draws

# Where Keras draws seeds is global, and TensorFlow's tracing isn't safe across threads:
# one fit at a time in a process.
_TRAINING_LOCK = threading.RLock()


@contextlib.contextmanager
def seeded(seed):
    """Build and train under a seed, one thread at a time.

    Parameters
    ----------
    seed : int
        Seed of everything that Keras draws inside; Python's global generator is as
        before afterwards, and no other one is touched.
    """
    use_tensorflow()
    with _TRAINING_LOCK:
        state = random.getstate()
        random.seed(seed)
        try:
            with own_draws(seed):
                yield
        finally:
            random.setstate(state)
