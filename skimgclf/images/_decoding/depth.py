"""Count the bits a channel of files of which Pillow (13.0) keeps 8."""

import re

# Netpbm's ppm(5): kind, width, height and the largest value, between them comments.
_PPM = re.compile(rb"P[36]" + rb"(?:\s+|#[^\n]*\n)+(\d+)" * 3 + rb"\s")


def count_bits(start, image_format):
    """Count the bits a channel of colours as a file declares them.

    Parameters
    ----------
    start : bytes
        The first kilobytes of the file.
    image_format : str
        Pillow's name for it.

    Returns
    -------
    n_bits : int or None
        None where nothing is known; only for AVIF, JPEG 2000 and PPM.
    """
    if image_format == "AVIF":
        # AV1 codec ISO media file format binding, section 2.3.3: high_bitdepth and
        # twelve_bit are bits 6 and 5 of the third byte.
        place = start.find(b"av1C") + 6
        is_high, is_twelve = start[place] >> 6 & 1, start[place] >> 5 & 1
        return 8 + 2 * is_high * (1 + is_twelve) if place >= 6 else None
    if image_format == "JPEG2000":
        # ISO/IEC 15444-1, section I.5.3.1: behind height, width and the number of
        # components; 255 where they differ.
        place = start.find(b"ihdr") + 14
        known = place >= 14 and start[place] != 255
        return (start[place] & 127) + 1 if known else None
    if image_format == "PPM" and (found := _PPM.match(start)):
        return int(found[3]).bit_length()
    return None
