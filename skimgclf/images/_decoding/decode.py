"""Decode one image from a file, URL, bytes, PIL image or array: read_image."""

import os

import numpy as np
from PIL import Image

from skimgclf._validation import ParameterTable, pick_fields
from skimgclf.exceptions import ImageLoadError
from skimgclf.images._decoding.cells import plain_source
from skimgclf.images._decoding.colour import (
    convert_background,
    convert_eight_bits,
    convert_floats,
    keep_colours,
    scale_deep,
)
from skimgclf.images._decoding.decoded_arrays import load_array
from skimgclf.images._decoding.load import Draft, load_file
from skimgclf.images._decoding.open import open_source
from skimgclf.images._decoding.options import (
    DECODE_RULES,
    DEFAULT_MAX_PIXELS,
    DecodeOptions,
)
from skimgclf.images._decoding.pil_images import load_pil_image
from skimgclf.images._decoding.profile import find_transform
from skimgclf.images._decoding.reasons import (
    UnreadableImage,
    describe_source,
    explain_error,
    refuse_type,
)
from skimgclf.images._decoding.resize import fill_padding, resize, resize_floats
from skimgclf.images._decoding.scale import scale_pixels
from skimgclf.images._urls import UrlReader

_TABLE = ParameterTable("read_image", DECODE_RULES)


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
    color_management=True,
    storage_options=None,
):
    """Read one image as an array.

    The image is turned upright as its EXIF block says, scaled by the bit depth that its
    format declares (16-bit gray by 65535, 12-bit TIFF by 4095, PGM by its maximum) and,
    if transparent, put on `background` before it is resized. Of animations and
    multi-page files the first frame is read.

    Parameters
    ----------
    source : str, os.PathLike, bytes, file, dict, PIL.Image.Image or ndarray
        A path, a URL, an encoded image as bytes, as a binary file that is open or as
        ``{"bytes": ..., "path": ...}`` of Hugging Face's, a PIL image, or decoded
        pixels of shape (height, width) or (height, width, 1, 3 or 4), uint8 or float in
        [0, 1]. Files and bytes may be JPEG (with MPO), PNG, GIF, BMP, TIFF, WEBP, AVIF,
        JPEG 2000 (JP2), PPM, ICO or, with the extra ``heif``, HEIC.
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
    color_management : bool, default=True
        Whether to convert colours to sRGB where the file says that they are others, by
        an ICC profile or in the way of their format. False gives the numbers as they
        are stored.
    storage_options : dict, default=None
        Options of fsspec for URLs, by their names (see `ImageLoader`).

    Returns
    -------
    image : ndarray of shape (height, width, n_channels)
        Channels last.

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value.
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
    colours. A PIL image is decoded whole, the frame or page that was chosen by its
    ``seek``; one that can't be decoded is closed, since Pillow would return blank
    pixels at the next try. Give other processes paths: a PIL image of a TIFF file with
    planes of 16 bits that is pickled or copied holds noise, as Pillow decodes it.

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
    options = pick_fields(DecodeOptions, _TABLE.check(locals()))
    pixels = decode_pixels(plain_source(source), options)
    return scale_pixels(pixels, options.dtype)


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

    def load(file):
        return load_file(file, options.max_pixels, _plan_draft(options))

    url_reader = UrlReader(options.storage_options)
    try:
        picture = load_source(source, options.max_pixels, url_reader, load)
        return _convert_picture(picture, options)
    except Exception as error:
        name, reason = describe_source(source), explain_error(error)
        raise ImageLoadError([(None, name, reason)]) from _find_cause(error)


def load_source(source, n_most, url_reader, load):
    """Load a source of any kind that `read_image` takes.

    Parameters
    ----------
    source : object
    n_most : int
        The most pixels of a PIL image or an array.
    url_reader : UrlReader
    load : callable
        Makes a picture of the stream of a file.

    Returns
    -------
    picture : Picture
    """
    if isinstance(source, np.ndarray):
        return load_array(source, n_most)
    if isinstance(source, Image.Image):
        return load_pil_image(source, n_most)
    if not isinstance(source, str | bytes | os.PathLike):
        raise refuse_type(source)
    with open_source(source, url_reader) as stream:
        return load(stream)


def _find_cause(error):
    # An UnreadableImage only carries words; the cause is the error behind it.
    return error.__cause__ if isinstance(error, UnreadableImage) else error


def _plan_draft(options):
    """Plan how a JPEG is decoded at a fraction of its size."""
    # A square, so that no orientation can undercut it. It is enough for every resize
    # mode: "crop" keeps one side of the image whole and "pad" shrinks more than both.
    # Box and Hamming pass more of the detail that the draft has lost: with 2 the mean
    # difference on photographs is up to 0.015, with 4 it stays below 0.01.
    if options.interpolation == "nearest":
        return None
    factor = 4 if options.interpolation in {"box", "hamming"} else 2
    # Gray is the file's own luma: its colours needn't be decoded first.
    mode = "L" if options.color_mode == "grayscale" else None
    return Draft(mode, factor * max(options.image_size), options.color_management)


def _convert_picture(picture, options):
    """Bring a loaded image to the channels and size asked for."""
    if options.color_management and picture.notes is not None:
        transform = find_transform(picture.notes, picture.mode)
        if transform is not None:
            return _convert_managed(picture, options, transform)
    image, margins = picture.image, picture.margins
    how = options.image_size, options.resize_mode, options.interpolation
    mode = options.color_mode
    colour = convert_background(options.background, mode)
    if picture.is_deep:
        pixels = convert_floats(_scale(picture), mode, options.background)
        return resize_floats(pixels, *how, colour)
    image = convert_eight_bits(image, mode, options.background)
    image = resize(image, margins, *how, colour if len(colour) > 1 else colour[0])
    # As np.asarray does, without asking the image for its interface.
    pixels = np.frombuffer(image.tobytes(), np.uint8)
    return pixels.reshape(*options.image_size, -1)


def _convert_managed(picture, options, transform):
    """Bring an image of another colour space to the channels and size asked for.

    Colours are converted after the resize, since that is faster, and before the image
    is put on the background, which is in sRGB.
    """
    how = options.image_size, options.resize_mode, options.interpolation
    mode, background = options.color_mode, options.background
    colour = np.array(convert_background(background, mode))
    if picture.is_deep:
        pixels = resize_floats(_scale(picture), *how, (0, 0, 0, 0))
        height, width = picture.image_size
        pixels = convert_floats(transform.convert_floats(pixels), mode, background)
        colour = colour / 255
    else:
        image = keep_colours(picture.image)
        left, top, right, bottom = picture.margins
        width, height = image.width - left - right, image.height - top - bottom
        image = transform.convert(resize(image, picture.margins, *how, 0))
        image = convert_eight_bits(image, mode, background)
        pixels = np.array(image).reshape(*options.image_size, -1)
    if options.resize_mode == "pad":
        fill_padding(pixels, (width, height), colour)
    return pixels


def _scale(picture):
    is_scaled = isinstance(picture.image, np.ndarray)
    return picture.image if is_scaled else scale_deep(picture.image, picture.white)
