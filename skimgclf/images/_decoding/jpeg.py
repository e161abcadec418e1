"""Have libjpeg say when the data of a JPEG file end before its pixels do.

libjpeg (all versions) then fills the rest with gray and only warns, and Pillow (13.0)
drops its warnings. But where the end marker is missing, it asks for more data, and
Pillow raises an error: so the marker is withheld wherever libjpeg can do without it.
"""

import io
import re
import struct

from PIL import Image

from skimgclf.images._decoding.reasons import UnreadableImage

JPEG_START = b"\xff\xd8\xff"

_END = b"\xff\xd9"

# ITU-T T.81, table B.1: markers without a length, and the start of a scan.
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
_SCAN = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEGMENT = struct.Struct(">BBH")
# Huffman-coded frames: baseline and extended sequential ones, and progressive ones.
_HUFFMAN, _PROGRESSIVE = {0xC0, 0xC1, 0xC2}, 0xC2

# Section B.1.1.2: a marker that isn't a stuffed byte, a fill byte or a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# libjpeg looks up to 8 bytes ahead. Ones are no Huffman code (section C); each costs it
# 16 of them, so that less than two blocks of 8x8 pixels are made of the padding.
_PADDING = b"\xff\x00" * 8


def read_jpeg(file):
    """Prepare a JPEG file so that missing data are an error.

    Parameters
    ----------
    file : binary file
        Any file.

    Returns
    -------
    jpeg : binary file or None
        The file for Pillow; None for a file of another format.
    """
    file.seek(0)
    content = file.read(3)
    if content != JPEG_START:
        return None
    content += file.read()
    frame, components, scan = _read_headers(content)
    if frame not in _HUFFMAN or not scan:
        return io.BytesIO(content)
    if frame == _PROGRESSIVE or content[scan + 4] < len(components):
        _refuse_missing_scans(content, components, scan)
        return io.BytesIO(content)
    # All components are in one scan: libjpeg stops behind the last pixel.
    return io.BytesIO(content[: _find_end(content, scan)] + _PADDING)


def refuse_odd_data(file):
    """Refuse a JPEG file with fewer or more data than its pixels need.

    This takes one or two more decodes. Zeros within a file, or a flipped bit, mostly
    make other numbers of pixels of the data that follow.

    Parameters
    ----------
    file : binary file
        Any file that Pillow can decode.
    """
    file.seek(0)
    content = file.read(3)
    if content != JPEG_START:
        return
    content += file.read()
    frame, components, scan = _read_headers(content)
    if frame not in _HUFFMAN or not scan:
        return
    if frame == _PROGRESSIVE or content[scan + 4] < len(components):
        data, end = _cut_last_scan(content, scan)
        first, second = (
            _decode(io.BytesIO(data + padding + end)).tobytes()
            for padding in (bytes(64), _PADDING * 4)
        )
        # Pixels that change with the padding were made of it.
        if first != second:
            raise _cut_short("the data of its last scan end too early")
    else:
        end = _find_end(content, scan)
        data = _InTwoParts(content[:end] + _PADDING)
        data.second = max(0, end - len(_PADDING))
        _decode(data)
        if data.tell() <= data.second:
            raise UnreadableImage(
                "it is a JPEG file that is damaged: its pixels need fewer data than "
                "it holds"
            )


class _InTwoParts(io.BytesIO):
    """A file whose last bytes are only read by whom the others aren't enough."""

    def read(self, n_bytes=-1):
        n_left = self.second - self.tell()
        if n_left > 0 and (n_bytes < 0 or n_bytes > n_left):
            n_bytes = n_left
        return super().read(n_bytes)


def _decode(stream):
    image = Image.open(stream, formats=["JPEG"])
    image.load()
    return image


def _read_headers(content):
    """Read up to the first scan: the kind of frame, its components, and the scan."""
    position, frame, components = 2, None, []
    while position + 4 < len(content):
        start, marker, length = _SEGMENT.unpack_from(content, position)
        if start != 0xFF or marker in {0, 0xFF}:
            position += 1  # fill bytes, or others between segments
        elif marker == _SCAN:
            return frame, components, position
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            if marker in _FRAMES:
                frame = marker
                # Section B.2.2: length, precision, height, width, then components.
                components = list(content[position + 10 : position + 2 + length : 3])
            position += 2 + length
    return frame, components, 0


def _find_end(content, scan):
    """Find the end of the data of a scan."""
    start = scan + 2 + int.from_bytes(content[scan + 2 : scan + 4], "big")
    found = _MARKER.search(content, start)
    if found is None:
        raise _cut_short("its end marker is missing")
    return found.start()


def _find_scans(content, scan):
    """Yield the place of each scan."""
    while scan is not None:
        yield scan
        scan, position = None, _find_end(content, scan)
        while scan is None and content[position + 1] != _END[1]:
            if content[position + 1] == _SCAN:
                scan = position
            else:
                length = int.from_bytes(content[position + 2 : position + 4], "big")
                found = _MARKER.search(content, position + 2 + length)
                if found is None:
                    raise _cut_short("its end marker is missing")
                position = found.start()


def _refuse_missing_scans(content, components, scan):
    """Refuse a file of several scans that lacks one.

    A progressive file gives first the high bits of coefficients and then, in later
    scans, the lower ones (section G.1.1): a file that begins must go on to the last.
    """
    missing_bits = {}
    for place in _find_scans(content, scan):
        start = place + 5 + 2 * content[place + 4]
        first, last, bits = content[start : start + 3]
        for name in content[place + 5 : start : 2]:
            for coefficient in range(first, last + 1):
                missing_bits[name, coefficient] = bits & 15
    is_begun = all((name, 0) in missing_bits for name in components)
    if not is_begun or any(missing_bits.values()):
        raise _cut_short("its last scans are missing")


def _cut_last_scan(content, scan):
    """Return a file up to the end of the data of its last scan, and the rest."""
    *_, last = _find_scans(content, scan)
    end = _find_end(content, last)
    return content[:end], content[end:]


def _cut_short(what):
    return UnreadableImage(f"it is a JPEG file that is cut short: {what}")
