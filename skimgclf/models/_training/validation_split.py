"""Split samples into training data and validation data."""

import math

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_consistent_length

from skimgclf.images import LazyImages
from skimgclf.models._checks.images import check_samples
from skimgclf.models._checks.labels import check_labels
from skimgclf.models._checks.weights import check_weights
from skimgclf.models._start import keras
from skimgclf.models._training.batches import Samples


class SelectedRows:
    """Select rows of an array, and copy only those that are read.

    An array as large as memory, or mapped from a file that is larger, would have to be
    copied to leave a few of its rows out.

    Parameters
    ----------
    X : ndarray or SelectedRows of shape (n_samples, ...)
        All rows.
    rows : ndarray of int of shape (n_selected,)
        Index of the selected rows.
    """

    def __init__(self, X, rows):
        self._X = X
        self._rows = rows

    @property
    def shape(self):
        return len(self), *self._X.shape[1:]

    @property
    def dtype(self):
        return self._X.dtype

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, key):
        return self._X[self._rows[key]]


def join_samples(X, codes, weights):
    """Join samples, codes and weights, without the samples of weight 0.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
        Validated samples.
    codes : ndarray of int of shape (n_samples,)
        The index of each sample's class.
    weights : ndarray of shape (n_samples,) or None
        From `check_weights`.

    Returns
    -------
    samples : Samples
    """
    if weights is None:
        return Samples(X, codes, None)
    samples = Samples(X, codes, weights.astype(keras.config.floatx()))
    return samples if weights.all() else _select(samples, np.flatnonzero(weights))


def check_validation_data(estimator, X_val, y_val, sample_weight_val, classes):
    """Check the validation data that the user gave.

    Parameters
    ----------
    estimator : KerasImageClassifier
        Knows the shape of X, which X_val must have too.
    X_val, y_val, sample_weight_val : array-like or None
        As in ``fit``.
    classes : ndarray of shape (n_classes,)
        The labels of y.

    Returns
    -------
    samples : Samples or None
        None if nothing was given.
    """
    if X_val is None and y_val is None and sample_weight_val is None:
        return None
    if X_val is None or y_val is None:
        missing = "X_val" if X_val is None else "y_val"
        raise ValueError(f"X_val and y_val come together, but {missing} is missing.")
    X_val = check_samples(estimator, X_val, reset=False, name="X_val")
    _, codes = check_labels(y_val, classes, name="y_val")
    check_consistent_length(X_val, codes)
    weights = check_weights(sample_weight_val, None, codes, classes)
    return join_samples(X_val, codes, weights)


def hold_out(samples, fraction, classes, *, seed):
    """Split samples into those to train on and those to validate on, by class.

    Parameters
    ----------
    samples : Samples
        All samples.
    fraction : float
        Fraction to hold out, in (0, 1).
    classes : ndarray of shape (n_classes,)
        The labels.
    seed : int
        Decides which samples are held out.

    Returns
    -------
    training, validation : Samples
        In the order of `samples`.
    """
    _refuse_small_data(samples.codes, fraction, classes)
    rows = train_test_split(
        np.arange(len(samples.codes)),
        test_size=fraction,
        stratify=samples.codes,
        random_state=seed,
    )
    return [_select(samples, np.sort(part)) for part in rows]


def _select(samples, rows):
    """Select samples by an index array."""
    X, weights = samples.X, samples.weights
    X = X[rows] if isinstance(X, LazyImages) else SelectedRows(X, rows)
    return Samples(X, samples.codes[rows], None if weights is None else weights[rows])


def _refuse_small_data(codes, fraction, classes):
    counts = np.bincount(codes, minlength=len(classes))
    labels = classes.tolist()
    for label, count in zip(labels, counts, strict=True):
        if count == 1:
            raise ValueError(
                "early_stopping holds out samples of each class, but the class "
                f"{label!r} has only 1 sample. Leave it out, or pass X_val and y_val."
            )
    n_present = int((counts > 0).sum())
    n_held_out = math.ceil(fraction * len(codes))
    if min(n_held_out, len(codes) - n_held_out) < n_present:
        raise ValueError(
            f"early_stopping with validation_fraction={fraction} holds out "
            f"{n_held_out} of {len(codes)} samples, but at least one of each of the "
            f"{n_present} classes is needed on both sides. Change validation_fraction, "
            "or pass X_val and y_val."
        )
