"""Train and evaluate on many batches in one call of a traced program."""

import contextlib

from skimgclf.models._networks.layers import count_multiplications
from skimgclf.models._repairs import (
    keep_freed_memory,
    quiet_about_retracing,
    replace_function,
    restore_function,
    trains_on_several_devices,
)
from skimgclf.models._start import keras, tensorflow
from skimgclf.models._training.flat_weights import choose_flat_weights
from skimgclf.models._training.interrupt import hear_interrupt

# At most so many batches, and so many bytes, are joined for one call.
_N_JOINED = 64
_N_BYTES = 4 * 2**20

# Multiplications in the forward passes of one call, which then lasts half a second on
# two slow cores, so that Ctrl-C is heard soon.
_N_MULTIPLICATIONS = 10**9


@contextlib.contextmanager
def looping(network, batches, validation_batches=None, *, one_by_one=False, flat=False):
    """Let Keras' `fit` run several batches in one call.

    Parameters
    ----------
    network : keras.Model
        Compiled.
    batches, validation_batches : Batches
        The training data, and the validation data or None.
    one_by_one : bool, default=False
        Whether a callback must be called after each batch.
    flat : bool, default=False
        Whether `describe_program` describes the network, whose weights may be put into
        vectors then.

    Yields
    ------
    data, validation_data : object
        The arguments of `fit`.
    """
    keep_freed_memory()
    parts = {"train": batches, "test": validation_batches}
    if trains_on_several_devices():
        for part in filter(None, parts.values()):
            part.is_peeked = True
        with _hearing_interrupts(network, parts), quiet_about_retracing():
            yield batches, validation_batches
        return
    n_joined = 1 if one_by_one else count_joined(network, *parts.values())
    loops = []
    try:
        for name, part in parts.items():
            if part is not None:
                loops.append(_start_loop(network, name, part, n_joined, flat))
        hear_interrupt()  # tracing may have taken seconds
        network.steps_per_execution = n_joined
        # Keras counts these elements only; as batches they would be errors.
        yield [
            part if part is None else _count(part.num_batches)
            for part in parts.values()
        ]
    finally:
        network.steps_per_execution = 1
        for loop in loops:
            loop.stop()
        for name in parts:
            if not isinstance(getattr(network, f"{name}_function"), BatchLoop):
                # Keras made it for a callback, and for as many batches in one call.
                replace_function(network, name, None)


@contextlib.contextmanager
def _hearing_interrupts(network, names):
    """Let Keras' own functions hear Ctrl-C after each batch."""
    functions = {name: restore_function(network, name) for name in names}
    for name, function in functions.items():
        replace_function(network, name, _hear_after(function))
    try:
        yield
    finally:
        for name, function in functions.items():
            replace_function(network, name, function)


def _hear_after(function):
    def run(iterator):
        logs = function(iterator)
        hear_interrupt()
        return logs

    return run


def _count(n_batches):
    return tensorflow.data.Dataset.range(n_batches).batch(1)


def _has_samples(iterator):
    """Tell the samples of a user, which come with labels, from a count of batches."""
    return isinstance(getattr(iterator, "element_spec", ()), tuple)


def _start_loop(network, name, batches, n_joined, flat):
    loop = getattr(network, f"{name}_function", None)
    if not isinstance(loop, BatchLoop):  # never trained, or compiled since
        loop = BatchLoop(network, name)
        if flat and name == "train" and n_joined > 1:
            loop.flatten_weights(batches.batch_size)
        replace_function(network, name, loop)
    loop.start(batches, n_joined)
    return loop


def count_joined(network, *parts):
    """Return the number of batches for one call of a network's programs.

    It depends on nothing but the network and the batches, so that fits with the same
    seed do the same everywhere. Keras has one number for training and validation.

    Parameters
    ----------
    network : keras.Model
        Compiled.
    *parts : Batches or None
        The training data, and the validation data or None.
    """
    blanks = [part.make_blank() for part in parts if part is not None]
    # The batches of little training data are small, and those of validation large.
    n_bytes = max(sum(part.nbytes for part in blank) for blank in blanks)
    n_samples = max(len(blank[0]) for blank in blanks)
    cost = n_samples * (count_multiplications(network) + 1)
    return max(1, min(_N_JOINED, _N_BYTES // n_bytes, _N_MULTIPLICATIONS // cost))


class BatchLoop:
    """Run a step of a network on each of several joined batches, in one call.

    Keras takes each batch from an iterator of TensorFlow, which costs more than a small
    network's step. Here the batches of an array are cut within the traced program.
    Keras calls this object in place of its own function, once for
    `steps_per_execution` batches.

    Parameters
    ----------
    network : keras.Model
        Compiled.
    name : {"train", "test"}
        The step, such as ``network.train_step``.
    """

    def __init__(self, network, name):
        self._network = network
        self._name = name
        self._step = getattr(network, f"{name}_step")
        if network.jit_compile:
            self._step = tensorflow.function(
                self._step, jit_compile=True, reduce_retracing=True
            )
        self._traced = tensorflow.function(self._run, autograph=False)
        self._flat_weights = None
        self.stop()

    def flatten_weights(self, batch_size):
        """Train with the weights in vectors if that is faster."""
        n_multiplications = batch_size * count_multiplications(self._network)
        self._flat_weights = choose_flat_weights(self._network, n_multiplications)

    def start(self, batches, n_joined):
        """Begin a training: take the batches of all its epochs from `batches`."""
        self._batch_size = tensorflow.constant(batches.batch_size)
        self._program = self._traced.get_concrete_function(
            self._batch_size,
            *(
                tensorflow.TensorSpec((None, *part.shape[1:]), part.dtype)
                for part in batches.make_blank()
            ),
        )
        self._batches, self._n_joined = batches, n_joined
        if self._flat_weights is not None:
            self._flat_weights.load()

    def stop(self):
        """End a training, and release the samples."""
        self._batches = self._parts = self._iterator = self._of_keras = None
        if self._flat_weights is not None:
            self._flat_weights.end()

    def __call__(self, iterator):
        """Run the next batches.

        Parameters
        ----------
        iterator : object
            Keras' iterator of an epoch, which only counts the batches here.

        Returns
        -------
        logs : dict of str to tensor
            The loss and the metrics since the beginning of the epoch.
        """
        if self._batches is None or _has_samples(iterator):
            return self._call_keras(iterator)
        if iterator is not self._iterator:  # the epoch before may have been cut short
            self._iterator = iterator
            self._parts = self._batches.join(self._n_joined)
            n_batches = self._batches.num_batches
            n_steps = keras.config.max_steps_per_epoch() or n_batches
            self._n_left = min(n_steps, n_batches)
        part = next(self._parts)
        logs = self._program(self._batch_size, *map(tensorflow.convert_to_tensor, part))
        self._n_left -= self._n_joined
        if self._flat_weights is not None and self._n_left <= 0:
            self._flat_weights.end_epoch()
        hear_interrupt()
        return logs

    def _call_keras(self, iterator):
        """Run Keras' own function: a user calls a method of Keras."""
        if self._of_keras is None:
            self._of_keras = restore_function(self._network, self._name)
        if self._batches is not None:  # in a callback: the training goes on after it
            replace_function(self._network, self._name, self)
        return self._of_keras(iterator)

    def _run(self, batch_size, *arrays):
        if self._flat_weights is not None:
            return self._flat_weights.run(batch_size, arrays)
        n_samples = tensorflow.shape(arrays[0])[0]
        strategy = self._network.distribute_strategy

        def run_batch(start):
            stop = tensorflow.minimum(start + batch_size, n_samples)
            batch = tuple(array[start:stop] for array in arrays)
            strategy.run(self._step, args=(batch,))
            return (stop,)

        tensorflow.while_loop(
            lambda start: start < n_samples,
            run_batch,
            (tensorflow.constant(0),),
            parallel_iterations=1,
        )
        return self._network.get_metrics_result()
