"""Pretrained networks without their last layers: built, prepared, loaded and shared.

`build_backbone` puts layers in front of a network that turn pixels in [0, 1] into the
pixels that the network takes. `load_backbone` keeps the last few backbones of this
process, so that the clones of a search share them.
"""

import dataclasses
import hashlib
import os
import threading
from collections import OrderedDict

import keras
import numpy as np

from skimgclf._validation import Rule, parameter_error
from skimgclf.models._keras_file import load_keras_bytes
from skimgclf.models._networks.applications import BACKBONES, FAMILIES, prepare_pixels
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.layers import DATA_FORMAT, pool_features
from skimgclf.models._predict import make_predict_function
from skimgclf.models._repairs import (
    parse_failed_download,
    quiet_about_input_shape,
)
from skimgclf.models._training.seeds import seeded

# The largest have 0.8 GB of weights: a search needs one or two.
_N_KEPT = 4

_IMAGENET = "imagenet"
WEIGHTS = Rule(
    f"{_IMAGENET!r}, None or the path of a file of weights that exists",
    lambda value: value is None or isinstance(value, str | os.PathLike),
    (3, True),
)

# The parameter that names a backbone.
_NAMES = {"ImageEmbedder": "backbone", "KerasImageClassifier": "architecture"}

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
    predict : callable
        Computes the features of one batch, from `make_predict_function`.
    digest : str or None
        Hash of the file or weights of the network; None for a model that was given.
    """

    network: keras.Model
    predict: object
    digest: str


def load_backbone(owner, backbone, weights, pooling, image_shape):
    """Load a backbone, or return the one that this process has already.

    Parameters
    ----------
    owner : str
        The class whose parameters `backbone` and `weights` are.
    backbone : str, os.PathLike or keras.Model
        A name, the path of a ``.keras`` file, or a model.
    weights : str, os.PathLike or None
        "imagenet", a file, or None for random ones; for names only.
    pooling : {"avg", "max"}
        What makes one row of a feature map.
    image_shape : tuple of int
        (height, width, n_channels).

    Returns
    -------
    backbone : Backbone
    """
    policy = keras.config.dtype_policy().name
    key = (_identify(backbone), _identify(weights), pooling, image_shape, policy)
    with _kept_lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    with seeded(0):  # random weights are the same in every process
        network = build_backbone(owner, backbone, weights, image_shape, pooling=pooling)
        loaded = Backbone(
            network, make_predict_function(network), _digest(backbone, network)
        )
    with _kept_lock:
        _kept[key] = loaded
        while len(_kept) > _N_KEPT:
            _kept.popitem(last=False)
    return loaded


def build_backbone(owner, backbone, weights, image_shape, *, pooling):
    """Build a backbone, with what its pixels need in front.

    Parameters
    ----------
    owner, backbone, weights, pooling, image_shape
        As in `load_backbone`.

    Returns
    -------
    network : keras.Model
        Pixels in [0, 1] to features.
    """
    kind = kind_of(backbone)
    if kind is Kind.APPLICATION:
        family = FAMILIES[BACKBONES[backbone]]
        expected = (None, None, 3)
        _check_image(owner, backbone, image_shape, expected, family.min_size)
        model = _build_application(owner, backbone, weights, image_shape[:2])
    else:
        family = None
        model = backbone if kind is Kind.MODEL else _read_model(owner, backbone)
        expected = _check_model(owner, backbone, model)
        _check_image(owner, model.name, image_shape, expected, 1)
    x = inputs = keras.Input(image_shape)
    if (image_shape[2], expected[2]) == (1, 3):
        x = keras.layers.Concatenate()([x, x, x])
    if family is not None:
        x = prepare_pixels(x, family.pixels)
    features = model(x)
    if len(features.shape) == 4:
        features = pool_features(features, pooling)
    return keras.Model(inputs, features)


def copy_backbone(owner, backbone, weights, image_shape):
    """Build a backbone that shares nothing with others, to be trained.

    Parameters
    ----------
    owner, backbone, weights, image_shape
        As in `load_backbone`; random weights are drawn here.

    Returns
    -------
    network : keras.Model
        As `build_backbone` builds it, with pooling "avg".
    """
    network = build_backbone(owner, backbone, None, image_shape, pooling="avg")
    if weights is not None and kind_of(backbone) is not Kind.KERAS_FILE:
        shared = load_backbone(owner, backbone, weights, "avg", image_shape)
        network.set_weights(shared.network.get_weights())
    return network


def find_inner_model(network):
    """Return the model without preprocessing that `build_backbone` has built around."""
    return next(
        layer for layer in reversed(network.layers) if isinstance(layer, keras.Model)
    )


def _identify(source):
    """Make a key that is another one when a file has changed."""
    if isinstance(source, keras.Model):
        # It stays alive as long as its key does, so that no other one gets its id.
        return id(source)
    if source is None or not os.path.isfile(source):
        return source
    status = os.stat(source)
    return os.path.abspath(source), status.st_mtime_ns, status.st_size, status.st_ino


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


def _build_application(owner, name, weights, image_size):
    if weights not in (None, _IMAGENET) and not os.path.isfile(weights):
        raise parameter_error(owner, "weights", WEIGHTS.expected, weights)
    data_format = keras.config.image_data_format()
    keras.config.set_image_data_format(DATA_FORMAT)
    try:
        with quiet_about_input_shape():
            return getattr(keras.applications, name)(
                include_top=False,
                weights=weights if weights is None else os.fspath(weights),
                input_shape=(*image_size, 3),
            )
    except Exception as error:  # a bare one where there is no network
        raise _explain(owner, name, weights, error) from error
    finally:
        keras.config.set_image_data_format(data_format)


def _explain(owner, name, weights, error):
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    failed = parse_failed_download(reason)
    if failed is None:
        expected = (
            f"the weights of Keras' {name} without its top (include_top=False); Keras "
            f"says: {reason}"
        )
        return parameter_error(owner, "weights", expected, weights)
    file_name, cause = failed
    folder = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
    expected = (
        f"the path of the file {file_name} here, since Keras can't fetch it ({cause}). "
        f"With a network, keras.applications.{name}(include_top=False) leaves it in "
        f"~/.keras/models. Copy it, and pass its path as weights or put it into "
        f"{folder}; weights=None gives random ones"
    )
    return parameter_error(owner, "weights", expected, weights)


def _read_model(owner, path):
    try:
        with open(path, "rb") as file:
            return load_keras_bytes(file.read())
    except OSError as error:
        expected = f"the path of a .keras file that can be read ({error.strerror})"
        raise parameter_error(owner, _NAMES[owner], expected, path) from None
    except Exception as error:  # Keras raises errors of every kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        expected = f"a .keras file that Keras can read in safe mode; it says: {reason}"
        raise parameter_error(owner, _NAMES[owner], expected, path) from error


def _check_model(owner, backbone, model):
    """Refuse a model that doesn't map images to features; return what it takes."""
    inputs, outputs = (getattr(model, name, None) for name in ("inputs", "outputs"))
    shapes = [tuple(tensor.shape) for tensor in [*(inputs or []), *(outputs or [])]]
    ranks = [len(shape) for shape in shapes]
    if ranks not in ([4, 2], [4, 4]) or shapes[1][-1] is None:
        expected = (
            "a model that maps images (n, height, width, n_channels) to features (n, "
            "d) or feature maps (n, height, width, d)"
        )
        expected = f"{expected}, not {shapes}"
        raise parameter_error(owner, _NAMES[owner], expected, backbone)
    return shapes[0][1:]


def _check_image(owner, name, image_shape, expected, min_size):
    """Refuse images that the backbone can't take, in a sentence that says how to."""
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
