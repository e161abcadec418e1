"""Write Python values as JSON, and read exactly the same values back.

JSON has no tuples, no keys but strings and no infinity, so these are written as an
object of one key that names its kind: ``{"tuple": [28, 28]}``,
``{"dict": [[1, 0.5]]}``, ``{"float": "nan"}``,
``{"array": ["<U5", ["night", "day"]]}``. A dict of strings is a JSON object, unless it
has one such key. There is nothing in it that could name code.
"""

import math
import numbers
import os
import re

import numpy as np

_KINDS = {"array", "dict", "float", "tuple"}
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

# Strings, bools, ints and floats; an "O" array holds plain strings, bools and ints.
_DTYPE = re.compile(r"<U\d{1,6}|\|b1|[<|][iu][1248]|<f[248]|\|O")
_MAX_ARRAY_BYTES = 1 << 28


def encode(value):
    """Turn a value into one that JSON can carry.

    Parameters
    ----------
    value : object
        None, bool, int, float, str or a NumPy scalar of these; a path, which becomes
        str; a one-dimensional array; or a tuple, list or dict of all these.

    Returns
    -------
    encoded : object
        For `json.dumps`.

    Raises
    ------
    TypeError
        If there is something else in it.

    Examples
    --------
    >>> from skimgclf.saving._values import decode, encode
    >>> encode({"image_size": (28, 28)})
    {'image_size': {'tuple': [28, 28]}}
    >>> decode(encode({"image_size": (28, 28)}))
    {'image_size': (28, 28)}
    """
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str | os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else {"float": str(number)}
    if type(value) is tuple:
        return {"tuple": [encode(item) for item in value]}
    if type(value) is list:
        return [encode(item) for item in value]
    if isinstance(value, dict):
        if all(type(key) is str for key in value) and not _is_marked(value):
            return {key: encode(item) for key, item in value.items()}
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    raise TypeError(f"a {type(value).__name__} can't be written as JSON: {value!r}")


def decode(encoded):
    """Turn the result of `encode` back into the value.

    Parameters
    ----------
    encoded : object
        From `json.loads`; from a stranger perhaps.

    Returns
    -------
    value : object

    Raises
    ------
    ValueError
        If `encode` can't have written it.
    """
    if encoded is None or isinstance(encoded, bool | int | float | str):
        return encoded
    if isinstance(encoded, list):
        return [decode(item) for item in encoded]
    if _is_marked(encoded):
        ((kind, content),) = encoded.items()
        if kind == "tuple" and isinstance(content, list):
            return tuple(decode(item) for item in content)
        if kind == "dict" and isinstance(content, list):
            return _decode_dict(content)
        if kind == "float" and isinstance(content, str) and content in _FLOATS:
            return _FLOATS[content]
        if kind == "array" and isinstance(content, list) and len(content) == 2:
            return _decode_array(*content)
        raise ValueError(f"unknown value {_shorten(encoded)}")
    return {key: decode(item) for key, item in encoded.items()}


def _is_marked(value):
    return len(value) == 1 and not _KINDS.isdisjoint(value)


def _decode_dict(pairs):
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"unknown dict {_shorten(pairs)}")
    keys = [decode(key) for key, _ in pairs]
    if not all(isinstance(key, str | int | float | None) for key in keys):
        raise ValueError(f"unknown keys of a dict {_shorten(keys)}")
    result = {key: decode(item) for key, (_, item) in zip(keys, pairs, strict=True)}
    if len(result) != len(keys):
        raise ValueError(f"a key is twice in a dict: {_shorten(keys)}")
    return result


def _encode_array(array):
    little = array.dtype.newbyteorder("<")
    if array.ndim != 1 or not _DTYPE.fullmatch(little.str):
        raise TypeError(
            f"an array of shape {array.shape} and dtype {array.dtype} can't be written "
            "as JSON"
        )
    values = array.tolist()
    if array.dtype == object and not all(isinstance(v, str | int) for v in values):
        raise TypeError(
            "an array of objects that aren't all strings, ints or bools can't be "
            "written as JSON"
        )
    return {"array": [little.str, [encode(value) for value in values]]}


def _decode_array(dtype, values):
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError(f"unknown dtype {_shorten(dtype)} of an array")
    if not isinstance(values, list):
        raise ValueError("the values of an array aren't a list")
    dtype, values = np.dtype(dtype), [decode(value) for value in values]
    if len(values) * dtype.itemsize > _MAX_ARRAY_BYTES:
        raise ValueError("an array is too large")
    allowed = {"U": str, "b": bool, "i": int, "u": int, "f": float}
    for value in values:
        if not isinstance(value, allowed.get(dtype.kind, str | int)):
            raise ValueError(f"{_shorten(value)} in an array of dtype {dtype.str}")
    array = np.array(values, dtype=dtype)
    if array.tolist() != values and dtype.kind != "f":
        raise ValueError(f"an array of dtype {dtype.str} can't hold its values")
    return array


def _shorten(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
