"""Read colours of 16 bits from PNG files, of which Pillow (13.0) keeps 8."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from skimgclf.images._decoding.colour import straighten_alpha

# PNG specification (third edition), section 11.2.1: the number of samples by colour
# type, and the colour type of 8 bits that holds so many samples.
_N_SAMPLES = {2: 3, 4: 2, 6: 4}
_COLOUR_TYPES = {number: kind for kind, number in _N_SAMPLES.items()}


def has_deep_colours(png):
    """Tell whether a PngFile has colours, or gray with alpha, of 16 bits."""
    return png.header[2] == 16 and png.header[3] in _N_SAMPLES


def read_deep_colours(png):
    """Read the pixels of a PngFile for which `has_deep_colours` is true.

    Returns
    -------
    pixels : ndarray of shape (height, width, 3 or 4), float32
        In [0, 1], as stored, not turned.
    """
    width, height, _, colour_type = png.header[:4]
    n_samples = _N_SAMPLES[colour_type]
    values = np.empty((height, width, n_samples), dtype=np.uint16)
    unpacked = np.frombuffer(png.unpack_rows(), dtype=np.uint8)
    for rows, columns, n_bytes in png.passes:
        part = values[rows, columns]
        part[:] = _read_part(unpacked[:n_bytes], part.shape)
        unpacked = unpacked[n_bytes:]
    floats = values.astype(np.float32) / 65535
    if png.transparent is not None:
        key = struct.unpack(">3H", png.transparent)
        opaque = (values != key).any(axis=2, keepdims=True)
        floats = np.concatenate([floats, opaque.astype(np.float32)], axis=2)
    return straighten_alpha(floats, is_premultiplied=False)


def _read_part(rows, shape):
    """Undo the filters of rows.

    A filter adds bytes that are as far apart as pixels (section 9.2). So the high bytes
    of all samples, and the low ones, are each the rows of an image of 8 bits, which
    Pillow reads.
    """
    height, width, n_samples = shape
    rows = rows.reshape(height, -1)
    filters, samples = rows[:, :1], rows[:, 1:].reshape(height, width * n_samples, 2)
    high, low = (
        _read_eight_bits(np.hstack([filters, samples[:, :, byte]]), width, n_samples)
        for byte in (0, 1)
    )
    return high.astype(np.uint16) << 8 | low


def _read_eight_bits(rows, width, n_samples):
    kind = _COLOUR_TYPES[n_samples]
    header = struct.pack(">IIBBBBB", width, len(rows), 8, kind, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"IDAT", zlib.compress(rows.tobytes(), 0)),
        (b"IEND", b""),
    ]
    content = b"".join(
        struct.pack(">I4s", len(body), name)
        + body
        + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
        for name, body in chunks
    )
    stream = io.BytesIO(b"\x89PNG\r\n\x1a\n" + content)
    return np.asarray(Image.open(stream, formats=["PNG"]))
