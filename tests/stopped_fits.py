"""Fits that stop before the training or in it."""

import keras
import pytest

from skimgclf.models._training.scikeras_adapter import _Trainer


class StopsInBatch(keras.callbacks.Callback):
    """Interrupts the training in its third batch, as Ctrl-C would."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise KeyboardInterrupt


class _Stopped(Exception):
    pass


def fit_untrained(classifier, *data, **given):
    """Fit a classifier up to its training, to see quickly what is built and compiled.

    All is as in a fit that fails: the classifier itself learns nothing. Its network
    has first weights, an optimizer, and a schedule that has started.

    Returns
    -------
    network : keras.Model
        The one that would have been trained.
    kind : str or None
        What `describe_program` says of it; None if it shares no program.
    """
    found = []

    def stop(trainer, *_, **__):
        found.append((trainer.model_, trainer._kind_of_program()))
        trainer._start_schedule()
        raise _Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Trainer, "_fit_keras_model", stop)
        with pytest.raises(_Stopped):
            classifier.fit(*data, **given)
    return found[0]
