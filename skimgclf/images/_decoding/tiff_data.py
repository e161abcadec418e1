"""Check the compressed data in the strips and tiles of TIFF files.

Of data that end too early, libtiff makes gray (JPEG) or white (fax), it skips checksums
(Deflate), and Pillow (13.0) drops its warnings.
"""

import io
import zlib

from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.jpeg import JPEG_START, read_jpeg
from skimgclf.images._decoding.open import keeping_position
from skimgclf.images._decoding.reasons import UnreadableImage
from skimgclf.images._decoding.tiff_directory import damaged

# TIFF 6.0, section 11 and 22, and Adobe Photoshop TIFF Technical Notes, section "DCT".
_GROUP_4, _OLD_JPEG, _JPEG = 4, 6, 7
_DEFLATE = {8, 32946}

# Bytes that are unpacked at a time.
_STEP = 2**18

_JPEG_END = b"\xff\xd9"

# Some programs fill JPEG files up to whole blocks, of up to 32 pixels a side.
_FEW_PIXELS = 64 * 64

# ITU-T T.6, section 2.4.1: EOFB, two codes of 11 zeros and a one, is the only one with
# so many zeros.
_END_OF_BLOCK, _N_BITS_OF_END = 0x001001, 24
_ZEROS = bytes(3)

# Strips may start at multiples of 16 bytes.
_N_PADDING = 16

# The bits of each byte in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_data(file, directory):
    """Refuse a TIFF file of which a strip or tile lacks data.

    Parameters
    ----------
    file : binary file
        Its position is kept.
    directory : Directory
    """
    check = _CHECKS.get(directory.get(Tag.Compression))
    if check is None:
        return
    with keeping_position(file):
        check(file, directory)


def _read_parts(file, directory):
    # Some programs write equal tiles once; others in the same place are damage, and
    # might be more than memory holds.
    parts = dict.fromkeys(directory.parts)
    length = file.seek(0, io.SEEK_END)
    if sum(n_bytes for _, n_bytes in parts) > length:
        raise damaged("its strips overlap, or lead out of the file")
    for start, n_bytes in parts:
        file.seek(min(start, length))
        yield file.read(n_bytes)


def _read_ordered_parts(file, directory):
    # TIFF 6.0, section 8, FillOrder: libtiff turns back the bits of all bytes of a
    # strip or tile before it unpacks them, but for JPEG data.
    is_reversed = directory.get(Tag.FillOrder) == 2
    for content in _read_parts(file, directory):
        yield content.translate(_REVERSED) if is_reversed else content


def _check_jpegs(file, directory):
    """Check each part, a JPEG file whose tables may stand in the directory."""
    tables = directory.find_bytes(Tag.JPEGTables, file) or b""
    tables = tables[2:-2]  # without the markers of start and end
    for content in _read_parts(file, directory):
        if not content.startswith(JPEG_START):
            raise _damaged("JPEG", "they have no start marker")
        _check_jpeg(content[:2] + tables + content[2:], _bound_pixels(directory))


def _check_old_jpeg(file, directory):
    """Check the one JPEG file of old files, if they hold it whole."""
    start, n_bytes = directory.get(Tag.JpegIFOffset), directory.get(Tag.JpegIFByteCount)
    if start is None or n_bytes is None:
        return
    length = file.seek(0, io.SEEK_END)
    start = min(start, length)
    end = max([start + n_bytes, *map(sum, directory.parts)])
    file.seek(start)
    content = file.read(min(end, length) - start)
    if not content.startswith(JPEG_START):
        return
    _check_jpeg(content, _bound_pixels(directory))


def _bound_pixels(directory):
    """Bound the pixels of a JPEG file in a strip or tile, which may be padded."""
    n_pixels = directory.get(Tag.ImageWidth, 0) * directory.get(Tag.ImageLength, 0)
    tile = directory.get(Tag.TileWidth, 0) * directory.get(Tag.TileLength, 0)
    return max(4 * n_pixels, 4 * tile, _FEW_PIXELS)


def _check_jpeg(content, n_most):
    # Some programs leave the end marker out.
    if _JPEG_END not in content[-64:] and not content.endswith(_ZEROS):
        content += _JPEG_END
    try:
        file = read_jpeg(io.BytesIO(content))
    except UnreadableImage as error:
        # In front of it stands that a JPEG file is damaged, or cut short.
        raise _damaged("JPEG", str(error).rpartition(": ")[2]) from error
    try:
        image = Image.open(file, formats=["JPEG"])
    except (UnidentifiedImageError, OSError):
        return  # of a kind that Pillow reads in TIFF files alone
    if image.width * image.height > n_most:
        raise _damaged("JPEG", "they hold more pixels than the image")
    # The data are unpacked whole, and few pixels are made of them.
    image.draft("L", (1, 1))
    try:
        image.load()
    except OSError as error:
        raise _damaged("JPEG", "they end too early") from error


def _check_faxes(file, directory):
    for content in _read_ordered_parts(file, directory):
        data = content.rstrip(b"\0")
        # Some programs leave the code of the end out, and pad data with a few zeros.
        is_ended = len(content) - len(data) < _N_PADDING or _is_end(data[-4:])
        if _ZEROS in data or not is_ended:
            raise _damaged("fax", "there are zeros in place of them")


def _is_end(last):
    """Tell whether the last bytes of data are the code of an end, before zeros."""
    bits = int.from_bytes(last, "big")
    bits //= bits & -bits or 1  # up to the last one
    return bits % 2**_N_BITS_OF_END == _END_OF_BLOCK


def _check_deflated(file, directory):
    """Unpack each part, whose last bytes are a checksum (RFC 1950)."""
    n_bytes = _bound_bytes(directory)
    for content in _read_ordered_parts(file, directory):
        try:
            is_ended = not content or _unpack(content, n_bytes)
        except zlib.error as error:
            raise _damaged("Deflate", str(error)) from error
        # Zeros in place of data may be codes of pixels up to the end.
        if not is_ended:
            raise _damaged("Deflate", "they end too early")


def _unpack(content, n_left):
    """Unpack a stream, and tell whether it ends or holds more than `n_left` bytes."""
    unpacker = zlib.decompressobj()
    while content and n_left >= 0:
        n_left -= len(unpacker.decompress(content, min(_STEP, n_left + 1)))
        content = unpacker.unconsumed_tail
    if not content:
        unpacker.flush()
    return bool(content) or unpacker.eof


def _bound_bytes(directory):
    """Bound the bytes that a strip or tile of samples of up to 32 bits can need."""
    height = directory.get(Tag.ImageLength, 0)
    n_rows = min(directory.get(Tag.RowsPerStrip) or height, height)
    strip = directory.get(Tag.ImageWidth, 0) * n_rows
    tile = directory.get(Tag.TileWidth, 0) * directory.get(Tag.TileLength, 0)
    return 4 * directory.get(Tag.SamplesPerPixel, 1) * max(strip, tile)


_CHECKS = {
    **dict.fromkeys(_DEFLATE, _check_deflated),
    _GROUP_4: _check_faxes,
    _OLD_JPEG: _check_old_jpeg,
    _JPEG: _check_jpegs,
}


def _damaged(kind, what):
    return UnreadableImage(
        f"the {kind} data in one of its strips or tiles are damaged or cut short: "
        f"{what}"
    )
