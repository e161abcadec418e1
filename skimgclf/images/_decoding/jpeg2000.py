"""Mend the levels of JPEG 2000 files that don't have 8 bits.

Pillow (13.0) shifts bits instead of scaling levels: the white of 4 bits becomes 240,
and of more than 8 bits, white overflows to black.
"""

import struct

from skimgclf.images._decoding.boxes import find_box
from skimgclf.images._decoding.reasons import UnreadableImage

_CODE_START = b"\xff\x4f\xff\x51"


def read_depths(image, stream):
    """Read the bits of each channel of a JPEG 2000 file.

    Parameters
    ----------
    image : PIL.Image.Image
        As opened.
    stream : binary file or None
        Its file; None if it isn't there any more. The position is kept.

    Returns
    -------
    depths : list of int
        Empty for other files, and for those of 8 bits.
    """
    if image.format != "JPEG2000" or stream is None:
        return []
    position = stream.tell()
    # ISO/IEC 15444-1, section A.5.1: behind the number of channels, three bytes each.
    code = find_box(stream, b"jp2c", 2**16) or b""
    stream.seek(position)
    if not code.startswith(_CODE_START) or len(code) < 42:
        return []
    (n_channels,) = struct.unpack_from(">H", code, 40)
    depths = [(depth & 127) + 1 for depth in code[42 : 42 + 3 * n_channels : 3]]
    return depths if set(depths) != {8} else []


def find_white(depths):
    """Find the value that is white in gray of more than 8 bits."""
    return (2 ** depths[0] - 1) << (16 - depths[0]) if depths[0] <= 16 else 65535


def mend_levels(image, depths):
    """Scale a decoded image of 8 bits from channels of other depths.

    Parameters
    ----------
    image : PIL.Image.Image
    depths : list of int
        From `read_depths`.

    Returns
    -------
    image : PIL.Image.Image
    """
    bands = image.getbands()
    if len(bands) != len(depths) or image.mode in {"P", "PA"}:
        raise UnreadableImage(
            "it is a JPEG 2000 file with a palette, or with channels that aren't used, "
            f"of {max(depths)} bits: convert it to PNG"
        )
    tables = []
    for depth, band in zip(depths, image.split(), strict=True):
        if depth > 8 and band.getextrema()[0] == 0:
            raise UnreadableImage(
                f"it is a JPEG 2000 file with {depth} bits a channel, of which Pillow "
                "reads white as black: convert it to PNG or TIFF"
            )
        white = (2**depth - 1) << (8 - depth) if depth < 8 else 255
        tables += [min(255, round(level * 255 / white)) for level in range(256)]
    return image.point(tables)
