"""KerasImageClassifier, as a user of scikit-learn meets it."""

import contextlib
import copy
import threading
import time

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from small_classifiers import SMALL, quick

from skimgclf import KerasImageClassifier, export_model
from skimgclf.models import build_cnn
from skimgclf.models._predict import Predictor

# Enough to learn the digits.
LEARNS = {"optimizer": "adam", "learning_rate": 0.01, "epochs": 15, "batch_size": 16}


@pytest.fixture(scope="module")
def fitted(digits):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    return quick(**LEARNS).fit(*digits)


@pytest.fixture(scope="module")
def rows(digits):
    """Make a table with a row of pixels a digit."""
    return pd.DataFrame(digits[0].reshape(300, -1)).add_prefix("pixel_")


@pytest.fixture(scope="module")
def fitted_on_rows(rows, digits):
    """Careful: shared by the module, as `fitted`."""
    return quick(**LEARNS).fit(rows, digits[1])


def test_predictions_are_labels_as_given(fitted, digits):
    X, y = digits
    predicted = fitted.predict(X)
    assert predicted.shape == y.shape
    assert predicted.dtype == y.dtype
    assert fitted.classes_.tolist() == list("0123456789")
    assert (predicted == y).mean() > 0.85
    assert fitted.score(X, y) == (predicted == y).mean()


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], [False, True], [-1, 1]],
    ids=repr,
)
def test_predictions_keep_the_labels_type(digits, labels):
    y = np.resize(labels, 300)
    predicted = quick().fit(digits[0], y).predict(digits[0])
    assert predicted.dtype == y.dtype
    assert set(predicted.tolist()) <= set(labels)


def test_labels_may_be_a_series_with_any_index(digits):
    X, y = digits
    series = pd.Series(y, index=np.arange(300) * 7 + 5)
    expected = quick().fit(X, y).predict_proba(X)
    for labels in (series, series.astype("category"), list(y)):
        np.testing.assert_array_equal(quick().fit(X, labels).predict_proba(X), expected)


@pytest.mark.parametrize("n_samples", [1, 2, 33])
def test_probabilities_have_a_row_a_sample_that_sums_to_one(fitted, digits, n_samples):
    probabilities = fitted.predict_proba(digits[0][:n_samples])
    assert probabilities.shape == (n_samples, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_two_classes_have_two_columns(digits):
    X, y = digits
    probabilities = quick().fit(X, y < "5").predict_proba(X)
    assert probabilities.shape == (300, 2)


def test_one_image_gives_the_same_row_as_in_a_batch(fitted, digits):
    X = digits[0][:40]
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba(X[[row]]) for row in range(40)])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_uint8_images_train_and_predict_like_their_float_images(digits):
    X, y = digits
    X_uint8 = np.round(X * 255).astype("uint8")
    from_uint8 = quick().fit(X_uint8, y)
    from_float = quick().fit((X_uint8 / 255).astype("float32"), y)
    np.testing.assert_allclose(
        from_uint8.predict_proba(X_uint8), from_float.predict_proba(X), atol=1e-2
    )
    np.testing.assert_allclose(
        from_uint8.predict_proba(X_uint8),
        from_float.predict_proba((X_uint8 / 255).astype("float32")),
        atol=1e-5,
    )


def test_log_probabilities_are_the_logarithms_of_probabilities(fitted, digits):
    X, _ = digits
    logarithms = fitted.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(logarithms), fitted.predict_proba(X), rtol=1e-5)


def test_the_log_probability_of_an_impossible_class_is_minus_infinity(
    fitted_on_rows, rows
):
    sure = fitted_on_rows.predict_log_proba(rows.iloc[:5] * 1e6)
    assert np.isneginf(sure).any()


def test_the_network_takes_images_and_gives_probabilities(fitted, digits):
    X = digits[0][:5]
    assert isinstance(fitted.model_, keras.Model)
    np.testing.assert_allclose(
        np.asarray(fitted.model_(X)), fitted.predict_proba(X), atol=1e-6
    )


def test_learnt_attributes_describe_the_fit(fitted):
    assert fitted.image_shape_ == (8, 8, 1)
    assert fitted.n_features_in_ == 64
    assert fitted.n_iter_ == fitted.best_iter_ == 15
    assert sorted(fitted.history_) == ["accuracy", "loss"]
    assert all(len(values) == 15 for values in fitted.history_.values())
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]


def test_rows_work_like_images_and_keep_their_feature_names(
    fitted_on_rows, rows, digits
):
    assert fitted_on_rows.feature_names_in_.tolist() == rows.columns.tolist()
    assert fitted_on_rows.image_shape_ == (64,)
    assert fitted_on_rows.score(rows, digits[1]) > 0.85


def test_a_refit_on_images_forgets_feature_names(fitted_on_rows, digits):
    X, y = digits
    classifier = copy.copy(fitted_on_rows).fit(X, y)
    assert not hasattr(classifier, "feature_names_in_")
    assert classifier.predict(X).shape == (300,)


def test_predicting_other_shapes_names_both_and_the_loader(fitted, digits):
    X = digits[0]
    with pytest.raises(ValueError, match=r"\(4, 8, 1\).*\(8, 8, 1\).*ImageLoader\(im"):
        fitted.predict(X[:, :4])
    with pytest.raises(ValueError, match=r"rows.*images of shape \(8, 8, 1\)"):
        fitted.predict(X.reshape(300, -1))
    with pytest.raises(ValueError, match=r"X\[np.newaxis\]"):
        fitted.predict(X[0])


def test_predicting_before_fit_is_scikit_learns_error(digits):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(quick(), method)(digits[0])
    with pytest.raises(NotFittedError):
        quick().score(*digits)


def test_score_refuses_labels_of_another_type(fitted, digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"None of the labels.* 0 in row 0.*\n  '0'"):
        fitted.score(X, y.astype(int))


def test_score_of_unseen_labels_alone_is_zero_with_a_warning(fitted, digits):
    """As in a fold whose test rows are all of one rare class."""
    with pytest.warns(UserWarning, match="10 of 10 labels in y were never seen"):
        assert fitted.score(digits[0][:10], ["zebra"] * 10) == 0


def test_a_missing_y_is_said(fitted, digits):
    for call in (quick().fit, fitted.score):
        with pytest.raises(ValueError, match=r"y is missing: .*y to be passed"):
            call(digits[0], None)


@pytest.mark.parametrize("dtype", ["datetime64[D]", "timedelta64[s]"])
def test_dates_as_labels_are_refused_with_advice(digits, dtype):
    y = digits[1].astype(int).astype(dtype)
    with pytest.raises(ValueError, match=r"y holds dates or times.*y\.astype\(str\)"):
        quick().fit(digits[0], y)
    quick().fit(digits[0], y.astype(str))


def test_partial_fit_refuses_early_stopping_as_mlp_classifier_does(digits):
    rows, y = digits[0].reshape(300, -1), digits[1]
    for classifier in (quick(early_stopping=True), MLPClassifier(early_stopping=True)):
        with pytest.raises(ValueError, match="partial_fit does not support early_stop"):
            classifier.partial_fit(rows, y, classes=np.unique(y))


def test_score_counts_single_unknown_labels_as_wrong_with_a_warning(fitted, digits):
    X = digits[0][:10]
    y = fitted.predict(X).astype(object)
    y[3] = "zebra"
    with pytest.warns(UserWarning, match=r"1 of 10 .* 'zebra' in row 3") as warned:
        assert fitted.score(X, y) == pytest.approx(0.9)
    assert warned[0].filename == __file__


def test_score_takes_weights(fitted, digits):
    X, y = digits
    right = fitted.predict(X) == y
    assert fitted.score(X, y, sample_weight=right) == 1.0


def test_sample_weight_of_two_equals_a_sample_given_twice(digits):
    X, y = digits[0][:60], digits[1][:60]
    weights = np.resize([2, 1, 0], 60)
    full_batches = quick(batch_size=1000, epochs=3)
    weighted = clone(full_batches).fit(X, y, sample_weight=weights)
    repeated = clone(full_batches).fit(X.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-5
    )


@pytest.mark.slow
def test_sample_weight_equals_repetition_but_for_rounding_in_32_bits(digits):
    """scikit-learn's check of it passes in 64 bits only: this is why."""
    X, y = digits[0][:60], digits[1][:60]
    weights = np.resize([2, 1], 60)
    full_batches = quick(batch_size=1000, optimizer="adam", learning_rate=0.001)
    weighted = clone(full_batches).fit(X, y, sample_weight=weights)
    repeated = clone(full_batches).fit(X.repeat(weights, axis=0), y.repeat(weights))
    for one, other in zip(
        weighted.model_.get_weights(), repeated.model_.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_sample_weight_in_small_batches_scales_a_samples_share(digits):
    X, y = digits[0][:60], digits[1][:60]
    plain = quick(batch_size=8).fit(X, y).predict_proba(X)
    equal = quick(batch_size=8).fit(X, y, sample_weight=[3.0] * 60).predict_proba(X)
    np.testing.assert_allclose(equal, plain, atol=1e-6)
    weights = np.resize([2, 1], 60)
    weighted = quick(batch_size=8).fit(X, y, sample_weight=weights).predict_proba(X)
    assert np.abs(weighted - plain).max() > 1e-3


def test_class_weight_moves_predictions_towards_the_heavy_class(digits):
    X, y = digits
    plain = quick(epochs=5).fit(X, y).predict(X)
    heavy = quick(epochs=5, class_weight={"3": 50.0}).fit(X, y).predict(X)
    assert (heavy == "3").sum() > (plain == "3").sum()


@pytest.mark.slow
def test_class_weight_balanced_lifts_a_rare_class(digits):
    X, y = digits
    rare = np.flatnonzero(y == "1")[:5]
    rows = np.concatenate([np.flatnonzero(y == "0"), rare])
    imbalanced = {"epochs": 3, "optimizer": "adam", "learning_rate": 0.005}
    plain = quick(**imbalanced).fit(X[rows], y[rows])
    balanced = quick(**imbalanced, class_weight="balanced").fit(X[rows], y[rows])
    assert (
        balanced.predict_proba(X[rare])[:, 1].mean()
        > plain.predict_proba(X[rare])[:, 1].mean()
    )


def test_a_class_weight_may_name_classes_that_a_fold_lacks(digits):
    X, y = digits
    weights = {label: 1.0 + int(label) for label in "0123456789"}
    few = np.isin(y, ["1", "2"])
    classifier = quick(class_weight=weights).fit(X[few], y[few])
    assert classifier.classes_.tolist() == ["1", "2"]


def test_test_time_augmentation_averages_over_mirror_images(fitted, digits):
    X = digits[0][:50]
    flipped = copy.copy(fitted).set_params(test_time_augmentation="flip", batch_size=7)
    expected = (fitted.predict_proba(X) + fitted.predict_proba(X[:, :, ::-1])) / 2
    np.testing.assert_allclose(flipped.predict_proba(X), expected, atol=1e-6)
    np.testing.assert_array_equal(
        flipped.predict(X), fitted.classes_[expected.argmax(axis=1)]
    )


def test_test_time_augmentation_of_rows_is_refused(
    fitted_on_rows, rows, digits, tmp_path
):
    match = "'test_time_augmentation' parameter .* None for rows of features"
    with pytest.raises(ValueError, match=match):
        quick(test_time_augmentation="flip").fit(rows, digits[1])
    classifier = copy.copy(fitted_on_rows).set_params(test_time_augmentation="flip")
    with pytest.raises(ValueError, match=match):
        classifier.predict(rows)
    with pytest.raises(ValueError, match=match):
        export_model(classifier, tmp_path / "model.keras", format="keras")


def test_fit_twice_starts_anew(digits):
    classifier = quick(epochs=2)
    first = classifier.fit(*digits).predict_proba(digits[0])
    np.testing.assert_array_equal(
        classifier.fit(*digits).predict_proba(digits[0]), first
    )
    assert len(classifier.history_["loss"]) == 2


def test_it_is_a_classifier_and_searches_stratify(digits):
    X, y = digits
    assert is_classifier(quick())
    order = np.argsort(y, kind="stable")
    classifier = quick(**{**LEARNS, "learning_rate": 0.02})
    # Folds of consecutive rows would hold classes that no training has seen.
    assert cross_val_score(classifier, X[order], y[order], cv=2).mean() > 0.7


def test_a_clone_carries_parameters_and_nothing_learnt(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert set(vars(copy)) == set(copy.get_params())


@pytest.mark.parametrize("method", ["fit", "predict", "predict_proba"])
def test_warnings_point_at_the_users_line(fitted, digits, method):
    X, y = digits
    given = (X * 2, y) if method == "fit" else (X * 2,)
    estimator = quick() if method == "fit" else fitted
    with pytest.warns(UserWarning, match="range from 0 to 2") as warned:
        getattr(estimator, method)(*given)
    assert {one.filename for one in warned} == {__file__}


class Small(KerasImageClassifier):
    """A subclass with parameters of its own."""

    def __init__(self, n_epochs=1):
        super().__init__(**{**SMALL, "epochs": n_epochs})
        self.n_epochs = n_epochs


def test_a_subclass_may_have_parameters_of_its_own(digits):
    classifier = Small(n_epochs=2).fit(*digits)
    assert classifier.n_iter_ == 2
    assert clone(classifier).get_params() == {"n_epochs": 2}
    assert classifier.predict(digits[0]).shape == (300,)


@pytest.mark.slow
def test_a_thread_predicts_while_another_refits(fitted, digits):
    X, y = digits
    classifier = copy.copy(fitted)
    expected = classifier.predict_proba(X[:5])
    refit = threading.Thread(target=classifier.fit, args=(X[:, :4], y))
    refit.start()
    n_predictions = 0
    # It predicts for as long as the refit lasts, which then changes everything at once.
    while refit.is_alive():
        with contextlib.suppress(ValueError):
            now = classifier.predict_proba(X[:5])
            np.testing.assert_array_equal(now, expected)
            n_predictions += 1
        # Without a pause the refit would hardly get on.
        time.sleep(0.001)
    refit.join()
    assert n_predictions > 10
    assert classifier.image_shape_ == (4, 8, 1)


def test_small_networks_predict_many_samples_at_once(fitted, digits, monkeypatch):
    X = digits[0]
    assert fitted._predictor.n_rows == 2**20 // 64
    wide = build_cnn((8, 8, 1), conv_filters=(512,), hidden_layer_sizes=())
    assert Predictor(wide).n_rows == 2**20 // (8 * 8 * 512)
    alone = [fitted.predict_proba(X[[row]])[0] for row in range(20)]
    np.testing.assert_allclose(fitted.predict_proba(X)[:20], alone, atol=1e-6)
    together = []
    kind = type(fitted._predictor)
    start = kind.start

    def watch(predictor):
        predict = start(predictor)
        return lambda batch: together.append(len(batch)) or predict(batch)

    monkeypatch.setattr(kind, "start", watch)
    fitted.predict_proba(X)
    assert together == [300]


def test_a_batch_size_set_after_fit_is_checked(fitted, digits):
    classifier = copy.copy(fitted).set_params(batch_size=0)
    with pytest.raises(ValueError, match="The 'batch_size' parameter"):
        classifier.predict(digits[0])


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, pytest.param(RuntimeError, marks=pytest.mark.slow)]
)
def test_an_interrupted_fit_leaves_the_estimator_as_it_was(digits, monkeypatch, error):
    from skimgclf.models._training import callbacks

    X, y = digits
    classifier = quick(verbose=1).fit(X, y)
    before, attributes = classifier.predict_proba(X), set(vars(classifier))

    def interrupt(*arguments):
        raise error

    monkeypatch.setattr(callbacks.EpochPrinter, "on_epoch_end", interrupt)
    with pytest.raises(error):
        classifier.fit(X[:, :4], y)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert set(vars(classifier)) == attributes

    unfitted = quick(verbose=1)
    with pytest.raises(error):
        unfitted.fit(X, y)
    assert set(vars(unfitted)) == set(unfitted.get_params())
