"""TrainingHistoryDisplay: which curves it draws, and which epoch it marks."""

import itertools
import re

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skimgclf import KerasImageClassifier, TrainingHistoryDisplay
from skimgclf.exceptions import InvalidParameterError

pytestmark = pytest.mark.usefixtures("pyplot")

HISTORY = {
    "accuracy": [0.5, 0.7, 0.8],
    "loss": [0.9, 0.5, 0.3],
    "val_accuracy": [0.4, 0.6, 0.6],
    "val_loss": [1.0, 0.6, 0.7],
}


@pytest.fixture(scope="module")
def classifier(digits):
    classifier = KerasImageClassifier(
        hidden_layer_sizes=(),
        optimizer="sgd",  # which TensorFlow traces quickly
        epochs=2,
        early_stopping=True,
        random_state=0,
    )
    return classifier.fit(*digits)


def marks_of(ax):
    """Return the vertical lines as pairs of place and label."""
    return [
        (line.get_xdata()[0], line.get_label())
        for line in ax.lines
        if line.get_linestyle() == "--"
    ]


def test_history_draws_validation_beside_training_and_loss_first():
    display = TrainingHistoryDisplay(HISTORY).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss", "accuracy"]
    expected = ["loss", "val_loss", "accuracy", "val_accuracy"]
    for line, name in zip(display.lines_, expected, strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert list(line.get_ydata()) == HISTORY[name]
    texts = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert texts == ["training", "validation", "best epoch: 2"]


def test_history_marks_the_lowest_validation_loss_in_every_panel():
    display = TrainingHistoryDisplay(HISTORY).plot()
    assert [marks_of(ax) for ax in display.axes_] == [[(2, "best epoch: 2")]] * 2


def test_history_says_when_the_weights_are_those_of_another_epoch():
    display = TrainingHistoryDisplay(HISTORY, best_iter=3).plot()
    assert marks_of(display.axes_[0]) == [(3, "weights of epoch: 3")]


def test_history_without_validation_marks_nothing():
    display = TrainingHistoryDisplay({"loss": [0.9, 0.5]}).plot()
    assert marks_of(display.ax_) == []
    assert display.axes_.tolist() == [display.ax_]


def test_history_with_a_validation_loss_of_nan_marks_nothing():
    history = {"loss": [0.9, 0.5], "val_loss": [np.nan, np.nan]}
    assert marks_of(TrainingHistoryDisplay(history).plot().ax_) == []


def test_history_of_one_epoch_is_visible():
    display = TrainingHistoryDisplay({k: v[:1] for k, v in HISTORY.items()}).plot()
    assert all(line.get_marker() == "o" for line in display.lines_)
    assert display.axes_[0].get_xticks().tolist() == [1]


def test_history_of_many_epochs_has_no_mark_at_each():
    display = TrainingHistoryDisplay({"loss": np.linspace(1, 0, 200)}).plot()
    assert display.lines_[0].get_marker() == "None"
    ticks = display.ax_.get_xticks()
    assert (ticks == ticks.astype(int)).all()


def test_history_draws_other_metrics_of_keras_too():
    history = {**HISTORY, "learning_rate": [0.1, 0.01, 0.001]}
    display = TrainingHistoryDisplay(history).plot()
    labels = [ax.get_ylabel() for ax in display.axes_]
    assert labels == ["loss", "accuracy", "learning rate"]
    chosen = TrainingHistoryDisplay(history).plot(metrics=["learning_rate"])
    assert [ax.get_ylabel() for ax in chosen.axes_] == ["learning rate"]


def test_history_panels_do_not_overlap_in_a_narrow_frame(pyplot):
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3))
    display = TrainingHistoryDisplay(HISTORY).plot(ax=axes[1])
    figure.draw_without_rendering()
    left, right = (ax.get_window_extent() for ax in display.axes_)
    assert left.x1 < display.axes_[1].yaxis.get_tightbbox().x0 < right.x0


def test_history_passes_line_kw_on():
    display = TrainingHistoryDisplay(HISTORY).plot(line_kw={"linewidth": 5})
    assert {line.get_linewidth() for line in display.lines_} == {5}


def test_history_is_read_from_a_classifier_a_pipeline_and_a_search(classifier, digits):
    class Answerer(DummyClassifier):
        """A classifier with a history without validation, which took no training."""

        history_, best_iter_ = {"loss": [0.9, 0.5]}, 2

    pipeline = make_pipeline(FunctionTransformer(), classifier)
    search = GridSearchCV(
        make_pipeline(FunctionTransformer(), Answerer()),
        {"answerer__strategy": ["prior"]},
        cv=2,
        error_score="raise",
    ).fit(*digits)
    best = search.best_estimator_[-1]
    for estimator, expected in [
        (classifier, classifier),
        (pipeline, classifier),
        (search, best),
    ]:
        display = TrainingHistoryDisplay.from_estimator(estimator)
        assert display.history is expected.history_
    assert display.best_iter is None  # the search's best had no validation data


def test_history_of_a_classifier_marks_its_best_iter(classifier):
    display = TrainingHistoryDisplay.from_estimator(classifier, metrics=["loss"])
    epoch = classifier.best_iter_
    assert display.best_iter == epoch
    assert marks_of(display.ax_) == [(epoch, f"best epoch: {epoch}")]


def test_history_refuses_estimators_without_one():
    with pytest.raises(NotFittedError):
        TrainingHistoryDisplay.from_estimator(KerasImageClassifier())
    other = LogisticRegression().fit([[0], [1]], [0, 1])
    with pytest.raises(InvalidParameterError, match="LogisticRegression has none"):
        TrainingHistoryDisplay.from_estimator(other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", None),
        ("history", {}),
        ("history", {"loss": []}),
        ("history", {"loss": [1, 2], "val_loss": [1]}),
        ("best_iter", 0),
        ("best_iter", 4),
        ("best_iter", 1.5),
        ("metrics", []),
        ("metrics", "loss"),
        ("metrics", ["val_loss"]),
        ("metrics", ["nope"]),
    ],
)
def test_history_wrong_values_give_the_one_error(name, value):
    parameters = {"history": HISTORY, "best_iter": None, "metrics": None} | {
        name: value
    }
    metrics = parameters.pop("metrics")
    display = TrainingHistoryDisplay(**parameters)
    form = (
        rf"^The '{name}' parameter of TrainingHistoryDisplay must be .+\. "
        rf"Got {re.escape(repr(value))} instead\.$"
    )
    with pytest.raises(InvalidParameterError, match=form):
        display.plot(metrics=metrics)


RATES = [1e-4, 2e-4, 5e-5]


def test_history_draws_the_learning_rate_as_a_curve():
    display = TrainingHistoryDisplay({"learning_rate": RATES, "loss": [3.0, 2.0, 1.0]})
    display.plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss", "learning rate"]
    assert display.lines_[1].get_ydata().tolist() == RATES


@pytest.mark.parametrize("n_epochs", [3, 30, 1000])
def test_history_ticks_do_not_run_together(n_epochs, pyplot):
    _, ax = pyplot.subplots(figsize=(5, 2.5))
    names = ("loss", "accuracy", "learning_rate")
    history = {name: np.linspace(1e-5, 3e-4, n_epochs).tolist() for name in names}
    display = TrainingHistoryDisplay(history).plot(ax=ax)
    display.figure_.draw_without_rendering()
    boxes = []
    for panel in display.axes_:
        for axis in (panel.xaxis, panel.yaxis):
            labels = [label for label in axis.get_ticklabels() if label.get_text()]
            low, high = sorted(axis.get_view_interval())
            boxes += [
                label.get_window_extent()
                for label, place in zip(labels, axis.get_ticklocs(), strict=False)
                if low <= place <= high
            ]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))
