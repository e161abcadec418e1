"""The reader of PyTorch's old files: arrays, and no code that a file names.

The files are written here byte by byte, since PyTorch isn't installed.
"""

import os
import pickle
import struct

import numpy as np
import pytest

from skimgclf.models._networks.pytorch_file import read_pytorch_file

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
HEAD = [
    pickle.dumps(0x1950A86A20F9469CFC6C, 2),
    pickle.dumps(1001, 2),
    pickle.dumps({"little_endian": True, "type_sizes": {"int": 4}}, 2),
]
NUMBERS = np.arange(24, dtype="<f4")


def pack(value):
    """Pickle a plain value without the frame around it."""
    return pickle.dumps(value, 2)[2:-1]


def write_tensor(
    shape=(2, 3, 4),
    strides=(12, 4, 1),
    *,
    key="0",
    offset=0,
    size=24,
    storage=b"ctorch\nFloatStorage\n",
):
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + pack("storage")
        + storage
        + pack(key)
        + pack("cpu")
        + pack(size)
        + b"NtQ"
        + pack(offset)
        + pack(shape)
        + pack(strides)
        + b"\x89"  # needs no gradient
        + ORDERED_DICT
        + b"tR"
    )


def write_storage(numbers=NUMBERS):
    return struct.pack("<q", len(numbers)) + numbers.tobytes()


def write_file(tensors, keys=("0",), storages=None):
    """Write a file; `tensors` is one tensor, or the whole pickle behind the header."""
    if isinstance(tensors, dict):
        items = b"".join(pack(name) + tensor for name, tensor in tensors.items())
        # With the attribute _metadata, as PyTorch writes it.
        metadata = b"}" + pack("_metadata") + ORDERED_DICT + b"sb"
        tensors = ORDERED_DICT + b"(" + items + b"u" + metadata
    storages = write_storage() if storages is None else storages
    parts = [*HEAD, b"\x80\x02" + tensors + b".", pickle.dumps(list(keys), 2), storages]
    return b"".join(parts)


def test_arrays_have_their_names_shapes_and_order():
    bias, steps = np.ones(3, "<f4"), np.array([7], "<i8")
    content = write_file(
        {
            "weight": write_tensor(),
            "turned": write_tensor((4, 3, 2), (1, 4, 12)),
            "part": write_tensor((4,), (1,), offset=20),
            "bias": write_tensor((3,), (1,), key="b", size=3),
            "steps": write_tensor(
                (), (), key="s", size=1, storage=b"ctorch\nLongStorage\n"
            ),
        },
        keys=["s", "0", "b"],
        storages=write_storage(steps) + write_storage() + write_storage(bias),
    )
    arrays = read_pytorch_file(content)
    assert list(arrays) == ["weight", "turned", "part", "bias", "steps"]
    expected = NUMBERS.reshape(2, 3, 4)
    np.testing.assert_array_equal(arrays["weight"], expected)
    np.testing.assert_array_equal(arrays["turned"], expected.T)
    np.testing.assert_array_equal(arrays["part"], NUMBERS[20:])
    np.testing.assert_array_equal(arrays["bias"], bias)
    assert (arrays["steps"].dtype, arrays["steps"]) == (np.int64, 7)
    assert arrays["weight"].dtype == np.float32


class _Call:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize(
    ("operations", "sentence"),
    [
        (pack(_Call(print, "executed")), r"__builtin__.print is refused"),
        (pack(_Call(os.system, "true")), "system is refused"),
        (b"ctorch\nDoubleStorage\n", r"torch\.DoubleStorage is refused"),
        (b"c__main__\nprint\n", "__main__.print is refused"),
        (b"(i__builtin__\nprint\n", r"__builtin__.print is refused"),
        (b")c__builtin__\nprint\n\x81", r"__builtin__.print is refused"),
        (b"\x8c\x05posix\x8c\x06system\x93", r"posix\.system is refused"),
        (b"\x82\x01", "unregistered extension"),
    ],
)
def test_code_is_refused(operations, sentence, capsys):
    with pytest.raises((pickle.UnpicklingError, ValueError), match=sentence):
        read_pytorch_file(write_file(operations))
    assert capsys.readouterr().out == ""
