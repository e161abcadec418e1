"""Windows icons: which of their pictures is read, and what is transparent in it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from sample_images import encode

from skimgclf.images import read_image

SIDE = 8
RED, BLUE = (255, 0, 0), (0, 0, 255)


def write_bitmap(colour, bits, alpha=255, masked=0):
    """Write the bitmap of one colour of an icon, with a mask below its rows.

    The first rows of `masked` are transparent in the mask (Microsoft's "Icons in
    Win32").
    """
    header = struct.pack("<IiiHHIIiiII", 40, SIDE, 2 * SIDE, 1, bits, *[0] * 6)
    if bits == 8:
        colours = bytes(colour[::-1]) + bytes(1 + 4 * 255)
        data = colours + bytes(SIDE * SIDE)
    else:
        pixel = bytes([*colour[::-1], alpha])[: bits // 8]
        data = pixel * SIDE * SIDE
    rows = [b"\xff\0\0\0" if row < masked else bytes(4) for row in range(SIDE)]
    return header + data + b"".join(rows[::-1])


def write_icon(*pictures):
    """Write an icon of pictures, each with the bits that its entry declares."""
    place, entries, data = 6 + 16 * len(pictures), b"", b""
    for bits, picture in pictures:
        size = struct.pack("<II", len(picture), place + len(data))
        entries += struct.pack("<BBBBHH", SIDE, SIDE, 0, 0, 1, bits) + size
        data += picture
    return struct.pack("<HHH", 0, 1, len(pictures)) + entries + data


def write_png(colour):
    return encode(Image.new("RGBA", (SIDE, SIDE), (*colour, 255)), "PNG")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("make", [lambda c: write_bitmap(c, 32), write_png])
def test_icon_gives_the_deepest_of_its_largest_pictures(make, declared):
    """As browsers do (Chromium, ICOImageDecoder::CompareEntries)."""
    low = (8 * declared, write_bitmap(RED, 8))
    for deep in [(32 * declared, make(BLUE)), (24, write_bitmap(BLUE, 24))]:
        for pictures in [[low, deep], [deep, low]]:
            image = read_image(
                write_icon(*pictures), image_size=(2, 2), color_mode="rgba"
            )
            assert (image == np.divide([*BLUE, 255], 255)).all()


def test_icon_as_a_pil_image_is_what_pillow_has_made_of_it():
    """Pillow takes the least deep picture, and has decoded it while opening it."""
    icon = write_icon((8, write_bitmap(RED, 8)), (32, write_png(BLUE)))
    opened = Image.open(io.BytesIO(icon))
    image = read_image(opened, image_size=(2, 2), color_mode="rgb")
    assert (image == np.divide(RED, 255)).all()


@pytest.mark.parametrize("declared", [32, 0, 24])
@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_icon_without_any_alpha_is_as_transparent_as_its_mask(alpha, declared):
    """As in Chromium (BMPImageReader): zeros alone are no alpha."""
    picture = write_bitmap(BLUE, 32, alpha, masked=2)
    content = write_icon((declared, picture))
    image = read_image(content, image_size=(SIDE, SIDE), color_mode="rgba")
    expected = np.full(SIDE, (alpha or 255) / 255)
    expected[:2] = expected[:2] if alpha else 0
    np.testing.assert_allclose(image[:, 3, 3], expected, atol=1e-6)
    opaque = image[image[:, :, 3] > 0][:, :3]
    assert (opaque == np.divide(BLUE, 255)).all()


def test_icon_of_other_bits_than_declared_is_read_by_its_bitmap():
    content = write_icon((32, write_bitmap(BLUE, 24, masked=2)))
    image = read_image(content, image_size=(SIDE, SIDE), color_mode="rgba")
    assert (image[2:] == np.divide([*BLUE, 255], 255)).all()
    assert image[:2, :, 3].max() == 0


def test_icon_without_alpha_and_mask_is_transparent():
    picture = write_bitmap(BLUE, 32, alpha=0)[: -4 * SIDE]
    image = read_image(write_icon((32, picture)), image_size=(2, 2), color_mode="rgba")
    assert image[:, :, 3].max() == 0
