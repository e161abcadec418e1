"""Share traced training programs between fits of the same kind of network.

Most of a short fit is TensorFlow tracing the network's training step, anew for each
network, though a search trains hundreds of the same kind. Here the first network of a
kind is kept as a stand-in, and its fit gives a copy to the user; it trains in place of
those that come after. A network's numbers go into the stand-in before the training and
come back after it: weights, the states of normalization and dropout, and the
optimizer's variables. So each fit starts from its own numbers and ends with them, bit
for bit as if trained itself.

Call these functions within `seeds.seeded` only, which lets one thread in at a time.
"""

import collections
import contextlib
import json

import numpy as np

from skimgclf.models._networks.kinds import is_rebuilt_by_name
from skimgclf.models._repairs import read_decayed, read_rate
from skimgclf.models._start import keras, tensorflow
from skimgclf.models._training.loss import HARD_LOSS
from skimgclf.models._training.schedule import find_schedule, list_variables

# Stand-ins by kind, the one used last at the end.
_stand_ins = collections.OrderedDict()

# Number of stand-ins that are kept. A search finishes all folds of a candidate before
# the next one.
_N_KEPT = 4

# Larger networks train much longer than they trace, and would take up memory.
_N_PARAMETERS = 1_000_000

# Optimizers that keep all numbers in variables, and compute without their names.
_OPTIMIZERS = {
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Nadam",
    "Ftrl",
    "Lion",
}


def build_metrics(network):
    """Create the variables of the loss and the metrics.

    Keras 3.15 creates them while TensorFlow traces, which then traces again.

    Parameters
    ----------
    network : keras.Model
        Compiled; maps samples to probabilities.
    """
    output = network.outputs[0]
    probabilities = np.ones((1, output.shape[-1]), dtype=output.dtype)
    is_hard = network.loss == HARD_LOSS
    targets = np.zeros(1, dtype=int) if is_hard else probabilities
    if network.losses:  # of layers: tensors of the program that was traced last
        network(np.zeros((1, *network.input_shape[1:])))
    network.compute_loss(y=targets, y_pred=probabilities)
    network.compute_metrics(None, targets, probabilities)


def describe_program(network, blueprint):
    """Describe all values that the traced training step of a network depends on.

    Parameters
    ----------
    network : keras.Model
        Compiled.
    blueprint : dict
        The arguments of `build_network` that made it.

    Returns
    -------
    description : str or None
        Equal for networks that can stand in for each other; None if unsure.
    """
    optimizer = network.optimizer
    kind = type(optimizer)
    if kind not in [getattr(keras.optimizers, name) for name in _OPTIMIZERS]:
        return None
    # A number is in a variable, as all numbers of a RateSchedule are, and so no part of
    # the program. Another schedule is.
    rate = read_rate(optimizer)
    if (
        not (isinstance(rate, float) or find_schedule(optimizer))
        # A file may be another network tomorrow, and a function another one each time.
        or not is_rebuilt_by_name(blueprint["architecture"])
        or _draws_while_traced(blueprint)
        or network.count_params() > _N_PARAMETERS
        or tensorflow.distribute.has_strategy()
        or keras.distribution.distribution() is not None
    ):
        return None
    settings = optimizer.get_config()
    del settings["learning_rate"], settings["name"]  # counts those of the process
    parts = [
        blueprint,
        kind.__name__,
        settings,
        network.loss,
        getattr(rate, "shape", None),
        read_decayed(optimizer, network.trainable_variables),
        keras.config.dtype_policy().name,
        keras.config.floatx(),
        keras.config.epsilon(),
        tensorflow.constant(0.0).device,
    ]
    try:
        return json.dumps(parts)
    except TypeError:  # an architecture of the user's, or another object
        return None


def _draws_while_traced(blueprint):
    # Keras' AugMix (3.15) does, and so may a layer of the user's: the program of
    # another seed would do other changes. The presets don't.
    augmentation = blueprint.get("augmentation") or ()
    return not all(isinstance(item, str) for item in augmentation)


@contextlib.contextmanager
def stand_in(network, kind):
    """Train another network, traced already, in place of a network.

    Parameters
    ----------
    network : keras.Model
        Compiled, with its optimizer's variables; trained afterwards.
    kind : str or None
        From `describe_program`; None to train the network itself.

    Yields
    ------
    trained : keras.Model
        The one to train: the network itself if it is the first of its kind, and then
        it is kept to stand in for others.
    """
    if kind is None:
        yield network
        return
    # Taken out first: after a failed training a stand-in must not be used again.
    trained = _stand_ins.pop(kind, network)
    _copy_numbers(network, trained)
    yield trained
    _copy_numbers(trained, network)
    _stand_ins[kind] = trained
    while len(_stand_ins) > _N_KEPT:
        _stand_ins.popitem(last=False)


def _copy_numbers(source, target):
    if source is target:
        return
    for old, new in zip(_variables(source), _variables(target), strict=True):
        new.assign(old)


def _variables(network):
    return [*network.variables, *list_variables(network.optimizer)]
