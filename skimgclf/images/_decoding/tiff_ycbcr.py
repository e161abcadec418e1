"""Convert luma and chroma of TIFF files to RGB (TIFF 6.0, sections 20 and 21).

Pillow (13.0) reads uncompressed ones as if each pixel had chroma of its own, and shows
gray, in silence, for compressed data that end too early.
"""

import struct
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.reasons import UnreadableImage
from skimgclf.images._decoding.tiff_directory import damaged

YCBCR = 6

_FACTORS = {1, 2, 4}

# Rows that are converted at a time.
_N_ROWS = 64

# The defaults: chroma of 2x2 pixels, Rec. 601, and all values of a byte.
_SUBSAMPLING = (2, 2)
_COEFFICIENTS = (0.299, 0.587, 0.114)
_BLACK_WHITE = (0, 255, 128, 255, 128, 255)


class Units(NamedTuple):
    """The data units of a file: the pixels that share one blue and one red chroma.

    Attributes
    ----------
    n_across, n_down : int
        Pixels of a unit.
    """

    n_across: int
    n_down: int

    @property
    def n_samples(self):
        """Bytes of a unit: rows of luma, then both chromas."""
        return self.n_across * self.n_down + 2

    def resize(self, ifd):
        """Return the tags of size of an image whose pixels are the bytes of units."""
        tags = {}
        for tag in (Tag.ImageWidth, Tag.TileWidth):
            tags[tag] = self.n_samples * -(-ifd.get(tag, 0) // self.n_across)
        height = ifd.get(Tag.ImageLength)
        n_rows = min(ifd.get(Tag.RowsPerStrip, height), height)
        if n_rows < height and n_rows % self.n_down:
            raise UnreadableImage(
                f"it is a TIFF file whose strips of {n_rows} rows cut the "
                f"{self.n_down} rows that share their colours: save it as RGB"
            )
        tags[Tag.RowsPerStrip] = -(-n_rows // self.n_down)
        for tag in (Tag.ImageLength, Tag.TileLength):
            tags[tag] = -(-ifd.get(tag, 0) // self.n_down)
        return {tag: (tags[tag],) for tag in tags if tag in ifd.values}

    def split(self, samples, ifd):
        """Split rows of units into luma and both chromas, one of each for a pixel."""
        width, height = ifd.get(Tag.ImageWidth), ifd.get(Tag.ImageLength)
        units = samples.reshape(len(samples), -1, self.n_samples)
        luma = units[:, :, :-2].reshape(*units.shape[:2], self.n_down, self.n_across)
        luma = luma.swapaxes(1, 2).reshape(len(units) * self.n_down, -1)
        planes = [luma]
        for chroma in (units[:, :, -2], units[:, :, -1]):
            rows = chroma.repeat(self.n_down, axis=0)
            planes.append(rows.repeat(self.n_across, axis=1))
        return [plane[:height, :width] for plane in planes]


def read_units(ifd):
    """Read how many pixels share their chroma."""
    factors = ifd.values.get(Tag.YCbCrSubSampling, _SUBSAMPLING)
    if len(factors) != 2:
        raise damaged("YCbCrSubSampling isn't two numbers")
    if not set(factors) <= _FACTORS:
        raise UnreadableImage(
            f"it is a TIFF file in which {factors[0]}x{factors[1]} pixels share their "
            "colours (YCbCrSubSampling), of a kind that isn't read: save it as RGB"
        )
    if ifd.get(Tag.Predictor, 1) != 1 and set(factors) != {1}:
        raise UnreadableImage(
            "it is a TIFF file of pixels that share their colours (YCbCrSubSampling), "
            "stored as differences (Predictor), which isn't read: save it as RGB"
        )
    return Units(*factors)


def convert_ycbcr(planes, file, ifd):
    """Convert luma and chroma to an image, by the tags of the file."""
    limits = _read_numbers(ifd, Tag.ReferenceBlackWhite, file, _BLACK_WHITE)
    shares = _read_numbers(ifd, Tag.YCbCrCoefficients, file, _COEFFICIENTS)
    if not shares[1] > 0:
        raise damaged("YCbCrCoefficients leave no green")
    if any(limits[number] == limits[number + 1] for number in (0, 2, 4)):
        raise damaged("ReferenceBlackWhite leaves nothing between black and white")
    # Section 20: luma has all levels, and chroma those to 127 in both directions.
    tables = [
        _list_levels(limits[2 * number], limits[2 * number + 1], coding_range)
        for number, coding_range in enumerate((255, 127, 127))
    ]
    height, width = planes[0].shape
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    # Floats of all pixels would take several times the memory of the image.
    for top in range(0, height, _N_ROWS):
        rows = slice(top, top + _N_ROWS)
        levels = [
            table[plane[rows]] for table, plane in zip(tables, planes, strict=True)
        ]
        pixels[rows] = _convert_levels(*levels, *map(np.float32, shares))
    return Image.fromarray(pixels)


def _list_levels(black, white, coding_range):
    codes = np.arange(256, dtype=np.float32) - np.float32(black)
    return codes * np.float32(coding_range / (white - black))


def _convert_levels(luma, blue, red, of_red, of_green, of_blue):
    """Convert to red, green and blue (section 21)."""
    red = luma + red * (2 - 2 * of_red)
    blue = luma + blue * (2 - 2 * of_blue)
    green = (luma - of_blue * blue - of_red * red) / of_green
    return np.rint(np.clip(np.stack([red, green, blue], axis=2), 0, 255))


def is_plain_ycbcr(tags):
    """Tell whether Pillow decodes uncompressed luma and chroma rightly."""
    numbers = (
        (Tag.YCbCrSubSampling, _SUBSAMPLING, (1, 1)),
        (Tag.YCbCrCoefficients, _COEFFICIENTS, _COEFFICIENTS),
        (Tag.ReferenceBlackWhite, _BLACK_WHITE, _BLACK_WHITE),
    )
    return all(
        np.allclose([float(each) for each in tags.get(tag, default)], plain, atol=1e-3)
        for tag, default, plain in numbers
    )


def _read_numbers(ifd, tag, file, default):
    """Read fractions, or integers, which older programs wrote; the default without."""
    if tag not in ifd.values:
        return default
    numbers = ifd.values[tag]
    packed = ifd.find_bytes(tag, file) or b""
    if not numbers and len(packed) == 8 * len(default):
        parts = struct.unpack(f"{ifd.order}{2 * len(default)}I", packed)
        if all(parts[1::2]):
            numbers = [a / b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    if len(numbers) != len(default):
        raise damaged(f"{tag.name} isn't {len(default)} fractions")
    return numbers
