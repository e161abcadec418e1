"""Turn a StandardScaler or a LogisticRegression into plain values and arrays, and back.

The parameters that aren't scikit-learn's defaults are kept, so that a default which
another version doesn't have is no obstacle.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skimgclf._validation import check_keys, is_int
from skimgclf.saving._learnt import check_classes, check_feature_names, limit_jobs

# The attributes that are arrays or numbers; None is left out.
_ARRAYS = {
    StandardScaler: ("mean_", "n_samples_seen_", "scale_", "var_"),
    LogisticRegression: ("coef_", "intercept_", "n_iter_"),
}
ESTIMATORS = tuple(_ARRAYS)
_KINDS = {kind.__name__: kind for kind in ESTIMATORS}

# In Fortran order, BLAS adds in another order, and last digits differ.
_ORDERS = ("C", "F")


def describe_estimator(estimator):
    """Turn a fitted estimator into plain values and arrays.

    Parameters
    ----------
    estimator : StandardScaler or LogisticRegression
        Fitted.

    Returns
    -------
    parameters : dict of str to object
        Those that aren't the defaults.
    learnt : dict of str to object
        What fit has learnt, but for the arrays.
    arrays : dict of str to ndarray
        By the name of the attribute.
    """
    kind = type(estimator)
    check_is_fitted(
        estimator,
        msg="This %(name)s is not fitted yet. Call fit before it is saved.",
    )
    check_parameters(estimator)
    defaults = kind().get_params(deep=False)
    parameters = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if value is not defaults[name] and value != defaults[name]
    }
    found = {name: getattr(estimator, name, None) for name in _ARRAYS[kind]}
    arrays = {name: np.asarray(a) for name, a in found.items() if a is not None}
    learnt = {
        "feature_names": vars(estimator).get("feature_names_in_"),
        "n_features": int(estimator.n_features_in_),
    }
    if kind is LogisticRegression:
        is_c = arrays["coef_"].flags.c_contiguous
        learnt |= {"classes": estimator.classes_, "order": _ORDERS[not is_c]}
    _check(estimator, learnt, arrays)
    return parameters, learnt, arrays


def restore_estimator(kind, parameters, learnt, numbers):
    """Turn plain values and arrays, perhaps a stranger's, back into an estimator.

    Parameters
    ----------
    kind : str
        The name of the class.
    parameters, learnt, numbers
        As `describe_estimator` returned them.

    Returns
    -------
    estimator : StandardScaler or LogisticRegression
        Fitted.

    Raises
    ------
    ValueError
        If `describe_estimator` can't have returned them.
    """
    estimator = _KINDS[kind]()
    unknown = sorted(parameters.keys() - estimator.get_params(deep=False).keys())
    if unknown:
        raise ValueError(f"the {kind} of this scikit-learn has no {unknown[0]!r}")
    estimator.set_params(**parameters)
    check_parameters(estimator)
    names = ["feature_names", "n_features"]
    if kind == LogisticRegression.__name__:
        names += ["classes", "order"]
    check_keys(f"'learnt' of {kind}", learnt, names)
    _check(estimator, learnt, numbers)
    for name in _ARRAYS[type(estimator)]:
        # A scaler without a mean or a scale has None in its place.
        value = numbers.get(name)
        is_number = value is not None and value.ndim == 0
        setattr(estimator, name, value[()] if is_number else value)
    estimator.n_features_in_ = learnt["n_features"]
    if learnt["feature_names"] is not None:
        estimator.feature_names_in_ = learnt["feature_names"]
    if isinstance(estimator, LogisticRegression):
        estimator.classes_ = learnt["classes"]
        estimator.coef_ = np.asarray(numbers["coef_"], order=learnt["order"])
    return limit_jobs(estimator)


def check_parameters(estimator):
    """Refuse invalid parameters of one of scikit-learn's estimators.

    Cause: scikit-learn 1.6 to 1.9 checks parameters in `fit` alone, by a method that is
    private, and a stranger's file is to be refused before anything is done.

    Gone: raises an AttributeError.

    Can go: when scikit-learn documents a way to check parameters.

    Parameters
    ----------
    estimator : StandardScaler or LogisticRegression
    """
    estimator._validate_params()


def read_output(step):
    """Return the container that `set_output` has chosen for a step, or None.

    Cause: scikit-learn 1.6 to 1.9 keeps it in a private attribute.

    Gone: nothing is kept, as where `set_output` wasn't called.

    Can go: when scikit-learn documents a way to read it.

    Parameters
    ----------
    step : estimator or str

    Returns
    -------
    container : {"default", "pandas", "polars"} or None
    """
    kept = getattr(step, "_sklearn_output_config", None)
    return kept.get("transform") if kept and hasattr(step, "set_output") else None


def set_output(step, container):
    """Choose the container of a step's output, perhaps a stranger's choice."""
    if container is None:
        return step
    if container not in ("default", "pandas", "polars"):
        raise ValueError(f"unknown output {container!r} of a step")
    return step.set_output(transform=container)


def _check(estimator, learnt, arrays):
    """Refuse arrays that an estimator of these parameters can't have learnt."""
    kind = type(estimator).__name__
    n_features = learnt["n_features"]
    if not is_int(n_features, minimum=1):
        raise ValueError(f"n_features of {kind} must be a positive int")
    check_feature_names(learnt["feature_names"], n_features)
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            advice = ": call densify() after sparsify()" if array.dtype == "O" else ""
            raise ValueError(
                f"{name} of {kind} must be an array of finite numbers{advice}"
            )
    if isinstance(estimator, StandardScaler):
        shapes = _shapes_of_scaler(estimator, arrays, n_features)
    else:
        check_classes(learnt["classes"])
        if learnt["order"] not in _ORDERS:
            raise ValueError(f"unknown order {learnt['order']!r} of an array")
        n_classes = len(learnt["classes"])
        n_rows = 1 if n_classes == 2 else n_classes
        shapes = {"coef_": (n_rows, n_features), "intercept_": (n_rows,)}
        shapes["n_iter_"] = arrays["n_iter_"].shape if "n_iter_" in arrays else None
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ValueError(f"the arrays of {kind} don't fit its {n_features:,} features")


def _shapes_of_scaler(scaler, arrays, n_features):
    row = (n_features,)
    # Without `with_mean`, the mean is there or not, as the data were.
    names = {"mean_"} if scaler.with_mean else {"mean_"} & arrays.keys()
    if scaler.with_std:
        names |= {"scale_", "var_"}
        if "scale_" in arrays and not (arrays["scale_"] > 0).all():
            raise ValueError("scale_ of StandardScaler must be positive")
    counted = arrays.get("n_samples_seen_", np.zeros(()))
    shape = row if counted.shape == row else ()
    return {**dict.fromkeys(names, row), "n_samples_seen_": shape}
