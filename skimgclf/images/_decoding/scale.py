"""Scale pixels to floats in [0, 1] or to ints in [0, 255]."""

import numpy as np

from skimgclf.images._decoding.colour import convert_background


def make_background(options):
    """Make the image that stands for one that can't be read: all background."""
    colour = convert_background(options.background, options.color_mode)
    image = np.empty((*options.image_size, len(colour)), dtype=np.uint8)
    image[:] = colour
    return scale_pixels(image, options.dtype)


def scale_pixels(pixels, dtype):
    """Return decoded pixels as "float32" in [0, 1] or "uint8" in [0, 255]."""
    image = np.empty(pixels.shape, dtype)
    write_pixels(pixels, image)
    return image


def write_pixels(pixels, image):
    """Write decoded pixels into an image of float32 in [0, 1] or uint8 in [0, 255]."""
    if pixels.dtype.kind == image.dtype.kind:
        image[:] = pixels
    elif image.dtype == np.uint8:
        np.rint(pixels * 255, out=image, casting="unsafe")
    else:
        np.divide(pixels, 255, out=image, dtype=np.float32)
