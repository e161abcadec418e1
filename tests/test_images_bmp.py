"""BMP files with palettes of few colours, and with alpha."""

import io
import struct

import numpy as np
import pytest
from image_corpus import refuse
from PIL import Image

from skimgclf.images import check_images, read_image

LEVELS = (np.indices((8, 16)).sum(axis=0) // 3 % 2).astype(np.uint8)


def pack(bits):
    """Pack indices of a palette, the highest bits first."""
    per_byte = 8 // bits
    packed = np.zeros((8, 16 // per_byte), dtype=np.uint8)
    for place in range(per_byte):
        packed |= LEVELS[::-1, place::per_byte] << (8 - bits * (place + 1))
    # Rows have a multiple of four bytes.
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4))).tobytes()


def write_bmp(bits, colours, *, is_short=False):
    """Write a BMP file with a palette ([MS-WMF], section 2.2.2)."""
    data, end = pack(bits), b"" if is_short else b"\0"
    if is_short:
        header = struct.pack("<IHHHH", 12, 16, 8, 1, bits)
        colours = [*colours, *[(7, 8, 9)] * (2**bits - len(colours))]
    else:
        header = struct.pack("<IiiHHIIiiII", 40, 16, 8, 1, bits, *[0] * 6)
        header = header[:32] + struct.pack("<II", len(colours), 0)
    palette = b"".join(bytes(colour[::-1]) + end for colour in colours)
    place = 14 + len(header) + len(palette)
    start = b"BM" + struct.pack("<IHHI", place + len(data), 0, 0, place)
    return start + header + palette + data


BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("colours", [[BLACK, WHITE], [BLACK, (1, 1, 1), (2, 2, 2)]])
def test_repair_refuse_misread_palette_of_black_and_white(bits, colours):
    content = write_bmp(bits, colours)
    for source in [content, Image.open(io.BytesIO(content))]:
        if bits == 8 and len(colours) == 3:
            image = read_image(source, image_size=LEVELS.shape, dtype="uint8")
            assert np.array_equal(image[:, :, 0], LEVELS)
        else:
            assert "palette" in refuse(source).reason


@pytest.mark.parametrize("is_short", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("colours", [[WHITE, BLACK], [(255, 0, 0), (0, 0, 255)]])
def test_bmp_palettes_of_two_colours_are_read(colours, bits, is_short):
    options = {"image_size": LEVELS.shape, "color_mode": "rgb", "dtype": "uint8"}
    content = write_bmp(bits, colours, is_short=is_short)
    assert np.array_equal(read_image(content, **options), np.array(colours)[LEVELS])


@pytest.mark.parametrize("alpha", [0, 1, 100])
@pytest.mark.parametrize("n_header", [56, 108, 124])
def test_bmp_keeps_alpha_that_is_not_zero_all_over(n_header, alpha):
    """As in Chromium (BMPImageReader) and Firefox: zeros alone are no alpha."""
    header = struct.pack("<IiiHHIIiiII", n_header, 8, 8, 1, 32, 3, *[0] * 5)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = header.ljust(n_header, b"\0")
    start = struct.pack("<IHHI", 14 + n_header + 256, 0, 0, 14 + n_header)
    pixels = [90, 120, 180, 0] * 63 + [90, 120, 180, alpha]
    content = b"BM" + start + header + bytes(pixels)
    for source in [content, Image.open(io.BytesIO(content))]:
        options = {"image_size": (8, 8), "color_mode": "rgba", "dtype": "uint8"}
        image = read_image(source, **options)
        assert image[0, 7].tolist() == [180, 120, 90, alpha or 255]
        assert image[1, 1, 3] == (0 if alpha else 255)
    mode = check_images([content]).loc[0, "mode"]
    assert mode == ("RGBA" if alpha else "RGB")


@pytest.mark.parametrize("is_short", [False, True])
def test_bmp_of_one_bit_in_black_and_white_is_read(is_short):
    content = write_bmp(1, [BLACK, WHITE], is_short=is_short)
    image = read_image(content, image_size=LEVELS.shape)
    assert np.array_equal(image[:, :, 0], LEVELS)
