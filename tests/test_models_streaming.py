"""Lazy images in the classifier: the same weights as from memory, in little memory."""

import gc
import weakref

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.exceptions import ImageLoadError, ImageLoadWarning
from skimgclf.models._training.read_ahead import BatchReader

# Its training program is traced quickly.
SMALL = {"hidden_layer_sizes": (), "optimizer": "sgd", "epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """200 real digits as files, and their labels."""
    folder = tmp_path_factory.mktemp("digits")
    X, y = digits
    paths = []
    for row in range(200):
        paths.append(str(folder / f"{row}.png"))
        pixels = (X[row, :, :, 0] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    return paths, y[:200]


def load(paths, **parameters):
    return ImageLoader(image_size=(8, 8), **parameters).transform(paths)


def assert_equal_fits(first, second):
    for ours, theirs in zip(
        first.model_.get_weights(), second.model_.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert first.history_ == second.history_


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {
            "early_stopping": True,
            "epochs": 3,
            "n_iter_no_change": 1,
            "hidden_layer_sizes": (4,),
            "dropout": 0.5,
        },
        pytest.param(
            {"class_weight": "balanced", "batch_size": 7}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"architecture": "cnn", "conv_filters": (4,), "dropout": 0.5},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda parameters: next(iter(parameters), "defaults"),
)
def test_streaming_learns_the_same_bit_for_bit(files, tmp_path, parameters):
    """From memory and from disk, by one thread and two, cached and not, of 8 bits."""
    paths, y = (part[:100] for part in files)
    parameters = SMALL | parameters
    expected = KerasImageClassifier(**parameters).fit(load(paths), y)
    probabilities = expected.predict_proba(load(paths))
    for loading in [
        {"n_jobs": 2, "cache": tmp_path / "cache"},
        {"dtype": "uint8"},
    ]:
        X = load(paths, lazy=True, **loading)
        fitted = KerasImageClassifier(**parameters).fit(X, y)
        assert_equal_fits(fitted, expected)
        assert fitted.n_features_in_ == 64
        assert fitted.image_shape_ == (8, 8, 1)
        np.testing.assert_array_equal(fitted.predict_proba(X), probabilities)


def test_streaming_takes_weights_and_validation_data(files):
    """A weight of 0 leaves a sample out, which then isn't even decoded."""
    paths, y = files
    weights = np.arange(150) % 3
    paths_lost = [*paths]
    paths_lost[3] = "lost.png"
    fits = []
    for lazy in (False, True):
        used, validation = paths_lost[:150] if lazy else paths[:150], paths[150:]
        fits.append(
            KerasImageClassifier(**SMALL).fit(
                load(used, lazy=lazy),
                y[:150],
                weights,
                X_val=load(validation, lazy=lazy),
                y_val=y[150:],
                sample_weight_val=np.arange(50) % 4,
            )
        )
    assert_equal_fits(*fits)
    assert "val_loss" in fits[0].history_


def test_streaming_goes_on_training_the_same(files):
    """As in five epochs at once from memory, and then on a part of the images."""
    paths, y = files
    expected = KerasImageClassifier(**SMALL | {"epochs": 5}).fit(load(paths), y)
    X = load(paths, lazy=True)
    classifier = KerasImageClassifier(**SMALL, warm_start=True).fit(X, y)
    assert_equal_fits(classifier.fit(X, y).partial_fit(X, y), expected)
    classifier.partial_fit(X[50:90], y[50:90])
    assert_equal_fits(classifier, expected.partial_fit(load(paths[50:90]), y[50:90]))


def test_streaming_works_at_other_float_types(files):
    paths, y = files
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        fits = [
            KerasImageClassifier(**SMALL).fit(load(paths, **loading), y)
            for loading in ({}, {"lazy": True})
        ]
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert_equal_fits(*fits)
    assert fits[0].model_.get_weights()[0].dtype == "float64"


@pytest.mark.slow
def test_streaming_goes_through_scikit_learn_the_same(files):
    """Whether a pipeline's own loader is lazy, or what a tool is given."""
    paths, y = files
    results = []
    for lazy in (False, True):
        loader = ImageLoader(image_size=(8, 8), lazy=lazy)
        classifier = KerasImageClassifier(**SMALL)
        pipeline = Pipeline([("load", loader), ("classify", classifier)])
        X = loader.transform(paths)
        results.append(
            [
                cross_val_score(pipeline, paths, y, cv=2, error_score="raise"),
                cross_val_predict(classifier, X, y, cv=2, method="predict_proba"),
            ]
        )
    for eager, streamed in zip(*results, strict=True):
        np.testing.assert_array_equal(eager, streamed)


@pytest.mark.parametrize("n_jobs", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_repair_reading_hands_on_errors_as_they_are(files, n_jobs):
    """In fit and predict; a failed fit leaves the estimator as it was."""
    paths, y = files
    good = load(paths, lazy=True)
    bad = load([*paths[:20], "lost.png", *paths[21:]], lazy=True, n_jobs=n_jobs)
    classifier = KerasImageClassifier(**SMALL, warm_start=True).fit(good, y)
    before = classifier.predict_proba(good)
    for use in (classifier.fit, classifier.score, classifier.partial_fit):
        with pytest.raises(
            ImageLoadError, match=r"^'lost.png' \(row 20\): there is no"
        ):
            use(bad, y)
    with pytest.raises(ImageLoadError) as caught:
        classifier.fit(good, y, X_val=bad, y_val=y)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(ImageLoadError):
        KerasImageClassifier(**SMALL).fit(bad, y)
    np.testing.assert_array_equal(classifier.predict_proba(good), before)


def test_streaming_warns_once_of_each_image_that_is_filled(files):
    """However many epochs read it; training data and validation data apart."""
    paths, y = files
    bad = [*paths]
    bad[7] = bad[70] = "lost.png"
    X = load(bad, lazy=True, on_error="fill")
    with pytest.warns(ImageLoadWarning) as caught:
        fitted = KerasImageClassifier(**SMALL).fit(X, y, X_val=X[60:80], y_val=y[60:80])
    assert [len(warning.message.errors) for warning in caught] == [2, 1]
    assert [row for row, _, _ in caught[0].message.errors] == [7, 70]
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.warns(ImageLoadWarning, match="2 images were replaced"):
        streamed = fitted.predict_proba(X)
    with pytest.warns(ImageLoadWarning, match="2 images were replaced"):
        eager = load(bad, on_error="fill")
    np.testing.assert_array_equal(streamed, fitted.predict_proba(eager))


@pytest.mark.parametrize("lazy", [pytest.param(False, marks=pytest.mark.slow), True])
def test_samples_are_let_go_after_a_fit(files, lazy):
    """Or a search would hold those of all its folds; also after a fit that fails."""
    paths, y = (part[:40] for part in files)

    class Stumble(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ArithmeticError("stumbled")

    held = []
    for callbacks in (None, Stumble()):
        X, X_val = load(paths, lazy=lazy), load(paths[:20], lazy=lazy)
        held += [weakref.ref(X), weakref.ref(X_val)]
        classifier = KerasImageClassifier(
            **SMALL | {"epochs": 1, "callbacks": callbacks}
        )
        try:
            classifier.fit(X, y, X_val=X_val, y_val=y[:20])
        except ArithmeticError:
            assert callbacks is not None
        del X, X_val
    gc.collect()
    assert [reference() for reference in held] == [None] * 4


def test_streaming_refuses_no_images_at_all(files):
    paths, y = files
    X = load(paths, lazy=True)
    fitted = KerasImageClassifier(**SMALL).fit(X, y)
    for use in (
        lambda: fitted.predict(X[:0]),
        lambda: fitted.fit(X[:0], y[:0]),
        lambda: fitted.fit(X, y, X_val=X[:0], y_val=y[:0]),
    ):
        with pytest.raises(ValueError, match=r"is empty: found LazyImages of 0"):
            use()


def test_threads_read_all_batches_of_the_next_call(files):
    """So that they work while a program trains on those of this call."""
    X = load(files[0], lazy=True)
    reader = BatchReader(X, 10)
    reader.start(np.arange(200)[::-1])
    whole = np.asarray(X)[::-1]
    try:
        np.testing.assert_array_equal(reader.read(0, 8), whole[:80])
        ahead = dict(reader._pending)
        assert sorted(ahead) == [*range(8, 16)]
        for index, future in ahead.items():
            samples, errors = future.result(timeout=10)
            np.testing.assert_array_equal(samples, whole[10 * index :][:10])
            assert errors == []
        np.testing.assert_array_equal(reader.read(8, 8), whole[80:160])
        np.testing.assert_array_equal(reader.read(16, 8), whole[160:])
    finally:
        reader.close()


def test_streaming_refuses_images_of_another_size(files):
    paths, y = files
    fitted = KerasImageClassifier(**SMALL).fit(load(paths, lazy=True), y)
    other = ImageLoader(image_size=(9, 8), lazy=True).transform(paths)
    with pytest.raises(ValueError, match=r"load them alike, .*image_size=\(8, 8\)"):
        fitted.predict(other)


FLAT_MEMORY = """
import resource, sys
import numpy as np
import tensorflow
from skimgclf import ImageLoader, KerasImageClassifier
folder, n_images = sys.argv[1], int(sys.argv[2])
tensorflow.constant(1.0) + 1
paths = [f"{folder}/{row % 100}.png" for row in range(n_images)]
y = np.arange(n_images) % 2
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
idle = peak()
loader = ImageLoader(image_size=(128, 128), color_mode="rgb", lazy=True)
X = loader.transform(paths)
classifier = KerasImageClassifier(
    hidden_layer_sizes=(8,), epochs=1, early_stopping=True, random_state=0
)
classifier.fit(X, y).predict(X)
print(peak() - idle, X.nbytes // 2**20)
"""


def check_memory(run_python, tmp_path, n_images):
    pytest.importorskip("resource", reason="not on Windows")
    for row in range(100):
        Image.new("RGB", (16, 16), (row, 2 * row, 99)).save(tmp_path / f"{row}.png")
    grown, in_memory = map(int, run_python(FLAT_MEMORY, tmp_path, n_images).split())
    return grown, in_memory


@pytest.mark.slow
def test_streaming_takes_less_memory_than_the_images(tmp_path, run_python):
    grown, in_memory = check_memory(run_python, tmp_path, 4_000)
    assert in_memory == 750
    assert grown < 500


@pytest.mark.slow
def test_streaming_20_000_images_takes_no_more_memory(tmp_path, run_python):
    grown, in_memory = check_memory(run_python, tmp_path, 20_000)
    assert in_memory == 3750
    assert grown < 700
