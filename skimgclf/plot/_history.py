"""Draw loss and metrics by epoch: TrainingHistoryDisplay."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skimgclf._validation import is_int, parameter_error
from skimgclf.exceptions import InvalidParameterError
from skimgclf.plot._figure import (
    ShownInNotebooks,
    check_latex,
    import_pyplot,
    make_axes,
    measure_axes,
    split_axes,
)
from skimgclf.plot._labels import LITERAL

_OWNER = "TrainingHistoryDisplay"

_PANEL_SIZE = (4.8, 3.6)  # inches
_GAP = 0.8  # inches between two panels, for ticks and their name
_NARROW = 2.2  # inches; in narrower panels, the name stands above the curves
_MAX_MARKED = 30  # with more epochs, a mark at each would hide the curve


class TrainingHistoryDisplay(ShownInNotebooks):
    """Draw curves of loss and metrics by epoch, validation beside training.

    Use :meth:`from_estimator` for a fitted classifier. The learning rate is a curve
    where it changes. All parameters are stored as attributes.

    Parameters
    ----------
    history : dict of str to list of float
        For each metric, one value an epoch, as in
        `skimgclf.KerasImageClassifier.history_` or in the `history` of the object that
        `fit` of Keras returns. "val_loss" is drawn beside "loss".
    best_iter : int, default=None
        The epoch to mark, from 1. None marks the one with the lowest "val_loss", or
        nothing if there is no "val_loss".

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on; with several metrics, the frame around `axes_`.
    axes_ : ndarray of shape (n_metrics,)
        The axes of each metric.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of matplotlib Line2D
        The curves, metric by metric, training before validation.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores by number of samples.
    sklearn.model_selection.ValidationCurveDisplay : Scores by a parameter.

    Examples
    --------
    >>> from skimgclf import TrainingHistoryDisplay
    >>> history = {"loss": [0.9, 0.5, 0.3], "val_loss": [0.8, 0.6, 0.7]}
    >>> display = TrainingHistoryDisplay(history).plot()
    >>> [line.get_label() for line in display.lines_]
    ['training', 'validation']
    """

    def __init__(self, history, *, best_iter=None):
        self.history = history
        self.best_iter = best_iter

    @classmethod
    def from_estimator(cls, estimator, *, metrics=None, ax=None, line_kw=None):
        """Draw the training of a fitted classifier.

        Parameters
        ----------
        estimator : estimator instance
            A fitted classifier with `history_`, such as
            :class:`~skimgclf.KerasImageClassifier`, a Pipeline that ends in one, or a
            search whose best estimator is one of these. Its `best_iter_` is marked if
            there was validation data.
        metrics : list of str, default=None
            Metrics to draw, such as ``["loss"]``; None draws all.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        line_kw : dict, default=None
            Passed on to matplotlib's `plot` for each curve.

        Returns
        -------
        display : TrainingHistoryDisplay

        Raises
        ------
        InvalidParameterError
            If there is no history, or a parameter has an invalid value.
        ImportError
            If matplotlib isn't installed.
        RuntimeError
            If ``matplotlib.rcParams["text.usetex"]`` is True, and LaTeX isn't there.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        classifier = _find_classifier(estimator)
        history = getattr(classifier, "history_", None)
        if history is None:
            raise InvalidParameterError(
                f"{cls.__name__} reads the history_ of a fitted KerasImageClassifier, "
                "of a Pipeline that ends in one, or of a search over these. "
                f"{type(classifier).__name__} has none."
            )
        # Without validation data no epoch is better than another.
        best_iter = getattr(classifier, "best_iter_", None)
        display = cls(history, best_iter=best_iter if "val_loss" in history else None)
        return display.plot(metrics=metrics, ax=ax, line_kw=line_kw)

    def plot(self, *, metrics=None, ax=None, line_kw=None):
        """Draw the curves.

        Parameters
        ----------
        metrics : list of str, default=None
            Metrics to draw, such as ``["loss"]``; None draws all.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure. Several metrics stand side by
            side in it.
        line_kw : dict, default=None
            Passed on to matplotlib's `plot` for each curve.

        Returns
        -------
        self : TrainingHistoryDisplay

        Raises
        ------
        InvalidParameterError
            If the history or a parameter has an invalid value.
        ImportError
            If matplotlib isn't installed.
        RuntimeError
            If ``matplotlib.rcParams["text.usetex"]`` is True, and LaTeX isn't there.
        """
        n_epochs = _check_history(self.history)
        metrics = _check_metrics(metrics, self.history)
        mark = _choose_mark(self.history, self.best_iter, n_epochs)
        check_latex(f"{_OWNER}.plot")
        width, height = _PANEL_SIZE
        ax = make_axes(f"{_OWNER}.plot", ax, (width * len(metrics), height))
        axes = [ax] if len(metrics) == 1 else split_axes(ax, _boxes(ax, len(metrics)))
        self.lines_ = []
        for panel, metric in zip(axes, metrics, strict=True):
            self.lines_ += _draw_metric(panel, metric, self.history, mark, line_kw)
        size = "xx-small" if _is_narrow(axes[0]) else "small"
        axes[0].legend(fontsize=size, framealpha=0.6, handlelength=1.2)
        self.ax_, self.axes_, self.figure_ = ax, np.array(axes, dtype=object), ax.figure
        return self


def _find_classifier(estimator):
    """Return the classifier in a search, in a pipeline or in both."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _check_history(history):
    """Check for one value an epoch in each list, and return the number of epochs."""
    lengths = set()
    if isinstance(history, dict):
        lengths = {np.size(values) for values in history.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise parameter_error(
            _OWNER, "history", "a dict of lists, each with one value an epoch", history
        )
    return lengths.pop()


def _check_metrics(metrics, history):
    """Return the metrics to draw: those asked for, or all, with the loss first."""
    known = [
        name
        for name in history
        if not (name.startswith("val_") and name.removeprefix("val_") in history)
    ]
    if metrics is None:
        return sorted(known, key=lambda name: name != "loss")
    is_list = isinstance(metrics, list | tuple) and len(metrics) > 0
    if not is_list or not all(metric in known for metric in metrics):
        raise parameter_error(_OWNER, "metrics", f"a list of some of {known}", metrics)
    return list(metrics)


def _choose_mark(history, best_iter, n_epochs):
    """Return the epoch to mark and its name in the legend, or None."""
    lowest = int(np.nanargmin(history["val_loss"])) + 1 if _has_loss(history) else None
    if best_iter is None:
        best_iter = lowest
    elif not is_int(best_iter, minimum=1) or best_iter > n_epochs:
        expected = f"an int from 1 to {n_epochs}, the number of epochs, or None"
        raise parameter_error(_OWNER, "best_iter", expected, best_iter)
    if best_iter is None:
        return None
    # Without early stopping, the weights are those of the last epoch.
    name = "best epoch" if best_iter == lowest else "weights of epoch"
    return best_iter, f"{name}: {best_iter}"


def _has_loss(history):
    return "val_loss" in history and not np.isnan(history["val_loss"]).all()


def _boxes(ax, n_panels):
    """Place panels side by side, with at least half of the width for the curves."""
    gap = min(_GAP / measure_axes(ax)[0], 0.5 / n_panels)
    width = (1 - gap * (n_panels - 1)) / n_panels
    return [(i * (width + gap), 0, width, 1) for i in range(n_panels)]


def _is_narrow(ax):
    return measure_axes(ax)[0] < _NARROW


def _draw_metric(ax, metric, history, mark, line_kw):
    """Draw one metric, and return its lines."""
    from matplotlib.ticker import MaxNLocator

    n_epochs = len(history[metric])
    style = {"marker": "o" if n_epochs <= _MAX_MARKED else None, "markersize": 4}
    style |= line_kw or {}
    lines = []
    title = metric.replace("_", " ")
    is_rate = metric == "learning_rate"
    labels = (title if is_rate else "training"), "validation"
    for name, label in zip((metric, f"val_{metric}"), labels, strict=True):
        if name in history:
            epochs = np.arange(1, n_epochs + 1)
            lines += ax.plot(epochs, history[name], **({"label": label} | style))
    if mark is not None:
        epoch, label = mark
        ax.axvline(epoch, color="0.4", linestyle="--", linewidth=1, label=label)
    ax.set_xlabel("epoch")
    locate = {"integer": True, "steps": [1, 2, 5, 10]}
    if _is_narrow(ax):
        ax.set_title(title, fontsize="small", **LITERAL)
        ax.tick_params(labelsize="small")
        ax.yaxis.set_major_locator(MaxNLocator(4))
        locate["nbins"] = 4
    else:
        ax.set_ylabel(title, **LITERAL)
    ax.xaxis.set_major_locator(MaxNLocator(**locate))
    if is_rate:
        ax.ticklabel_format(axis="y", scilimits=(-2, 2))
    if n_epochs == 1:
        ax.set(xlim=(0, 2), xticks=[1])
    return lines
