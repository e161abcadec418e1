"""Make one Keras network of the steps of a pipeline that follow the loader."""

import functools

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._checks.parameters import check_test_time_augmentation
from skimgclf.models._embedder import ImageEmbedder
from skimgclf.models._networks.augmentation import without_augmentation
from skimgclf.models._start import keras

_FLOAT32 = "float32"

# Between the probabilities of scikit-learn and those of float32.
_TOLERANCE = 1e-3


def join_steps(steps):
    """Make one network of steps.

    Parameters
    ----------
    steps : list of estimator
        Fitted: ImageEmbedder and StandardScaler, and a classifier at the end.

    Returns
    -------
    network : keras.Model
        Maps the samples of the first step to one probability for each class.
    """
    parts = [part for step in steps for part in _parts_of(step)]
    if len(parts) == 1 and isinstance(parts[0], keras.Model):
        return parts[0]
    first = steps[0]
    shape = getattr(first, "image_shape_", (first.n_features_in_,))
    inputs = keras.Input(shape)
    return keras.Model(inputs, functools.reduce(lambda x, f: f(x), parts, inputs))


def _parts_of(step):
    """Return the layers and networks that compute the same as one step."""
    if isinstance(step, ImageEmbedder):
        return [functools.partial(step._load_fitted().network, training=False)]
    if isinstance(step, StandardScaler):
        return _layers_of_scaler(step)
    if isinstance(step, LogisticRegression):
        return [_layer_of_regression(step)]
    network = without_augmentation(step.model_)
    check_test_time_augmentation(step.test_time_augmentation, step.image_shape_)
    if step.test_time_augmentation is not None:
        return [functools.partial(_average_flipped, network)]
    return [network]


def _average_flipped(network, images):
    mirrored = keras.ops.flip(images, axis=2)
    return keras.layers.Average()([network(images), network(mirrored)])


def _layers_of_scaler(scaler):
    # Two layers, since the difference to a large mean would lose its last digits.
    layers = []
    if scaler.with_mean:
        offset = (-scaler.mean_).tolist()
        layers.append(keras.layers.Rescaling(1.0, offset, dtype=_FLOAT32))
    if scaler.with_std:
        scale = (1 / scaler.scale_).tolist()
        layers.append(keras.layers.Rescaling(scale, dtype=_FLOAT32))
    return layers


def _layer_of_regression(regression):
    kernel, bias = regression.coef_.T, regression.intercept_
    kernel = kernel.toarray() if scipy.sparse.issparse(kernel) else kernel
    if len(regression.classes_) == 2:  # a sigmoid is the softmax of half of its input
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2
    dense = keras.layers.Dense(kernel.shape[1], activation="softmax", dtype=_FLOAT32)
    dense.build((None, len(kernel)))
    dense.set_weights([kernel, bias])
    rows = np.random.default_rng(0).normal(size=(8, len(kernel))) / len(kernel) ** 0.5
    expected = regression.predict_proba(rows)
    if not np.allclose(dense(rows.astype(_FLOAT32)), expected, atol=_TOLERANCE):
        raise InvalidParameterError(
            "This LogisticRegression can't be exported, since its probabilities aren't "
            "the softmax of linear functions, as with one regression for each class. "
            "Fit it with another solver."
        )
    return dense
