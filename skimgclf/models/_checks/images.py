"""Check samples: images or rows of features."""

import functools
import math
import os

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from skimgclf._validation import warn_user
from skimgclf.exceptions import describe_list
from skimgclf.images import LazyImages
from skimgclf.images._input_forms import warn_of_channels
from skimgclf.models._start import read_floatx

# Highest value of images that seem to be divided by 255 twice, which makes 1 / 255 =
# 0.004 of white; the brightest pixel of a photo is above 0.02.
_TOO_DARK = 0.02

# Number of images from which such dark ones are reported: a few may be right.
_MANY = 10

# Float images with a higher value are of 8 bits, unless they are negative too:
# standardized images stay below.
_TOO_BRIGHT = 16

# How far values may lie outside of [0, 1], as after resizing by other libraries.
_ROUNDING = 1e-3


def check_samples(estimator, X, *, reset, name="X"):
    """Validate samples: images in four dimensions, or rows of features in two.

    Parameters
    ----------
    estimator : KerasImageClassifier
        Its ``n_features_in_``, ``feature_names_in_`` and ``image_shape_`` are set
        (`reset`) or compared.
    X : array-like
        (n_samples, height, width, n_channels) images, float in [0, 1], uint8 or lazy,
        or (n_samples, n_features) rows of anything finite.
    reset : bool
        True in fit; False if the samples must have the shape of those in fit.
    name : str, default="X"
        Name of the samples, for errors.

    Returns
    -------
    X : ndarray or LazyImages of the same shape
        In Keras' float type; uint8 images stay uint8, and lazy images stay lazy.
    """
    if not isinstance(X, LazyImages):
        _refuse_files(estimator, X, name)
        X = _stack_images(X, name)
    if len(getattr(X, "shape", ())) > 2:
        X = _check_images(estimator, X, reset, name)
    else:
        if not reset:
            _refuse_rows_after_images(estimator, name)
        X = validate_data(estimator, X, reset=reset, dtype=read_floatx())
    if reset:
        estimator.image_shape_ = X.shape[1:]
    return X


def _refuse_files(estimator, X, name):
    """Refuse paths, text and PIL images, which an ImageLoader must load."""
    first = X if isinstance(X, str | bytes | os.PathLike) else _first_cell(X)
    is_text = isinstance(first, str | bytes | os.PathLike)
    if is_text or hasattr(first, "getbands"):
        kind = "paths or text" if is_text else "PIL images"
        raise ValueError(
            f"{name} holds {kind}, not pixels: its first cell is {first!r}. Put an "
            "ImageLoader in front: make_pipeline(ImageLoader(), "
            f"{type(estimator).__name__}())."
        )


def _first_cell(X):
    if hasattr(X, "to_numpy"):
        X = X.head(1).to_numpy()
    while isinstance(X, list | tuple | np.ndarray) and len(X):
        if isinstance(X, np.ndarray) and X.dtype.kind in "biufc":
            return None
        X = X[0]
    return X


def _stack_images(X, name):
    """Stack images that come in a list, or in a Series or array of objects."""
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    if kind == "O" and len(getattr(X, "shape", ())) == 1:
        X = list(X)
    first = X[0] if isinstance(X, list | tuple) and X else None
    if getattr(first, "ndim", 0) < 2 and not _is_nested(first):
        return X
    if len({image.dtype == np.uint8 for image in X if hasattr(image, "dtype")}) > 1:
        raise ValueError(
            f"{name} mixes images of 8 bits (uint8, up to 255) with others (floats, up "
            "to 1). Load them with one ImageLoader."
        )
    shapes = {np.shape(image) for image in X if hasattr(image, "shape")}
    if len(shapes) > 1:
        summary = (
            f"The images in {name} must have one shape: load them with one "
            "ImageLoader(image_size=(height, width)). Shapes found:"
        )
        raise ValueError(describe_list(summary, sorted(shapes)))
    return np.asarray(X)


def _is_nested(first):
    return (
        isinstance(first, list | tuple)
        and len(first) > 0
        and isinstance(first[0], list | tuple)
    )


def _refuse_rows_after_images(estimator, name):
    if len(estimator.image_shape_) == 3:
        raise ValueError(
            f"{name} has rows, but {type(estimator).__name__} was fitted on images of "
            f"shape {estimator.image_shape_}: give it (n_samples, height, width, "
            f"n_channels){_loader_hint(estimator.image_shape_)}."
        )


def _check_images(estimator, X, reset, name):
    if len(X.shape) != 4:
        raise ValueError(
            f"{name} has {len(X.shape)} dimensions, but images come as (n_samples, "
            "height, width, n_channels). For gray images without a channel axis use "
            f"{name}[..., np.newaxis], for a single image {name}[np.newaxis]."
        )
    if 0 in X.shape[1:]:
        raise ValueError(
            f"{name} has images of shape {tuple(X.shape[1:])}, without any pixel."
        )
    if not reset and len(estimator.image_shape_) != 3:
        raise ValueError(
            f"{name} has images of shape {tuple(X.shape[1:])}, but "
            f"{type(estimator).__name__} was fitted on rows of "
            f"{estimator.n_features_in_} features."
        )
    if not reset and tuple(X.shape[1:]) != estimator.image_shape_:
        raise ValueError(
            f"{name} has images of shape {tuple(X.shape[1:])}, but "
            f"{type(estimator).__name__} was fitted on images of shape "
            f"{estimator.image_shape_} (height, width, n_channels): load them alike"
            f"{_loader_hint(estimator.image_shape_)}."
        )
    if not isinstance(X, LazyImages):
        X = _check_pixels(estimator, X, name)
    elif len(X) == 0:  # their pixels are checked by ImageLoader
        raise ValueError(f"{name} is empty: found LazyImages of 0 samples.")
    if reset:
        warn_of_channels(type(estimator).__name__, tuple(X.shape))
        estimator.n_features_in_ = int(np.prod(X.shape[1:]))
        # An earlier fit on a DataFrame has set names of columns.
        vars(estimator).pop("feature_names_in_", None)
    return X


def _check_pixels(estimator, X, name):
    dtype = np.uint8 if X.dtype == np.uint8 else read_floatx()
    check = functools.partial(
        check_array, X, dtype=dtype, allow_nd=True, estimator=estimator, input_name=name
    )
    # Of arrays of numbers, scikit-learn checks that they are finite, and so does the
    # range, in a fraction of the time for one image.
    is_plain = type(X) is np.ndarray and X.dtype.kind in "biuf" and len(X)
    with np.errstate(over="ignore"):
        checked = X.astype(dtype, copy=False) if is_plain else check()
    if dtype != np.uint8:
        low, high = float(checked.min()), float(checked.max())
        if not math.isfinite(high - low):
            check()
        _check_range(low, high, len(X), name)
    return checked


def _loader_hint(image_shape):
    if len(image_shape) != 3:
        return ""
    height, width, n_channels = image_shape
    modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    if n_channels not in modes:
        return ""
    return (
        f", for example with ImageLoader(image_size=({height}, {width}), "
        f"color_mode={modes[n_channels]!r})"
    )


def _check_range(low, high, n_samples, name):
    """Refuse float images of 8 bits; warn of others that can't be in [0, 1]."""
    if low > -_TOO_BRIGHT and high > _TOO_BRIGHT:
        raise ValueError(
            f"The images in {name} range from {low:.4g} to {high:.4g}, but float "
            f"images must be in [0, 1]. Divide 8-bit values by 255 ({name} / 255), or "
            f'pass them as uint8 ({name}.astype("uint8")), which is divided for you.'
        )
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        warn_user(
            f"The images in {name} range from {low:.4g} to {high:.4g}, but float "
            "images are expected in [0, 1]."
        )
    # A few dark images may be right.
    elif n_samples >= _MANY and 0 < high < _TOO_DARK:
        warn_user(
            f"The brightest value in {name} is {high:.4g}, where 1 is white. Were the "
            "images divided by 255 twice? ImageLoader does it already."
        )
