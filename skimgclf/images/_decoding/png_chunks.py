"""List the valid chunks of a PNG file: by checksum, place, number and length.

The rules are those of libpng (1.6.58), the table ``read_chunks`` in its ``pngrutil.c``,
which follow section 5.6 of the PNG specification (third edition).
"""

import struct
import zlib

from skimgclf.images._decoding.reasons import UnreadableImage

PNG_START = b"\x89PNG\r\n\x1a\n"

# Section 11.2.1: the colour types.
GRAY, COLOURS, PALETTE = 0, 2, 3

CHUNK_START = struct.Struct(">I4s")

# The chunks on colours, and the numbers of bytes of those that have always the same.
_COLOUR_LENGTHS = {b"cICP": 4, b"iCCP": None, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}

_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}

# Section 11.3.2.5: sRGB holds one of four intents.
_MOST_INTENT = 3


class Chunks:
    """The valid chunks of a PNG file.

    Parameters
    ----------
    content : bytes
        The file behind its first eight bytes.

    Attributes
    ----------
    header : tuple of int
        Width, height, bits, colour type, and three numbers more.
    data : list of bytes
        The contents of the IDAT chunks that follow one another.
    found : dict
        By kind, the content of PLTE, tRNS, eXIf and of chunks on colours.
    texts : list of tuple
        Kind and content of each text.
    kept : list of bytes
        The chunks that decide on pixels, whole.
    is_odd : bool
        Whether a chunk is left out that Pillow (13.0) would use.
    """

    def __init__(self, content):
        chunks = _read_chunks(content)
        kind, body, whole = next(chunks)
        if kind != b"IHDR" or body is None or len(body) != 13:
            raise damaged("it has no header")
        self.header = struct.unpack(">IIBBBBB", body)
        self.data, self.found, self.texts = [], {}, []
        self.kept, self.is_odd, self._is_behind = [PNG_START, whole], False, False
        for kind, body, whole in chunks:
            if kind == b"IDAT":
                self._take_data(body, whole)
            else:
                self._is_behind = bool(self.data)
                if body is not None:
                    self._take(kind, body, whole)

    @property
    def has_colours(self):
        """Whether there is a chunk on colours."""
        return not _COLOUR_LENGTHS.keys().isdisjoint(self.found)

    def _take_data(self, body, whole):
        """Take data, unless another chunk has ended them."""
        if not self._is_behind:
            self.data.append(body)
            self.kept.append(whole)

    def _take(self, kind, body, whole):
        if kind in {b"tEXt", b"zTXt", b"iTXt"}:
            self.texts.append((kind, body))
        elif kind == b"IHDR":
            raise damaged("it has a second header")
        elif kind == b"IEND":
            self.kept.append(whole)
        elif kind == b"PLTE":
            self._take_palette(body, whole)
        elif kind in _COLOUR_LENGTHS:
            if self._may_have_colours(kind, body):
                self.found[kind] = body
        elif kind in {b"tRNS", b"eXIf"}:
            if kind not in self.found and self._fits(kind, body):
                self.found[kind] = body
                self.kept.append(whole)
            else:
                self.is_odd = True

    def _take_palette(self, body, whole):
        """Take a palette, and leave out an odd one that only suggests colours."""
        is_needed = self.header[3] == PALETTE
        n_bytes = len(body)
        is_odd = n_bytes % 3 or not 0 < n_bytes <= 768
        if is_needed and b"PLTE" in self.found:
            raise damaged("it has a second palette")
        if is_needed and is_odd:
            raise damaged(
                f"its palette has {n_bytes} bytes, not 3 for each of 1 to 256 colours"
            )
        if self.data or is_odd or not self.header[3] & COLOURS:
            return
        if is_needed or b"tRNS" not in self.found:
            self.found[b"PLTE"] = body
            self.kept.append(whole)

    def _may_have_colours(self, kind, body):
        """Tell whether a chunk on colours is the first, of a right length and place."""
        length = _COLOUR_LENGTHS[kind]
        is_late = self.data or b"PLTE" in self.found
        if is_late or kind in self.found or length not in {None, len(body)}:
            return False
        return kind != b"sRGB" or body[0] <= _MOST_INTENT

    def _fits(self, kind, body):
        """Tell whether tRNS or eXIf has a right length and place."""
        if kind == b"eXIf":
            return True
        _, _, bits, colour_type = self.header[:4]
        if self.data:
            return False
        if colour_type == PALETTE:
            n_colours = min(len(self.found.get(b"PLTE", b"")) // 3, 2**bits)
            return 0 < len(body) <= n_colours
        return len(body) == {GRAY: 2, COLOURS: 6}.get(colour_type)


def _read_chunks(content):
    """Yield kind, content and all bytes of each chunk; refuse damaged ones.

    The content of a damaged chunk that decides on no pixel is None.
    """
    position, end, kind = 0, len(content), b""
    while kind != b"IEND":
        if position + 12 > end:
            raise damaged("it is cut short")
        length, kind = CHUNK_START.unpack_from(content, position)
        stop = position + 12 + length
        if not kind.isalpha():
            raise damaged(f"a chunk is called {kind!r}")
        if stop > end:
            raise damaged(f"its chunk {kind.decode()} is cut short")
        whole, body = content[position:stop], content[position + 8 : stop - 4]
        position = stop
        is_critical = not kind[0] & 32  # section 5.4: an upper-case first letter
        if is_critical and kind not in _CRITICAL:
            raise damaged(f"it has an unknown chunk, {kind.decode()}")
        if zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(whole[-4:], "big"):
            yield kind, body, whole
        elif is_critical:
            raise damaged(f"the checksum of its chunk {kind.decode()} is wrong")
        else:
            yield kind, None, whole


def damaged(what):
    """Make the error of a damaged PNG file."""
    return UnreadableImage(f"it is a PNG file that is damaged: {what}")
