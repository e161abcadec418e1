"""Real ImageNet weights, without a network: features that know the world.

The weights are those of EfficientNet-Lite0 out of a package of the extra "test"; see
`efficientnet_lite0`.
"""

import pickle

import efficientnet_lite0
import keras
import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimgclf import ImageEmbedder, ImageLoader
from skimgclf.datasets import load_photo_patches

# Of ImageNet's 1000 classes.
BELL_COTE, MONASTERY, PALACE, DAISY = 442, 663, 698, 985

N_TEXTURES = 3


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Save the real network, and one with random weights, as .keras files."""
    folder = tmp_path_factory.mktemp("backbones")
    paths = {name: str(folder / f"{name}.keras") for name in ("real", "random")}
    weights = efficientnet_lite0.find_weights()
    efficientnet_lite0.load(weights, include_top=False).save(paths["real"])
    keras.utils.set_random_seed(0)
    efficientnet_lite0.build(include_top=False).save(paths["random"])
    return paths


@pytest.fixture(scope="module")
def photo_patches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths, y = load_photo_patches(folder, return_X_y=True)
    loader = ImageLoader(image_size=(64, 64), color_mode="rgb", dtype="uint8")
    return loader.transform(paths), y


@pytest.fixture(scope="module")
def textures():
    """Gray patches of 64x64 of scikit-image's brick, grass and gravel (CC0).

    The training patches, 24 a texture, are the left of the photo, and the test patches,
    32 a texture, its right half: no test patch is next to one of training.
    """
    parts = {"train": [], "test": []}
    photos = [skimage.data.brick(), skimage.data.grass(), skimage.data.gravel()]
    for photo in photos:
        patches = photo.reshape(8, 64, 8, 64, 1).swapaxes(1, 2)  # row, column
        parts["train"].append(patches[:, :3].reshape(-1, 64, 64, 1))
        parts["test"].append(patches[:, 4:].reshape(-1, 64, 64, 1))
    return {
        name: (np.concatenate(images), np.repeat(range(N_TEXTURES), len(images[0])))
        for name, images in parts.items()
    }


def make_classifier():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def score_few(n_shots, train, test):
    """Return the mean accuracy over five draws of a few samples of each class."""
    random, scores = np.random.default_rng(0), []
    for _ in range(5):
        rows = np.concatenate(
            [
                random.choice(np.flatnonzero(train[1] == label), n_shots, replace=False)
                for label in np.unique(train[1])
            ]
        )
        classifier = make_classifier().fit(train[0][rows], train[1][rows])
        scores.append(classifier.score(*test))
    return np.mean(scores)


def test_known_photos_get_sensible_classes(tmp_path):
    path = tmp_path / "whole.keras"
    weights = efficientnet_lite0.find_weights()
    efficientnet_lite0.load(weights, include_top=True).save(path)
    loader = ImageLoader(image_size=(224, 224), color_mode="rgb", resize_mode="crop")
    photos = loader.transform(load_sample_images().images)
    embedder = ImageEmbedder(path).fit(photos)
    china, flower = embedder.transform(photos)
    assert len(china) == 1000
    assert flower.argmax() == DAISY
    assert china.argmax() == PALACE
    assert {PALACE, BELL_COTE, MONASTERY} <= set(china.argsort()[-5:].tolist())


def test_real_weights_beat_random_ones_on_photo_patches(backbones, photo_patches):
    X, y = photo_patches
    real, random = (
        cross_val_score(
            make_classifier(), ImageEmbedder(backbones[name]).fit_transform(X), y, cv=3
        ).mean()
        for name in ("real", "random")
    )
    assert real > 0.98
    assert real - random >= 0.03


def test_real_weights_beat_random_ones_and_pixels_from_five_textures(
    backbones, textures
):
    accuracy = {}
    for name, path in backbones.items():
        embedder = ImageEmbedder(path).fit(textures["train"][0])
        train, test = (
            (embedder.transform(textures[part][0]), textures[part][1])
            for part in ("train", "test")
        )
        accuracy[name] = score_few(5, train, test)
    train, test = (
        (textures[part][0].reshape(-1, 64 * 64) / 255.0, textures[part][1])
        for part in ("train", "test")
    )
    accuracy["pixels"] = score_few(5, train, test)
    assert accuracy["real"] > 0.9  # measured: 0.95
    assert accuracy["random"] < 0.7
    assert accuracy["pixels"] < 0.7


def test_features_are_the_same_after_a_round_trip(backbones, photo_patches):
    images = photo_patches[0][::100]
    embedder = ImageEmbedder(backbones["real"]).fit(images)
    duplicate = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(
        duplicate.transform(images), embedder.transform(images)
    )


def test_the_reader_refuses_what_is_not_an_array(tmp_path):
    class Print:
        def __reduce__(self):
            return print, ("executed",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Print()))
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print is refused"):
        efficientnet_lite0.read_tensors(path)
