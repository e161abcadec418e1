"""Mixed samples and smoothed labels: in training only, by shares and by weights."""

import functools
import pickle

import keras
import numpy as np
import pytest
from PIL import Image
from saved_models import saved_copy
from small_classifiers import quickest, weights_of

from skimgclf import ImageLoader
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import LazyImages
from skimgclf.models._training import loop, scikeras_adapter
from skimgclf.models._training.loss import (
    Partners,
    SoftLabels,
    draw_partners,
    soften,
)

quick = functools.partial(quickest, epochs=2, learning_rate=0.1)


def assert_equal_fits(one, other):
    np.testing.assert_array_equal(weights_of(one), weights_of(other))
    assert one.history_ == other.history_


# ---- partners and targets ------------------------------------------------------------


def test_partners_are_a_permutation_within_each_batch():
    partners = draw_partners(70, 32, 0.4, np.random.default_rng(0))
    for start, stop in [(0, 32), (32, 64), (64, 70)]:
        part = partners.positions[start:stop]
        assert sorted(part) == list(range(start, stop))
        assert (part != np.arange(start, stop)).sum() > 3


@pytest.mark.parametrize(("mixup", "low", "high"), [(0.1, 0, 0.1), (100, 0.4, 0.5)])
def test_partners_have_the_smaller_share(mixup, low, high):
    shares = draw_partners(1000, 10, mixup, np.random.default_rng(0)).shares
    assert shares.min() >= 0
    assert shares.max() <= 0.5
    assert len(set(shares)) > 900
    assert low < shares.mean() < high


def test_partners_are_selected_by_batches():
    partners = draw_partners(70, 32, 0.4, np.random.default_rng(0))
    part = partners.select(slice(32, 70))
    np.testing.assert_array_equal(part.positions + 32, partners.positions[32:])
    np.testing.assert_array_equal(part.shares, partners.shares[32:])


@pytest.mark.parametrize("shape", [(5,), (2, 3, 1)])
def test_soften_mixes_samples_by_their_shares(shape):
    X = np.random.default_rng(0).random((3, *shape), dtype="float32")
    partners = Partners(np.array([1, 2, 0]), np.array([0.5, 0.25, 0]))
    mixed, targets = soften(SoftLabels(4), (X, np.array([3, 1, 0])), partners)
    assert mixed.dtype == targets.dtype == np.float32
    expected = [X[0] / 2 + X[1] / 2, 0.75 * X[1] + 0.25 * X[2], X[2]]
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
    np.testing.assert_allclose(
        targets, [[0, 0.5, 0, 0.5], [0.25, 0.75, 0, 0], [1, 0, 0, 0]]
    )


def test_soften_leaves_hard_labels_and_weights_as_they_are():
    X, codes = np.ones((3, 2), "float32"), np.array([1, 0, 1])
    weights = np.array([0.1, 3, 1e-30], "float32")
    same, targets, same_weights = soften(SoftLabels(2), (X, codes, weights))
    assert same is X
    np.testing.assert_array_equal(targets, [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_array_equal(same_weights, weights)
    assert same_weights.dtype == weights.dtype


def test_soften_gives_the_loss_of_both_labels_by_share_and_weight():
    generator = np.random.default_rng(0)
    n_samples, n_classes, smoothing = 8, 3, 0.2
    soft = SoftLabels(n_classes, smoothing, 0.4)
    codes = generator.integers(n_classes, size=n_samples)
    weights = generator.uniform(0.1, 5, n_samples)
    partners = draw_partners(n_samples, n_samples, soft.mixup, generator)
    probabilities = generator.dirichlet(np.ones(n_classes), n_samples)
    X = np.zeros((n_samples, 1))
    _, targets, mixed_weights = soften(soft, (X, codes, weights), partners)
    found = mixed_weights * keras.losses.categorical_crossentropy(
        targets, probabilities.astype("float32")
    )
    losses = -np.log(probabilities)
    by_class = smoothing * losses.mean(axis=1)

    def label_loss(rows):
        hard = losses[np.arange(n_samples), codes[rows]]
        return weights[rows] * ((1 - smoothing) * hard + by_class)

    expected = (1 - partners.shares) * label_loss(np.arange(n_samples))
    expected += partners.shares * label_loss(partners.positions)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_soften_takes_a_pair_without_weight():
    batch = np.ones((2, 1)), np.array([0, 1]), np.zeros(2, dtype="float32")
    partners = Partners(np.array([1, 0]), np.array([0.3, 0.3]))
    _, targets, weights = soften(SoftLabels(2, 0.1, 0.4), batch, partners)
    np.testing.assert_array_equal(weights, 0)
    assert np.isfinite(targets).all()


# ---- in the classifier ---------------------------------------------------------------


@pytest.mark.parametrize(
    "class_weight", [{"3": 5.0}, pytest.param(None, marks=pytest.mark.slow)]
)
def test_tiny_values_train_as_hard_labels_do(digits, class_weight):
    # For an epoch: the draws of mixtures are in the order's own generator.
    parameters = {"epochs": 1, "class_weight": class_weight}
    weights = np.linspace(0.5, 2, 300)
    X, y = digits
    given = {"X_val": X[:50], "y_val": y[:50], "sample_weight_val": weights[:50]}
    hard = quick(**parameters).fit(X, y, weights, **given)
    for name in ("label_smoothing", "mixup"):
        soft = quick(**parameters, **{name: 1e-9}).fit(X, y, weights, **given)
        np.testing.assert_allclose(
            weights_of(soft), weights_of(hard), atol=1e-5, err_msg=name
        )
        for metric, values in hard.history_.items():
            found = soft.history_[metric]
            np.testing.assert_allclose(found, values, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", ["label_smoothing", "mixup"])
def test_a_value_changes_what_is_learnt(digits, name):
    found = [weights_of(quick(**{name: v}).fit(*digits)) for v in (0, 0.3, 0.4)]
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])


# In fast tests, the loss of soft labels is that of a formula.
@pytest.mark.slow
def test_label_smoothing_makes_the_network_less_sure(digits):
    parameters = {"hidden_layer_sizes": (6,), "optimizer": "adam", "epochs": 30}
    largest = [
        quick(label_smoothing=value, learning_rate=0.03, **parameters)
        .fit(*digits)
        .predict_proba(digits[0])
        .max(axis=1)
        .mean()
        for value in (0, 0.5)
    ]
    assert largest[0] > 0.8
    assert largest[1] < 0.7


def test_validation_data_stay_hard(digits):
    X, y = digits
    # Where nothing is learnt, only the targets can make a difference.
    still = {"hidden_layer_sizes": (6,), "learning_rate": 1e-30, "batch_size": 20}
    histories = [
        quick(**still, **soft).fit(X, y, X_val=X[:70], y_val=y[:70]).history_
        for soft in ({}, {"label_smoothing": 0.3, "mixup": 0.4})
    ]
    for name in ("val_loss", "val_accuracy"):
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-6)
    assert abs(histories[1]["loss"][0] - histories[0]["loss"][0]) > 1e-3


def test_accuracy_counts_the_label_with_the_larger_share():
    # The network gives one answer, whatever it sees: it is right as often as a label.
    X, y = np.zeros((100, 8, 8, 1)), np.repeat([*"0123456789"], [64, *[4] * 9])
    fit = quick(learning_rate=1e-30, mixup=1.0, label_smoothing=0.2)
    answer = fit.fit(X, y).predict(X[:1])[0]
    np.testing.assert_allclose(fit.history_["accuracy"], (y == answer).mean())


def test_validation_data_that_are_held_out_stop_a_fit(digits):
    classifier = quick(mixup=0.2, label_smoothing=0.1, early_stopping=True, epochs=30)
    classifier.set_params(learning_rate=3, n_iter_no_change=1).fit(*digits)
    values = classifier.history_["val_loss"]
    assert len(values) < 30
    assert np.argmin(values) + 1 == classifier.best_iter_


SOFT = {"mixup": 0.4, "label_smoothing": 0.1, "class_weight": "balanced"}


@pytest.mark.parametrize(
    "batch_size", [32, *[pytest.param(n, marks=pytest.mark.slow) for n in (7, 1000)]]
)
def test_batches_are_mixed_alike_however_they_come(
    digits, tmp_path, monkeypatch, batch_size
):
    X, y = digits[0][:100], digits[1][:100]
    as_bytes = (X * 255).astype("uint8")
    parameters = {**SOFT, "batch_size": batch_size, "early_stopping": True}
    expected = quick(**parameters).fit(as_bytes, y)
    for other in (as_bytes / np.float32(255), lazy_images(as_bytes, tmp_path)):
        assert_equal_fits(quick(**parameters).fit(other, y), expected)
    monkeypatch.setattr(loop, "_N_JOINED", 1)
    assert_equal_fits(quick(**parameters).fit(as_bytes, y), expected)


def lazy_images(pixels, folder):
    paths = [folder / f"{row}.png" for row in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    loader = ImageLoader(image_size=pixels.shape[1:3], lazy=True, n_jobs=2)
    images = loader.transform(paths)
    assert isinstance(images, LazyImages)
    return images


@pytest.mark.slow
def test_rows_are_mixed_as_well(digits):
    X, y = digits
    rows = X.reshape(300, -1)
    assert_equal_fits(quick(mixup=0.4).fit(rows, y), quick(mixup=0.4).fit(X, y))


def test_soft_labels_work_at_other_float_types(digits):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        classifier = quick(**SOFT).fit(*digits)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert classifier.model_.get_weights()[0].dtype == np.float64


# ---- programs, and training further --------------------------------------------------


NUMBERS = {
    "some": {"mixup": 0.2},
    "others": {"mixup": 0.3, "label_smoothing": 0.1},
    "hard": {},
}


@pytest.mark.parametrize(
    "compared", ["others", pytest.param("hard", marks=pytest.mark.slow)]
)
def test_fits_with_other_numbers_share_a_program(digits, monkeypatch, compared):
    programs = []
    describe = scikeras_adapter.describe_program

    def note(*arguments):
        programs.append(describe(*arguments))
        return programs[-1]

    monkeypatch.setattr(scikeras_adapter, "describe_program", note)
    fits = {name: quick(**given).fit(*digits) for name, given in NUMBERS.items()}
    some, others, hard = programs
    assert None not in programs
    assert some == others != hard
    monkeypatch.setattr(scikeras_adapter, "describe_program", lambda *_: None)
    assert_equal_fits(fits[compared], quick(**NUMBERS[compared]).fit(*digits))


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(lambda classifier, folder: classifier, marks=pytest.mark.slow),
        lambda classifier, folder: pickle.loads(pickle.dumps(classifier)),
        pytest.param(saved_copy, marks=pytest.mark.slow),
    ],
    ids=["same", "pickle", "save_model"],
)
def test_training_further_goes_on_as_if_never_stopped(digits, tmp_path, copied):
    whole = quick(**SOFT, epochs=4).fit(*digits)
    half = quick(**SOFT, warm_start=True).fit(*digits)
    assert_equal_fits(copied(half, tmp_path).fit(*digits), whole)


@pytest.mark.slow
def test_training_further_follows_new_values(digits):
    X, y = digits
    quicker = {
        "hidden_layer_sizes": (32,),
        "optimizer": "adam",
        "learning_rate": 0.01,
        "epochs": 4,
    }
    further = [quick(**quicker, warm_start=True).fit(X, y) for _ in range(2)]
    assert_equal_fits(*further)
    further[1].set_params(label_smoothing=0.4)
    for classifier in further:
        classifier.fit(X, y)
    assert further[1].history_["loss"][4] > further[0].history_["loss"][4] + 0.1
    # Back to hard labels, with the optimizer that went on all the time.
    optimizer = further[1].model_.optimizer
    further[1].set_params(label_smoothing=0.0).fit(X, y)
    assert further[1].model_.optimizer is optimizer
    assert further[1].history_["loss"][8] < further[1].history_["loss"][7] - 0.1


@pytest.mark.parametrize(
    "parts",
    [
        [slice(0, 90)],
        pytest.param([slice(0, 90), slice(90, 300)], marks=pytest.mark.slow),
    ],
)
def test_partial_fit_mixes_the_samples_of_a_part(digits, parts):
    X, y = digits
    fits = [quick(**soft) for soft in ({}, {"mixup": 0.4})]
    for classifier in fits:
        for rows in parts:
            classifier.partial_fit(X[rows], y[rows], classes=sorted(set(y)))
    assert not np.array_equal(weights_of(fits[0]), weights_of(fits[1]))


class Stumble(keras.callbacks.Callback):
    """End a fit by an error."""

    def on_epoch_end(self, epoch, logs=None):
        """Raise the error."""
        raise ArithmeticError("stumbled")


@pytest.mark.parametrize(
    "values", [(0.4, 0), pytest.param((0, 0.4), marks=pytest.mark.slow)]
)
def test_a_fit_that_fails_leaves_the_loss_as_it_was(digits, values):
    X, y = digits
    classifier = quick(warm_start=True, mixup=values[0]).fit(X, y)
    before = weights_of(classifier)
    with pytest.raises(ArithmeticError):
        classifier.set_params(mixup=values[1], callbacks=Stumble()).fit(X, y)
    np.testing.assert_array_equal(weights_of(classifier), before)
    codes = np.searchsorted(classifier.classes_, y)
    targets = np.eye(10)[codes] if values[0] else codes
    network = classifier.model_
    assert np.isfinite(network.compute_loss(y=targets, y_pred=network(X)))


def test_a_network_of_soft_labels_is_read_by_keras_alone(digits, tmp_path):
    classifier = quick(**SOFT).fit(*digits)
    classifier.model_.save(tmp_path / "network.keras")
    network = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(network(digits[0]), classifier.model_(digits[0]))


def test_mixup_is_refused_where_a_batch_has_one_sample(digits):
    match = "'mixup'.* must be 0 with batch_size=1.*Got 0.2"
    with pytest.raises(InvalidParameterError, match=match):
        quick(mixup=0.2, batch_size=1).fit(*digits)
