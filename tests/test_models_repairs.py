"""What is repaired of Keras, TensorFlow and scikeras: red where a repair is off."""

import itertools
import pickle
import random
import threading

import keras
import numpy as np
import pytest
import tensorflow
from scikeras.wrappers import KerasClassifier
from small_classifiers import quickest, weights_of

from skimgclf.models import _repairs
from skimgclf.models._training import optimizer, shared_programs


def features(image_shape):
    """Build a network of a callable, which never shares its traced program."""
    inputs = keras.Input(image_shape)
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(6, activation="relu")(flat))


@pytest.fixture
def colours(digits):
    X, y = digits
    return np.repeat(X[:60], 3, axis=-1), y[:60]


def aug_mix():
    return [keras.layers.AugMix(value_range=(0, 1))]


DROPOUT = {"hidden_layer_sizes": (4,), "dropout": 0.2}

AUGMENTATIONS = pytest.mark.parametrize(
    "augmentation",
    [None, pytest.param(aug_mix(), marks=pytest.mark.slow)],
    ids=["none", "AugMix"],
)


@AUGMENTATIONS
def test_repair_own_draws_leaves_the_draws_of_other_threads_alone(
    colours, augmentation
):
    random.seed(3)
    expected, drawn = random.Random(3), []
    stop = threading.Event()

    def draw():
        while not stop.wait(0.0005):
            drawn.append(random.random())

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        fitted = quickest(**DROPOUT, augmentation=augmentation).fit(*colours)
    finally:
        stop.set()
        thread.join()
    assert drawn == [expected.random() for _ in drawn]
    alone = quickest(**DROPOUT, augmentation=augmentation).fit(*colours)
    np.testing.assert_array_equal(weights_of(fitted), weights_of(alone))


@AUGMENTATIONS
def test_repair_own_draws_leaves_pythons_generator_alone(colours, augmentation):
    classifier = quickest(**DROPOUT, augmentation=augmentation)
    before = random.getstate()
    classifier.fit(*colours)
    assert random.getstate() == before


@pytest.mark.slow
def test_repair_own_draws_decides_the_weights(digits):
    fits = [weights_of(quickest(random_state=seed).fit(*digits)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_repair_own_draws_refuses_a_keras_that_draws_elsewhere(monkeypatch):
    generator = np.random.default_rng(0)
    monkeypatch.setattr(
        "keras.src.random.seed_generator.make_default_seed",
        lambda: int(generator.integers(10**9)),
    )
    _repairs._refuse_other_draws.cache_clear()
    with (
        pytest.raises(RuntimeError, match=rf"{keras.__version__}.*own_draws"),
        _repairs.own_draws(0),
    ):
        pass


@pytest.mark.slow
def test_repair_layers_that_draw_while_traced_share_no_program(colours):
    layers = aug_mix()  # once, since a layer's automatic name is part of a program
    alone = quickest(augmentation=layers).fit(*colours)
    shared_programs._stand_ins.clear()
    quickest(augmentation=layers, random_state=1).fit(*colours)
    second = quickest(augmentation=layers).fit(*colours)
    np.testing.assert_array_equal(weights_of(second), weights_of(alone))


def count_graphs():
    from tensorflow.python.framework import ops

    return len(ops.gradient_registry.list())


def test_repair_leave_out_all_reduce_leaves_no_graphs(digits):
    before = count_graphs()
    quickest(architecture=features).fit(*digits)
    assert count_graphs() == before


@pytest.mark.slow
def test_repair_leave_out_all_reduce_changes_no_weight(digits, monkeypatch):
    counts, fits = [count_graphs()], []
    for repair in (optimizer.leave_out_all_reduce, lambda optimizer: None):
        monkeypatch.setattr(optimizer, "leave_out_all_reduce", repair)
        fits.append(weights_of(quickest(architecture=features).fit(*digits)))
        counts.append(count_graphs())
    assert counts[0] == counts[1] < counts[2]
    np.testing.assert_array_equal(fits[0], fits[1])


def test_repair_leave_out_all_reduce_reaches_a_wrapped_optimizer():
    inner = keras.optimizers.Adam()
    _repairs.leave_out_all_reduce(keras.optimizers.LossScaleOptimizer(inner))
    pairs = [(1.0, None)]
    assert inner._all_reduce_sum_gradients(pairs) is pairs


def test_repair_leave_out_all_reduce_warns_where_the_name_is_gone(monkeypatch):
    base = next(
        base
        for base in keras.optimizers.Optimizer.__mro__
        if "_all_reduce_sum_gradients" in vars(base)
    )
    monkeypatch.delattr(base, "_all_reduce_sum_gradients")
    adam = keras.optimizers.Adam()
    words = rf"Keras {keras.__version__} .*leave_out_all_reduce"
    with pytest.warns(RuntimeWarning, match=words):
        _repairs.leave_out_all_reduce(adam)
    assert not hasattr(adam, "_all_reduce_sum_gradients")


@pytest.fixture
def cleared(monkeypatch):
    """List the calls that clear TensorFlow's kernels; count the rare ones from 1."""
    from tensorflow.python.eager import context

    monkeypatch.setattr(_repairs, "_rare_calls", itertools.count(1))
    calls = []
    clear = context.Context.clear_kernel_cache

    def count(self):
        calls.append(self)
        clear(self)

    monkeypatch.setattr(context.Context, "clear_kernel_cache", count)
    return calls


def test_repair_forget_kernels_clears_them_after_loads(digits, cleared):
    content = pickle.dumps(quickest(architecture=features).fit(*digits))
    cleared.clear()
    for _ in range(8):
        pickle.loads(content).predict(digits[0][:1])
    assert len(cleared) == 1


@pytest.mark.slow
def test_repair_forget_kernels_clears_them_after_fits(digits, cleared):
    quickest(architecture=features).fit(*digits)
    assert len(cleared) == 1
    quickest(warm_start=True).fit(*digits).fit(*digits)
    cleared.clear()
    for _ in range(8):
        quickest().fit(*digits)
    assert len(cleared) == 1


def test_repair_forget_kernels_warns_where_the_name_is_gone(monkeypatch):
    from tensorflow.python.eager import context

    monkeypatch.delattr(context.Context, "clear_kernel_cache")
    words = rf"TensorFlow {tensorflow.__version__} .*forget_kernels"
    with pytest.warns(RuntimeWarning, match=words):
        _repairs.forget_kernels()


class Unregistered(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras can't find by its name."""

    def __call__(self, step):
        return 0.25


def test_repair_read_rate_gives_a_schedule_itself():
    schedule = Unregistered()
    for given in (keras.optimizers.SGD(schedule), keras.optimizers.Adam(schedule)):
        assert _repairs.read_rate(given) is schedule
        wrapped = keras.optimizers.LossScaleOptimizer(given)
        assert _repairs.read_rate(wrapped) is schedule
    assert _repairs.read_rate(keras.optimizers.SGD(0.5)) == 0.5


def test_repair_read_step_counts_batches_where_the_name_is_gone():
    class Renamed:
        iterations = keras.Variable(6)
        gradient_accumulation_steps = 3

    assert _repairs.read_step(Renamed()) == 18


def test_repair_read_decayed_tells_what_weight_decay_reaches():
    variables = [keras.Variable(1.0, name="kernel"), keras.Variable(1.0, name="bias")]
    adam = keras.optimizers.AdamW()
    adam.exclude_from_weight_decay(var_names=["bias"])
    assert _repairs.read_decayed(adam, variables) == [True, False]
    assert _repairs.read_decayed(keras.optimizers.SGD(), variables) == []


def test_repair_read_excluded_names_gives_them_as_one_pattern():
    adam = keras.optimizers.AdamW()
    assert _repairs.read_excluded_names(adam) is None
    adam.exclude_from_weight_decay(var_names=["bias"])
    assert _repairs.read_excluded_names(adam) == "bias"
    wrapped = keras.optimizers.LossScaleOptimizer(adam)
    assert _repairs.read_excluded_names(wrapped) == "bias"


def test_repair_refuse_renamed_names_a_method_that_is_gone():
    with pytest.raises(ImportError, match=r"KerasClassifier lacks '_gone'"):
        _repairs.refuse_renamed(KerasClassifier, ["_validate_data", "_gone"])


def test_repair_quiet_about_input_shape_drops_the_warning(monkeypatch):
    def stop(*arguments):
        raise ArithmeticError("stopped")

    # Keras warns before it builds the first layers.
    module = "keras.src.applications.mobilenet_v2"
    monkeypatch.setattr(f"{module}._make_divisible", stop)

    def build():
        with pytest.raises(ArithmeticError, match="stopped"):
            keras.applications.MobileNetV2(include_top=False, input_shape=(40, 40, 3))

    with pytest.warns(UserWarning, match="`input_shape` is undefined"):
        build()
    with _repairs.quiet_about_input_shape():
        build()


def test_repair_parse_failed_download_reads_the_text_of_keras(tmp_path):
    with pytest.raises(Exception, match="URL fetch failure") as raised:
        keras.utils.get_file("x.h5", "http://127.0.0.1:9/x.h5", cache_dir=tmp_path)
    file_name, cause = _repairs.parse_failed_download(str(raised.value))
    assert file_name == "x.h5"
    assert "refused" in cause
    assert _repairs.parse_failed_download("no space left") is None
