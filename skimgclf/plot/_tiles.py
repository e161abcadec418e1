"""Write the titles of images in a grid, and compute their places."""

import textwrap
from collections import namedtuple

FONT_SIZE = 9  # points, of 1/72 inch
_LINE_HEIGHT = 1.25 * FONT_SIZE / 72
_CHARACTER_WIDTH = 0.62 * FONT_SIZE / 72  # of a usual font, at most on average
_PAD = 0.1  # inches above and below a title

# Longer titles end in an ellipsis, so that a long name doesn't fill the page.
_MAX_LINES = 3
_MIN_CHARACTERS = 8

# Fraction of a tile's width and height; the rest stays free between pictures.
PICTURE_FRACTION = 0.92

Title = namedtuple("Title", ["text", "is_wrong"])


def write_titles(y_true, y_pred, probability, n_images, width):
    """Write the true and the predicted label of each image.

    Parameters
    ----------
    y_true, y_pred, probability : sequence of length n_images or None
        As in `ImageGridDisplay`.
    n_images : int
    width : float
        Width of a line, in inches.

    Returns
    -------
    titles : list of Title
        Text, and whether the prediction is wrong.
    """
    columns = [
        [None] * n_images if values is None else list(values)
        for values in (y_true, y_pred, probability)
    ]
    n_characters = max(_MIN_CHARACTERS, int(width / _CHARACTER_WIDTH))
    return [_write_title(*row, n_characters) for row in zip(*columns, strict=True)]


def _write_title(true, predicted, probability, n_characters):
    lines = []
    if predicted is None:
        if true is not None:
            lines = _wrap(str(true), n_characters)
        return Title("\n".join(lines), False)
    if true is not None:
        lines += _wrap(f"true: {true}", n_characters)
    lines += _wrap(f"predicted: {predicted}", n_characters)
    if probability is not None:
        sure = f"({probability:.2f})"
        if len(lines[-1]) + 1 + len(sure) <= n_characters:
            lines[-1] += f" {sure}"
        else:
            lines.append(sure)
    return Title("\n".join(lines), true is not None and bool(true != predicted))


def _wrap(text, n_characters):
    lines = textwrap.wrap(text, n_characters)
    if len(lines) > _MAX_LINES:
        last = lines[_MAX_LINES - 1]
        lines = [*lines[: _MAX_LINES - 1], f"{last[: n_characters - 1]}…"]
    return lines


def measure_titles(titles):
    """Return the height of the highest title, in inches."""
    n_lines = max(len(title.text.splitlines()) for title in titles)
    return n_lines * _LINE_HEIGHT + _PAD


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
    picture_height = max(height - title_fraction, height / 3) * PICTURE_FRACTION
    return [
        (
            (i % n_columns + (1 - PICTURE_FRACTION) / 2) * width,
            1 - (i // n_columns + 1) * height,
            width * PICTURE_FRACTION,
            picture_height,
        )
        for i in range(n_images)
    ]
