"""Load the image of a stream with Pillow, upright and not yet converted."""

import contextlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.avif import read_clean_aperture
from skimgclf.images._decoding.bmp import has_empty_alpha, refuse_misread_palette
from skimgclf.images._decoding.colour import (
    clear_outside,
    read_sample_meaning,
)
from skimgclf.images._decoding.heif import (
    decode_heif,
    is_heif,
    name_heif_mode,
    read_code,
    read_heif_header,
)
from skimgclf.images._decoding.icon import unwrap_icon
from skimgclf.images._decoding.jpeg import JPEG_START, read_jpeg, refuse_odd_data
from skimgclf.images._decoding.jpeg2000 import find_white, mend_channels, read_channels
from skimgclf.images._decoding.notes import are_of_colours, read_notes
from skimgclf.images._decoding.orientation import (
    orient,
    orient_floats,
    read_orientation,
)
from skimgclf.images._decoding.pillow_repairs import (
    SettingsChanged,
    close_if_failed,
    isolated,
    read_frame_box,
    read_low_palette,
    read_transparent_colour,
)
from skimgclf.images._decoding.png import decode_plain, read_png
from skimgclf.images._decoding.png_deep import (
    DEEP_MODES,
    has_deep_colours,
    read_deep_colours,
)
from skimgclf.images._decoding.profile import ColourNotes, find_transform
from skimgclf.images._decoding.reasons import (
    UnreadableImage,
    explain_start,
    refuse_dicom,
    refuse_start,
)
from skimgclf.images._decoding.tiff import (
    TIFF_STARTS,
    check_directory,
    explain_unread,
    refuse_kind,
)
from skimgclf.images._decoding.tiff_data import check_data
from skimgclf.images._decoding.tiff_directory import read_directory
from skimgclf.images._decoding.tiff_planes import (
    name_planes_mode,
    needs_planes,
    read_planes,
    read_planes_notes,
)
from skimgclf.images._decoding.webp import read_canvas_box

# Content decides, not the extension, and nothing else may be tried: EPS would reach
# Ghostscript. Pillow finds MPO (which many phones write as .jpg) under JPEG.
_ALLOWED_FORMATS = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "PPM",
    "TIFF",
    "WEBP",
    "ICO",
    "AVIF",
    "JPEG2000",
)

# How often an image is decoded again when other threads change settings meanwhile.
_MAX_TRIES = 20

_NO_MARGINS = (0, 0, 0, 0)


@dataclass(frozen=True)
class Picture:
    """A loaded image, upright.

    Attributes
    ----------
    image : PIL.Image.Image or ndarray of shape (height, width, n_channels)
        The pixels; floats in [0, 1] for an array of floats.
    margins : tuple of four float
        How much of it, at its left, top, right and bottom, isn't picture.
    white : int or None
        From `read_sample_meaning`.
    format, mode : str or None
        Pillow's names for the kind of file and of pixels, as the file declares them.
    notes : ColourNotes or None
        The colour information of the file.
    n_bits : int or None
        Bits a channel in the file, of a TIFF file whose samples are read here.
    """

    image: Image.Image | np.ndarray
    margins: tuple = _NO_MARGINS
    white: int | None = None
    format: str | None = None
    mode: str | None = None
    notes: ColourNotes | None = None
    n_bits: int | None = None

    @property
    def is_deep(self):
        """Whether the image has more than 8 bits a channel."""
        return self.white is not None or isinstance(self.image, np.ndarray)

    @property
    def image_size(self):
        """Height and width of the image."""
        is_array = isinstance(self.image, np.ndarray)
        return self.image.shape[:2] if is_array else self.image.size[::-1]


class Draft(NamedTuple):
    """How a JPEG is decoded at a fraction of its size.

    Attributes
    ----------
    mode : {"L", None}
        The mode to decode to; None for the file's own.
    side : int
        The side of the square it must fill.
    is_managed : bool
        Whether colours are converted to sRGB, which takes the file's own mode.
    """

    mode: str | None
    side: int
    is_managed: bool


def load_file(stream, max_pixels, draft):
    """Load the image of a stream, at a fraction of its size where that is enough.

    Parameters
    ----------
    stream : binary file
    max_pixels : int
    draft : Draft or None
        None to decode all pixels.

    Returns
    -------
    picture : Picture
    """
    if draft is not None and stream.read(3) == JPEG_START:
        try:
            return load_stream(stream, max_pixels, draft)
        except OSError:
            # Lossless JPEG can't be decoded at a fraction: it is opened again.
            pass
    return load_stream(stream, max_pixels)


def load_stream(stream, max_pixels, draft=None, *, strict=False):
    """Load the image of a stream, as `load_file` with a JPEG's draft.

    `strict` finds more kinds of damage, and takes longer.
    """
    png = read_png(stream)
    if png is not None:
        check_n_pixels(png.n_pixels, max_pixels)
        image = decode_plain(png)
        if image is not None:
            return Picture(image, format="PNG", mode=image.mode, notes=png.notes)
    for _ in range(_MAX_TRIES):
        # Other threads may change Pillow's settings, or swap the list of warning
        # filters so that a remark becomes an exception: then it is opened again.
        with contextlib.suppress(SettingsChanged, Warning):
            return _load_once(stream, png, max_pixels, draft, strict)
    raise UnreadableImage(
        "other threads kept changing Pillow's LOAD_TRUNCATED_IMAGES or the warning "
        "filters while it was decoded"
    )


def _load_once(stream, png, max_pixels, draft, strict):
    with isolated(max_pixels):
        stream.seek(0)
        start = stream.read(132)
        refuse_start(start)
        if is_heif(start):
            return load_heif(stream, max_pixels)
        icon, n_pixels = unwrap_icon(stream)
        if icon is not stream:
            stream, png = icon, read_png(icon)
        check_n_pixels(n_pixels, max_pixels)
        directory = None
        if start.startswith(TIFF_STARTS):
            directory = _read_directory(stream, start)
            if needs_planes(directory):
                return load_planes(stream, directory, max_pixels)
        source = png.stream if png else read_jpeg(stream) or stream
        try:
            image = Image.open(source, formats=_ALLOWED_FORMATS)
        except UnidentifiedImageError as error:
            refuse_dicom(start)
            is_tiff = directory is not None
            reason = explain_unread(directory) if is_tiff else explain_start(stream)
            raise UnreadableImage(reason) from error
        check_n_pixels(image.width * image.height, max_pixels)
        if directory is not None:
            check_directory(image, directory)
            check_data(stream, directory)
        if png and has_deep_colours(png):
            return load_deep_png(image, png)
        notes = png.notes if png else read_notes(image, stream)
        mode = image.mode
        margins = _draft(image, notes, draft)
        # Notes are on colours, of which a draft may give the luma alone.
        picture = load_opened(
            image, notes if image.mode == mode else None, stream, margins
        )
        if png:
            png.unpack_rows()
        if strict:
            refuse_odd_data(stream)
        return picture


def _read_directory(stream, start):
    """Read the directory of a TIFF file whose pixels can be read."""
    try:
        directory = read_directory(stream)
        refuse_kind(directory)
    except UnreadableImage:
        refuse_dicom(start)
        raise
    return directory


def load_heif(stream, max_pixels, number=None):
    """Load the main image of a HEIC file, or the image of a number."""
    header = read_heif_header(stream, number)
    check_n_pixels(header.size[0] * header.size[1], max_pixels)
    profile = header.info.get("icc_profile")
    # ISO/IEC 23008-12, section 6.5.5: numbers are for what a profile doesn't say.
    notes = ColourNotes(profile, None if profile else read_code(header))
    image = decode_heif(header)
    return Picture(image, format="HEIF", mode=name_heif_mode(header), notes=notes)


def load_planes(stream, directory, max_pixels):
    """Load a TIFF file whose samples Pillow would mix up."""
    # All samples of a pixel are decoded: up to five count as one pixel, as in others.
    n_layers = -(-directory.get(Tag.SamplesPerPixel, 1) // 5)
    n_pixels = directory.get(Tag.ImageWidth) * directory.get(Tag.ImageLength) * n_layers
    check_n_pixels(n_pixels, max_pixels)
    check_data(stream, directory)
    image = read_planes(stream, directory)
    mode = name_planes_mode(image, directory)
    notes = read_planes_notes(stream, directory)
    orientation = directory.get(Tag.Orientation, 1)
    if isinstance(image, np.ndarray):
        image = orient_floats(image, orientation)
        return Picture(image, format="TIFF", mode=mode, notes=notes)
    image, _ = orient(image, _NO_MARGINS, orientation)
    n_bits = directory.get(Tag.BitsPerSample)
    return Picture(image, format="TIFF", mode=mode, notes=notes, n_bits=n_bits)


def load_deep_png(image, png):
    """Load a PNG file of colours of 16 bits, which was opened."""
    mode = f"{DEEP_MODES[png.header[3]]};16"
    pixels = read_deep_colours(png)
    if png.may_be_turned:
        pixels = orient_floats(pixels, read_orientation(image))
    return Picture(pixels, format="PNG", mode=mode, notes=png.notes)


def load_opened(image, notes, stream, margins=_NO_MARGINS):
    """Load an image that Pillow has opened."""
    # Declarations of the file are read first: images that were turned have lost them.
    file_format, mode = image.format, image.mode
    refuse_misread_palette(image, stream)
    white = read_sample_meaning(image)
    transparent = read_transparent_colour(image)
    frame_box = read_frame_box(image) or read_canvas_box(image, stream)
    aperture = read_clean_aperture(image, stream)
    channels = read_channels(image, stream)
    white = find_white(channels) if channels and white else white
    palette = read_low_palette(image)
    # Before anything else touches the image, and never again if it fails: Pillow
    # (13.0) silently returns blank pixels at the second try.
    with close_if_failed(image):
        image.load()
    if mode in {"1", "L"} and file_format in {"GIF", "BMP"} and are_of_colours(notes):
        image, mode = image.convert("RGB"), "RGB"  # a palette of grays
    if has_empty_alpha(image):
        image, mode = image.convert("RGB"), "RGB"
    if frame_box is not None:
        image = clear_outside(image, frame_box)
    if channels and not white:
        image = mend_channels(image, channels)
    if palette is not None:
        image = image.copy()
        image.putpalette(palette)
    if aperture is not None:
        image = image.crop(aperture)
    image, margins = orient(image, margins, read_orientation(image))
    if transparent is not None:
        image = image.copy()
        image.info["transparency"] = transparent
    return Picture(image, margins, white, file_format, mode, notes)


def _draft(image, notes, draft):
    """Have a JPEG decoded at a fraction of its size, and return its margins."""
    if draft is None or image.format not in {"JPEG", "MPO"}:
        return _NO_MARGINS
    mode = draft.mode
    if draft.is_managed and find_transform(notes, image.mode):
        mode = None
    drafted = image.draft(mode, (draft.side, draft.side))
    if drafted is None:
        return _NO_MARGINS
    _, (_, _, width, height) = drafted
    # The last column and row of a reduced image may stand for less than a whole one.
    return (0, 0, image.width - width, image.height - height)


def check_n_pixels(n_pixels, limit):
    """Refuse an image of more than `limit` pixels."""
    if n_pixels > limit:
        raise UnreadableImage(
            f"it has {n_pixels} pixels, more than max_pixels={limit} allows"
        )
