"""The main job: from image files through a Pipeline to scores and saved models."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    check_cv,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import (
    load_image_csv,
    load_image_folder,
    load_photo_patches,
)
from skimgclf.exceptions import ImageLoadError


@pytest.fixture(scope="module")
def digit_files(digit_folder):
    """1,797 handwritten digits as PNG files, with their labels as str."""
    return load_image_csv(digit_folder / "digits.csv")


@pytest.fixture(scope="module")
def some(digit_files):
    """300 of them: (paths, labels)."""
    return digit_files.filenames[:300], digit_files.target[:300]


def pipeline_of(**parameters):
    defaults = {"hidden_layer_sizes": (32,), "epochs": 8, "random_state": 0}
    classifier = KerasImageClassifier(**{**defaults, "batch_size": 16, **parameters})
    return Pipeline(
        [("load", ImageLoader(image_size=(8, 8))), ("classify", classifier)]
    )


@pytest.fixture(scope="module")
def fitted(some):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    # TensorFlow traces this optimizer quickly.
    return pipeline_of(optimizer="sgd", epochs=1).fit(*some)


# The quickstart trains the same network on the same digits in fast tests.
@pytest.mark.slow
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]], ids=str)
def test_the_textbooks_network_reads_at_least_91_percent_of_digits(digit_files, seeds):
    """Gray 28x28, dense 40-20-10, Adam, 10 epochs: the defaults."""
    paths, test_paths, y, y_test = train_test_split(
        digit_files.filenames, digit_files.target, test_size=0.2, random_state=42
    )
    scores = [
        make_pipeline(ImageLoader(), KerasImageClassifier(random_state=seed))
        .fit(paths, y)
        .score(test_paths, y_test)
        for seed in seeds
    ]
    assert np.median(scores) >= 0.91


def test_colour_photos_work_with_the_loaders_and_networks_options(tmp_path):
    photos = load_photo_patches(tmp_path)
    paths, test_paths, y, y_test = train_test_split(
        photos.filenames, photos.target, random_state=0, stratify=photos.target
    )
    network = KerasImageClassifier(
        "cnn",
        conv_filters=(8,),
        hidden_layer_sizes=(),
        epochs=8,
        learning_rate=0.02,
        random_state=0,
    )
    loader = ImageLoader(image_size=(8, 8), color_mode="rgb")
    pipeline = make_pipeline(loader, network).fit(paths, y)
    assert pipeline.score(test_paths, y_test) > 0.9


@pytest.mark.slow
def test_a_pipeline_is_a_classifier_and_searches_stratify(some):
    paths, y = some
    pipeline = pipeline_of()
    assert is_classifier(pipeline)
    chosen = check_cv(3, y, classifier=is_classifier(pipeline))
    assert isinstance(chosen, StratifiedKFold)
    order = np.argsort(y, kind="stable")
    by_class = cross_val_score(pipeline, paths[order], y[order], cv=3)
    # Folds of consecutive rows would hold classes that no training has seen.
    assert by_class.mean() > 0.7


@pytest.mark.slow
def test_a_search_tunes_loader_and_network_together(some):
    grid = {
        "load__image_size": [(4, 4), (8, 8)],
        "classify__hidden_layer_sizes": [(4,), (32,)],
    }
    search = GridSearchCV(pipeline_of(), grid, cv=2, error_score="raise").fit(*some)
    assert search.best_params_["classify__hidden_layer_sizes"] == (32,)
    assert search.best_estimator_.predict(some[0][:3]).shape == (3,)
    assert search.predict_proba(some[0][:3]).shape == (3, 10)


# In fast tests, test_meta_estimators uses each of these tools with paths.
@pytest.mark.slow
def test_cross_val_predict_and_displays_work_on_paths(some, fitted):
    probabilities = cross_val_predict(
        pipeline_of(epochs=1), *some, cv=2, method="predict_proba"
    )
    assert probabilities.shape == (300, 10)
    assert fitted._repr_html_().startswith("<style")
    ConfusionMatrixDisplay.from_estimator(fitted, *some)


def test_one_image_gives_the_same_row_as_within_a_batch(some, fitted):
    paths = some[0][:30]
    loader = fitted.named_steps["load"]
    together = loader.transform(paths)
    probabilities = fitted.predict_proba(paths)
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(loader.transform([path])[0], together[row])
        np.testing.assert_allclose(
            fitted.predict_proba([path])[0], probabilities[row], atol=1e-6
        )


@pytest.mark.slow
def test_saved_pipelines_predict_the_same_bits_in_a_new_process(
    some, run_python, tmp_path
):
    paths, y = some
    pipelines = [
        pipeline_of(architecture=architecture, conv_filters=(4,)).fit(paths, y)
        for architecture in ("dense", "cnn")
    ]
    joblib.dump(pipelines, tmp_path / "models.joblib")
    joblib.dump(paths, tmp_path / "paths.joblib")
    printed = run_python(
        "import joblib, sys\n"
        "pipelines, paths = map(joblib.load, sys.argv[1:])\n"
        "for pipeline in pipelines:\n"
        "    print(pipeline.predict_proba(paths).tobytes().hex())",
        tmp_path / "models.joblib",
        tmp_path / "paths.joblib",
    )
    assert printed.splitlines() == [
        pipeline.predict_proba(paths).tobytes().hex() for pipeline in pipelines
    ]


@pytest.fixture
def with_a_broken_one(some, tmp_path):
    """Cut the file of one of the digits: (paths, labels)."""
    paths, y = some
    broken = tmp_path / "broken.png"
    with open(paths[293], "rb") as file:
        broken.write_bytes(file.read()[:50])
    return [*paths[:293], str(broken), *paths[294:]], y


def test_a_broken_image_stops_a_search_with_its_name(with_a_broken_one):
    grid = {"classify__epochs": [1]}
    # The first fold trains on it, so that no network is trained.
    search = GridSearchCV(pipeline_of(), grid, cv=2, error_score="raise")
    with pytest.raises(ImageLoadError, match=r"broken\.png") as caught:
        search.fit(*with_a_broken_one)
    # As it comes from another process.
    assert "broken.png" in str(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.slow
def test_a_broken_image_stops_a_search_in_processes_with_its_name(with_a_broken_one):
    # They import no TensorFlow, since the loader stops before the classifier.
    loader = ImageLoader(image_size=(8, 8), flatten=True)
    pipeline = make_pipeline(loader, LogisticRegression())
    search = GridSearchCV(pipeline, {}, cv=2, error_score="raise", n_jobs=2)
    with pytest.raises(ImageLoadError, match=r"broken\.png"):
        search.fit(*with_a_broken_one)


def test_images_of_another_size_than_in_fit_are_refused(some, fitted):
    other = clone(fitted.named_steps["load"]).set_params(image_size=(9, 9))
    swapped = Pipeline([("load", other), ("classify", fitted.named_steps["classify"])])
    with pytest.raises(
        ValueError, match=r"\(9, 9, 1\).*\(8, 8, 1\).*image_size=\(8, 8"
    ):
        swapped.predict(some[0])


def test_folders_and_tables_give_the_same_images_and_labels(digit_files, digit_folder):
    by_folder = load_image_folder(digit_folder)
    by_table = dict(zip(digit_files.filenames, digit_files.target, strict=True))
    assert dict(zip(by_folder.filenames, by_folder.target, strict=True)) == by_table


def test_parameters_reach_through_the_pipeline_by_name(fitted):
    nested = fitted.get_params()
    assert nested["classify__hidden_layer_sizes"] == (32,)
    with pytest.raises(ValueError, match="Invalid parameter 'hidden_layer_size'"):
        clone(fitted).set_params(classify__hidden_layer_size=(3,))
