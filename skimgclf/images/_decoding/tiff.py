"""Refuse TIFF files with damaged tags, which Pillow would read wrongly."""

import os
import struct
from collections import namedtuple

from skimgclf.images._decoding.pillow_repairs import count_stored_pixels, read_tags
from skimgclf.images._decoding.reasons import UnreadableImage

_PLANAR_CONFIGURATION = 284

# TIFF 6.0: the tags without which pixels would be read wrongly (size, bits,
# compression, colours, strips, orientation, planes, predictor, tiles, alpha, sign,
# tables, YCbCr).
_PIXEL_TAGS = {
    *range(256, 260),
    262,
    266,
    273,
    274,
    *range(277, 280),
    284,
    317,
    320,
    *range(322, 326),
    338,
    339,
    347,
    *range(529, 533),
}


# TIFF 6.0, section 2: bytes of one value of each field type; 13 to 18 are BigTIFF's.
_TYPE_SIZES = dict(
    enumerate([1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 2, 2, 8, 8, 8], start=1)
)

_Layout = namedtuple("_Layout", ["first", "count", "entry", "inline"])

# After the byte order and the version: how the offset of the first directory, its
# number of entries and an entry (tag, type, count, value or offset) are written, and
# how many bytes of value an entry holds itself.
_LAYOUTS = {
    42: _Layout("4xI", "H", "HHI4s", 4),
    43: _Layout("8xQ", "Q", "HHQ8s", 8),
}


def check_directory(tiff, file):
    """Refuse a TIFF file with lost or wrong tags that decide on pixels.

    Pillow (13.0) skips such a tag with a warning, and decodes as if it weren't there.

    Parameters
    ----------
    tiff : PIL.TiffImagePlugin.TiffImageFile
        As opened, not yet decoded.
    file : binary file
        Its bytes.
    """
    tags = read_tags(tiff)
    _check_entries(tags, file)
    n_pixels, n_strips = count_stored_pixels(tiff)
    is_planar = tags.get(_PLANAR_CONFIGURATION) == 2 and n_strips > 1
    n_layers = len(tiff.getbands()) if is_planar else 1
    if n_pixels < tiff.width * tiff.height * n_layers:
        raise UnreadableImage(
            "its strips hold only a part of the image: the file is damaged or cut short"
        )


def _check_entries(tags, stream):
    position = stream.tell()
    try:
        length = stream.seek(0, os.SEEK_END)
        for tag, n_bytes, offset in _read_entries(stream):
            lost = tag not in tags or offset + n_bytes > length
            if tag in _PIXEL_TAGS and lost:
                raise _damaged(f"tag {tag} leads out of the file or can't be read")
    except (struct.error, OverflowError) as error:
        raise _damaged("it is cut short") from error
    finally:
        stream.seek(position)


def _read_entries(stream):
    """Yield tag, number of bytes and offset of each value of the first directory."""
    stream.seek(0)
    start = stream.read(16)
    order = "<" if start.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", start, 2)
    layout = _LAYOUTS.get(version, _LAYOUTS[42])
    (first,) = struct.unpack_from(order + layout.first, start)
    stream.seek(first)
    count = struct.Struct(order + layout.count)
    entry = struct.Struct(order + layout.entry)
    (n_entries,) = count.unpack(stream.read(count.size))
    start = first + count.size
    for position in range(start, start + n_entries * entry.size, entry.size):
        stream.seek(position)
        tag, kind, n_values, value = entry.unpack(stream.read(entry.size))
        n_bytes = _TYPE_SIZES.get(kind, 1) * n_values
        inline = n_bytes <= layout.inline
        offset = 0 if inline else int.from_bytes(value, _BYTE_ORDERS[order])
        yield tag, (0 if inline else n_bytes), offset


_BYTE_ORDERS = {"<": "little", ">": "big"}


def _damaged(what):
    return UnreadableImage(
        "its TIFF directory, which says what its pixels mean, is damaged or cut short: "
        f"{what}"
    )
