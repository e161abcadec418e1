"""The parameters of KerasImageClassifier and of Keras: what they change in a fit."""

import contextlib

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_classifiers import quick
from stopped_fits import fit_untrained

from skimgclf import KerasImageClassifier
from skimgclf.models._networks.architectures import ARCHITECTURES, build_network
from skimgclf.models._training import scikeras_adapter


def test_parameters_of_the_network_reach_it(digits):
    sizes = {"conv_filters": (3, 2), "kernel_size": (1, 3), "hidden_layer_sizes": 7}
    others = {"activation": "tanh", "batch_norm": True, "dropout": 0.5}
    network, _ = fit_untrained(quick("CNN", **sizes, **others), *digits)
    kinds = [type(layer).__name__ for layer in network.layers]
    block = ["Conv2D", "BatchNormalization", "Activation", "MaxPooling2D"]
    dense = ["Flatten", "Dense", "BatchNormalization", "Activation", "Dropout"]
    assert kinds == ["InputLayer", *block * 2, *dense, "Dense"]
    shapes = [weight.shape for weight in network.weights]
    assert shapes[0] == (1, 3, 1, 3)
    assert [shape[-1] for shape in shapes if len(shape) > 1] == [3, 2, 7, 10]
    layers = dict(zip(kinds, network.layers, strict=True))
    assert layers["Activation"].activation.__name__ == "tanh"
    assert layers["Dropout"].rate == 0.5


# Sizes, batch normalization and dropout show in the layers of a network, which
# `test_parameters_of_the_network_reach_it` looks at.
CHANGES = {
    "activation": "tanh",
    "optimizer": "adam",
    "learning_rate": 0.05,
    "learning_rate_schedule": "one_cycle",
    "weight_decay": 0.5,
    "early_stopping": True,
    "epochs": 2,
    "batch_size": 7,
    "augmentation": "flip",
    "mixup": 0.4,
    "label_smoothing": 0.2,
    "test_time_augmentation": "flip",
    "class_weight": {"3": 9.0},
    "random_state": 1,
}


# TensorFlow traces a network of its own for each of these, and they have fast tests
# of what they do in the modules of their names.
HAVE_OTHER_TESTS = {
    "learning_rate_schedule",
    "weight_decay",
    "early_stopping",
    "augmentation",
    "mixup",
    "label_smoothing",
}


def test_every_parameter_has_a_test_that_it_changes_something():
    network = {"architecture", "hidden_layer_sizes", "conv_filters", "kernel_size"}
    network |= {"batch_norm", "dropout"}
    # These have theirs in test_models_training.py, and in test_models_fine_tuning.py.
    others = {"validation_fraction", "n_iter_no_change", "callbacks", "warm_start"}
    others |= {"weights", "fine_tune", "fine_tune_epochs", "fine_tune_learning_rate"}
    tested = {*CHANGES, *network, *others, "verbose"}
    assert tested == set(KerasImageClassifier().get_params())


@pytest.fixture(scope="module")
def unchanged(digits):
    """Predict by a network of which parameters are changed."""
    return quick().fit(digits[0][:150], digits[1][:150]).predict_proba(digits[0])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in HAVE_OTHER_TESTS))
        for name in CHANGES
    ],
)
def test_changing_a_parameter_changes_the_predictions(unchanged, digits, name):
    X, y = digits
    changed = quick(**{name: CHANGES[name]}).fit(X[:150], y[:150])
    assert not np.array_equal(unchanged, changed.predict_proba(X))


def test_verbose_prints_one_line_an_epoch(digits, capfd):
    quick(epochs=3, verbose=1).fit(*digits)
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "Epoch 1/3",
        "Epoch 2/3",
        "Epoch 3/3",
    ]
    assert "loss" in lines[0]
    assert "accuracy" in lines[0]


def test_without_verbose_nothing_is_printed(digits, capfd):
    quick().fit(*digits).predict(digits[0])
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


@pytest.mark.slow
def test_a_search_over_architectures_and_sizes_works_in_two_processes(digits):
    X, y = digits
    grid = [
        {"architecture": ["dense"], "hidden_layer_sizes": [(4,), (16,)]},
        {"architecture": ["cnn"], "hidden_layer_sizes": [(4,)]},
    ]
    searches = [
        GridSearchCV(
            quick(conv_filters=(2,)), grid, cv=2, n_jobs=n_jobs, error_score="raise"
        ).fit(X, y)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(
        searches[0].cv_results_["mean_test_score"],
        searches[1].cv_results_["mean_test_score"],
    )
    assert searches[0].best_params_ == searches[1].best_params_


def test_a_training_that_diverges_is_an_error(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"diverged.*learning_rate"):
        quick(learning_rate=1e30).fit(X, y)


@pytest.mark.parametrize("batch_size", [np.int64(150), np.uint8(150), 2**31, 10**30])
def test_a_batch_size_may_be_any_int(digits, batch_size):
    X, y = digits
    expected = quick(batch_size=min(int(batch_size), 300)).fit(X, y)
    classifier = quick(batch_size=batch_size).fit(X, y)
    assert classifier.history_ == expected.history_
    np.testing.assert_array_equal(classifier.predict(X), expected.predict(X))


def test_numbers_of_epochs_may_be_of_numpy(digits):
    parameters = {"learning_rate_schedule": "cosine", "epochs": np.uint8(200)}
    network, _ = fit_untrained(quick(**parameters, batch_size=150), *digits)
    schedule = network.optimizer.get_config()["learning_rate"]["config"]
    assert schedule["n_steps"] == 400


def test_a_learning_rate_may_be_any_number(digits):
    X, y = digits
    expected = quick(learning_rate=1.0).fit(X, y).predict_proba(X)
    for rate in (1, np.float32(1), np.int64(1)):
        classifier = quick(learning_rate=rate).fit(X, y)
        np.testing.assert_array_equal(classifier.predict_proba(X), expected)


def test_a_model_that_is_trained_already_is_refused(digits):
    X, y = digits
    shared = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    quick(lambda image_shape: shared).fit(X, y)
    with pytest.raises(ValueError, match=r"an earlier fit has trained.*clone_model"):
        quick(lambda image_shape: shared).fit(X, y)
    # What the error advises.
    scikeras_adapter.refuse_trained_weights(keras.models.clone_model(shared))
    shared.trainable = False
    scikeras_adapter.refuse_trained_weights(shared)


@contextlib.contextmanager
def channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        yield
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_channels_stay_last_whatever_keras_says(digits, name):
    parameters = quick(conv_filters=(2, 3), kernel_size=(3, 3)).get_params()
    expected = build_network(name, (8, 8, 1), 10, parameters)
    with channels_first():
        network = build_network(name, (8, 8, 1), 10, parameters)
    network.set_weights(expected.get_weights())
    X = digits[0][:5]
    np.testing.assert_array_equal(network(X), expected(X))


@pytest.mark.slow
def test_fit_and_predict_take_channels_last_whatever_keras_says(digits, monkeypatch):
    # A shared program would be traced before Keras' setting changes.
    monkeypatch.setattr(scikeras_adapter, "describe_program", lambda *_: None)
    X, y = digits
    classifier = quick("cnn", conv_filters=(2,), augmentation="light")
    expected = clone(classifier).fit(X, y).predict_proba(X)
    with channels_first():
        found = classifier.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, expected)


def test_mixed_precision_gives_probabilities_in_32_bits(digits):
    X, y = digits
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        probabilities = quick().fit(X[:64], y[:64]).predict_proba(X)
    finally:
        keras.config.set_dtype_policy(policy)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_misspelt_parameter_is_refused():
    with pytest.raises(TypeError, match="hiden_layer_sizes"):
        KerasImageClassifier(hiden_layer_sizes=(3,))
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        KerasImageClassifier().set_params(epoch=3)
    with pytest.raises(ValueError, match="Invalid parameter 'optimiser'"):
        KerasImageClassifier().set_params(optimiser__learning_rate=3)
