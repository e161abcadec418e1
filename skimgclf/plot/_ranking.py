"""Order predictions: the worst, the best or the most uncertain first."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import unique_labels

from skimgclf._validation import parameter_error

_OWNER = "ImageGridDisplay"
WHICH = ("worst", "best", "uncertain", "random")


def check_probabilities(y_true, y_pred, proba, classes):
    """Look up the probabilities of true and predicted labels.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n_samples,)
        Labels.
    proba : array-like of shape (n_samples, n_classes) or None
        Probabilities.
    classes : array-like of shape (n_classes,) or None
        Labels of the columns of `proba`; None for all of `y_true` and `y_pred`, sorted.

    Returns
    -------
    of_true, of_pred : ndarray of shape (n_samples,)
        Probability of each label; 0 for true labels that have no column.
    margin : ndarray of shape (n_samples,)
        Difference between the two highest probabilities.

        Without `proba`, all returned values are None.
    """
    labels = unique_labels(y_true, y_pred)  # refuses to compare numbers and text
    if proba is None:
        return None, None, None
    proba = np.asarray(proba, dtype=float)
    if proba.ndim != 2 or proba.shape[1] < 2:
        expected = (
            "of shape (n_samples, n_classes), with a column for each of two or more "
            "classes, as predict_proba gives it"
        )
        raise parameter_error(_OWNER, "proba", expected, proba)
    names = labels if classes is None else np.asarray(classes)
    if names.shape != proba.shape[1:] or not set(y_pred) <= set(names):
        expected = (
            f"the classes_ of the estimator: labels of the {proba.shape[1]} columns of "
            "proba, with every label of y_pred among them"
        )
        raise parameter_error(_OWNER, "classes", expected, classes)
    second, first = np.sort(proba, axis=1)[:, -2:].T
    of_true, of_pred = (_look_up(proba, names, y) for y in (y_true, y_pred))
    return of_true, of_pred, first - second


def _look_up(proba, names, y):
    columns = {name: column for column, name in enumerate(names)}
    return np.array(
        [
            proba[row, columns[label]] if label in columns else 0.0
            for row, label in enumerate(y)
        ]
    )


def rank_rows(which, is_wrong, of_true, margin, random_state):
    """Order predictions, those to look at first in front.

    Parameters
    ----------
    which : {"worst", "best", "uncertain", "random"}
        See `ImageGridDisplay.from_predictions`.
    is_wrong : ndarray of shape (n_samples,), bool
    of_true, margin : ndarray of shape (n_samples,) or None
        From `check_probabilities`.
    random_state : int, RandomState instance or None
        For "random".

    Returns
    -------
    rows : ndarray of shape (n_samples,)
        All rows, those to look at first in front.
    """
    if which == "random":
        return check_random_state(random_state).permutation(len(is_wrong))
    if which == "uncertain":
        if margin is None:
            expected = "'worst', 'best' or 'random' without proba"
            raise parameter_error(_OWNER, "which", expected, which)
        return np.argsort(margin, kind="stable")
    sure = np.zeros(len(is_wrong)) if of_true is None else of_true
    # The last key counts first; equal rows keep their order.
    if which == "worst":
        return np.lexsort((sure, ~is_wrong))
    return np.lexsort((-sure, is_wrong))
