"""Choose the picture of a Windows icon file, and read its size before Pillow does."""

import io
import struct
from collections import namedtuple

from skimgclf.images._decoding.png import PNG_START

_ICON_START = b"\x00\x00\x01\x00"

_Entry = namedtuple("_Entry", ["sides", "n_pixels", "depth", "size", "offset"])


def unwrap_icon(stream, sides=None):
    """Look into an icon file before Pillow does, which decodes it while opening it.

    Parameters
    ----------
    stream : binary file
        Any file; all but icons are left alone.
    sides : tuple of two int, default=None
        Width and height of the picture, if it isn't the largest one.

    Returns
    -------
    stream : binary file
        The picture alone when the icon holds it as a PNG file (Pillow would forget a
        PNG palette's transparency), otherwise the stream that was given.
    n_pixels : int
        How many pixels a bitmap icon declares; 0 for everything else.
    """
    stream.seek(0)
    header = stream.read(6)
    if not header.startswith(_ICON_START) or len(header) < 6:
        return stream, 0
    entries = _read_entries(stream, struct.unpack("<H", header[4:])[0])
    if not entries:
        return stream, 0
    # The picture that Pillow takes: the largest, among equals the least deep.
    entry = min(
        entries, key=lambda each: (each.sides != sides, -each.n_pixels, each.depth)
    )
    stream.seek(entry.offset)
    start = stream.read(16)
    if start.startswith(PNG_START):
        stream.seek(entry.offset)
        return io.BytesIO(stream.read(entry.size)), 0
    if len(start) < 12:
        return stream, 0
    width, height = struct.unpack("<ii", start[4:12])
    # The bitmap's height counts its transparency mask as well.
    return stream, abs(width) * (abs(height) // 2)


def _read_entries(stream, n_entries):
    content, entries = stream.read(16 * n_entries), []
    whole = struct.iter_unpack("<BBBBHHII", content[: len(content) // 16 * 16])
    for width, height, n_colours, _, _, depth, size, offset in whole:
        depth = depth or (n_colours - 1).bit_length() if n_colours else depth or 256
        sides = width or 256, height or 256
        entries.append(_Entry(sides, sides[0] * sides[1], depth, size, offset))
    return entries
