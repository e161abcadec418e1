"""What optimizers of the user hold, in fits, copies and pickles."""

import copy
import dataclasses
import functools
import pickle
import threading

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from small_classifiers import quickest, weights_of

from skimgclf import load_model, save_model
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._repairs import read_decayed
from skimgclf.models._training.loss import SOFT_LOSS
from skimgclf.models._training.optimizer import OptimizerSettings, compile_network
from skimgclf.models._training.optimizer_copy import copy_optimizer

# One layer, since most programs here are traced anew, and one batch an epoch, which
# needs no order of samples in bare Keras.
quick = functools.partial(quickest, optimizer="adam", epochs=2, batch_size=300)


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras doesn't know, and that has no configuration."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate / (1 + keras.ops.cast(step, "float32"))


class DescribedSchedule(OwnSchedule):
    """A schedule that Keras doesn't know, with a configuration."""

    def get_config(self):
        return {"rate": self.rate}


class OwnSGD(keras.optimizers.SGD):
    """An optimizer whose configuration lacks its arguments."""

    def __init__(self, scale, learning_rate=0.1, **given):
        super().__init__(learning_rate, **given)
        self.scales = {"of": [scale]}

    def update_step(self, gradient, variable, learning_rate):
        scale = self.scales["of"][0]
        super().update_step(gradient * scale, variable, learning_rate)


class CountingSGD(keras.optimizers.SGD):
    """An optimizer with a variable from the beginning, and an argument by default."""

    def __init__(self, learning_rate=0.1, factor=1.0, **given):
        super().__init__(learning_rate, **given)
        self.factor = factor
        self.n_updates = self.add_variable((), name="n_updates")

    def update_step(self, gradient, variable, learning_rate):
        self.n_updates.assign_add(1)
        super().update_step(gradient * self.factor, variable, learning_rate)


def decays_kernels_only():
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


INSTANCES = {
    "exclude": decays_kernels_only,
    "schedule": lambda: keras.optimizers.SGD(OwnSchedule(0.3), momentum=0.5),
    "described": lambda: keras.optimizers.SGD(DescribedSchedule(0.3)),
    "arguments": lambda: OwnSGD(3.0, 0.05),
    "variable": lambda: CountingSGD(factor=3.0),
    "variable and schedule": lambda: CountingSGD(
        OwnSchedule(0.3), factor=3.0, momentum=0.5
    ),
    "wrapped": lambda: keras.optimizers.LossScaleOptimizer(
        decays_kernels_only(), initial_scale=64.0
    ),
    "muon": lambda: keras.optimizers.Muon(0.01, exclude_layers=["nothing"]),
    "wrapped own": lambda: keras.optimizers.LossScaleOptimizer(OwnSGD(3.0)),
}
FAST = {"exclude", "arguments", "variable and schedule"}
BY_INSTANCE = pytest.mark.parametrize(
    "trained",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in INSTANCES
    ],
    indirect=True,
)


@dataclasses.dataclass
class Trained:
    """What came of an instance, so that one traced program serves several tests."""

    make: object
    first: np.ndarray  # weights after the first fit
    second: np.ndarray  # after a second one from there
    pickled: bytes  # the classifier between both
    is_built: bool


@pytest.fixture(scope="module")
def trained(request, digits):
    make = INSTANCES[request.param]
    classifier = quick(optimizer=make(), warm_start=True).fit(*digits)
    first, pickled = weights_of(classifier), pickle.dumps(classifier)
    second = weights_of(classifier.fit(*digits))
    return Trained(make, first, second, pickled, classifier.optimizer.built)


def fit_bare(make, X, y):
    """Train the network of a classifier for two batches in bare Keras."""
    network = quick(optimizer="sgd", learning_rate=1e-30).fit(X, y).model_
    network.compile(make(), "sparse_categorical_crossentropy")
    for _ in range(2):
        network.train_on_batch(X, np.unique(y, return_inverse=True)[1])
    return network


@BY_INSTANCE
def test_an_instance_trains_as_in_bare_keras(digits, trained):
    expected = fit_bare(trained.make, *digits).get_weights()
    expected = np.concatenate([weights.ravel() for weights in expected])
    np.testing.assert_allclose(trained.first, expected, rtol=1e-4, atol=1e-5)
    assert not trained.is_built


@BY_INSTANCE
def test_an_instance_is_kept_by_clones_pickles_and_copies(digits, trained):
    # A copy of a copy, so that one fit tells of them all.
    copied = clone(quick(optimizer=trained.make()))
    copied = clone(make_pipeline(copied))[-1]
    copied = pickle.loads(pickle.dumps(copied))
    copied = copy.copy(copy.deepcopy(copied))
    np.testing.assert_array_equal(weights_of(copied.fit(*digits)), trained.first)


@BY_INSTANCE
def test_an_instance_goes_on_after_a_pickle(digits, trained):
    loaded = pickle.loads(trained.pickled).fit(*digits)
    np.testing.assert_array_equal(weights_of(loaded), trained.second)
    assert loaded.model_.optimizer.iterations.numpy() == 4


def test_an_instance_keeps_its_numbers_when_the_loss_changes():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    settings = OptimizerSettings(optimizer, None, "constant", None)
    compile_network(network, optimizer, settings)
    before = list(optimizer.variables)
    compile_network(network, optimizer, settings, loss=SOFT_LOSS)
    assert [id(each) for each in optimizer.variables] == [id(each) for each in before]


@pytest.mark.slow
def test_an_instance_serves_the_fits_of_a_search(digits):
    search = GridSearchCV(
        quick(optimizer=OwnSGD(3.0)),
        {"hidden_layer_sizes": [(), (6,)]},
        cv=2,
        error_score="raise",
    ).fit(*digits)
    assert search.best_estimator_.model_.optimizer.scales == {"of": [3.0]}


def test_an_instance_that_is_built_is_copied_without_its_state(digits):
    optimizer = decays_kernels_only()
    first = quick(optimizer=optimizer).fit(*digits)
    network = keras.models.clone_model(first.model_)
    optimizer.build(network.trainable_variables)
    np.testing.assert_array_equal(
        weights_of(quick(optimizer=optimizer).fit(*digits)), weights_of(first)
    )


def test_copy_optimizer_shares_only_values_that_can_not_be_copied():
    optimizer = OwnSGD(3.0)
    optimizer.lock = threading.Lock()
    copied = copy_optimizer(optimizer)
    assert copied.lock is optimizer.lock
    copied.scales["of"][0] = 1
    assert optimizer.scales == {"of": [3.0]}


def test_copy_optimizer_takes_another_rate_where_the_configuration_has_none():
    class Fast(keras.optimizers.SGD):
        def __init__(self, speed):
            super().__init__(speed)

        def get_config(self):
            return {"speed": 1.0}

    assert float(copy_optimizer(Fast(0.5)).learning_rate) == 0.5
    assert float(copy_optimizer(Fast(0.5), 0.25).learning_rate) == 0.25


def choose_optimizer(variable):
    return keras.optimizers.SGD()


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras is older"
)
def test_copy_optimizer_names_the_error_of_an_optimizer_of_several():
    with pytest.raises(TypeError, match="choose_optimizer"):
        copy_optimizer(keras.optimizers.MultiOptimizer(choose_optimizer))


@pytest.mark.parametrize(
    "name", ["exclude", pytest.param("wrapped", marks=pytest.mark.slow)]
)
def test_a_saved_model_keeps_names_without_weight_decay(digits, tmp_path, name):
    classifier = quick(optimizer=INSTANCES[name]()).fit(*digits)
    save_model(classifier, tmp_path / "saved", include_optimizer=True)
    loaded = load_model(tmp_path / "saved")
    np.testing.assert_array_equal(
        weights_of(loaded.partial_fit(*digits)),
        weights_of(classifier.partial_fit(*digits)),
    )
    np.testing.assert_array_equal(
        weights_of(loaded.set_params(warm_start=False).fit(*digits)),
        weights_of(quick(optimizer=INSTANCES[name]()).fit(*digits)),
    )


@pytest.fixture(scope="module")
def plain_fit(digits):
    """Careful: shared by the module; set the parameters of a copy only."""
    return quick(optimizer="sgd").fit(*digits)


@pytest.mark.parametrize("name", ["schedule", "described", "arguments"])
def test_a_saved_model_refuses_code_by_name(tmp_path, plain_fit, name):
    classifier = copy.copy(plain_fit).set_params(optimizer=INSTANCES[name]())
    with pytest.raises(InvalidParameterError, match=r"'optimizer'.*Keras' own"):
        save_model(classifier, tmp_path / "saved")


def test_a_saved_model_refuses_patterns_by_name(tmp_path, plain_fit):
    optimizer = keras.optimizers.SGD(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["(b+)+$"])
    classifier = copy.copy(plain_fit).set_params(optimizer=optimizer)
    with pytest.raises(InvalidParameterError, match=r"'optimizer'.*Keras' own"):
        save_model(classifier, tmp_path / "saved")


def test_a_pickle_forgets_variables_that_exist_in_this_process_only():
    variable = keras.Variable(1.0, name="kernel")
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_list=[variable])
    loaded = pickle.loads(pickle.dumps(quick(optimizer=optimizer))).optimizer
    assert read_decayed(copy_optimizer(optimizer), [variable]) == [False]
    assert read_decayed(loaded, [variable]) == [True]
