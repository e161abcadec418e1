"""The reader of PyTorch's old files: arrays, and nothing else that a file may ask for.

The files are written here byte by byte, since PyTorch isn't installed.
"""

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def write_storage(numbers=NUMBERS, size=None):
    return struct.pack("<q", len(numbers) if size is None else size) + numbers.tobytes()


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


def write_one(*arguments, **options):
    return write_file({"weight": write_tensor(*arguments, **options)})


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
        (pack(_Call(print, "executed")), "__builtin__.print is refused"),
        (pack(_Call(os.system, "true")), "system is refused"),
        (b"ctorch\nDoubleStorage\n", r"torch\.DoubleStorage is refused"),
        (pickle.dumps(_Call(print), 4)[2:-1], "FRAME is refused"),
        (ORDERED_DICT[:-2] + pack((1,)) + b"R", "a call is refused"),
        (pack("collections OrderedDict") + b")R", "a call is refused"),
        (b"c__main__\nprint\n", "__main__.print is refused"),
        (b"(i__builtin__\nprint\n", "INST is refused"),
        (b"(c__builtin__\nprint\no", "__builtin__.print is refused"),
        (b")c__builtin__\nprint\n\x81", "__builtin__.print is refused"),
        (b")\x81", "NEWOBJ is refused"),
        (b"\x8c\x05posix\x8c\x06system\x93", "SHORT_BINUNICODE is refused"),
        (b"P0\n", "PERSID is refused"),
        (b"\x82\x01", "EXT1 is refused"),
    ],
)
def test_code_is_refused(operations, sentence, capsys):
    with pytest.raises(ValueError, match=sentence):
        read_pytorch_file(write_file(operations))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"offset": 1}, "strides"),
        ({"offset": 25}, "buffer"),
        ({"offset": -1}, "negative length"),
        ({"offset": 2**64}, "damaged"),
        ({"strides": (12, 4, 2)}, "strides"),
        ({"strides": (12, 4, -1)}, "negative length"),
        ({"strides": (12, 4, 2**62)}, "dimension exceeded"),
        ({"shape": (2, 3, 5)}, "strides"),
        ({"shape": (2, 3, -4)}, "negative length"),
        ({"shape": (2**20, 3, 4), "strides": (0, 4, 1)}, "larger than its storage"),
        ({"shape": (2**40, 3, 4), "strides": (0, 4, 1)}, "larger than its storage"),
        ({"shape": (2**62, 2**62, 2**62), "strides": (0, 0, 0)}, "too big|damaged"),
        ({"shape": (2, 3)}, "a call is refused"),
        ({"shape": (1,) * 5, "strides": (1,) * 5}, "a call is refused"),
        ({"shape": (2.0, 3, 4)}, "BINFLOAT is refused"),
        ({"shape": (2, 3, "4")}, "damaged"),
        ({"shape": 24, "strides": 1}, "damaged"),
        ({"offset": True}, "damaged"),
        ({"size": 25}, "has 24 numbers, not 25"),
        ({"size": -24}, "negative length"),
        ({"size": 2**62}, "has 24 numbers, not"),
        ({"storage": pack("torch FloatStorage")}, "a storage is refused"),
        ({"storage": b"ccollections\nOrderedDict\n"}, "damaged"),
        ({"key": "1"}, "damaged"),
        ({"key": ("0",)}, "damaged"),
    ],
    ids=repr,
)
def test_tensors_that_do_not_fit_their_storage_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_pytorch_file(write_one(**options))


TWICE = b")2"  # DUP
SHARED = b")" + b"q\x00h\x00\x86" * 50  # a tree of 2**50 leaves


def nest(n_tuples):
    """Put an empty tuple into a tuple into a tuple ..."""
    return b")" + b"\x85" * n_tuples


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged"),
        (pickle.dumps(7, 2) * 5, "isn't a file of PyTorch's old format"),
        (HEAD[0] + pickle.dumps(1002, 2), "isn't a file of PyTorch's old format"),
        (write_one()[:-1], "buffer is smaller"),
        (write_file({"weight": write_tensor()}, storages=b""), "0 numbers, not 24"),
        (write_file({"weight": write_tensor()}, keys=[]), "damaged"),
        (write_file({"weight": write_tensor()}, keys=["0", "1"]), "damaged"),
        (write_file({"weight": pack(3)}), "damaged"),
        (write_file(pack([])), "holds no tensors"),
        (
            write_file({"a": write_tensor(), "b": write_tensor((2,), (1,), size=2)}),
            "two storages",
        ),
        (write_file(b"}" + pack((1,)) + b"Ns"), "damaged"),
        (write_file(b"}" + SHARED + b"Ns"), "damaged"),
        (write_file(nest(10_000)), "holds no tensors"),
        pytest.param(
            write_file(nest(50_000)), "holds no tensors", marks=pytest.mark.slow
        ),
        (write_file(TWICE), "DUP is refused"),
        (write_file(b"}" * 100_000), "more than 100000 operations"),
        (write_file(b"}" * 50 + b"0" * 49), "POP is refused"),
        (write_file(b"q\x00"), "damaged"),
        (write_file(b"h\x00"), "damaged"),
        (write_file(b"t"), "damaged"),
        (write_file(b"\x8a\xff" + b"\x00" * 3), "not enough data"),
        (write_file(b"X\xff\xff\xff\x7fa"), "expected 2147483647 bytes"),
        (write_file(b"]r\xff\xff\xff\xff"), "holds no tensors"),  # a memo of 4 billion
    ],
)
def test_damaged_and_hostile_files_are_refused_at_once(content, sentence):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=sentence):
            read_pytorch_file(content)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(content) + 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=120, deadline=1000)
@given(st.data())
def test_a_file_with_changed_bytes_gives_arrays_or_a_value_error(data):
    content = bytearray(write_one())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.integers(0, 255)
        )
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    try:
        arrays = read_pytorch_file(bytes(content))
    except ValueError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(content)
