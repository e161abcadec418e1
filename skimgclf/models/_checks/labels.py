"""Check the labels of samples."""

import datetime
import numbers

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skimgclf._validation import warn_user
from skimgclf.exceptions import describe_list


def check_labels(y, classes=None, *, name="y"):
    """Validate labels: one for each sample, of at least two classes.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Strings, bools or ints.
    classes : ndarray of shape (n_classes,), default=None
        All labels that may occur; None for the labels in `y`.
    name : str, default="y"
        Name of the labels, for errors.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The sorted labels, as they were given.
    codes : ndarray of int of shape (n_samples,)
        The index of each sample's label in `classes`.
    """
    given, y = y, _as_column(y, name)
    _refuse_missing_labels(y, name)
    _refuse_unsavable(y, name, given)
    _refuse_mixed_labels(y, name)
    check_classification_targets(y)
    if classes is not None:
        return classes, _encode(y, classes, name)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"A classifier needs samples of at least 2 classes, but {name} holds only "
            f"one class: {classes.tolist()[0]!r}."
        )
    return classes, codes


def check_partial_classes(classes, known):
    """Validate the classes of `partial_fit`, which the first call must name.

    Parameters
    ----------
    classes : array-like of shape (n_classes,) or None
        As the user gave them.
    known : ndarray of shape (n_classes,) or None
        Classes of earlier calls; None in the first call.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted.
    """
    if known is None and classes is None:
        raise ValueError(
            "classes must be passed on the first call to partial_fit: all labels that "
            "will ever come."
        )
    if classes is None:
        return known
    classes, _ = check_labels(classes, name="classes")
    if known is not None and not np.array_equal(classes, known):
        raise ValueError(
            f"classes={classes.tolist()!r} is not the same as on the last call to "
            f"partial_fit or fit, which was {known.tolist()!r}."
        )
    return classes


def warn_of_unknown_labels(y, classes):
    """Warn of labels that weren't seen in fit; refuse y if all are of another type.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels at score time.
    classes : ndarray of shape (n_classes,)
        The labels seen in fit.
    """
    y = _as_column(y, "y")
    known = set(classes.tolist())
    rows = [row for row, label in enumerate(y.tolist()) if label not in known]
    if not rows:
        return
    first = f"{y.tolist()[rows[0]]!r} in row {rows[0]}"
    seen = _list_classes(classes)
    # As in scikit-learn, an accuracy of 0 where all are of classes that a fold lacks.
    if len(rows) == len(y) and _is_text(y) != _is_text(classes):
        raise ValueError(
            f"None of the labels in y was seen in fit, the first is {first}. They are "
            f"of another type. {seen}"
        )
    warn_user(
        f"{len(rows)} of {len(y)} labels in y were never seen in fit and count as "
        f"wrongly predicted, the first is {first}. {seen}"
    )


def _is_text(labels):
    return all(isinstance(label, str) for label in labels.tolist())


def _encode(y, classes, name):
    index = {label: code for code, label in enumerate(classes.tolist())}
    labels = y.tolist()
    unknown = [row for row, label in enumerate(labels) if label not in index]
    if unknown:
        raise ValueError(
            f"{name} holds a label that isn't among the classes: "
            f"{labels[unknown[0]]!r} in row {unknown[0]}. {_list_classes(classes)}"
        )
    return np.array([index[label] for label in labels])


def _list_classes(classes):
    return describe_list(
        "The classes are:", [repr(label) for label in classes.tolist()]
    )


def _as_column(y, name):
    if y is None:
        raise ValueError(
            f"{name} is missing: a classifier requires y to be passed, but the target "
            f"{name} is None."
        )
    try:
        array = np.asarray(y)
    except ValueError:
        row, n_labels = _first_ragged(y)
        raise ValueError(
            f"{name} must hold one label for each image, but row {row} holds "
            f"{n_labels}."
        ) from None
    shape = array.shape
    if array.dtype.kind == "T":  # NumPy's StringDType, which scikit-learn doesn't know
        _refuse_unsavable(array, name, y)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{name} should be a 1d array, got an array of shape {shape} instead. One "
            f"label for each image is expected: for one-hot rows use {name}.argmax("
            "axis=1); several labels for an image are not supported."
        )
    if isinstance(y, list | tuple):
        # np.asarray would turn the missing label in ["a", nan] into the text "nan".
        mixed = len({isinstance(label, str) for label in y}) == 2
        y = np.asarray(y, dtype=object if mixed else None)
    return column_or_1d(y, warn=True)


def _first_ragged(y):
    sizes = [1 if isinstance(label, str) else np.size(label) for label in y]
    row = next((row for row, size in enumerate(sizes) if size != 1), 0)
    return row, sizes[row]


def _refuse_missing_labels(y, name):
    import pandas as pd

    missing = np.flatnonzero(pd.isna(y))
    if len(missing):
        raise ValueError(
            f"Input {name} contains NaN or None: {len(missing)} of {len(y)} labels are "
            f"missing, the first in row {missing[0]}. Leave those images out, or give "
            "them a label."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError(f"Input {name} contains infinity, which can't be a label.")


def _refuse_unsavable(y, name, given):
    """Refuse labels of a type that a file of `save_model` can't hold."""
    kind = y.dtype.kind
    odd = [label for label in y if not _is_plain(label)] if kind == "O" else []
    is_double = kind != "f" or y.dtype.itemsize <= 8
    if kind in "OUbiuf" and is_double and not odd:
        return
    found = type(odd[0]).__name__ if odd else y.dtype
    is_time = kind in "mM" or (odd and isinstance(odd[0], datetime.date))
    what = f"dates or times ({found})" if is_time else f"values of type {found}"
    is_array = hasattr(given, "astype")
    advice = f"{name if is_array else f'numpy.asarray({name})'}.astype(str)"
    if kind == "T":  # NumPy doesn't turn it into its other type of text
        advice = f"{name}.tolist()"
    raise ValueError(
        f"{name} holds {what}, which can't be labels, since no saved model "
        f"could hold them. Turn them into text: {advice}."
    )


def _is_plain(label):
    return isinstance(label, str | numbers.Real | np.bool_)


def _refuse_mixed_labels(y, name):
    is_text = np.array([isinstance(label, str) for label in y.tolist()])
    if is_text.any() and not is_text.all():
        text, other = is_text.argmax(), is_text.argmin()
        raise ValueError(
            f"{name} mixes text and other labels: row {text} is {y[text]!r} and row "
            f"{other} is {y[other]!r}. Give all the same type."
        )
