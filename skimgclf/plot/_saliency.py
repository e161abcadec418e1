"""Draw a map of the places in an image that speak for a class: SaliencyDisplay."""

import dataclasses
import os

import numpy as np
from PIL import Image
from sklearn.pipeline import Pipeline

from skimgclf._snapshot import freeze
from skimgclf._terminal import hidden_bars
from skimgclf._validation import ParameterTable, a_number, ints, one_of, optional
from skimgclf.exceptions import InvalidParameterError
from skimgclf.plot._figure import (
    ShownInNotebooks,
    check_latex,
    import_pyplot,
    make_axes,
    measure_axes,
    split_axes,
)
from skimgclf.plot._labels import (
    CHARACTER_WIDTH,
    FONT_SIZE,
    LITERAL,
    warn_of_missing_characters,
    wrap_label,
)
from skimgclf.plot._pictures import read_pictures

_OWNER = "SaliencyDisplay"
_SIDES = optional(ints(1, length=2, or_int=True))
_LABELS = {
    "occlusion": "fall in probability when hidden",
    "grad_cam": "Grad-CAM, 1 where it is strongest",
}
_TABLE = ParameterTable(
    _OWNER,
    {
        "method": one_of(*_LABELS),
        "patch_size": _SIDES,
        "stride": _SIDES,
        "limit": optional(a_number("(0, inf)")),
    },
)

# A map of smaller changes of the probability is faint, since it says little.
_LEAST_LIMIT = 0.1

# Pixels of the longer side; larger files are shrunk before patches are hidden.
_MAX_SIDE = 512

# Default side of a patch, as a fraction of the shorter side of the image.
_PATCH_FRACTION = 1 / 6

# Inches of a new figure: the longer side of an image, between images, above them for
# the titles, and beside them for the colour bar with its numbers.
_SIDE, _GAP, _TITLE_HEIGHT, _BAR_WIDTH = 3.2, 0.15, 0.45, 0.8

_BYTES_AT_ONCE = 64 * 2**20
_MAX_AT_ONCE = 256


class SaliencyDisplay(ShownInNotebooks):
    """Draw an image, and beside it a map of the places that speak for a class.

    Use :meth:`from_estimator`, which hides the image patch by patch and measures by how
    much the probability of the class falls, or asks a network for Grad-CAM. All
    parameters are stored as attributes.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
        The image.
    saliency : ndarray of shape (height, width)
        How far the probability falls when the pixel is hidden, on average over the
        patches that hide it; below 0 where it rises. With Grad-CAM numbers in [0, 1].
    target : str, int or bool, default=None
        The class.
    probability : float, default=None
        Probability of the class for the unchanged image.
    method : {"occlusion", "grad_cam"}, default="occlusion"
        How the map was computed; decides on its scale.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The frame around `axes_`.
    axes_ : ndarray of shape (2,)
        The axes of the bare image, and of the image with the map.
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

    The methods are occlusion sensitivity, section 4.2 of Zeiler and Fergus,
    "Visualizing and Understanding Convolutional Networks", 2014, and Selvaraju and
    others, "Grad-CAM: visual explanations from deep networks via gradient-based
    localization", 2017.

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

    def __init__(
        self, image, saliency, *, target=None, probability=None, method="occlusion"
    ):
        self.image = image
        self.saliency = saliency
        self.target = target
        self.probability = probability
        self.method = method

    @classmethod
    def from_estimator(
        cls,
        estimator,
        image,
        *,
        target=None,
        method="occlusion",
        patch_size=None,
        stride=None,
        fill_value=None,
        cmap="bwr",
        alpha=0.7,
        limit=None,
        colorbar=True,
        ax=None,
        im_kw=None,
    ):
        """Compute a map of the places that speak for a class, and draw it.

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
        method : {"occlusion", "grad_cam"}, default="occlusion"
            - "occlusion": hide patch after patch and predict, hundreds of times; for
              every classifier
            - "grad_cam": one pass through a network of feature maps, with gradients;
              for a `skimgclf.KerasImageClassifier` of images, or a Pipeline of an
              ImageLoader and one. The image is drawn as the network sees it.
        patch_size : int or tuple of two int, default=None
            Height and width of the hidden patches, in pixels of the image; None for a
            sixth of the shorter side. Small patches show more detail and more noise.
        stride : int or tuple of two int, default=None
            Number of pixels from one patch to the next; None for half of the patch.
            Half the stride needs four times as many predictions.
        fill_value : float or array-like of shape (n_channels,), default=None
            Pixel value of hidden patches; None for the mean colour of the image.
        cmap, alpha, limit, colorbar, ax, im_kw
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
        RuntimeError
            If ``matplotlib.rcParams["text.usetex"]`` is True, and LaTeX isn't there.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        _TABLE.check({"method": method, "limit": limit})
        if not hasattr(estimator, "predict_proba"):
            raise InvalidParameterError(
                f"{_OWNER} needs a fitted classifier with predict_proba, which "
                f"{type(estimator).__name__} doesn't have; "
                "sklearn.calibration.CalibratedClassifierCV adds it to a classifier."
            )
        patches = {
            "patch_size": patch_size,
            "stride": stride,
            "fill_value": fill_value,
        }
        compute = _hide_patches if method == "occlusion" else _trace_gradients
        estimator = freeze(estimator)
        with hidden_bars():
            image, saliency, column, probability = compute(
                estimator, image, target, patches
            )
        display = cls(
            image,
            saliency,
            target=np.asarray(estimator.classes_).tolist()[column],
            probability=float(probability),
            method=method,
        )
        return display.plot(
            cmap=cmap, alpha=alpha, limit=limit, colorbar=colorbar, ax=ax, im_kw=im_kw
        )

    def plot(
        self,
        *,
        cmap="bwr",
        alpha=0.7,
        limit=None,
        colorbar=True,
        ax=None,
        im_kw=None,
    ):
        """Draw the image, and beside it the image under the map.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="bwr"
            Colours of the map; its middle stands for 0.
        alpha : float, default=0.7
            Opacity of the map at its limit, in [0, 1]. Where the map is 0, it is
            transparent.
        limit : float, default=None
            The value with the strongest colour. None for the largest of the map, and
            0.1 at least, so that a map of small changes is faint.
        colorbar : bool, default=True
            Whether to draw a scale beside the map.
        ax : matplotlib Axes, default=None
            The axes to draw in; None makes a new figure.
        im_kw : dict, default=None
            Passed on to matplotlib's `imshow` for the map.

        Returns
        -------
        self : SaliencyDisplay

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value.
        ImportError
            If matplotlib isn't installed.
        RuntimeError
            If ``matplotlib.rcParams["text.usetex"]`` is True, and LaTeX isn't there.
        """
        _TABLE.check({"method": self.method, "limit": limit})
        image, saliency = np.asarray(self.image), np.asarray(self.saliency)
        if colorbar:
            check_latex(f"{type(self).__name__}.plot")
        sizes = _measure_parts(image, colorbar)
        ax = make_axes(
            f"{type(self).__name__}.plot", ax, sizes.figsize, margin_above=_TITLE_HEIGHT
        )
        bare, under_map = split_axes(ax, sizes.place(ax))
        largest = np.abs(saliency).max()
        limit = max(largest, _LEAST_LIMIT) if limit is None else limit
        style = {
            "cmap": cmap,
            "vmin": -limit,
            "vmax": limit,
            "alpha": alpha * np.minimum(np.abs(saliency) / limit, 1),
        }
        for panel in (bare, under_map):
            _draw_image(panel, image)
            panel.set(xticks=[], yticks=[])
        self.im_ = under_map.imshow(saliency, **(style | (im_kw or {})))
        if colorbar:
            _draw_colorbar(under_map, self.im_, self.method)
        titles = ["" if self.target is None else str(self.target), _LABELS[self.method]]
        if self.target is not None and self.probability is not None:
            titles[0] += f" ({self.probability:.2f})"
        drawn = []
        for panel, title in zip((bare, under_map), titles, strict=True):
            n_characters = max(8, int(measure_axes(panel)[0] / CHARACTER_WIDTH))
            lines = wrap_label(title, n_characters)
            style = {"fontsize": FONT_SIZE, **LITERAL}
            drawn.append(panel.set_title("\n".join(lines), **style))
        warn_of_missing_characters(drawn)
        self.ax_, self.axes_ = ax, np.array([bare, under_map], dtype=object)
        self.figure_ = ax.figure
        return self


def _draw_colorbar(ax, drawn, method):
    # Inside of the image's axes, so that it is as high as the image.
    beside = ax.inset_axes((1.04, 0, 0.06, 1))
    bar = ax.figure.colorbar(drawn, cax=beside)
    if method == "grad_cam":
        bar.ax.set_ylim(0, None)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Sizes in inches: of each of the two images, and of the room for the scale."""

    width: float
    height: float
    bar: float

    @property
    def figsize(self):
        return 2 * self.width + 3 * _GAP + self.bar, self.height + _GAP

    def place(self, ax):
        """Return the boxes of the two images, in fractions of axes of any size."""
        total, _ = measure_axes(ax)
        gap, bar = _GAP / total, min(self.bar / total, 0.25)
        width = (1 - 3 * gap - bar) / 2
        bottom = _GAP / self.figsize[1]
        return [(left, bottom, width, 1 - bottom) for left in (gap, 2 * gap + width)]


def _measure_parts(image, colorbar):
    height, width = (_SIDE * side / max(image.shape[:2]) for side in image.shape[:2])
    # A very low or narrow image still needs room for its title and its scale.
    return _Parts(max(width, _SIDE / 2), max(height, _SIDE / 2), _BAR_WIDTH * colorbar)


def _hide_patches(estimator, image, target, patches):
    """Compute image, map, column of the class and its probability by occlusion."""
    image = _read_single(image)
    sizes = _check_patches(image, patches["patch_size"], patches["stride"])
    fill_value = _check_fill_value(image, patches["fill_value"])
    probabilities = estimator.predict_proba(image[np.newaxis])[0]
    column = _find_target(estimator.classes_, target, probabilities)
    saliency = _measure(
        lambda images: estimator.predict_proba(images)[:, column],
        image,
        probabilities[column],
        *sizes,
        fill_value,
    )
    return image, saliency, column, probabilities[column]


def _trace_gradients(estimator, image, target, patches):
    """Compute image, map, column of the class and its probability by Grad-CAM."""
    for name, value in patches.items():
        if value is not None:
            raise _TABLE.error(name, "None with method='grad_cam'", value)
    estimator = getattr(estimator, "best_estimator_", estimator)
    is_array = isinstance(image, np.ndarray)
    images = _read_single(image)[np.newaxis] if is_array else [image]
    if isinstance(estimator, Pipeline):
        images = np.asarray(estimator[:-1].transform(images))
        estimator = estimator[-1]
    if not hasattr(estimator, "grad_cam") or np.ndim(images) != 4:
        raise _TABLE.error(
            "method",
            "'occlusion' for this model: Grad-CAM needs a KerasImageClassifier of "
            "images, at the end of a Pipeline behind its ImageLoader alone",
            "grad_cam",
        )
    probabilities = estimator.predict_proba(images)[0]
    column = _find_target(estimator.classes_, target, probabilities)
    label = np.asarray(estimator.classes_).tolist()[column]
    (saliency,) = estimator.grad_cam(images, label)
    return images[0], saliency, column, probabilities[column]


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
