"""Find BMP files of which Pillow (13.0) misreads the palette or the alpha."""

import struct

from skimgclf.images._decoding.open import keeping_position
from skimgclf.images._decoding.reasons import UnreadableImage

_BITS = {"1": 1, "L": 8}


def has_empty_alpha(pil_image):
    """Tell whether the alpha of a decoded BMP file is zero all over.

    Programs declare alpha without writing it: browsers take such files for opaque.
    """
    is_rgba = pil_image.format == "BMP" and pil_image.mode == "RGBA"
    return is_rgba and pil_image.getchannel("A").getextrema() == (0, 0)


def refuse_misread_palette(pil_image, file):
    """Refuse a BMP file of 4 or 8 bits that Pillow reads as 1 or 8 bits.

    It does so where the palette is black and white alone, or the darkest grays.

    Parameters
    ----------
    pil_image : PIL.Image.Image
        As opened.
    file : binary file or None
        Its file; None if it isn't there any more. The position is kept.
    """
    if pil_image.format != "BMP" or pil_image.mode not in _BITS or file is None:
        return
    with keeping_position(file):
        file.seek(14)
        header = file.read(16)
    # [MS-WMF], sections 2.2.2.2 and 2.2.2.3: sides have two or four bytes.
    is_short = header.startswith(struct.pack("<I", 12))
    (bits,) = struct.unpack_from("<H", header, 10 if is_short else 14)
    if bits != _BITS[pil_image.mode]:
        colours = "black and white" if pil_image.mode == "1" else "gray"
        raise UnreadableImage(
            f"it is a BMP file of {bits} bits whose palette is {colours} alone, which "
            "Pillow mixes up: save it as PNG"
        )
