"""Load PIL images that the user gave."""

import threading

from PIL import Image

from skimgclf._platform import after_fork
from skimgclf.images._decoding.icon import unwrap_icon
from skimgclf.images._decoding.jpeg import read_jpeg
from skimgclf.images._decoding.load import (
    check_n_pixels,
    load_deep_png,
    load_heif,
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


def load_pil_image(pil_image, limit):
    """Load a PIL image that the user gave, of at most `limit` pixels."""
    # One lock for all: a lazily opened image that stands in two cells can't be loaded
    # by two threads at once.
    with _lock, isolated(limit):
        check_n_pixels(pil_image.width * pil_image.height, limit)
        icon = _find_icon(pil_image, limit) if pil_image.format == "ICO" else None
        if icon is None:
            return _load_unwrapped(pil_image, limit)
    return load_stream(icon, limit)


def _load_unwrapped(pil_image, limit):
    has_file = pil_image.format in _CHECKED | NOTED_FORMATS | {"WEBP", "HEIF"}
    stream = find_stream(pil_image) if has_file else None
    if pil_image.format == "HEIF" and stream is not None:
        # The plugin of pillow-heif keeps 8 bits, and makes colours of gray.
        stream.seek(0)
        return load_heif(stream, limit, pil_image.tell())
    notes = read_notes(pil_image, stream)
    if read_canvas_box(pil_image, stream):
        # Decoding discards the file, which alone says where the first frame lies: so a
        # second image is opened and decoded.
        stream.seek(0)
        pil_image = Image.open(stream, formats=["WEBP"])
    if stream is None or pil_image.format not in _CHECKED:
        return load_opened(pil_image, notes, stream)
    is_first = pil_image.tell() == 0  # a pickle, which has no stream, can't tell
    if pil_image.format == "TIFF":
        directory = read_directory(stream, pil_image.tell())
        refuse_kind(directory)
        if needs_planes(directory):
            return load_planes(stream, directory, limit)
        check_directory(pil_image, directory)
        check_data(stream, directory)
    if pil_image.format == "MPO" and not is_first:
        stream = cut_out_frame(pil_image, stream)
        pil_image = Image.open(stream, formats=["JPEG"])
        notes = read_notes(pil_image, None)
    png = read_png(stream)
    if png is None:
        with decoding_from(read_jpeg(stream), pil_image):
            return load_opened(pil_image, notes, stream)
    if has_deep_colours(png):
        if is_first:
            return load_deep_png(pil_image, png)
        if png.transparent:
            raise UnreadableImage(
                "it is a later frame of a PNG animation with a transparent colour of "
                "16 bits, which Pillow mixes up: save the frame as a file of its own"
            )
    png.unpack_rows()
    if png.is_odd and is_first:
        pil_image = Image.open(png.stream, formats=["PNG"])
    return load_opened(pil_image, png.notes, stream)


def _find_icon(pil_image, limit):
    """Return the PNG file within an opened icon, or None.

    Pillow (13.0) forgets what such a file says of its colours and its transparency. An
    icon that the user has changed since has only its own pixels.
    """
    stream = find_stream(pil_image)
    icon = None if stream is None else unwrap_icon(stream, pil_image.size)[0]
    png = None if icon is None or icon is stream else read_png(icon)
    if png is None:
        return None
    check_n_pixels(png.n_pixels, limit)
    png.unpack_rows()
    stored = Image.open(png.stream, formats=["PNG"])
    is_same = (stored.mode, stored.size) == (pil_image.mode, pil_image.size)
    return icon if is_same and stored.tobytes() == pil_image.tobytes() else None


def _renew_lock():
    # A thread of the parent may have held it, and doesn't exist in a forked child.
    global _lock
    _lock = threading.Lock()


after_fork(_renew_lock)
