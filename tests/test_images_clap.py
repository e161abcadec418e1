"""The clean aperture of AVIF and HEIC files: the part of an image that is shown.

ISO/IEC 23008-12, section 6.5.9; its numbers are those of ISO/IEC 14496-12, section
12.1.4: width, height, and how far its centre lies from that of the image, as fractions.
"""

import io
import struct

import numpy as np
import pytest
from image_corpus import refuse
from PIL import Image
from sample_images import encode, make_scene
from test_images_heif import encode_heic
from test_images_notes import edit_properties

from skimgclf.images import check_images, read_image

ENCODERS = {
    "AVIF": lambda pixels: encode(
        Image.fromarray(pixels), "AVIF", quality=100, subsampling="4:4:4"
    ),
    "HEIC": encode_heic,
}
LEFT_HALF = (28, 1, 40, 1, -14, 1, 0, 1)  # of an image of 56x40


def write_clap(*numbers):
    return b"clap", struct.pack(">IIIIiIiI", *numbers)


def add_to_main(content, *added):
    """Add properties to the main image, which a reader must know."""

    def edit(properties, numbers, main):
        first = len(properties) + 1
        own = [128 | (first + i) for i in range(len(added))]
        return properties + list(added), {**numbers, main: numbers[main] + own}

    return edit_properties(content, edit)


def add_to_track(content, added):
    """Add a property to the track of a sequence, whose boxes grow by it."""
    added = struct.pack(">I4s", 8 + len(added[1]), added[0]) + added[1]
    names = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"av01"]
    changed = bytearray(content)
    for name in names:
        place = content.index(name, content.index(b"moov")) - 4
        (size,) = struct.unpack_from(">I", content, place)
        struct.pack_into(">I", changed, place, size + len(added))
    end = place + size
    where = content.index(b"stco") + 8
    for frame in range(int.from_bytes(content[where : where + 4], "big")):
        (offset,) = struct.unpack_from(">I", content, where + 4 + 4 * frame)
        struct.pack_into(">I", changed, where + 4 + 4 * frame, offset + len(added))
    return bytes(changed[:end] + added + changed[end:])


def read_whole(content):
    width, height = check_images([content]).loc[0, ["width", "height"]]
    options = {"image_size": (height, width), "color_mode": "rgb", "dtype": "uint8"}
    return read_image(content, **options).astype(int)


@pytest.mark.parametrize("image_format", ENCODERS)
@pytest.mark.parametrize(
    ("numbers", "rows", "columns"),
    [
        (LEFT_HALF, slice(0, 40), slice(0, 28)),
        ((28, 1, 40, 1, 14, 1, 0, 1), slice(0, 40), slice(28, 56)),
        ((20, 1, 10, 1, 4, 2, -30, 2), slice(0, 10), slice(20, 40)),
        ((21, 1, 11, 1, 1, 2, 1, 2), slice(15, 26), slice(18, 39)),
        ((112, 2, 120, 3, 0, 1, 0, 1), slice(0, 40), slice(0, 56)),
    ],
)
def test_repair_read_clean_aperture_crops_the_image(
    image_format, numbers, rows, columns
):
    scene = make_scene()
    content = add_to_main(ENCODERS[image_format](scene), write_clap(*numbers))
    pixels = read_whole(content)
    assert pixels.shape == scene[rows, columns].shape
    assert np.abs(pixels - scene[rows, columns]).mean() < 2


@pytest.mark.parametrize("image_format", ENCODERS)
def test_clean_aperture_is_cut_before_the_image_is_turned(image_format):
    """ISO/IEC 23000-22, section 7.3.6.7: clap, irot and imir apply in this order."""
    scene = make_scene()
    turn, flip = (b"irot", b"\1"), (b"imir", b"\1")
    content = ENCODERS[image_format](scene)
    content = add_to_main(content, write_clap(*LEFT_HALF), turn, flip)
    expected = np.rot90(scene[:, :28])[:, ::-1]
    pixels = read_whole(content)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 2


@pytest.mark.parametrize("image_format", ENCODERS)
def test_clean_aperture_that_leads_out_of_the_image_ends_with_it(image_format):
    """As in libheif, which moves no edge but those that lie outside."""
    scene = make_scene()
    numbers = (28, 1, 80, 1, -18, 1, 0, 1)
    content = add_to_main(ENCODERS[image_format](scene), write_clap(*numbers))
    pixels = read_whole(content)
    assert pixels.shape == (40, 24, 3)
    assert np.abs(pixels - scene[:, :24]).mean() < 2


@pytest.mark.parametrize(
    "clap",
    [
        write_clap(0, 1, 40, 1, 0, 1, 0, 1),
        write_clap(28, 0, 40, 1, 0, 1, 0, 1),
        write_clap(28, 1, 40, 1, 90, 1, 0, 1),
    ],
)
def test_clean_aperture_of_no_pixels_is_refused(clap):
    error = refuse(add_to_main(ENCODERS["AVIF"](make_scene()), clap))
    assert "clean aperture" in error.reason


def test_clean_aperture_of_an_avif_file_with_transparency():
    scene = make_scene()
    rgba = np.dstack([scene, np.full(scene.shape[:2], 254, np.uint8)])
    content = ENCODERS["AVIF"](rgba)
    assert content.count(b"av1C") == 2
    content = add_to_main(content, write_clap(*LEFT_HALF))
    opened = Image.open(io.BytesIO(content))
    size = {"image_size": (40, 28), "color_mode": "rgb"}
    pixels = read_image(content, background="black", **size)
    assert np.abs(pixels - scene[:, :28] / 255).mean() < 0.01
    assert np.array_equal(read_image(opened, background="black", **size), pixels)


def test_clean_aperture_of_an_avif_animation():
    scene = make_scene()
    frames = [Image.fromarray(each) for each in [scene, scene[::-1]]]
    options = {"save_all": True, "append_images": frames[1:], "quality": 100}
    content = add_to_track(encode(frames[0], "AVIF", **options), write_clap(*LEFT_HALF))
    assert np.abs(read_whole(content) - scene[:, :28]).mean() < 4
    opened = Image.open(io.BytesIO(content))
    opened.seek(1)
    pixels = read_image(opened, image_size=(40, 28), color_mode="rgb")
    assert np.abs(pixels - scene[::-1, :28] / 255).mean() < 0.02
