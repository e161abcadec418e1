"""Small networks that train with their weights in vectors: the same numbers."""

import collections

import keras
import numpy as np
import pytest
from small_classifiers import quick

from skimgclf.models._networks.architectures import build_network
from skimgclf.models._training import flat_weights, loop
from skimgclf.models._training.optimizer import OptimizerSettings, compile_network
from skimgclf.models._training.schedule import list_variables

# Two hidden layers: slots of several weights with the same name.
LAYERS = {
    "hidden_layer_sizes": (6, 5),
    "epochs": 2,
    "batch_size": 20,
    "learning_rate": None,
}


@pytest.fixture
def chosen(monkeypatch):
    """List what `choose_flat_weights` returns, in calls of three batches."""
    chosen = []
    choose = flat_weights.choose_flat_weights

    def note(*given):
        chosen.append(choose(*given))
        return chosen[-1]

    monkeypatch.setattr(loop, "choose_flat_weights", note)
    monkeypatch.setattr(loop, "_N_JOINED", 3)
    return chosen


def fit_and_read(monkeypatch, parameters, data, *, is_flat):
    """Fit twice, the second time with a shared program; return all numbers of both."""
    with monkeypatch.context() as patch:
        stand_ins = "skimgclf.models._training.shared_programs._stand_ins"
        patch.setattr(stand_ins, collections.OrderedDict())
        if not is_flat:
            patch.setattr(loop, "choose_flat_weights", lambda *_: None)
        numbers = []
        for seed in range(2):
            classifier = quick(**{**LAYERS, **parameters, "random_state": seed})
            classifier.fit(*data)
            network = classifier.model_
            numbers += [values for _, values in sorted(classifier.history_.items())]
            numbers += network.variables + list_variables(network.optimizer)
    return list(map(np.array, numbers))


def spared(**parameters):
    optimizer = keras.optimizers.AdamW(0.01, **parameters)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


SLOW = [
    {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)},
    {"optimizer": keras.optimizers.Adam(0.01, amsgrad=True, clipvalue=0.01)},
    {"optimizer": "adam", "learning_rate_schedule": "cosine", "weight_decay": 0.1},
    {"optimizer": "adamax"},
    {"optimizer": "ftrl"},
    {"optimizer": "lion"},
    {"optimizer": "adamw"},
    {"optimizer": "adam", "label_smoothing": 0.1, "mixup": 0.2},
    {"optimizer": "adam", "class_weight": "balanced"},
    {"optimizer": "adam", "early_stopping": True},
    {"hidden_layer_sizes": ()},
]


@pytest.mark.parametrize(
    "parameters",
    [
        {"optimizer": "nadam", "dropout": 0.3},
        {
            "optimizer": spared(weight_decay=0.5),
            "learning_rate_schedule": "one_cycle",
            "batch_norm": True,
        },
        *(pytest.param(parameters, marks=pytest.mark.slow) for parameters in SLOW),
    ],
)
def test_all_numbers_are_those_of_weights_one_by_one(
    digits, chosen, monkeypatch, parameters
):
    X, y = digits
    # Calls of three batches, a last call of two, and a last batch of fewer images.
    data = X[:150], y[:150]
    flat = fit_and_read(monkeypatch, parameters, data, is_flat=True)
    assert [type(weights).__name__ for weights in chosen] == ["FlatWeights"]
    plain = fit_and_read(monkeypatch, parameters, data, is_flat=False)
    assert len(flat) == len(plain)
    for mine, expected in zip(flat, plain, strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.fixture
def two_batches():
    """Let Keras end each epoch after two batches."""
    keras.config.set_max_steps_per_epoch(2)
    yield
    keras.config.set_max_steps_per_epoch(None)


@pytest.mark.usefixtures("two_batches")
@pytest.mark.filterwarnings("ignore:Limiting steps_per_epoch")
def test_all_numbers_are_the_same_where_keras_ends_epochs_early(
    digits, chosen, monkeypatch
):
    flat, plain = (
        fit_and_read(monkeypatch, {"optimizer": "nadam"}, digits, is_flat=is_flat)
        for is_flat in (True, False)
    )
    assert chosen
    for mine, expected in zip(flat, plain, strict=True):
        np.testing.assert_array_equal(mine, expected)


def make_network(optimizer="adam", **parameters):
    parameters = {"hidden_layer_sizes": (6, 5), **parameters}
    network = build_network("dense", (8, 8, 1), 3, parameters)
    settings = OptimizerSettings(optimizer, None, "constant", None)
    compile_network(network, keras.optimizers.get(optimizer), settings)
    return network


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.Adam(clipnorm=1.0),
        keras.optimizers.Adam(global_clipnorm=1.0),
        keras.optimizers.Adam(use_ema=True),
        keras.optimizers.Adam(gradient_accumulation_steps=2),
        keras.optimizers.Adam(loss_scale_factor=2.0),
        "rmsprop",
        "adagrad",
        "adadelta",
    ],
)
def test_weights_stay_apart_where_their_numbers_would_change(optimizer):
    assert flat_weights.choose_flat_weights(make_network(), 1)
    network = make_network(optimizer)
    assert flat_weights.choose_flat_weights(network, 1) is None


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_stay_apart_where_sgd_scales_gradients_of_scales(optimizer, batch_norm):
    network = make_network(optimizer, batch_norm=batch_norm)
    flat = flat_weights.choose_flat_weights(network, 1)
    assert (flat is None) == (optimizer == "sgd" and batch_norm)


def test_weights_stay_apart_where_an_optimizer_has_unknown_variables():
    network = make_network()
    for variable in network.optimizer.variables:
        variable._name = variable.name.replace("momentum", "moment")
    assert flat_weights.choose_flat_weights(network, 1) is None


def test_costly_batches_gain_nothing():
    network = make_network()
    assert flat_weights.choose_flat_weights(network, 10**8) is None
