"""Read a directory of a TIFF file: the tags that describe the pixels of a page."""

import os
import struct
from collections import namedtuple
from typing import NamedTuple

from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.open import keeping_position
from skimgclf.images._decoding.reasons import UnreadableImage

# The tags without which pixels would be read wrongly.
PIXEL_TAGS = {
    *(Tag.ImageWidth, Tag.ImageLength, Tag.BitsPerSample, Tag.SamplesPerPixel),
    *(Tag.Compression, Tag.PhotometricInterpretation, Tag.FillOrder, Tag.Orientation),
    *(Tag.StripOffsets, Tag.RowsPerStrip, Tag.StripByteCounts, Tag.PlanarConfiguration),
    *(Tag.Predictor, Tag.TileWidth, Tag.TileLength, Tag.TileOffsets),
    *(Tag.TileByteCounts, Tag.ExtraSamples, Tag.SampleFormat, Tag.JPEGTables),
    *(Tag.ColorMap, Tag.YCbCrCoefficients, Tag.YCbCrSubSampling),
    *(Tag.YCbCrPositioning, Tag.ReferenceBlackWhite, Tag.InkSet),
}

# The tags whose values are kept.
_READ_TAGS = {*PIXEL_TAGS, Tag.NewSubfileType, Tag.JpegIFOffset, Tag.JpegIFByteCount}

# TIFF 6.0, section 2: bytes of one value of each field type; 13 to 18 are BigTIFF's.
_TYPE_SIZES = dict(
    enumerate([1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 2, 2, 8, 8, 8], start=1)
)
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_Layout = namedtuple("_Layout", ["first", "count", "entry", "inline"])

# After the byte order and the version: how the offset of the first directory, its
# number of entries and an entry (tag, type, count, value or offset) are written, and
# how many bytes of value an entry holds itself.
_LAYOUTS = {
    42: _Layout("4xI", "H", "HHI4s", 4),
    43: _Layout("8xQ", "Q", "HHQ8s", 8),
}

_BYTE_ORDERS = {"<": "little", ">": "big"}


class Directory(NamedTuple):
    """A directory of a TIFF file.

    Attributes
    ----------
    order : {"<", ">"}
        The order of bytes, as `struct` names it.
    is_big : bool
        Whether it is a BigTIFF file.
    values : dict of int to tuple of int
        By tag; empty for values that aren't integers.
    places : dict of int to tuple of two int
        By tag, the offset and number of bytes of values that an entry doesn't hold.
    start : bytes
        The first bytes of the file.
    """

    order: str
    is_big: bool
    values: dict
    places: dict
    start: bytes

    def get(self, tag, default=None):
        """Return the first value of a tag."""
        return (self.values.get(tag) or (default,))[0]

    @property
    def parts(self):
        """Start and number of bytes of each strip or tile."""
        places, sizes = self.part_tags
        starts, n_bytes = self.values.get(places, ()), self.values.get(sizes, ())
        return list(zip(starts, n_bytes, strict=False))

    @property
    def part_tags(self):
        """The tags of the places and of the sizes of strips or tiles."""
        is_tiled = Tag.TileOffsets in self.values
        return (
            (Tag.TileOffsets, Tag.TileByteCounts)
            if is_tiled
            else (Tag.StripOffsets, Tag.StripByteCounts)
        )

    def find_bytes(self, tag, stream):
        """Read a value of several bytes from the file; None if it isn't there."""
        if tag not in self.places:
            return None
        offset, n_bytes = self.places[tag]
        stream.seek(offset)
        return stream.read(n_bytes)


def read_directory(file, page=0):
    """Read the directory of a page, and refuse lost values that decide on pixels.

    Parameters
    ----------
    file : binary file
        A TIFF file; its position is kept.
    page : int, default=0
        The number of the page.

    Returns
    -------
    directory : Directory
    """
    with keeping_position(file):
        try:
            return _read_directory(file, page, file.seek(0, os.SEEK_END))
        except (struct.error, OverflowError) as error:
            raise damaged("it is cut short") from error


def _read_directory(stream, page, length):
    stream.seek(0)
    start = stream.read(16)
    order = "<" if start.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", start, 2)
    layout = _LAYOUTS.get(version, _LAYOUTS[42])
    first = _find_directory(stream, page, start, order, layout)
    values, places = {}, {}
    for tag, kind, n_values, value in _read_entries(stream, first, order, layout):
        if tag in values and tag in _READ_TAGS:
            raise damaged(f"tag {tag} stands in it twice")
        n_bytes = _TYPE_SIZES.get(kind, 1) * n_values
        if n_bytes > layout.inline:
            offset = int.from_bytes(value, _BYTE_ORDERS[order])
            if offset + n_bytes > length:
                if tag in PIXEL_TAGS:
                    raise damaged(f"tag {tag} leads out of the file")
                continue
            places[tag] = offset, n_bytes
            if tag in _READ_TAGS:
                stream.seek(offset)
                value = stream.read(n_bytes)
        values[tag] = ()
        if tag in _READ_TAGS and kind in _INTEGERS:
            values[tag] = struct.unpack_from(
                f"{order}{n_values}{_INTEGERS[kind]}", value
            )
    return Directory(order, version == 43, values, places, start)


def _find_directory(stream, page, start, order, layout):
    """Find the place of the directory of a page; each names the place of the next."""
    (place,) = struct.unpack_from(order + layout.first, start)
    count = struct.Struct(order + layout.count)
    link = struct.Struct(order + layout.first[-1])
    entry_size = struct.calcsize(order + layout.entry)
    for _ in range(page):
        stream.seek(place)
        (n_entries,) = count.unpack(stream.read(count.size))
        stream.seek(place + count.size + n_entries * entry_size)
        (place,) = link.unpack(stream.read(link.size))
    return place


def _read_entries(stream, first, order, layout):
    """Yield tag, type, number of values, and value or offset of each entry."""
    stream.seek(first)
    count = struct.Struct(order + layout.count)
    entry = struct.Struct(order + layout.entry)
    (n_entries,) = count.unpack(stream.read(count.size))
    for number in range(n_entries):
        stream.seek(first + count.size + number * entry.size)
        yield entry.unpack(stream.read(entry.size))


def damaged(what):
    """Make the error of a TIFF file whose directory can't be trusted."""
    return UnreadableImage(
        "its TIFF directory, which describes its pixels, is damaged or cut short: "
        f"{what}"
    )
