"""Check learnt values of estimators, which a stranger may have written."""

import os

import numpy as np


def limit_jobs(estimator):
    """Let an estimator start no more threads than there are processors here.

    Its file may be of a larger machine, or a stranger's.
    """
    n_processors = os.cpu_count() or 1
    if (estimator.get_params(deep=False).get("n_jobs") or 0) > n_processors:
        estimator.set_params(n_jobs=n_processors)
    return estimator


def check_classes(classes):
    """Refuse classes that no fit can have learnt."""
    if not isinstance(classes, np.ndarray) or len(classes) < 2:
        raise ValueError("classes must be an array of at least 2 labels")
    if classes.tolist() != sorted(set(classes.tolist())):
        raise ValueError("classes must be sorted, each once")


def check_feature_names(names, n_features):
    """Refuse names of columns that aren't None or one for each."""
    if names is not None and (
        not isinstance(names, np.ndarray) or len(names) != n_features
    ):
        raise ValueError("feature_names must be an array of a name a feature")
