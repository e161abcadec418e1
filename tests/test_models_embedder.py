"""ImageEmbedder: images to the features of a backbone, the same in every process."""

import copy
import os
import pickle
import threading

import keras
import numpy as np
import pytest
from PIL import Image
from saved_models import joblib_copy, pickle_copy
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from skimgclf import ImageEmbedder, ImageLoader
from skimgclf.exceptions import ImageCacheWarning, InvalidParameterError
from skimgclf.models._embedder import describe_embedder, restore_embedder
from skimgclf.models._feature_cache import FeatureCache
from skimgclf.models._networks import pretrained
from skimgclf.models._networks.pretrained import (
    BackboneSource,
    find_inner_model,
    load_backbone,
)


@pytest.fixture(scope="module", autouse=True)
def keep_backbones():
    """Keep all backbones of the module, so that each is built once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "_N_KEPT", 100)
        yield


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 32, 40, 3), dtype="float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ]
    )


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "model.keras"
    model.save(path)
    return str(path)


def random_embedder(**parameters):
    # Of all that have a name, this one has the fewest layers: it is built fastest.
    return ImageEmbedder(**{"backbone": "VGG16", "weights": None, **parameters})


@pytest.mark.slow
def test_names_of_backbones_may_be_in_any_case(images, tmp_path):
    first = random_embedder(backbone="MobileNetV3Small", cache=tmp_path)
    features = first.fit_transform(images)
    again = random_embedder(backbone="mobilenetv3SMALL", cache=tmp_path).fit(images)
    np.testing.assert_array_equal(again.transform(images), features)
    described, learnt = describe_embedder(again)
    restored = restore_embedder(described, learnt)
    np.testing.assert_array_equal(restored.transform(images), features)


def test_features_are_rows_of_float32(images):
    features = random_embedder().fit_transform(images)
    assert (features.shape, features.dtype) == ((5, 512), np.float32)


def test_fit_and_transform_give_what_fit_transform_gives(images):
    embedder = random_embedder()
    expected = random_embedder().fit_transform(images)
    np.testing.assert_array_equal(embedder.fit(images).transform(images), expected)


def test_features_of_an_image_depend_on_no_other(images):
    embedder = random_embedder(batch_size=2).fit(images)
    features = embedder.transform(images)
    single = np.concatenate([embedder.transform(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(single, features, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(embedder.transform(images), features)


def test_bytes_are_divided_by_255(images):
    as_bytes = (images * 255).astype("uint8")
    embedder = random_embedder().fit(as_bytes)
    np.testing.assert_array_equal(
        embedder.transform(as_bytes),
        embedder.transform(as_bytes / np.float32(255)),
    )


def test_gray_images_are_repeated_to_three_channels(images, model):
    gray = images[..., :1]
    np.testing.assert_array_equal(
        ImageEmbedder(model).fit_transform(gray),
        ImageEmbedder(model).fit_transform(np.repeat(gray, 3, axis=3)),
    )


def test_models_get_pixels_as_they_are(images, model):
    features = ImageEmbedder(model).fit_transform(images)
    maps = model(images, training=False)
    np.testing.assert_allclose(features, np.mean(maps, axis=(1, 2)), rtol=1e-4)


def test_paths_give_what_their_model_gives(images, model, model_path):
    np.testing.assert_array_equal(
        ImageEmbedder(model_path).fit_transform(images),
        ImageEmbedder(model).fit_transform(images),
    )


def test_pooling_max_takes_the_largest(images, model):
    features = ImageEmbedder(model, pooling="max").fit_transform(images)
    maps = model(images, training=False)
    np.testing.assert_allclose(features, np.max(maps, axis=(1, 2)), rtol=1e-4)


def test_models_of_rows_need_no_pooling(images):
    model = keras.Sequential([keras.Input((32, 40, 3)), keras.layers.Flatten()])
    np.testing.assert_array_equal(
        ImageEmbedder(model).fit_transform(images), images.reshape(5, -1)
    )


def test_weights_of_a_file_reach_the_backbone(images, tmp_path):
    keras.utils.set_random_seed(1)
    source = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(32, 40, 3)
    )
    source.save_weights(tmp_path / "mine.weights.h5")
    embedder = ImageEmbedder("VGG16", weights=str(tmp_path / "mine.weights.h5"))
    pixels = keras.applications.vgg16.preprocess_input(images * 255)
    maps = source(pixels, training=False)
    np.testing.assert_allclose(
        embedder.fit_transform(images), np.mean(maps, axis=(1, 2)), rtol=1e-4, atol=1e-5
    )
    # Weights of another network, which are few and soon read.
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save_weights(
        tmp_path / "other.weights.h5"
    )
    embedder.set_params(weights=str(tmp_path / "other.weights.h5"))
    with pytest.raises(InvalidParameterError, match="Keras' VGG16 without its"):
        embedder.fit(images)


def test_feature_names_and_set_output(images):
    embedder = random_embedder().set_output(transform="pandas")
    frame = embedder.fit_transform(images)
    assert list(frame.columns) == list(embedder.get_feature_names_out())
    assert frame.columns[0] == "imageembedder0"
    assert clone(embedder).fit_transform(images).shape == frame.shape  # still pandas
    assert hasattr(clone(embedder).fit_transform(images), "columns")


@pytest.mark.slow
def test_sixteen_bits_give_features_of_32(images):
    policy = keras.config.dtype_policy()
    image = images[:1]  # processors compute slowly in 16 bits
    expected = random_embedder().fit_transform(image)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        features = random_embedder().fit_transform(image)
    finally:
        keras.config.set_dtype_policy(policy)
    assert features.dtype == np.float32
    assert not np.array_equal(features, expected)
    np.testing.assert_allclose(features, expected, atol=0.1 * np.abs(expected).max())


def test_float64_gives_features_of_32(images, model_path):
    expected = ImageEmbedder(model_path).fit_transform(images)
    keras.config.set_floatx("float64")
    try:
        features = ImageEmbedder(model_path).fit_transform(images.astype("float64"))
    finally:
        keras.config.set_floatx("float32")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "copied"),
    [
        *(("name", pickle_copy), ("model", pickle_copy)),
        *(("path", copied) for copied in (pickle_copy, joblib_copy, copy.deepcopy)),
        # Slow, since all ways of copying ask an embedder for the same state.
        *(
            pytest.param(kind, copied, marks=pytest.mark.slow)
            for kind in ("name", "model")
            for copied in (joblib_copy, copy.deepcopy)
        ),
    ],
)
def test_a_copy_gives_the_same_bits(images, model, model_path, kind, copied):
    given = {"name": "VGG16", "path": model_path, "model": model}[kind]
    embedder = random_embedder(backbone=given).fit(images)
    np.testing.assert_array_equal(
        copied(embedder).transform(images), embedder.transform(images)
    )


def test_what_can_be_named_again_is_not_pickled(images, model, model_path):
    for given in ("VGG16", model_path):
        fitted = random_embedder(backbone=given).fit(images)
        assert len(pickle.dumps(fitted)) < 1000
    assert len(pickle.dumps(ImageEmbedder(model).fit(images))) > 4 * 112


def test_clones_share_a_model_and_keep_the_output_container(images, model):
    embedder = ImageEmbedder(model).set_output(transform="pandas").fit(images)
    cloned = clone(embedder)
    assert cloned.backbone is model
    assert not hasattr(cloned, "image_shape_")
    assert hasattr(cloned.fit_transform(images), "columns")


def test_clones_share_the_loaded_backbone(images):
    first, second = random_embedder().fit(images), random_embedder().fit(images)
    assert first._load() is second._load()


def test_other_content_than_in_fit_is_refused(images, model, tmp_path):
    path = str(tmp_path / "model.keras")
    model.save(path)
    packed = pickle.dumps(ImageEmbedder(path).fit(images))
    changed = keras.models.clone_model(model)
    changed.save(path)
    embedder = pickle.loads(packed)
    with pytest.raises(ValueError, match=r"fitted with other weights.*fit it"):
        embedder.transform(images)
    embedder.fit(images).transform(images)
    os.remove(path)
    with pytest.raises(InvalidParameterError, match=r"a \.keras file that can be read"):
        embedder.transform(images)


def test_threads_get_the_same_features(images):
    embedder = random_embedder().fit(images)
    expected, found = embedder.transform(images), []
    threads = [
        threading.Thread(target=lambda: found.append(embedder.transform(images)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(features, expected) for features in found)
    assert len(found) == 4


@pytest.fixture(scope="module")
def paths(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    names = [str(folder / f"{i}.png") for i in range(12)]
    for i, name in enumerate(names):
        Image.new("RGB", (40, 32), (i * 20, 0, 255 - i * 20)).save(name)
    return names


@pytest.mark.slow
def test_search_over_a_pipeline_from_paths(paths, model_path):
    pipeline = Pipeline(
        [
            ("load", ImageLoader(image_size=(16, 16), color_mode="rgb")),
            ("embed", ImageEmbedder(model_path)),
            ("classify", LogisticRegression()),
        ]
    )
    candidates = {"embed__pooling": ["avg", "max"], "classify__C": [1.0, 100.0]}
    y = ["red"] * 6 + ["blue"] * 6
    scores = []
    for n_jobs in (None, 2):
        search = GridSearchCV(
            pipeline, candidates, cv=2, error_score="raise", n_jobs=n_jobs
        )
        search.fit(paths, y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)
    assert joblib_copy(search.best_estimator_).predict(paths[:1]) == search.predict(
        paths[:1]
    )


def test_a_pipelines_memory_embeds_once_for_all_candidates(
    paths, model_path, tmp_path, monkeypatch
):
    from skimgclf.models import _embedder

    calls = []

    def count(predict, X, **options):
        calls.append(len(X))
        return counted(predict, X, **options)

    counted = _embedder.predict_in_batches
    monkeypatch.setattr(_embedder, "predict_in_batches", count)
    pipeline = make_pipeline(
        ImageLoader(image_size=(8, 8), color_mode="rgb"),
        ImageEmbedder(model_path),
        LogisticRegression(),
        memory=str(tmp_path / "memory"),
    )
    candidates = {"logisticregression__C": [0.1, 1.0, 10.0]}
    search = GridSearchCV(pipeline, candidates, cv=2, refit=False, error_score="raise")
    search.fit(paths, ["red"] * 6 + ["blue"] * 6)
    # Of each fold the training part once, and the test part once for each candidate.
    assert sorted(calls) == [6] * 2 + [6] * 2 * 3


@pytest.fixture
def embedded(monkeypatch):
    """List how many images each call of a backbone was given."""
    counts = []
    complete = FeatureCache.complete

    def count(self, predict):
        def predict_and_count(X):
            counts.append(len(X))
            return predict(X)

        return complete(self, predict_and_count)

    monkeypatch.setattr(FeatureCache, "complete", count)
    return counts


def test_cache_embeds_each_image_once(images, model_path, tmp_path, embedded):
    """Whatever its neighbours are, and whoever asks."""
    cached = ImageEmbedder(model_path, cache=tmp_path / "cache", batch_size=3)
    expected = ImageEmbedder(model_path, batch_size=3).fit_transform(images)
    first = cached.fit_transform(images)
    np.testing.assert_array_equal(first, expected)
    assert sum(embedded) == 5
    twice = np.concatenate([images[::-1], images[:2]])
    np.testing.assert_array_equal(
        clone(cached).fit_transform(twice), first[[4, 3, 2, 1, 0, 0, 1]]
    )
    assert sum(embedded) == 5
    np.testing.assert_allclose(
        cached.transform(images / 2),
        ImageEmbedder(model_path).fit_transform(images / 2),
        rtol=1e-5,
    )
    assert sum(embedded) == 10


def test_cache_tells_networks_apart(images, model, model_path, tmp_path):
    other = tmp_path / "other.keras"
    changed = keras.models.clone_model(model)
    changed.save(other)
    cache = tmp_path / "cache"
    for parameters in [
        {"backbone": model_path},
        {"backbone": model_path, "pooling": "max"},
        {"backbone": other},
        {"backbone": "VGG16", "weights": None},
    ]:
        plain = ImageEmbedder(**parameters).fit_transform(images)
        for _ in range(2):
            cached = ImageEmbedder(**parameters, cache=cache).fit_transform(images)
            np.testing.assert_array_equal(cached, plain)


def test_cache_lets_a_search_embed_each_image_once(
    paths, model_path, tmp_path, embedded
):
    """Training parts and test parts, of all folds and candidates."""
    labels = np.arange(len(paths)) % 2
    pipeline = make_pipeline(
        ImageLoader(image_size=(32, 32), color_mode="rgb", lazy=True),
        ImageEmbedder(model_path, cache=tmp_path / "cache"),
        LogisticRegression(),
    )
    search = GridSearchCV(
        pipeline, {"logisticregression__C": [0.1, 1]}, cv=2, error_score="raise"
    )
    search.fit(paths, labels).score(paths, labels)
    assert sum(embedded) == len(set(map(read_content, paths)))


def read_content(path):
    with open(path, "rb") as file:
        return file.read()


def test_cache_is_refused_for_a_model_and_warned_of_once(
    images, model, model_path, tmp_path
):
    with pytest.raises(InvalidParameterError, match="the path of its file"):
        ImageEmbedder(model, cache=tmp_path).fit(images)
    (tmp_path / "file").touch()
    cached = ImageEmbedder(model_path, cache=tmp_path / "file")
    with pytest.warns(ImageCacheWarning, match="it isn't a directory") as caught:
        features = cached.fit_transform(images)
    assert len(caught) == 1
    np.testing.assert_array_equal(cached.transform(images), features)


def test_tags_say_that_it_takes_images():
    tags = ImageEmbedder().__sklearn_tags__()
    assert tags.input_tags.three_d_array
    assert not tags.input_tags.two_d_array
    assert tags.requires_fit


def test_transform_before_fit_is_refused(images):
    with pytest.raises(NotFittedError):
        random_embedder().transform(images)


LOAD_RGB = r'ImageLoader\(image_size=\(224, 224\), color_mode="rgb"\)'


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 31, 40, 3), rf"needs at least 32 x 32 pixels. .*{LOAD_RGB}"),
        ((1, 32, 40, 4), rf"needs n_channels=3. .*{LOAD_RGB}"),
        ((1, 32, 40, 2), rf"needs n_channels=3. .*{LOAD_RGB}"),
        ((1, 1000), rf"rows of 1000 features.*{LOAD_RGB}"),
        ((32, 40, 3), r"X\[np.newaxis\]"),
    ],
    ids=str,
)
def test_images_that_do_not_fit_a_name_are_refused(shape, sentence):
    embedder = random_embedder()
    with pytest.raises(ValueError, match=sentence):
        embedder.fit(np.zeros(shape))
    assert vars(embedder) == embedder.get_params()


@pytest.mark.parametrize(
    ("input_shape", "sentence"),
    [
        ((32, 40, 1), r"n_channels=1.*\(32, 40\), color_mode=\"grayscale\""),
        ((32, 41, 3), r"32 x 41 pixels.*\(32, 41\), color_mode=\"rgb\""),
        ((None, 41, 3), r"needs any number of x 41 pixels"),
        ((32, 40, 4), r"n_channels=4.*color_mode=\"rgba\""),
    ],
    ids=str,
)
def test_images_that_do_not_fit_a_model_are_refused(images, input_shape, sentence):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=sentence):
        ImageEmbedder(model).fit(images)


@pytest.mark.parametrize(
    "layers",
    [
        [keras.Input((12,)), keras.layers.Dense(2)],
        [keras.Input((32, 40, 3)), keras.layers.Reshape((40, 96))],
        [keras.layers.Conv2D(2, 3)],
    ],
    ids=["rows", "sequences", "not built"],
)
def test_models_of_anything_else_are_refused(images, layers):
    with pytest.raises(InvalidParameterError, match="maps images"):
        ImageEmbedder(keras.Sequential(layers)).fit(images)


def test_a_file_that_keras_can_not_read_is_refused(images, tmp_path):
    (tmp_path / "no.keras").write_bytes(b"no model")
    with pytest.raises(InvalidParameterError, match="Keras can read in safe mode"):
        ImageEmbedder(tmp_path / "no.keras").fit(images)


def test_images_of_another_shape_than_in_fit_are_refused(images):
    embedder = random_embedder().fit(images)
    with pytest.raises(ValueError, match=r"fitted on images of shape \(32, 40, 3\)"):
        embedder.transform(images[:, :, :32])


def test_a_failed_fit_changes_nothing(images):
    embedder = random_embedder().fit(images)
    before = dict(vars(embedder))
    with pytest.raises(ValueError, match="at least 32"):
        embedder.fit(images[:, :20])
    assert vars(embedder) == before


def test_a_failed_fit_names_paths_and_the_loader(paths):
    with pytest.raises(
        ValueError, match=r"in front: make_pipeline\(ImageLoader\(\), ImageEmbedder"
    ):
        random_embedder().fit(paths)


@pytest.mark.slow
def test_inner_model_is_the_one_of_keras():
    loaded = load_backbone(BackboneSource("MobileNetV3Small", None, (32, 32, 1)))
    assert find_inner_model(loaded.network).name == "MobileNetV3Small"


def test_warnings_of_range_come_once(images):
    with pytest.warns(UserWarning, match="expected in \\[0, 1\\]") as caught:
        random_embedder().fit_transform(images * 2)
    assert len(caught) == 1
