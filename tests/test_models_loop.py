"""Batches that are joined for one call of a program."""

import functools
import platform
import textwrap

import keras
import numpy as np
import pytest
from sklearn.base import clone
from small_classifiers import quickest

from skimgclf.models._networks import layers
from skimgclf.models._networks.architectures import build_network
from skimgclf.models._training import loop
from skimgclf.models._training.batches import Batches, Samples

quick = functools.partial(quickest, epochs=2, learning_rate=0.1)


def make_batches(shape, batch_size=32, n_samples=500):
    X = np.zeros((n_samples, *shape), "float32")
    samples = Samples(X, np.zeros(n_samples, int), None)
    return Batches(samples, batch_size=batch_size)


def make_network(shape, **layers):
    network = keras.Sequential(
        [keras.Input(shape), *layers.values(), keras.layers.Dense(2)]
    )
    network.compile("sgd", "sparse_categorical_crossentropy")
    return network


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((784,), 41),  # 4 MiB of 32 rows
        ((8,), 64),
        ((3000,), 10),
        ((10**6,), 1),
    ],
)
def test_batches_are_joined_up_to_some_megabytes(shape, expected):
    network = make_network(shape)
    assert loop.count_joined(network, make_batches(shape)) == expected


@pytest.mark.parametrize("shape", [(784,), (8,)])
def test_the_larger_batches_of_training_and_validation_count(shape):
    network = make_network(shape)
    few, many = make_batches(shape, 500, n_samples=20), make_batches(shape, 500)
    expected = loop.count_joined(network, many)
    assert loop.count_joined(network, few, many) == expected
    assert loop.count_joined(network, many, few) == expected
    assert loop.count_joined(network, many, None) == expected


def test_no_call_takes_more_than_some_megabytes_of_validation_data(digits, monkeypatch):
    X, y = digits
    X_val, y_val = np.repeat(X, 60, axis=0), np.repeat(y, 60)
    assert X_val.nbytes > loop._N_BYTES
    read, sizes = Batches.read, []

    def read_and_note(*given):
        batch = read(*given)
        sizes.append(batch[0].nbytes)
        return batch

    monkeypatch.setattr(Batches, "read", read_and_note)
    quick(batch_size=500, epochs=1).fit(X[:20], y[:20], X_val=X_val, y_val=y_val)
    assert max(sizes) <= loop._N_BYTES


def test_costly_networks_join_fewer_batches():
    shape = (16, 16, 3)
    costly = keras.layers.Conv2D(200, 5, padding="same")
    one = costly.compute_output_shape((None, *shape))
    network = make_network(shape, first=costly, pool=keras.layers.Flatten())
    products = 16 * 16 * 200 * (5 * 5 * 3 + 1) + 2 * (one[1] * one[2] * one[3] + 1)
    assert layers.count_multiplications(network) == products
    assert loop.count_joined(network, make_batches(shape)) == 7
    assert loop.count_joined(network, make_batches(shape, 500)) == 1


def test_layers_in_layers_count():
    shape = (8, 8, 1)
    inner = keras.Sequential([keras.Input(shape), keras.layers.Conv2D(2, 3)])
    network = make_network(shape, inner=inner, pool=keras.layers.Flatten())
    assert layers.count_multiplications(network) == 20 * 36 + 2 * (72 + 1)


def test_sides_that_a_network_leaves_open_are_those_of_the_samples():
    inner = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 3)])
    pool = keras.layers.GlobalAveragePooling2D()
    network = make_network((9, 8, 1), inner=inner, pool=pool)
    assert layers.count_multiplications(network) == 20 * 9 * 9 + 2 * (2 + 1)


class MeanAndMaximum(keras.layers.Layer):
    def call(self, x):
        return keras.ops.mean(x, axis=(1, 2)), keras.ops.max(x, axis=(1, 2))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(self.pool(x))


def use_odd_parts(image_shape):
    """Join layers of two outputs and of two uses, operations and a subclass."""
    inputs = keras.Input(image_shape)
    square = keras.layers.Dense(1)
    x = keras.ops.negative(square(square(inputs)))
    joined = [*MeanAndMaximum()(x), Subclassed()(x)]
    return keras.Model(inputs, keras.layers.Concatenate()(joined))


def test_networks_of_odd_parts_are_trained_and_predict(digits):
    X, y = digits
    classifier = quick(architecture=use_odd_parts, epochs=1).fit(X, y)
    assert classifier.predict_proba(X[:3]).shape == (3, 10)


def test_callbacks_see_the_true_number_of_batches(digits):
    class Counts(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            counted.append(self.params["steps"])

    counted = []
    quick(batch_size=7, epochs=1, callbacks=[Counts()]).fit(*digits)
    assert counted == [43]


def test_repair_restore_function_lets_keras_train_afterwards(digits):
    X, y = digits
    codes = np.unique(y, return_inverse=True)[1]
    # The network of a function has been trained itself, by no stand-in.
    classifier = quick(architecture=flat).fit(X, y, X_val=X[:50], y_val=y[:50])
    network = classifier.model_
    loss, accuracy = network.evaluate(X, codes, verbose=0)
    assert accuracy == pytest.approx(classifier.score(X, y))
    history = network.fit(X, codes, epochs=2, verbose=0).history
    assert history["loss"][-1] < loss


class Evaluates(keras.callbacks.Callback):
    """Evaluates other data than those of the fit, and notes how wrong the loss is."""

    def __init__(self, X, codes):
        super().__init__()
        self.X, self.codes = X, codes

    def on_epoch_end(self, epoch, logs=None):
        found = [
            self.model.evaluate(self.X, self.codes, batch_size=9, verbose=0)[0],
            self.model.test_on_batch(self.X, self.codes)[0],
        ]
        probabilities = np.asarray(self.model(self.X))
        expected = -np.log(probabilities[range(len(self.X)), self.codes]).mean()
        logs["error"] = np.abs(np.array(found) - expected).max()


@pytest.mark.parametrize("n_validated", [0, 130])
def test_callbacks_may_evaluate_other_data_in_a_fit(digits, n_validated):
    X, y = digits
    codes = np.unique(y, return_inverse=True)[1]
    given = {"X_val": X[:n_validated], "y_val": y[:n_validated]} if n_validated else {}
    plain = quick(architecture=flat, batch_size=7).fit(X, y, **given)
    evaluates = Evaluates(X[200:], codes[200:])
    classifier = clone(plain).set_params(callbacks=evaluates).fit(X, y, **given)
    assert max(classifier.history_.pop("error")) < 1e-6
    assert classifier.history_ == plain.history_
    classifier.model_.evaluate(X, codes, verbose=0)  # would warn of too few batches


class StopsEvaluation(keras.callbacks.Callback):
    """Ends each evaluation after its second batch."""

    def on_test_batch_end(self, batch, logs=None):
        self.model.stop_evaluating = batch == 1


def test_an_evaluation_that_is_cut_short_begins_anew(digits):
    X, y = digits
    cut, short = (
        quick(batch_size=7, callbacks=callbacks).fit(X, y, X_val=X[:n], y_val=y[:n])
        for n, callbacks in [(70, StopsEvaluation), (14, None)]
    )
    assert cut.history_ == short.history_


@pytest.mark.slow
def test_a_compiled_step_gives_the_same_numbers(digits, monkeypatch):
    """As on a GPU, where Keras compiles the step: but for rounding."""
    X, y = digits
    plain = quick(architecture=flat).fit(X, y)
    compile_plainly = keras.Model.compile

    def compile_by_xla(network, *given, **named):
        compile_plainly(network, *given, **named, jit_compile=True)

    monkeypatch.setattr(keras.Model, "compile", compile_by_xla)
    other, again = [quick(architecture=flat).fit(X, y) for _ in range(2)]
    assert other.model_.jit_compile
    assert again.model_.jit_compile
    assert not plain.model_.jit_compile
    assert other.history_["loss"][1] < other.history_["loss"][0]
    assert other.history_ == again.history_
    for name, values in plain.history_.items():
        np.testing.assert_allclose(other.history_[name], values, rtol=1e-4)
    for mine, same, expected in zip(
        other.model_.get_weights(),
        again.model_.get_weights(),
        plain.model_.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, same)
        np.testing.assert_allclose(mine, expected, atol=1e-5)


def flat(image_shape):
    inputs = keras.Input(image_shape)
    return keras.Model(inputs, keras.layers.Flatten()(inputs))


def test_repair_replace_function_tells_where_the_name_is_gone(digits, monkeypatch):
    network = build_network("dense", (8, 8, 1), 10, {})
    with pytest.raises(RuntimeError, match=r"has no 'other_function'"):
        loop.replace_function(network, "other", None)


def test_repair_replace_function_is_needed_for_any_fit(digits, monkeypatch):
    quick(architecture=flat, epochs=1).fit(*digits)
    monkeypatch.setattr(loop, "replace_function", lambda *_: None)
    with pytest.raises(ValueError, match="Invalid input shape"):
        quick(architecture=flat).fit(*digits)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_repair_keep_freed_memory_spares_clearing_it_again(run_python):
    code = """
        import resource
        import numpy as np
        from skimgclf.models._repairs import keep_freed_memory

        def count_cleared_pages():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                blocks = [np.ones(2**20, np.uint8) for _ in range(8)]
                del blocks
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        count_cleared_pages()
        before = count_cleared_pages()
        keep_freed_memory()
        count_cleared_pages()
        print(before, count_cleared_pages())
    """
    before, after = map(int, run_python(textwrap.dedent(code)).split())
    assert before > 10_000
    assert after < before / 10
