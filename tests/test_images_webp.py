"""WEBP animations whose first frame covers only a part of the canvas."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from sample_images import encode

from skimgclf.images import read_image
from skimgclf.images._decoding.webp import read_canvas_box

BLUE = (0, 0, 255)


def pack_24(*values):
    return b"".join(struct.pack("<I", value)[:3] for value in values)


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def make_webp(box, *, has_alpha=False, lossless=True, n_frames=1):
    """Write an animation (WebP container) on a canvas of 20x10 pixels."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    place = pack_24(left // 2, top // 2, width - 1, height - 1, 100) + b"\0"
    frames = b""
    for colour in [BLUE, (255, 0, 0)][:n_frames]:
        image = Image.new("RGB", (width, height), colour)
        content = encode(image, "WEBP", lossless=lossless, quality=100)
        frames += chunk(b"ANMF", place + content[12:])
    flags = 2 | 16 * has_alpha
    body = b"WEBP" + chunk(b"VP8X", bytes([flags, 0, 0, 0]) + pack_24(19, 9))
    body += chunk(b"ANIM", bytes([0, 255, 0, 255, 0, 0])) + frames
    return chunk(b"RIFF", body)


@pytest.mark.parametrize("box", [(4, 2, 14, 8), (0, 0, 20, 8), (2, 0, 20, 10)])
@pytest.mark.parametrize("n_frames", [1, 2])
@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_repair_read_canvas_box_leaves_the_rest_of_the_canvas_transparent(
    box, n_frames, has_alpha, lossless
):
    """As browsers show it, and black in Pillow, if the frames are opaque."""
    options = {"n_frames": n_frames, "has_alpha": has_alpha, "lossless": lossless}
    content = make_webp(box, **options)
    inside = np.zeros((10, 20), dtype=bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    options = {"image_size": (10, 20), "dtype": "uint8"}
    rgba = read_image(content, color_mode="rgba", **options)
    assert np.array_equal(rgba[:, :, 3] == 255, inside)
    assert np.abs(rgba[inside][:, :3].astype(int) - BLUE).max() <= 3
    rgb = read_image(content, color_mode="rgb", background="#0a0b0c", **options)
    assert (rgb[~inside] == (10, 11, 12)).all()
    opened = Image.open(io.BytesIO(content))
    for _ in range(2):
        assert np.array_equal(read_image(opened, color_mode="rgba", **options), rgba)


def test_webp_whose_frame_fills_the_canvas_is_opaque():
    content = make_webp((0, 0, 20, 10))
    options = {"image_size": (10, 20), "dtype": "uint8", "color_mode": "rgba"}
    for source in [content, Image.open(io.BytesIO(content))]:
        assert (read_image(source, **options) == (*BLUE, 255)).all()


@pytest.mark.parametrize(("n_chunks", "box"), [(50, (4, 2, 14, 8)), (100_000, None)])
def test_webp_of_more_chunks_than_a_file_needs_is_not_searched_to_its_end(
    n_chunks, box
):
    content = make_webp((4, 2, 14, 8))
    opened = Image.open(io.BytesIO(content))
    place = content.index(b"ANIM")
    chunks = chunk(b"none", b"") * n_chunks
    stream = io.BytesIO(content[:place] + chunks + content[place:])
    assert read_canvas_box(opened, stream) == box


def test_webp_later_frames_of_a_pil_image_are_as_pillow_makes_them():
    opened = Image.open(io.BytesIO(make_webp((4, 2, 14, 8), n_frames=2)))
    opened.seek(1)
    image = read_image(opened, image_size=(10, 20), color_mode="rgb")
    assert image[5, 8] == pytest.approx([1, 0, 0])
