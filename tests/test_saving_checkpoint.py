"""BestEpochCheckpoint: what an interrupted fit leaves behind."""

import os

import keras
import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from small_classifiers import quickest

from skimgclf import ImageLoader, load_model
from skimgclf.exceptions import InvalidParameterError
from skimgclf.saving import BestEpochCheckpoint

X = np.eye(12, dtype="float32")
y = np.array(["a", "b"] * 6)


class Interrupt(keras.callbacks.Callback):
    """Press Ctrl-C at the end of an epoch, and set a network's losses before."""

    def __init__(self, epoch, losses=()):
        super().__init__()
        self.epoch, self.losses = epoch, losses

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


class Report(keras.callbacks.Callback):
    """Report losses of our choice, and keep the weights of each epoch."""

    kept = []  # noqa: RUF012 - of all copies

    def __init__(self, losses, name="loss"):
        super().__init__()
        self.losses, self.name = losses, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.losses[epoch]
        self.kept.append(self.model.get_weights())


def quick(*callbacks, **parameters):
    small = {"learning_rate": 0.05, "epochs": 10}
    return quickest(**small | parameters, callbacks=list(callbacks))


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(Report, "kept", [])
    return Report.kept


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("loss", [3.0, 1.0, 2.0, 1.0], 2),
        ("loss", [1.0, 2.0, 3.0, np.nan], 1),
        ("accuracy", [0.1, 0.3, 0.2, 0.3], 2),
    ],
)
def test_checkpoint_holds_the_best_epoch_after_an_interrupt(
    tmp_path, kept, name, values, best
):
    checkpoint = BestEpochCheckpoint(tmp_path / "best", monitor=name)
    # The classifier's own history has the losses that were measured.
    classifier = quick(Report(values, name), checkpoint, Interrupt(4), epochs=9)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    assert not hasattr(classifier, "model_")
    loaded = load_model(tmp_path / "best")
    assert loaded.classes_.tolist() == ["a", "b"]
    assert (loaded.n_iter_, loaded.best_iter_) == (best, best)
    assert loaded.history_[name] == values[:best]
    expected = kept[best - 1]
    assert all(map(np.array_equal, loaded.model_.get_weights(), expected))
    assert loaded.get_params()["callbacks"] is None


def test_checkpoint_goes_on_as_if_nothing_had_been_interrupted(tmp_path):
    checkpoint = BestEpochCheckpoint(tmp_path / "best")
    with pytest.raises(KeyboardInterrupt):
        quick(checkpoint, Interrupt(3), epochs=6, optimizer="adam").fit(X, y)
    loaded = load_model(tmp_path / "best")
    further = loaded.set_params(warm_start=True, epochs=3).fit(X, y)
    at_once = quick(epochs=6, optimizer="adam").fit(X, y)
    assert further.history_ == at_once.history_
    assert np.array_equal(further.predict_proba(X), at_once.predict_proba(X))


def test_checkpoint_keeps_the_best_of_all_fits(tmp_path, kept):
    checkpoint = BestEpochCheckpoint(tmp_path / "best")
    classifier = quick(
        Report([1.0, 2.0, 2.0, 0.5]), checkpoint, epochs=2, warm_start=True
    )
    classifier.fit(X, y)
    assert load_model(tmp_path / "best").n_iter_ == 1
    classifier.fit(X, y)
    assert load_model(tmp_path / "best").n_iter_ == 4


def test_checkpoint_watches_validation_data_by_default(tmp_path, kept):
    checkpoint = BestEpochCheckpoint(tmp_path / "best")
    losses = Report([2.0, 1.0, 3.0], "val_loss")
    quick(losses, checkpoint, epochs=3).fit(X, y, X_val=X, y_val=y)
    assert load_model(tmp_path / "best").n_iter_ == 2


# A classifier of a pipeline is fitted as the ones of the tests above are.
@pytest.mark.slow
def test_checkpoint_belongs_into_a_pipeline(tmp_path, digit_folder):
    paths = [digit_folder / f"{n}/digit_000{n}.png" for n in range(8)]
    labels = np.arange(8) % 2
    checkpoint = BestEpochCheckpoint(tmp_path / "best")
    classifier = quick(checkpoint, Interrupt(2))
    steps = [("load", ImageLoader(image_size=(4, 4))), ("classify", classifier)]
    pipeline = Pipeline(steps)
    with pytest.raises(KeyboardInterrupt):
        pipeline.fit(paths, labels)
    pipeline.set_params(classify=load_model(tmp_path / "best"))
    assert pipeline.predict(paths).shape == (8,)


def test_checkpoint_refuses_what_it_cannot_use(tmp_path):
    wrong = BestEpochCheckpoint(tmp_path / "best", monitor="f1")
    with pytest.raises(InvalidParameterError, match="'monitor' parameter of Best"):
        quick(wrong).fit(X, y)
    wrong = BestEpochCheckpoint(tmp_path / "best", monitor="val_loss")
    with pytest.raises(InvalidParameterError, match="give validation data"):
        quick(wrong).fit(X, y)
    network = keras.Sequential([keras.Input((12,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"not to a keras\.Model"):
        network.fit(X, np.ones(12), callbacks=[BestEpochCheckpoint("b")], verbose=0)
    assert os.listdir(tmp_path) == []


class GoBack(keras.callbacks.Callback):
    """Go back to the weights of an epoch at the end."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            self.weights = self.model.get_weights()

    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)


class Average(GoBack):
    """Take weights that no epoch had."""

    def on_train_end(self, logs=None):
        self.model.set_weights([weights / 2 for weights in self.weights])


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (GoBack(2), 2),
        pytest.param(GoBack(5), 5, marks=pytest.mark.slow),
        (Average(2), 5),
    ],
)
def test_best_iter_is_right_whatever_callbacks_do(callback, expected):
    classifier = quick(callback, epochs=5).fit(X, y)
    assert (classifier.n_iter_, classifier.best_iter_) == (5, expected)


def test_best_iter_is_the_last_where_no_weight_changes():
    still = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    classifier = quick(still, epochs=3).fit(X, y)
    assert (classifier.n_iter_, classifier.best_iter_) == (3, 3)


def test_best_iter_counts_all_fits_and_follows_keras_own_callback(kept):
    rising = Report([1.0, 2.0, 3.0, 4.0, 5.0])
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=2, restore_best_weights=True
    )
    classifier = quick(rising, stopping, epochs=5).fit(X, y)
    assert (classifier.n_iter_, classifier.best_iter_) == (3, 1)
    assert all(map(np.array_equal, classifier.model_.get_weights(), kept[0]))
    classifier = quick(epochs=3, warm_start=True).fit(X, y)
    classifier.set_params(callbacks=GoBack(4), epochs=2).fit(X, y)
    assert (classifier.n_iter_, classifier.best_iter_) == (5, 4)
