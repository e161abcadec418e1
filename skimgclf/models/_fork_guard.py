"""Refuse to use TensorFlow in a forked process.

The threads of TensorFlow 2.21 don't survive a fork: a child that uses TensorFlow after
its parent did would hang.
"""

import os


class _Process:
    has_used_tensorflow = False
    is_forked_from_user = False

    def note_fork(self):
        self.is_forked_from_user = self.has_used_tensorflow


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.note_fork)


def use_tensorflow():
    """Raise an error where TensorFlow would hang, and remember that it is used."""
    if _process.is_forked_from_user:
        raise RuntimeError(
            "This process was forked from one that had used TensorFlow already, and "
            "would wait for ever. Start processes by joblib's 'loky' (its default) or "
            "by multiprocessing's 'spawn' instead of 'fork'."
        )
    _process.has_used_tensorflow = True
