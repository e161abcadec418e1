"""Validation data, early stopping, callbacks, warm starts and partial fits."""

import copy
import functools
import pickle

import keras
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from small_classifiers import weights_of
from stopped_fits import StopsInBatch, fit_untrained

from skimgclf import ImageLoader, KerasImageClassifier, load_model, save_model
from skimgclf.models._training.callbacks import copy_callbacks, has_batch_hook

quick = functools.partial(
    KerasImageClassifier, hidden_layer_sizes=(4,), epochs=2, random_state=0
)
# The classifier whose training program is traced most quickly.
quickest = functools.partial(quick, hidden_layer_sizes=(), optimizer="sgd")


def state_of(classifier):
    """All numbers of a network and its optimizer."""
    network = classifier.model_
    owners = [network, network.optimizer]
    return [np.array(variable) for owner in owners for variable in owner.variables]


class CountsBatches(keras.callbacks.Callback):
    """Counts its calls where every copy of it sees them."""

    counted = []  # noqa: RUF012 - shared on purpose

    def on_train_batch_end(self, batch, logs=None):
        self.counted.append(batch)


class CountsEpochs(keras.callbacks.Callback):
    """Counts its calls where every copy of it sees them."""

    counted = []  # noqa: RUF012 - shared on purpose

    def on_epoch_end(self, epoch, logs=None):
        self.counted.append(epoch)


def test_validation_data_are_evaluated_after_each_epoch(digits):
    X, y = digits
    classifier = quickest().fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert sorted(classifier.history_) == [
        "accuracy",
        "loss",
        "val_accuracy",
        "val_loss",
    ]
    final = classifier.score(X[200:], y[200:])
    assert classifier.history_["val_accuracy"][-1] == pytest.approx(final)
    assert len(classifier.history_["val_loss"]) == 2


def test_validation_data_change_nothing_in_the_weights(digits):
    X, y = digits
    with_validation = quickest().fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    np.testing.assert_array_equal(
        weights_of(with_validation), weights_of(quickest().fit(X[:200], y[:200]))
    )


def test_validation_weights_count(digits):
    X, y = digits
    weights = np.zeros(300)
    weights[:50] = 2.0
    weighted = quickest().fit(X, y, X_val=X, y_val=y, sample_weight_val=weights)
    part = quickest().fit(X, y, X_val=X[:50], y_val=y[:50])
    np.testing.assert_allclose(
        weighted.history_["val_loss"], part.history_["val_loss"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_val": None}, "y_val is missing"),
        ({"X_val": None}, "X_val is missing"),
        ({"y_val": ["zebra"] * 300}, "y_val holds a label.*'zebra' in row 0"),
        ({"X_val": np.zeros((300, 5, 5, 1))}, r"X_val has images of shape \(5, 5, 1\)"),
        ({"X_val": ["a.png"] * 300}, "X_val holds paths"),
        ({"y_val": ["1"] * 299}, "inconsistent numbers of samples"),
        ({"sample_weight_val": [1.0]}, "inconsistent numbers of samples"),
    ],
)
def test_validation_data_that_cannot_be_meant_are_refused(digits, change, words):
    X, y = digits
    given = {"X_val": X, "y_val": y, **change}
    with pytest.raises(ValueError, match=words):
        quick().fit(X, y, **given)


@pytest.fixture
def paths(digit_folder):
    """90 digits as files in the order of their numbers, and their labels."""
    files = sorted(digit_folder.glob("*/*.png"), key=lambda path: path.name)[:90]
    return np.array(files).astype(str), np.array([path.parent.name for path in files])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def path_pipeline(**parameters):
    loader = ImageLoader(image_size=(8, 8))
    return Pipeline(
        [("load", loader), ("classify", quickest(**parameters))],
        transform_input=["X_val"],
    )


def test_validation_paths_go_through_the_pipelines_loader(paths, routing):
    files, y = paths
    pipeline = path_pipeline().fit(files[:60], y[:60], X_val=files[60:], y_val=y[60:])
    assert len(pipeline[-1].history_["val_loss"]) == 2


def test_validation_paths_go_through_a_search_without_a_request(paths, routing):
    files, y = paths
    search = GridSearchCV(
        path_pipeline(), {"classify__epochs": [1]}, cv=2, error_score="raise"
    )
    search.fit(files[:60], y[:60], X_val=files[60:], y_val=y[60:])
    assert "val_loss" in search.best_estimator_[-1].history_


@pytest.mark.slow
def test_a_search_cuts_validation_data_as_long_as_x(digits):
    """Pin the trap that the docstring warns of, so that we notice when it goes."""
    X, y = digits
    lengths = []

    class Noting(KerasImageClassifier):
        def fit(self, X, y, sample_weight=None, *, X_val=None, **rest):
            lengths.append(len(X_val))
            return super().fit(X, y, sample_weight, X_val=X_val, **rest)

    for n_validation in (150, 100):
        search = GridSearchCV(Noting(epochs=1), {"epochs": [1]}, cv=2, refit=False)
        search.fit(X[:150], y[:150], X_val=X[:n_validation], y_val=y[:n_validation])
    assert lengths == [75, 75, 100, 100]


def test_early_stopping_goes_back_to_the_best_epoch(digits):
    X, y = digits
    classifier = quick(early_stopping=True, epochs=100, learning_rate=0.1).fit(X, y)
    losses = classifier.history_["val_loss"]
    assert classifier.n_iter_ == len(losses) < 100
    assert classifier.best_iter_ == np.argmin(losses) + 1 < classifier.n_iter_
    assert classifier.n_iter_ - classifier.best_iter_ == 3


def test_early_stopping_has_the_best_epochs_weights(digits):
    X, y = digits
    given = {"X_val": X[200:], "y_val": y[200:]}
    stopping = quick(early_stopping=True, epochs=100, learning_rate=0.1)
    stopped = stopping.fit(X[:200], y[:200], **given)
    exact = quick(epochs=stopped.best_iter_, learning_rate=0.1).fit(X[:200], y[:200])
    np.testing.assert_array_equal(weights_of(stopped), weights_of(exact))


def test_early_stopping_waits_as_long_as_it_is_told(digits):
    longer = quick(
        early_stopping=True, epochs=100, learning_rate=0.1, n_iter_no_change=6
    ).fit(*digits)
    assert longer.n_iter_ - longer.best_iter_ == 6


@pytest.fixture
def held_out_parts(monkeypatch):
    """Return a list of the samples that fits train on and hold out."""
    from skimgclf.models._training import fit

    seen = []

    def keep(*arguments, **keywords):
        parts = hold_out(*arguments, **keywords)
        seen.extend(parts)
        return parts

    hold_out = fit.hold_out
    monkeypatch.setattr(fit, "hold_out", keep)
    return seen


def test_early_stopping_holds_out_each_class(digits, held_out_parts):
    X, y = digits
    fit_untrained(quick(early_stopping=True, validation_fraction=0.2), X, y)
    training, held_out = held_out_parts
    assert len(held_out.codes) == 60
    assert len(training.codes) == 240
    shares = np.bincount(held_out.codes) / np.bincount(
        np.unique(y, return_inverse=1)[1]
    )
    np.testing.assert_allclose(shares, 0.2, atol=0.04)
    together = np.concatenate([training.X, held_out.X]).reshape(300, -1)
    np.testing.assert_array_equal(
        np.sort(together, axis=0), np.sort(X.reshape(300, -1), axis=0)
    )


def test_early_stopping_holds_out_other_samples_for_another_seed(
    digits, held_out_parts
):
    for seed in (0, 1):
        fit_untrained(quick(early_stopping=True, random_state=seed), *digits)
    _, first, _, second = held_out_parts
    assert not np.array_equal(np.asarray(first.X[:]), np.asarray(second.X[:]))


def test_early_stopping_is_the_same_tomorrow(digits):
    first, second = (quickest(early_stopping=True).fit(*digits) for _ in range(2))
    assert first.history_ == second.history_


def test_early_stopping_needs_two_samples_of_each_class(digits):
    X, y = digits
    rows = np.r_[np.flatnonzero(y != "9"), np.flatnonzero(y == "9")[:1]]
    X, y = X[rows], y[rows]
    with pytest.raises(ValueError, match="class '9' has only 1 sample"):
        quick(early_stopping=True).fit(X, y)
    fit_untrained(quick(early_stopping=True), X, y, X_val=X[1:], y_val=y[1:])


def test_early_stopping_needs_room_for_each_class(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"holds out 4 of 40 samples.*10 classes"):
        quick(early_stopping=True).fit(X[:40], y[:40])


def test_callbacks_with_batch_hooks_are_called_for_each_batch(digits):
    X, y = digits
    CountsBatches.counted.clear()
    counting = quickest(epochs=1, callbacks=CountsBatches()).fit(X, y)
    assert CountsBatches.counted == list(range(10))
    plain = quickest(epochs=1).fit(X, y)
    np.testing.assert_array_equal(weights_of(counting), weights_of(plain))
    assert counting.history_ == plain.history_


def test_callbacks_may_be_an_instance_a_class_or_a_list(digits):
    for given in (CountsEpochs, CountsEpochs(), [CountsEpochs]):
        (copied,) = copy_callbacks(given)
        assert type(copied) is CountsEpochs, given
        assert copied is not given, given
    CountsEpochs.counted.clear()
    quickest(epochs=1, callbacks=[CountsEpochs, CountsEpochs()]).fit(*digits)
    assert CountsEpochs.counted == [0, 0]


def test_callbacks_are_found_on_instances_as_well():
    def note(number, logs):
        return None

    assert has_batch_hook(keras.callbacks.LambdaCallback(on_train_batch_end=note))
    assert not has_batch_hook(keras.callbacks.LambdaCallback(on_epoch_end=note))


def test_repair_copy_callbacks_leaves_those_given_untouched_and_light(digits):
    callback = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=100.0)
    classifier = quickest(epochs=5, callbacks=[callback]).fit(*digits)
    assert classifier.n_iter_ == 2
    assert callback.stopped_epoch == 0
    assert getattr(callback, "_model", None) is None
    assert len(pickle.dumps(clone(classifier))) < 2000
    assert classifier.fit(*digits).n_iter_ == 2


@pytest.mark.slow
def test_a_callbacks_error_leaves_the_estimator_as_it_was(digits):
    classifier = quickest(callbacks=StopsInBatch)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*digits)
    assert set(vars(classifier)) == set(classifier.get_params())


@pytest.mark.slow
def test_warm_start_goes_on_as_if_never_stopped(digits):
    # All that has a state of its own: generators, means and the optimizer.
    stateful = {"dropout": 0.3, "batch_norm": True}
    once = quick(epochs=4, **stateful).fit(*digits)
    twice = quick(epochs=2, **stateful, warm_start=True).fit(*digits)
    pickled = pickle.loads(pickle.dumps(twice))
    for name, classifier in {"itself": twice, "pickled": pickled}.items():
        classifier.fit(*digits)
        np.testing.assert_array_equal(
            weights_of(classifier), weights_of(once), err_msg=name
        )
        assert classifier.history_ == once.history_, name
        assert classifier.n_iter_ == 4, name


@pytest.mark.parametrize(
    "error", [pytest.param(None, marks=pytest.mark.slow), KeyboardInterrupt]
)
def test_training_goes_on_after_a_pickle_without_the_optimizer(digits, error):
    loaded = pickle.loads(pickle.dumps(quickest().fit(*digits)))
    loaded.set_params(warm_start=True)
    loaded = pickle.loads(pickle.dumps(loaded))
    before = weights_of(loaded)
    if error is not None:
        loaded.set_params(callbacks=StopsInBatch)
        with pytest.raises(error):
            loaded.fit(*digits)
        np.testing.assert_array_equal(weights_of(loaded), before)
        loaded.set_params(callbacks=None)
    assert loaded.partial_fit(*digits).fit(*digits).n_iter_ == 5
    assert not np.array_equal(weights_of(loaded), before)


class NotesNumbers(keras.callbacks.Callback):
    """Notes numbers of several types in the history."""

    def on_epoch_end(self, epoch, logs=None):
        logs.update(epoch=epoch, rate=np.float32(0.5), tensor=keras.ops.ones(()))


def test_numbers_that_callbacks_note_are_floats_and_saved(digits, tmp_path):
    classifier = quickest(callbacks=NotesNumbers, epochs=2).fit(*digits)
    expected = {"epoch": [0.0, 1.0], "rate": [0.5, 0.5], "tensor": [1.0, 1.0]}
    assert expected.items() <= classifier.history_.items()
    assert {type(e) for values in classifier.history_.values() for e in values} == {
        float
    }
    save_model(classifier.set_params(callbacks=None), tmp_path / "saved")
    assert load_model(tmp_path / "saved").history_ == classifier.history_


def test_warm_start_takes_up_a_new_learning_rate(digits):
    classifier = quickest(warm_start=True).fit(*digits)
    before = weights_of(classifier)
    classifier.set_params(learning_rate=1e-9).fit(*digits)
    np.testing.assert_allclose(weights_of(classifier), before, atol=1e-6)
    assert float(classifier.model_.optimizer.learning_rate) == pytest.approx(1e-9)


def regularized(image_shape):
    inputs = x = keras.Input(image_shape)
    x = keras.layers.ActivityRegularization(0.01)(keras.layers.Flatten()(x))
    return keras.Model(inputs, x)


def test_warm_start_takes_up_a_new_rate_where_layers_have_losses(digits):
    classifier = quickest(architecture=regularized, warm_start=True).fit(*digits)
    classifier.set_params(learning_rate=1e-9).fit(*digits)
    assert classifier.history_["loss"][-1] < classifier.history_["loss"][0]


@pytest.fixture(scope="module")
def warm(digits):
    """Careful: shared by the module; train and change copies only."""
    return quickest(warm_start=True).fit(*digits)


def test_an_optimizer_of_another_floatx_is_refused_in_words(warm):
    pickled = pickle.dumps(warm)
    keras.config.set_floatx("float64")
    try:
        with pytest.raises(ValueError, match=r"weights of the optimizer.*'float64'"):
            _ = pickle.loads(pickled).model_
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_layer_sizes": (3,)}, r"hidden_layer_sizes=\(\).*\(3,\)"),
        ({"architecture": "cnn"}, "architecture='dense'.*'cnn'"),
    ],
)
def test_warm_start_refuses_another_network(digits, warm, change, words):
    classifier = copy.copy(warm).set_params(**change)
    with pytest.raises(ValueError, match=words):
        classifier.fit(*digits)
    with pytest.raises(ValueError, match=words):
        classifier.partial_fit(*digits)


def test_warm_start_refuses_other_classes_and_shapes(digits, warm):
    X, y = digits
    classifier = copy.copy(warm)
    with pytest.raises(ValueError, match="classes="):
        classifier.fit(X, y == "3")
    with pytest.raises(ValueError, match=r"image_shape=\(8, 8, 1\)"):
        classifier.fit(X[:, :4], y)
    assert classifier.predict(X).shape == (300,)


@pytest.mark.parametrize(
    "resume", ["fit", pytest.param("partial_fit", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "change", [{}, pytest.param({"optimizer": "sgd"}, marks=pytest.mark.slow)], ids=repr
)
def test_an_interrupted_resumption_leaves_every_number_as_it_was(
    digits, resume, change
):
    X, y = digits
    classifier = quick(warm_start=True, dropout=0.3, batch_norm=True).fit(X, y)
    expected = clone(classifier).set_params(epochs=4).fit(X, y)
    before, attributes = state_of(classifier), dict(vars(classifier))
    history = {name: list(values) for name, values in classifier.history_.items()}

    classifier.set_params(callbacks=StopsInBatch, **change)
    with pytest.raises(KeyboardInterrupt):
        getattr(classifier, resume)(X, y)
    classifier.set_params(callbacks=None, optimizer="adam")

    for value, old in zip(state_of(classifier), before, strict=True):
        np.testing.assert_array_equal(value, old)
    assert classifier.history_ == history
    assert vars(classifier).keys() == attributes.keys()
    np.testing.assert_array_equal(
        weights_of(classifier.fit(X, y)), weights_of(expected)
    )


def test_a_failed_resumption_compiles_nothing_anew(digits, monkeypatch):
    classifier = quickest(warm_start=True).fit(*digits)
    classifier.set_params(callbacks=StopsInBatch)
    network = classifier.model_
    monkeypatch.setattr(keras.Model, "compile", None)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*digits)
    monkeypatch.undo()
    classifier.set_params(callbacks=None).fit(*digits)
    assert classifier.model_ is network
    assert network.evaluate(*digits_by_code(digits, classifier), verbose=0)


def digits_by_code(digits, classifier):
    return digits[0], np.searchsorted(classifier.classes_, digits[1])


def test_partial_fit_is_an_epoch_a_call(digits):
    X, y = digits
    by_epoch = quickest()
    for _ in range(3):
        by_epoch.partial_fit(X, y, classes=np.unique(y))
    assert by_epoch.n_iter_ == 3
    np.testing.assert_array_equal(
        weights_of(by_epoch), weights_of(quickest(epochs=3).fit(X, y))
    )


@pytest.fixture(scope="module")
def fitted_by_parts(digits):
    """Train on a part with one class, and on one after which classes come again.

    Careful: shared by the module, don't train it further.
    """
    X, y = digits
    classifier = quickest().partial_fit(X[y == "3"], y[y == "3"], classes=np.unique(y))
    return classifier.partial_fit(X[:40], y[:40], classes=list("9876543210"))


def test_partial_fit_takes_parts_that_lack_classes(digits, fitted_by_parts):
    assert fitted_by_parts.predict_proba(digits[0]).shape == (300, 10)
    assert fitted_by_parts.n_iter_ == 2


def test_partial_fit_uses_weights_as_they_are(digits):
    X, y = digits
    given = {"classes": np.unique(y)}
    half = quickest().partial_fit(X, y, **given, sample_weight=[0.5] * 300)
    slow = quickest(learning_rate=0.005).partial_fit(X, y, **given)
    np.testing.assert_allclose(weights_of(half), weights_of(slow), atol=1e-6)


@pytest.mark.parametrize(
    ("y", "classes", "words"),
    [
        (["1", "2"], None, "classes must be passed on the first call"),
        (["1", "2"], ["1"], "classes holds only one"),
        (["1", "9"], ["1", "2"], "'9' in row 1"),
    ],
)
def test_partial_fit_refuses_classes_that_cannot_be_meant(digits, y, classes, words):
    with pytest.raises(ValueError, match=words):
        quick().partial_fit(digits[0][:2], y, classes=classes)


def test_partial_fit_refuses_other_classes_later(digits, fitted_by_parts):
    with pytest.raises(ValueError, match="not the same as on the last call"):
        fitted_by_parts.partial_fit(*digits, classes=["1", "2"])


def test_partial_fit_refuses_balanced_weights(digits):
    with pytest.raises(ValueError, match=r"'class_weight'.*in partial_fit"):
        quick(class_weight="balanced").partial_fit(*digits, classes=list("0123456789"))
