"""Samples to batches: the one path on which data reaches a network."""

import contextlib
from collections import namedtuple

import keras
import numpy as np
import tensorflow

from skimgclf._validation import warn_user
from skimgclf.exceptions import ImageLoadWarning
from skimgclf.models._process import use_tensorflow
from skimgclf.models._reader import BatchReader

# Samples with what training needs of them: X (n_samples, ...), floats or uint8 images,
# in memory or lazy; codes (n_samples,), the index of each sample's class; weights
# (n_samples,) or None.
Samples = namedtuple("Samples", ["X", "codes", "weights"])


class Batches(keras.utils.PyDataset):
    """Batches of samples in an order that only the given generator decides.

    Keras shuffles with the global random state of Python or TensorFlow; here the order
    comes from a generator of our own, so that a fit with the same seed sees the same
    batches in every process and thread, from memory and from disk. Images of 8 bits are
    divided by 255 batch by batch.

    Parameters
    ----------
    samples : Samples
        What to train on, or to evaluate.
    batch_size : int
        Number of samples in a batch; the last one of an epoch may be smaller.
    order : numpy.random.Generator, default=None
        Draws the order of each epoch; None for the order of the samples.
    """

    def __init__(self, samples, *, batch_size, order=None):
        super().__init__()
        self.reader = BatchReader(samples.X, batch_size)
        self._samples = samples
        self._order = order
        self._has_begun = False

    @property
    def num_batches(self):
        """Number of batches in an epoch."""
        return self.reader.n_batches

    def on_epoch_begin(self):
        """Draw the order of the next epoch."""
        n_samples = len(self._samples.codes)
        if self._order is None:
            # Numbers, not slices: they copy. TensorFlow computes in the very memory of
            # arrays that a data set yields, which must not be the samples' own.
            rows = np.arange(n_samples)
        else:
            rows = self._order.permutation(n_samples)
        self.reader.start(rows)
        self._has_begun = True

    def __getitem__(self, index):
        if not self._has_begun:
            # Before the first epoch, Keras looks for shapes and types only.
            X = self.reader.make_blank()
            return self._add_labels(X, slice(len(X)))
        return self.read(index)

    def read(self, index, n_joined=1):
        """Return batches as one, from a given one on.

        Parameters
        ----------
        index, n_joined : int
            As in `BatchReader.read`.

        Returns
        -------
        batch : tuple of ndarray
            Samples, codes, and weights if there are any.
        """
        X = self.reader.read(index, n_joined)
        return self._add_labels(X, self.reader.key_of(index, n_joined))

    def close(self):
        """Let go of the samples, and stop reading ahead.

        TensorFlow (2.21) keeps the data sets that it made of generators for ever, and
        with them this object, but not what it holds.
        """
        self.reader.close()
        self._samples = None

    def _add_labels(self, X, key):
        _, codes, weights = self._samples
        batch = (X, codes[key])
        return batch if weights is None else (*batch, weights[key])


@contextlib.contextmanager
def reading(*parts):
    """Train on these `Batches`, and close them.

    An image that can't be read reaches the caller as the reader's own error, instead of
    what TensorFlow makes of it.
    """
    try:
        yield
    except Exception:
        failures = [part.reader.failure for part in parts if part.reader.failure]
        if not failures:
            raise
        raise failures[0] from failures[0].__cause__
    finally:
        for part in parts:
            part.close()


def make_predict_function(network):
    """Make the function that computes a network's output for one batch.

    `keras.Model.predict` builds a data set for each call, which costs more than 50 ms,
    and both it and `predict_on_batch` trace the network anew for other batch sizes,
    and warn when many networks in a process do so. This function is traced here, once.

    Parameters
    ----------
    network : keras.Model
        Maps samples to rows of numbers.

    Returns
    -------
    predict : callable
        Takes an array (n_samples, ...) and returns one (n_samples, n_outputs).
    """
    use_tensorflow()
    samples = network.inputs[0]
    signature = tensorflow.TensorSpec(samples.shape, samples.dtype)
    traced = tensorflow.function(
        lambda X: network(X, training=False), autograph=False
    ).get_concrete_function(signature)

    def predict(X):
        use_tensorflow()
        return traced(tensorflow.constant(X, signature.dtype)).numpy()

    return predict


def predict_in_batches(predict, X, *, batch_size):
    """Compute the output for all samples.

    Parameters
    ----------
    predict : callable
        Made by `make_predict_function`.
    X : ndarray or LazyImages of shape (n_samples, ...)
        Samples: floats, or uint8 images, which are divided by 255.
    batch_size : int
        Number of samples computed at once.

    Returns
    -------
    outputs : ndarray of shape (n_samples, n_outputs)
    """
    reader = BatchReader(X, batch_size)
    reader.start()
    try:
        outputs = [predict(reader.read(index)) for index in range(reader.n_batches)]
    finally:
        reader.close()
    warn_of_filled(reader)
    return np.concatenate(outputs)


def warn_of_filled(*readers):
    """Warn of all images that were replaced by background, since unreadable."""
    for reader in readers:
        if reader.filled:
            errors = [reader.filled[row] for row in sorted(reader.filled)]
            warn_user(ImageLoadWarning(errors))
