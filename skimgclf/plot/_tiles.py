"""Write the titles of images in a grid, and compute their places."""

import dataclasses
import itertools
from collections import namedtuple

from skimgclf.images._decoding.reasons import is_missing
from skimgclf.plot._labels import CHARACTER_WIDTH, FONT_SIZE, shorten_label, wrap_label

_MIN_FONT_SIZE = 5  # the smallest one that can be read
_LINE_HEIGHT = 1.25 / 72  # inches for a point of the font
_PAD = 0.1  # inches above and below a title

# Longer labels are shortened, so that a long name doesn't fill the page.
_MAX_LINES = 3
_MIN_CHARACTERS = 8

# In narrow tiles, and on one line, an arrow stands for "true" and "predicted".
_NARROW = 16

# Fraction of a tile's width and height; the rest stays free between pictures.
PICTURE_FRACTION = 0.92

# Of a tile's height in axes of a given size.
_MAX_TITLE_FRACTION = 0.5

Title = namedtuple("Title", ["text", "is_wrong"])


@dataclasses.dataclass(frozen=True)
class Titles:
    """The titles of all images, in one size.

    Attributes
    ----------
    titles : list of Title
        Text, and whether the prediction is wrong.
    font_size : int
        Points.
    height : float
        Of the highest title, in inches.
    """

    titles: list
    font_size: int
    height: float


def write_titles(y_true, y_pred, probability, n_images, width, height=None):
    """Write the true and the predicted label of each image.

    Parameters
    ----------
    y_true, y_pred, probability : sequence of length n_images or None
        As in `ImageGridDisplay`.
    n_images : int
    width : float
        Width of a tile, in inches.
    height : float, default=None
        Height of a tile, in inches, of which titles take half at most; None if there
        is room for any title.

    Returns
    -------
    titles : Titles
    """
    columns = [
        [None] * n_images if values is None else list(map(_as_known, values))
        for values in (y_true, y_pred, probability)
    ]
    rows = list(zip(*columns, strict=True))
    names = {str(name) for name in columns[0] + columns[1] if name is not None}
    room = float("inf") if height is None else _MAX_TITLE_FRACTION * height
    sizes = range(FONT_SIZE, _MIN_FONT_SIZE - 1, -1)
    # A smaller font before shorter names, and shorter names in the smallest one.
    for n_lines, size in itertools.chain(
        ((_MAX_LINES, size) for size in sizes),
        ((n_lines, _MIN_FONT_SIZE) for n_lines in (2, 1)),
    ):
        n_fitting = int(width / CHARACTER_WIDTH * FONT_SIZE / size)
        n_characters = max(_MIN_CHARACTERS, n_fitting)
        titles = [_write_title(*row, names, n_characters, n_lines) for row in rows]
        n_highest = max(len(title.text.splitlines()) for title in titles)
        total = n_highest * _LINE_HEIGHT * size + _PAD
        if total <= room:
            break
    return Titles(titles, size, total)


def _as_known(value):
    """Return None for a missing value, such as NaN: it has no title."""
    return None if is_missing(value) else value


def _write_title(true, predicted, probability, names, n_characters, n_lines):
    is_wrong = true is not None and predicted is not None and bool(true != predicted)
    is_narrow = n_characters < _NARROW or n_lines == 1
    starts = ("", "→ ") if is_narrow else ("true: ", "predicted: ")
    if predicted is None:
        starts = ("", "")
    sure = "" if predicted is None or probability is None else f" ({probability:.2f})"
    lines = []
    for name, start, end in zip((true, predicted), starts, ("", sure), strict=True):
        if name is not None:
            lines += _fit(str(name), names, start, end, n_characters, n_lines)
    return Title("\n".join(lines), is_wrong)


def _fit(name, names, start, end, n_characters, n_lines):
    """Return the lines of a name, shortened until they are few enough."""
    longest = n_characters * (n_lines + 1)
    for length in range(max(1, min(len(name), longest)), 0, -1):
        text = f"{start}{shorten_label(name, length, names)}{end}"
        lines = wrap_label(text, n_characters)
        if len(lines) <= n_lines:
            break
    return lines


def place_tiles(n_images, n_columns, n_rows, title_fraction):
    """Place images row by row from the upper left, each below its title.

    Parameters
    ----------
    n_images, n_columns, n_rows : int
    title_fraction : float
        Height of a title, as a fraction of the height of the frame.

    Returns
    -------
    boxes : list of tuple of four float
        Left, bottom, width and height, in fractions of the frame.
    """
    width, height = 1 / n_columns, 1 / n_rows
    # In a low frame, a third of each tile is left for the picture at least.
    room = max(height - title_fraction, height / 3)
    margin = room * (1 - PICTURE_FRACTION) / 2
    return [
        (
            (i % n_columns + (1 - PICTURE_FRACTION) / 2) * width,
            1 - (i // n_columns + 1) * height + margin,
            width * PICTURE_FRACTION,
            room * PICTURE_FRACTION,
        )
        for i in range(n_images)
    ]
