"""Ctrl-C in a fit."""

import contextlib
import copy
import functools
import gc
import signal
import sys
import threading
import time
import weakref

import keras
import numpy as np
import pytest
import tensorflow
from sklearn.model_selection import GridSearchCV
from small_classifiers import quickest

from skimgclf import ImageLoader
from skimgclf.images import LazyImages
from skimgclf.models import _predict, _start
from skimgclf.models._training import loop
from skimgclf.models._training.interrupt import hear_interrupt, holding_interrupts


@pytest.fixture(autouse=True)
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press():
    signal.raise_signal(signal.SIGINT)


def press_in_a_callback_of_weakref():
    """Python drops what is raised here."""

    class Gone:
        pass

    gone = Gone()
    reference = weakref.ref(gone, lambda _: press())
    del gone
    gc.collect()
    assert reference() is None


def calls(**hooks):
    return keras.callbacks.LambdaCallback(
        **{
            name: lambda *_, function=function: function()
            for name, function in hooks.items()
        }
    )


quick = functools.partial(quickest, epochs=2)


@pytest.fixture(scope="module")
def warm(digits):
    """Careful: shared by the module; train and change copies only."""
    return quick(warm_start=True).fit(*digits)


@pytest.mark.parametrize(
    ("hook", "pressed"),
    [
        ("on_train_begin", press),
        ("on_epoch_end", press_in_a_callback_of_weakref),
        ("on_train_end", press),
    ],
)
def test_no_interrupt_of_a_fit_is_lost(digits, hook, pressed):
    classifier = quick(callbacks=[calls(**{hook: pressed})])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*digits)
    assert not hasattr(classifier, "model_")


@pytest.mark.parametrize(
    "method", ["fit", pytest.param("partial_fit", marks=pytest.mark.slow)]
)
def test_an_interrupt_at_the_last_moment_leaves_a_fitted_estimator(
    digits, warm, method
):
    X, y = digits
    classifier = copy.copy(warm)
    probabilities = classifier.predict_proba(X)
    classifier.set_params(callbacks=[calls(on_train_end=press)])
    with pytest.raises(KeyboardInterrupt):
        getattr(classifier, method)(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)
    assert classifier.n_iter_ == 2


def test_an_interrupt_while_a_whole_resumption_ends_undoes_it(
    digits, warm, monkeypatch
):
    """Freeing what the fit has held takes milliseconds."""
    X, y = digits
    classifier = copy.copy(warm)
    probabilities = classifier.predict_proba(X)
    held = classifier._predictor.held

    @contextlib.contextmanager
    def press_at_the_end():
        with held():
            yield
        monkeypatch.undo()
        press()

    monkeypatch.setattr(classifier._predictor, "held", press_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)
    assert classifier.n_iter_ == 2
    classifier.fit(X, y)
    assert classifier.n_iter_ == 4


def test_an_interrupt_while_callbacks_end_a_resumption_undoes_it(digits, warm):
    callback = pytest.importorskip("sklearn.callback")

    class Press(callback.ScoringMonitor):
        def on_fit_task_end(self, estimator, context, **arguments):
            if context.task_name == "fit":
                press()

    X, y = digits
    classifier = copy.copy(warm)
    probabilities = classifier.predict_proba(X)
    classifier.set_callbacks(Press(scoring="accuracy"))
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)
    assert classifier.n_iter_ == 2


def test_a_network_that_was_interrupted_while_it_was_traced_can_be_used(
    digits, warm, monkeypatch
):
    X, y = digits
    classifier = copy.copy(warm)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "count_joined", lambda *parts: press() or 1)
        with pytest.raises(KeyboardInterrupt):
            classifier.fit(X, y)
    codes = np.searchsorted(classifier.classes_, y)
    _, accuracy = classifier.model_.evaluate(X, codes, verbose=0)
    assert accuracy == pytest.approx(classifier.score(X, y))
    assert classifier.fit(X, y).n_iter_ == 4


def test_an_interrupt_ends_an_epoch_between_two_calls(digits):
    X, y = np.repeat(digits[0], 30, axis=0), np.repeat(digits[1], 30)
    seen = []
    hooks = calls(on_epoch_begin=press, on_epoch_end=lambda: seen.append(1))
    with pytest.raises(KeyboardInterrupt):
        quick(callbacks=[hooks]).fit(X, y)
    assert seen == []


def test_a_second_interrupt_comes_at_once(digits):
    reached = []

    def press_twice():
        press()
        reached.append("between")
        press()
        reached.append("after")

    with pytest.raises(KeyboardInterrupt):
        quick(callbacks=[calls(on_epoch_begin=press_twice)]).fit(*digits)
    assert reached == ["between"]


def press_where_it_becomes_another_error():
    """TensorFlow does so where it calls Python."""
    try:
        press()
    except KeyboardInterrupt as error:
        raise SystemError from error


@pytest.mark.parametrize(
    "second", [press_in_a_callback_of_weakref, press_where_it_becomes_another_error]
)
def test_a_second_interrupt_that_does_not_come_out_is_heard_later(second, monkeypatch):
    dropped, reached = [], []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)

    @holding_interrupts()
    def press_twice():
        press()
        second()
        hear_interrupt()
        reached.append("after")

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert reached == []
    assert len(dropped) == (second is press_in_a_callback_of_weakref)


def test_a_handler_of_the_user_is_called_instead(digits):
    heard = []
    signal.signal(signal.SIGINT, lambda *arguments: heard.append(arguments))
    classifier = quick(callbacks=[calls(on_train_begin=press)]).fit(*digits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert classifier.n_iter_ == 2
    assert [number for number, frame in heard if frame] == [signal.SIGINT]


def test_ignored_interrupts_stay_ignored(digits):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    classifier = quick(callbacks=[calls(on_train_begin=press)]).fit(*digits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert classifier.n_iter_ == 2


def test_a_fit_in_another_thread_is_not_interrupted(digits):
    fitted = []
    thread = threading.Thread(target=lambda: fitted.append(quick().fit(*digits)))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        press()
    thread.join()
    assert fitted[0].n_iter_ == 2


@pytest.mark.slow
def test_a_search_is_interrupted(digits):
    classifier = quick(callbacks=[calls(on_epoch_end=press)])
    search = GridSearchCV(classifier, {"epochs": [1, 2]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*digits)


def test_an_interrupt_is_heard_while_images_are_read(monkeypatch, digits):
    """However long their files take."""
    released, read, pressed = threading.Event(), LazyImages.read, []

    def read_slowly(self, key):
        released.wait(5)
        return read(self, key)

    def press_and_note():
        pressed.append(time.perf_counter())
        press()

    monkeypatch.setattr(LazyImages, "read", read_slowly)
    X = ImageLoader(image_size=(8, 8), lazy=True).transform(list(digits[0][:64]))
    classifier = quick(callbacks=[calls(on_epoch_begin=press_and_note)])
    try:
        with pytest.raises(KeyboardInterrupt):
            classifier.fit(X, digits[1][:64])
        assert time.perf_counter() - pressed[0] < 1
    finally:
        released.set()


@pytest.mark.parametrize(
    ("begin", "end"),
    [("on_epoch_begin", "on_epoch_end"), ("on_test_begin", "on_test_end")],
)
def test_an_interrupt_on_several_devices_is_heard_after_a_batch(
    digits, monkeypatch, begin, end
):
    monkeypatch.setattr(loop, "trains_on_several_devices", lambda: True)
    X, y = digits
    seen = []
    hooks = calls(**{begin: press, end: lambda: seen.append(1)})
    classifier = quick(callbacks=[hooks])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y, X_val=X, y_val=y)
    assert seen == []


def test_an_interrupt_waits_until_a_network_is_traced_for_predictions():
    """As by `load_model`: from within, it may come out as another error."""
    reached = []

    def compute(X):
        press()
        reached.append("after")
        return X

    with pytest.raises(KeyboardInterrupt):
        _predict._trace(compute, tensorflow.TensorSpec((1,)))
    assert reached == ["after"]


def test_an_interrupt_waits_until_keras_is_imported(monkeypatch):
    """Of a module of which a part was run only, the next import would fail."""
    reached = []

    def press_and_go_on():
        press()
        reached.append("after")
        return True

    monkeypatch.setattr(_start, "_has_driver", press_and_go_on)
    with pytest.raises(KeyboardInterrupt):
        _start.import_keras.__wrapped__()
    assert reached == ["after"]
    monkeypatch.undo()
    _start.import_keras.__wrapped__()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
