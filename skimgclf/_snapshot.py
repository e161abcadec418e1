"""Freeze a fitted estimator, whatever other threads fit."""

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline


def detach(estimator):
    """Return a second estimator with the same attributes."""
    second = type(estimator).__new__(type(estimator))
    vars(second).update(vars(estimator))
    return second


def freeze(model):
    """Return a model that always predicts as this one does now.

    Parameters
    ----------
    model : estimator
        Fitted; the steps of a pipeline and the best estimator of a search are frozen
        each. Whatever isn't an estimator of scikit-learn's kind is returned as it is.

    Returns
    -------
    frozen : estimator
        With the same attributes, classes among them; not to be trained.
    """
    if not isinstance(model, BaseEstimator):
        return model
    frozen = detach(model)
    parts = vars(frozen)
    if isinstance(model, Pipeline):
        frozen.steps = [(name, freeze(step)) for name, step in model.steps]
    if "best_estimator_" in parts:
        frozen.best_estimator_ = freeze(parts["best_estimator_"])
    if "_predictor" in parts:
        frozen._predictor = _FrozenPredictor(parts["_predictor"])
    return frozen


class _FrozenPredictor:
    """Give all predictions the same network, while a training may change it."""

    def __init__(self, predictor):
        self._prediction, self.n_rows = predictor.start(), predictor.n_rows

    def start(self):
        return self._prediction
