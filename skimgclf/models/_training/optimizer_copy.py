"""Copy and pickle optimizers with all attributes but their variables.

Keras copies and pickles an optimizer by its configuration, which lacks the variables
excluded from weight decay and the attributes that a class leaves out, and which can't
be read again where a class isn't registered with Keras.
"""

import copy
import functools

from skimgclf.models._repairs import NOT_COPIED, NOT_PICKLED, read_rate
from skimgclf.models._start import keras, tensorflow


def copy_optimizer(original, learning_rate=None):
    """Return a new optimizer that holds all that an optimizer was given.

    Parameters
    ----------
    original : keras.optimizers.Optimizer
        May have been trained with.
    learning_rate : float, default=None
        Learning rate of the copy; None for the same one.

    Returns
    -------
    copied : keras.optimizers.Optimizer
        Not built.
    """
    cls, config, rate, state = _take_apart(original)
    if learning_rate is not None:
        rate = learning_rate
        if "learning_rate" in config:
            config["learning_rate"] = rate
    copied = {name: _copy_value(value, learning_rate) for name, value in state.items()}
    return _put_together(cls, config, rate, copied)


class PackedOptimizer:
    """Stand for an optimizer that is pickled or cloned; an optimizer comes out again.

    Variables that were excluded from weight decay one by one are left out, since they
    exist in this process only; names that were excluded are kept.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        The optimizer.
    """

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def __sklearn_clone__(self):
        return copy_optimizer(self.optimizer)

    def __reduce__(self):
        cls, config, rate, state = _take_apart(self.optimizer, NOT_PICKLED)
        packed = {name: pack_optimizer(value) for name, value in state.items()}
        return _put_together, (cls, config, rate, packed)


def pack_optimizer(value):
    """Return a value; a `PackedOptimizer` in place of an optimizer."""
    if value is None or isinstance(value, str):  # known without Keras
        return value
    is_optimizer = isinstance(value, keras.optimizers.Optimizer)
    return PackedOptimizer(value) if is_optimizer else value


def unpack_optimizer(value):
    """Return a value; the optimizer of a `PackedOptimizer` that wasn't pickled."""
    return value.optimizer if isinstance(value, PackedOptimizer) else value


def _copy_value(value, learning_rate):
    if isinstance(value, keras.optimizers.Optimizer):  # of a LossScaleOptimizer
        return copy_optimizer(value, learning_rate)
    try:
        return copy.deepcopy(value)
    except Exception:  # an object that can't be copied is shared, as in Keras
        return value


def _take_apart(original, left_out=NOT_COPIED):
    """Return the class, the configuration, the learning rate and all attributes."""
    rate = read_rate(original)
    try:
        config = _untrack(original.get_config())
    except Exception:  # a schedule without get_config, for example
        if rate is None:
            raise
        config = {"learning_rate": rate}
    if "learning_rate" in config:
        config["learning_rate"] = rate  # the object, which needs no registered class
    # An optimizer of several optimizers has them all in its configuration.
    state = {} if rate is None else _read_state(original, left_out)
    return type(original), config, rate, state


def _read_state(original, left_out):
    """Read all attributes that don't hold variables and aren't Keras' bookkeeping."""
    return {
        name: _untrack(value)
        for name, value in vars(original).items()
        if name not in _list_bookkeeping() | left_out and not _holds_variables(value)
    }


@functools.cache
def _list_bookkeeping():
    """List the attributes that Keras makes for each optimizer by itself."""
    bare = keras.optimizers.Optimizer(0.0)
    return vars(bare).keys() - bare.get_config().keys()


def _holds_variables(value):
    if isinstance(value, dict):
        return any(map(_holds_variables, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_holds_variables, value))
    return isinstance(value, keras.Variable | tensorflow.Variable)


def _untrack(value):
    """Turn Keras' lists, dicts and sets, which know their owner, into Python's."""
    if isinstance(value, dict):
        return {key: _untrack(item) for key, item in value.items()}
    if isinstance(value, list | set):
        kind = list if isinstance(value, list) else set
        return kind(map(_untrack, value))
    return value


def _put_together(cls, config, rate, state):
    """Make an optimizer of the parts that `_take_apart` has returned."""
    try:
        optimizer = cls.from_config({**config})
    except Exception:  # a class whose get_config leaves out what it needs
        if rate is None:
            raise
        optimizer = cls.__new__(cls)
        keras.optimizers.Optimizer.__init__(optimizer, rate)
    for name, value in state.items():
        setattr(optimizer, name, value)
    if rate is not None and read_rate(optimizer) != rate:
        optimizer.learning_rate = rate
    return optimizer
