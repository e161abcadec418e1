"""Hold the result of a training."""

import dataclasses

import numpy as np

from skimgclf.models._fork_guard import use_tensorflow
from skimgclf.models._training.optimizer import OptimizerSettings
from skimgclf.models._training.seeds import alone


class NetworkHolder:
    """Hold a network, or plain data of one that is built when it is first used.

    Parameters
    ----------
    network : keras.Model, default=None
        The network.
    packed : PackedNetwork, default=None
        In place of a network.
    on_build : callable, default=None
        Gets the network that is built from `packed`.

    Attributes
    ----------
    packed : PackedNetwork or None
        None as soon as the network is built, since it may be trained further then.
    """

    def __init__(self, network=None, *, packed=None, on_build=None):
        self._network, self.packed, self._on_build = network, packed, on_build

    @property
    def network(self):
        """The network, built at first use."""
        if self.packed is not None:
            with alone():  # of two threads that need it, one builds it
                self._build()
        return self._network

    def _build(self):
        if self.packed is None:
            return
        self._network = self.packed.unpack()
        if self._on_build is not None:
            self._on_build(self._network)
        self.packed = None

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
