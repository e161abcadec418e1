"""Compute the output of a network for many samples, batch by batch."""

import contextlib
import functools
import math
import threading
import weakref

import numpy as np

from skimgclf.models._fork_guard import use_tensorflow
from skimgclf.models._networks.layers import list_outputs
from skimgclf.models._repairs import forget_kernels
from skimgclf.models._start import keras, tensorflow
from skimgclf.models._training.interrupt import holding_interrupts
from skimgclf.models._training.read_ahead import BatchReader, warn_of_filled

# Of the largest array of a network, for the samples that are computed at once: more
# don't fit into the caches of a processor.
_N_BYTES = 4 * 2**20


class Predictor:
    """Compute a network's output for one batch.

    `keras.Model.predict` builds a data set for each call, which costs more than 50 ms,
    and `predict` and `predict_on_batch` trace the network anew for other batch sizes,
    and warn when many networks in a process do so. The function made here is traced
    once.

    Parameters
    ----------
    network : keras.Model
        Maps samples to rows of numbers.
    """

    def __init__(self, network):
        use_tensorflow()
        samples = network.inputs[0]
        self.samples = tensorflow.TensorSpec(samples.shape, samples.dtype)
        self.compute = _trace(lambda X: network(X, training=False), self.samples)
        forget_kernels(rarely=True)  # those of networks that were loaded before
        self._network = network
        self._lock = threading.Lock()
        self._running, self._held = weakref.WeakSet(), None

    def start(self):
        """Start a prediction, in which the network stays as it is now.

        Returns
        -------
        predict : callable
            Takes an array (n_samples, ...) and returns one (n_samples, n_outputs).
        """
        use_tensorflow()
        with self._lock:
            prediction = _Prediction(self, self._held)
            self._running.add(prediction)
        return prediction

    def freeze(self, prediction):
        """Make a function of contexts in which variables have a prediction's values."""
        with self._lock:  # a further training begins before or after this
            values = prediction.values or self._copy_values()
        pairs = list(zip(self._network.variables, values, strict=True))
        return lambda: keras.StatelessScope(pairs)

    def _copy_values(self):
        return [tensorflow.identity(each.value) for each in self._network.variables]

    @contextlib.contextmanager
    def held(self):
        """Let predictions see the network as it is now while it is trained further."""
        values = self._copy_values()
        with self._lock:
            self._held = values
            for prediction in self._running:
                prediction.values = prediction.values or values
        try:
            yield
        finally:
            with self._lock:
                self._held = None

    @functools.cached_property
    def n_rows(self):
        """Number of samples for which the largest array of the network is small."""
        largest = max(math.prod(shape) for _, shape in list_outputs(self._network))
        return count_rows(largest)

    @functools.cached_property
    def compute_with(self):
        """The function of the values of variables and samples, traced at first use."""
        network = self._network
        variables = network.variables
        specs = [tensorflow.TensorSpec(each.shape, each.dtype) for each in variables]

        def compute(values, X):
            with keras.StatelessScope(zip(variables, values, strict=True)):
                return network(X, training=False)

        return _trace(compute, specs, self.samples)


class _Prediction:
    """Compute the output for batches, all with the same values of variables."""

    def __init__(self, predictor, values):
        self._predictor, self.values = predictor, values

    def freeze(self):
        """Keep the network as it is for computations of another kind.

        Returns
        -------
        frozen : callable
            Makes a context in which the variables have the values of this prediction.
        """
        return self._predictor.freeze(self)

    def __call__(self, X):
        X = tensorflow.constant(X, self._predictor.samples.dtype)
        if self.values is None:
            outputs = self._predictor.compute(X).numpy()
            if self.values is None:
                return outputs
            # A training has begun meanwhile, and may have changed some variables.
        return self._predictor.compute_with(self.values, X).numpy()


def _trace(function, *signature):
    traced = tensorflow.function(function, autograph=False)
    # TensorFlow may make another error of Ctrl-C here.
    with holding_interrupts():
        return traced.get_concrete_function(*signature)


def count_rows(largest):
    """Count the samples for which an array of `largest` numbers a sample is small."""
    return max(1, _N_BYTES // (4 * largest))


def average_flipped(predict):
    """Average the output for images and for their mirror images.

    Parameters
    ----------
    predict : callable
        Takes images (n_samples, height, width, n_channels), and returns an array.

    Returns
    -------
    predict_both : callable
        Takes and returns the same.
    """
    return lambda images: (predict(images) + predict(images[:, :, ::-1])) / 2


def predict_in_batches(predict, X, *, batch_size):
    """Compute the output for all samples.

    Parameters
    ----------
    predict : callable
        Made by `Predictor.start`.
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
