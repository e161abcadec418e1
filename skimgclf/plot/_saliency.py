"""Draw a map of the places in an image that speak for a class: SaliencyDisplay."""

import os

import numpy as np
from PIL import Image

from skimgclf._validation import ParameterTable, ints, optional
from skimgclf.exceptions import InvalidParameterError
from skimgclf.plot._figure import import_pyplot, make_axes
from skimgclf.plot._pictures import read_pictures

_OWNER = "SaliencyDisplay"
_SIDES = optional(ints(1, length=2, or_int=True))
_TABLE = ParameterTable(_OWNER, {"patch_size": _SIDES, "stride": _SIDES})

# Pixels of the longer side; larger files are shrunk before patches are hidden.
_MAX_SIDE = 512

# Default side of a patch, as a fraction of the shorter side of the image.
_PATCH_FRACTION = 1 / 6

_BYTES_AT_ONCE = 64 * 2**20
_MAX_AT_ONCE = 256


class SaliencyDisplay:
    """Draw an image with a map of the places that speak for a class.

    Use :meth:`from_estimator`, which hides the image patch by patch and measures by how
    much the probability of the class falls. All parameters are stored as attributes.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
        The image.
    saliency : ndarray of shape (height, width)
        How far the probability falls when the pixel is hidden, on average over the
        patches that hide it; below 0 where it rises.
    target : str, int or bool, default=None
        The class.
    probability : float, default=None
        Probability of the class for the unchanged image.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with image and map.
    figure_ : matplotlib Figure
        The figure.
    im_ : matplotlib AxesImage
        The map.

    See Also
    --------
    sklearn.inspection.permutation_importance : The same idea for columns of a table.

    Notes
    -----
    The map shows the places that change the prediction, which needn't be the object: a
    network that recognizes wolves by the snow around them marks the snow. Images with a
    hidden patch are unlike the training images. If two places hold the same evidence,
    hiding one of them changes little.

    The method is occlusion sensitivity, section 4.2 of Zeiler and Fergus, "Visualizing
    and Understanding Convolutional Networks", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from skimgclf import SaliencyDisplay
    >>> class CornerClassifier(BaseEstimator):
    ...     classes_ = np.array(["dark", "bright"])
    ...
    ...     def predict_proba(self, X):
    ...         bright = X[:, :4, :4].mean(axis=(1, 2, 3))
    ...         return np.stack([1 - bright, bright], axis=1)
    >>> image = np.zeros((8, 8, 1))
    >>> image[:4, :4] = 1.0
    >>> display = SaliencyDisplay.from_estimator(
    ...     CornerClassifier(), image, patch_size=4, fill_value=0.0
    ... )
    >>> display.target, display.probability
    ('bright', 1.0)
    >>> display.saliency[[0, 7], [0, 7]].tolist()
    [1.0, 0.0]
    """

    def __init__(self, image, saliency, *, target=None, probability=None):
        self.image = image
        self.saliency = saliency
        self.target = target
        self.probability = probability

    @classmethod
    def from_estimator(
        cls,
        estimator,
        image,
        *,
        target=None,
        patch_size=None,
        stride=None,
        fill_value=None,
        cmap="bwr",
        alpha=0.7,
        colorbar=True,
        ax=None,
        im_kw=None,
    ):
        """Hide patch after patch of an image, predict, and draw the map.

        Parameters
        ----------
        estimator : estimator instance
            A fitted classifier of images with `predict_proba`, or a Pipeline or search
            that takes what :class:`~skimgclf.ImageLoader` takes.
        image : ndarray, str, os.PathLike, bytes or PIL.Image.Image
            One image. For a classifier of arrays, one row of its X: an array of shape
            (height, width, n_channels) or (height, width). For a pipeline that loads
            images, also a path, the bytes of a file or a PIL image; these keep their
            proportions, and are shrunk to at most 512x512 pixels.
        target : str, int or bool, default=None
            The class, one of `classes_`; None for the most probable.
        patch_size : int or tuple of two int, default=None
            Height and width of the hidden patches, in pixels of the image; None for a
            sixth of the shorter side. Small patches show more detail and more noise.
        stride : int or tuple of two int, default=None
            Number of pixels from one patch to the next; None for half of the patch.
            Half the stride needs four times as many predictions.
        fill_value : float or array-like of shape (n_channels,), default=None
            Pixel value of hidden patches; None for the mean colour of the image.
        cmap, alpha, colorbar, ax, im_kw
            As in `plot`.

        Returns
        -------
        display : SaliencyDisplay

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value, or if there is no `predict_proba`.
        ImageLoadError
            If the image can't be read.
        ImportError
            If matplotlib isn't installed.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        if not hasattr(estimator, "predict_proba"):
            raise InvalidParameterError(
                f"{_OWNER} needs a fitted classifier with predict_proba, which "
                f"{type(estimator).__name__} doesn't have; "
                "sklearn.calibration.CalibratedClassifierCV adds it to a classifier."
            )
        image = _read_single(image)
        patch_size, stride = _check_patches(image, patch_size, stride)
        fill_value = _check_fill_value(image, fill_value)
        probabilities = estimator.predict_proba(image[np.newaxis])[0]
        column = _find_target(estimator.classes_, target, probabilities)
        saliency = _measure(
            lambda images: estimator.predict_proba(images)[:, column],
            image,
            probabilities[column],
            patch_size,
            stride,
            fill_value,
        )
        display = cls(
            image,
            saliency,
            target=np.asarray(estimator.classes_).tolist()[column],
            probability=float(probabilities[column]),
        )
        return display.plot(
            cmap=cmap, alpha=alpha, colorbar=colorbar, ax=ax, im_kw=im_kw
        )

    def plot(self, *, cmap="bwr", alpha=0.7, colorbar=True, ax=None, im_kw=None):
        """Draw the image, and the map over it.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="bwr"
            Colours of the map; its middle stands for 0.
        alpha : float, default=0.7
            Opacity of the map where it is strongest, in [0, 1]. Where the map is 0, it
            is transparent.
        colorbar : bool, default=True
            Whether to draw a scale beside the image.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        im_kw : dict, default=None
            Passed on to matplotlib's `imshow` for the map.

        Returns
        -------
        self : SaliencyDisplay

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        """
        ax = make_axes(f"{type(self).__name__}.plot", ax, (4.8, 4))
        _draw_image(ax, np.asarray(self.image))
        saliency = np.asarray(self.saliency)
        limit = np.abs(saliency).max() or 1.0
        style = {
            "cmap": cmap,
            "vmin": -limit,
            "vmax": limit,
            "alpha": alpha * np.abs(saliency) / limit,
        }
        self.im_ = ax.imshow(saliency, **(style | (im_kw or {})))
        if colorbar:
            ax.figure.colorbar(self.im_, ax=ax, label="fall in probability when hidden")
        ax.set(xticks=[], yticks=[])
        if self.target is not None:
            sure = "" if self.probability is None else f" ({self.probability:.2f})"
            ax.set_title(f"{self.target}{sure}", wrap=True)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _read_single(image):
    """Read one image as an array; an array is returned unchanged."""
    if isinstance(image, str | bytes | os.PathLike | Image.Image):
        (picture,) = read_pictures([image], max_side=_MAX_SIDE, color_mode="rgba")
        # Transparent images keep alpha: the loader puts them on its `background`.
        return picture[:, :, :3] if (picture[:, :, 3] == 255).all() else picture
    expected = (
        "one image: an array of shape (height, width) or (height, width, 1, 3 or 4), a "
        "path, bytes or a PIL image"
    )
    if not isinstance(image, np.ndarray):
        raise _TABLE.error("image", expected, image)
    n_channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in {2, 3} or n_channels not in {1, 3, 4} or not image.size:
        advice = "; take one row of a batch, as in X[0]" if image.ndim == 4 else ""
        raise InvalidParameterError(
            f"The 'image' parameter of {_OWNER} must be {expected}. Got an array of "
            f"shape {image.shape} instead{advice}."
        )
    return image


def _check_patches(image, patch_size, stride):
    """Return the height and width of a patch, and the steps between patches."""
    sizes, steps = _TABLE.check({"patch_size": patch_size, "stride": stride}).values()
    sides = image.shape[:2]
    if sizes is None:
        sizes = (max(1, round(min(sides) * _PATCH_FRACTION)),) * 2
    elif any(size > side for size, side in zip(sizes, sides, strict=True)):
        expected = f"at most as large as the image of {sides[0]}x{sides[1]} pixels"
        raise _TABLE.error("patch_size", expected, patch_size)
    if steps is None:
        steps = tuple(max(1, size // 2) for size in sizes)
    elif any(step > size for step, size in zip(steps, sizes, strict=True)):
        expected = f"at most the patch_size, {sizes}, so that no pixel is left out"
        raise _TABLE.error("stride", expected, stride)
    return sizes, steps


def _check_fill_value(image, fill_value):
    """Return the value of hidden pixels, in the dtype of the image."""
    if fill_value is None:
        fill_value = image.mean(axis=(0, 1))
        if np.issubdtype(image.dtype, np.integer):
            fill_value = np.rint(fill_value)
        return fill_value.astype(image.dtype)
    values = np.asarray(fill_value)
    if values.dtype.kind not in "fiu" or values.shape not in {(), image.shape[2:]}:
        expected = f"a number, or one for each channel of {image.shape}, or None"
        raise _TABLE.error("fill_value", expected, fill_value)
    return values.astype(image.dtype)


def _find_target(classes, target, probabilities):
    """Return the column of the target, or of the most probable class."""
    if target is None:
        return int(np.argmax(probabilities))
    labels = np.asarray(classes).tolist()
    if target not in labels:
        raise _TABLE.error("target", f"one of {labels} or None", target)
    return labels.index(target)


def _measure(predict, image, whole, patch_size, stride, fill_value):
    """Hide patch after patch, and average the falls in probability at each pixel.

    Parameters
    ----------
    predict : callable
        (n_images, height, width, ...) to the probabilities (n_images,) of the class.
    image : ndarray
    whole : float
        Probability of the class for the unchanged image.
    patch_size, stride : tuple of two int
    fill_value : ndarray
        Value of hidden pixels.

    Returns
    -------
    saliency : ndarray of shape (height, width)
    """
    starts = [
        _starts(side, length, step)
        for side, length, step in zip(image.shape[:2], patch_size, stride, strict=True)
    ]
    patches = [
        (slice(top, top + patch_size[0]), slice(left, left + patch_size[1]))
        for top in starts[0]
        for left in starts[1]
    ]
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    n_at_once = min(_MAX_AT_ONCE, max(1, _BYTES_AT_ONCE // image.nbytes))
    for start in range(0, len(patches), n_at_once):
        part = patches[start : start + n_at_once]
        hidden = np.repeat(image[np.newaxis], len(part), axis=0)
        for row, patch in enumerate(part):
            hidden[row][patch] = fill_value
        for patch, probability in zip(part, predict(hidden), strict=True):
            total[patch] += whole - probability
            count[patch] += 1
    return total / count


def _starts(side, length, step):
    """List the first pixels of patches; the last patch ends at the edge."""
    return sorted({*range(0, side - length + 1, step), side - length})


def _draw_image(ax, image):
    pixels = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    white = 255 if pixels.dtype == np.uint8 else 1
    low, high = min(0, pixels.min()), max(white, pixels.max())
    if pixels.ndim == 2:
        ax.imshow(pixels, cmap="gray", vmin=low, vmax=high)
    else:
        # imshow clips to [0, 1]: other values, as of standardized pixels, are rescaled.
        ax.imshow((pixels - low) / (high - low))
