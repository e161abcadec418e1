"""The seam: what scikeras would leave behind, and doesn't."""

import contextlib
import os
import random
import threading

import keras
import numpy as np
import pytest
from sklearn.base import clone
from small_classifiers import quickest, weights_of

from skimgclf.models._training import shared_programs

DROPOUT = {"hidden_layer_sizes": (6,), "dropout": 0.2}


def test_fit_leaves_the_global_generators_and_environment_alone(digits):
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - the legacy generator is what is looked at
    before = random.getstate(), np.random.get_state(), dict(os.environ)  # noqa: NPY002
    quickest(**DROPOUT).fit(*digits)
    after = random.getstate(), np.random.get_state(), dict(os.environ)  # noqa: NPY002
    assert before[0] == after[0]
    np.testing.assert_equal(after[1], before[1])
    assert before[2] == after[2]


def test_random_state_gives_equal_weights_in_other_threads(digits):
    expected = weights_of(quickest(**DROPOUT).fit(*digits))
    fitted = [quickest(**DROPOUT) for _ in range(3)]
    threads = [threading.Thread(target=one.fit, args=digits) for one in fitted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in fitted:
        np.testing.assert_array_equal(weights_of(one), expected)


def test_random_state_instances_count(digits):
    five, five_again, six = (
        quickest(**DROPOUT, random_state=np.random.RandomState(seed)).fit(*digits)
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(weights_of(five), weights_of(five_again))
    assert not np.array_equal(weights_of(five), weights_of(six))


def test_random_state_none_follows_numpys_global_seed(digits):
    fits = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002 - scikit-learn's meaning of None
        fits.append(weights_of(quickest(random_state=None).fit(*digits)))
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_optimizer_may_be_a_name_a_class_or_an_instance(digits):
    by_name, by_class, by_instance = (
        weights_of(quickest(optimizer=optimizer).fit(*digits))
        for optimizer in ("sgd", keras.optimizers.SGD, keras.optimizers.SGD())
    )
    np.testing.assert_array_equal(by_class, by_name, err_msg="a class")
    np.testing.assert_array_equal(by_instance, by_name, err_msg="an instance")


def test_repair_copy_optimizer_lets_an_instance_serve_every_fit(digits):
    classifier = quickest(optimizer=keras.optimizers.Adam(0.01))
    first = weights_of(classifier.fit(*digits))
    np.testing.assert_array_equal(weights_of(classifier.fit(*digits)), first)
    assert not classifier.optimizer.built


def test_learning_rate_reaches_the_optimizer(digits):
    classifier = quickest(learning_rate=0.125).fit(*digits)
    assert float(classifier.model_.optimizer.learning_rate) == 0.125


def test_learning_rate_may_be_a_schedule(digits):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    classifier = quickest(learning_rate=schedule).fit(*digits)
    assert float(classifier.model_.optimizer.learning_rate) < 0.5


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(
            {"hidden_layer_sizes": (6,), "optimizer": "adam"}, marks=pytest.mark.slow
        ),
        pytest.param(
            {**DROPOUT, "batch_norm": True, "optimizer": "adam"}, marks=pytest.mark.slow
        ),
        {**DROPOUT, "batch_norm": True},
    ],
    ids=["adam", "adam-dropout", "sgd-dropout"],
)
@pytest.mark.parametrize(
    "batch_size", [7, *[pytest.param(n, marks=pytest.mark.slow) for n in (32, 400)]]
)
def test_a_loop_over_batches_changes_no_bit(
    digits, parameters, batch_size, monkeypatch
):
    """Against Keras' own functions, which read the batches one by one."""
    from skimgclf.models._training import scikeras_adapter

    def looping(network, *parts, one_by_one, flat):
        return contextlib.nullcontext(parts)

    # Several whole batches of 7, and one that is not.
    X, y = digits if batch_size > 7 else (values[:52] for values in digits)
    given = {
        "X_val": X[:50],
        "y_val": y[:50],
        "sample_weight": np.arange(1, len(X) + 1),
    }
    classifier = quickest(epochs=2, batch_size=batch_size, **parameters)
    several = clone(classifier).fit(X, y, **given)
    assert several.model_.steps_per_execution == 1
    shared_programs._stand_ins.clear()  # they have loops
    monkeypatch.setattr(scikeras_adapter, "looping", looping)
    single = clone(classifier).fit(X, y, **given)
    np.testing.assert_array_equal(weights_of(several), weights_of(single))
    assert several.history_ == single.history_


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [7, 32, 400])
def test_joined_batches_change_no_bit(digits, batch_size, monkeypatch):
    from skimgclf.models._training import loop

    X, y = digits if batch_size > 7 else (values[:52] for values in digits)
    given = {
        "X_val": X[:50],
        "y_val": y[:50],
        "sample_weight": np.arange(1, len(X) + 1),
    }
    classifier = quickest(
        hidden_layer_sizes=(6,), optimizer="adam", epochs=2, batch_size=batch_size
    )
    several = clone(classifier).fit(X, y, **given)
    monkeypatch.setattr(loop, "_N_JOINED", 1)
    single = clone(classifier).fit(X, y, **given)
    np.testing.assert_array_equal(weights_of(several), weights_of(single))
    assert several.history_ == single.history_
