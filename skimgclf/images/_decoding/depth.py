"""Count the bits per channel of files from which Pillow (13.0) keeps only 8."""

import io
import re

from skimgclf.images._decoding.boxes import list_main_properties

# Netpbm's ppm(5): kind, width, height and the largest value, between them comments.
_PPM = re.compile(rb"P[36]" + rb"(?:\s+|#[^\n]*\n)+(\d+)" * 3 + rb"\s")


def count_bits(start, image_format):
    """Count the bits per channel that a file declares for its colours.

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
        main = list_main_properties(io.BytesIO(start)) or []
        code = dict(main).get(b"av1C")
        flags = code[2] if code and len(code) > 2 else _byte_behind(start, b"av1C", 2)
        if flags is None:
            return None
        is_high, is_twelve = flags >> 6 & 1, flags >> 5 & 1
        return 8 + 2 * is_high * (1 + is_twelve)
    if image_format == "JPEG2000":
        # ISO/IEC 15444-1, section I.5.3.1: behind height, width and the number of
        # components; 255 where they differ.
        depth = _byte_behind(start, b"ihdr", 10)
        return None if depth in (None, 255) else (depth & 127) + 1
    if image_format == "PPM" and (found := _PPM.match(start)):
        return int(found[3]).bit_length()
    return None


def _byte_behind(start, name, offset):
    """Return a byte of the box of a name, or None if `start` doesn't reach it."""
    _, found, content = start.partition(name)
    return content[offset] if found and len(content) > offset else None
