"""Decode one image from a file, URL, bytes, PIL image or array: read_image."""

import contextlib
import hashlib
import io
import os
import threading
from collections import namedtuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from skimgclf._validation import ParameterTable
from skimgclf.exceptions import ImageLoadError
from skimgclf.images._decoding.colour import (
    convert_background,
    convert_eight_bits,
    convert_floats,
    read_sample_meaning,
    refuse_lost_bits,
    scale_deep,
)
from skimgclf.images._decoding.decoded_arrays import load_array
from skimgclf.images._decoding.icon import unwrap_icon
from skimgclf.images._decoding.open import open_source
from skimgclf.images._decoding.options import (
    DECODE_RULES,
    DEFAULT_MAX_PIXELS,
    DecodeOptions,
)
from skimgclf.images._decoding.pillow_repairs import (
    SettingsChanged,
    close_if_failed,
    find_stream,
    isolated,
    read_transparent_colour,
)
from skimgclf.images._decoding.reasons import (
    UnreadableImage,
    describe_source,
    explain_error,
    explain_start,
    refuse_type,
)
from skimgclf.images._decoding.resize import (
    orient,
    read_orientation,
    resize,
    resize_floats,
)
from skimgclf.images._decoding.scale import scale_pixels
from skimgclf.images._decoding.tiff import check_directory
from skimgclf.images._urls import UrlReader

_TABLE = ParameterTable("read_image", DECODE_RULES)

# Content decides, not the extension, and nothing else may be tried: EPS would reach
# Ghostscript. Pillow finds MPO (which many phones write as .jpg) under JPEG.
_ALLOWED_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "ICO")

# Up to this size a file is read into memory, so that its hash and its pixels come from
# one reading; larger ones (stacks of pages, of which one is decoded) are read twice.
_READ_AT_ONCE = 64 * 2**20

_JPEG_START = b"\xff\xd8\xff"

_pil_image_lock = threading.Lock()

# How often an image is decoded anew when other threads get in the way.
_MAX_TRIES = 20

# An image as loaded: upright, a PIL image or floats; its margins that aren't picture
# (left, top, right, bottom); what is white (see `read_sample_meaning`); what the file
# declared.
_NO_MARGINS = (0, 0, 0, 0)
_Picture = namedtuple(
    "_Picture",
    ["image", "margins", "white", "format", "mode"],
    defaults=[_NO_MARGINS, None, None, None],
)


def read_image(
    source,
    *,
    image_size,
    color_mode="grayscale",
    resize_mode="stretch",
    interpolation="bilinear",
    background="white",
    dtype="float32",
    max_pixels=DEFAULT_MAX_PIXELS,
    storage_options=None,
):
    """Read one image as an array.

    The image is turned upright as its EXIF block says, scaled by the bit depth that its
    format declares (16-bit gray by 65535, 12-bit TIFF by 4095, PGM by its maximum) and,
    if transparent, put on `background` before it is resized. Of animations and
    multi-page files the first frame is read.

    Parameters
    ----------
    source : str, os.PathLike, bytes, PIL.Image.Image or ndarray
        A path, a URL, an encoded image, a PIL image, or decoded pixels of shape
        (height, width) or (height, width, 1, 3 or 4), uint8 or float in [0, 1]. Files
        and bytes may be JPEG (with MPO), PNG, GIF, BMP, TIFF, WEBP, PPM or ICO.
    image_size : tuple of two int
        Height and width of the result.
    color_mode : {"grayscale", "rgb", "rgba"}, default="grayscale"
        The channels of the result: 1, 3 or 4. "rgba" keeps transparency; opaque images
        get an alpha of 1.
    resize_mode : {"stretch", "crop", "pad"}, default="stretch"
        Whether to change the aspect ratio, to cut off both ends of the longer side
        alike, or to fill the rest with `background`.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}, \
default="bilinear"
        Pillow's filters by Keras' names, antialiased except for "nearest".
    background : str or tuple of three int, default="white"
        A colour name or hexadecimal colour as Pillow knows them, or red, green and blue
        in [0, 255]: behind transparent pixels and around padded images (there opaque,
        with "rgba" as well).
    dtype : {"float32", "uint8"}, default="float32"
        "float32" gives values in [0, 1], "uint8" in [0, 255]. For sources of 8 bits,
        the values of float32 are exactly those of uint8 / 255.
    max_pixels : int, default=89_478_485
        Images with more pixels are refused before they are decoded.
    storage_options : dict, default=None
        Options of fsspec for URLs, by their names (see `ImageLoader`).

    Returns
    -------
    image : ndarray of shape (height, width, n_channels)
        Channels last.

    Raises
    ------
    InvalidParameterError
        If a parameter has a bad value.
    ImageLoadError
        If the source can't be read correctly, with the reason in words.
    ImportError
        If the source is a URL, and a package that reads it isn't installed.

    Notes
    -----
    While Pillow's ``ImageFile.LOAD_TRUNCATED_IMAGES`` is set, or its
    ``Image.MAX_IMAGE_PIXELS`` is below half of `max_pixels`, both have safe values for
    as long as an image is decoded, and are put back then.

    Large JPEG files are decoded at a fraction of their size (down to twice the longer
    side of `image_size`), which is faster and changes the result by less than 0.01 on
    average (measured on photographs). For "grayscale" the luma that a JPEG holds is
    taken as it is, which differs by less than 0.001 on average from converting its
    colours. A PIL image is decoded whole; one that can't be decoded is closed, since
    Pillow would hand out blank pixels at the next try.

    Examples
    --------
    >>> import numpy as np
    >>> from skimgclf.images import read_image
    >>> black_and_white = np.array([[0, 255], [0, 255]], dtype="uint8")
    >>> read_image(black_and_white, image_size=(2, 2), dtype="uint8")[:, :, 0]
    array([[  0, 255],
           [  0, 255]], dtype=uint8)
    >>> read_image(black_and_white, image_size=(1, 1)).round(2)
    array([[[0.5]]], dtype=float32)
    """
    options = DecodeOptions.pick(_TABLE.check(locals()))
    return scale_pixels(decode_pixels(source, options), options.dtype)


def decode_pixels(source, options):
    """Read one image with checked options, before its dtype.

    Parameters
    ----------
    source : object
        As in `read_image`.
    options : DecodeOptions

    Returns
    -------
    pixels : ndarray of shape (height, width, n_channels)
        uint8 in [0, 255] for sources of 8 bits, float32 in [0, 1] for deeper ones.
    """
    try:
        if isinstance(source, np.ndarray):
            picture = _load_array(source, options.max_pixels)
        elif isinstance(source, Image.Image):
            picture = _load_pil_image(source, options.max_pixels)
        elif isinstance(source, str | bytes | os.PathLike):
            with open_source(source, UrlReader(options.storage_options)) as stream:
                picture = _load_file(stream, options.max_pixels, _plan_draft(options))
        else:
            raise refuse_type(source)
        return _convert_picture(picture, options)
    except Exception as error:
        name, reason = describe_source(source), explain_error(error)
        raise ImageLoadError([(None, name, reason)]) from _find_cause(error)


def _renew_lock():
    # A thread of the parent may have held it, and doesn't exist in a forked child.
    global _pil_image_lock
    _pil_image_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _find_cause(error):
    # An UnreadableImage only carries words; the cause is the error behind it.
    return error.__cause__ if isinstance(error, UnreadableImage) else error


def _plan_draft(options):
    """Give the mode to decode a JPEG to, and the side of the square it must fill."""
    # A square, so that no orientation can undercut it. It is enough for every resize
    # mode: "crop" keeps one side of the image whole and "pad" shrinks more than both.
    # Box and Hamming pass more of the detail that the draft has lost: with 2 the mean
    # difference on photographs is up to 0.015, with 4 it stays below 0.01.
    if options.interpolation == "nearest":
        return None
    factor = 4 if options.interpolation in {"box", "hamming"} else 2
    # Gray is the file's own luma: its colours needn't be decoded first.
    mode = "L" if options.color_mode == "grayscale" else None
    return mode, factor * max(options.image_size)


def _load_file(stream, max_pixels, draft):
    """Load the image of a stream, at a fraction of its size where that is enough."""
    if draft is not None and stream.read(3) == _JPEG_START:
        try:
            return _load_stream(stream, max_pixels, draft)
        except OSError:
            # Lossless JPEG can't be decoded at a fraction: anew, as another image.
            pass
    return _load_stream(stream, max_pixels)


def _load_stream(stream, max_pixels, draft=None):
    for _ in range(_MAX_TRIES):
        # Other threads may change Pillow's settings, or swap the list of warning
        # filters so that a remark becomes an exception: then anew, as another image.
        with contextlib.suppress(SettingsChanged, Warning):
            return _load_once(stream, max_pixels, draft)
    raise UnreadableImage(
        "other threads kept changing Pillow's LOAD_TRUNCATED_IMAGES or the warning "
        "filters while it was decoded"
    )


def _load_once(stream, max_pixels, draft):
    with isolated(max_pixels):
        stream, n_pixels = unwrap_icon(stream)
        _check_n_pixels(n_pixels, max_pixels)
        try:
            image = Image.open(stream, formats=_ALLOWED_FORMATS)
        except UnidentifiedImageError as error:
            raise UnreadableImage(explain_start(stream)) from error
        _check_n_pixels(image.width * image.height, max_pixels)
        if image.format == "TIFF":
            check_directory(image, stream)
        return _load_opened(image, _draft(image, draft))


def _load_opened(image, margins=_NO_MARGINS):
    # Declarations of the file are read first: images that were turned have lost them.
    file_format, mode = image.format, image.mode
    white = read_sample_meaning(image)
    transparent = read_transparent_colour(image)
    # Before anything else touches the image, and never again if it fails: Pillow
    # (13.0) hands out blank pixels without an error at the second try.
    image.load()
    image, margins = orient(image, margins, read_orientation(image))
    if transparent is not None:
        refuse_lost_bits(image, transparent)
        image = image.copy()
        image.info["transparency"] = transparent
    return _Picture(image, margins, white, file_format, mode)


def _draft(image, draft):
    """Have a JPEG decoded at a fraction of its size, and return its margins."""
    if draft is None or image.format not in {"JPEG", "MPO"}:
        return _NO_MARGINS
    mode, side = draft
    drafted = image.draft(mode, (side, side))
    if drafted is None:
        return _NO_MARGINS
    _, (_, _, width, height) = drafted
    # The last column and row of a reduced image may stand for less than a whole one.
    return (0, 0, image.width - width, image.height - height)


def _check_n_pixels(n_pixels, max_pixels):
    """Refuse an image of more than `max_pixels` pixels."""
    if n_pixels > max_pixels:
        raise UnreadableImage(
            f"it has {n_pixels} pixels, more than max_pixels={max_pixels} allows"
        )


def _load_array(array, max_pixels):
    image = load_array(array)
    _check_n_pixels(array.shape[0] * array.shape[1], max_pixels)
    return _Picture(image)


def _load_pil_image(image, max_pixels):
    # One lock for all: a lazily opened image that stands in two cells can't be loaded
    # by two threads at once.
    with _pil_image_lock, isolated(max_pixels):
        _check_n_pixels(image.width * image.height, max_pixels)
        with close_if_failed(image):
            stream = find_stream(image) if image.format == "TIFF" else None
            if stream is not None:
                check_directory(image, stream)
            return _load_opened(image)


def _convert_picture(picture, options):
    """Bring a loaded image to the channels and size asked for."""
    image, margins, white = picture.image, picture.margins, picture.white
    how = options.image_size, options.resize_mode, options.interpolation
    mode = options.color_mode
    colour = convert_background(options.background, mode)
    if white is None and isinstance(image, Image.Image):
        image = convert_eight_bits(image, mode, options.background)
        colour = colour if len(colour) > 1 else colour[0]
        image = resize(image, margins, *how, colour)
        return np.asarray(image).reshape(*options.image_size, -1)
    pixels = image if white is None else scale_deep(image, white)
    pixels = convert_floats(pixels, mode, options.background)
    return resize_floats(pixels, *how, colour)


def probe_image(source, max_pixels, url_reader):
    """Decode an image and report on it, instead of returning its pixels.

    Parameters
    ----------
    source, max_pixels
        As in `read_image`.
    url_reader : UrlReader
        The reader of URLs.

    Returns
    -------
    report : dict
        With the keys reason (None if the image can be read), width and height (of the
        upright image), mode, format and sha256 (of the file or the bytes).
    """
    report = dict.fromkeys(["reason", "width", "height", "mode", "format", "sha256"])
    try:
        if isinstance(source, str | bytes | os.PathLike):
            with open_source(source, url_reader) as stream:
                stream, report["sha256"] = _hash_stream(stream)
                picture = _load_stream(stream, max_pixels)
        elif isinstance(source, Image.Image):
            picture = _load_pil_image(source, max_pixels)
        elif isinstance(source, np.ndarray):
            picture = _load_array(source, max_pixels)
        else:
            raise refuse_type(source)
        report |= _describe_picture(picture)
    except Exception as error:
        report["reason"] = explain_error(error)
    return report


def _hash_stream(stream):
    """Hash a stream, and return one on the same bytes."""
    if stream.seek(0, io.SEEK_END) <= _READ_AT_ONCE:
        stream.seek(0)
        stream = io.BytesIO(stream.read())
    stream.seek(0)
    return stream, hashlib.file_digest(stream, "sha256").hexdigest()


def _describe_picture(picture):
    """Describe a loaded image, having tried that its colours can be converted."""
    image = picture.image
    if isinstance(image, np.ndarray):
        height, width = image.shape[:2]
    else:
        width, height = image.size
        if picture.white is None:
            convert_eight_bits(image, "rgb", (255, 255, 255))
    return {
        "width": width,
        "height": height,
        "mode": picture.mode,
        "format": picture.format,
    }
