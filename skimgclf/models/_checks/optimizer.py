"""Check the optimizer and its learning rate."""

import numbers

import keras
import numpy as np

from skimgclf._validation import (
    parameter_error,
)

_OWNER = "KerasImageClassifier"


def check_optimizer(optimizer, learning_rate):
    if not _is_optimizer(optimizer):
        raise parameter_error(
            _OWNER,
            "optimizer",
            "the name of a Keras optimizer, such as 'adam', 'sgd' or 'rmsprop', a "
            "subclass of keras.optimizers.Optimizer or an instance of one",
            optimizer,
        )
    if learning_rate is None:
        return
    if isinstance(optimizer, keras.optimizers.Optimizer):
        raise parameter_error(
            _OWNER,
            "learning_rate",
            "None with an optimizer instance, which has its own",
            learning_rate,
        )
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return
    if not _is_number(learning_rate) or not 0 < learning_rate < np.inf:
        expected = (
            "a number above 0, a keras.optimizers.schedules.LearningRateSchedule or "
            "None (the optimizer's own default)"
        )
        raise parameter_error(_OWNER, "learning_rate", expected, learning_rate)


def _is_optimizer(optimizer):
    if isinstance(optimizer, type):
        return issubclass(optimizer, keras.optimizers.Optimizer)
    if isinstance(optimizer, str):
        try:
            return bool(keras.optimizers.get(optimizer))
        except Exception:  # whatever Keras raises of a name that isn't one
            return False
    return isinstance(optimizer, keras.optimizers.Optimizer)


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
