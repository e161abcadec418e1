"""Compute the output of a network for many samples, batch by batch."""

import numpy as np
import tensorflow

from skimgclf.models._fork_guard import use_tensorflow
from skimgclf.models._training.read_ahead import BatchReader, warn_of_filled


def make_predict_function(network):
    """Make the function that computes a network's output for one batch.

    `keras.Model.predict` builds a data set for each call, which costs more than 50 ms,
    and `predict` and `predict_on_batch` trace the network anew for other batch sizes,
    and warn when many networks in a process do so. The function made here is traced
    once.

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
