"""What a person sees while a network is trained."""

import time

import keras


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
        values = ", ".join(f"{name} {logs[name]:.4f}" for name in names)
        seconds = time.perf_counter() - self._started
        width = len(str(self._n_epochs))
        print(
            f"Epoch {epoch + 1:{width}}/{self._n_epochs}: {values} ({seconds:.1f} s)",
            flush=True,
        )
