"""Correct channels of JPEG 2000 files that Pillow (13.0) reads wrongly.

It shifts bits instead of scaling levels: the white of 4 bits becomes 240, and of more
than 8 bits, white overflows to black. It takes the fourth channel for transparency.
"""

import struct
from typing import NamedTuple

from PIL import Image

from skimgclf.images._decoding.boxes import find_box, list_boxes
from skimgclf.images._decoding.open import keeping_position
from skimgclf.images._decoding.reasons import UnreadableImage

_CODE_START = b"\xff\x4f\xff\x51"

# ISO/IEC 15444-1, table I.16: the types of channels.
_COLOUR, _OPACITY, _PREMULTIPLIED_OPACITY = 0, 1, 2


class Channels(NamedTuple):
    """The channels of a file, as it describes them.

    Attributes
    ----------
    depths : list of int
        The bits of each.
    meanings : list of tuple of two int
        Type of each, and the number of its colour; empty if the file doesn't say it.
    """

    depths: list
    meanings: list


def read_channels(pil_image, file):
    """Read the description of a JPEG 2000 file's channels.

    Parameters
    ----------
    pil_image : PIL.Image.Image
        As opened.
    file : binary file or None
        Its file; None if it isn't there any more. The position is kept.

    Returns
    -------
    channels : Channels or None
        None for other files.
    """
    if pil_image.format != "JPEG2000" or file is None:
        return None
    with keeping_position(file):
        code = find_box(file, b"jp2c", 2**16) or b""
        header = dict(list_boxes(find_box(file, b"jp2h") or b""))
    if not code.startswith(_CODE_START) or len(code) < 42:
        return None
    _refuse_mixed_palette(header.get(b"cmap", b""))
    # ISO/IEC 15444-1, section A.5.1: behind the number of channels, three bytes each.
    (n_channels,) = struct.unpack_from(">H", code, 40)
    depths = [(depth & 127) + 1 for depth in code[42 : 42 + 3 * n_channels : 3]]
    # Section I.5.3.6: behind their number, the channel, its type and its colour.
    definition = header.get(b"cdef", b"")[2:]
    definition = definition[: len(definition) // 6 * 6]
    meanings = [each[1:] for each in sorted(struct.iter_unpack(">3H", definition))]
    return Channels(depths, meanings)


def _refuse_mixed_palette(mapping):
    """Refuse a palette whose columns aren't red, green and blue in this order.

    ISO/IEC 15444-1, section I.5.3.5: a channel, 1 for the palette, and the column.
    """
    entries = struct.iter_unpack(">HBB", mapping[: len(mapping) // 4 * 4])
    columns = [column for _, kind, column in entries if kind == 1]
    if columns != list(range(len(columns))):
        raise UnreadableImage(
            "it is a JPEG 2000 file that uses the columns of its palette in another "
            "order, which Pillow doesn't read: convert it to PNG"
        )


def find_white(channels):
    """Find the value that is white in gray of more than 8 bits."""
    depth = channels.depths[0]
    return (2**depth - 1) << (16 - depth) if depth <= 16 else 65535


def mend_channels(pil_image, channels):
    """Mend a decoded image of 8 bits.

    Parameters
    ----------
    pil_image : PIL.Image.Image
    channels : Channels

    Returns
    -------
    pil_image : PIL.Image.Image
    """
    if set(channels.depths) != {8}:
        pil_image = mend_levels(pil_image, channels.depths)
    if pil_image.mode not in {"LA", "RGB", "RGBA"}:
        return pil_image
    return choose_channels(pil_image, channels.meanings)


def mend_levels(pil_image, depths):
    """Scale an image from channels of other depths than 8 bits."""
    if len(pil_image.getbands()) != len(depths) or pil_image.mode in {"P", "PA"}:
        raise UnreadableImage(
            "it is a JPEG 2000 file with a palette, or with channels that aren't used, "
            f"of {max(depths)} bits: convert it to PNG"
        )
    tables = []
    for depth, band in zip(depths, pil_image.split(), strict=True):
        if depth > 8 and band.getextrema()[0] == 0:
            raise UnreadableImage(
                f"it is a JPEG 2000 file with {depth} bits a channel, of which Pillow "
                "reads white as black: convert it to PNG or TIFF"
            )
        white = (2**depth - 1) << (8 - depth) if depth < 8 else 255
        tables += [min(255, round(level * 255 / white)) for level in range(256)]
    return pil_image.point(tables)


def choose_channels(pil_image, meanings):
    """Keep a last channel that is transparency alone, and refuse another order."""
    has_more = pil_image.mode in {"LA", "RGBA"}
    if not meanings:
        if has_more:
            raise UnreadableImage(
                f"it is a JPEG 2000 file of {len(pil_image.getbands())} channels that "
                "doesn't say whether the last one is transparency: if it is, pass "
                "PIL.Image.open(path).copy(), and if it isn't, "
                f"PIL.Image.open(path).convert({pil_image.mode[:-1]!r})"
            )
        return pil_image
    colours = meanings[:-1] if has_more else meanings
    # Gray may be associated with the whole image (0).
    if any(
        kind != _COLOUR or colour not in {number, number * (len(colours) > 1)}
        for number, (kind, colour) in enumerate(colours, start=1)
    ):
        raise UnreadableImage(
            "it is a JPEG 2000 file whose channels aren't in the order of red, green, "
            "blue and transparency: convert it to PNG"
        )
    kind = meanings[-1][0] if has_more else _COLOUR
    if kind == _PREMULTIPLIED_OPACITY:
        mode = pil_image.mode.replace("A", "a")
        return Image.frombytes(mode, pil_image.size, pil_image.tobytes())
    if has_more and kind != _OPACITY:
        return Image.merge(pil_image.mode[:-1], pil_image.split()[:-1])
    return pil_image
