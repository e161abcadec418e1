"""Train a small network with all of its weights in one vector.

A small network's step takes as long as TensorFlow needs to start its operations, and an
optimizer of Keras has a dozen of them for each weight. Here the weights and the
optimizer's slots, such as its momenta, lie in vectors during an epoch, and Keras'
optimizer updates a vector as it updates one weight. It treats each number by itself, so
that all numbers are the same, bit for bit.
"""

import itertools

import numpy as np

from skimgclf.models._networks.layers import list_leaves
from skimgclf.models._repairs import leave_out_all_reduce, read_decayed, read_rate
from skimgclf.models._start import keras, tensorflow

# With more multiplications in a batch's forward pass, computing takes longer than
# starting operations.
_N_MULTIPLICATIONS = 10**7

# Optimizers whose operations are rounded in one way only. The others take TensorFlow's
# reciprocal square root, whose last bit depends on a number's place in its array.
_OPTIMIZERS = {"SGD", "Adam", "AdamW", "Adamax", "Nadam", "Ftrl", "Lion"}

# Settings with which an optimizer looks at a weight as a whole, or holds more than its
# slots.
_SETTINGS = (
    "clipnorm",
    "global_clipnorm",
    "use_ema",
    "gradient_accumulation_steps",
    "loss_scale_factor",
)


def choose_flat_weights(network, n_multiplications):
    """Put the weights of a network into vectors if that makes its training faster.

    Parameters
    ----------
    network : keras.Model
        Compiled; one that `describe_program` describes.
    n_multiplications : int
        Number of multiplications in a batch's forward pass.

    Returns
    -------
    flat : FlatWeights or None
    """
    weights, optimizer = network.trainable_variables, network.optimizer
    if (
        n_multiplications > _N_MULTIPLICATIONS
        or network.jit_compile
        or type(optimizer).__name__ not in _OPTIMIZERS
        or (type(optimizer) is keras.optimizers.SGD and _has_scales(network))
        or len({weight.dtype for weight in weights}) != 1
        # In 16 bits, a sum of counts depends on how many are added at once.
        or keras.config.floatx() not in ("float32", "float64")
        or any(getattr(optimizer, name) for name in _SETTINGS)
    ):
        return None
    vectors = _make_vectors(optimizer, weights)
    copied = _copy_for(optimizer, [vector for vector, _ in vectors])
    slots = _find_slots(copied, vectors, optimizer, weights)
    return slots and FlatWeights(network, copied, vectors, slots)


def _has_scales(network):
    """Tell whether gradients end in a product, as those of batch normalization do.

    TensorFlow regroups the product of such a gradient and a learning rate, which is
    rounded in another way then, unless the gradient is put into a vector before.
    """
    kind = keras.layers.BatchNormalization
    return any(isinstance(layer, kind) for layer in list_leaves(network))


class FlatWeights:
    """Run training steps with the weights of a network in vectors.

    Parameters
    ----------
    network : keras.Model
        Compiled.
    optimizer : keras.optimizers.Optimizer
        Updates the vectors as the network's optimizer updates the weights.
    vectors : list of tuple (keras.Variable, list of keras.Variable)
        Each vector with the weights in it.
    slots : list of tuple (keras.Variable, list of keras.Variable)
        Each variable of `optimizer` with those of the network's optimizer in it.
    """

    def __init__(self, network, optimizer, vectors, slots):
        self._network = network
        self._optimizer = optimizer
        self._vectors = vectors
        self._slots = slots

    def load(self):
        """Take all numbers of the network and its optimizer, when a training begins."""
        for vector, variables in self._vectors + self._slots:
            rows = [np.ravel(variable) for variable in variables]
            vector.assign(np.concatenate(rows).reshape(vector.shape))

    def end_epoch(self):
        """Give the network its weights, and its optimizer the number of its steps."""
        # TensorFlow's shape without axes is true.
        steps = [pair for pair in self._slots if len(pair[0].shape) == 0]
        _store(self._vectors + steps)

    def end(self):
        """Give the network's optimizer its slots, when a training ends."""
        # The weights may be those of an earlier epoch now.
        _store(self._slots)

    def run(self, batch_size, arrays):
        """Train on the batches of arrays, while TensorFlow traces.

        Parameters
        ----------
        batch_size : int tensor
            Number of samples in a batch.
        arrays : tuple of tensor
            Samples, targets, and weights if there are any.

        Returns
        -------
        logs : dict of str to tensor
            The loss and the metrics since the beginning of the epoch.
        """
        n_samples = tensorflow.shape(arrays[0])[0]
        n_batches = (n_samples + batch_size - 1) // batch_size
        output = self._network.outputs[0]

        def run_batch(index, outputs):
            start = index * batch_size
            stop = tensorflow.minimum(start + batch_size, n_samples)
            batch = (array[start:stop] for array in arrays)
            return index + 1, outputs.write(index, self._run_step(*batch))

        outputs = tensorflow.TensorArray(
            output.dtype, n_batches, infer_shape=False, element_shape=output.shape
        )
        _, outputs = tensorflow.while_loop(
            lambda index, _: index < n_batches,
            run_batch,
            (tensorflow.constant(0), outputs),
            parallel_iterations=1,
        )
        # Counting the right images of each batch would take a fifth of the time.
        return self._network.compute_metrics(*arrays[:2], outputs.concat())

    def _run_step(self, X, y, sample_weight=None):
        """Do what Keras' `train_step` does, without metrics; return the outputs."""
        network, states = self._network, self._network.non_trainable_variables
        parts = {}
        for vector, weights in self._vectors:
            parts.update(zip(map(id, weights), _cut(vector, weights), strict=True))
        values = [parts[id(weight)] for weight in network.trainable_variables]
        with tensorflow.GradientTape() as tape:
            tape.watch(values)
            outputs, new_states = network.stateless_call(
                values, [state.value for state in states], X, training=True
            )
            loss = network.compute_loss(X, y, outputs, sample_weight, training=True)
        network.metrics[0].update_state(loss, sample_weight=tensorflow.shape(X)[0])
        for state, value in zip(states, new_states, strict=True):
            state.assign(value)
        gradients = tape.gradient(loss, parts)
        rows = {key: tensorflow.reshape(part, [-1]) for key, part in gradients.items()}
        self._optimizer.apply(
            [
                tensorflow.concat([rows[id(weight)] for weight in weights], axis=0)
                for _, weights in self._vectors
            ]
        )
        return outputs


def _store(pairs):
    for vector, variables in pairs:
        values = np.ravel(vector)
        sizes = [variable.shape.num_elements() for variable in variables]
        parts = np.split(values, np.cumsum(sizes)[:-1])
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(part.reshape(variable.shape))


def _cut(vector, weights):
    shapes = [weight.shape for weight in weights]
    sizes = [shape.num_elements() for shape in shapes]
    parts = tensorflow.split(vector.value, sizes)
    return list(map(tensorflow.reshape, parts, shapes))


def _make_vectors(optimizer, weights):
    """Make a vector for the weights that decay, and one for those that don't."""
    is_decayed = read_decayed(optimizer, weights) or [True] * len(weights)
    vectors = []
    for name, wanted in (("decayed", True), ("spared", False)):
        is_member = [decays == wanted for decays in is_decayed]
        if members := list(itertools.compress(weights, is_member)):
            shape = (sum(weight.shape.num_elements() for weight in members),)
            dtype = members[0].dtype
            vector = keras.Variable("zeros", shape=shape, dtype=dtype, name=name)
            vectors.append((vector, members))
    return vectors


def _copy_for(optimizer, vectors):
    """Copy an optimizer, with its settings and its schedule, for other variables."""
    rate = read_rate(optimizer)
    config = {**optimizer.get_config(), "learning_rate": 0.0}
    copied = type(optimizer).from_config(config)
    if callable(rate):
        copied.learning_rate = rate
    spared = [vector for vector in vectors if vector.name == "spared"]
    if spared:
        copied.exclude_from_weight_decay(var_list=spared)
    copied.build(vectors)
    leave_out_all_reduce(copied)
    return copied


def _find_slots(copied, vectors, optimizer, weights):
    """Find the variables of an optimizer that lie in each variable of its copy.

    Keras names a slot by its weight and a word, as in kernel_momentum, and makes the
    slots of a word in the order of the weights.

    Returns
    -------
    slots : list of tuple (keras.Variable, list of keras.Variable), or None
        None where Keras does otherwise.
    """
    shapes, place_of = [weight.shape for weight in weights], {}
    for vector, members in vectors:
        for i, weight in enumerate(weights):
            if any(weight is member for member in members):
                place_of[i] = vector.name
    slots, single, taken = [], [], set()
    for variable in copied.variables:
        vector, _, word = variable.name.partition("_")
        if vector not in place_of.values():  # such as the number of steps
            single.append(variable)
            continue
        named = [slot for slot in optimizer.variables if slot.name.endswith(f"_{word}")]
        if [slot.shape for slot in named] != shapes:
            return None
        members = [slot for i, slot in enumerate(named) if place_of[i] == vector]
        slots.append((variable, members))
        taken.update(map(id, members))
    left = [[slot] for slot in optimizer.variables if id(slot) not in taken]
    return slots + list(zip(single, left, strict=True))
