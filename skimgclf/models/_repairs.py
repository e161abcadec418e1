"""Repair defects of Keras, TensorFlow and scikeras, in one function each.

All private or undocumented names of Keras and TensorFlow that `models` touches stand
here; the methods of scikeras that are overridden stand in `_training/scikeras_adapter`.
Each function names the cause and the versions in which it was seen, the behaviour where
a private name is gone, and when the function can go.
"""

import contextlib
import functools
import itertools
import random
import re
import sys
import threading
import warnings

import numpy as np

from skimgclf._validation import warn_user
from skimgclf.models._start import keras, tensorflow

# Clearing TensorFlow's kernels after each fit with a shared program would cost a
# quarter of a second; each such fit leaves about a megabyte.
_CALLS_PER_CLEARING = 8
_rare_calls = itertools.count(1)

# Attributes of an optimizer that aren't for its copies: the one that
# `leave_out_all_reduce` sets and a cache, and, in another process, the variables that
# are excluded from weight decay.
NOT_COPIED = {"_all_reduce_sum_gradients", "_exclude_from_weight_decay_cache"}
NOT_PICKLED = {*NOT_COPIED, "_exclude_from_weight_decay"}


@contextlib.contextmanager
def own_draws(seed):
    """Let Keras draw from generators that only this thread uses.

    Cause: Keras 3.15 draws the seed of each layer and initializer, and the layer AugMix
    its changes, from Python's global `random`. Seeding that generator would repeat the
    draws of all other threads, and their draws would change the weights. So each module
    of Keras that has imported `random` gets a stand-in, under whatever name.

    Gone: raises RuntimeError, since `random_state` would have no effect.

    Can go: when Keras takes the seed of a network from an argument.

    Parameters
    ----------
    seed : int
        Seed of the generators, one for each module of Keras.
    """
    _refuse_other_draws()
    with _replaced_draws(seed):
        yield


@contextlib.contextmanager
def _replaced_draws(seed):
    modules = _find_modules_that_draw()
    before = [getattr(module, name) for module, name in modules]
    for module, name in modules:
        setattr(module, name, _ThreadDraws(seed))
    try:
        yield
    finally:
        for (module, name), value in zip(modules, before, strict=True):
            setattr(module, name, value)


class _ThreadDraws:
    """Stand in for Python's `random`: one thread draws from a separate generator."""

    def __init__(self, seed):
        self._generator = random.Random(seed)
        self._thread = threading.get_ident()

    def __getattr__(self, name):
        is_own = threading.get_ident() == self._thread
        return getattr(self._generator if is_own else random, name)


@functools.cache
def _find_modules_that_draw():
    return [
        (module, name)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("keras.")
        for name, value in list(vars(module).items())
        if value is random
    ]


@functools.cache
def _refuse_other_draws():
    drawn = []
    for _ in range(2):
        with _replaced_draws(0):
            weight = keras.initializers.RandomUniform()(())
            state = keras.random.SeedGenerator().state
            drawn.append([float(weight), *np.array(state)])
    if drawn[0] != drawn[1]:
        raise RuntimeError(
            f"Keras {keras.__version__} draws its seeds from elsewhere than Python's "
            "'random', which skimgclf.models._repairs.own_draws replaces, so that "
            "random_state would have no effect. Use Keras 3.15, or a newer skimgclf."
        )


@contextlib.contextmanager
def quiet_about_retracing():
    """Drop TensorFlow's message of retracing for the thread that trains.

    Cause: TensorFlow 2.21 counts the functions that it traces by their place in Keras'
    source, so that the fifth fit on several devices logs a warning, though each network
    is traced once.

    Gone: where the text is another one, the message appears again.

    Can go: when TensorFlow counts by function.
    """
    thread = threading.get_ident()

    def keep(record):
        return record.thread != thread or "tf.function retracing" not in str(record.msg)

    logger = tensorflow.get_logger()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def forget_kernels(*, rarely=False):
    """Clear TensorFlow's kernels after a fit, and after some networks were loaded.

    Cause: TensorFlow 2.21 keeps the kernels of every traced function, a megabyte a fit
    and 0.14 MB a loaded network that predicts, until its cache is cleared
    (keras.backend.clear_session does so among much else). Kernels that are still needed
    are cached again at the next use.

    Gone: warns that memory grows with each fit and load.

    Can go: when TensorFlow drops the kernels with their function.

    Parameters
    ----------
    rarely : bool, default=False
        Whether to clear them in one of eight calls only: for programs that other fits
        use too, and for predictions.
    """
    if rarely and next(_rare_calls) % _CALLS_PER_CLEARING != 0:
        return
    try:
        from tensorflow.python.eager import context

        context.context().clear_kernel_cache()
    except (ImportError, AttributeError):
        _warn_of_leak("forget_kernels", f"TensorFlow {tensorflow.__version__}")


def leave_out_all_reduce(optimizer):
    """Leave out the sum of gradients over replicas where there is one replica.

    Cause: Keras 3.15 sums them through tf.custom_gradient, and the global registry of
    TensorFlow 2.21 keeps the graph, so that each fit stays in memory
    (https://github.com/tensorflow/tensorflow/issues/97697).

    Gone: warns that memory grows with each fit.

    Can go: when TensorFlow's registry lets go of the graph.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Is changed; a wrapped optimizer too.
    """
    if tensorflow.distribute.get_strategy().num_replicas_in_sync > 1:
        return
    # A LossScaleOptimizer computes with the optimizer in it.
    for each in {optimizer, getattr(optimizer, "inner_optimizer", optimizer)}:
        if not hasattr(type(each), "_all_reduce_sum_gradients"):
            _warn_of_leak("leave_out_all_reduce", f"Keras {keras.__version__}")
        else:
            each._all_reduce_sum_gradients = _keep_gradients


def _keep_gradients(grads_and_vars):
    return grads_and_vars


def read_rate(optimizer):
    """Read the learning rate of an optimizer: a number, or the schedule.

    Cause: of a schedule, Keras 3.15 gives out the rate of the current step, and a
    configuration that can't be read where the class isn't registered.

    Gone: raises AttributeError.

    Can go: when an optimizer gives out its schedule.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Of a wrapped optimizer, the rate is read.

    Returns
    -------
    rate : float, callable or None
        None where the optimizer has several rates.
    """
    if not hasattr(type(optimizer), "optimizers"):
        rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
        return rate if callable(rate) else float(rate.numpy())
    return None


def read_step(optimizer):
    """Read the step that an optimizer hands to its schedule: the batches before.

    Cause: with gradient accumulation, Keras 3.15 gives out the number of updates, and
    hands the number of batches to a schedule.

    Gone: returns the batches of all updates, without those that came after the last.

    Can go: when an optimizer gives out the number of batches.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Of a wrapped optimizer, the step is read.

    Returns
    -------
    step : int
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    n_batches = inner.gradient_accumulation_steps or 1
    step = getattr(inner, "_iterations", inner.iterations * n_batches)
    return int(step.numpy())  # int() alone fails within a strategy of TensorFlow


def read_decayed(optimizer, variables):
    """Tell for each variable whether weight decay reaches it.

    Cause: Keras 3.15 keeps excluded variables in private attributes only.

    Gone: raises AttributeError.

    Can go: when an optimizer tells it.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        The optimizer.
    variables : list of keras.Variable
        The variables that it trains.

    Returns
    -------
    is_decayed : list of bool
        Empty without weight decay.
    """
    if not optimizer.weight_decay:
        return []
    return [optimizer._use_weight_decay(variable.value) for variable in variables]


def read_excluded_names(optimizer):
    """Read the names that are excluded from weight decay, as one pattern or None.

    Cause: as for `read_decayed`. Keras joins the names to a pattern.

    Gone: returns None.

    Can go: when get_config holds them.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    pattern = getattr(inner, "_exclude_from_weight_decay_pattern", None)
    return pattern and pattern.pattern


def _warn_of_leak(function, version):
    warn_user(
        RuntimeWarning(
            f"{version} lacks the name that skimgclf.models._repairs.{function} uses, "
            "so that each fit may stay in memory. A newer skimgclf may know better."
        )
    )


def keep_freed_memory():
    """Let the C library keep memory that a batch frees for the next batch.

    Cause: glibc (2.36) returns free memory to the system as soon as it is more than
    twice the largest block that was freed, and the system clears each page that is
    asked for again: up to a third of the time of a dense network. Freeing a block
    of nearly 32 MiB, which is never written to, raises this limit to 64 MiB, unless
    the user has set limits by the environment (mallopt(3), M_MMAP_THRESHOLD).

    Gone: training is slower.

    Can go: when TensorFlow keeps the buffers of a step for the next one.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def trains_on_several_devices():
    """Tell whether a strategy of TensorFlow spreads the training over devices.

    Cause: TensorFlow 2.21 spreads what an iterator yields over the devices, so that
    batches that are joined in one array wouldn't be batches any more; Keras must read
    them one by one.

    Gone: uses public names only.

    Can go: when a strategy spreads the parts of an array.
    """
    return tensorflow.distribute.get_strategy().num_replicas_in_sync > 1


def replace_function(network, name, function):
    """Let Keras call a function of ours for the batches of `fit` and `evaluate`.

    Cause: Keras 3.15 reads batches one by one from an iterator. Which function runs
    them is an attribute of the network that no documentation names.

    Gone: raises RuntimeError. Where Keras calls another function, that gets numbers
    instead of samples, which no network takes.

    Can go: when Keras runs joined batches in one call.

    Parameters
    ----------
    network : keras.Model
        Compiled.
    name : {"train", "test"}
        The kind of function.
    function : callable or None
        Takes Keras' iterator and returns logs; None for Keras' function.
    """
    if not hasattr(network, f"{name}_function"):
        raise RuntimeError(
            f"Keras {keras.__version__} has no '{name}_function' of a network, which "
            "skimgclf.models._repairs.replace_function sets. Use Keras 3.15, or a "
            "newer skimgclf."
        )
    setattr(network, f"{name}_function", function)


def restore_function(network, name):
    """Let Keras make its own function again, in place of one of `replace_function`.

    Cause: as for `replace_function`; a user may call Keras' methods after a training,
    and a callback in it.

    Gone: raises AttributeError.

    Can go: with `replace_function`.

    Parameters
    ----------
    network, name
        As in `replace_function`.

    Returns
    -------
    function : callable
        Keras' function.
    """
    replace_function(network, name, None)
    getattr(network, f"make_{name}_function")()
    return getattr(network, f"{name}_function")


def refuse_renamed(base, names):
    """Refuse a base class without the methods that a subclass overrides.

    Cause: the seam to scikeras 0.13 overrides private methods of it. Where one is
    renamed, the method of ours would silently not be called.

    Gone: raises ImportError that names the class and the method.

    Can go: with scikeras.

    Parameters
    ----------
    base : type
        The class of scikeras.
    names : iterable of str
        The methods that are overridden or called.
    """
    for name in names:
        if not hasattr(base, name):
            raise ImportError(
                f"{base.__module__}.{base.__qualname__} lacks {name!r}, which "
                "skimgclf.models._training.scikeras_adapter overrides. Use scikeras "
                "0.13, or a newer skimgclf."
            )


@contextlib.contextmanager
def quiet_about_input_shape():
    """Drop Keras' warning about weights for images of another size.

    Cause: some networks of keras.applications (Keras 3.15) warn that the weights are
    those for 224 x 224 pixels. Convolutions don't depend on the size.

    Gone: where the text is another one, the warning appears again.

    Can go: when Keras doesn't warn for include_top=False.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`input_shape` is undefined or non-sq")
        yield


def parse_failed_download(reason):
    """Read the name of a file from Keras' error about a download.

    Cause: Keras 3.15 raises a bare Exception, and only its text names the file.

    Gone: returns None, so that the caller quotes Keras' text.

    Can go: when Keras raises an error with the address.

    Parameters
    ----------
    reason : str
        The text of the error.

    Returns
    -------
    file_name, cause : tuple of str or None
    """
    failed = re.match(r"URL fetch failure on \S+/([^/\s]+): (?:None -- )?(.*)", reason)
    return failed and failed.groups()
