"""Find the part of an animated WEBP file's canvas that its first frame fills."""

import io
import struct


def read_canvas_box(image, stream):
    """Return the part of the canvas that the first frame of a WEBP file fills.

    The rest is transparent, and Pillow (13.0) makes it black where the frames have no
    transparency themselves.

    Parameters
    ----------
    image : PIL.Image.Image
        As opened.
    stream : binary file or None
        Its file; None if it isn't there any more. The position is kept.

    Returns
    -------
    box : tuple of four int or None
        Left, top, right and bottom; None for a frame that fills the canvas, and for
        other files.
    """
    if image.format != "WEBP" or stream is None or image.tell() != 0:
        return None
    position = stream.tell()
    try:
        box = _read_frame_box(stream)
    finally:
        stream.seek(position)
    return None if box == (0, 0, *image.size) else box


def _read_frame_box(stream):
    """Read the box of the first chunk "ANMF" (WebP container, section "Animation")."""
    stream.seek(0)
    start = stream.read(12)
    while start.startswith(b"RIFF") and len(header := stream.read(8)) == 8:
        name, n_bytes = struct.unpack("<4sI", header)
        if name == b"ANMF":
            fields = stream.read(12)
            numbers = (fields[place : place + 3] for place in (0, 3, 6, 9))
            x, y, width, height = (int.from_bytes(each, "little") for each in numbers)
            return 2 * x, 2 * y, 2 * x + width + 1, 2 * y + height + 1
        if name in {b"VP8 ", b"VP8L"}:
            return None
        stream.seek(n_bytes + n_bytes % 2, io.SEEK_CUR)
    return None
