"""Compute the output of dense networks by NumPy, without TensorFlow.

A small network is computed in less time than a call of TensorFlow takes, and in a
process that never imports it.
"""

import contextlib
import functools
import itertools
import math
import threading

import numpy as np
from scipy import special

from skimgclf.models._predict import count_rows

# Of batch normalization; Keras' default.
_EPSILON = 1e-3

# Rows that are multiplied at once, and the most products in it: OpenBLAS (0.3) computes
# as many on one thread, so that no bit depends on the number of threads or of rows.
_N_ROWS, _N_PRODUCTS = 8, 2**18

# Keras' activations, by its names, with the constants of its documentation.
ACTIVATIONS = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * special.ndtr(x),
    "leaky_relu": lambda x: np.maximum(x, 0.2 * x),
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": lambda x: (
        1.05070098 * np.where(x > 0, x, 1.67326324 * np.expm1(np.minimum(x, 0)))
    ),
    "sigmoid": special.expit,
    "silu": lambda x: x * special.expit(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}


class DensePredictor:
    """Compute the output of a dense network.

    Parameters
    ----------
    training : Training
        Of a network of `is_dense`.

    Raises
    ------
    ValueError
        If the weights aren't those of its blueprint.
    """

    def __init__(self, training):
        self._training = training
        self._lock = threading.Lock()
        self._is_followed, self._is_held = False, False
        self._layers = self._read()

    def start(self):
        """Start a prediction, in which the network stays as it is now.

        Returns
        -------
        predict : callable
            Takes an array (n_samples, ...) and returns one (n_samples, n_classes).
        """
        with self._lock:
            if self._is_followed and not self._is_held:
                self._layers = self._read()
            activation = self._training.blueprint["parameters"]["activation"]
            return functools.partial(_compute, self._layers, ACTIVATIONS[activation])

    def follow(self):
        """Read the weights for each prediction, since a user may change them."""
        self._is_followed = True

    @contextlib.contextmanager
    def held(self):
        """Let predictions see the network as it is now while it is trained further."""
        self.start()
        with self._lock:
            self._is_held = True
        try:
            yield
        finally:
            with self._lock:
                self._layers, self._is_held = self._read(), False

    @property
    def n_rows(self):
        """Number of samples for which the largest array of the network is small."""
        return count_rows(max(max(kernel.shape) for kernel, _ in self._layers))

    def _read(self):
        weights = self._training.holder.list_weights()
        return _read_layers(self._training.blueprint, weights)


def is_dense(arguments, dtype_policy):
    """Tell whether NumPy computes a network.

    Parameters
    ----------
    arguments : dict
        Those of `build_network` that made it.
    dtype_policy : str
        Keras' name of its types.

    Returns
    -------
    is_dense : bool
        The same for a network that was fitted, pickled or loaded.
    """
    return (
        arguments["architecture"] == "dense"
        and arguments["parameters"]["activation"] in ACTIVATIONS
        and dtype_policy == "float32"
        and all(
            _N_ROWS * n_inputs * n_units <= _N_PRODUCTS
            for n_inputs, n_units in _list_shapes(arguments)
        )
        # Presets leave images as they are at predict.
        and all(isinstance(item, str) for item in arguments["augmentation"] or ())
    )


def _read_layers(blueprint, weights):
    """Turn the variables of a network into a matrix and an offset for each layer."""
    parameters, shapes = blueprint["parameters"], _list_shapes(blueprint)
    n_vectors = [4 if parameters["batch_norm"] else 1] * (len(shapes) - 1) + [1]
    expected = []
    for shape, n in zip(shapes, n_vectors, strict=True):
        expected += [shape, *[shape[1:]] * n]
    # The others are states of random layers.
    floats = [np.array(each) for each in weights if each.dtype == np.float32]
    n_states = len(shapes) - 1 if parameters["dropout"] else 0
    is_whole = len(weights) == len(floats) + n_states or blueprint["augmentation"]
    if [each.shape for each in floats] != expected or not is_whole:
        raise ValueError("the weights of the network don't fit its layers")
    rest = iter(floats)
    return [_join_layer(next(rest), *itertools.islice(rest, n)) for n in n_vectors]


def _list_shapes(blueprint):
    """List the numbers of inputs and of units of each layer."""
    sizes = [
        math.prod(blueprint["image_shape"]),
        *blueprint["parameters"]["hidden_layer_sizes"],
        blueprint["n_classes"],
    ]
    return list(itertools.pairwise(sizes))


def _join_layer(kernel, *vectors):
    """Return a matrix and an offset, with batch normalization in them."""
    if len(vectors) == 1:
        return kernel, *vectors
    gamma, beta, mean, variance = vectors
    scale = gamma / np.sqrt(variance + np.float64(_EPSILON))
    return (kernel * scale).astype("float32"), (beta - mean * scale).astype("float32")


def _compute(layers, activation, X):
    *hidden, (kernel, bias) = layers
    X = X.astype("float32", copy=False).reshape(len(X), -1)
    with np.errstate(all="ignore"):  # as in TensorFlow
        for hidden_kernel, hidden_bias in hidden:
            X = activation(_multiply(X, hidden_kernel) + hidden_bias)
        logits = _multiply(X, kernel) + bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _multiply(X, kernel):
    """Multiply rows by a matrix, always as many rows at once."""
    n_samples, n_inputs = X.shape
    n_whole = n_samples - n_samples % _N_ROWS
    product = np.empty((n_samples, kernel.shape[1]), dtype=np.float32)
    whole = X[:n_whole].reshape(-1, _N_ROWS, n_inputs) @ kernel
    product[:n_whole] = whole.reshape(n_whole, kernel.shape[1])
    if n_whole < n_samples:
        rest = np.zeros((_N_ROWS, n_inputs), dtype=np.float32)
        rest[: n_samples - n_whole] = X[n_whole:]
        product[n_whole:] = (rest @ kernel)[: n_samples - n_whole]
    return product
