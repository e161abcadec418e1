"""Copy the callbacks of the user, and print a line for each epoch."""

import copy
import hashlib
import time

import keras

from skimgclf._terminal import escape_line, print_text

# Keras calls these methods once per call of the training program, so that batches must
# run one by one for a callback that has one of them.
_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


def copy_callbacks(callbacks):
    """Return new callbacks: copies of instances, and instances of classes."""
    if callbacks is None:
        return []
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    return [
        callback() if isinstance(callback, type) else copy.deepcopy(callback)
        for callback in listed
    ]


def has_batch_hook(callback):
    plain = keras.callbacks.Callback
    return any(
        getattr(type(callback), hook) is not getattr(plain, hook)
        or hook in vars(callback)  # as LambdaCallback has them
        for hook in _BATCH_HOOKS
    )


class EpochPrinter(keras.callbacks.Callback):
    """Print one line an epoch: its number, loss, metrics and seconds.

    Parameters
    ----------
    n_epochs : int
        Number of the last epoch planned.
    """

    def __init__(self, n_epochs):
        super().__init__()
        self._n_epochs = n_epochs

    def on_epoch_begin(self, epoch, logs=None):
        """Note the time."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Print the line."""
        # Loss first, then the metrics, whatever order Keras has.
        names = sorted(logs, key=lambda name: (not name.endswith("loss"), name))
        values = ", ".join(f"{escape_line(name)} {logs[name]:.4f}" for name in names)
        seconds = time.perf_counter() - self._started
        width = len(str(self._n_epochs))
        print_text(
            f"Epoch {epoch + 1:{width}}/{self._n_epochs}: {values} ({seconds:.1f} s)"
        )


class EpochFinder(keras.callbacks.Callback):
    """Find the epoch that the weights of a network are from, after a training.

    A callback of the user's may go back to the weights of an earlier epoch.
    """

    def __init__(self):
        super().__init__()
        self._digests = []

    def on_epoch_end(self, epoch, logs=None):
        """Note the weights."""
        self._digests.append(self._digest())

    def find(self):
        """Return how many epochs ago that was: 0 also for weights of no epoch."""
        now = self._digest()
        if now not in self._digests:  # such as means over epochs
            return 0
        return len(self._digests) - 1 - self._digests.index(now)

    def _digest(self):
        digest = hashlib.blake2b(digest_size=16)
        for weights in self.model.get_weights():
            digest.update(weights.tobytes())
        return digest.digest()
