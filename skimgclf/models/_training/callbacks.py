"""Copy the callbacks of the user; print, record and report each epoch."""

import copy
import hashlib
import math
import time

from skimgclf._terminal import escape_line, print_text
from skimgclf.models._checks.optimizer import list_callbacks
from skimgclf.models._repairs import read_rate
from skimgclf.models._start import keras
from skimgclf.models._training.seeds import seeded

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
    return [
        callback() if isinstance(callback, type) else copy.deepcopy(callback)
        for callback in list_callbacks(callbacks)
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
        names = sorted(
            logs.keys() - {"learning_rate"},  # too small for four decimals
            key=lambda name: (not name.endswith("loss"), name),
        )
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
        now, latest = self._digest(), self._digests[::-1]
        return latest.index(now) if now in latest else 0  # as means over epochs are

    def _digest(self):
        digest = hashlib.blake2b(digest_size=16)
        for weights in self.model.get_weights():
            digest.update(weights.tobytes())
        return digest.digest()


class RateRecorder(keras.callbacks.Callback):
    """Note the learning rate after each epoch in the history, where it changes."""

    def on_epoch_end(self, epoch, logs=None):
        """Note it, as Keras' own `LearningRateScheduler` does."""
        optimizer = self.model.optimizer
        if callable(read_rate(optimizer)):
            logs["learning_rate"] = float(optimizer.learning_rate)


class ClassifierCallback(keras.callbacks.Callback):
    """Follow the classifier that a fit trains, and its history."""

    def __init__(self):
        super().__init__()
        self._show = None

    def set_classifier(self, show, history):
        """Take the maker of classifiers, and the history before this training.

        Parameters
        ----------
        show : callable
            Makes the classifier, as it is now, of its network and its history.
        history : dict of str to list of float
            Of the epochs before this training.
        """
        self._show = show
        self._history = {name: list(values) for name, values in history.items()}

    def on_epoch_end(self, epoch, logs=None):
        """Append the values of the epoch to the history: NaN for what is missing."""
        n_before = max(map(len, self._history.values()), default=0)
        for name in {**self._history, **logs}:
            values = self._history.setdefault(name, [math.nan] * n_before)
            values.append(float(logs.get(name, math.nan)))

    def make_classifier(self, network):
        """Make the classifier, as it is now, of a network."""
        history = {name: list(values) for name, values in self._history.items()}
        return self._show(network, history)


class EpochReporter(ClassifierCallback):
    """Report each epoch to the callbacks of scikit-learn.

    Parameters
    ----------
    task : FitTask
        The fit.
    """

    def __init__(self, task):
        super().__init__()
        self._task = task

    def on_epoch_begin(self, epoch, logs=None):
        """Report that the epoch begins."""
        self._task.begin_part("epoch")

    def on_epoch_end(self, epoch, logs=None):
        """Report that the epoch has ended, and stop if a callback wants it."""
        super().on_epoch_end(epoch, logs)
        if self._task.end_part(self._describe):
            self.model.stop_training = True

    def _describe(self):
        # A copy, since the network is trained further.
        with seeded(0):  # the weights drawn here are replaced
            network = keras.models.clone_model(self.model)
        network.set_weights(self.model.get_weights())
        return vars(self.make_classifier(network))
