"""Check the weights of samples and classes."""

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length

from skimgclf._validation import parameter_error


def check_weights(sample_weight, class_weight, codes, labels, *, rescale=True):
    """Combine the weights of samples and classes, with mean 1 over the samples kept.

    Keras divides a batch's loss by its size and not by its sum of weights, so that
    weights of mean 1 make weighting a sample equal to repeating it (in full batches).

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), float or None
        Weight of each sample, 0 or more.
    class_weight : dict, "balanced" or None
        Weight of each class.
    codes : ndarray of int of shape (n_samples,)
        Index of each sample's class.
    labels : ndarray of shape (n_classes,)
        The label of each class.
    rescale : bool, default=True
        Whether to bring the mean to 1; False for a part of the data.

    Returns
    -------
    weights : ndarray of shape (n_samples,) or None
        None if all samples have equal weights; 0 for samples to leave out.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, len(codes))
    if class_weight is not None:
        weights = weights * _weigh_classes(class_weight, weights, codes, labels)[codes]
    kept = weights > 0
    if not kept.any():
        raise ValueError(
            "All sample weights are zero (sample_weight times class_weight), so that "
            "there is nothing to learn from."
        )
    if not rescale:
        return weights
    weights = weights / weights.max()  # the mean of huge weights would overflow
    return weights / weights[kept].mean()


def _check_sample_weight(sample_weight, n_samples):
    sample_weight = np.asarray(1.0 if sample_weight is None else sample_weight)
    if sample_weight.ndim == 0:
        sample_weight = np.full(n_samples, sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.ndim != 1:
        raise ValueError(
            "sample_weight must be a 1D array or a number, got one of shape "
            f"{weights.shape}."
        )
    check_consistent_length(weights, np.empty(n_samples))
    if (weights < 0).any():
        row = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(
            f"sample_weight must be 0 or more, but row {row} is {weights[row]}."
        )
    return weights


def _weigh_classes(class_weight, weights, codes, labels):
    if isinstance(class_weight, str):  # "balanced"
        totals = np.bincount(codes, weights=weights, minlength=len(labels))
        # scikit-learn's formula n_samples / (n_classes * n_samples_of_class), with
        # weights in place of counts; a class without weight has no sample to weigh.
        return totals.sum() / (len(labels) * np.where(totals > 0, totals, 1.0))
    labels = labels.tolist()
    unknown = [label for label in class_weight if label not in labels]
    # A fold may lack a class: more labels are allowed if all labels of y are named.
    if unknown and not set(labels) <= set(class_weight):
        raise parameter_error(
            "KerasImageClassifier",
            "class_weight",
            f"a dict with labels of y as keys; {unknown[0]!r} isn't one of {labels}",
            class_weight,
        )
    return np.array([class_weight.get(label, 1.0) for label in labels], dtype=float)
