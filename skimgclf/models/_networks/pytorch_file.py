"""Read the arrays of a file of PyTorch's old format, without PyTorch.

Such a file is made of five pickles and the numbers behind them: a magic number, the
version of the format, sizes of types, the tensors by name, and the keys of the
storages in the order of their numbers. Python's own unpickler calls functions and sets
attributes as a file says. The one here knows the few operations that tensors need, and
makes plain values only.
"""

import io
import pickletools
import typing

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # torch/serialization.py, before version 1.6
_VERSION = 1001
_DTYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"

# A network of 400 tensors takes 14,000; it bounds the memory for plain values.
_MAX_OPERATIONS = 100_000
_MAX_AXES = 4  # of the kernel of a convolution

# Of each operation that takes values from the stack: how many; None for all behind a
# mark.
_N_TAKEN = {
    "TUPLE": None,
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "APPEND": 1,
    "APPENDS": None,
    "SETITEM": 2,
    "SETITEMS": None,
    "REDUCE": 2,
    "BUILD": 1,
    "BINPERSID": 1,
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_MEMO = {"BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "GLOBAL"}
_KNOWN = {"PROTO", "MARK", "STOP", *_N_TAKEN, *_CONSTANTS, *_EMPTY, *_MEMO, *_VALUES}
_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}


class _Name(str):
    """A function or type that a file names; nothing is imported."""


class _Storage(typing.NamedTuple):
    key: str
    dtype: np.dtype
    size: int


class _Tensor(typing.NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


def read_pytorch_file(content):
    """Read the arrays of a file of PyTorch's old format.

    Parameters
    ----------
    content : bytes
        The whole file. A stranger may have written it: no code of it is run, and the
        memory that is taken is bounded by the length of the file.

    Returns
    -------
    arrays : dict of str to ndarray
        By the names of the tensors, in the order of the file; read-only.

    Raises
    ------
    ValueError
        If the file is damaged, or holds anything but float32 and int64 tensors.
    """
    file = io.BytesIO(content)
    try:
        if (_read_pickle(file), _read_pickle(file)) != (_MAGIC_NUMBER, _VERSION):
            raise ValueError("it isn't a file of PyTorch's old format")
        _read_pickle(file)  # sizes of types of the machine that wrote it
        tensors, keys = _read_pickle(file), _read_pickle(file)
        if not isinstance(tensors, dict) or not isinstance(keys, list):
            raise ValueError("it holds no tensors")
        storages = _read_storages(content, file.tell(), tensors, keys)
        return {name: _view(tensor, storages) for name, tensor in tensors.items()}
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError("its pickles are damaged") from error


def _read_pickle(file):
    """Read one pickle of plain values, tensors and storages."""
    stack, marks, memo = [], [], {}
    for _ in range(_MAX_OPERATIONS):
        name, argument = _read_operation(file)
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _N_TAKEN:
            n_taken = _N_TAKEN[name]
            start = marks.pop() if n_taken is None else len(stack) - n_taken
            items = stack[start:]
            del stack[start:]
            _put(stack, name, items)
        elif name != "PROTO":
            stack.append(_make(name, argument))
    raise ValueError(f"it has a pickle of more than {_MAX_OPERATIONS} operations")


def _read_operation(file):
    """Read the name of an operation, and its argument if it is one of those known."""
    operation = _OPERATIONS[file.read(1).decode("latin-1")]
    if operation.name not in _KNOWN:
        raise ValueError(f"it holds more than tensors: {operation.name} is refused")
    if operation.name == "GLOBAL":  # pickletools would warn of backslashes
        lines = file.readline(), file.readline()
        return operation.name, b" ".join(map(bytes.strip, lines)).decode("ascii")
    return operation.name, operation.arg and operation.arg.reader(file)


def _put(stack, name, items):
    """Do what an operation does with items from the top of the stack."""
    if name in ("APPEND", "APPENDS"):
        stack[-1] += _checked(items, str)
    elif name in ("SETITEM", "SETITEMS"):
        # Of other keys, such as nested tuples, a hash may take for ever.
        keys = _checked(items[::2], str)
        stack[-1].update(zip(keys, items[1::2], strict=True))
    elif name == "REDUCE":
        stack.append(_call(*items))
    elif name == "BINPERSID":
        stack.append(_make_storage(*items[0]))
    elif name != "BUILD":  # which sets attributes of a dict: versions, not needed
        stack.append(tuple(items))


def _make(name, argument):
    """Make the value that an operation puts onto the stack."""
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name in _EMPTY:
        return _EMPTY[name]()
    if name != "GLOBAL":
        return argument
    if argument not in (_DICT, _TENSOR, *_DTYPES):
        refused = argument.replace(" ", ".")
        raise ValueError(f"it holds more than tensors: {refused} is refused")
    return _Name(argument)


def _call(function, arguments):
    """Do what a call of one of the known functions does."""
    if isinstance(function, _Name) and function == _DICT and arguments == ():
        return {}
    if isinstance(function, _Name) and function == _TENSOR:
        storage, offset, shape, strides = arguments[:4]
        if isinstance(storage, _Storage) and len(shape) == len(strides) <= _MAX_AXES:
            _check_lengths(offset, *shape, *strides)
            return _Tensor(storage, offset, shape, strides)
    raise ValueError("it holds more than tensors: a call is refused")


def _make_storage(kind, dtype, key, _device, size, view):
    if kind != "storage" or not isinstance(dtype, _Name) or view is not None:
        raise ValueError("it holds more than tensors: a storage is refused")
    _checked([key], str)
    _check_lengths(size)
    return _Storage(key, np.dtype(_DTYPES[dtype]), size)


def _checked(items, kind):
    if not all(type(item) is kind for item in items):
        raise TypeError(f"{kind.__name__} is expected")
    return items


def _check_lengths(*lengths):
    if min(_checked(lengths, int)) < 0:
        raise ValueError("it has a negative length")


def _read_storages(content, start, tensors, keys):
    """Read the bytes behind the pickles: for each storage a length and its numbers."""
    declared, storages = {}, {}
    for tensor in tensors.values():
        _checked([tensor], _Tensor)
        storage = declared.setdefault(tensor.storage.key, tensor.storage)
        if storage != tensor.storage:
            raise ValueError(f"it has two storages {storage.key!r}")
    for key in keys:
        storage = declared[key]
        size = int.from_bytes(content[start : start + 8], "little")
        if size != storage.size:
            raise ValueError(f"storage {key!r} has {size} numbers, not {storage.size}")
        storages[key] = np.frombuffer(content, storage.dtype, size, start + 8)
        start += 8 + storages[key].nbytes
    return storages


def _view(tensor, storages):
    """Return the part of a storage that is a tensor."""
    numbers = storages[tensor.storage.key]
    # NumPy refuses strides that lead beyond the buffer.
    array = np.ndarray(
        tensor.shape,
        numbers.dtype,
        buffer=numbers,
        offset=tensor.offset * numbers.itemsize,
        strides=[stride * numbers.itemsize for stride in tensor.strides],
    )
    if array.size > numbers.size:  # the same numbers again and again
        raise ValueError("a tensor is larger than its storage")
    return array
