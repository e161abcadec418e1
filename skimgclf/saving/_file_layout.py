"""Write and read the file of `save_model`: safetensors with JSON in its header.

The header's entry "model" holds the JSON, and "sha256" the checksum of all bytes of the
file, itself counted as zeros. Nothing is compressed, and nothing in it is code.
"""

import hashlib
import json
import math
import os
import re
import stat

import numpy as np
import safetensors.numpy

from skimgclf._atomic import replace_atomically
from skimgclf._platform import open_without_waiting
from skimgclf.exceptions import ModelFileError

_ZEROS = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')

# JSON becomes some ten times larger in memory, and an array at least a kilobyte.
_MAX_HEADER_BYTES, _MAX_ARRAYS = 1 << 26, 10_000

# The first bytes of the zip file that an earlier form was.
_OLD = re.compile(rb"PK.{28}model\.json", re.DOTALL)

# A pickle, and streams of zlib, which joblib compresses by, at each level.
_PICKLE = re.compile(rb"\x80|\x78[\x01\x5e\x9c\xda]")


def write_model_file(path, document, arrays):
    """Write a model file atomically.

    Parameters
    ----------
    path : str or os.PathLike
        Where to.
    document : dict
        Of values that `json.dumps` takes.
    arrays : dict of str to ndarray
        Of any order in memory.
    """
    text = json.dumps(document, allow_nan=False)
    # safetensors stores an array that isn't C-contiguous wrongly, silently; and
    # ascontiguousarray would make a row of a number.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = safetensors.numpy.save(arrays, {"model": text, "sha256": _ZEROS})
    start, end = _DIGEST.search(content).span(1)
    parts = memoryview(content)
    with replace_atomically(path) as file:
        file.write(parts[:start])
        file.write(_digest(content, start, end))
        file.write(parts[end:])


def read_model_file(path):
    """Read a model file.

    Parameters
    ----------
    path : str or os.PathLike
        Where from.

    Returns
    -------
    document : dict
    arrays : dict of str to ndarray
    size : int
        Of the file, in bytes.

    Raises
    ------
    ModelFileError
        If the file is damaged or isn't one that `write_model_file` can have written.
    OSError
        If it can't be read at all.
    """
    with open(path, "rb", opener=open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{os.fspath(path)!r} isn't a regular file.")
        size, start = status.st_size, file.read(64)
        if _OLD.match(start):
            reason = (
                "was saved by an earlier version of skimgclf, in a form that isn't "
                "read any more: fit the model and save it again"
            )
            raise ModelFileError(path, size, reason)
        try:
            # Before the rest is read: a film may be larger than memory.
            text = _read_header(file, start, size)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            reason = f"is damaged, or wasn't written by save_model: {error}"
            raise ModelFileError(path, size, reason + _guess(start)) from error
        file.seek(0)
        content = file.read(size)
    try:
        _check_digest(content)
        return _parse(text), safetensors.numpy.load(content), size
    except Exception as error:  # safetensors' own errors have no public base but this
        raise ModelFileError(path, size, f"is damaged: {error}") from error


def _read_header(file, start, size):
    """Compare the header with the size of the file, and return the text of the JSON."""
    length = int.from_bytes(start[:8], "little")
    if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
        raise ValueError("it isn't a safetensors file, or was cut off")
    file.seek(8)
    header = _parse(file.read(length))
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.keys() != {"model", "sha256"}:
        raise ValueError("it is a safetensors file without a model of skimgclf")
    if len(header) > _MAX_ARRAYS:
        raise ValueError(f"it holds more than {_MAX_ARRAYS:,} arrays")
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if end != size - 8 - length:
        raise ValueError(f"it should have {8 + length + end:,} bytes")
    return metadata["model"]


def _check_digest(content):
    header = content[: 8 + int.from_bytes(content[:8], "little")]
    found = list(_DIGEST.finditer(header))
    if len(found) != 1 or found[0][1] != _digest(content, *found[0].span(1)):
        raise ValueError("its checksum is wrong")


def _digest(content, start, end):
    """Return the checksum of the bytes, with zeros from start to end."""
    parts = memoryview(content)
    digest = hashlib.sha256(parts[:start])
    digest.update(_ZEROS.encode())
    digest.update(parts[end:])
    return digest.hexdigest().encode()


def _parse(text):
    """Parse JSON strictly, as a dict."""
    try:
        document = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            object_pairs_hook=_make_object,
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON can't be read ({error})") from error
    if not isinstance(document, dict):
        raise ValueError("its JSON is no object")
    return document


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _parse_float(text):
    number = float(text)
    if math.isinf(number):
        _refuse_constant(text)
    return number


def _make_object(pairs):
    made = dict(pairs)
    if len(made) < len(pairs):  # Python would keep the last, other readers the first
        for name, _ in pairs:
            if name not in made:
                raise ValueError(f"{name!r} stands twice in an object")
            del made[name]
    return made


def _guess(start):
    if not _PICKLE.match(start):
        return ""
    return (
        ". It looks like a pickle or a joblib file: joblib.load reads those, and runs "
        "code from them"
    )
