"""Find the part of an animated WEBP file's canvas that its first frame fills."""

import io
import struct

from skimgclf.images._decoding.open import keeping_position

# In front of a frame are a few; a damaged file may hold millions of empty ones.
_MOST_CHUNKS = 1000


def read_canvas_box(opened, file):
    """Return the part of the canvas that the first frame of a WEBP file fills.

    The rest is transparent, and Pillow (13.0) makes it black where the frames have no
    transparency themselves.

    Parameters
    ----------
    opened : PIL.Image.Image
        As opened.
    file : binary file or None
        Its file; None if it isn't there any more. The position is kept.

    Returns
    -------
    box : tuple of four int or None
        Left, top, right and bottom; None for a frame that fills the canvas, and for
        other files.
    """
    if opened.format != "WEBP" or file is None or opened.tell() != 0:
        return None
    with keeping_position(file):
        box = _read_frame_box(file)
    return None if box == (0, 0, *opened.size) else box


def _read_frame_box(file):
    """Read the box of the first chunk "ANMF" (WebP container, section "Animation")."""
    file.seek(0)
    start = file.read(12)
    if not start.startswith(b"RIFF"):
        return None
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        name, n_bytes = struct.unpack("<4sI", header)
        if name == b"ANMF":
            fields = file.read(12)
            numbers = (fields[place : place + 3] for place in (0, 3, 6, 9))
            x, y, width, height = (int.from_bytes(each, "little") for each in numbers)
            return 2 * x, 2 * y, 2 * x + width + 1, 2 * y + height + 1
        if name in {b"VP8 ", b"VP8L"}:
            return None
        file.seek(n_bytes + n_bytes % 2, io.SEEK_CUR)
    return None
