"""JPEG 2000 files of other depths than 8 bits, whose levels Pillow shifts."""

import io
import struct

import cv2
import numpy as np
import pytest
from image_corpus import FULL_SIZE, refuse
from PIL import Image
from sample_images import encode, make_alpha, make_scene
from test_images_notes import box, name_space

from skimgclf.images import check_images, read_image
from skimgclf.images._decoding.boxes import list_boxes

RAMP = np.linspace(0, 1, 40 * 56).reshape(40, 56)


def write_narrow(levels, bits):
    """Write lossless levels of fewer than 8 bits.

    A file holds differences to the middle level, which its header gives by the bits.
    """
    middle = 128 - 2 ** (bits - 1)
    content = bytearray(encode((levels + middle).astype(np.uint8), "JPEG2000"))
    content[content.index(b"ihdr") + 14] = bits - 1
    start = content.index(b"\xff\x4f\xff\x51")
    (n_channels,) = struct.unpack_from(">H", content, start + 40)
    for channel in range(n_channels):
        content[start + 42 + 3 * channel] = bits - 1
    return bytes(content)


def write_deep(pixels):
    return cv2.imencode(".jp2", pixels)[1].tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 7])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_repair_mend_levels_scales_fewer_than_eight_bits(bits, mode):
    """White is 1: it isn't .94, as 4 bits that are shifted to 8 would give."""
    white = 2**bits - 1
    levels = np.rint(RAMP * white)
    pixels = levels if mode == "L" else np.stack([levels] * 3, axis=2)
    if mode == "RGBA":
        pixels = np.dstack([pixels, np.full_like(levels, white)])
    content = write_narrow(pixels, bits)
    expected = levels / white
    for source in [content, Image.open(io.BytesIO(content))]:
        gray = read_image(source, image_size=RAMP.shape)[:, :, 0]
        assert np.abs(gray - expected).max() < 0.003
    assert check_images([content]).ok[0]


@pytest.mark.parametrize("level", [0, 127, 65408, 65535])
def test_repair_mend_levels_refuses_white_of_sixteen_bits_that_overflows(level):
    """Pillow gives 0 for the brightest levels of colours, as for the darkest ones."""
    pixels = np.full((40, 56, 3), 30_000, dtype=np.uint16)
    content = write_deep(pixels)
    image = read_image(content, image_size=(2, 2))
    assert image == pytest.approx(30_000 / 65535, abs=0.003)
    pixels[20, 20, 1] = level
    content = write_deep(pixels)
    for source in [content, Image.open(io.BytesIO(content))]:
        error = refuse(source)
        assert "reads white as black" in error.reason
    assert "16 bits" in check_images([content]).reason[0]


@pytest.mark.parametrize("level", [0, 30_000, 65535])
def test_gray_jpeg_2000_of_sixteen_bits_keeps_all_levels(level):
    pixels = np.full((40, 56), level, dtype=np.uint16)
    image = read_image(write_deep(pixels), image_size=(2, 2))
    assert image == pytest.approx(level / 65535, abs=1e-6)


@pytest.mark.parametrize("bits", [10, 12])
def test_gray_jpeg_2000_of_ten_and_twelve_bits_is_scaled_by_its_depth(bits):
    levels = np.rint(RAMP * (2**bits - 1))
    middle = 2**15 - 2 ** (bits - 1)
    content = bytearray(write_deep((levels + middle).astype(np.uint16)))
    content[content.index(b"ihdr") + 14] = bits - 1
    content[content.index(b"\xff\x4f\xff\x51") + 42] = bits - 1
    gray = read_image(bytes(content), image_size=RAMP.shape)[:, :, 0]
    assert np.abs(gray - levels / (2**bits - 1)).max() < 1e-5


def define_channels(content, *meanings):
    """Write other definitions of channels: number, type and colour of each."""
    place = content.index(b"jp2h") - 4
    size = int.from_bytes(content[place : place + 4], "big")
    boxes = list_boxes(content[place + 8 : place + size])
    boxes = [box(name, body) for name, body in boxes if name != b"cdef"]
    if meanings:
        packed = b"".join(struct.pack(">3H", *meaning) for meaning in meanings)
        boxes.append(box(b"cdef", struct.pack(">H", len(meanings)), packed))
    return content[:place] + box(b"jp2h", *boxes) + content[place + size :]


COLOURS = [(0, 0, 1), (1, 0, 2), (2, 0, 3)]
OTHER = 65535


def encode_four():
    return encode(np.dstack([make_scene(), make_alpha()]), "JPEG2000")


def test_jpeg_2000_of_a_fourth_channel_that_says_nothing_is_refused():
    """Pillow takes it for transparency; it may be infrared light."""
    content = define_channels(encode_four())
    for source in [content, Image.open(io.BytesIO(content))]:
        assert "whether the last one is transparency" in refuse(source).reason
    gray = np.dstack([make_scene()[:, :, 0], make_alpha()])
    content = define_channels(encode(Image.fromarray(gray, "LA"), "JPEG2000"))
    assert "2 channels" in refuse(content).reason


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_jpeg_2000_of_a_fourth_channel_is_read_as_its_error_says(mode):
    pixels = np.dstack([make_scene(), make_alpha()])
    pixels = pixels if mode == "RGBA" else pixels[:, :, 2:]
    content = define_channels(encode(Image.fromarray(pixels, mode), "JPEG2000"))
    reason = refuse(content).reason
    assert "PIL.Image.open(path).copy()" in reason
    assert f"PIL.Image.open(path).convert({mode[:-1]!r})" in reason
    options = {"image_size": FULL_SIZE, "color_mode": "rgba", "dtype": "uint8"}
    colours = np.broadcast_to(pixels[:, :, :-1], make_scene().shape)
    opened = Image.open(io.BytesIO(content))
    rgba = read_image(opened.copy(), **options)
    shown = rgba[:, :, 3] > 0
    assert np.array_equal(rgba[:, :, 3], make_alpha())
    assert np.array_equal(rgba[shown][:, :3], colours[shown])
    rgba = read_image(opened.convert(mode[:-1]), **options)
    assert np.array_equal(rgba[:, :, :3], colours)
    assert (rgba[:, :, 3] == 255).all()


def test_jpeg_2000_of_a_fourth_channel_that_is_no_transparency_is_opaque():
    content = define_channels(encode_four(), *COLOURS, (3, OTHER, OTHER))
    options = {"image_size": FULL_SIZE, "color_mode": "rgba", "dtype": "uint8"}
    rgba = read_image(content, **options)
    assert np.array_equal(rgba[:, :, :3], make_scene())
    assert (rgba[:, :, 3] == 255).all()


def test_jpeg_2000_of_premultiplied_transparency_is_divided_by_it():
    alpha = np.full_like(make_alpha(), 128)
    scene = np.rint(make_scene() * (128 / 255)).astype(np.uint8)
    content = encode(np.dstack([scene, alpha]), "JPEG2000")
    content = define_channels(content, *COLOURS, (3, 2, 0))
    options = {"image_size": FULL_SIZE, "color_mode": "rgba", "dtype": "uint8"}
    rgba = read_image(content, **options).astype(int)
    assert np.abs(rgba[:, :, :3] - make_scene()).max() <= 2


@pytest.mark.parametrize(
    "meanings",
    [
        [(0, 0, 3), (1, 0, 2), (2, 0, 1)],
        [(0, 0, 1), (1, 0, 1), (2, 0, 1)],
        [(0, 1, 0), (1, 0, 1), (2, 0, 2)],
    ],
)
def test_jpeg_2000_of_another_order_of_channels_is_refused(meanings):
    """Pillow would take blue for red."""
    content = define_channels(encode(make_scene(), "JPEG2000"), *meanings)
    assert "in the order of red" in refuse(content).reason


def test_jpeg_2000_that_defines_the_usual_channels_is_read():
    scene = make_scene()
    for image, meanings in [
        (scene, COLOURS),
        (scene, COLOURS[::-1]),
        (scene[:, :, 0], [(0, 0, 1)]),
        (scene[:, :, 0], [(0, 0, 0)]),
    ]:
        content = define_channels(encode(image, "JPEG2000"), *meanings)
        options = {"image_size": FULL_SIZE, "color_mode": "rgb", "dtype": "uint8"}
        pixels = read_image(content, **options)
        assert np.array_equal(pixels, np.asarray(Image.fromarray(image).convert("RGB")))


PALETTE = np.array([(200, 0, 10), (0, 210, 20), (30, 40, 220)], dtype=np.uint8)


def write_palette(indices, columns):
    """Write a palette, and the columns of it that are red, green and blue."""
    content = encode(indices, "JPEG2000")
    place = content.index(b"jp2h") - 4
    size = int.from_bytes(content[place : place + 4], "big")
    boxes = dict(list_boxes(content[place + 8 : place + size]))
    boxes[b"colr"] = name_space(16)
    boxes[b"pclr"] = struct.pack(">HB3B", 3, 3, 7, 7, 7) + PALETTE.tobytes()
    mapping = [struct.pack(">HBB", 0, 1, column) for column in columns]
    boxes[b"cmap"] = b"".join(mapping)
    header = box(b"jp2h", *(box(*each) for each in boxes.items()))
    return content[:place] + header + content[place + size :]


def test_jpeg_2000_palette_is_read_in_the_usual_order_alone():
    indices = (np.indices((40, 56)).sum(axis=0) // 9 % 3).astype(np.uint8)
    options = {"image_size": (40, 56), "color_mode": "rgb", "dtype": "uint8"}
    image = read_image(write_palette(indices, [0, 1, 2]), **options)
    assert np.array_equal(image, PALETTE[indices])
    error = refuse(write_palette(indices, [2, 1, 0]))
    assert "another order" in error.reason
