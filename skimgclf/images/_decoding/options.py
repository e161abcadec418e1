"""Check the parameters that decide on an image's pixels."""

import dataclasses

from PIL import ImageColor

from skimgclf._validation import TRUE_OR_FALSE, Rule, an_int, ints, is_int, one_of
from skimgclf.images._decoding.colour import N_CHANNELS
from skimgclf.images._decoding.resize import RESAMPLING, RESIZE_MODES
from skimgclf.images._urls import STORAGE_OPTIONS

# Pillow warns of more pixels as a possible decompression bomb (256 MB as RGB).
DEFAULT_MAX_PIXELS = 89_478_485


def _read_colour(background):
    """Return red, green and blue in [0, 255], or None for an invalid colour."""
    colour = background if isinstance(background, tuple | list) else ()
    if isinstance(background, str):
        try:
            colour = ImageColor.getrgb(background)
        except ValueError:
            return None
    if len(colour) != 3 or not all(is_int(part, minimum=0) for part in colour):
        return None
    return tuple(map(int, colour)) if max(colour) <= 255 else None


DECODE_RULES = {
    "image_size": ints(1, length=2),
    "color_mode": one_of(*N_CHANNELS),
    "resize_mode": one_of(*RESIZE_MODES),
    "interpolation": one_of(*RESAMPLING),
    "background": Rule(
        "a colour name or hexadecimal colour without transparency that Pillow knows, "
        "or a tuple of 3 ints in [0, 255]",
        lambda value: _read_colour(value) is not None,
        ("no such colour", (1, 2), (0, 0, 256), (-1, 0, 0), (True, 0, 0), None, 1.5),
        _read_colour,
    ),
    "dtype": one_of("float32", "uint8"),
    "max_pixels": an_int(1),
    "color_management": TRUE_OR_FALSE,
    "storage_options": STORAGE_OPTIONS,
}


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """Keep the checked parameters of `read_image`, as plain values.

    Parameters
    ----------
    image_size : tuple of two int
        Height and width.
    color_mode, resize_mode, interpolation, dtype : str
    background : tuple of three int
        Red, green and blue.
    max_pixels : int
    color_management : bool
    storage_options : dict
    """

    image_size: tuple
    color_mode: str
    resize_mode: str
    interpolation: str
    background: tuple
    dtype: str
    max_pixels: int
    color_management: bool
    storage_options: dict
