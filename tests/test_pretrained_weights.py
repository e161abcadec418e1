"""Real ImageNet weights of the extra "pretrained": features that know the world."""

import importlib.util
import pathlib
import pickle

import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimgclf import ImageEmbedder, ImageLoader
from skimgclf.datasets import load_photo_patches
from skimgclf.models._networks.efficientnet_lite import LITE_NETWORKS
from skimgclf.models._networks.pytorch_file import read_pytorch_file

# Of ImageNet's 1000 classes; the yellow middle of the flower fills half of its photo.
EGYPTIAN_CAT, ESPRESSO, PALACE, DAISY, HONEYCOMB = 285, 967, 698, 985, 599
FLAGPOLE, MISSILE, PROJECTILE = 540, 657, 744

SMALLEST = "EfficientNetLite0"
EMBEDDERS = {
    "real": ImageEmbedder(SMALLEST),
    "random": ImageEmbedder(SMALLEST, weights=None),
}
N_TEXTURES = 3


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


@pytest.mark.slow
@pytest.mark.parametrize("name", LITE_NETWORKS)
def test_known_photos_get_their_classes(name):
    """The last layer, which a backbone leaves out, is that of the file."""
    lite = LITE_NETWORKS[name]
    (folder,) = importlib.util.find_spec(
        lite.package.replace("-", "_")
    ).submodule_search_locations
    content = pathlib.Path(folder, "models", lite.file_name).read_bytes()
    last = read_pytorch_file(content)
    photos = [
        skimage.data.chelsea(),
        skimage.data.coffee(),
        skimage.data.rocket(),
        load_sample_image("china.jpg"),
        load_sample_image("flower.jpg"),
    ]
    loader = ImageLoader(image_size=(224, 224), color_mode="rgb", resize_mode="crop")
    features = ImageEmbedder(name).fit_transform(loader.transform(photos))
    scores = features @ last["_fc.weight"].T + last["_fc.bias"]
    assert scores.shape == (5, 1000)
    best = scores.argmax(axis=1)
    assert best[:2].tolist() == [EGYPTIAN_CAT, ESPRESSO]
    assert best[2] in (MISSILE, FLAGPOLE, PROJECTILE)
    assert best[3] == PALACE
    assert best[4] in (DAISY, HONEYCOMB)


@pytest.mark.slow
def test_real_weights_beat_random_ones_on_photo_patches(photo_patches):
    X, y = photo_patches
    real, random = (
        cross_val_score(make_classifier(), embedder.fit_transform(X), y, cv=3).mean()
        for embedder in EMBEDDERS.values()
    )
    assert real > 0.98
    assert real - random >= 0.03


@pytest.mark.slow
def test_real_weights_beat_random_ones_and_pixels_from_five_textures(textures):
    accuracy = {}
    for name, embedder in EMBEDDERS.items():
        embedder.fit(textures["train"][0])
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


@pytest.mark.slow
def test_features_are_the_same_after_a_round_trip():
    # Of the size of `test_known_photos_get_their_classes`, which shares the backbone.
    images = skimage.data.coffee()[None, :224, :224]
    embedder = ImageEmbedder(SMALLEST).fit(images)
    duplicate = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(
        duplicate.transform(images), embedder.transform(images)
    )
