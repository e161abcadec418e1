"""Read batches of samples: from an array, or ahead from disk by threads."""

from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from skimgclf._validation import warn_user
from skimgclf.exceptions import ImageLoadWarning
from skimgclf.images import LazyImages
from skimgclf.models._start import read_floatx
from skimgclf.models._training.interrupt import hear_interrupt

# Seconds of waiting for a batch after which Ctrl-C is heard.
_PAUSE = 0.1


class BatchReader:
    """Read the batches of one pass over the samples after another.

    Parameters
    ----------
    X : ndarray or LazyImages of shape (n_samples, ...)
        Samples: floats, or uint8 images, which are divided by 255.
    batch_size : int
        Number of samples in a batch; the last one of a pass may be smaller.

    Attributes
    ----------
    batch_size : int
        The same, but no more than there are samples.
    filled : dict of int to tuple (int, str, str)
        By row, the unreadable images that were replaced by background.
    failure : tuple (Exception, Exception) or None
        The error of a read and its cause, which Keras drops.
    """

    def __init__(self, X, batch_size):
        self.filled = {}
        self.failure = None
        self._X = X
        self.batch_size = min(int(batch_size), len(X))
        self._rows = None
        self._pool = None
        self._pending = {}
        if isinstance(X, LazyImages):
            n_threads = X.n_threads
            self._n_ahead = 2 * n_threads
            self._pool = ThreadPoolExecutor(n_threads, "skimgclf-reader")

    @property
    def n_batches(self):
        """Number of batches in a pass."""
        return -(-len(self._X) // self.batch_size)

    def start(self, rows=None):
        """Begin a pass.

        Parameters
        ----------
        rows : ndarray of int of shape (n_samples,), default=None
            The order of the samples; None for that of X.
        """
        for future in self._pending.values():
            future.cancel()
        self._pending = {}
        self._rows = rows

    def read(self, index, n_joined=1):
        """Return batches of the pass joined into one, in their order.

        Parameters
        ----------
        index : int
            The first of them, from 0.
        n_joined : int, default=1
            Number of batches; fewer at the end of the pass.

        Returns
        -------
        samples : ndarray of shape (n_joined * n_batch, ...)
        """
        if self._pool is None:
            return scale_samples(self._X[self.key_of(index, n_joined)])
        # While a program runs, threads read all batches of the call after it.
        n_ahead = max(self._n_ahead, 2 * n_joined)
        self._read_ahead(range(index, min(index + n_ahead, self.n_batches)))
        last = min(index + n_joined, self.n_batches)
        parts = [self._take(each) for each in range(index, last)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def make_blank(self):
        """Return a batch of the right shape and type, without reading anything."""
        shape = self.batch_size, *self._X.shape[1:]
        return scale_samples(np.zeros(shape, self._X.dtype))

    def close(self):
        """Stop reading ahead, and release the samples."""
        if self._pool is not None:
            # What is still being read after an error or Ctrl-C is not waited for.
            self._pool.shutdown(wait=not self._pending, cancel_futures=True)
        self._X = None
        self._pending = {}

    def key_of(self, index, n_joined=1):
        """Return the index of the samples of batches: a slice or an array of int."""
        size = self.batch_size
        samples = slice(index * size, (index + n_joined) * size)
        return samples if self._rows is None else self._rows[samples]

    def _read_ahead(self, indices):
        for index in indices:
            if index not in self._pending:
                key = self.key_of(index)
                self._pending[index] = self._pool.submit(_decode, self._X, key)

    def _take(self, index):
        _wait_for(self._pending[index])
        try:
            samples, errors = self._pending.pop(index).result()
        except Exception as error:
            self.failure = error, error.__cause__
            raise
        self.filled.update({error[0]: error for error in errors})
        return samples


def _decode(X, key):
    images, errors = X.read(key)
    return scale_samples(images), errors


def _wait_for(future):
    """Wait for a batch, and hear Ctrl-C meanwhile."""
    hear_interrupt()
    while not future.done():
        wait([future], timeout=_PAUSE)
        hear_interrupt()


def scale_samples(X):
    """Return samples as the network takes them: uint8 divided by 255, floats as is."""
    floatx = read_floatx()
    if X.dtype == np.uint8:
        return X / np.asarray(255, dtype=floatx)
    return X.astype(floatx, copy=False)


def warn_of_filled(*readers):
    """Warn of all unreadable images that were replaced by background."""
    for reader in readers:
        if reader.filled:
            errors = [reader.filled[row] for row in sorted(reader.filled)]
            warn_user(ImageLoadWarning(errors))
