"""What the classifier accepts as samples."""

import os
import warnings

import keras
import numpy as np
from sklearn.utils.validation import (
    check_array,
    validate_data,
)

from skimgclf.exceptions import describe_list

# An 8-bit image that was divided by 255 twice is at most 1 / 255 = 0.004 bright; no
# photo worth classifying is darker than a fiftieth of white throughout.
_TOO_DARK = 0.02


def check_samples(estimator, X, *, reset, name="X"):
    """Validate samples: images in four dimensions, or rows of features in two.

    Parameters
    ----------
    estimator : KerasImageClassifier
        Its ``n_features_in_``, ``feature_names_in_`` and ``image_shape_`` are set
        (`reset`) or compared.
    X : array-like
        (n_samples, height, width, n_channels) images, float in [0, 1] or uint8, or
        (n_samples, n_features) rows of anything finite.
    reset : bool
        True in fit; False where the samples must look like those of fit.
    name : str, default="X"
        What the user calls them.

    Returns
    -------
    X : ndarray of the same shape
        In Keras' float type, but uint8 images stay uint8.
    """
    X = _stack_list_of_images(X, name)
    if _holds_text(X):
        raise ValueError(
            f"{name} holds paths or text, not pixels: its first cell is {_first(X)!r}. "
            "Put an ImageLoader in front: Pipeline([('load', ImageLoader()), "
            "('classify', KerasImageClassifier())])."
        )
    if len(getattr(X, "shape", ())) > 2:
        X = _check_images(estimator, X, reset, name)
    else:
        if not reset:
            _refuse_rows_after_images(estimator, name)
        X = validate_data(estimator, X, reset=reset, dtype=keras.config.floatx())
    if reset:
        estimator.image_shape_ = X.shape[1:]
    return X


def _stack_list_of_images(X, name):
    """Stack a list of images; leave any other input to scikit-learn's validation."""
    first = X[0] if isinstance(X, list | tuple) and X else None
    if getattr(first, "ndim", 0) < 2 and not _is_nested(first):
        return X
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


def _first(X):
    cells = X.head(1).to_numpy() if hasattr(X, "to_numpy") else X
    while isinstance(cells, list | tuple | np.ndarray) and len(cells):
        cells = cells[0]
    return cells


def _holds_text(X):
    if not isinstance(X, list | tuple | np.ndarray) and not hasattr(X, "to_numpy"):
        return False
    if getattr(getattr(X, "dtype", None), "kind", "O") in "biufc":
        return False
    return isinstance(_first(X), str | bytes | os.PathLike)


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
    if not reset and tuple(X.shape[1:]) != estimator.image_shape_:
        raise ValueError(
            f"{name} has images of shape {tuple(X.shape[1:])}, but "
            f"{type(estimator).__name__} was fitted on images of shape "
            f"{estimator.image_shape_} (height, width, n_channels): load them alike"
            f"{_loader_hint(estimator.image_shape_)}."
        )
    is_uint8 = X.dtype == np.uint8
    X = check_array(
        X,
        dtype=np.uint8 if is_uint8 else keras.config.floatx(),
        allow_nd=True,
        estimator=estimator,
        input_name=name,
    )
    if not is_uint8:
        _warn_of_range(X, name)
    if reset:
        estimator.n_features_in_ = int(np.prod(X.shape[1:]))
        # A refit on images after one on a DataFrame: columns have no names any more.
        vars(estimator).pop("feature_names_in_", None)
    return X


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


def _warn_of_range(X, name):
    """Warn of images that can't be in [0, 1], or were divided by 255 twice."""
    low, high = float(X.min()), float(X.max())
    if low < 0 or high > 1:
        warnings.warn(
            f"The images in {name} range from {low:.4g} to {high:.4g}, but float "
            "images are expected in [0, 1]. Divide 8-bit values by 255, or pass them "
            "as uint8.",
            stacklevel=5,
        )
    elif 0 < high < _TOO_DARK:
        warnings.warn(
            f"The brightest value in {name} is {high:.4g}, where 1 is white. Were the "
            "images divided by 255 twice? ImageLoader does it already.",
            stacklevel=5,
        )
