"""Exported networks give other programs the same probabilities."""

import copy
import importlib.util
import json
import os
import signal

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from skimgclf import ImageEmbedder, ImageLoader, KerasImageClassifier, export_model
from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import read_image
from skimgclf.models import build_cnn
from skimgclf.models._networks.kinds import BACKBONE_NAMES
from skimgclf.saving import _export, _export_check
from skimgclf.saving._float32 import rebuild_in_float32

ACTIVATIONS = [
    name
    for name in dir(keras.activations)
    if name not in {"deserialize", "get", "glu", "serialize", "threshold"}
    and not name.startswith("_")
]


# TensorFlow 2.21 says that its interpreter moves to the package ai_edge_litert.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*tf.lite.Interpreter is deprecated:UserWarning"
)


@pytest.fixture(scope="module")
def paths(digit_folder):
    return load_image_csv(digit_folder / "digits.csv")


@pytest.fixture(scope="module")
def fitted(paths):
    classifier = KerasImageClassifier(
        "cnn",
        conv_filters=(4,),
        hidden_layer_sizes=(8,),
        batch_norm=True,
        dropout=0.2,
        test_time_augmentation="flip",
        optimizer="sgd",  # which TensorFlow traces quickly
        epochs=1,
        random_state=0,
    )
    loader = ImageLoader(image_size=(10, 8), color_mode="rgb", background="black")
    pipeline = Pipeline([("load", loader), ("classify", classifier)])
    return pipeline.fit(paths.filenames[:100], paths.target[:100])


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def run_litert(path, images):
    interpreter = tensorflow.lite.Interpreter(model_path=str(path))
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(inputs[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(inputs[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(outputs[0]["index"])


def run_keras(path, images):
    return keras.saving.load_model(path).predict(images, verbose=0)


RUNNERS = {"onnx": run_onnx, "litert": run_litert, "keras": run_keras}


@pytest.mark.parametrize(
    "file_format",
    [pytest.param("litert", marks=pytest.mark.slow), "onnx", "keras"],
)
def test_export_gives_the_same_probabilities_on_images_read_by_its_json(
    fitted, paths, tmp_path, file_format
):
    # The suffix for Keras' own reader; the others don't look at it.
    path = tmp_path / "digits.keras"
    export_model(fitted, path, format=file_format)
    description = json.loads((tmp_path / "digits.keras.json").read_text())
    settings = description["loader"]
    del settings["flatten"]
    images = np.stack(
        [read_image(name, **settings) for name in paths.filenames[:20]]
    ).astype(description["input"]["dtype"])
    probabilities = RUNNERS[file_format](path, images)
    np.testing.assert_allclose(
        probabilities, fitted.predict_proba(paths.filenames[:20]), atol=1e-4
    )
    assert description["classes"] == fitted.classes_.tolist()
    assert description["format"] == file_format


def test_export_takes_a_bare_classifier_and_its_rows(digits, tmp_path):
    X, y = digits
    rows = X.reshape(300, -1)
    small = {"hidden_layer_sizes": (), "optimizer": "sgd", "epochs": 1}
    classifier = KerasImageClassifier(**small).fit(rows, y)
    export_model(classifier, tmp_path / "rows.onnx")
    np.testing.assert_allclose(
        run_onnx(tmp_path / "rows.onnx", rows),
        classifier.predict_proba(rows),
        atol=1e-4,
    )
    description = json.loads((tmp_path / "rows.onnx.json").read_text())
    assert description["loader"] is None
    assert description["input"] == {
        "shape": [None, 64],
        "dtype": "float32",
        "range": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "color_mode", ["grayscale", pytest.param("rgb", marks=pytest.mark.slow)]
)
def test_export_joins_the_network_of_an_embedder(paths, tmp_path, color_mode):
    pipeline = make_pipeline(
        ImageLoader(image_size=(32, 32), color_mode=color_mode),
        ImageEmbedder(weights=None),
        KerasImageClassifier(hidden_layer_sizes=(), epochs=1, random_state=0),
    )
    filenames = paths.filenames[:20]
    pipeline.fit(filenames, paths.target[:20])
    export_model(pipeline, tmp_path / "model.onnx")
    images = pipeline[0].transform(filenames)
    np.testing.assert_allclose(
        run_onnx(tmp_path / "model.onnx", images),
        pipeline.predict_proba(filenames),
        atol=1e-4,
    )
    description = json.loads((tmp_path / "model.onnx.json").read_text())
    assert description["input"]["shape"] == [None, *images.shape[1:]]
    assert description["loader"]["color_mode"] == color_mode


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (LogisticRegression(), "export_model must be a KerasImageClassifier"),
        (make_pipeline(ImageLoader(), SVC()), "'svc', is a SVC"),
        (
            make_pipeline(ImageLoader(), ImageLoader(), KerasImageClassifier()),
            "2 steps of ImageL",
        ),
        ("passthrough", "Got a str"),
    ],
)
def test_export_refuses_other_models(model, match, tmp_path):
    with pytest.raises(InvalidParameterError, match=match):
        export_model(model, tmp_path / "model.onnx")


def test_export_refuses_what_is_not_fitted(tmp_path):
    with pytest.raises(NotFittedError):
        export_model(KerasImageClassifier(), tmp_path / "model.onnx")


def test_export_refuses_other_formats(fitted, tmp_path):
    with pytest.raises(InvalidParameterError, match="The 'format' parameter"):
        export_model(fitted, tmp_path / "model", format="torch")


def test_export_says_which_package_is_missing(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(_export, "_ONNX_PACKAGES", ("onnx", "not_installed_here"))
    with pytest.raises(
        InvalidParameterError, match=r"not_installed_here.*pip install \"onnx>="
    ):
        export_model(fitted, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def check_export(classifier, X, path, file_format, tolerance=1e-4):
    export_model(classifier, path, format=file_format)
    found, expected = RUNNERS[file_format](path, X), classifier.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=tolerance)


def check_network(network, X, path, tolerance=1e-4):
    """Export a network for ONNX without an estimator around it, which takes a fit."""
    exported = _export._export_network(rebuild_in_float32(network), "onnx")
    path.write_bytes(exported)
    np.testing.assert_allclose(run_onnx(path, X), network(X), atol=tolerance)


def test_an_export_averages_over_mirror_images_if_the_classifier_does(
    fitted, paths, tmp_path
):
    X = fitted[0].transform(paths.filenames[:20])
    plain = copy.copy(fitted[-1]).set_params(test_time_augmentation=None)
    unflipped, flipped = plain.predict_proba(X), plain.predict_proba(X[:, :, ::-1])
    expected = (unflipped + flipped) / 2
    assert np.abs(unflipped - expected).max() > 0.01
    # The tests of the whole pipeline export these averages.
    np.testing.assert_allclose(fitted[-1].predict_proba(X), expected, atol=1e-6)
    check_export(plain, X, tmp_path / "model.keras", "keras")


def test_repair_is_depthwise_lets_convolutions_in_groups_be_exported(digits, tmp_path):
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(6, 3, activation="tanh")(x)
    x = keras.layers.Conv2D(6, 3, groups=6, padding="same", activation="relu")(x)
    network = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
    check_network(network, digits[0], tmp_path / "model")


def test_repair_translate_unknown_lets_gelu_and_celu_be_exported(digits, tmp_path):
    x = inputs = keras.Input((8, 8, 1))
    # An error names the operation of the one that isn't translated.
    for activation in ("gelu", "celu"):
        x = keras.layers.Dense(4, activation)(x)
    network = keras.Model(inputs, x)
    check_network(network, digits[0][:20], tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["onnx", "litert"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_exported(digits, tmp_path, activation, file_format):
    classifier = KerasImageClassifier(
        hidden_layer_sizes=(8,), activation=activation, epochs=1, random_state=0
    )
    check_export(classifier.fit(*digits), digits[0], tmp_path / "model", file_format)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["onnx", "litert"])
@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_every_backbone_is_exported(tmp_path, name, file_format):
    """The largest take minutes and gigabytes each."""
    X, y = np.random.default_rng(0).random((4, 96, 96, 3), "float32"), [0, 1, 0, 1]
    classifier = KerasImageClassifier(name, weights=None, epochs=1, random_state=0)
    check_export(classifier.fit(X, y), X, tmp_path / "model", file_format, 1e-3)


def test_a_network_of_another_float_type_is_exported_in_float32(digits, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_cnn(
            (8, 8, 1), conv_filters=(4,), hidden_layer_sizes=(4,), batch_norm=True
        )
    finally:
        keras.config.set_dtype_policy(before)
    check_network(network, digits[0], tmp_path / "model", 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["onnx", "litert"])
@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [
        ("mixed_bfloat16", 0.02),
        ("bfloat16", 0.02),
        ("mixed_float16", 0.002),
        ("float16", 0.002),
        ("float64", 1e-4),
    ],
)
def test_a_classifier_of_another_float_type_is_exported_in_float32(
    digits, tmp_path, policy, tolerance, file_format
):
    X, y = digits
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        classifier = KerasImageClassifier(
            "cnn",
            conv_filters=(4,),
            hidden_layer_sizes=(4,),
            batch_norm=True,
            test_time_augmentation="flip",
            epochs=1,
            random_state=0,
        ).fit(X, y)
    finally:
        keras.config.set_dtype_policy(before)
    check_export(classifier, X, tmp_path / "model", file_format, tolerance)


def test_repair_rescaling_of_lets_constants_of_normalization_be_exported(tmp_path):
    """Also in a network inside of the network."""
    inputs = keras.Input((2,))
    given = keras.layers.Normalization(mean=[0.2, 0.5], variance=[0.04, 2.0])
    learnt = keras.layers.Normalization()
    learnt.adapt(np.random.default_rng(0).random((50, 2), "float32"))
    inner = keras.Sequential([keras.layers.Input((2,)), learnt])
    network = keras.Model(inputs, inner(given(inputs)))
    X = np.random.default_rng(1).random((6, 2), "float32")
    check_network(network, X, tmp_path / "model")


@pytest.fixture
def export(fitted, monkeypatch):
    """Return a function that exports another network as if it had been fitted."""

    def export(network, path, file_format, model=fitted):
        monkeypatch.setattr(_export, "join_steps", lambda steps: network)
        export_model(model, path, format=file_format)

    return export


def make_one_layer():
    """Make a network that is written and run in no time."""
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


@keras.saving.register_keras_serializable("test_export")
class Erfinv(keras.layers.Layer):
    """What no exporter knows."""

    def call(self, X):
        return keras.ops.erfinv(X)


@pytest.mark.parametrize(
    ("file_format", "match"),
    [
        ("onnx", "must be 'keras' or 'litert' with.*can't be run.*Erfinv"),
        pytest.param(
            "litert",
            "must be 'keras' or 'onnx' with.*can't be run",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_file_that_does_not_run_is_an_error_and_not_left_behind(
    export, tmp_path, file_format, match
):
    layers = [keras.Input((4,)), Erfinv(), keras.layers.Dense(2, "tanh")]
    (tmp_path / "model").write_text("old")
    with pytest.raises(InvalidParameterError, match=match):
        export(keras.Sequential(layers), tmp_path / "model", file_format)
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model").read_text() == "old"


def test_a_network_that_keras_would_not_load_again_is_not_exported(export, tmp_path):
    class Unregistered(keras.layers.Layer):
        def call(self, X):
            return X / 2

    network = keras.Sequential([keras.Input((4,)), Unregistered()])
    (tmp_path / "model.json").write_text("old")
    with pytest.raises(
        InvalidParameterError, match=r"can't be run.*Unregistered"
    ) as caught:
        export(network, tmp_path / "model", "keras")
    assert "register_keras_serializable" in str(caught.value)
    assert os.listdir(tmp_path) == ["model.json"]
    assert (tmp_path / "model.json").read_text() == "old"


def test_a_file_with_other_probabilities_is_an_error(fitted, tmp_path, monkeypatch):
    def run(path, images):
        return np.full((1, 10), 0.1)

    monkeypatch.setitem(_export_check._RUNTIMES, "keras", run)
    with pytest.raises(InvalidParameterError, match=r"it gives .*network gives"):
        export_model(fitted, tmp_path / "model", format="keras")
    assert os.listdir(tmp_path) == []


def test_without_onnx_runtime_the_checker_of_onnx_decides(
    export, tmp_path, monkeypatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "onnxruntime" else find(name, *more),
    )
    export(make_one_layer(), tmp_path / "model", "onnx")
    assert (tmp_path / "model").stat().st_size > 100


def test_ctrl_c_waits_until_a_network_is_exported_and_nothing_is_written(
    export, tmp_path, monkeypatch
):
    reached = []

    def press(*arguments):
        signal.raise_signal(signal.SIGINT)
        reached.append("after")

    monkeypatch.setattr(_export, "run_export", press)
    with pytest.raises(KeyboardInterrupt):
        export(make_one_layer(), tmp_path / "model", "keras")
    assert reached == ["after"]
    assert os.listdir(tmp_path) == []


def test_export_writes_nothing_when_the_description_has_no_form_in_json(
    export, fitted, tmp_path, monkeypatch
):
    objects = np.array([object() for _ in fitted[-1].classes_])
    monkeypatch.setattr(fitted[-1], "classes_", objects)
    with pytest.raises(TypeError, match="JSON"):
        export(make_one_layer(), tmp_path / "model.keras", "keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [0, 1])
def test_a_full_disk_replaces_neither_a_network_nor_its_description(
    export, tmp_path, fill_disk, n
):
    names = ["model", "model.json"]
    for name in names:
        (tmp_path / name).write_text("old")
    fill_disk(n)
    with pytest.raises(OSError, match="No space left"):
        export(make_one_layer(), tmp_path / "model", "keras")
    assert sorted(os.listdir(tmp_path)) == names
    assert [(tmp_path / name).read_text() for name in names] == ["old", "old"]


def test_options_for_urls_are_not_exported(export, fitted, tmp_path):
    loader = clone(fitted[0]).set_params(storage_options={"token": "hush"})
    pipeline = make_pipeline(loader, fitted[-1])
    export(make_one_layer(), tmp_path / "model.keras", "keras", pipeline)
    described = (tmp_path / "model.keras.json").read_text()
    assert "image_size" in described
    assert "storage_options" not in described
