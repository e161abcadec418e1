"""Convert colours, transparency and bit depth of a decoded image."""

import functools

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.pillow_repairs import read_tags
from skimgclf.images._decoding.reasons import UnreadableImage
from skimgclf.images._decoding.tiff import is_lost_plane, refuse_unknown_white
from skimgclf.images._decoding.tiff_ycbcr import is_plain_ycbcr

N_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}

_PILLOW_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}

# ITU-R 601-2 luma, as Pillow's convert("L") has it (Convert.c, L24: 16-bit fractions).
_LUMA = np.array([19595 / 65536, 38470 / 65536, 7471 / 65536], dtype=np.float32)

_ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}
_EIGHT_BIT_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}

# TIFF 6.0, sections 8 and 19: values of PhotometricInterpretation and SampleFormat.
_WHITE_IS_ZERO, _SIGNED = 0, 2

# Why signed samples are refused.
SIGNED = (
    "its pixels are signed integers, which have no natural white: scale it to unsigned "
    "8 or 16 bits first"
)


def read_sample_meaning(image):
    """Read from an opened file which sample value is white, before it is decoded.

    Parameters
    ----------
    image : PIL.Image.Image
        As `PIL.Image.open` returns it: its format and tags get lost later.

    Returns
    -------
    white : int or None
        The sample value that is white in an image deeper than 8 bits; negative when the
        scale runs from white to black; None for an 8-bit image.
    """
    tags = read_tags(image) if image.format == "TIFF" else {}
    # A copy of a TIFF image keeps the name of its compression, which others give as a
    # number or not at all.
    is_copy = image.format is None and isinstance(image.info.get("compression"), str)
    if tags is None or is_copy:
        _refuse_copy(image)
    tags = tags or {}
    if image.format == "TIFF" and tags:
        refuse_unknown_white(tags)
        _refuse_mixed_chroma(image, tags)
    if tags.get(Tag.PlanarConfiguration) == 2 and _are_mixed_up(image, tags):
        raise UnreadableImage(
            "it is a TIFF image whose separate planes Pillow has decoded wrongly: give "
            "the path of the file instead"
        )
    if image.mode.startswith("I;16"):
        bits = tags.get(Tag.BitsPerSample, (16,))[0]
        white = 4095 if bits == 12 else 65535
        # Pillow turns 8-bit images round that declare white as 0, but no deeper ones.
        is_inverted = tags.get(Tag.PhotometricInterpretation) == _WHITE_IS_ZERO
        return -white if is_inverted else white
    if image.mode == "I" and image.format == "PPM":
        return 65535  # Pillow scales from the maximum that the file declares.
    if image.mode == "I":
        raise UnreadableImage(
            "its pixels are signed or 32-bit integers (Pillow's mode I), which have no "
            "natural white: scale it to 8 or 16 bits first"
        )
    if image.mode == "F":
        raise UnreadableImage(
            "its pixels are floating-point numbers (Pillow's mode F), which have no "
            "natural white: scale it to 8 or 16 bits first"
        )
    if _SIGNED in tags.get(Tag.SampleFormat, ()):
        raise UnreadableImage(SIGNED)
    if image.mode not in _EIGHT_BIT_MODES | _ALPHA_MODES:
        raise UnreadableImage(f"its pixels are of a kind not read ({image.mode})")
    return None


def _refuse_copy(image):
    """Refuse a copy of a TIFF image of which its tags alone would tell the pixels."""
    if image.mode.startswith("I;16"):
        raise UnreadableImage(
            "it is a copy or a pickle of a TIFF image, which has lost the value that "
            "is white: give the path of the file instead"
        )
    if image.mode == "YCbCr":
        raise UnreadableImage(
            "it is a copy or a pickle of a TIFF image of luma and chroma (YCbCr), and "
            "doesn't say how Pillow has decoded them: give the path of the file instead"
        )
    values = ()
    if image.mode in {"LA", "La"}:
        values = image.getchannel(1).getextrema()
    elif image.mode in {"P", "PA"}:
        values = image.getpalette()
    # Pillow (13.0) makes zeros of alpha in separate planes and of palettes of 8 bits.
    if values and not any(values):
        raise UnreadableImage(
            "it is a copy or a pickle of a TIFF image whose transparency or palette is "
            "zero all over, as Pillow makes it of some files: give the path of the "
            "file instead"
        )


def _refuse_mixed_chroma(image, tags):
    if image.mode == "YCbCr" and not is_plain_ycbcr(tags):
        raise UnreadableImage(
            "it is a TIFF image whose luma and chroma (YCbCr) Pillow has decoded "
            "wrongly: give the path of the file instead"
        )


def _are_mixed_up(image, tags):
    n_bands, n_bits = len(image.getbands()), tags.get(Tag.BitsPerSample, (1,))[0]
    is_mixed = n_bands == 2 or (n_bands > 2 and n_bits == 16)
    return is_mixed or is_lost_plane(tags, n_bits)


def clear_outside(image, box):
    """Make the pixels outside of a box transparent."""
    image = _convert_to_rgba(image)
    inside = Image.new("L", image.size, 0)
    inside.paste(image.getchannel("A").crop(box), box)
    image.putalpha(inside)
    return image


def convert_eight_bits(image, color_mode, background):
    """Convert an image of at most 8 bits to mode L, RGB or RGBA.

    Parameters
    ----------
    image : PIL.Image.Image
        A decoded image.
    color_mode : {"grayscale", "rgb", "rgba"}
        The channels to convert to.
    background : tuple of three int
        The colour behind transparent pixels, unless they stay transparent.

    Returns
    -------
    image : PIL.Image.Image
    """
    if image.has_transparency_data or "transparency" in image.info:
        image = _convert_to_rgba(image)
        if color_mode == "rgba":
            return image
        canvas = Image.new("RGB", image.size, background)
        canvas.paste(image, mask=image)
        image = canvas
    elif image.mode not in {"1", "L", "P", "RGB"}:
        # CMYK, YCbCr, LAB, HSV: Pillow has no way from some of them to L or RGBA.
        image = image.convert("RGB")
    target = _PILLOW_MODES[color_mode]
    return image if image.mode == target else image.convert(target)


def keep_colours(image):
    """Convert an image of at most 8 bits to mode L, RGB, RGBA or CMYK, as it is stored.

    Colours and transparency stay as they are, for a conversion of colours.
    """
    if image.has_transparency_data or "transparency" in image.info:
        return _convert_to_rgba(image)
    if image.mode in {"L", "RGB", "CMYK"}:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _convert_to_rgba(image):
    if image.mode == "La":
        image = image.convert("LA")
    return image if image.mode == "RGBA" else image.convert("RGBA")


def scale_deep(image, white):
    """Scale an image deeper than 8 bits by its declared white.

    Parameters
    ----------
    image : PIL.Image.Image
        A decoded one-channel image.
    white : int
        From `read_sample_meaning`.

    Returns
    -------
    pixels : ndarray of shape (height, width, 1 or 4), float32
        In [0, 1]; four channels when the file declares one gray transparent.
    """
    values = np.asarray(image)
    key = image.info.get("transparency")
    gray = values.astype(np.float32)
    gray /= abs(white)  # in place: these arrays are as large as the image
    if white < 0:
        np.subtract(1, gray, out=gray)
    if key is None:
        return gray[:, :, np.newaxis]
    alpha = (values != key).astype(np.float32)
    return np.stack([gray, gray, gray, alpha], axis=2)


def straighten_alpha(pixels, is_premultiplied):
    """Give gray with alpha three colours, and divide premultiplied ones by alpha.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 1 to 4), float32
        In [0, 1]; an even number of channels has alpha as the last one.
    is_premultiplied : bool

    Returns
    -------
    pixels : ndarray of shape (height, width, 1, 3 or 4), float32
    """
    if pixels.shape[2] == 2:
        pixels = pixels[:, :, [0, 0, 0, 1]]
    if is_premultiplied:
        alpha = pixels[:, :, 3:]
        np.divide(pixels[:, :, :3], alpha, out=pixels[:, :, :3], where=alpha > 0)
        np.minimum(pixels, 1, out=pixels)
    return pixels


def convert_floats(pixels, color_mode, background):
    """Convert pixels in [0, 1] to the channels of `color_mode`.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 1, 3 or 4), float32
        In [0, 1].
    color_mode, background
        As in `convert_eight_bits`.

    Returns
    -------
    pixels : ndarray of shape (height, width, 1, 3 or 4), float32
    """
    if pixels.shape[2] == 4 and color_mode != "rgba":
        alpha = pixels[:, :, 3:]
        behind = np.array(background, dtype=np.float32) / 255
        pixels = pixels[:, :, :3] * alpha + behind * (1 - alpha)
    n_channels = pixels.shape[2]
    if n_channels == N_CHANNELS[color_mode]:
        return pixels
    if color_mode == "grayscale":
        return (pixels @ _LUMA)[:, :, np.newaxis]
    if n_channels == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if color_mode == "rgba":
        opaque = np.ones((*pixels.shape[:2], 1), dtype=np.float32)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels


@functools.lru_cache
def convert_background(background, color_mode):
    """Give a background colour in the channels of `color_mode`, as ints to 255."""
    colour = Image.new("RGB", (1, 1), background).convert(_PILLOW_MODES[color_mode])
    return tuple(np.asarray(colour).ravel().tolist())
