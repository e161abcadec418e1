"""Turn an image upright, as its EXIF orientation says."""

import numpy as np
from PIL import ExifTags, Image

# EXIF 2.32, tag 0x0112: how to turn the stored image upright, and which stored edge
# (0 left, 1 top, 2 right, 3 bottom) becomes its left, top, right and bottom.
_ORIENTATIONS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, (2, 1, 0, 3)),
    3: (Image.Transpose.ROTATE_180, (2, 3, 0, 1)),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, (0, 3, 2, 1)),
    5: (Image.Transpose.TRANSPOSE, (1, 0, 3, 2)),
    6: (Image.Transpose.ROTATE_270, (3, 0, 1, 2)),
    7: (Image.Transpose.TRANSVERSE, (3, 2, 1, 0)),
    8: (Image.Transpose.ROTATE_90, (1, 2, 3, 0)),
}


def read_orientation(image):
    """Read a decoded image's EXIF orientation; 1 (upright) when there is none."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in _ORIENTATIONS else 1
    except Exception:
        # The pixels are decoded and correct; a broken EXIF block must not lose them.
        return 1


def orient(image, margins, orientation):
    """Turn a decoded image upright.

    Parameters
    ----------
    image : PIL.Image.Image
        A decoded image.
    margins : tuple of four float
        How much of it, at its left, top, right and bottom, isn't picture.
    orientation : int
        From `read_orientation`.

    Returns
    -------
    image : PIL.Image.Image
    margins : tuple of four float
    """
    if orientation not in _ORIENTATIONS:
        return image, margins
    method, edges = _ORIENTATIONS[orientation]
    return image.transpose(method), tuple(margins[edge] for edge in edges)


def orient_floats(pixels, orientation):
    """Turn an array of shape (height, width, n_channels) upright, as `orient` does."""
    if orientation not in _ORIENTATIONS:
        return pixels
    method, _ = _ORIENTATIONS[orientation]
    channels = [Image.fromarray(channel) for channel in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(each.transpose(method)) for each in channels], axis=2)
