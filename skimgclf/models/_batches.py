"""Samples to batches: the one path on which data reaches a network."""

from collections import namedtuple

import keras
import numpy as np
import tensorflow

from skimgclf.models._process import use_tensorflow

# Samples with what training needs of them: X (n_samples, ...), floats or uint8 images;
# codes (n_samples,), the index of each sample's class; weights (n_samples,) or None.
Samples = namedtuple("Samples", ["X", "codes", "weights"])


class Batches(keras.utils.PyDataset):
    """Batches of samples in an order that only the given generator decides.

    Keras shuffles with the global random state of Python or TensorFlow; here the order
    comes from a generator of our own, so that a fit with the same seed sees the same
    batches in every process and thread. Images of 8 bits are divided by 255 batch by
    batch.

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
        self._samples = samples
        self._batch_size = batch_size
        self._order = order
        self._rows = np.arange(len(samples.codes))

    @property
    def num_batches(self):
        """Number of batches in an epoch."""
        return -(-len(self._rows) // self._batch_size)

    def on_epoch_begin(self):
        """Draw the order of the next epoch."""
        if self._order is not None:
            self._rows = self._order.permutation(len(self._rows))

    def __getitem__(self, index):
        start = index * self._batch_size
        rows = self._rows[start : start + self._batch_size]
        X, codes, weights = self._samples
        batch = (scale_samples(X[rows]), codes[rows])
        return batch if weights is None else (*batch, weights[rows])


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
    X : ndarray of shape (n_samples, ...)
        Samples: floats, or uint8 images, which are divided by 255.
    batch_size : int
        Number of samples computed at once.

    Returns
    -------
    outputs : ndarray of shape (n_samples, n_outputs)
    """
    starts = range(0, len(X), batch_size)
    return np.concatenate(
        [predict(scale_samples(X[start : start + batch_size])) for start in starts]
    )


def scale_samples(X):
    """Return samples as the network takes them: uint8 divided by 255, floats as is."""
    if X.dtype == np.uint8:
        return X / np.asarray(255, dtype=keras.config.floatx())
    return X
