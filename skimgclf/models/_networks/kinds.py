"""Tell the kind of an architecture or a backbone."""

import enum
import os

from skimgclf.models._networks.applications import BACKBONES
from skimgclf.models._networks.efficientnet_lite import LITE_NETWORKS
from skimgclf.models._start import keras

# First those whose weights come with a package, then those that Keras fetches.
BACKBONE_NAMES = (*LITE_NETWORKS, *BACKBONES)
_LOWER_NAMES = {name.casefold() for name in BACKBONE_NAMES}


class Kind(enum.Enum):
    """The kinds of architectures and backbones.

    Attributes
    ----------
    BUILT_IN
        The name of a builder of this package, such as "cnn", or another string.
    NAMED_BACKBONE
        The name of a pretrained network, of `BACKBONE_NAMES`, in any case.
    KERAS_FILE
        The path of a ``.keras`` file.
    MODEL
        A keras.Model.
    FUNCTION
        A callable that builds a network.
    """

    BUILT_IN = enum.auto()
    NAMED_BACKBONE = enum.auto()
    KERAS_FILE = enum.auto()
    MODEL = enum.auto()
    FUNCTION = enum.auto()

    @property
    def is_pretrained(self):
        """Whether the network was trained before."""
        return self in (Kind.NAMED_BACKBONE, Kind.KERAS_FILE, Kind.MODEL)


def kind_of(architecture):
    """Tell the kind of an architecture or a backbone.

    Parameters
    ----------
    architecture : object
        The value of the parameter `architecture` or `backbone`.

    Returns
    -------
    kind : Kind or None
        None for a value that is neither.
    """
    is_path = isinstance(architecture, str | os.PathLike)
    if is_path and os.fspath(architecture).endswith(".keras"):
        return Kind.KERAS_FILE
    if isinstance(architecture, str):
        is_backbone = architecture.casefold() in _LOWER_NAMES
        return Kind.NAMED_BACKBONE if is_backbone else Kind.BUILT_IN
    if not callable(architecture):
        return None
    is_class = isinstance(architecture, type)
    is_model = not is_class and isinstance(architecture, keras.Model)
    return Kind.MODEL if is_model else Kind.FUNCTION


def is_rebuilt_by_name(architecture):
    """Tell whether a network can be built again from the name of its architecture."""
    return kind_of(architecture) in (Kind.BUILT_IN, Kind.NAMED_BACKBONE)
