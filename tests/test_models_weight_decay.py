"""Weight decay: by how much, of which variables, and when."""

import functools
import pickle

import keras
import numpy as np
import pytest
from small_classifiers import weights_of

from skimgclf import KerasImageClassifier
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._repairs import read_decayed
from skimgclf.models._training.optimizer import OptimizerSettings, compile_network

quick = functools.partial(
    KerasImageClassifier, hidden_layer_sizes=(6,), epochs=1, random_state=0
)


# TensorFlow traces a network at its first fit, and later fits share what was traced.
SGD = {"optimizer": "sgd", "batch_norm": True, "batch_size": 300}


@pytest.mark.parametrize(
    "name",
    [
        *("SGD", "Adam", "AdamW"),
        *[pytest.param(name, marks=pytest.mark.slow) for name in ("Lion", "Muon")],
    ],
)
def test_weight_decay_alone_shrinks_kernels_only(name):
    x = inputs = keras.Input((3, 3, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(x))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(2)(x))
    network = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    network.set_weights([np.full(w.shape, 2.0) for w in network.get_weights()])
    optimizer = getattr(keras.optimizers, name)(0.5)
    compile_network(network, optimizer, OptimizerSettings(name, 0.5, "constant", 0.1))
    for _ in range(2):
        variables = network.trainable_variables
        optimizer.apply([np.zeros(each.shape, "float32") for each in variables])
    for variable in network.trainable_variables:
        expected = 2 * 0.95**2 if variable.name == "kernel" else 2
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_weight_decay_leaves_out_biases_and_normalization_of_several_axes():
    inputs = x = keras.Input((4, 6))
    x = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x)
    x = keras.layers.LayerNormalization(axis=(1, 2))(x)
    x = keras.layers.RMSNormalization(axis=(1, 2))(x)
    network = keras.Model(inputs, keras.layers.GRU(5)(x))
    optimizer = keras.optimizers.AdamW()
    compile_network(network, optimizer, OptimizerSettings("adamw", None, "constant", 1))
    variables = network.trainable_variables
    decayed = read_decayed(optimizer, variables)
    names = [each.name for each in variables]
    assert names.count("bias") == 5
    assert min(len(each.shape) for each in variables if each.name == "gamma") == 2
    assert decayed == [name in ("kernel", "recurrent_kernel") for name in names]


def test_weight_decay_shrinks_weights_by_the_rate_in_each_step(digits):
    def train(**parameters):
        return quick(**SGD, **parameters).fit(*digits).model_

    start, plain, decayed = (
        train(learning_rate=1e-30),
        train(learning_rate=0.5),
        train(learning_rate=0.5, weight_decay=0.1),
    )
    for before, without, variable in zip(
        start.variables, plain.variables, decayed.variables, strict=True
    ):
        is_kernel = variable.name == "kernel"
        expected = without.numpy() - 0.05 * before.numpy() * is_kernel
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_weight_decay_of_zero_differs_from_the_optimizers_own():
    def train(name, decay):
        network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        network.set_weights([np.full((3, 2), 2.0), np.zeros(2)])
        optimizer = getattr(keras.optimizers, name)(0.5)
        settings = OptimizerSettings(name.lower(), 0.5, "constant", decay)
        compile_network(network, optimizer, settings)
        for _ in range(2):
            optimizer.apply([np.ones((3, 2), "float32"), np.ones(2, "float32")])
        return network.get_weights()[0]

    none, zero, plain = train("AdamW", None), train("AdamW", 0), train("Adam", None)
    np.testing.assert_array_equal(zero, plain)
    assert not np.array_equal(none, zero)


@pytest.mark.slow
def test_weight_decay_of_zero_reaches_the_optimizer(digits):
    classifier = quick(optimizer="adamw", weight_decay=0).fit(*digits)
    # Left out, it would be the optimizer's own.
    assert classifier.model_.optimizer.weight_decay == 0


def test_weight_decay_is_for_classes_and_not_for_instances(digits):
    named = quick(**SGD, weight_decay=0.1).fit(*digits)
    by_class = quick(**{**SGD, "optimizer": keras.optimizers.SGD}, weight_decay=0.1)
    by_class.fit(*digits)
    np.testing.assert_array_equal(weights_of(named), weights_of(by_class))
    match = "'weight_decay'.* must be None with an optimizer instance.*Got 0.5"
    with pytest.raises(InvalidParameterError, match=match):
        quick(optimizer=keras.optimizers.SGD(), weight_decay=0.5).fit(*digits)


def test_another_weight_decay_takes_a_new_optimizer_at_a_warm_start(digits):
    classifier = quick(
        hidden_layer_sizes=(), optimizer="sgd", weight_decay=0.1, warm_start=True
    )
    classifier.fit(*digits).fit(*digits)
    assert int(classifier.model_.optimizer.iterations) == 20
    classifier.set_params(weight_decay=0.2).fit(*digits)
    assert int(classifier.model_.optimizer.iterations) == 10
    assert classifier.model_.optimizer.weight_decay == 0.2


def test_weight_decay_leaves_out_the_same_after_a_pickle(digits):
    classifier = quick(warm_start=True, weight_decay=0.1).fit(*digits)
    network = pickle.loads(pickle.dumps(classifier)).model_
    decayed = read_decayed(network.optimizer, network.trainable_variables)
    assert decayed == [True, False, True, False]
