"""Load PIL images that the user gave."""

import threading

from PIL import Image

from skimgclf._platform import after_fork
from skimgclf.images._decoding.icon import unwrap_icon
from skimgclf.images._decoding.jpeg import read_jpeg
from skimgclf.images._decoding.load import (
    check_n_pixels,
    load_deep_png,
    load_opened,
    load_planes,
    load_stream,
)
from skimgclf.images._decoding.notes import NOTED_FORMATS, read_notes
from skimgclf.images._decoding.pillow_repairs import (
    cut_out_frame,
    decoding_from,
    find_stream,
    isolated,
)
from skimgclf.images._decoding.png import read_png
from skimgclf.images._decoding.png_deep import has_deep_colours
from skimgclf.images._decoding.reasons import UnreadableImage
from skimgclf.images._decoding.tiff import check_directory, refuse_kind
from skimgclf.images._decoding.tiff_data import check_data
from skimgclf.images._decoding.tiff_directory import read_directory
from skimgclf.images._decoding.tiff_planes import needs_planes
from skimgclf.images._decoding.webp import read_canvas_box

# Formats whose files are checked beside what Pillow checks.
_CHECKED = {"TIFF", "PNG", "JPEG", "MPO"}

_lock = threading.Lock()


def load_pil_image(image, max_pixels):
    """Load a PIL image that the user gave."""
    # One lock for all: a lazily opened image that stands in two cells can't be loaded
    # by two threads at once.
    with _lock, isolated(max_pixels):
        check_n_pixels(image.width * image.height, max_pixels)
        icon = _find_icon(image, max_pixels) if image.format == "ICO" else None
        if icon is None:
            return _load_unwrapped(image, max_pixels)
    return load_stream(icon, max_pixels)


def _load_unwrapped(image, max_pixels):
    has_file = image.format in _CHECKED | NOTED_FORMATS | {"WEBP"}
    stream = find_stream(image) if has_file else None
    notes = read_notes(image, stream)
    if read_canvas_box(image, stream):
        # Once it is decoded, nothing tells its frame any more: a copy is.
        stream.seek(0)
        image = Image.open(stream, formats=["WEBP"])
    if stream is None or image.format not in _CHECKED:
        return load_opened(image, notes, stream)
    is_first = image.tell() == 0  # a pickle, which has no stream, can't tell
    if image.format == "TIFF":
        directory = read_directory(stream, image.tell())
        refuse_kind(directory)
        if needs_planes(directory):
            return load_planes(stream, directory, max_pixels)
        check_directory(image, directory)
        check_data(stream, directory)
    if image.format == "MPO" and not is_first:
        stream = cut_out_frame(image, stream)
        image = Image.open(stream, formats=["JPEG"])
        notes = read_notes(image, None)
    png = read_png(stream)
    if png is None:
        with decoding_from(read_jpeg(stream), image):
            return load_opened(image, notes, stream)
    if has_deep_colours(png):
        if is_first:
            return load_deep_png(image, png)
        if png.transparent:
            raise UnreadableImage(
                "it is a later frame of a PNG animation with a transparent colour of "
                "16 bits, which Pillow mixes up: save the frame as a file of its own"
            )
    png.unpack_rows()
    return load_opened(image, png.notes, stream)


def _find_icon(image, max_pixels):
    """Return the PNG file within an opened icon, or None.

    Pillow (13.0) forgets what such a file says of its colours and its transparency. An
    icon that the user has changed since has only its own pixels.
    """
    stream = find_stream(image)
    icon = None if stream is None else unwrap_icon(stream, image.size)[0]
    png = None if icon is None or icon is stream else read_png(icon)
    if png is None:
        return None
    check_n_pixels(png.n_pixels, max_pixels)
    png.unpack_rows()
    stored = Image.open(png.stream, formats=["PNG"])
    is_same = (stored.mode, stored.size) == (image.mode, image.size)
    return icon if is_same and stored.tobytes() == image.tobytes() else None


def _renew_lock():
    # A thread of the parent may have held it, and doesn't exist in a forked child.
    global _lock
    _lock = threading.Lock()


after_fork(_renew_lock)
