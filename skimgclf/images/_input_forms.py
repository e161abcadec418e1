"""Split a list, array or table of images into one cell an image."""

import numpy as np
from PIL import Image

from skimgclf._validation import warn_user
from skimgclf.exceptions import InvalidParameterError, SkimgclfWarning, mask_credentials
from skimgclf.images._decoding.cells import plain_source

# Kinds of NumPy's types: objects, and texts and bytes of fixed and of any length.
_TEXTS = "OUST"


def list_cells(owner, X):
    """Split a user's images into one cell an image.

    Parameters
    ----------
    owner : str
        The class or function that was called, for errors.
    X : list, tuple, array, Series or DataFrame of one column
        See `ImageLoader.transform`.

    Returns
    -------
    cells : list
        Paths, bytes, PIL images or arrays, one an image; not checked further.
    """
    return [plain_source(cell) for cell in _split_cells(owner, X)]


def _split_cells(owner, X):
    single = _name_single(X)
    if single is not None:
        raise InvalidParameterError(
            f"{owner} reads a list of images: wrap the single {single}."
        )
    if is_query(X):
        raise InvalidParameterError(
            f"{owner} reads a list, array, Series or one-column DataFrame of images. "
            f"Got a {type(X).__name__} instead, a query that hasn't run: pass what its "
            ".collect() returns."
        )
    # A list isn't turned into an array: NumPy would strip the zero bytes at the end of
    # bytes and turn PIL images into pixels.
    if isinstance(X, list | tuple):
        return list(X)
    if hasattr(X, "columns"):
        return _list_column(owner, X)
    if hasattr(X, "to_pylist"):  # a column of pyarrow's
        return X.to_pylist()
    # NumPy would make two columns of a struct of two fields.
    if str(getattr(X, "dtype", "")).startswith("Struct"):
        return X.to_list()
    if not hasattr(X, "__array__"):
        raise InvalidParameterError(
            f"{owner} reads a list, array, Series or one-column DataFrame of images. "
            f"Got a {type(X).__name__} instead."
        )
    return _list_array(owner, X if isinstance(X, np.ndarray) else np.asarray(X))


def _name_single(X):
    """Name a single image at the end of an error's sentence; None for others."""
    if isinstance(X, str | bytes) or hasattr(X, "__fspath__"):
        return f"one in a list, [{mask_credentials(repr(X)[:2000])[:200]}]"
    if isinstance(X, Image.Image):
        return "PIL image in a list"
    is_file = isinstance(X, dict) and "bytes" in X
    is_file = is_file or callable(getattr(X, "read", None))
    return f"{type(X).__name__} in a list" if is_file else None


def is_query(value):
    """Tell whether a value is a query that has yet to run, as polars' LazyFrame is."""
    return callable(getattr(value, "collect", None))


def list_images(owner, X):
    """Split a user's images as `list_cells` does, and refuse an empty list."""
    cells = list_cells(owner, X)
    if not cells:
        raise InvalidParameterError(
            f"{owner} needs at least one image. Got an empty {type(X).__name__} "
            "instead."
        )
    return cells


def _list_column(owner, frame):
    names = getattr(frame, "column_names", frame.columns)  # pyarrow's have both
    n_columns = len(names)
    if n_columns != 1:
        raise InvalidParameterError(
            f"{owner} reads one column of images. Got a table of {n_columns} columns: "
            f"select the one that holds the paths, as in X[[{names[0]!r}]]."
            if n_columns
            else f"{owner} reads one column of images. Got a table without columns."
        )
    column = frame[names[0]]
    return column.to_pylist() if hasattr(column, "to_pylist") else list(column)


def warn_of_channels(owner, shape):
    """Warn of an array that looks like channels first, as PyTorch has them.

    Parameters
    ----------
    owner : str
        The class or function that was called.
    shape : tuple of int
        Of an array of images in three or four dimensions.
    """
    *_, height, width = shape
    is_first = shape[-3] in {3, 4} and min(height, width) > 4
    if is_first and len(shape) == 3:
        warn_user(
            f"{owner} takes an array of shape {shape} for {shape[0]} gray images. If "
            "it is one image with its channels first, pass [array.transpose(1, 2, 0)].",
            SkimgclfWarning,
        )
    elif is_first or (len(shape) == 4 and shape[1] == 1 and min(height, width) > 4):
        warn_user(
            f"{owner} takes images with their channels last, and an array of shape "
            f"{shape} looks like channels first: pass array.transpose(0, 2, 3, 1).",
            SkimgclfWarning,
        )


def _list_array(owner, array):
    if array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind in _TEXTS:
        return list(array[:, 0])
    if array.ndim == 1 and (array.dtype.kind in _TEXTS or array.size == 0):
        return list(array)
    if array.ndim == 3 and array.shape[2] in {3, 4} and array.dtype.kind not in _TEXTS:
        raise InvalidParameterError(
            f"{owner} reads a list of images. An array of shape {array.shape} looks "
            "like a single colour image: wrap it in a list. Gray images of that width "
            "come as (n_samples, height, width, 1)."
        )
    if array.ndim in {3, 4} and array.dtype.kind not in _TEXTS:
        warn_of_channels(owner, array.shape)
        return list(array)
    raise InvalidParameterError(
        f"{owner} reads one image a row: an array of paths of shape (n_samples,) or "
        "(n_samples, 1), or decoded images of shape (n_samples, height, width) or "
        "(n_samples, height, width, n_channels). "
        f"Got an array of shape {array.shape} and type {array.dtype} instead."
    )
