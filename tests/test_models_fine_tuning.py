"""A pretrained backbone in the classifier: frozen first, then trained from the end."""

import contextlib
import copy
import io
import pickle

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    KerasImageClassifier,
    load_model,
    save_model,
)
from skimgclf.exceptions import InvalidParameterError, ModelFileError
from skimgclf.models._embedder import restore_embedder
from skimgclf.models._networks.fine_tuning import thaw
from skimgclf.models._networks.pretrained import find_inner_model
from skimgclf.models._repairs import read_decayed


@pytest.fixture(scope="module")
def photos():
    """24 images of 32x32, the red ones and the blue ones."""
    X = np.random.default_rng(0).random((24, 32, 32, 3), dtype="float32")
    X[:12, ..., 0] *= 0.3
    X[12:, ..., 2] *= 0.3
    return X, np.repeat(["blue", "red"], 12)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Save a small network with batch normalization and dropout."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Conv2D(6, 3, activation="relu")(x)
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    keras.Model(inputs, x).save(path)
    return str(path)


def tuned(backbone, **parameters):
    given = {
        "fine_tune": "all",
        "epochs": 2,
        "fine_tune_epochs": 3,
        "optimizer": "sgd",  # the one that TensorFlow traces fastest
        "learning_rate": 0.5,
        "fine_tune_learning_rate": 0.25,
        "random_state": 0,
    }
    return KerasImageClassifier(backbone, **{**given, **parameters})


def note_rates(rates):
    """Return a callback that lists the learning rate of each epoch."""

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    return Watch


@pytest.fixture(scope="module")
def fit_and_rates(backbone, photos):
    """Fit once for the module, and list the learning rate of each epoch."""
    X, y = photos
    rates = []
    classifier = tuned(
        backbone,
        callbacks=note_rates(rates),
        early_stopping=True,
        warm_start=True,  # keeps the optimizer in copies
    )
    return classifier.fit(X, y, X_val=X, y_val=y), rates


@pytest.fixture(scope="module")
def fitted(fit_and_rates):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    return fit_and_rates[0]


@pytest.fixture(scope="module")
def watched_fit(backbone, photos):
    """Fit as `fitted` for as long, from an optimizer itself, and print."""
    rates, printed = [], io.StringIO()
    classifier = tuned(
        backbone,
        callbacks=note_rates(rates),
        optimizer=keras.optimizers.SGD(0.5),
        learning_rate=None,
        verbose=1,
    )
    with contextlib.redirect_stdout(printed):
        classifier.fit(*photos)
    return classifier, rates, printed.getvalue()


@pytest.fixture(scope="module")
def frozen(backbone, photos):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    return tuned(backbone, fine_tune=0).fit(*photos)


def original(backbone):
    return keras.saving.load_model(backbone).get_weights()


def changed(before, after):
    return [not np.array_equal(b, a) for b, a in zip(before, after, strict=True)]


def test_the_backbone_is_frozen_without_fine_tuning(backbone, frozen):
    weights = find_inner_model(frozen.model_).get_weights()
    assert not any(changed(original(backbone), weights))
    assert frozen.n_iter_ == 2


def test_features_are_those_of_the_embedder(backbone, photos, frozen):
    features = ImageEmbedder(backbone).fit_transform(photos[0])
    head = frozen.model_.layers[-1]
    np.testing.assert_allclose(
        frozen.predict_proba(photos[0]), np.asarray(head(features)), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("fine_tune", "expected"),
    [
        # Kernel and bias of two convolutions, and between them scale and shift of a
        # batch normalization, which never change.
        (1, [False] * 4 + [True] * 2),
        (2, [True] * 2 + [False] * 2 + [True] * 2),
        (9, [True] * 2 + [False] * 2 + [True] * 2),
        ("all", [True] * 2 + [False] * 2 + [True] * 2),
    ],
)
def test_the_last_layers_are_thawed(backbone, fine_tune, expected):
    inner = keras.saving.load_model(backbone)
    network = keras.Sequential([keras.Input((32, 32, 3)), inner])
    thaw(network, fine_tune)
    trainable = {id(variable) for variable in network.trainable_variables}
    weights = [
        weight
        for weight in inner.weights
        if weight.name not in ("moving_mean", "moving_variance")
    ]
    assert [id(weight) in trainable for weight in weights] == expected


def test_all_layers_but_normalization_are_fine_tuned(backbone, fitted):
    weights = find_inner_model(fitted.model_).get_weights()
    expected = [True] * 2 + [False] * 4 + [True] * 2
    assert changed(original(backbone), weights) == expected


@pytest.mark.slow
def test_both_parts_train_on_soft_labels(backbone, photos):
    X, y = photos
    classifier = tuned(backbone, mixup=0.2, label_smoothing=0.8)
    history = classifier.fit(X, y, X_val=X, y_val=y).history_
    assert len(history["val_loss"]) == 5
    # With shares of 0.6 and 0.4, no network has a lower loss than their entropy.
    assert min(history["loss"]) > 0.673


def test_one_history_holds_both_parts(fitted, watched_fit, frozen):
    history = fitted.history_
    assert {len(values) for values in history.values()} == {5}
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["loss"][:2] == frozen.history_["loss"]
    assert watched_fit[0].history_ == {name: history[name] for name in frozen.history_}
    for classifier in (fitted, watched_fit[0]):
        assert (classifier.n_iter_, classifier.best_iter_) == (5, 5)
    printed = watched_fit[2]
    assert [line.split(":")[0] for line in printed.splitlines()] == [
        "Epoch 1/2",
        "Epoch 2/2",
        "Epoch 3/5",
        "Epoch 4/5",
        "Epoch 5/5",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {"fine_tune_epochs": 1},
        {"fine_tune_learning_rate": 0.1},
        {"augmentation": "flip"},
        {"dropout": 0.5},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_every_parameter_changes_something(fitted, backbone, photos, parameters):
    other = tuned(backbone, **parameters).fit(*photos)
    assert other.history_ != fitted.history_


def test_optimizer_and_rates_are_those_of_each_part(fit_and_rates, watched_fit):
    (_, by_name), (_, of_an_optimizer, _) = fit_and_rates, watched_fit
    assert by_name == [0.5, 0.5, 0.25, 0.25, 0.25]
    assert of_an_optimizer == by_name


# With equal rates, nothing but the layers that are trained tells the parts apart.
@pytest.mark.parametrize(
    ("rate", "is_resumed"),
    [(0.5, False), pytest.param(0.25, True, marks=pytest.mark.slow)],
)
def test_each_part_has_layers_and_a_schedule_of_its_own(
    backbone, photos, rate, is_resumed
):
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    classifier = tuned(
        backbone,
        fine_tune=1,
        learning_rate_schedule="cosine",
        fine_tune_learning_rate=rate,
        batch_size=12,
        callbacks=Watch,
    ).fit(*photos)
    weights = find_inner_model(classifier.model_).get_weights()
    assert changed(original(backbone), weights) == [False] * 6 + [True] * 2
    head = 0.5 * np.cos(np.pi / 2 * np.arange(4) / 4) ** 2
    tail = rate * np.cos(np.pi / 2 * np.arange(6) / 6) ** 2
    np.testing.assert_allclose(rates, [*head, *tail], rtol=1e-4)
    if is_resumed:
        classifier.set_params(warm_start=True).fit(*photos)
        np.testing.assert_allclose(rates[10:], tail, rtol=1e-4)


@pytest.mark.slow
def test_weight_decay_is_for_both_parts(backbone, photos):
    classifier = tuned(backbone, weight_decay=0.5, warm_start=True).fit(*photos)
    optimizer, variables = (
        classifier.model_.optimizer,
        classifier.model_.trainable_variables,
    )
    assert read_decayed(optimizer, variables) == [True, False] * 3


def test_early_stopping_keeps_the_better_of_both_parts(backbone, photos, fitted):
    # Of the shared fit, the last epoch is the best one.
    assert fitted.best_iter_ == np.argmin(fitted.history_["val_loss"]) + 1
    assert fitted.best_iter_ > 2
    stopping = tuned(
        backbone,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=2,
        fine_tune_learning_rate=100.0,  # does harm
    )
    losses = stopping.fit(*photos).history_["val_loss"]
    assert stopping.best_iter_ == np.argmin(losses) + 1
    assert stopping.best_iter_ <= 2 < stopping.n_iter_
    weights = find_inner_model(stopping.model_).get_weights()
    assert not any(changed(original(backbone), weights))


def test_fits_are_seeded_and_share_nothing(fitted, watched_fit):
    first, second = fitted, watched_fit[0]
    assert not any(changed(first.model_.get_weights(), second.model_.get_weights()))
    mine = {id(variable) for variable in first.model_.variables}
    assert not mine & {id(variable) for variable in second.model_.variables}


@pytest.mark.slow
def test_fine_tuning_can_be_searched(backbone, photos):
    search = GridSearchCV(
        tuned(backbone),
        {"fine_tune": [0, "all"]},
        cv=2,
        error_score="raise",
    ).fit(*photos)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_names_of_keras_are_architectures(photos, tmp_path):
    classifier = KerasImageClassifier(
        "MobileNet", weights=None, fine_tune=1, epochs=1, random_state=0
    )
    classifier.set_params(fine_tune_epochs=1).fit(*photos)
    save_model(classifier, tmp_path / "saved")
    expected = classifier.predict_proba(photos[0])
    for copied in (
        pickle.loads(pickle.dumps(classifier)),
        load_model(tmp_path / "saved"),
    ):
        np.testing.assert_array_equal(copied.predict_proba(photos[0]), expected)
    assert "imagenet" in repr(KerasImageClassifier().weights)


@pytest.mark.slow
def test_weights_of_a_file_reach_the_backbone(photos, tmp_path):
    keras.utils.set_random_seed(1)
    source = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    path = tmp_path / "mine.weights.h5"
    source.save_weights(path)
    classifier = KerasImageClassifier("MobileNet", weights=path, epochs=1)
    weights = find_inner_model(classifier.fit(*photos).model_).get_weights()
    assert not any(changed(source.get_weights(), weights))
    save_model(classifier, tmp_path / "saved")
    path.unlink()
    assert load_model(tmp_path / "saved").weights == str(path)


def test_a_saved_copy_has_all_that_fine_tuning_has_learnt(fitted, photos, tmp_path):
    classifier = copy.copy(fitted).set_params(callbacks=None)
    save_model(classifier, tmp_path / "saved", include_optimizer=True)
    loaded = load_model(tmp_path / "saved", trusted=True)
    np.testing.assert_array_equal(
        loaded.predict_proba(photos[0]), fitted.predict_proba(photos[0])
    )
    assert loaded.history_ == fitted.history_
    network, expected = loaded.model_, fitted.model_
    assert not any(changed(expected.get_weights(), network.get_weights()))
    # Of a backbone that is frozen again, fewer.
    trained = [
        [variable.path for variable in each.trainable_variables]
        for each in (expected, network)
    ]
    assert trained[0] == trained[1]
    numbers = [
        [number.numpy() for number in each.optimizer.variables]
        for each in (expected, network)
    ]
    assert not any(changed(*numbers))


@pytest.fixture(scope="module", params=[0, 1], ids=str)
def copied_fit(request, backbone, photos, tmp_path_factory):
    """Fit, copy, and train further; return it, and what the copies were made of."""
    classifier = tuned(
        backbone,
        fine_tune=request.param,
        optimizer="adam",  # has moments that a copy must keep
        learning_rate=0.01,
        fine_tune_learning_rate=0.001,
        warm_start=True,
        dropout=0.3,
        augmentation=[keras.layers.GaussianNoise(0.1)],
    ).fit(*photos)
    path = tmp_path_factory.mktemp("copies") / "saved"
    save_model(classifier, path, include_optimizer=True)
    packed, expected = pickle.dumps(classifier), classifier.predict_proba(photos[0])
    classifier.fit(*photos)
    assert classifier.n_iter_ == (4 if request.param == 0 else 8)
    rate = 0.01 if request.param == 0 else 0.001
    assert float(classifier.model_.optimizer.learning_rate) == pytest.approx(rate)
    return classifier, expected, {"pickle": packed, "save_model": path}


# In fast tests, a copy has all numbers, and one without a backbone goes on training.
@pytest.mark.slow
@pytest.mark.parametrize("way", ["pickle", "save_model"])
def test_a_copy_goes_on_training_as_if_it_had_never_stopped(photos, copied_fit, way):
    classifier, expected, sources = copied_fit
    if way == "pickle":
        duplicate = pickle.loads(sources[way])
    else:
        duplicate = load_model(sources[way], trusted=True)
    np.testing.assert_array_equal(duplicate.predict_proba(photos[0]), expected)
    duplicate.fit(*photos)
    assert duplicate.history_ == classifier.history_
    assert not any(
        changed(classifier.model_.get_weights(), duplicate.model_.get_weights())
    )


def test_a_saved_pipeline_needs_no_file_of_the_backbone(photos, tmp_path):
    path = tmp_path / "gone.keras"
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs)).save(path)
    loader = ImageLoader(image_size=(16, 16), color_mode="rgb")
    cells = list((photos[0] * 255).astype("uint8"))
    pipeline = make_pipeline(loader, tuned(path, fine_tune=0)).fit(cells, photos[1])
    expected = pipeline.predict_proba(cells)
    save_model(pipeline, tmp_path / "saved")
    packed = pickle.dumps(pipeline)
    path.unlink()
    with pytest.raises(ModelFileError, match=r"by '.*gone\.keras'.*trusted=True"):
        load_model(tmp_path / "saved")
    loaded = load_model(tmp_path / "saved", trusted=True)
    for again in (loaded, pickle.loads(packed)):
        np.testing.assert_array_equal(again.predict_proba(cells), expected)
        with pytest.raises(InvalidParameterError, match=r"file that can be read"):
            loaded.fit(cells, photos[1])


@pytest.mark.slow
def test_a_saved_pipeline_keeps_an_embedder_by_its_name(photos, tmp_path):
    pipeline = make_pipeline(
        ImageEmbedder(weights=None),
        KerasImageClassifier(hidden_layer_sizes=(), epochs=1),
    ).fit(*photos)
    save_model(pipeline, tmp_path / "saved")
    assert (tmp_path / "saved").stat().st_size < 100_000
    loaded = load_model(tmp_path / "saved")
    np.testing.assert_array_equal(
        loaded.predict_proba(photos[0]), pipeline.predict_proba(photos[0])
    )
    mine, theirs = (p.named_steps["imageembedder"] for p in (loaded, pipeline))
    assert vars(mine) == vars(theirs)
    assert list(mine.get_feature_names_out()) == list(theirs.get_feature_names_out())


def test_a_saved_embedder_refuses_other_weights(backbone, photos, tmp_path):
    path = tmp_path / "changing.keras"
    model = keras.saving.load_model(backbone)
    model.save(path)
    pipeline = make_pipeline(ImageEmbedder(path), LogisticRegression())
    save_model(pipeline.fit(*photos), tmp_path / "saved")
    model.set_weights([weights + 1 for weights in model.get_weights()])
    model.save(path)
    with pytest.raises(ValueError, match="fitted with other weights"):
        load_model(tmp_path / "saved").predict(photos[0])


def test_an_embedder_of_a_model_is_not_saved(backbone, photos, tmp_path):
    model = keras.saving.load_model(backbone)
    pipeline = make_pipeline(ImageEmbedder(model), LogisticRegression())
    with pytest.raises(InvalidParameterError, match=r"save\('backbone.keras'\)"):
        save_model(pipeline.fit(*photos), tmp_path / "saved")


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_shape": [8, 8, 3]},
        {"image_shape": (8, 8)},
        {"image_shape": (8, 8, -3)},
        {"n_features_out": 2.5},
        {"weights_hash": None},
        {"more": 1},
    ],
    ids=str,
)
def test_what_no_embedder_has_learnt_is_refused(wrong):
    learnt = {"image_shape": (8, 8, 3), "n_features_out": 2, "weights_hash": "0"}
    assert restore_embedder({}, learnt).n_features_in_ == 192
    with pytest.raises(ValueError, match=r"must be|unknown entries"):
        restore_embedder({}, {**learnt, **wrong})


def test_rows_and_small_images_are_refused(photos):
    classifier = KerasImageClassifier("MobileNet", weights=None)
    with pytest.raises(ValueError, match=r"'MobileNet' needs images of shape"):
        classifier.fit(np.eye(4), ["a", "b", "a", "b"])
    with pytest.raises(ValueError, match=r"32 x 32 pixels.*image_size=\(224, 224\)"):
        classifier.fit(photos[0][:, :20], photos[1])


def test_partial_fit_trains_the_softmax_layer_only(backbone, photos, frozen):
    with pytest.raises(InvalidParameterError, match="0 in partial_fit"):
        tuned(backbone).partial_fit(*photos, classes=["blue", "red"])
    classifier = tuned(backbone, fine_tune=0)
    for _ in range(2):
        classifier.partial_fit(*photos, classes=["blue", "red"])
    assert classifier.history_ == frozen.history_


def test_training_further_with_another_part_is_refused(photos, frozen):
    classifier = copy.copy(frozen).set_params(fine_tune=1, warm_start=True)
    with pytest.raises(ValueError, match="fine_tune=0 can't be trained further"):
        classifier.fit(*photos)
