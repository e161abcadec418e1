"""Check the optimizer and its learning rate."""

import numbers

from skimgclf._validation import NONE, Rule, a_number, one_of
from skimgclf.models._repairs import read_rate
from skimgclf.models._start import keras
from skimgclf.models._training.schedule import SCHEDULES

# Known without an import of Keras.
_NAMES = {"adam", "adamw", "rmsprop", "sgd"}
_OTHER_NAMES = "adadelta adafactor adagrad adamax ftrl lamb lion muon nadam".split()


def _is_optimizer(optimizer):
    if isinstance(optimizer, str) and optimizer in _NAMES:
        return True
    if isinstance(optimizer, type):
        return issubclass(optimizer, keras.optimizers.Optimizer)
    if isinstance(optimizer, str):
        try:
            return bool(keras.optimizers.get(optimizer))
        except Exception:  # Keras raises errors of every kind for an unknown name
            return False
    return isinstance(optimizer, keras.optimizers.Optimizer)


def _is_learning_rate(value):
    if (a_number("(0, inf)") | NONE).accepts(value):
        return True
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def list_callbacks(callbacks):
    """List callbacks, given as a list, as one of them or as None."""
    if callbacks is None:
        return []
    return callbacks if isinstance(callbacks, list | tuple) else [callbacks]


def list_classes(callbacks):
    """List the classes of callbacks, given as classes or as instances."""
    listed = list_callbacks(callbacks)
    return [item if isinstance(item, type) else type(item) for item in listed]


def _sets_rate(kind):
    setters = keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau
    return issubclass(kind, setters)


OPTIMIZER_RULES = {
    "optimizer": Rule(
        "the name of a Keras optimizer, such as 'adam', 'sgd' or 'rmsprop', a subclass "
        "of keras.optimizers.Optimizer or an instance of one",
        _is_optimizer,
        ("adamm", "optimizer", "lossscaleoptimizer", None, 3, dict),
        names=(*_NAMES, *_OTHER_NAMES),
    ),
    "learning_rate": Rule(
        "a number above 0, a keras.optimizers.schedules.LearningRateSchedule or None "
        "(the optimizer's own default)",
        _is_learning_rate,
        (0, -1.0, "fast", True, float("inf"), float("nan")),
    ),
    "learning_rate_schedule": one_of(*SCHEDULES),
    "weight_decay": a_number("[0, inf)") | NONE,
}


def list_wrong_combinations(parameters, *, is_partial):
    """List values that are valid alone, but not together.

    Parameters
    ----------
    parameters : dict
        As ``KerasImageClassifier.get_params`` returns them.
    is_partial : bool
        Whether the parameters are for `partial_fit`.

    Returns
    -------
    wrong : list of tuple (name, expected)
        The parameter, and the end of the sentence on it.
    """
    optimizer, rate = parameters["optimizer"], parameters["learning_rate"]
    is_number, wrong = rate is None or isinstance(rate, numbers.Real), []
    owner, number = "learning_rate", "a number or None"
    is_instance = not isinstance(optimizer, str | type)
    if is_instance and isinstance(optimizer, keras.optimizers.Optimizer):
        wrong = [
            (name, "None with an optimizer instance, which has its own")
            for name in ("learning_rate", "weight_decay")
            if parameters[name] is not None
        ]
        rate = read_rate(optimizer)
        is_number = isinstance(rate, float)
        owner, number = "optimizer", "one with a number as its learning rate"
    sets_rate = any(map(_sets_rate, list_classes(parameters["callbacks"])))
    if sets_rate and callable(rate):  # Keras would raise an error in some epoch
        expected = f"{number}, since callbacks set the learning rate themselves"
        wrong.append((owner, expected))
    if parameters["learning_rate_schedule"] != "constant":
        name = "learning_rate_schedule"
        if is_partial:
            expected = "'constant' in partial_fit, which doesn't know the last step"
            wrong.append((name, expected))
        elif not is_number:
            wrong.append((name, "'constant' with a learning rate that isn't a number"))
        if sets_rate:
            expected = "'constant' with callbacks that set the learning rate themselves"
            wrong.append((name, expected))
    return wrong
