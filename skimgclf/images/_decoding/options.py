"""Check the parameters that decide on an image's pixels."""

from collections import namedtuple

from PIL import ImageColor

from skimgclf._validation import (
    check_choice,
    check_int,
    check_int_sequence,
    is_int,
    parameter_error,
)
from skimgclf.images._decoding.colour import N_CHANNELS
from skimgclf.images._decoding.resize import RESAMPLING, RESIZE_MODES
from skimgclf.images._urls import check_storage_options

# Pillow warns of more pixels as a possible decompression bomb (256 MB as RGB).
DEFAULT_MAX_PIXELS = 89_478_485

DecodeOptions = namedtuple(
    "DecodeOptions",
    [
        "image_size",
        "color_mode",
        "resize_mode",
        "interpolation",
        "background",
        "dtype",
        "max_pixels",
        "storage_options",
    ],
)


def check_options(
    owner,
    *,
    image_size,
    color_mode,
    resize_mode,
    interpolation,
    background,
    dtype,
    max_pixels,
    storage_options,
):
    """Check the parameters of `read_image`, on behalf of `owner`.

    Returns
    -------
    options : DecodeOptions
        The same values, in plain types; `background` as red, green and blue.
    """
    image_size = check_int_sequence(
        owner, "image_size", image_size, minimum=1, length=2
    )
    check_choice(owner, "color_mode", color_mode, tuple(N_CHANNELS))
    check_choice(owner, "resize_mode", resize_mode, RESIZE_MODES)
    check_choice(owner, "interpolation", interpolation, tuple(RESAMPLING))
    background = _check_background(owner, background)
    check_choice(owner, "dtype", dtype, ("float32", "uint8"))
    check_int(owner, "max_pixels", max_pixels, minimum=1)
    return DecodeOptions(
        image_size,
        color_mode,
        resize_mode,
        interpolation,
        background,
        dtype,
        int(max_pixels),
        check_storage_options(owner, storage_options),
    )


def _check_background(owner, background):
    expected = (
        "a colour name or hexadecimal colour without transparency that Pillow knows, "
        "or a tuple of 3 ints in [0, 255]"
    )
    if isinstance(background, str):
        try:
            colour = ImageColor.getrgb(background)
        except ValueError:
            colour = ()
    else:
        colour = background if isinstance(background, tuple | list) else ()
    if len(colour) != 3 or not all(
        is_int(part, minimum=0) and part <= 255 for part in colour
    ):
        raise parameter_error(owner, "background", expected, background)
    return tuple(int(part) for part in colour)
