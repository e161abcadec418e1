"""Threads that predict while others fit see one network, the old or the new one."""

import threading

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from small_classifiers import quickest

from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    export_model,
    load_model,
    predict_frame,
    prediction,
    save_model,
)
from skimgclf.models import _embedder

# Another number of rows at once, or another traced function, adds in another order.
ROUNDING = 1e-6

X, Y = np.eye(8, dtype="float32"), np.arange(8) % 2


@pytest.mark.parametrize(
    "is_partial", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_prediction_beside_further_training_is_that_of_the_old_network(is_partial):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(classifier.predict_proba(X))

    classifier = quickest(learning_rate=0.1).fit(X, Y)
    before = classifier.predict_proba(X)
    classifier.set_params(callbacks=Look, warm_start=True, epochs=3)
    if is_partial:
        classifier.partial_fit(X, Y)
    else:
        classifier.fit(X, Y)
    assert len(seen) == (1 if is_partial else 3)
    np.testing.assert_allclose(seen, [before] * len(seen), atol=ROUNDING)
    assert not np.allclose(before, classifier.predict_proba(X), atol=1e-3)


@pytest.fixture(scope="module")
def beside():
    """Ask a network of TensorFlow before, beside and after a further training.

    Batch normalization changes its means in it, and dropout the states of its draws.
    """

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            says.append(say())

    def say():
        return {
            "begun": predict(images),
            "predict_proba": classifier.predict_proba(images),
            "grad_cam": classifier.grad_cam(images, 0),
        }

    images = np.random.default_rng(0).random((8, 6, 6, 1), "float32")
    classifier = quickest(
        architecture="cnn",
        conv_filters=(3,),
        batch_norm=True,
        dropout=0.5,
        learning_rate=0.5,
        activation="tanh",  # each map counts
    )
    classifier.partial_fit(images, Y, classes=[0, 1])
    predict, says = classifier._predictor.start(), []
    says.append(say())
    classifier.set_params(callbacks=Look).partial_fit(images, Y)
    return [*says, say()]


@pytest.mark.parametrize("what", ["begun", "predict_proba", "grad_cam"])
def test_what_tensorflow_computes_beside_a_training_is_of_the_old_network(beside, what):
    before, meanwhile, after = (said[what] for said in beside)
    np.testing.assert_allclose(meanwhile, before, atol=ROUNDING)
    is_equal = np.allclose(after, before, atol=1e-2)
    assert is_equal == (what == "begun")


def test_files_written_beside_further_training_hold_the_network_after_it(tmp_path):
    class Samples:
        """Samples that let files be written when further training looks at them."""

        def __array__(self, dtype=None, copy=None):
            if not waiting:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(0.1)
                waiting.extend(thread.is_alive() for thread in threads)
            return X.astype(dtype or X.dtype)

    saved, exported = tmp_path / "a.model", tmp_path / "a.keras"
    classifier, waiting = quickest(learning_rate=0.1), []
    classifier.partial_fit(X, Y, classes=[0, 1])
    threads = [
        threading.Thread(target=save_model, args=(classifier, saved)),
        threading.Thread(target=export_model, args=(classifier, exported, "keras")),
    ]
    expected = classifier.partial_fit(Samples(), Y).predict_proba(X)
    for thread in threads:
        thread.join()
    assert waiting == [True, True]
    assert np.array_equal(load_model(saved).predict_proba(X), expected)
    network = keras.models.load_model(exported)
    np.testing.assert_allclose(network(X), expected, atol=ROUNDING)


def test_prediction_that_began_before_further_training_ends_with_the_old_network():
    """Batch by batch, a long prediction reads the network for a long time."""
    classifier = quickest(learning_rate=0.1, warm_start=True, batch_size=4).fit(X, Y)
    before = classifier.predict_proba(X)

    predict = classifier._predictor.start()
    first = predict(X[:4])
    classifier.fit(X, Y)
    both = np.concatenate([first, predict(X[4:])])
    np.testing.assert_allclose(both, before, atol=ROUNDING)
    assert not np.allclose(classifier.predict_proba(X), before, atol=1e-3)


@pytest.mark.slow
def test_failed_further_training_leaves_predictions_as_they_were():
    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("on purpose")

    classifier = quickest(learning_rate=0.1, warm_start=True).fit(X, Y)
    before = classifier.predict_proba(X)
    with pytest.raises(RuntimeError, match="on purpose"):
        classifier.set_params(callbacks=Fail).fit(X, Y)
    assert np.array_equal(classifier.predict_proba(X), before)


def test_weights_that_a_user_sets_count():
    classifier = quickest().fit(X, Y)
    weights = classifier.model_.get_weights()
    classifier.model_.set_weights([np.zeros_like(values) for values in weights])
    np.testing.assert_allclose(classifier.predict_proba(X), 0.5)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_a_refit_with_other_classes_beside_a_prediction_changes_nothing_in_it(method):
    class Samples:
        """Samples that let a refit happen when they are looked at."""

        def __array__(self, dtype=None, copy=None):
            if classifier.classes_.size == 2:
                classifier.fit(X, np.arange(8))
            return X.astype(dtype or X.dtype)

    classifier = quickest().fit(X, Y)
    more = [Y] if method == "score" else []
    expected = getattr(classifier, method)(X, *more)
    assert np.array_equal(getattr(classifier, method)(Samples(), *more), expected)
    assert classifier.classes_.size == 8


@pytest.mark.parametrize("is_further", [True, False])
def test_a_table_is_of_one_network_whatever_is_fitted_between_its_parts(
    is_further, monkeypatch
):
    def load_and_fit(loader, cells, rows):
        if rows[0] == 4 and is_further:
            classifier.partial_fit(pixels, labels)
        elif rows[0] == 4:
            classifier.fit(pixels, np.array(["c", "d"])[Y])
        return load(loader, cells, rows)

    loader, labels = ImageLoader(flatten=True), np.array(["a", "b"])[Y]
    cells = [row.reshape(2, 4) for row in X]
    pixels = loader.transform(cells)
    classifier = quickest(learning_rate=0.5)
    classifier.partial_fit(pixels, labels, classes=["a", "b"])
    pipeline = make_pipeline(loader, classifier)
    before, load = predict_frame(pipeline, cells, top_k=2), prediction._load_readable
    monkeypatch.setattr(prediction, "_load_readable", load_and_fit)
    monkeypatch.setattr(prediction, "_N_AT_ONCE", 4)
    pd.testing.assert_frame_equal(predict_frame(pipeline, cells, top_k=2), before)
    monkeypatch.undo()
    after = predict_frame(pipeline, cells, top_k=2)
    assert set(after["label"]) == set("ab" if is_further else "cd")
    is_equal = np.allclose(after["probability"], before["probability"], atol=1e-3)
    assert is_equal == (not is_further)


def test_fit_changes_all_attributes_in_one_step():
    class Look(dict):
        """A history that looks at the estimator when it is replaced."""

        def __del__(self):
            seen.append((classifier.classes_.size, classifier.n_iter_))

    seen, classifier = [], quickest().fit(X, Y)
    classifier.history_ = Look()
    classifier.set_params(epochs=2).fit(X, np.arange(8))
    assert seen == [(8, 2)]


def test_an_embedder_follows_the_weights_of_its_model():
    inputs = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(2, 4)(inputs)
    network = keras.Model(inputs, keras.layers.Flatten()(features))
    embedder, images = ImageEmbedder(network), np.ones((2, 4, 4, 3), "float32")
    before = embedder.fit_transform(images)
    network.set_weights([2 * values for values in network.get_weights()])
    np.testing.assert_allclose(embedder.transform(images), 2 * before, rtol=1e-5)


def test_a_refit_of_an_embedder_beside_transform_changes_nothing_in_it(monkeypatch):
    check = _embedder._check_images

    def check_and_refit(estimator, X, *, reset):
        if not reset:
            embedder.set_params(pooling="max").fit(np.ones((2, 6, 6, 3)))
        return check(estimator, X, reset=reset)

    layers = keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)
    images = np.random.default_rng(0).random((2, 4, 4, 3), dtype="float32")
    embedder = ImageEmbedder(keras.Sequential(layers)).fit(images)
    expected = embedder.transform(images)
    monkeypatch.setattr(_embedder, "_check_images", check_and_refit)
    np.testing.assert_array_equal(embedder.transform(images), expected)
    assert embedder.image_shape_ == (6, 6, 3)
