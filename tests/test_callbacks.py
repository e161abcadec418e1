"""Estimators take part in scikit-learn's callbacks: progress, scores, early ends."""

import importlib
import sys
import threading

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skimgclf._callbacks
from skimgclf import ImageEmbedder, ImageLoader, KerasImageClassifier, predict_frame
from skimgclf.exceptions import ImageLoadError, ImageLoadWarning
from skimgclf.models._training.fit import count_epochs

callback = pytest.importorskip("sklearn.callback")

X, Y = np.eye(4, dtype="float32"), np.array(["cat", "dog"] * 2)


def make_classifier(**parameters):
    small = {
        # Such a network is what TensorFlow traces fastest.
        "hidden_layer_sizes": (),
        "optimizer": "sgd",
        "epochs": 3,
        "learning_rate": 0.1,
        "random_state": 0,
    }
    return KerasImageClassifier(**small | parameters)


class Recorder:
    """Note the tasks of a fit; keep the estimators, and stop after some parts."""

    def __init__(self, stop_after=None):
        self.events, self.kept, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(("end", context.task_name, context.task_id))
        self.kept.append(fitted_estimator)
        return context.task_id + 1 == self.stop_after

    def count(self, name):
        return sum(event[:2] == ("end", name) for event in self.events)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    names = [str(folder / f"{i}.png") for i in range(12)]
    for i, name in enumerate(names):
        Image.new("L", (4, 4), 20 * i).save(name)
    return names


def test_repair_init_context_lets_a_fit_report_its_epochs():
    recorder = Recorder()
    make_classifier().set_callbacks(recorder).fit(X, Y)
    assert recorder.events[:2] == ["setup", ("begin", "fit", 3)]
    assert recorder.count("epoch") == 3
    assert recorder.events[-2:] == [("end", "fit", 0), "teardown"]


def test_a_callback_ends_a_fit():
    classifier = make_classifier().set_callbacks(Recorder(stop_after=2)).fit(X, Y)
    assert classifier.n_iter_ == len(classifier.history_["loss"]) == 2


def test_scores_of_each_epoch_change_nothing_in_the_fit():
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    plain = make_classifier(hidden_layer_sizes=(2,), dropout=0.2)
    classifier = clone(plain).set_callbacks(monitor).fit(X, Y)
    plain.fit(X, Y)
    for mine, other in zip(
        classifier.model_.get_weights(), plain.model_.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, other)
    assert classifier.history_ == plain.history_
    scores = [
        row["neg_log_loss"]
        for row in monitor.get_logs().data
        if row["task_name"] == "epoch"
    ]
    assert len(set(scores)) == 3
    probability = plain.predict_proba(X)[range(4), [0, 1, 0, 1]]
    assert scores[-1] == pytest.approx(np.log(probability).mean())


def test_an_estimator_of_an_epoch_stays_as_it_was():
    recorder = Recorder()
    last = make_classifier().set_callbacks(recorder).fit(X, Y)
    first = make_classifier(epochs=1).fit(X, Y)
    kept = recorder.kept[0]
    np.testing.assert_array_equal(kept.predict_proba(X), first.predict_proba(X))
    assert kept.history_ == first.history_
    assert kept.n_iter_ == 1
    assert not np.array_equal(last.predict_proba(X), first.predict_proba(X))


def test_a_failed_fit_ends_its_callbacks_and_the_next_one_works():
    recorder = Recorder()
    classifier = make_classifier().set_callbacks(recorder)
    with pytest.raises(ValueError, match="NaN"):
        classifier.fit(X * np.nan, Y)
    assert recorder.events[-1] == "teardown"
    assert classifier.fit(X, Y).n_iter_ == 3


class FailAtTheEnd(Recorder):
    """Raise an error when all is learnt."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "fit":
            assert vars(estimator).keys() & {"history_", "image_shape_"}
            raise self.error


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_a_callback_that_fails_at_the_end_leaves_a_classifier_as_it_was(error):
    recorder = FailAtTheEnd(error)
    classifier = make_classifier().set_callbacks(recorder)
    with pytest.raises(error):
        classifier.fit(X, Y)
    assert recorder.events[-1] == "teardown"
    assert set(vars(classifier)) == {*classifier.get_params(), "_skl_callbacks"}


@pytest.mark.slow
def test_a_callback_that_fails_at_the_end_of_further_training_undoes_it():
    classifier = make_classifier(warm_start=True, optimizer="adam").fit(X, Y)
    before, history = classifier.predict_proba(X), classifier.history_
    optimizer = classifier.model_.optimizer
    moments = [np.array(variable) for variable in optimizer.variables]
    classifier.set_callbacks(FailAtTheEnd(ArithmeticError))
    with pytest.raises(ArithmeticError):
        classifier.fit(X, Y)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert classifier.history_ is history
    for variable, values in zip(optimizer.variables, moments, strict=True):
        np.testing.assert_array_equal(variable, values)


def test_another_thread_trains_on_from_what_was_before_a_failed_fit():
    """In weights, Adam's moments, the order of samples and the history."""
    classifier = make_classifier(warm_start=True, optimizer="adam").fit(X, Y)
    expected = clone(classifier).fit(X, Y).partial_fit(X, Y)
    other = threading.Thread(target=classifier.partial_fit, args=(X, Y))

    class LetOthersTrain(FailAtTheEnd):
        def on_fit_task_end(self, estimator, context, **arguments):
            if context.task_name == "fit":
                other.start()
                other.join(0.3)
            super().on_fit_task_end(estimator, context, **arguments)

    classifier.set_callbacks(LetOthersTrain(ArithmeticError))
    with pytest.raises(ArithmeticError):
        classifier.fit(X, Y)
    other.join()
    assert classifier.history_ == expected.history_
    np.testing.assert_array_equal(
        classifier.predict_proba(X), expected.predict_proba(X)
    )


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_a_callback_that_fails_at_the_end_leaves_an_embedder_as_it_was(method):
    network = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.GlobalAveragePooling2D()]
    )
    embedder = ImageEmbedder(network).fit(np.zeros((1, 4, 4, 1)))
    recorder = FailAtTheEnd(ArithmeticError)
    embedder.set_callbacks(recorder)
    before = dict(vars(embedder))
    with pytest.raises(ArithmeticError):
        getattr(embedder, method)(np.zeros((1, 6, 6, 1)))
    assert vars(embedder) == before
    assert embedder.image_shape_ == (4, 4, 1)
    assert recorder.events[-1] == "teardown"


@pytest.mark.parametrize(
    ("parameters", "previous", "expected"),
    [
        ({"epochs": 4}, None, 4),
        ({"epochs": 4, "fine_tune": 2, "fine_tune_epochs": 3}, None, 7),
        ({"epochs": 4, "fine_tune": "all", "fine_tune_epochs": 3}, "a fit", 7),
        (
            {"fine_tune": 2, "fine_tune_epochs": 3, "warm_start": True},
            "a fit",
            3,
        ),
        ({"epochs": 4, "warm_start": True}, "a fit", 4),
    ],
)
def test_epochs_are_counted_beforehand(parameters, previous, expected):
    parameters = KerasImageClassifier(**parameters).get_params()
    assert count_epochs(parameters, previous) == expected


@pytest.mark.parametrize(("n_images", "n_parts"), [(12, 12), (250, 100), (0, 0)])
def test_a_loader_reports_its_images(paths, n_images, n_parts):
    recorder = Recorder()
    loader = ImageLoader(lazy=n_images == 0).set_callbacks(recorder)
    X = loader.fit_transform((paths * 21)[: n_images or 5])
    assert len(X) == (n_images or 5)
    assert ("begin", "fit", n_parts) in recorder.events
    assert recorder.count("images") == n_parts
    assert recorder.count("fit") == 1


def test_an_unreadable_image_ends_callbacks(paths, tmp_path):
    recorder = Recorder()
    loader = ImageLoader().set_callbacks(recorder)
    with pytest.raises(ImageLoadError):
        loader.fit_transform([*paths, str(tmp_path / "missing.png")])
    assert recorder.count("images") < 13
    assert recorder.count("fit") == 0
    assert recorder.events[-1] == "teardown"


def test_repair_share_callbacks_keeps_them_in_clones_of_an_embedder():
    recorder = Recorder()
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    embedder = clone(ImageEmbedder(network, batch_size=2).set_callbacks(recorder))
    embedder.fit_transform(np.zeros((5, 4, 4, 1), "uint8"))
    assert recorder.count("images") == 5
    assert recorder.count("fit") == 1


def test_a_bar_goes_from_a_search_down_to_images_and_epochs(paths, capsys):
    pytest.importorskip("rich")
    pipeline = make_pipeline(ImageLoader(image_size=(4, 4)), make_classifier())
    search = GridSearchCV(
        pipeline, {"kerasimageclassifier__epochs": [2]}, cv=2, error_score="raise"
    )
    bar = callback.ProgressBar(max_propagation_depth=None)
    search.set_callbacks(bar).fit(paths, ["cat", "dog"] * 6)
    shown = capsys.readouterr().out
    for text in ("GridSearchCV", "ImageLoader - fit", "KerasImageClassifier - fit"):
        assert text in shown
    # Two folds, and the last fit.
    assert shown.count("KerasImageClassifier - fit") == 3
    assert shown.count("100%") >= 3
    assert search.best_estimator_.predict(paths).shape == (12,)


def test_without_callbacks_of_scikit_learn_everything_else_works(monkeypatch):
    """As with scikit-learn before 1.9."""
    module = skimgclf._callbacks
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.callback", None)
        importlib.reload(module)
        mixin, wrap = module.CallbackSupportMixin, module.with_callbacks
        task = module.FitTask(object(), X)
        task.start_rows(3)
        task.count_rows(3)
        assert not task.end_part()
        task.end()
    importlib.reload(module)
    assert not hasattr(mixin, "set_callbacks")
    assert wrap(len) is len


def test_no_bar_is_full_before_an_error(paths, tmp_path, capsys):
    bad = [*paths, str(tmp_path / "missing.png")]
    with pytest.raises(ImageLoadError):
        ImageLoader(verbose=1).transform(bad)
    shown = capsys.readouterr().err
    assert "12/13" in shown
    assert "13/13" not in shown
    with pytest.warns(ImageLoadWarning):
        ImageLoader(verbose=1, on_error="fill").transform(bad)
    assert "13/13" in capsys.readouterr().err
    loader = ImageLoader(image_size=(4, 4), flatten=True)
    pipeline = make_pipeline(loader, LogisticRegression())
    pipeline.fit(paths, ["cat", "dog"] * 6).set_params(imageloader__verbose=1)
    with pytest.raises(ImageLoadError):
        predict_frame(pipeline, bad)
    shown = capsys.readouterr().err
    assert "12/13" in shown
    assert "13/13" not in shown
    assert len(predict_frame(pipeline, bad, on_error="fill")) == 13
    assert "13/13" in capsys.readouterr().err


def test_bars_are_those_of_a_notebook_where_there_is_one(monkeypatch):
    import tqdm.auto

    made = []

    def note(**arguments):
        made.append(arguments["total"])
        return tqdm.tqdm(**arguments)

    monkeypatch.setattr(tqdm.auto, "tqdm", note)
    ImageLoader(verbose=1).transform([np.zeros((4, 4))] * 3)
    assert made == [3]
