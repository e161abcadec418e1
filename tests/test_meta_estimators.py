"""Which of scikit-learn's tools work on rows, images, paths and columns of paths.

Each tool runs on paths and on rows, where those that only split their input are slow
tests, but for a few with paths: they split both alike. Images and columns are tried
with one search, which splits them as all others do, and with the tools that look at
the shape of their input: what these can't take is pinned with scikit-learn's own error,
and the table in the user guide says what to do instead.
"""

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - as it says
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay, get_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from skimgclf import ImageLoader, KerasImageClassifier

N_SAMPLES = 30


@pytest.fixture(scope="module")
def inputs(digit_folder):
    """Give the same 30 digits, 10 of each of three classes, in every form."""
    table = pd.read_csv(digit_folder / "train.csv", dtype=str)
    names, target = table.to_numpy().T
    chosen = np.concatenate([np.flatnonzero(target == label)[:10] for label in "012"])
    chosen = np.random.default_rng(0).permutation(chosen)
    paths, y = f"{digit_folder}/" + names[chosen], target[chosen]
    images = ImageLoader(image_size=(8, 8)).transform(paths)
    return {
        "rows": images.reshape(N_SAMPLES, -1),
        "images": images,
        "paths": paths,
        "column": pd.DataFrame({"path": paths}),
        "y": y,
    }


def make(form):
    """Return an estimator for a form of input, and the prefix of its parameters."""
    # The network and the optimizer with the fewest variables, for the sake of time.
    classifier = KerasImageClassifier(
        hidden_layer_sizes=(),
        optimizer="sgd",
        epochs=1,
        learning_rate=0.1,
        random_state=0,
    )
    if form in ("rows", "images"):
        return classifier, ""
    loader = ImageLoader(image_size=(8, 8))
    return Pipeline([("load", loader), ("classify", classifier)]), "classify__"


def run_grid_search(estimator, prefix, X, y):
    grid = {f"{prefix}epochs": [1, 2]}
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(X, y)
    return search.predict(X)


def run_randomized_search(estimator, prefix, X, y):
    search = RandomizedSearchCV(
        estimator,
        {f"{prefix}epochs": [1, 2]},
        n_iter=1,
        cv=2,
        scoring="neg_log_loss",
        error_score="raise",
    )
    return search.fit(X, y).predict(X)


def run_halving_search(estimator, prefix, X, y):
    search = HalvingGridSearchCV(
        estimator,
        {f"{prefix}learning_rate": [0.01, 0.1]},
        resource=f"{prefix}epochs",
        min_resources=1,
        max_resources=2,
        cv=2,
        error_score="raise",
    )
    return search.fit(X, y).predict(X)


def run_cross_validate(estimator, prefix, X, y):
    scores = cross_validate(estimator, X, y, cv=2, scoring=["accuracy", "f1_macro"])
    assert np.isfinite(scores["test_f1_macro"]).all()


def run_cross_val_predict(estimator, prefix, X, y):
    probabilities = cross_val_predict(estimator, X, y, cv=2, method="predict_proba")
    assert probabilities.shape == (N_SAMPLES, 3)


def run_roc_auc_of_many_classes(estimator, prefix, X, y):
    assert np.isfinite(cross_val_score(estimator, X, y, cv=2, scoring="roc_auc_ovr"))[0]


def run_roc_auc_of_two_classes(estimator, prefix, X, y):
    scores = cross_val_score(estimator, X, y == "0", cv=2, scoring="roc_auc")
    assert np.isfinite(scores).all()


def run_learning_curve(estimator, prefix, X, y):
    _, train, test = learning_curve(estimator, X, y, train_sizes=[0.5], cv=2)
    assert np.isfinite([train, test]).all()


def run_validation_curve(estimator, prefix, X, y):
    train, test = validation_curve(
        estimator, X, y, param_name=f"{prefix}epochs", param_range=[2], cv=2
    )
    assert np.isfinite([train, test]).all()


def run_calibration(estimator, prefix, X, y):
    return CalibratedClassifierCV(estimator, cv=2).fit(X, y).predict(X)


def run_calibration_of_a_frozen_estimator(estimator, prefix, X, y):
    frozen = FrozenEstimator(estimator.fit(X, y))
    return CalibratedClassifierCV(frozen).fit(X, y).predict(X)


def run_voting(estimator, prefix, X, y):
    both = [("a", estimator), ("b", estimator)]
    return VotingClassifier(both, voting="soft").fit(X, y).predict(X)


def run_stacking(estimator, prefix, X, y):
    return StackingClassifier([("a", estimator)], cv=2).fit(X, y).predict(X)


def run_bagging(estimator, prefix, X, y):
    return BaggingClassifier(estimator, n_estimators=2).fit(X, y).predict(X)


def run_boosting(estimator, prefix, X, y):
    # It ends at an estimator without errors, which wrong labels prevent.
    y = np.where(np.arange(N_SAMPLES) % 5 == 0, "0", y)
    boosted = AdaBoostClassifier(estimator, n_estimators=2, random_state=0).fit(X, y)
    assert len(boosted) == 2
    return boosted.predict(X)


def run_one_vs_rest(estimator, prefix, X, y):
    return OneVsRestClassifier(estimator).fit(X, y).predict(X)


def run_one_vs_one(estimator, prefix, X, y):
    return OneVsOneClassifier(estimator).fit(X, y).predict(X)


def run_tuned_threshold(estimator, prefix, X, y):
    tuned = TunedThresholdClassifierCV(estimator, cv=2).fit(X, y == "0")
    return np.where(tuned.predict(X), "0", "1")


def run_fixed_threshold(estimator, prefix, X, y):
    fixed = FixedThresholdClassifier(estimator, threshold=0.2).fit(X, y == "0")
    return np.where(fixed.predict(X), "0", "1")


def run_self_training(estimator, prefix, X, y):
    codes = y.astype(int)
    codes[::3] = -1
    trained = SelfTrainingClassifier(estimator, max_iter=1).fit(X, codes)
    return trained.predict(X).astype(str)


def run_multi_output(estimator, prefix, X, y):
    both = np.stack([y == "0", y == "1"], axis=1)
    predicted = MultiOutputClassifier(estimator).fit(X, both).predict(X)
    assert predicted.shape == (N_SAMPLES, 2)


def run_classifier_chain(estimator, prefix, X, y):
    both = np.stack([y == "0", y == "1"], axis=1)
    predicted = ClassifierChain(estimator).fit(X, both).predict(X)
    assert predicted.shape == (N_SAMPLES, 2)


def run_permutation_importance(estimator, prefix, X, y):
    result = permutation_importance(estimator.fit(X, y), X, y, n_repeats=1)
    assert len(result.importances_mean) == np.shape(X)[1]


def run_confusion_matrix_display(estimator, prefix, X, y):
    display = ConfusionMatrixDisplay.from_estimator(estimator.fit(X, y), X, y)
    assert display.confusion_matrix.sum() == N_SAMPLES


def run_roc_curve_display(estimator, prefix, X, y):
    RocCurveDisplay.from_estimator(estimator.fit(X, y == "0"), X, y == "0")


def run_html_repr(estimator, prefix, X, y):
    assert "KerasImageClassifier" in estimator.fit(X, y)._repr_html_()


TOOLS = {
    name.removeprefix("run_"): function
    for name, function in list(globals().items())
    if name.startswith("run_")
}

ONLY_TWO_DIMENSIONS = "Found array with dim 4"
ONLY_COLUMNS = "Expected 2D array, got 1D array instead"
ONLY_NUMBERS = "could not convert string to float"
NO_WEIGHTS = "Pipeline doesn't support sample_weight"

# (tool, form) -> scikit-learn's own error, where the tool itself refuses the form.
REFUSED = {
    ("bagging", "images"): ONLY_TWO_DIMENSIONS,
    ("bagging", "paths"): ONLY_COLUMNS,
    ("boosting", "paths"): ONLY_COLUMNS,
    ("boosting", "column"): NO_WEIGHTS,
    ("permutation_importance", "images"): ONLY_TWO_DIMENSIONS,
    ("permutation_importance", "paths"): ONLY_COLUMNS,
    **{
        (tool, form): error
        for tool in ("one_vs_one", "self_training", "classifier_chain")
        for form, error in {
            "images": ONLY_TWO_DIMENSIONS,
            "paths": ONLY_NUMBERS,
            "column": ONLY_NUMBERS,
        }.items()
    },
}


# Tools that look at the shape of their input, and one for all that only split it.
ANY_FORM = [
    *("bagging", "boosting", "grid_search", "permutation_importance"),
    *("one_vs_one", "self_training", "classifier_chain"),
]
# Of those that only split, calibration looks for the argument `sample_weight` of a bare
# classifier.
FAST_WITH_ROWS = {*ANY_FORM, "calibration"}
# Of the same, some run fast with paths: searches, scores and predictions of folds,
# calibration, a threshold of two classes and a display.
FAST_WITH_PATHS = {
    *ANY_FORM,
    *("cross_validate", "cross_val_predict", "calibration", "tuned_threshold"),
    *("confusion_matrix_display", "html_repr"),
}
PAIRS = [
    pytest.param(
        tool, "paths", marks=() if tool in FAST_WITH_PATHS else pytest.mark.slow
    )
    for tool in TOOLS
]
PAIRS += [
    pytest.param(tool, "rows", marks=() if tool in FAST_WITH_ROWS else pytest.mark.slow)
    for tool in TOOLS
]
PAIRS += [(tool, form) for tool in ANY_FORM for form in ("images", "column")]


@pytest.mark.parametrize(("tool", "form"), PAIRS)
def test_tool_works_on_the_forms_of_input_that_it_takes(inputs, tool, form):
    estimator, prefix = make(form)
    X, y = inputs[form], inputs["y"]
    if (tool, form) in REFUSED:
        with pytest.raises((ValueError, TypeError), match=REFUSED[tool, form]):
            TOOLS[tool](estimator, prefix, X, y)
        return
    predicted = TOOLS[tool](estimator, prefix, X, y)
    if predicted is not None:
        assert predicted.shape == (N_SAMPLES,)
        assert set(predicted) <= set("012")


def test_images_stand_beside_numbers_in_a_column_transformer(inputs):
    table = inputs["column"].assign(weight=np.arange(N_SAMPLES), price=1.5)
    columns = ColumnTransformer(
        [
            # With the numbers, 64 features, whose program other tests use too.
            ("image", ImageLoader(image_size=(31, 2), flatten=True), ["path"]),
            ("numbers", StandardScaler(), ["weight", "price"]),
        ]
    )
    pipeline = make_pipeline(columns, make("rows")[0]).fit(table, inputs["y"])
    assert pipeline[-1].n_features_in_ == 64
    assert pipeline.predict(table).shape == (N_SAMPLES,)


def test_pandas_output_is_harmless(inputs):
    estimator, _ = make("paths")
    with sklearn.config_context(transform_output="pandas"):
        estimator.fit(inputs["paths"], inputs["y"]).predict(inputs["paths"])


def test_sample_weight_is_routed_through_a_search(inputs):
    weights = np.where(inputs["y"] == "0", 50.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator, prefix = make("paths")
        estimator[-1].set_params(epochs=5).set_fit_request(sample_weight=True)
        search = GridSearchCV(
            estimator,
            {f"{prefix}learning_rate": [0.5]},
            cv=2,
            scoring=get_scorer("accuracy").set_score_request(sample_weight=True),
            error_score="raise",
        )
        weighted = search.fit(inputs["paths"], inputs["y"], sample_weight=weights)
    plain, _ = make("paths")
    plain[-1].set_params(epochs=5, learning_rate=0.5)
    plain.fit(inputs["paths"], inputs["y"])
    assert (
        weighted.predict_proba(inputs["paths"])[:, 0].mean()
        > plain.predict_proba(inputs["paths"])[:, 0].mean()
    )


# New sizes of layers have their programs traced, by both threads at once.
@pytest.mark.parametrize(
    ("grid", "refit"),
    [
        ({"epochs": [1, 2]}, False),
        pytest.param(
            {"hidden_layer_sizes": [(4,), (8,)]}, True, marks=pytest.mark.slow
        ),
    ],
    ids=["epochs", "sizes"],
)
def test_threads_give_the_same_models_as_one_after_another(inputs, grid, refit):
    estimator, _ = make("images")
    searches = []
    # Threads come first, since later fits share what is traced.
    for n_jobs in (2, 1):
        with joblib.parallel_config(backend="threading"):
            search = GridSearchCV(
                estimator,
                grid,
                cv=2,
                n_jobs=n_jobs,
                # A number of all bits of the probabilities.
                scoring="neg_log_loss",
                refit=refit,
                error_score="raise",
            )
            searches.append(search.fit(inputs["images"], inputs["y"]))
    scores = [
        [search.cv_results_[f"split{fold}_test_score"] for fold in (0, 1)]
        for search in searches
    ]
    assert len(np.unique(scores[0])) == 4
    np.testing.assert_array_equal(scores[0], scores[1])
    if refit:
        found = [search.predict_proba(inputs["images"]) for search in searches]
        np.testing.assert_array_equal(found[0], found[1])
