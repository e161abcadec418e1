"""Hold the result of a training."""

import dataclasses
import threading

import numpy as np

from skimgclf.models._fork_guard import use_tensorflow
from skimgclf.models._training.optimizer import OptimizerSettings


class NetworkHolder:
    """Hold a network, or plain data of one that is built when it is first used.

    Parameters
    ----------
    network : keras.Model, default=None
        The network.
    packed : PackedNetwork, default=None
        In place of a network.

    Attributes
    ----------
    packed : PackedNetwork or None
        None as soon as the network is built, since it may be trained further then.
    """

    def __init__(self, network=None, *, packed=None):
        self._network, self.packed = network, packed
        self._lock = threading.Lock()

    @property
    def network(self):
        """The network, built at first use."""
        packed = self.packed
        if packed is not None:
            network = packed.unpack()
            with self._lock:  # of two threads that build it, one is first
                if self.packed is not None:
                    self._network, self.packed = network, None
        return self._network

    @property
    def dtype_policy(self):
        """Keras' name of the types of the network."""
        packed = self.packed
        if packed is not None:
            return packed.description["dtype_policy"]
        return self._network.dtype_policy.name

    def list_weights(self):
        """List the values of all variables as they are now."""
        packed = self.packed
        if packed is not None:
            return packed.list_weights()
        use_tensorflow()
        return [variable.numpy() for variable in self._network.variables]


@dataclasses.dataclass(frozen=True)
class Training:
    """The result of a training, and all that a further training needs.

    Attributes
    ----------
    holder : NetworkHolder
        Of the trained network.
    blueprint : dict
        The arguments of `build_network` that built the network.
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    order : numpy.random.Generator
        Draws the order of the samples in further epochs.
    settings : OptimizerSettings
        Those of the optimizer that the network was trained with last.
    history : dict of str to list of float
        One value an epoch for the loss and each metric.
    best_iter : int
        The epoch, from 1, that the network's weights are from.
    """

    holder: NetworkHolder
    blueprint: dict
    classes: np.ndarray
    order: np.random.Generator
    settings: OptimizerSettings
    history: dict
    best_iter: int

    @property
    def network(self):
        """The trained keras.Model."""
        return self.holder.network
