"""Read a PNG file as libpng does: its chunks, rows and colours.

Pillow (13.0) checks none of the pixels' data, and refuses files for damage in chunks
that decide on no pixel. So it gets a copy of the chunks that do, when these are whole.
"""

import io
import struct
import zlib
from typing import NamedTuple

from PIL import Image

from skimgclf.images._decoding.png_chunks import (
    CHUNK_START,
    COLOURS,
    PALETTE,
    PNG_START,
    Chunks,
    damaged,
)
from skimgclf.images._decoding.profile import ColourNotes

# PNG specification (third edition), section 11.2.1: the number of samples of a pixel by
# colour type.
N_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

# Section 8.2, Adam7: first column and row, and distances, of each pass.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)

# By bits and colour type, the mode of Pillow's image, and its name for the samples.
_LAYOUTS = {
    (8, 0): ("L", "L"),
    (8, 2): ("RGB", "RGB"),
    **{(bits, 3): ("P", f"P;{bits}") for bits in (1, 2, 4)},
    (8, 3): ("P", "P"),
    (8, 4): ("LA", "LA"),
    (8, 6): ("RGBA", "RGBA"),
}

# What libpng ignores beyond (png_colorspace_set_gamma): all would be black or white.
_LEAST_GAMMA, _MOST_GAMMA = 16, 625_000_000

# No profile of a printer or scanner that is in use is longer.
_MAX_PROFILE = 2**24

# Kinds and names of the texts by which Pillow turns an image: XMP, and EXIF as programs
# wrote it before PNG had a chunk for it. Other texts aren't handed on, since Pillow
# refuses long ones.
_TURNING_TEXTS = {
    *((kind, b"XML:com.adobe.xmp") for kind in (b"tEXt", b"zTXt", b"iTXt")),
    *((kind, b"Raw profile type exif") for kind in (b"tEXt", b"zTXt", b"iTXt")),
    (b"tEXt", b"exif"),
}

# The bytes of such a text that are read: many times those of EXIF, which has 64 KiB.
_MAX_TEXT = 2**22


class PngFile(NamedTuple):
    """A PNG file whose critical chunks are whole.

    Attributes
    ----------
    kept : list of bytes
        The chunks that decide on pixels, for Pillow.
    notes : ColourNotes or None
        The colour information in the other chunks.
    header : tuple of int
        Width, height, bits, colour type, two zeros, and 1 if it is interlaced.
    data : list of bytes
        The contents of its IDAT chunks.
    transparent : bytes or None
        Of a file of colours, the one that is transparent.
    may_be_turned : bool
        Whether it has EXIF or XMP, also as a text, which may turn it.
    is_opaque : bool
        Whether no colour or palette entry is transparent.
    palette : bytes or None
        Red, green and blue of each entry.
    is_odd : bool
        Whether it has chunks that Pillow (13.0) would use, and libpng doesn't.
    """

    kept: list
    notes: ColourNotes | None
    header: tuple
    data: list
    transparent: bytes | None
    may_be_turned: bool
    is_opaque: bool
    palette: bytes | None
    is_odd: bool

    @property
    def stream(self):
        """A file of the chunks that decide on pixels."""
        return io.BytesIO(b"".join(self.kept))

    @property
    def n_pixels(self):
        """Number of pixels."""
        return self.header[0] * self.header[1]

    @property
    def passes(self):
        """Rows and columns, as slices, and number of bytes of each pass over pixels."""
        width, height, bits, colour_type = self.header[:4]
        passes = []
        for column, row, step_x, step_y in (
            _PASSES if self.header[6] else [(0, 0, 1, 1)]
        ):
            n_columns = len(range(column, width, step_x))
            n_rows = len(range(row, height, step_y))
            n_bits = n_columns * bits * N_SAMPLES.get(colour_type, 0)
            # Each row begins with the byte that names its filter.
            n_bytes = n_rows * (1 + -(-n_bits // 8))
            if n_columns and n_rows:
                slices = slice(row, None, step_y), slice(column, None, step_x)
                passes.append((*slices, n_bytes))
        return passes

    def unpack_rows(self):
        """Unpack the filtered rows of all passes; refuse a file that lacks some."""
        n_bytes = sum(n_bytes for _, _, n_bytes in self.passes)
        try:
            rows = zlib.decompressobj().decompress(b"".join(self.data), n_bytes)
        except zlib.error as error:
            raise damaged(str(error)) from error
        if len(rows) < n_bytes:
            raise damaged("its data hold only a part of the image, it is cut short")
        return rows


def read_png(file):
    """Check the chunks of a PNG file.

    Parameters
    ----------
    file : binary file
        Any file.

    Returns
    -------
    png : PngFile or None
        None for a file of another format.
    """
    file.seek(0)
    if file.read(8) != PNG_START:
        return None
    chunks = Chunks(file.read())
    found, colour_type = chunks.found, chunks.header[3]
    if colour_type == PALETTE and b"PLTE" not in found:
        raise damaged("its palette is missing")
    texts = {}
    for kind, body in chunks.texts:
        name = body[:80].partition(b"\0")[0]
        if (kind, name) in _TURNING_TEXTS:
            texts[name] = kind, body
    turning = [text for each in texts.values() if (text := _unpack_text(*each))]
    key = found.get(b"tRNS") if colour_type == COLOURS else None
    return PngFile(
        kept=[*chunks.kept[:2], *turning, *chunks.kept[2:]],
        notes=_read_colours(found) if chunks.has_colours else None,
        header=chunks.header,
        data=chunks.data,
        transparent=key,
        may_be_turned=b"eXIf" in found or bool(turning),
        is_opaque=b"tRNS" not in found,
        palette=found[b"PLTE"] if colour_type == PALETTE else None,
        is_odd=chunks.is_odd,
    )


def decode_plain(png):
    """Decode the pixels of a plain PNG file, without reading its chunks a second time.

    Parameters
    ----------
    png : PngFile

    Returns
    -------
    image : PIL.Image.Image or None
        None for a file that `PIL.Image.open` must read: with another bit depth,
        transparent colours, interlaced pixels, EXIF or XMP, or damage.
    """
    width, height, bits, colour_type, *methods = png.header
    mode, rawmode = _LAYOUTS.get((bits, colour_type), (None, None))
    is_plain = methods == [0, 0, 0] and png.is_opaque and not png.may_be_turned
    if mode is None or not is_plain or not png.n_pixels:
        return None
    data = png.data[0] if len(png.data) == 1 else b"".join(png.data)
    try:
        image = Image.frombytes(mode, (width, height), data, "zip", rawmode, 0)
        if png.palette is not None:
            image.putpalette(png.palette)
    except ValueError:
        return None
    # Pillow (13.0) leaves zeros in place of whole rows that are missing.
    if image.crop((0, height - 1, width, height)).getbbox(alpha_only=False) is None:
        png.unpack_rows()
    return image


def _read_colours(chunks):
    """Read the colour information of a file, without chunks that can't be read."""
    code = gamma = primaries = None
    if b"cICP" in chunks:
        # Section 11.3.2.6; the third number, the matrix, must be 0 (RGB).
        first, transfer, _, is_full = chunks[b"cICP"]
        code = first, transfer, is_full
    if b"sRGB" not in chunks:
        if b"gAMA" in chunks:
            gamma = _check_gamma(int.from_bytes(chunks[b"gAMA"], "big"))
        if b"cHRM" in chunks:
            values = struct.unpack(">8I", chunks[b"cHRM"])
            primaries = _sort_primaries([value / 100_000 for value in values])
    return ColourNotes(
        _unpack_profile(chunks.get(b"iCCP", b"")), code, gamma, primaries
    )


def read_copied_colours(info):
    """Read the colour information that a decoded PNG image or a copy has kept.

    Parameters
    ----------
    info : dict
        The image's ``info``, in which Pillow (13.0) keeps gAMA, cHRM and sRGB.

    Returns
    -------
    notes : ColourNotes or None
    """
    if "srgb" in info or not {"gamma", "chromaticity"} & info.keys():
        return None
    gamma, values = info.get("gamma", 0), info.get("chromaticity", ())
    is_read = isinstance(gamma, int | float) and isinstance(values, tuple)
    if not is_read or not all(isinstance(value, int | float) for value in values):
        return None  # the user's own
    gamma = round(gamma * 100_000) if 0 < gamma < 10_000 else 0
    return ColourNotes(gamma=_check_gamma(gamma), primaries=_sort_primaries(values))


def _check_gamma(gamma):
    return gamma if _LEAST_GAMMA <= gamma <= _MOST_GAMMA else None


def _sort_primaries(values):
    # Section 11.3.2.1: white comes first.
    is_whole = len(values) == 8 and all(0 <= value < 2**32 / 1e5 for value in values)
    return (*values[2:], *values[:2]) if is_whole else None


def _unpack_profile(body):
    # Section 11.3.2.3: a name, a zero, the method (0), and compressed data.
    _, _, packed = body.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof and packed[:1] == b"\0" else None


def _unpack_text(kind, body):
    """Write the chunk of a text anew, not compressed; None if it can't be read."""
    name, _, text = body.partition(b"\0")
    is_packed, method = kind == b"zTXt", text[:1]
    if kind == b"iTXt":
        # Section 11.3.3.4: a flag, the method, and two texts that end with zeros.
        is_packed, method = text[:1] != b"\0", text[1:2]
        parts = text[2:].split(b"\0", 2)
        if len(parts) < 3:
            return None
        text = parts[2]
    elif is_packed:
        text = text[1:]
    if is_packed:
        text = _unpack_start(text) if method == b"\0" else b""
    if not text:
        return None
    kind, start = (b"iTXt", b"\0" * 5) if kind == b"iTXt" else (b"tEXt", b"\0")
    body = name + start + text[:_MAX_TEXT]
    check = zlib.crc32(body, zlib.crc32(kind))
    return CHUNK_START.pack(len(body), kind) + body + struct.pack(">I", check)


def _unpack_start(packed):
    try:
        return zlib.decompressobj().decompress(packed, _MAX_TEXT)
    except zlib.error:
        return b""
