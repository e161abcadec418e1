"""Read the arrays of a file of PyTorch's old format, without PyTorch.

Such a file is made of five pickles and the numbers behind them: a magic number, the
version of the format, sizes of types, the tensors by name, and the keys of the
storages in the order of their numbers.
"""

import collections
import io
import pickle

import numpy as np


def read_pytorch_file(content):
    """Read the arrays of a file of PyTorch's old format.

    Parameters
    ----------
    content : bytes
        The whole file, whose SHA-256 is known: of a stranger's file, no code would be
        run, but it could ask for any amount of memory.

    Returns
    -------
    arrays : dict of str to ndarray
        By the names of the tensors, in the order of the file; read-only.

    Raises
    ------
    pickle.UnpicklingError
        If the file holds anything but float32 and int64 tensors.
    """
    file = io.BytesIO(content)
    *_, tensors, keys = [_TensorUnpickler(file).load() for _ in range(5)]
    dtypes = {key: dtype for (key, dtype), *_ in tensors.values()}
    storages, start = {}, file.tell()
    for key in keys:
        size = int.from_bytes(content[start : start + 8], "little")
        storages[key] = np.frombuffer(content, dtypes[key], size, start + 8)
        start += 8 + storages[key].nbytes
    return {
        name: _view(storages[key], *place)
        for name, ((key, _), *place) in tensors.items()
    }


def _view(numbers, offset, shape, strides):
    """Return the part of a storage that is a tensor."""
    size = numbers.itemsize
    strides = [stride * size for stride in strides]
    return np.ndarray(shape, numbers.dtype, numbers, offset * size, strides)


def _take_tensor(storage, offset, shape, strides, *_gradient):
    """Stand for the function by which PyTorch makes a tensor."""
    return storage, offset, shape, strides


_KNOWN = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor_v2": _take_tensor,
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.LongStorage": np.dtype("<i8"),
}


class _TensorUnpickler(pickle.Unpickler):
    """Unpickle tensors as plain values; nothing that a file names is imported."""

    def find_class(self, module, name):
        """Return the stand-in for a name, and refuse other names."""
        if f"{module}.{name}" not in _KNOWN:
            reason = f"it holds more than tensors: {module}.{name} is refused"
            raise pickle.UnpicklingError(reason)
        return _KNOWN[f"{module}.{name}"]

    def persistent_load(self, storage):
        """Return the key and the type of a storage, whose numbers come later."""
        _, dtype, key, *_ = storage
        return key, dtype
