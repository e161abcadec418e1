"""Draw a grid of images with their labels, the worst errors first: ImageGridDisplay."""

import math

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from skimgclf._snapshot import freeze
from skimgclf._terminal import hidden_bars
from skimgclf._validation import NONE, ParameterTable, Rule, an_int, one_of
from skimgclf.images._input_forms import list_images
from skimgclf.plot._figure import (
    ShownInNotebooks,
    import_pyplot,
    make_axes,
    measure_axes,
    split_axes,
)
from skimgclf.plot._labels import LITERAL, warn_of_missing_characters
from skimgclf.plot._pictures import read_pictures
from skimgclf.plot._ranking import WHICH, check_probabilities, rank_rows
from skimgclf.plot._tiles import PICTURE_FRACTION, place_tiles, write_titles

_TABLE = ParameterTable(
    "ImageGridDisplay",
    {
        "which": one_of(*WHICH),
        "n_images": an_int(1),
        "n_columns": an_int(1) | Rule("None (about a square)", NONE.accepts, ()),
    },
)

# Pixels of the longer side of a drawn image; a printed tile has fewer.
_MAX_SIDE = 256

# Inches, for a new figure.
_TILE_WIDTH = 1.7
_MARGIN_ABOVE = 0.3  # for a title of the whole grid

_WRONG = "tab:red"


class ImageGridDisplay(ShownInNotebooks):
    """Draw a grid of images, with their true and predicted labels.

    Use :meth:`from_predictions` or :meth:`from_estimator` for the worst errors of a
    classifier, and the class itself to look at images and their labels. All parameters
    are stored as attributes.

    Parameters
    ----------
    images : list, tuple, array, Series or one-column DataFrame
        Images in any form that `skimgclf.ImageLoader` takes: paths, bytes, PIL images
        or decoded arrays. Their colours and proportions are kept.
    y_true : array-like of shape (n_images,), default=None
        True labels of the images.
    y_pred : array-like of shape (n_images,), default=None
        Predicted labels. The title of a wrong prediction is red.
    probability : array-like of shape (n_images,), default=None
        Probabilities of the predicted labels.
    indices : array-like of shape (n_images,), default=None
        Rows of the images in the data from which they were chosen.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The frame around all images.
    axes_ : ndarray of shape (n_images,)
        The axes of each image.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : Count which classes are taken for which.
    skimgclf.check_images : Find the images that can't be read beforehand.

    Examples
    --------
    >>> import numpy as np
    >>> from skimgclf import ImageGridDisplay
    >>> images = np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8, 1)
    >>> display = ImageGridDisplay(images, ["dark", "gray", "bright"]).plot()
    >>> [ax.get_title() for ax in display.axes_]
    ['dark', 'gray', 'bright']
    >>> y_true, y_pred = ["night", "day", "day"], ["day", "day", "day"]
    >>> proba = [[0.9, 0.1], [0.7, 0.3], [0.8, 0.2]]
    >>> display = ImageGridDisplay.from_predictions(
    ...     images, y_true, y_pred, proba, n_images=1
    ... )
    >>> display.indices
    array([0])
    >>> display.axes_[0].get_title().splitlines()
    ['true: night', 'predicted: day (0.90)']
    """

    def __init__(
        self, images, y_true=None, *, y_pred=None, probability=None, indices=None
    ):
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.probability = probability
        self.indices = indices

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        which="worst",
        n_images=16,
        random_state=None,
        n_columns=None,
        ax=None,
        im_kw=None,
        title_kw=None,
    ):
        """Predict images and draw some of them.

        Parameters
        ----------
        estimator : estimator instance
            A fitted classifier of images, or a Pipeline or search that takes paths.
            Without `predict_proba`, no probabilities are drawn.
        X : list, tuple, array, Series or one-column DataFrame
            The images, as the estimator takes them. For tables of more columns, predict
            and use `from_predictions`.
        y : array-like of shape (n_samples,)
            True labels of the images.
        which, n_images, random_state
            As in `from_predictions`.
        n_columns, ax, im_kw, title_kw
            As in `plot`.

        Returns
        -------
        display : ImageGridDisplay

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value.
        ImageLoadError
            If images to draw can't be read; all of them are listed.
        ImportError
            If matplotlib isn't installed.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        _TABLE.check(locals())
        cells = list_images(cls.__name__, X)
        estimator = freeze(estimator)
        y_pred = estimator.predict(X)
        proba = classes = None
        if hasattr(estimator, "predict_proba"):
            with hidden_bars():  # the same images once more
                proba, classes = estimator.predict_proba(X), estimator.classes_
        return cls.from_predictions(
            cells,
            y,
            y_pred,
            proba,
            classes=classes,
            which=which,
            n_images=n_images,
            random_state=random_state,
            n_columns=n_columns,
            ax=ax,
            im_kw=im_kw,
            title_kw=title_kw,
        )

    @classmethod
    def from_predictions(
        cls,
        images,
        y_true,
        y_pred,
        proba=None,
        *,
        classes=None,
        which="worst",
        n_images=16,
        random_state=None,
        n_columns=None,
        ax=None,
        im_kw=None,
        title_kw=None,
    ):
        """Choose images by their predictions, and draw them.

        Parameters
        ----------
        images : list, tuple, array, Series or one-column DataFrame
            All images. Only those that are drawn are read.
        y_true : array-like of shape (n_samples,)
            True labels of the images.
        y_pred : array-like of shape (n_samples,)
            Predicted labels of the images.
        proba : array-like of shape (n_samples, n_classes), default=None
            Probabilities, as `predict_proba` returns them.
        classes : array-like of shape (n_classes,), default=None
            Labels of the columns of `proba`, as in `classes_` of the estimator. None
            stands for the labels of `y_true` and `y_pred`, sorted.
        which : {"worst", "best", "uncertain", "random"}, default="worst"
            Which images to draw, in which order.

            - "worst": errors first, in the order of the probability of the true label,
              the lowest first (the highest log loss). If there are fewer errors than
              `n_images`, right predictions follow, the least sure first.
            - "best": right predictions first, the surest in front, then errors
            - "uncertain": the smallest difference between the two highest
              probabilities first
            - "random": chosen at random

            Without `proba`, errors keep the order of the data, and so do right
            predictions; "uncertain" is refused.
        n_images : int, default=16
            Largest number of images to draw.
        random_state : int, RandomState instance or None, default=None
            Decides which images ``which="random"`` draws.
        n_columns, ax, im_kw, title_kw
            As in `plot`.

        Returns
        -------
        display : ImageGridDisplay
            The display; `indices` holds the rows of the chosen images.

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value.
        ImageLoadError
            If images to draw can't be read; all of them are listed.
        ImportError
            If matplotlib isn't installed.
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        _TABLE.check(locals())
        cells = list_images(cls.__name__, images)
        y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
        check_consistent_length(cells, y_true, y_pred, proba)
        of_true, of_pred, margin = check_probabilities(y_true, y_pred, proba, classes)
        order = rank_rows(which, y_true != y_pred, of_true, margin, random_state)
        rows = order[:n_images]
        display = cls(
            [cells[row] for row in rows],
            y_true[rows],
            y_pred=y_pred[rows],
            probability=None if of_pred is None else of_pred[rows],
            indices=rows,
        )
        return display.plot(n_columns=n_columns, ax=ax, im_kw=im_kw, title_kw=title_kw)

    def plot(self, *, n_columns=None, ax=None, im_kw=None, title_kw=None):
        """Draw the images.

        Parameters
        ----------
        n_columns : int, default=None
            Number of images side by side; None for about as many as rows.
        ax : matplotlib Axes, default=None
            The axes to draw in; None makes a new figure that is large enough.
        im_kw : dict, default=None
            Passed on to matplotlib's `imshow` for each image.
        title_kw : dict, default=None
            Passed on to matplotlib's `set_title` for each image.

        Returns
        -------
        self : ImageGridDisplay

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value.
        ImageLoadError
            If images can't be read; all of them are listed.
        ImportError
            If matplotlib isn't installed.
        """
        caller = f"{type(self).__name__}.plot"
        import_pyplot(caller)
        _TABLE.check(locals())
        cells = list_images(type(self).__name__, self.images)
        check_consistent_length(
            cells, self.y_true, self.y_pred, self.probability, self.indices
        )
        pictures = read_pictures(cells, rows=self.indices, max_side=_MAX_SIDE)
        n_columns = min(len(cells), n_columns or math.ceil(math.sqrt(len(cells))))
        n_rows = math.ceil(len(cells) / n_columns)

        width, height = _TILE_WIDTH, None
        if ax is not None:
            width, height = np.divide(measure_axes(ax), (n_columns, n_rows))
        titles = write_titles(
            self.y_true, self.y_pred, self.probability, len(cells), width, height
        )
        tile_height = _picture_height(pictures) + titles.height
        figsize = (width * n_columns, tile_height * n_rows)
        ax = make_axes(caller, ax, figsize, margin_above=_MARGIN_ABOVE)
        boxes = place_tiles(
            len(cells), n_columns, n_rows, titles.height / measure_axes(ax)[1]
        )
        axes = split_axes(ax, boxes)
        drawn = []
        for tile, picture, title in zip(axes, pictures, titles.titles, strict=True):
            _draw_picture(tile, picture, im_kw)
            style = {"fontsize": titles.font_size, "pad": 3, **LITERAL}
            if title.is_wrong:
                style["color"] = _WRONG
            drawn.append(tile.set_title(title.text, **(style | (title_kw or {}))))
        warn_of_missing_characters(drawn)
        self.ax_, self.axes_, self.figure_ = ax, np.array(axes, dtype=object), ax.figure
        return self


def _picture_height(pictures):
    """Return the height of the highest picture, in inches; a square at most."""
    shapes = [picture.shape for picture in pictures]
    return _TILE_WIDTH * PICTURE_FRACTION * min(1, max(h / w for h, w, _ in shapes))


def _draw_picture(ax, picture, im_kw):
    # Small images keep their pixels; smoothing would show what isn't there.
    ax.imshow(picture, **({"interpolation": "antialiased"} | (im_kw or {})))
    ax.set_anchor("N")  # so that titles of one row stand at one height
    ax.set(xticks=[], yticks=[])
