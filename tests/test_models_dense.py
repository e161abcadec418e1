"""Dense networks predict by NumPy: as Keras does, and without it."""

import functools
import json
import pickle

import keras
import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from skimgclf import ImageLoader, KerasImageClassifier, load_model, save_model
from skimgclf.models import _dense
from skimgclf.models._dense import ACTIVATIONS, DensePredictor, is_dense

# All in one process: none of it imports Keras or TensorFlow.
PREDICT = """
import json, pickle, sys
import joblib
import numpy as np
from skimgclf import load_model
from skimgclf.cli import main

saved, pickled, pipeline, image, table, is_late = sys.argv[1:]
X = np.linspace(0, 1, 5 * 64, dtype="float32").reshape(5, 8, 8, 1)
found = {}
for name, load in {saved: load_model, pickled: joblib.load}.items():
    loaded = load(name)
    again = pickle.loads(pickle.dumps(loaded))
    for each in (loaded, again):
        found.setdefault("bits", []).append(each.predict_proba(X).tobytes().hex())
    found.setdefault("labels", []).append(loaded.predict(X[:1]).tolist())
loaded.score(X, loaded.predict(X))
found["status"] = main(["predict", pipeline, image, "--output", table])
found["heavy"] = sorted({"keras", "tensorflow", "scikeras"} & set(sys.modules))
if is_late == "True":
    loaded.model_
found["late"] = sorted({"keras", "tensorflow"} & set(sys.modules))
print(json.dumps(found))
"""


quick = functools.partial(
    KerasImageClassifier, hidden_layer_sizes=(6, 5), epochs=1, random_state=0
)


@pytest.fixture(scope="module")
def fitted(digits):
    """Fit a network with all that a dense one can have."""
    parts = {"batch_norm": True, "dropout": 0.2, "activation": "gelu"}
    return quick(**parts, augmentation="crop").fit(*digits)


@pytest.fixture(scope="module")
def plain(digits):
    return quick(hidden_layer_sizes=(6,), warm_start=True).fit(*digits)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_keras(name):
    x = np.linspace(-9, 9, 400, dtype="float32")
    values = ACTIVATIONS[name](x)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, keras.activations.get(name)(x), atol=1e-6)


@pytest.mark.parametrize("name", ["fitted", "plain"])
def test_numpy_computes_what_keras_computes(name, request, digits):
    classifier = request.getfixturevalue(name)
    assert isinstance(classifier._predictor, DensePredictor)
    found = classifier.predict_proba(digits[0])
    expected = classifier.model_.predict_on_batch(digits[0])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "policy"),
    [
        ({"activation": "mish"}, "float32"),
        ({"augmentation": [keras.layers.RandomFlip()]}, "float32"),
        ({}, "mixed_bfloat16"),
    ],
)
def test_other_networks_are_computed_by_tensorflow(digits, parameters, policy):
    keras.config.set_dtype_policy(policy)
    try:
        classifier = quick(**parameters).fit(digits[0][:40], digits[1][:40])
    finally:
        keras.config.set_dtype_policy("float32")
    assert not isinstance(classifier._predictor, DensePredictor)


def test_is_dense_tells_what_numpy_computes(fitted):
    blueprint = fitted._training.blueprint
    assert is_dense(blueprint, "float32")
    assert not is_dense(blueprint, "mixed_bfloat16")
    layers = [keras.layers.RandomFlip()]
    assert not is_dense({**blueprint, "augmentation": layers}, "float32")
    assert not is_dense({**blueprint, "architecture": "cnn"}, "float32")
    parameters = {**blueprint["parameters"], "activation": "mish"}
    assert not is_dense({**blueprint, "parameters": parameters}, "float32")


@pytest.mark.parametrize("name", ["fitted", "plain"])
def test_copies_agree_bit_for_bit_for_any_number_of_rows(
    name, request, digits, tmp_path
):
    classifier = request.getfixturevalue(name)
    save_model(classifier, tmp_path / "saved")
    copies = [pickle.loads(pickle.dumps(classifier)), load_model(tmp_path / "saved")]
    for copied in [*copies, pickle.loads(pickle.dumps(copies[1]))]:
        for n_rows in (1, 2, 31, 300):
            X = digits[0][:n_rows]
            found, expected = copied.predict_proba(X), classifier.predict_proba(X)
            assert np.array_equal(found, expected)


def test_a_network_is_built_when_it_is_asked_for(plain, digits, tmp_path):
    save_model(plain, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    before = loaded.predict_proba(digits[0])
    assert loaded._training.holder.packed is not None
    network = loaded.model_
    assert loaded.model_ is network
    for found, expected in zip(
        network.get_weights(), plain.model_.get_weights(), strict=True
    ):
        assert np.array_equal(found, expected)
    assert np.array_equal(loaded.predict_proba(digits[0]), before)
    network.set_weights([np.zeros_like(values) for values in network.get_weights()])
    np.testing.assert_allclose(loaded.predict_proba(digits[0]), 0.1)


def test_a_loaded_classifier_is_trained_further(plain, digits, tmp_path):
    copied = pickle.loads(pickle.dumps(plain))
    before = copied.predict_proba(digits[0])
    copied.set_params(callbacks=None).partial_fit(*digits)
    assert copied.n_iter_ == 2
    after = copied.predict_proba(digits[0])
    assert not np.allclose(after, before, atol=1e-3)
    expected = copied.model_.predict_on_batch(digits[0])
    np.testing.assert_allclose(after, expected, atol=1e-6)
    save_model(copied, tmp_path / "saved")
    assert np.array_equal(
        load_model(tmp_path / "saved").predict_proba(digits[0]), after
    )


@pytest.mark.parametrize("is_late", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_process_that_predicts_imports_no_tensorflow(
    digits, fitted, tmp_path, run_python, is_late
):
    """But for `model_`, the network itself."""
    names = [str(tmp_path / name) for name in ("saved", "pickled", "pipeline", "a.png")]
    save_model(fitted, names[0])
    with open(names[1], "wb") as file:
        pickle.dump(fitted, file)
    loader = ImageLoader(image_size=(8, 8))
    save_model(Pipeline([("load", loader), ("classify", fitted)]), names[2])
    keras.utils.array_to_img(digits[0][0]).save(names[3])
    table = tmp_path / "table.csv"
    found = json.loads(run_python(PREDICT, *names, table, is_late).splitlines()[-1])
    X = np.linspace(0, 1, 5 * 64, dtype="float32").reshape(5, 8, 8, 1)
    assert found["heavy"] == []
    assert found["bits"] == [fitted.predict_proba(X).tobytes().hex()] * 4
    assert found["labels"] == [fitted.predict(X[:1]).tolist()] * 2
    assert found["status"] == 0
    assert len(table.read_text().splitlines()) == 2
    assert found["late"] == (["keras", "tensorflow"] if is_late else [])


def test_values_that_overflow_are_computed_without_a_warning():
    kernel, offset = np.full((4, 4), 9, dtype="float32"), np.zeros(4, dtype="float32")
    kernel[1:3] = -9
    layers, X = [(kernel.T, offset), (kernel, offset)], np.full((1, 4), 1e38)
    X[0, 1:3] = 0
    assert np.isnan(_dense._compute(layers, np.abs, X)).any()


def test_threads_and_numbers_of_rows_change_no_bit():
    """A worker of joblib has one thread for NumPy, and its parent several."""
    draw = np.random.default_rng(0)
    shapes = [(784, 40), (40, 20), (20, 10)]
    layers = [
        [draw.standard_normal(shape, dtype="float32") / 8 for shape in (pair, pair[1:])]
        for pair in shapes
    ]
    X = draw.random((203, 784), dtype="float32")
    with threadpool_limits(1):
        expected = _dense._compute(layers, np.tanh, X)
    with threadpool_limits(2):
        np.testing.assert_array_equal(_dense._compute(layers, np.tanh, X), expected)
        for n_rows in (1, 7, 50):
            parts = [X[start : start + n_rows] for start in range(0, 203, n_rows)]
            found = [_dense._compute(layers, np.tanh, part) for part in parts]
            np.testing.assert_array_equal(np.concatenate(found), expected)
