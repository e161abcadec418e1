"""Read images for a display, with their colours and proportions kept."""

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import check_images, read_image


def read_pictures(cells, *, rows=None, max_side, color_mode="rgb"):
    """Read images with their proportions kept, and shrink large ones.

    Parameters
    ----------
    cells : list
        Paths, bytes, PIL images or arrays, as in `read_image`.
    rows : sequence of int, default=None
        Rows of the images in the user's data, for errors; None counts from 0.
    max_side : int
        The largest height and width, in pixels.
    color_mode : {"rgb", "rgba"}, default="rgb"
        As in `read_image`.

    Returns
    -------
    pictures : list of ndarray of shape (height, width, n_channels), uint8

    Raises
    ------
    ImageLoadError
        If images can't be read; all of them are listed.
    """
    report = check_images(cells)
    rows = range(len(cells)) if rows is None else rows
    errors = [
        (int(row), path, reason)
        for row, path, reason in zip(
            rows, report["path"], report["reason"], strict=True
        )
        if reason is not None
    ]
    if errors:
        raise ImageLoadError(errors)
    sizes = zip(report["height"], report["width"], strict=True)
    return [
        read_image(
            cell,
            image_size=_shrink(size, max_side),
            color_mode=color_mode,
            dtype="uint8",
        )
        for cell, size in zip(cells, sizes, strict=True)
    ]


def _shrink(size, max_side):
    factor = min(1, max_side / max(size))
    return tuple(max(1, round(side * factor)) for side in size)
