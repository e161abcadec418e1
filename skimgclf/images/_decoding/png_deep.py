"""Read colours of 16 bits from PNG files, of which Pillow (13.0) keeps 8."""

import struct
import zlib

import numpy as np
from PIL import Image

from skimgclf.images._decoding.colour import straighten_alpha

# By PNG's colour type, Pillow's mode of an image of 8 bits.
DEEP_MODES = {2: "RGB", 4: "LA", 6: "RGBA"}


def has_deep_colours(png):
    """Tell whether a PngFile has colours, or gray with alpha, of 16 bits."""
    return png.header[2] == 16 and png.header[3] in DEEP_MODES


def read_deep_colours(png):
    """Read the pixels of a PngFile for which `has_deep_colours` is true.

    Returns
    -------
    pixels : ndarray of shape (height, width, 3 or 4), float32
        In [0, 1], as stored, not turned.
    """
    width, height, _, colour_type = png.header[:4]
    mode = DEEP_MODES[colour_type]
    values = np.empty((height, width, len(mode)), dtype=np.uint16)
    unpacked = np.frombuffer(png.unpack_rows(), dtype=np.uint8)
    for rows, columns, n_bytes in png.passes:
        part = values[rows, columns]
        part[:] = _read_part(unpacked[:n_bytes], part.shape, mode)
        unpacked = unpacked[n_bytes:]
    floats = values.astype(np.float32) / 65535
    if png.transparent is not None:
        key = struct.unpack(">3H", png.transparent)
        opaque = (values != key).any(axis=2, keepdims=True)
        floats = np.concatenate([floats, opaque.astype(np.float32)], axis=2)
    return straighten_alpha(floats, is_premultiplied=False)


def _read_part(rows, shape, mode):
    """Undo the filters of rows.

    A filter adds bytes that are as far apart as pixels (section 9.2 of the PNG
    specification). So the high bytes of all samples, and the low ones, are each the
    rows of an image of 8 bits, which Pillow reads.
    """
    height, width, n_samples = shape
    rows = rows.reshape(height, -1)
    filters, samples = rows[:, :1], rows[:, 1:].reshape(height, width * n_samples, 2)
    parts = []
    for byte in (0, 1):
        data = zlib.compress(np.hstack([filters, samples[:, :, byte]]).tobytes(), 0)
        image = Image.frombytes(mode, (width, height), data, "zip", mode, 0)
        parts.append(np.asarray(image, dtype=np.uint16))
    return parts[0] << 8 | parts[1]
