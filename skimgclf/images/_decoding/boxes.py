"""Read the boxes that AVIF and JPEG 2000 files consist of.

Each begins with its length and its name (ISO/IEC 14496-12, section 4.2; ISO/IEC
15444-1, section I.4).
"""

import io

from skimgclf.images._decoding.reasons import read_brands

# Bounds for damaged files: boxes at the top of a file, bytes read of one, and lengths
# that all systems can seek by.
_MOST_BOXES = 1000
_MOST_LENGTH = 2**62
_MOST_BYTES = 2**22


def find_box(stream, name, n_bytes=_MOST_BYTES):
    """Return the content of the first box of a name at the top of a file, or None.

    Parameters
    ----------
    stream : binary file
    name : bytes
    n_bytes : int, default=4 MiB
        The most bytes to read.

    Returns
    -------
    content : bytes or None
    """
    stream.seek(0)
    for _ in range(_MOST_BOXES):
        header = stream.read(8)
        if len(header) < 8:
            return None
        length = int.from_bytes(header[:4], "big")
        is_last = length == 0  # up to the end of the file
        if length == 1:
            length = int.from_bytes(stream.read(8), "big") - 8
        if not is_last and not 8 <= length < _MOST_LENGTH:
            return None
        if header[4:] == name:
            return stream.read(n_bytes if is_last else min(length - 8, n_bytes))
        if is_last:
            return None
        stream.seek(length - 8, io.SEEK_CUR)
    return None


def list_boxes(content):
    """List name and content of each box within the content of another one."""
    boxes, place = [], 0
    while place + 8 <= len(content):
        n_bytes = int.from_bytes(content[place : place + 4], "big")
        start = place + 8
        if n_bytes == 1:
            n_bytes = int.from_bytes(content[start : start + 8], "big")
            start += 8
        end = place + n_bytes if n_bytes else len(content)
        if not start <= end <= len(content):
            break
        boxes.append((content[place + 4 : place + 8], content[start:end]))
        place = end
    return boxes


def list_main_properties(stream):
    """List the properties of the main image of an AVIF file.

    Those of thumbnails and of transparency stand in the same list, in any order.

    Parameters
    ----------
    stream : binary file

    Returns
    -------
    properties : list of (bytes, bytes) or None
        Name and content of each; None if the file doesn't name its main image.
    """
    meta = find_box(stream, b"meta")
    if meta is None:
        return None
    parts = dict(list_boxes(meta[4:]))
    # ISO/IEC 14496-12, sections 8.11.4 and 8.11.14: behind version and flags, the
    # number of the main image, and for each image the places of its properties.
    version, number = parts.get(b"pitm", b"")[:1], parts.get(b"pitm", b"")[4:8]
    if not version or b"iprp" not in parts:
        return None
    main = int.from_bytes(number[:2] if version == b"\0" else number, "big")
    boxes = list_boxes(parts[b"iprp"])
    properties = list_boxes(dict(boxes).get(b"ipco", b""))
    places = [
        place
        for name, content in boxes
        if name == b"ipma"
        for place in _find_places(content, main)
    ]
    return [properties[place - 1] for place in places if 0 < place <= len(properties)]


def list_shown_properties(stream):
    """List the properties of the image that an AVIF file shows first.

    Returns
    -------
    properties : list of (bytes, bytes)
        Name and content of each: those of the main image, or of the first track of a
        sequence, which Pillow and others read instead.
    """
    stream.seek(0)
    properties = None
    if read_brands(stream.read(64))[:1] != ["avis"]:
        properties = list_main_properties(stream)
    return _list_track_properties(stream) if properties is None else properties


def _list_track_properties(stream):
    """List the boxes that describe the samples of the first track.

    ISO/IEC 14496-12, sections 8.5.2 and 12.1.3: of the boxes on the way, "stsd" begins
    with 8 bytes of its own and "av01" with 78.
    """
    content = find_box(stream, b"moov") or b""
    for name in [b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"av01"]:
        bodies = (body for each, body in list_boxes(content) if each == name)
        content = next(bodies, b"")[{b"stsd": 8, b"av01": 78}.get(name, 0) :]
    return list_boxes(content)


def _find_places(content, image):
    """Find the places, from 1, of the properties of an image in a box "ipma"."""
    if len(content) < 8:
        return []
    n_id = 4 if content[0] else 2
    n_place = 2 if content[3] & 1 else 1
    start = 8
    while start + n_id < len(content):
        number = int.from_bytes(content[start : start + n_id], "big")
        start += n_id + 1
        end = start + n_place * content[start - 1]
        if number == image:
            # The first bit says that a reader must know the property.
            return [
                int.from_bytes(content[each : each + n_place], "big")
                & ((1 << 8 * n_place - 1) - 1)
                for each in range(start, end, n_place)
            ]
        start = end
    return []
