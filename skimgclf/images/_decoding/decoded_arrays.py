"""Load arrays of decoded pixels that the user gave."""

import numpy as np
from PIL import Image

from skimgclf.images._decoding.load import Picture, check_n_pixels
from skimgclf.images._decoding.reasons import UnreadableImage


def load_array(array, limit):
    """Check an array and make it a picture, of 8 bits or at floating point.

    Parameters
    ----------
    array : ndarray of shape (height, width) or (height, width, 1, 3 or 4)
        Of uint8 or of floats in [0, 1].
    limit : int
        The most pixels that are taken.

    Returns
    -------
    picture : Picture
    """
    shape = array.shape
    if len(shape) not in {2, 3} or (len(shape) == 3 and shape[2] not in {1, 3, 4}):
        is_first = len(shape) == 3 and shape[0] in {1, 3, 4}
        advice = "; its channels come first: pass array.transpose(1, 2, 0)"
        raise UnreadableImage(
            f"an array of shape {shape} is no image: it must be (height, width) or "
            "(height, width, channels) with 1, 3 or 4 channels"
            f"{advice if is_first else ''}"
        )
    if 0 in shape:
        raise UnreadableImage(f"an array of shape {shape} has no pixels")
    pixels = array if len(shape) == 3 else array[:, :, np.newaxis]
    if array.dtype == np.uint8:
        channels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        image = Image.fromarray(np.ascontiguousarray(channels))
    elif np.issubdtype(array.dtype, np.floating):
        image = _check_floats(pixels)
    else:
        raise UnreadableImage(
            f"an array of {array.dtype} has no known white: give uint8 in [0, 255] or "
            "floats in [0, 1]"
        )
    check_n_pixels(shape[0] * shape[1], limit)
    return Picture(image)


def _check_floats(pixels):
    smallest, largest = pixels.min(), pixels.max()
    if not (smallest >= 0 and largest <= 1):  # NaN included
        raise UnreadableImage(
            f"an array of floats must lie in [0, 1], and its values go from "
            f"{smallest} to {largest}"
        )
    return pixels.astype(np.float32)
