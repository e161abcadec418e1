"""The parts that image files consist of: chunks, segments, boxes or blocks."""

import struct

# Boxes of AVIF, HEIC and JPEG 2000 that hold others, and the bytes in front of these.
_BOXES_OF_BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0, b"iref": 4}

# JPEG: markers without a length, the end among them; a scan, behind which are data.
_WITHOUT_LENGTH, _SCAN = {0x01, *range(0xD0, 0xDA)}, 0xDA


def list_chunks(content):
    """List start and end of the contents of each chunk of an image file.

    Parameters
    ----------
    content : bytes
        A whole file that one of the writers of the benchmark has written.

    Returns
    -------
    chunks : list of tuple of two int
        Without those that are empty.
    """
    if content.startswith(b"\x89PNG"):
        chunks = _list_png(content)
    elif content.startswith(b"RIFF"):
        chunks = _list_riff(content)
    elif content.startswith(b"\xff\xd8"):
        chunks = _list_jpeg(content)
    elif content.startswith(b"GIF8"):
        chunks = _list_gif(content)
    elif content.startswith(b"II*\0"):
        chunks = _list_tiff(content)
    elif content.startswith(b"BM"):
        (pixels,) = struct.unpack_from("<I", content, 10)
        chunks = [(2, 14), (14, pixels), (pixels, len(content))]
    elif content.startswith(b"P6"):
        pixels = content.index(b"\n255\n") + 5
        chunks = [(2, pixels), (pixels, len(content))]
    elif content.startswith(b"\0\0\1\0"):
        chunks = _list_icon(content)
    else:
        chunks = _list_boxes(content, 0, len(content))
    return [(start, end) for start, end in chunks if start < end]


def _list_png(content):
    position = 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        yield position + 8, position + 8 + length
        position += 12 + length


def _list_riff(content):
    position = 12
    while position + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, position + 4)
        yield position + 8, position + 8 + length
        position += 8 + length + length % 2


def _list_jpeg(content):
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF or content[position + 1] in {0, 0xFF}:
            position += 1
        elif content[position + 1] in _WITHOUT_LENGTH:
            position += 2
        else:
            (length,) = struct.unpack_from(">H", content, position + 2)
            end = position + 2 + length
            yield position + 4, end
            if content[position + 1] == _SCAN:
                start = end
                while end + 1 < len(content) and (
                    content[end] != 0xFF
                    or content[end + 1] in {0, 0xFF, *range(0xD0, 0xD8)}
                ):
                    end += 1
                yield start, end
            position = end


def _list_gif(content):
    position = 13
    if content[10] & 128:
        position += 3 << 1 + (content[10] & 7)
    yield 6, position
    while position < len(content) and content[position] != 0x3B:
        start = position
        if content[position] == 0x2C:  # an image: its place, a palette, a code size
            flags = content[position + 9]
            position += 11 + (3 << 1 + (flags & 7) if flags & 128 else 0)
            yield start + 1, position
            start = position
        else:
            position += 2
        while content[position]:
            position += 1 + content[position]
        position += 1
        yield start, position


def _list_tiff(content):
    (directory,) = struct.unpack_from("<I", content, 4)
    (n_entries,) = struct.unpack_from("<H", content, directory)
    end = directory + 2 + 12 * n_entries + 4
    return [(4, 8), (8, directory), (directory, end), (end, len(content))]


def _list_icon(content):
    """List the chunks of an icon of one picture: its directory, and a PNG or bitmap."""
    yield 6, 22
    (place,) = struct.unpack_from("<I", content, 18)
    picture = content[place:]
    is_png = picture.startswith(b"\x89PNG")
    chunks = _list_png(picture) if is_png else [(0, 40), (40, len(picture))]
    for start, end in chunks:
        yield place + start, place + end


def _list_boxes(content, start, end):
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", content, start)
        length = length or end - start
        first = start + 8
        if name in _BOXES_OF_BOXES:
            first += _BOXES_OF_BOXES[name]
            yield from _list_boxes(content, first, start + length)
        else:
            yield first, start + length
        start += length
