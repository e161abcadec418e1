"""A fitted classifier survives pickle, joblib and deepcopy bit for bit."""

import collections
import copy
import pickle

import keras
import numpy as np
import pytest
from saved_models import joblib_copy, pickle_copy

from skimgclf import KerasImageClassifier
from skimgclf.models import build_dense
from skimgclf.models._state import PackedNetwork
from skimgclf.models._training import shared_programs


def narrow(image_shape, dropout):
    """Build a network by a function that pickle finds by its name."""
    narrow.calls += 1
    return build_dense(image_shape, hidden_layer_sizes=(5,), dropout=dropout)


narrow.calls = 0


def make(kind):
    given = {
        "dense": {"dropout": 0.3, "batch_norm": True},
        "cnn": {"architecture": "cnn", "conv_filters": (2,), "batch_norm": True},
        "callable": {"architecture": narrow, "dropout": 0.3},
    }
    # TensorFlow traces this optimizer quickly.
    small = {"hidden_layer_sizes": (4,), "optimizer": "sgd", "epochs": 1}
    small["random_state"] = 0
    return KerasImageClassifier(**small, **given[kind])


@pytest.fixture(scope="module", params=["dense", "cnn", "callable"])
def fitted(request, digits):
    return make(request.param).fit(*digits)


@pytest.mark.parametrize(
    ("fitted", "copied"),
    [
        *(("dense", each) for each in (pickle_copy, joblib_copy, copy.deepcopy)),
        ("cnn", pickle_copy),
        # Slow, since TensorFlow traces each such copy before it predicts.
        *(
            pytest.param(kind, each, marks=pytest.mark.slow)
            for kind, each in [
                *(("cnn", joblib_copy), ("cnn", copy.deepcopy)),
                ("callable", pickle_copy),
                *(("callable", joblib_copy), ("callable", copy.deepcopy)),
            ]
        ),
    ],
    indirect=["fitted"],
)
def test_a_copy_predicts_the_same_bits(fitted, digits, copied):
    duplicate = copied(fitted)
    np.testing.assert_array_equal(
        duplicate.predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )
    assert duplicate.history_ == fitted.history_
    # And a copy of the copy, which was never trained here.
    np.testing.assert_array_equal(
        copied(duplicate).predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )


@pytest.mark.parametrize(
    "fitted",
    ["dense", pytest.param("cnn", marks=pytest.mark.slow), "callable"],
    indirect=True,
)
def test_a_copy_keeps_all_variables(fitted):
    # Those of dropout's generators too, which Keras' own files leave out.
    duplicate = pickle.loads(pickle.dumps(fitted))
    for mine, theirs in zip(
        duplicate.model_.variables, fitted.model_.variables, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def jittered(image_shape):
    """Build a network with all that has a state besides weights."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.RandomContrast(0.2),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
        ]
    )


@pytest.mark.slow
def test_a_copy_of_a_callables_network_learns_on_the_same(digits):
    fitted = KerasImageClassifier(jittered, epochs=1, warm_start=True, random_state=0)
    duplicate = pickle.loads(pickle.dumps(fitted.fit(*digits)))
    np.testing.assert_array_equal(
        duplicate.fit(*digits).predict_proba(digits[0]),
        fitted.fit(*digits).predict_proba(digits[0]),
    )


@pytest.mark.parametrize("fitted", ["callable"], indirect=True)
def test_a_callable_is_never_called_on_load(fitted, digits):
    packed = pickle.dumps(fitted)
    calls = narrow.calls
    pickle.loads(packed).predict(digits[0])
    assert narrow.calls == calls


@pytest.mark.parametrize("fitted", ["dense"], indirect=True)
def test_parameters_set_after_fit_dont_change_what_is_saved(fitted, digits):
    changed = copy.copy(fitted).set_params(architecture="cnn", hidden_layer_sizes=(3,))
    duplicate = pickle.loads(pickle.dumps(changed))
    np.testing.assert_array_equal(
        duplicate.predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )


def wide(image_shape):
    """Build a network whose weights outweigh what is written around them."""
    return build_dense(image_shape, hidden_layer_sizes=(2000,))


@pytest.mark.parametrize(
    "architecture",
    [
        # Slow, since the test below pickles such a network, before and after it is
        # built, and files of callables keep the optimizer in the same way.
        pytest.param("dense", id="name", marks=pytest.mark.slow),
        pytest.param(wide, id="callable", marks=pytest.mark.slow),
    ],
)
def test_the_optimizer_is_kept_with_warm_start_only(digits, architecture):
    fitted = KerasImageClassifier(architecture, hidden_layer_sizes=(400,), epochs=1)
    n_bytes = 4 * fitted.fit(*digits).model_.count_params()
    around = 4000 if architecture == "dense" else 30_000
    assert n_bytes < len(pickle.dumps(fitted)) < n_bytes + around
    fitted.set_params(warm_start=True)  # Adam keeps two numbers a weight
    assert 3 * n_bytes < len(pickle.dumps(fitted)) < 3 * n_bytes + around


def test_the_optimizer_is_kept_alike_before_and_after_the_network_is_built(
    digits, monkeypatch
):
    # The first network of a kind is the one that isn't built.
    monkeypatch.setattr(shared_programs, "_stand_ins", collections.OrderedDict())
    fitted = KerasImageClassifier(hidden_layer_sizes=(400,), epochs=1).fit(*digits)
    n_bytes = 4 * sum(each.size for each in fitted._training.holder.list_weights())
    assert n_bytes < len(pickle.dumps(fitted)) < n_bytes + 4000
    fitted.set_params(warm_start=True)
    assert 3 * n_bytes < len(pickle.dumps(fitted)) < 3 * n_bytes + 4000
    assert fitted._training.holder.packed is not None
    assert fitted.model_.built
    assert fitted._training.holder.packed is None
    assert 3 * n_bytes < len(pickle.dumps(fitted)) < 3 * n_bytes + 4000
    fitted.set_params(warm_start=False)
    assert n_bytes < len(pickle.dumps(fitted)) < n_bytes + 4000


@pytest.mark.parametrize("fitted", ["dense"], indirect=True)
def test_a_pickle_under_another_float_type_predicts_the_same(fitted, digits):
    expected, packed = fitted.predict_proba(digits[0]), pickle.dumps(fitted)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        duplicate = pickle.loads(packed)
        np.testing.assert_array_equal(duplicate.predict_proba(digits[0]), expected)
        assert keras.config.dtype_policy().name == "float64"
    finally:
        keras.config.set_dtype_policy(policy)


class Unregistered(keras.layers.Layer):
    """A layer that Keras can write and can't read."""

    def call(self, inputs):
        return inputs


@keras.saving.register_keras_serializable("test_models_persistence")
class Registered(Unregistered):
    """The same, registered."""


def _with_layer(make_layer):
    def build(image_shape):
        layers = [keras.Input(image_shape), keras.layers.Flatten(), make_layer()]
        return keras.Sequential(layers)

    return build


@pytest.mark.parametrize(
    "make_layer",
    [
        Unregistered,
        # Slow, since test_saving refuses such a layer by name in fast tests.
        pytest.param(
            lambda: keras.layers.Lambda(lambda x: x * 2), marks=pytest.mark.slow
        ),
    ],
)
def test_a_network_that_cannot_be_loaded_is_refused_when_saved(digits, make_layer):
    fitted = KerasImageClassifier(_with_layer(make_layer), optimizer="sgd", epochs=1)
    fitted.fit(*digits)
    with pytest.raises(ValueError, match=r"can't be saved.*register_keras_serial"):
        pickle.dumps(fitted)
    assert fitted.predict(digits[0]).shape == (300,)


def registered(image_shape):
    return _with_layer(Registered)(image_shape)


# A file of save_model packs such a layer in the same way, which is tried in fast tests.
@pytest.mark.slow
def test_registered_layers_are_saved(digits):
    fitted = KerasImageClassifier(registered, epochs=1).fit(*digits)
    duplicate = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        duplicate.predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )


@pytest.mark.parametrize("fitted", ["dense"], indirect=True)
def test_the_float_type_of_the_fit_is_kept_not_that_of_the_dump(fitted, digits):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        packed = pickle.dumps(fitted)
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(
        pickle.loads(packed).predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )


def test_another_format_is_refused_in_words():
    with pytest.raises(ValueError, match=r"format 99.*fit it again"):
        PackedNetwork({"format": 99}, {})


def test_an_unfitted_classifier_pickles():
    parameters = KerasImageClassifier(epochs=3).get_params()
    duplicate = pickle.loads(pickle.dumps(KerasImageClassifier(epochs=3)))
    assert duplicate.get_params() == parameters
