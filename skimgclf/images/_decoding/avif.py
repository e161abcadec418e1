"""Find the part of an AVIF image that is shown."""

import struct
from fractions import Fraction
from math import floor

from skimgclf.images._decoding.boxes import list_shown_properties
from skimgclf.images._decoding.open import keeping_position
from skimgclf.images._decoding.reasons import UnreadableImage


def read_clean_aperture(opened, file):
    """Return the part of an AVIF image that is shown, which Pillow (13.0) doesn't cut.

    Parameters
    ----------
    opened : PIL.Image.Image
        As opened.
    file : binary file or None
        Its file; None if it isn't there any more. The position is kept.

    Returns
    -------
    box : tuple of four int or None
        Left, top, right and bottom, before the image is turned upright; None for an
        image that is shown whole, and for other files.
    """
    if opened.format != "AVIF" or file is None:
        return None
    with keeping_position(file):
        content = dict(list_shown_properties(file)).get(b"clap")
    return None if content is None else _find_aperture(content, opened.size)


def _find_aperture(content, size):
    """Find the box of a property "clap" (ISO/IEC 14496-12, section 12.1.4)."""
    try:
        numbers = struct.unpack_from(">IIIIiIiI", content)
        width, height, x, y = (
            Fraction(*numbers[place : place + 2]) for place in (0, 2, 4, 6)
        )
    except (struct.error, ZeroDivisionError):
        width = height = x = y = 0
    left, right = _find_edges(width, x, size[0])
    top, bottom = _find_edges(height, y, size[1])
    if left >= right or top >= bottom:
        raise UnreadableImage(
            "it is an AVIF file whose clean aperture (clap), the part of the image "
            "that is shown, is damaged or has no pixels: save it anew from its source"
        )
    return left, top, right, bottom


def _find_edges(length, shift, whole):
    """Find the edges around a shifted centre, as libheif does, within the image."""
    start = shift + Fraction(whole - length) / 2
    return max(floor(start), 0), min(floor(start + length), whole)
