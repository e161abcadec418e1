"""Fits that share a traced program: the same numbers as from one of their own."""

import concurrent.futures
import copy
import functools
import gc
import threading
import weakref

import keras
import numpy as np
import pytest
from sklearn.base import clone
from small_classifiers import numbers_of, quickest
from stopped_fits import fit_untrained

from skimgclf.models import _state
from skimgclf.models._training import scikeras_adapter, shared_programs


@pytest.fixture(autouse=True)
def no_stand_ins(monkeypatch):
    monkeypatch.setattr(
        shared_programs, "_stand_ins", shared_programs._stand_ins.copy()
    )
    shared_programs._stand_ins.clear()


quick = functools.partial(quickest, epochs=2)


def fit_alone(classifier, *data, **more):
    """Fit a clone with a program of its own."""
    describe = scikeras_adapter.describe_program
    scikeras_adapter.describe_program = lambda *_: None
    try:
        return clone(classifier).fit(*data, **more)
    finally:
        scikeras_adapter.describe_program = describe


def without_decay_of(name):
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=[name])
    return optimizer


def assert_equal_fits(one, other):
    for value, expected in zip(numbers_of(one), numbers_of(other), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert one.history_ == other.history_


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.3, "batch_norm": True},
        *[
            pytest.param(parameters, marks=pytest.mark.slow)
            for parameters in (
                {"early_stopping": True, "epochs": 5, "learning_rate": 0.1},
                {
                    "weight_decay": 0.5,
                    "batch_norm": True,
                    "learning_rate_schedule": "cosine",
                },
                {
                    "architecture": "cnn",
                    "conv_filters": (2,),
                    "class_weight": "balanced",
                },
                {"optimizer": keras.optimizers.Adam(use_ema=True)},
                {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.1)},
                {"optimizer": without_decay_of("kernel")},
                {"learning_rate_schedule": "one_cycle", "learning_rate": 0.1},
                {"batch_size": 300, "verbose": 1},
            )
        ],
    ],
    ids=" ".join,  # of the names: an optimizer's repr differs from run to run
)
def test_a_shared_program_changes_no_bit(digits, parameters):
    X, y = digits
    given = {"optimizer": "adam", "hidden_layer_sizes": (4,), **parameters}
    classifier = quick(**given)
    # Another seed and other data come between, as in a search.
    clone(classifier).set_params(random_state=1).fit(X[:150], y[:150])
    shared = clone(classifier).fit(X, y)
    assert len(shared_programs._stand_ins) == 1
    assert_equal_fits(shared, fit_alone(classifier, X, y))


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", sorted(name.lower() for name in shared_programs._OPTIMIZERS)
)
def test_a_shared_program_changes_no_bit_of_an_optimizer(digits, optimizer):
    classifier = quick(optimizer=optimizer, epochs=1)
    clone(classifier).set_params(random_state=1, learning_rate=0.1).fit(*digits)
    shared = clone(classifier).fit(*digits)
    assert len(shared_programs._stand_ins) == 1
    assert_equal_fits(shared, fit_alone(classifier, *digits))


def test_a_shared_program_takes_weights_and_validation_data(digits):
    X, y = digits[0][:100], digits[1][:100]
    weights = np.linspace(0.5, 2, 100)
    given = {"sample_weight": weights, "X_val": X[:50], "y_val": y[:50]}
    classifier = quick(epochs=1).fit(X, y)
    shared = clone(classifier).fit(X, y, **given)
    assert len(shared_programs._stand_ins) == 1
    assert_equal_fits(shared, fit_alone(classifier, X, y, **given))


@pytest.mark.slow
def test_a_shared_program_goes_on_as_if_never_stopped(digits):
    drops = {"hidden_layer_sizes": (4,), "dropout": 0.3}
    quick(**drops).fit(*digits)
    shared = quick(**drops, warm_start=True).fit(*digits).fit(*digits)
    assert_equal_fits(shared, fit_alone(quick(**drops, epochs=4), *digits))


@pytest.fixture
def traced(monkeypatch):
    """List the networks whose training step is traced."""
    traced = []

    def count(function):
        def run(network, *given, **named):
            traced.append(network)
            return function(network, *given, **named)

        return run

    # The latter is called where the weights are in a vector.
    for name in ("train_step", "stateless_call"):
        monkeypatch.setattr(keras.Model, name, count(getattr(keras.Model, name)))
    return traced


def test_repair_build_metrics_makes_a_program_traced_once(digits, traced):
    for rate in (0.1, 0.01):
        quick(learning_rate=rate).fit(*digits)
    assert len(traced) == 1


@pytest.mark.parametrize(
    "shape", ["one_cycle", pytest.param("cosine", marks=pytest.mark.slow)]
)
def test_schedules_of_other_numbers_share_a_program(digits, traced, shape):
    X, y = digits
    for changes, n_samples in [
        ({}, 300),
        ({"learning_rate": 0.1}, 300),
        ({"epochs": 3}, 300),
        ({"early_stopping": True}, 100),
        ({}, 100),
    ]:
        quick(learning_rate_schedule=shape, **changes).fit(X[:n_samples], y[:n_samples])
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"learning_rate_schedule": "one_cycle"},
            {"learning_rate_schedule": "cosine"},
        ),
        ({}, {"weight_decay": 0.1}),
        ({}, {"learning_rate_schedule": "cosine"}),
        ({"optimizer": "adamw", "weight_decay": 0.004}, {"optimizer": "adamw"}),
        (
            {"optimizer": without_decay_of("bias")},
            {"optimizer": without_decay_of("kernel")},
        ),
    ],
    ids=["its shape", "decay", "schedule", "spared biases", "excluded names"],
)
def test_other_rules_of_the_optimizer_have_a_program_of_their_own(digits, one, other):
    first, second, again = [
        fit_untrained(quick(**parameters), *digits)[1]
        for parameters in (one, other, one)
    ]
    assert None not in (first, second)
    assert first == again != second


@pytest.mark.slow
def test_floatx_has_a_program_of_its_own(digits):
    single = quick().fit(*digits)
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        quick(random_state=1).fit(*digits)
        shared = quick().fit(*digits)
        alone = fit_alone(quick(), *digits)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
    assert len(shared_programs._stand_ins) == 2
    assert shared.model_.get_weights()[0].dtype == np.float64
    assert_equal_fits(shared, alone)
    assert_equal_fits(quick().fit(*digits), single)


class Watches(keras.callbacks.Callback):
    """A callback of a user's, that may keep the network."""


class OwnSGD(keras.optimizers.SGD):
    """An optimizer of a user's, whose step may depend on anything."""


def own_features(image_shape):
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten()])


@pytest.mark.parametrize(
    "parameters",
    [
        {"callbacks": Watches},
        {"optimizer": OwnSGD},
        {"architecture": own_features},
        {
            "learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5),
        },
    ],
    ids=["callback", "optimizer", "architecture", "schedule"],
)
def test_what_is_not_sure_to_be_alike_is_not_shared(digits, parameters):
    _, kind = fit_untrained(quick(**parameters), *digits)
    assert kind is None


def test_a_failed_fit_leaves_no_stand_in(digits):
    X, y = digits[0].reshape(300, -1), digits[1]
    classifier = quick()
    with pytest.raises(ValueError, match="diverged"):
        clone(classifier).fit(X * 1e30, y)
    clone(classifier).fit(X, y)
    assert_equal_fits(clone(classifier).fit(X, y), fit_alone(classifier, X, y))


@pytest.mark.slow
def test_threads_share_a_program(digits):
    alone = [fit_alone(quick(random_state=seed), *digits) for seed in range(4)]
    fitted = [quick(random_state=seed) for seed in range(4)]
    threads = [threading.Thread(target=one.fit, args=digits) for one in fitted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shared_programs._stand_ins) == 1
    for one, expected in zip(fitted, alone, strict=True):
        assert_equal_fits(one, expected)


@pytest.mark.slow
def test_few_programs_are_kept_and_nothing_of_a_fit(digits, monkeypatch):
    monkeypatch.setattr(shared_programs, "_N_KEPT", 4)  # conftest.py keeps more
    for n_units in range(1, 7):
        classifier = quick(hidden_layer_sizes=(n_units,), epochs=1).fit(*digits)
    assert len(shared_programs._stand_ins) == 4
    network = weakref.ref(classifier.model_)
    del classifier
    gc.collect()
    assert network() is None


def test_each_fit_builds_one_network(digits, monkeypatch):
    built, build = [], scikeras_adapter.build_network

    def note(**blueprint):
        built.append(blueprint)
        return build(**blueprint)

    for module in (scikeras_adapter, _state):
        monkeypatch.setattr(module, "build_network", note)
    for n_fits in (1, 2):
        quick().fit(*digits).predict(digits[0])
        assert len(built) == n_fits


def test_a_kept_network_is_not_the_users_and_leaves_theirs_alone(digits):
    first = quick().fit(*digits)
    (kept,) = shared_programs._stand_ins.values()
    assert first.model_ is not kept
    before, expected = numbers_of(first), first.predict_proba(digits[0])
    # Other epochs, since SGD's one number counts the steps.
    quick(random_state=1, epochs=3).fit(*digits)
    assert list(shared_programs._stand_ins.values()) == [kept]
    for value, same in zip(numbers_of(first), before, strict=True):
        np.testing.assert_array_equal(value, same)
    np.testing.assert_array_equal(first.predict_proba(digits[0]), expected)
    np.testing.assert_allclose(first.model_(digits[0]), expected, atol=1e-6)


def test_a_network_is_built_once_whatever_uses_it_first(digits):
    fitted = quick(warm_start=True).fit(*digits)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        networks = list(pool.map(lambda _: fitted.model_, range(4)))
    assert all(network is networks[0] for network in networks)


def test_shallow_copies_of_a_fit_train_apart(digits):
    fitted = quick(warm_start=True).fit(*digits)
    copied = copy.copy(fitted)
    expected = quick(epochs=4).fit(*digits)
    for each in (fitted, copied):
        assert_equal_fits(each.fit(*digits), expected)


def test_a_kept_network_counts_as_trained(digits):
    first = quick(hidden_layer_sizes=(4,)).fit(*digits)

    def build(image_shape):
        network = first.model_
        return keras.Model(network.inputs, network.layers[-2].output)

    with pytest.raises(ValueError, match="weights that an earlier fit has trained"):
        quick(architecture=build).fit(*digits)


def test_a_network_keeps_the_loss_of_its_fit(digits):
    for program in ("own", "shared"):
        fitted = quick(label_smoothing=0.1).fit(*digits)
        assert fitted.model_.loss == "categorical_crossentropy", program


def test_large_networks_are_not_kept(digits, monkeypatch):
    monkeypatch.setattr(shared_programs, "_N_PARAMETERS", 100)
    quick().fit(*digits)
    assert not shared_programs._stand_ins
