"""Ctrl-C in a fit."""

import gc
import signal
import threading
import weakref

import keras
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skimgclf import KerasImageClassifier


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


def quick(**parameters):
    defaults = {"hidden_layer_sizes": (6,), "epochs": 3, "random_state": 0}
    return KerasImageClassifier(**{**defaults, **parameters})


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


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupt_at_the_last_moment_leaves_a_fitted_estimator(digits, method):
    X, y = digits
    classifier = quick(warm_start=True).fit(X, y)
    probabilities = classifier.predict_proba(X)
    classifier.set_params(callbacks=[calls(on_train_end=press)])
    with pytest.raises(KeyboardInterrupt):
        getattr(classifier, method)(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)
    assert classifier.n_iter_ == 3


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


def test_a_handler_of_the_user_is_called_instead(digits):
    heard = []
    signal.signal(signal.SIGINT, lambda *arguments: heard.append(arguments))
    classifier = quick(callbacks=[calls(on_train_begin=press)]).fit(*digits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert classifier.n_iter_ == 3
    assert [number for number, frame in heard if frame] == [signal.SIGINT]


def test_ignored_interrupts_stay_ignored(digits):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    classifier = quick(callbacks=[calls(on_train_begin=press)]).fit(*digits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert classifier.n_iter_ == 3


def test_a_fit_in_another_thread_is_not_interrupted(digits):
    fitted = []
    thread = threading.Thread(target=lambda: fitted.append(quick().fit(*digits)))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        press()
    thread.join()
    assert fitted[0].n_iter_ == 3


def test_a_search_is_interrupted(digits):
    classifier = quick(callbacks=[calls(on_epoch_end=press)])
    search = GridSearchCV(classifier, {"epochs": [1, 2]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*digits)
