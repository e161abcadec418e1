"""Refuse to use TensorFlow in a forked process.

The threads of TensorFlow 2.21 don't survive a fork: a child that uses TensorFlow after
its parent did would hang.
"""

from skimgclf._platform import after_fork
from skimgclf.models._start import start_devices


class ForkedProcessError(RuntimeError):
    """TensorFlow would hang in this process."""


class _Process:
    has_used_tensorflow = False
    is_forked_from_user = False

    def note_fork(self):
        self.is_forked_from_user = self.has_used_tensorflow


_process = _Process()
after_fork(_process.note_fork)


def use_tensorflow():
    """Start TensorFlow, or raise an error where it would hang."""
    if _process.is_forked_from_user:
        raise ForkedProcessError(
            "This process was forked from one that had used TensorFlow already, and "
            "would wait for ever. Start processes by joblib's 'loky' (its default) or "
            "by multiprocessing's 'spawn' instead of 'fork'."
        )
    if not _process.has_used_tensorflow:
        _process.has_used_tensorflow = True
        start_devices()


def is_forked():
    """Tell whether TensorFlow can't be used, since it would hang."""
    return _process.is_forked_from_user


def postpone(state, **hidden):
    """Leave out of an estimator's state the parts that only TensorFlow can unpack.

    A pool of processes would wait for ever for a task that can't be unpickled. So the
    error is raised when the estimator is used.

    Parameters
    ----------
    state : dict of str to object
        The state of a pickle.
    **hidden : list of str
        By the name of a part of the state, the attributes that it would become.

    Returns
    -------
    state : dict of str to object
    """
    # A string, such as the name of an optimizer, needs no unpacking.
    kept = {n: state[n] for n in hidden if not isinstance(state.get(n, ""), str)}
    missing = {attribute for name in kept for attribute in hidden[name]}
    rest = {name: value for name, value in state.items() if name not in kept}
    return {**rest, "_postponed": (kept, missing)}


def bring_back(state):
    """Undo `postpone` in a state, so that it can be pickled again."""
    kept, _ = state.pop("_postponed", ({}, ()))
    return {**state, **kept}


def missing_error(estimator, name):
    """Make the error on an attribute that an estimator doesn't have.

    Raises
    ------
    RuntimeError
        If it was left out by `postpone`.
    """
    _, missing = vars(estimator).get("_postponed", ((), ()))
    if name in missing:
        use_tensorflow()
    kind = type(estimator).__name__
    return AttributeError(f"{kind!r} object has no attribute {name!r}")
