"""Check the optimizer and its learning rate."""

import keras

from skimgclf._validation import NONE, Rule, a_number


def _is_optimizer(optimizer):
    if isinstance(optimizer, type):
        return issubclass(optimizer, keras.optimizers.Optimizer)
    if isinstance(optimizer, str):
        try:
            return bool(keras.optimizers.get(optimizer))
        except Exception:  # Keras raises errors of every kind for an unknown name
            return False
    return isinstance(optimizer, keras.optimizers.Optimizer)


def _is_learning_rate(value):
    is_schedule = isinstance(value, keras.optimizers.schedules.LearningRateSchedule)
    return is_schedule or (a_number("(0, inf)") | NONE).accepts(value)


OPTIMIZER_RULES = {
    "optimizer": Rule(
        "the name of a Keras optimizer, such as 'adam', 'sgd' or 'rmsprop', a subclass "
        "of keras.optimizers.Optimizer or an instance of one",
        _is_optimizer,
        ("adamm", "optimizer", "lossscaleoptimizer", None, 3, dict),
    ),
    "learning_rate": Rule(
        "a number above 0, a keras.optimizers.schedules.LearningRateSchedule or None "
        "(the optimizer's own default)",
        _is_learning_rate,
        (0, -1.0, "fast", True, float("inf"), float("nan")),
    ),
}
