"""Check values that every kind of estimator has learnt, perhaps a stranger's."""

import numpy as np


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
