"""Train the textbook's network in TensorFlow's own operations: the least a fit takes.

No layer of Keras, no metric, no callback and no check: weights in variables, gradients
by a tape, TensorFlow's fused operation for Adam, and one call for all batches of an
epoch.
"""

import itertools

import numpy as np
import tensorflow as tf


class BareTensorFlow:
    """A dense network with a traced program for an epoch.

    Parameters
    ----------
    n_units : tuple of int
        Of the input, the hidden layers and the output.
    batch_size : int
        Number of samples in a batch.
    """

    def __init__(self, n_units, batch_size):
        random = np.random.default_rng(0)
        self._weights, self._batch_size = [], batch_size
        for n_in, n_out in itertools.pairwise(n_units):
            limit = (6 / (n_in + n_out)) ** 0.5
            kernel = random.uniform(-limit, limit, (n_in, n_out)).astype("float32")
            self._weights += [tf.Variable(kernel), tf.Variable(tf.zeros(n_out))]
        self._moments = [
            [tf.Variable(tf.zeros_like(weight)) for _ in range(2)]
            for weight in self._weights
        ]
        self._powers = [tf.Variable(1.0), tf.Variable(1.0)]
        self._program = tf.function(self._run_epoch, autograph=False)

    def trace(self, X, y):
        """Trace the program for such rows."""
        self._program = self._program.get_concrete_function(X, y)

    def run(self, X, y, epochs):
        """Train; the samples stay in their order."""
        for _ in range(epochs):
            loss = self._program(X, y)
        return float(loss)

    def _run_epoch(self, X, y):
        n_rows = tf.shape(X)[0]

        def run_batch(start, _):
            stop = tf.minimum(start + self._batch_size, n_rows)
            return stop, self._run_step(X[start:stop], y[start:stop])

        start = tf.constant(0), tf.constant(0.0)
        is_left = lambda start, _: start < n_rows  # noqa: E731
        return tf.while_loop(is_left, run_batch, start, parallel_iterations=1)[1]

    def _run_step(self, X, y):
        with tf.GradientTape() as tape:
            hidden = X
            for kernel, bias in zip(
                self._weights[::2], self._weights[1::2], strict=True
            ):
                is_last = bias is self._weights[-1]
                hidden = tf.nn.bias_add(tf.matmul(hidden, kernel), bias)
                hidden = hidden if is_last else tf.nn.relu(hidden)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, hidden)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._weights)
        for power, beta in zip(self._powers, (0.9, 0.999), strict=True):
            power.assign(power * beta)
        parts = zip(self._weights, self._moments, gradients, strict=True)
        for weight, (first, second), gradient in parts:
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=self._powers[0],
                beta2_power=self._powers[1],
                lr=0.001,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
            )
        return loss
