"""Samples to batches: the one path on which data reaches a network."""

import keras
import numpy as np
import tensorflow


class ShuffledBatches(keras.utils.PyDataset):
    """Batches of samples in an order that only the seed decides.

    Keras shuffles with the global random state of Python or TensorFlow; here the order
    comes from a generator of our own, so that a fit with the same seed sees the same
    batches in every process and thread.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
        Samples: floats, or uint8 images, which are divided by 255 batch by batch.
    codes : ndarray of int of shape (n_samples,)
        Index of each sample's class.
    sample_weight : ndarray of shape (n_samples,) or None
        Weight of each sample.
    batch_size : int
        Number of samples in a batch; the last one of an epoch may be smaller.
    seed : int
        Seed of the order.
    """

    def __init__(self, X, codes, sample_weight, *, batch_size, seed):
        super().__init__()
        self._X = X
        self._codes = codes
        self._sample_weight = sample_weight
        self._batch_size = batch_size
        self._random = np.random.default_rng(seed)
        self._order = np.arange(len(codes))

    @property
    def num_batches(self):
        """Number of batches in an epoch."""
        return -(-len(self._codes) // self._batch_size)

    def on_epoch_begin(self):
        """Draw the order of the next epoch."""
        self._order = self._random.permutation(len(self._codes))

    def __getitem__(self, index):
        start = index * self._batch_size
        rows = self._order[start : start + self._batch_size]
        batch = (scale_samples(self._X[rows]), self._codes[rows])
        if self._sample_weight is None:
            return batch
        return (*batch, self._sample_weight[rows])


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
    samples = network.inputs[0]
    signature = tensorflow.TensorSpec(samples.shape, samples.dtype)
    traced = tensorflow.function(
        lambda X: network(X, training=False), autograph=False
    ).get_concrete_function(signature)

    def predict(X):
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
