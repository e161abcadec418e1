"""The seeds that Keras draws while a network is built, whatever other threads do.

Keras 3.15 draws the seeds of initializers and dropout from Python's global generator,
which all threads of a process share. To seed it isn't enough: a worker of Dask draws
from it twice a second, to estimate sizes, and a network built meanwhile got other
weights. Keras offers no other source, so that for the time of a fit the module that
draws looks at `_Draws` instead of `random`. It can go when Keras draws from something
that belongs to a thread.
"""

import contextlib
import random
import threading

from keras.src.random import seed_generator


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
