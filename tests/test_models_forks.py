"""Processes that are forked after TensorFlow was used: no fit or prediction hangs."""

import os
import pickle
import select
import signal

import keras
import numpy as np
import pytest
from sklearn.base import clone
from small_classifiers import quickest

from skimgclf import ImageEmbedder
from skimgclf.models import _fork_guard

FORKED = """
import multiprocessing, sys
import keras
import numpy as np
from sklearn.base import clone
from skimgclf import ImageEmbedder, KerasImageClassifier

X, y = np.eye(20), np.repeat([0, 1], 10)
fitted = KerasImageClassifier(activation="mish", epochs=1).fit(X, y)  # by TensorFlow

def use(action, queue):
    try:
        fitted.predict(X) if action == "predict" else fitted.fit(X, y)
    except RuntimeError as error:
        queue.put(str(error))

context = multiprocessing.get_context("fork")
for action in ("predict", "fit"):
    queue = context.Queue()
    process = context.Process(target=use, args=(action, queue), daemon=True)
    process.start()
    print(queue.get(timeout=30))
    process.join()

images = np.zeros((2, 8, 8, 3))
inputs = keras.Input(images.shape[1:])
network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
embedder = ImageEmbedder(network).fit(images)
instance = KerasImageClassifier(
    epochs=1, warm_start=True, optimizer=keras.optimizers.SGD(0.1)
).fit(X, y)

small = X.reshape(20, 4, 5, 1)
flipped = KerasImageClassifier(
    epochs=1, augmentation=[keras.layers.RandomFlip("horizontal")]
).fit(small, y)
scheduled = KerasImageClassifier(
    epochs=1,
    learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5),
    callbacks=[keras.callbacks.EarlyStopping("loss")],
)

def fit_small(model):
    return model.fit(small, y)

def predict_small(model):
    return model.predict(small)

def predict(model):
    return model.predict(X)

def fit(model):
    return model.fit(X, y)

def transform(model):
    return model.transform(images)

def give_back(model):
    return model

with context.Pool(2) as pool:
    for function, model in [
        (predict, fitted), (fit, instance), (fit, clone(instance)),
        (transform, embedder), (fit_small, flipped), (predict_small, flipped),
        (fit, scheduled), (fit, clone(scheduled)),
    ]:
        try:
            pool.apply_async(function, [model]).get(timeout=30)
        except RuntimeError as error:
            print("task:", error)
    for model in (fitted, instance, embedder, flipped):
        back = pool.apply_async(give_back, [model]).get(timeout=30)
        if model is embedder:
            print("back:", np.array_equal(back.transform(images), transform(model)))
        elif model is flipped:
            print("back:", np.array_equal(back.predict(small), predict_small(model)))
        else:
            print("back:", np.array_equal(back.predict(X), predict(model)))
    dense = KerasImageClassifier(epochs=1).fit(X, y)  # predicts by NumPy
    found = pool.apply_async(predict, [dense]).get(timeout=30)
    print("dense:", np.array_equal(found, predict(dense)))
    back = pool.apply_async(give_back, [dense]).get(timeout=30)
    print("dense:", np.array_equal(back.predict(X), predict(dense)))
"""


@pytest.fixture(scope="module")
def printed_with_forks(run_python):
    if not hasattr(os, "fork"):
        pytest.skip("Windows has no forks")
    # Python itself warns of forks in processes that have threads, as TensorFlow's has.
    return run_python(FORKED, PYTHONWARNINGS="ignore::DeprecationWarning")


@pytest.mark.slow
def test_forked_process_gets_an_error_from_predict_and_fit(printed_with_forks):
    refusals = printed_with_forks.splitlines()[:2]
    assert all("forked from one that had used TensorFlow" in line for line in refusals)


@pytest.mark.slow
def test_forked_pool_gets_the_error_of_a_model_it_can_not_use(printed_with_forks):
    """A worker that fails while it unpickles a task would let the pool wait for it."""
    lines = printed_with_forks.splitlines()[2:-2]
    assert [line.partition(":")[0] for line in lines] == ["task"] * 8 + ["back"] * 4
    assert all("forked from one that had used TensorFlow" in line for line in lines[:8])
    assert lines[8:] == ["back: True"] * 4


@pytest.mark.slow
def test_forked_pool_predicts_with_a_model_that_numpy_computes(printed_with_forks):
    assert printed_with_forks.splitlines()[-2:] == ["dense: True"] * 2


def call_in_fork(function):
    """Return the text of the error of a call in a forked process."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:
            function()
        except BaseException as error:
            os.write(writer, str(error).encode())
        finally:  # without what pytest does at the end of a process
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        is_answered, _, _ = select.select([file], [], [], 30)
        if not is_answered:
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return file.read() if is_answered else "no answer"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no forks")
# Python itself warns of forks in processes that have threads, as TensorFlow's has.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_repair_fork_guard_refuses_a_forked_process(digits):
    fitted = quickest(warm_start=True).fit(*digits)
    error = call_in_fork(lambda: fitted.fit(*digits))
    assert "forked from one that had used TensorFlow" in error


def test_models_unpickled_after_a_fork_fail_when_used_and_come_back_whole(
    digits, monkeypatch
):
    """As in a pool of processes, though without one: it is told that it was forked."""
    X, y = digits
    images = np.ones((2, 4, 4, 3), dtype="float32")
    inputs = keras.Input(images.shape[1:])
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    # Its predictions are computed by TensorFlow, those of others by NumPy.
    mish = quickest(activation="mish", hidden_layer_sizes=(2,))
    instance = quickest(optimizer=keras.optimizers.SGD(0.1), warm_start=True)
    models = {
        "mish": mish.fit(X, y),
        "embedder": ImageEmbedder(network).fit(images),
        "instance": instance.fit(X, y),
        "unfitted": clone(instance),
    }

    def use(name, model):
        if name == "embedder":
            return model.transform(images)
        return model.predict_proba(X) if name == "mish" else model.fit(X, y)

    dense = pickle.dumps(quickest().fit(X, y))
    expected = pickle.loads(dense).predict_proba(X)
    contents = {name: pickle.dumps(model) for name, model in models.items()}
    monkeypatch.setattr(_fork_guard._process, "is_forked_from_user", True)
    for name, content in contents.items():
        task = pickle.loads(content)
        assert "_postponed" in vars(task), name
        with pytest.raises(RuntimeError, match="forked from one that had used Tensor"):
            use(name, task)
        contents[name] = pickle.dumps(task)
    np.testing.assert_array_equal(pickle.loads(dense).predict_proba(X), expected)
    monkeypatch.undo()
    for name, content in contents.items():
        back = pickle.loads(content)
        assert vars(back).keys() == vars(models[name]).keys(), name
        if name in ("mish", "embedder"):
            found, expected = (use(name, model) for model in (back, models[name]))
            np.testing.assert_array_equal(found, expected, err_msg=name)
