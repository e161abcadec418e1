"""GIF files whose first frame covers only a part of the canvas."""

import copy
import io
import pickle
import struct

import numpy as np
import pytest
from PIL import GifImagePlugin, Image

from skimgclf.images import read_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def make_gif(box, *, canvas=(20, 10), n_frames=1, transparency=None, interlace=0):
    """Write a GIF file whose first frame is blue in a box; colour 0 is red."""
    size = (box[2] - box[0], box[3] - box[1])
    frames = [Image.new("P", size, colour) for colour in [1, 2][:n_frames]]
    for frame in frames:
        frame.putpalette([*RED, *BLUE, 0, 255, 0, *[0] * 759])
    options = {} if transparency is None else {"transparency": transparency}
    stream = io.BytesIO()
    frames[0].save(
        stream,
        "GIF",
        save_all=n_frames > 1,
        append_images=frames[1:],
        optimize=False,
        interlace=interlace,
        **options,
    )
    content = bytearray(stream.getvalue())
    content[6:10] = struct.pack("<HH", *canvas)
    frame = content.index(b"\x2c", 13 + 3 * 256)
    content[frame + 1 : frame + 5] = struct.pack("<HH", *box[:2])
    return bytes(content)


BOXES = [(5, 2, 15, 8), (0, 0, 20, 9), (0, 0, 19, 10), (1, 0, 20, 10), (0, 1, 20, 10)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("n_frames", [1, 2])
def test_repair_read_frame_box_leaves_the_rest_of_the_canvas_transparent(box, n_frames):
    """As browsers show it (GIF89a, section 20), whatever the palette's colour 0 is."""
    content = make_gif(box, n_frames=n_frames)
    inside = np.zeros((10, 20), dtype=bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    options = {"image_size": (10, 20), "dtype": "uint8"}
    rgba = read_image(content, color_mode="rgba", **options)
    assert np.array_equal(rgba[:, :, 3] == 255, inside)
    assert (rgba[inside][:, :3] == BLUE).all()
    rgb = read_image(content, color_mode="rgb", background="#0a0b0c", **options)
    assert (rgb[~inside] == (10, 11, 12)).all()
    opened = Image.open(io.BytesIO(content))
    for _ in range(2):
        assert np.array_equal(read_image(opened, color_mode="rgba", **options), rgba)


def test_gif_whose_frame_is_transparent_stays_so():
    content = make_gif((5, 2, 15, 8), transparency=1)
    options = {"image_size": (10, 20), "dtype": "uint8"}
    assert (read_image(content, color_mode="rgba", **options)[:, :, 3] == 0).all()


def test_gif_whose_frame_fills_the_canvas_is_opaque():
    content = make_gif((0, 0, 20, 10), interlace=1)
    options = {"image_size": (10, 20), "dtype": "uint8", "color_mode": "rgba"}
    assert (read_image(content, **options) == (*BLUE, 255)).all()


def test_gif_that_was_pickled_is_read():
    """Its pixels are all that is left of it."""
    opened = Image.open(io.BytesIO(make_gif((0, 0, 20, 10))))
    sent = pickle.loads(pickle.dumps(opened))
    image = read_image(sent, image_size=(10, 20), color_mode="rgba", dtype="uint8")
    assert (image == (*BLUE, 255)).all()


def test_gif_later_frames_of_a_pil_image_are_whole():
    """A frame that the user has chosen is put on those before it."""
    opened = Image.open(io.BytesIO(make_gif((5, 2, 15, 8), n_frames=2)))
    opened.seek(1)
    image = read_image(copy.copy(opened), image_size=(10, 20), color_mode="rgba")
    assert image.shape == (10, 20, 4)


CHANGES = {
    "a little smaller": lambda image: image.thumbnail((18, 9)),
    "smaller than the box": lambda image: image.thumbnail((4, 4)),
    "painted": lambda image: image.paste(2, (0, 0, 3, 3)),
    "painted all over": lambda image: image.paste(2, (0, 0, *image.size)),
    "with alpha": lambda image: image.putalpha(Image.new("L", image.size, 255)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("transparency", [None, 0])
def test_gif_that_was_changed_has_the_pixels_of_the_pil_image(change, transparency):
    """What another program has painted outside of the first frame isn't lost."""
    content = make_gif((10, 4, 18, 8), transparency=transparency)
    opened = Image.open(io.BytesIO(content))
    change(opened)
    options = {"image_size": opened.size[::-1], "color_mode": "rgba", "dtype": "uint8"}
    pixels = read_image(opened, **options)
    assert np.array_equal(pixels, np.asarray(opened.convert("RGBA")))


def test_gif_that_was_loaded_as_colours_has_its_empty_part(monkeypatch):
    """Pillow's own setting makes colours of palettes while it loads them."""
    strategy = GifImagePlugin.LoadingStrategy.RGB_ALWAYS
    monkeypatch.setattr(GifImagePlugin, "LOADING_STRATEGY", strategy)
    opened = Image.open(io.BytesIO(make_gif((10, 4, 18, 8))))
    opened.load()
    options = {"image_size": (10, 20), "color_mode": "rgba", "dtype": "uint8"}
    alpha = read_image(opened, **options)[:, :, 3]
    assert alpha[4:8, 10:18].min() == 255
    assert (alpha > 0).sum() == 4 * 8
    opened.paste((9, 9, 9), (0, 0, 1, 1))
    assert (read_image(opened, **options)[:, :, 3] == 255).all()
