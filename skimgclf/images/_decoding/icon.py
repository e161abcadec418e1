"""Choose the picture of a Windows icon file, and read its size before Pillow does."""

import io
import struct
from collections import namedtuple

from skimgclf.images._decoding.png import N_SAMPLES
from skimgclf.images._decoding.png_chunks import PNG_START

_ICON_START = b"\x00\x00\x01\x00"

# [MS-WMF], sections 2.2.2.3 and 2.1.1.7: the bytes of a bitmap's header, and the
# compression by which three masks follow it.
_HEADER_SIZE, _BITFIELDS = 40, 3

_Entry = namedtuple("_Entry", ["sides", "n_pixels", "depth", "size", "offset"])


def unwrap_icon(stream, sides=None):
    """Look into an icon file before Pillow does, which decodes it while opening it.

    Parameters
    ----------
    stream : binary file
        Any file; all but icons are left alone.
    sides : tuple of two int, default=None
        Width and height of the picture that Pillow has decoded; None for the deepest
        of the largest pictures.

    Returns
    -------
    stream : binary file
        The picture alone when the icon holds it as a PNG file (Pillow would forget a
        PNG palette's transparency), an icon of it alone when it is a bitmap that Pillow
        hasn't decoded, otherwise the stream that was given.
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
    entry = _choose_entry(stream, entries, sides)
    start = _read_start(stream, entry)
    if start.startswith(PNG_START):
        stream.seek(entry.offset)
        return io.BytesIO(stream.read(entry.size)), 0
    if len(start) < 12:
        return stream, 0
    width, height = struct.unpack_from("<ii", start, 4)
    # The bitmap's height counts its transparency mask as well.
    n_pixels = abs(width) * (abs(height) // 2)
    is_cut = len(start) < _HEADER_SIZE
    return stream if is_cut or sides else _isolate_bitmap(stream, entry), n_pixels


def _choose_entry(stream, entries, sides):
    if sides is not None:
        # Pillow (13.0) takes the least deep among pictures of equal sizes.
        return min(
            entries, key=lambda each: (each.sides != sides, -each.n_pixels, each.depth)
        )
    most = max(each.n_pixels for each in entries)
    largest = [each for each in entries if each.n_pixels == most]
    return max(largest, key=lambda each: _read_depth(_read_start(stream, each)))


def _read_start(stream, entry):
    stream.seek(entry.offset)
    return stream.read(_HEADER_SIZE)


def _read_depth(start):
    """Read the bits of a pixel from a picture itself: entries may declare none."""
    if len(start) < _HEADER_SIZE:
        return 0
    if start.startswith(PNG_START):
        return start[24] * N_SAMPLES.get(start[25], 0)
    return struct.unpack_from("<H", start, 14)[0]


def _isolate_bitmap(stream, entry):
    """Write an icon of a bitmap alone, for Pillow.

    Pillow takes the mask for the transparency of bitmaps that don't declare 32 bits.
    """
    stream.seek(entry.offset)
    content = stream.read()
    depth = _read_depth(content[:_HEADER_SIZE])
    if depth == 32 and _has_mask_alone(content, entry.size):
        depth = 24
    width, height = entry.sides
    packed = struct.pack(
        "<HHHBBBBHHII",
        *(0, 1, 1, width % 256, height % 256, 0, 0, 1, depth, entry.size, 22),
    )
    return io.BytesIO(packed + content)


def _has_mask_alone(content, size):
    """Tell whether a bitmap of 32 bits has no alpha but zeros, and a mask behind it."""
    n_header, width, height, _, _, compression = struct.unpack_from("<IiiHHI", content)
    has_masks = n_header == _HEADER_SIZE and compression == _BITFIELDS
    start, height = n_header + 12 * has_masks, abs(height) // 2
    end = start + 4 * abs(width) * height
    # Each row of the mask has a bit for each pixel, and a multiple of four bytes.
    if end + -(-abs(width) // 32) * 4 * height > size:
        return False
    return not content[start + 3 : end : 4].strip(b"\0")


def _read_entries(stream, n_entries):
    content, entries = stream.read(16 * n_entries), []
    whole = struct.iter_unpack("<BBBBHHII", content[: len(content) // 16 * 16])
    for width, height, n_colours, _, _, depth, size, offset in whole:
        depth = depth or (n_colours - 1).bit_length() if n_colours else depth or 256
        sides = width or 256, height or 256
        entries.append(_Entry(sides, sides[0] * sides[1], depth, size, offset))
    return entries
