"""Hold Ctrl-C back while Keras and TensorFlow compute."""

import contextlib
import inspect
import signal
import threading


@contextlib.contextmanager
def holding_interrupts():
    """Note Ctrl-C instead of raising KeyboardInterrupt, until it can be heard safely.

    Raised at any moment, KeyboardInterrupt may come up in a callback of Python's
    garbage collection, which drops it, or within TensorFlow, which turns it into
    another error. `hear_interrupt` raises it after a call of a training program, or
    else the end of this context. A second Ctrl-C raises it at once, and once more
    later, in case that was dropped.

    Only the main thread gets signals: in others, nothing is changed. A handler of the
    user's is called in place of Python's; where Ctrl-C is ignored, it stays ignored.
    """
    before = signal.getsignal(signal.SIGINT)
    is_held = isinstance(before, _Holder)
    if is_held or not callable(before) or not _is_main_thread():
        yield
        return
    holder = _Holder(before)
    signal.signal(signal.SIGINT, holder)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        holder.hear()


def hear_interrupt():
    """Raise KeyboardInterrupt, if Ctrl-C was pressed since `holding_interrupts`."""
    holder = signal.getsignal(signal.SIGINT)
    if isinstance(holder, _Holder) and _is_main_thread():
        holder.hear()


class _Holder:
    """A handler of signals that calls the one before it later."""

    def __init__(self, before):
        self._before = before
        self._is_pending = False

    def __call__(self, number, frame):
        is_second, self._is_pending = self._is_pending, True
        if is_second:  # pending still, since what is raised here may be dropped
            self._before(number, frame)

    def hear(self):
        if self._is_pending:
            self._is_pending = False
            self._before(signal.SIGINT, inspect.currentframe())


def _is_main_thread():
    return threading.current_thread() is threading.main_thread()
