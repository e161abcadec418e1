"""Learning rates that change from step to step, against formulas written by hand."""

import functools
import pickle

import keras
import numpy as np
import pytest
import tensorflow
from PIL import Image
from saved_models import saved_copy
from sklearn.base import clone
from small_classifiers import numbers_of, quickest, weights_of
from stopped_fits import StopsInBatch, fit_untrained

from skimgclf import ImageLoader
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._repairs import read_step
from skimgclf.models._training.rate_schedule import RateSchedule
from skimgclf.models._training.schedule import find_schedule


class NotesRates(keras.callbacks.Callback):
    """Notes the learning rate of each batch where every copy of it sees it."""

    rates = []  # noqa: RUF012 - shared on purpose

    def on_train_begin(self, logs=None):
        self.rates.append([])

    def on_train_batch_begin(self, batch, logs=None):
        self.rates[-1].append(float(self.model.optimizer.learning_rate))


@pytest.fixture
def rates():
    """List the learning rates of each training with the callback `NotesRates`."""
    NotesRates.rates.clear()
    return NotesRates.rates


quick = functools.partial(quickest, epochs=2)


def one_cycle(peak, n_steps):
    expected = []
    for step in range(n_steps):
        part = step / n_steps
        if part < 0.25:
            way = (1 - np.cos(np.pi * part / 0.25)) / 2
            expected.append(peak / 25 + (peak - peak / 25) * way)
        else:
            way = (1 - np.cos(np.pi * (part - 0.25) / 0.75)) / 2
            expected.append(peak + (peak / 1e5 - peak) * way)
    return expected


def cosine(peak, n_steps):
    return peak * np.cos(np.pi / 2 * np.arange(n_steps) / n_steps) ** 2


FORMULAS = {"one_cycle": one_cycle, "cosine": cosine}


def describe_schedule(classifier, *data, **given):
    """Return the configuration of the schedule that a training would begin with."""
    network, _ = fit_untrained(classifier, *data, **given)
    return network.optimizer.get_config()["learning_rate"]["config"]


@pytest.mark.parametrize("shape", FORMULAS)
def test_schedule_gives_the_rates_of_the_formula(shape):
    schedule = RateSchedule(shape, 0.02, n_steps=18)
    found = [float(schedule(step)) for step in range(18)]
    expected = FORMULAS[shape](0.02, 18)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_schedule_stays_at_its_last_rate_after_its_last_step():
    schedule = RateSchedule("one_cycle", 0.5, first_step=10, n_steps=4)
    found = [float(schedule(step)) for step in (9, 10, 11, 14, 99)]
    np.testing.assert_allclose(found, [0.02, 0.02, 0.5, 5e-6, 5e-6], rtol=1e-4)


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
def test_schedule_of_many_steps_keeps_its_rates_in_sixteen_bits(floatx):
    keras.config.set_floatx(floatx)
    try:
        schedule = RateSchedule("cosine", 0.02, first_step=7, n_steps=100_000)
        found = [float(schedule(step + 7)) for step in (1, 30_001, 99_000)]
        assert schedule.get_config()["n_steps"] == 100_000
    finally:
        keras.config.set_floatx("float32")
    expected = cosine(0.02, 100_000)
    expected = [expected[step] for step in (1, 30_001, 99_000)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "given", "n_steps"),
    [
        ({"early_stopping": True, "validation_fraction": 0.5}, {}, 10),
        # 99 samples are left: leaving out either alone leaves more.
        (
            {"class_weight": {str(n): 0 for n in range(5)}},
            {"sample_weight": np.arange(300) % 3},
            8,
        ),
    ],
    ids=["held out", "samples and classes of weight 0"],
)
def test_schedule_spans_the_steps_that_are_done(digits, parameters, given, n_steps):
    classifier = quick(learning_rate_schedule="cosine", **parameters)
    assert describe_schedule(classifier, *digits, **given)["n_steps"] == n_steps


def test_schedule_spans_the_steps_of_lazy_images(digits, tmp_path):
    X, y = digits
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for path, image in zip(paths, X, strict=False):
        Image.fromarray((image[..., 0] * 255).astype("uint8")).save(path)
    lazy = ImageLoader(image_size=(8, 8), lazy=True).fit_transform(paths)
    classifier = quick(learning_rate_schedule="cosine")
    assert describe_schedule(classifier, lazy, y[:40])["n_steps"] == 4


def test_schedule_spans_all_epochs_though_early_stopping_ends_before(digits, rates):
    X, y = digits
    stopping = quick(
        optimizer="adam",
        learning_rate=0.02,
        learning_rate_schedule="cosine",
        early_stopping=True,
        n_iter_no_change=1,
        epochs=50,
        callbacks=NotesRates,
    )
    # Wrong labels, so that the loss on them rises from the first epochs on.
    stopping.fit(X[:200], y[:200], X_val=X[200:], y_val=np.roll(y[:100], 1))
    assert 1 < stopping.n_iter_ < 50
    expected = cosine(0.02, 50 * 7)[: stopping.n_iter_ * 7]
    np.testing.assert_allclose(rates, [expected], rtol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "peak"),
    [
        ({"optimizer": "adam"}, 0.001),
        ({"optimizer": "sgd"}, 0.01),
        ({"optimizer": keras.optimizers.SGD}, 0.01),
        ({"optimizer": keras.optimizers.Adam(0.25)}, 0.25),
        ({"learning_rate": 2}, 2),
    ],
    ids=["default", "name", "class", "instance", "int"],
)
def test_schedule_peaks_at_the_rate_of_the_optimizer(digits, parameters, peak):
    classifier = quick(learning_rate_schedule="cosine", **parameters)
    config = describe_schedule(classifier, *digits)
    assert config["peak"] == pytest.approx(peak)
    assert config["n_steps"] == 20


# Slow, for `test_repair_read_step_lets_a_warm_start_begin_after_any_batch` would fail
# too if a warm start went on with the numbers of the first fit.
@pytest.mark.slow
def test_schedule_begins_anew_with_each_warm_start(digits, rates):
    classifier = quick(
        learning_rate_schedule="one_cycle", callbacks=NotesRates, warm_start=True
    )
    classifier.fit(*digits).set_params(epochs=1).fit(*digits)
    assert int(classifier.model_.optimizer.iterations) == 30
    np.testing.assert_allclose(rates[0], one_cycle(0.01, 20), rtol=1e-4)
    np.testing.assert_allclose(rates[1], one_cycle(0.01, 10), rtol=1e-4)


def wrapped(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)


@pytest.mark.parametrize(
    "wrap",
    [lambda optimizer: optimizer, pytest.param(wrapped, marks=pytest.mark.slow)],
    ids=["bare", "wrapped"],
)
def test_repair_read_step_lets_a_warm_start_begin_after_any_batch(digits, rates, wrap):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    classifier = quick(
        optimizer=wrap(optimizer),
        learning_rate_schedule="one_cycle",
        callbacks=NotesRates,
        warm_start=True,
    )
    # 20 batches are six updates and two batches more.
    classifier.fit(*digits).set_params(epochs=1).fit(*digits)
    np.testing.assert_allclose(rates[0], one_cycle(0.1, 20), rtol=1e-4)
    np.testing.assert_allclose(rates[1], one_cycle(0.1, 10), rtol=1e-4)


@pytest.mark.parametrize("n_batches", [None, 3])
def test_read_step_reads_within_a_strategy(n_batches):
    strategy = tensorflow.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        optimizer = keras.optimizers.SGD(gradient_accumulation_steps=n_batches)
        assert read_step(optimizer) == 0
        assert read_step(wrapped(optimizer)) == 0


def test_another_schedule_takes_a_new_optimizer_at_a_warm_start(digits, rates):
    classifier = quick(callbacks=NotesRates, warm_start=True).fit(*digits)
    classifier.set_params(learning_rate_schedule="cosine").fit(*digits)
    assert int(classifier.model_.optimizer.iterations) == 20
    classifier.set_params(learning_rate_schedule="constant").partial_fit(*digits)
    np.testing.assert_allclose(rates[1], cosine(0.01, 20), rtol=1e-5)
    np.testing.assert_allclose(rates[2], [0.01] * 10)


def test_schedule_gives_equal_fits_bit_for_bit(digits):
    classifier = quick(learning_rate_schedule="cosine")
    first, second = (weights_of(clone(classifier).fit(*digits)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, weights_of(quick().fit(*digits)))


@pytest.mark.slow
def test_schedule_trains_in_float64_and_mixed_precision(digits, rates):
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    try:
        for name in ("float64", "mixed_float16"):
            keras.config.set_dtype_policy(name)
            keras.config.set_floatx("float64" if name == "float64" else "float32")
            classifier = quick(
                optimizer="adam",
                learning_rate_schedule="cosine",
                weight_decay=0.1,
                callbacks=NotesRates,
                warm_start=True,
            ).fit(*digits)
            loaded = pickle.loads(pickle.dumps(classifier)).fit(*digits)
            np.testing.assert_array_equal(
                weights_of(loaded), weights_of(classifier.fit(*digits))
            )
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    assert len(rates) == 6
    np.testing.assert_allclose(rates, [cosine(0.001, 20)] * 6, rtol=1e-4)


# In fast tests, a saved copy has all numbers of the schedule, and goes on training
# without one.
@pytest.mark.slow
@pytest.mark.parametrize(
    "copied",
    [lambda classifier, folder: pickle.loads(pickle.dumps(classifier)), saved_copy],
    ids=["pickle", "save_model"],
)
@pytest.mark.parametrize(
    "optimizer", ["adam", keras.optimizers.SGD(0.1, momentum=0.9)], ids=["name", "own"]
)
def test_a_copy_with_a_schedule_goes_on_training(digits, tmp_path, copied, optimizer):
    classifier = quick(
        optimizer=optimizer,
        learning_rate_schedule="one_cycle",
        weight_decay=0.1 if optimizer == "adam" else None,
        warm_start=True,
    ).fit(*digits)
    loaded = copied(classifier, tmp_path)
    for value, expected in zip(numbers_of(loaded), numbers_of(classifier), strict=True):
        np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(
        weights_of(loaded.fit(*digits)), weights_of(classifier.fit(*digits))
    )
    assert int(loaded.model_.optimizer.iterations) == 40


def test_a_saved_model_holds_the_numbers_of_a_schedule_and_no_class(digits, tmp_path):
    classifier = quick(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        learning_rate_schedule="cosine",
        warm_start=True,
    ).fit(*digits)
    loaded = saved_copy(classifier, tmp_path)
    assert b"RateSchedule" not in (tmp_path / "saved").read_bytes()
    assert loaded.learning_rate_schedule == "cosine"
    assert find_schedule(loaded.model_.optimizer) is not None
    for value, expected in zip(numbers_of(loaded), numbers_of(classifier), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_network_that_keras_saves_keeps_its_schedule(digits, tmp_path):
    classifier = quick(learning_rate_schedule="cosine").fit(*digits)
    classifier.model_.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)
    assert loaded.optimizer.get_config()["learning_rate"]["config"] == {
        "shape": "cosine",
        "peak": float(np.float32(0.01)),
        "first_step": 0,
        "n_steps": 20,
    }


def test_an_interrupted_fit_leaves_the_numbers_of_the_schedule(digits):
    classifier = quick(
        optimizer="adam", learning_rate_schedule="cosine", warm_start=True
    ).fit(*digits)
    before = numbers_of(classifier)
    classifier.set_params(callbacks=StopsInBatch, epochs=7)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*digits)
    for value, expected in zip(numbers_of(classifier), before, strict=True):
        np.testing.assert_array_equal(value, expected)


DECAY = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
# Older versions of Keras have none.
SEVERAL = hasattr(keras.optimizers, "MultiOptimizer") and (
    keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD())
    )
)


@pytest.mark.parametrize(
    "parameters",
    [
        {"learning_rate": DECAY},
        {"optimizer": keras.optimizers.SGD(DECAY)},
        {"optimizer": keras.optimizers.SGD(lambda: 0.1)},
        {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(DECAY))},
        pytest.param(
            {"optimizer": SEVERAL},
            marks=pytest.mark.skipif(not SEVERAL, reason="Keras is older"),
        ),
    ],
    ids=["learning rate", "instance", "function", "wrapped", "several"],
)
def test_a_schedule_of_a_rate_that_is_no_number_is_refused(digits, parameters):
    classifier = quick(learning_rate_schedule="cosine", **parameters)
    match = "'learning_rate_schedule'.* must be 'constant' with .*Got 'cosine'"
    with pytest.raises(InvalidParameterError, match=match):
        classifier.fit(*digits)


def test_partial_fit_refuses_a_schedule(digits):
    classifier = quick(learning_rate_schedule="one_cycle")
    match = "'learning_rate_schedule'.* must be 'constant' in partial_fit"
    with pytest.raises(InvalidParameterError, match=match):
        classifier.partial_fit(*digits, classes=np.unique(digits[1]))


@pytest.mark.parametrize(
    "callbacks",
    [
        keras.callbacks.ReduceLROnPlateau,
        [NotesRates(), keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)],
    ],
    ids=["class", "list"],
)
def test_a_schedule_is_refused_beside_callbacks_that_set_the_rate(digits, callbacks):
    classifier = quick(learning_rate_schedule="cosine", callbacks=callbacks)
    match = "'learning_rate_schedule'.* must be 'constant' with callbacks"
    with pytest.raises(InvalidParameterError, match=match):
        classifier.fit(*digits)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"learning_rate": DECAY}, "'learning_rate'.* must be a number or None"),
        ({"optimizer": keras.optimizers.SGD(DECAY)}, "'optimizer'.* must be one with"),
        ({"optimizer": keras.optimizers.SGD(lambda: 0.1)}, "'optimizer'.* must be one"),
    ],
    ids=["learning rate", "instance", "function"],
)
def test_callbacks_that_set_the_rate_are_refused_beside_one_that_changes(
    digits, parameters, words
):
    classifier = quick(**parameters, callbacks=keras.callbacks.ReduceLROnPlateau)
    with pytest.raises(InvalidParameterError, match=f"{words}.*, since callbacks "):
        classifier.fit(*digits)
