"""Change the learning rate from step to step: one cycle, or a falling cosine."""

import math

from skimgclf.models._start import keras

# As fastai 2.7 has them in `fit_one_cycle`: pct_start, 1 / div and 1 / div_final.
_WARM_UP = 0.25
_FIRST = 1 / 25
_LAST = 1e-5


def _join_by_cosine(first, last, done):
    """Go from a first to a last value; `done` is the part of the way, in [0, 1]."""
    return last + (first - last) * (1 + keras.ops.cos(math.pi * done)) / 2


def _one_cycle(done):
    rising = _join_by_cosine(_FIRST, 1, done / _WARM_UP)
    falling = _join_by_cosine(1, _LAST, (done - _WARM_UP) / (1 - _WARM_UP))
    return keras.ops.where(done < _WARM_UP, rising, falling)


def _cosine(done):
    return _join_by_cosine(1, 0, done)


# The learning rate, divided by its peak, at a part of all steps.
_SHAPES = {"one_cycle": _one_cycle, "cosine": _cosine}


@keras.saving.register_keras_serializable("skimgclf")
class RateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Compute the learning rate of each step of one training.

    All numbers are variables, which a traced program reads when it runs: fits with
    other rates, epochs and numbers of samples share it.

    Parameters
    ----------
    shape : {"one_cycle", "cosine"}
        How the rate changes.
    peak : float
        The highest rate.
    first_step : int, default=0
        The optimizer's number of steps when the training begins.
    n_steps : int, default=1
        Number of steps of the training; the rate stays as it is after them.
    """

    def __init__(self, shape, peak, first_step=0, n_steps=1):
        self.shape = shape
        self._peak = _make_variable(peak)
        self._first_step = _make_variable(first_step, "int64")
        self._n_steps = _make_variable(n_steps)

    @property
    def peak(self):
        """The highest rate, as a float."""
        return float(self._peak.numpy())

    @property
    def variables(self):
        """All numbers, as variables."""
        return [self._peak, self._first_step, self._n_steps]

    def start(self, first_step, n_steps):
        """Begin a training of `n_steps` steps."""
        self._first_step.assign(first_step)
        self._n_steps.assign(n_steps)

    def __call__(self, step):
        """Compute the learning rate of a step."""
        n_done = keras.ops.cast(step - self._first_step, self._n_steps.dtype)
        done = keras.ops.clip(n_done / self._n_steps, 0, 1)
        return self._peak * _SHAPES[self.shape](done)

    def get_config(self):
        """Return the arguments, for Keras."""
        first_step, n_steps = int(self._first_step.numpy()), int(self._n_steps.numpy())
        return {
            "shape": self.shape,
            "peak": self.peak,
            "first_step": first_step,
            "n_steps": n_steps,
        }


def _make_variable(value, dtype=None):
    # But for its type, as Keras makes the variable of a constant learning rate.
    return keras.Variable(
        value,
        dtype=dtype or _choose_dtype(),
        trainable=False,
        aggregation="only_first_replica",
    )


def _choose_dtype():
    # In 16 bits, a training of more than 65,504 steps would have infinitely many.
    return "float64" if keras.config.floatx() == "float64" else "float32"
