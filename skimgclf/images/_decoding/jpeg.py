"""Find JPEG files that are cut short or damaged, with the help of libjpeg.

libjpeg (all versions) then fills the rest with gray and only warns, and Pillow (13.0)
drops its warnings. But where the end marker is missing, it asks for more data, and
Pillow raises an error: so the marker is withheld wherever libjpeg can do without it.
"""

import dataclasses
import io
import re
import struct

from PIL import Image

from skimgclf.images._decoding.reasons import UnreadableImage

JPEG_START = b"\xff\xd8\xff"

_END = b"\xff\xd9"

# ITU-T T.81, table B.1: markers without a length, and the start of a scan.
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
_SCAN, _RESTART_INTERVAL = 0xDA, 0xDD
_HUFFMAN_TABLES, _QUANTIZATION_TABLES = 0xC4, 0xDB
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEGMENT = struct.Struct(">BBH")
# Huffman-coded frames: baseline and extended sequential ones, and progressive ones.
_HUFFMAN, _PROGRESSIVE = {0xC0, 0xC1, 0xC2}, 0xC2

# Section B.1.1.2: a marker that isn't a stuffed byte, a fill byte or a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_RESTARTS = bytes(range(0xD0, 0xD8))

# More zeros than any block of 8x8 pixels needs, at 17 bits for a coefficient.
_ZEROS = bytes(256)
# Good data end with fewer zeros: two empty blocks of chroma are 8 bits, and the last
# number in front of them has up to 15 (section F.1.2.1).
_LAST_ZEROS = bytes(3)
# Sections F.1.2.2 and G.1.2.2: the symbols that end a block, or a run of blocks.
_ENDS_OF_BLOCK = {16 * length for length in range(15)}

# libjpeg looks up to 8 bytes ahead. Ones alone are no Huffman code (section C), and
# libjpeg takes 16 bits for each invalid code, so that less than two blocks of 8x8
# pixels are made of the padding.
_PADDING = b"\xff\x00" * 8

# libjpeg reads pictures of up to 65,500 pixels a side.
_LONGEST_SIDE = 65500


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
    content, headers = _read_file(file)
    if headers is None:
        return content and io.BytesIO(content)
    if headers.has_several_scans(content):
        _refuse_missing_scans(content, headers)
        return io.BytesIO(content)
    # All components are in one scan: libjpeg stops behind the last pixel.
    end = _find_end(content, headers.scan)
    if headers.restart_interval:
        _refuse_missing_restarts(content[headers.scan : end], headers)
    _refuse_zeros(content, headers.scan, end, headers)
    end = _find_last_data(content, end, headers)
    return io.BytesIO(content[:end] + _PADDING)


def refuse_odd_data(file):
    """Refuse a JPEG file with fewer or more data than its pixels need.

    This takes one or two more decodes. Zeros within a file, or a flipped bit, mostly
    make other numbers of pixels of the data that follow.

    Parameters
    ----------
    file : binary file
        Any file that Pillow can decode.
    """
    content, headers = _read_file(file)
    if headers is None:
        return
    if headers.has_several_scans(content):
        first, second = (
            _decode(io.BytesIO(_pad_scans(content, headers, padding))).tobytes()
            for padding in (bytes(64), b"\x55" * 64)
        )
        # Pixels that change with the padding were made of it.
        if first != second:
            raise _cut_short("the data of one of its scans end too early")
        return
    end = _find_end(content, headers.scan)
    if headers.restart_interval:
        for head, data in _split_at_restarts(content, end, headers):
            _refuse_other_length(head, data)
    else:
        start = _find_data(content, headers.scan)
        _refuse_other_length(content[:start], content[start:end])


def _pad_scans(content, headers, padding):
    """Put bytes behind the data of each scan, and in front of each restart marker."""
    padded, previous = [], 0
    for place, end in _find_scans(content, headers):
        data = _RESTART.sub(lambda marker: padding + marker[0], content[place:end])
        padded += [content[previous:place], data, padding]
        previous = end
    return b"".join([*padded, content[previous:]])


def _refuse_other_length(head, data):
    """Refuse a scan with fewer or more data than its pixels need."""
    file = _InTwoParts(head + data + _PADDING)
    file.second = len(head) + max(0, len(data) - len(_PADDING))
    try:
        _decode(file)
    except OSError as error:
        raise _cut_short("its data end too early") from error
    if file.tell() <= file.second:
        raise _damaged("its pixels need fewer data than it holds")


def _split_at_restarts(content, end, headers):
    """Yield headers and data of a picture for each interval between restart markers.

    Section E.1.4: a decoder begins anew behind each marker.
    """
    start = _find_data(content, headers.scan)
    n_left = headers.count_units()
    for data in _RESTART.split(content[start:end])[::2]:
        n_units = min(headers.restart_interval, n_left)
        frame = headers.make_frame(n_units)
        if n_units and frame:
            scan = content[headers.scan : start]
            yield b"".join([JPEG_START[:2], *headers.tables, frame, scan]), data
        n_left -= n_units


def _read_file(file):
    """Return a JPEG file's content, and its headers if it is Huffman-coded."""
    file.seek(0)
    if file.read(3) != JPEG_START:
        return None, None
    file.seek(0)
    content = file.read()
    headers = _read_headers(content)
    is_huffman = headers.frame in _HUFFMAN and headers.scan
    return content, headers if is_huffman else None


class _InTwoParts(io.BytesIO):
    """Give the last bytes of a file only to a reader that has read the others."""

    def read(self, n_bytes=-1):
        n_left = self.second - self.tell()
        if n_left > 0 and (n_bytes < 0 or n_bytes > n_left):
            n_bytes = n_left
        return super().read(n_bytes)


def _decode(stream):
    image = Image.open(stream, formats=["JPEG"])
    image.load()
    return image


@dataclasses.dataclass
class _Headers:
    """Hold the headers in front of the pixels of a JPEG file.

    Attributes
    ----------
    frame : int or None
        The marker that tells the kind of compression.
    frame_segment : bytes
        The frame's header, with its marker.
    tables : list of bytes
        The tables of quantization and of Huffman codes, with their markers.
    size : tuple of two int
        Height and width, in pixels.
    components : bytes
        Name of each channel.
    sampling : list of tuple of two int
        Horizontal and vertical sampling factor of each channel.
    restart_interval : int
        Number of units of pixels between two restart markers; 0 for none.
    first_symbols : dict
        Number of a Huffman table -> the symbol that zeros alone stand for.
    scan : int
        Place of the first scan; 0 for none.
    """

    frame: int | None = None
    frame_segment: bytes = b""
    tables: list = dataclasses.field(default_factory=list)
    size: tuple = (0, 0)
    components: bytes = b""
    sampling: list = dataclasses.field(default_factory=list)
    restart_interval: int = 0
    first_symbols: dict = dataclasses.field(default_factory=dict)
    scan: int = 0

    def has_several_scans(self, content):
        """Tell whether the pixels are in more than one scan."""
        is_progressive = self.frame == _PROGRESSIVE
        return is_progressive or content[self.scan + 4] < len(self.components)

    def zeros_are_coefficients(self, scan):
        """Tell whether zeros alone would be blocks full of equal coefficients."""
        n_components, start = scan[4], 5 + 2 * scan[4]
        # The first coefficients of all blocks are one scan of a progressive file, in
        # which zeros may be an even area.
        if self.frame == _PROGRESSIVE and scan[start] == 0:
            return False
        # Section B.2.4.2: tables of the other coefficients have numbers from 16.
        tables = [16 | table & 15 for table in scan[6 : 5 + 2 * n_components : 2]]
        return any(
            self.first_symbols.get(table, 0) not in _ENDS_OF_BLOCK for table in tables
        )

    def count_units(self):
        """Count the units of pixels that a scan of all components has."""
        height, width = self._find_unit()
        return -(-self.size[0] // height) * -(-self.size[1] // width)

    def make_frame(self, n_units):
        """Make the frame's header of a picture of so many units of pixels.

        Returns
        -------
        frame : bytes or None
            None where no picture has so many: its sides would be too long.
        """
        height, width = self._find_unit()
        n_columns = -(-self.size[1] // width)
        n_rows, n_left = divmod(n_units, n_columns)
        if n_left:
            n_rows, n_columns = 1, n_units
        size = (n_rows * height, n_columns * width)
        if max(size) > _LONGEST_SIDE:
            return None
        frame = self.frame_segment
        return frame[:5] + struct.pack(">HH", *size) + frame[9:]

    def _find_unit(self):
        """Find the height and the width of a unit of pixels."""
        # Section A.2: a scan of one component ignores its sampling factors.
        factors = self.sampling if len(self.sampling) > 1 else [(1, 1)]
        width, height = (8 * max(1, *side) for side in zip(*factors, strict=True))
        return height, width


def _read_headers(content):
    """Read the headers up to the first scan."""
    headers, position = _Headers(), 2
    while position + 4 < len(content):
        start, marker, length = _SEGMENT.unpack_from(content, position)
        if start != 0xFF or marker in {0, 0xFF}:
            position += 1  # fill bytes, or others between segments
        elif marker == _SCAN:
            headers.scan = position
            return headers
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            segment = content[position : position + 2 + length]
            body = segment[4:]
            if marker in _FRAMES:
                headers.frame, headers.frame_segment = marker, segment
                # Section B.2.2: precision, height, width, number, then components.
                headers.size = struct.unpack_from(">HH", body.ljust(5, b"\0"), 1)
                headers.components = body[6::3]
                headers.sampling = [(both >> 4, both & 15) for both in body[7::3]]
            elif marker == _RESTART_INTERVAL:
                headers.restart_interval = int.from_bytes(body[:2], "big")
            elif marker == _QUANTIZATION_TABLES:
                headers.tables.append(segment)
            elif marker == _HUFFMAN_TABLES:
                headers.tables.append(segment)
                headers.first_symbols.update(_read_first_symbols(body))
            position += 2 + length
    return headers


def _read_first_symbols(body):
    """Yield the number of each Huffman table, and its first symbol.

    Section C.2: the first code is all zeros.
    """
    while len(body) > 17:
        yield body[0], body[17]
        body = body[17 + sum(body[1:17]) :]


def _find_data(content, segment):
    """Find the place behind a segment's header."""
    return segment + 2 + int.from_bytes(content[segment + 2 : segment + 4], "big")


def _find_end(content, segment):
    """Find the marker behind a segment: behind all its data, if it is a scan."""
    found = _MARKER.search(content, _find_data(content, segment))
    if found is None:
        raise _cut_short("its end marker is missing")
    return found.start()


def _find_scans(content, headers):
    """Yield start and end of each scan, with its Huffman tables in the headers."""
    scan = headers.scan
    while scan is not None:
        position = _find_end(content, scan)
        yield scan, position
        scan = None
        while scan is None and content[position + 1] != _END[1]:
            if content[position + 1] == _SCAN:
                scan = position
            else:
                if content[position + 1] == _HUFFMAN_TABLES:
                    tables = content[position + 4 : _find_data(content, position)]
                    headers.first_symbols.update(_read_first_symbols(tables))
                position = _find_end(content, position)


def _refuse_missing_restarts(scan, headers):
    """Refuse a scan whose restart markers, counted from 0 to 7, aren't all there."""
    # A header of a few bytes may ask for millions: as many are made as were found.
    n_markers = max(0, -(-headers.count_units() // headers.restart_interval) - 1)
    found = b"".join(_RESTART.findall(scan))
    n_compared = min(n_markers, len(found))
    if found[:n_compared] == (_RESTARTS * (n_compared // 8 + 1))[:n_compared]:
        # Some programs write one more, behind the last pixel.
        if len(found) >= n_markers:
            return
        raise _cut_short("its last restart markers are missing")
    raise _damaged("some of its restart markers are missing")


def _refuse_zeros(content, start, end, headers):
    """Refuse a scan with zeros in it, as a crash or a full disk leaves them."""
    if content.find(_ZEROS, start, end) < 0:
        return
    # Those at the end may be needless bytes, which some cameras write.
    scan = content[start:end]
    if _ZEROS in scan.rstrip(b"\0") and headers.zeros_are_coefficients(scan):
        raise _damaged("there are zeros in place of its data")


def _find_last_data(content, end, headers):
    """Find the end of a scan's data, in front of zeros that are none of them."""
    if not content.endswith(_LAST_ZEROS, headers.scan, end):
        return end
    if not headers.zeros_are_coefficients(content[headers.scan : end]):
        return end
    return min(end, len(content[:end].rstrip(b"\0")) + len(_LAST_ZEROS))


def _refuse_missing_scans(content, headers):
    """Refuse a file of several scans that lacks one, or has zeros in one.

    A progressive file gives first the high bits of coefficients and then, in later
    scans, the lower ones (section G.1.1): a file that begins must go on to the last.
    """
    missing_bits, components = {}, headers.components
    for place, end in _find_scans(content, headers):
        _refuse_zeros(content, place, end, headers)
        start = place + 5 + 2 * content[place + 4]
        first, last, bits = content[start : start + 3]
        for name in content[place + 5 : start : 2]:
            for coefficient in range(first, last + 1):
                missing_bits[name, coefficient] = bits & 15
    is_begun = all((name, 0) in missing_bits for name in components)
    if not is_begun or any(missing_bits.values()):
        raise _cut_short("its last scans are missing")


def _damaged(what):
    return UnreadableImage(f"it is a JPEG file that is damaged: {what}")


def _cut_short(what):
    return UnreadableImage(f"it is a JPEG file that is cut short: {what}")
