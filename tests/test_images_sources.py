"""What read_image takes as a source, and its errors for those that are none."""

import io
import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from image_corpus import FULL_SIZE, READABLE, by_name, refuse
from PIL import Image, UnidentifiedImageError
from sample_images import (
    HEIGHT,
    WIDTH,
    encode,
    luma,
    make_alpha,
    make_scene,
)

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import read_image


def test_source_kinds_give_the_same_pixels(tmp_path):
    """A path in any type, the file's bytes and NumPy's strings are read alike."""
    for sample in READABLE:
        path = tmp_path / sample.name
        path.write_bytes(sample.content)
        image = read_image(path, image_size=(9, 7))
        for source in [str(path), np.str_(path), sample.content]:
            assert np.array_equal(read_image(source, image_size=(9, 7)), image)
    assert np.array_equal(
        read_image(np.bytes_(sample.content), image_size=(9, 7)), image
    )


def read_with_names(folder, *names):
    """Read an image from files of these names, in bytes."""
    content = encode(make_scene(), "PNG")
    for name in names:
        path = os.fsdecode(os.path.join(os.fsencode(folder), name))
        Path(path).write_bytes(content)
        assert read_image(path, image_size=(4, 4)).shape == (4, 4, 1)


def test_source_with_any_file_name_is_read(tmp_path):
    """Spaces, newlines and long names are files like others."""
    read_with_names(tmp_path, b"a b.png", b"a\nb.png", b"x" * 240, "é.png".encode())


@pytest.mark.usefixtures("names_of_any_bytes")
def test_source_with_a_name_that_is_not_utf8_is_read(tmp_path):
    read_with_names(tmp_path, b"\xff\xfe.png")


def test_source_pil_image_gives_what_its_file_gives():
    """An opened PIL image is read like its file, also turned and deep ones."""
    for sample in READABLE:
        if sample.content.startswith(b"\xff\xd8"):
            continue  # decoded at a fraction
        with Image.open(io.BytesIO(sample.content)) as opened:
            image = read_image(opened, image_size=(9, 7))
        assert np.array_equal(image, read_image(sample.content, image_size=(9, 7)))


def test_source_pil_image_is_left_as_it_is():
    """A PIL image keeps size, mode and info, and gives the same twice."""
    for name in ["turned6.jpg", "L4-key.png", "P-entries.png", "I16.tif"]:
        opened = Image.open(io.BytesIO(by_name(name).content))
        opened.load()
        before = opened.size, opened.mode, dict(opened.info), opened.tobytes()
        first = read_image(opened, image_size=(9, 7))
        assert (opened.size, opened.mode, opened.info, opened.tobytes()) == before
        assert np.array_equal(read_image(opened, image_size=(9, 7)), first)


COPIES = {
    "loaded": lambda image: image.load() and image,
    "copied": lambda image: image.copy(),
    "pickled": lambda image: pickle.loads(pickle.dumps(image)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "name", ["L2-key.png", "L4-key.png", "L-key.png", "1-key0.png", "RGB-key.png"]
)
def test_source_pil_image_that_was_decoded_is_transparent_as_its_file(name, copy):
    """Pillow scales gray of 2 and 4 bits to 8, but not the transparent one."""
    content = by_name(name).content
    options = {"image_size": FULL_SIZE, "color_mode": "rgba"}
    expected = read_image(content, **options)
    assert expected[:, :, 3].min() == 0
    image = read_image(copy(Image.open(io.BytesIO(content))), **options)
    assert np.array_equal(image, expected)


def test_source_pil_image_of_another_transparent_gray_stays_opaque():
    """Gray 3 isn't gray 51 in a GIF image, nor where other grays are of 8 bits."""
    values = np.full((8, 8), 51, dtype=np.uint8)
    gif = Image.open(io.BytesIO(encode(Image.fromarray(values), "GIF", transparency=3)))
    values[0, 0] = 52
    image = Image.fromarray(values)
    image.info["transparency"] = 3
    opened = Image.open(io.BytesIO(encode(image, "PNG")))
    opened.load()
    for source in [gif, gif.copy(), image, opened, opened.copy()]:
        alpha = read_image(source, image_size=(8, 8), color_mode="rgba")[:, :, 3]
        assert alpha.min() == 1


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_source_pil_image_of_a_deep_transparent_colour_is_refused(copy):
    """Pillow keeps 8 of 16 bits of the pixels, and all of the transparent colour."""
    opened = Image.open(io.BytesIO(by_name("RGB16-key.png").content))
    assert "give the path" in refuse(copy(opened)).reason


def test_repair_close_if_failed_closes_a_pil_image():
    """A broken PIL image fails at every try (Pillow gives blank pixels at the 2nd)."""
    content = encode(make_scene(), "BMP")
    opened = Image.open(io.BytesIO(content[:-100]))
    assert "cut short" in refuse(opened).reason
    refuse(opened)
    with pytest.raises(ValueError, match="closed"):
        opened.load()


def test_source_pil_image_made_in_memory_is_read():
    """Images without a file work in every mode that has a natural white."""
    scene = Image.fromarray(make_scene())
    for mode in [
        "1",
        "L",
        "P",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "LA",
        "PA",
    ]:
        gray = read_image(scene.convert(mode), image_size=FULL_SIZE)[:, :, 0]
        tolerance = 0.2 if mode == "1" else 0.03
        assert gray.mean() == pytest.approx(luma(make_scene()).mean(), abs=tolerance)
    premultiplied = Image.fromarray(np.dstack([make_scene(), make_alpha()]))
    seen = by_name("RGBA.png").gray
    for mode in ["RGBa", "La"]:
        source = premultiplied.convert(mode if mode == "RGBa" else "LA").convert(mode)
        gray = read_image(source, image_size=FULL_SIZE)[:, :, 0]
        assert np.abs(gray - seen).mean() < 0.01
    for mode in ["I", "F"]:
        assert f"mode {mode}" in refuse(scene.convert("L").convert(mode)).reason


def test_source_arrays_are_decoded_pixels():
    """uint8 and float arrays of 2 or 3 dimensions give the same image."""
    scene = make_scene()
    expected = read_image(scene, image_size=FULL_SIZE, color_mode="rgb")
    for dtype in [np.float16, np.float32, np.float64]:
        image = read_image(
            (scene / 255).astype(dtype), image_size=FULL_SIZE, color_mode="rgb"
        )
        assert np.abs(image - expected).max() < 1e-3
    gray = scene[:, :, 0]
    options = {"image_size": (9, 7)}
    flat = read_image(gray, **options)
    assert np.array_equal(flat, read_image(gray[:, :, np.newaxis], **options))
    assert np.abs(flat - read_image(gray / 255, **options)).max() < 0.003
    # Views that aren't contiguous.
    turned = read_image(gray.T, image_size=(WIDTH, HEIGHT))
    assert np.array_equal(turned[:, :, 0].T, gray.astype(np.float32) / 255)


def test_source_float_array_is_converted_as_files_are():
    """Floats take the same ways through the colours as 8-bit images."""
    rgba = np.dstack([make_scene(), make_alpha()])
    for color_mode in ["grayscale", "rgb", "rgba"]:
        for channels in [1, 3, 4]:
            array = rgba[:, :, :channels] if channels > 1 else rgba[:, :, 0]
            options = {"image_size": (20, 28), "color_mode": color_mode}
            options["background"] = "navy"
            eight_bits = read_image(array, **options)
            floats = read_image(array / 255, **options)
            assert np.abs(eight_bits - floats).max() < 0.02


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4), dtype=np.uint16), "uint16"),
        (np.zeros((4, 4), dtype=bool), "bool"),
        (np.zeros((4, 4), dtype=int), "int64"),
        (np.full((4, 4), 2.0), "[0, 1]"),
        (np.full((4, 4), -0.1), "[0, 1]"),
        (np.full((4, 4), np.nan), "[0, 1]"),
        (np.full((4, 4), np.inf), "[0, 1]"),
        (np.zeros((4, 4, 2)), "channels"),
        (np.zeros(4), "shape (4,)"),
        (np.zeros((0, 4)), "no pixels"),
        (np.zeros((1, 2, 3, 4)), "shape (1, 2, 3, 4)"),
        (np.array(["a.png"]), "shape (1,)"),
    ],
)
def test_source_arrays_without_a_known_scale_are_refused(array, reason):
    """Arrays whose white isn't known are errors, never clipped."""
    error = refuse(array)
    assert reason in error.reason
    assert "array of shape" in error.path


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "missing value"),
        (float("nan"), "missing value"),
        (3, "it is a int"),
        (["a.png"], "it is a list"),
        (b"", "empty"),
        ("", "path is empty"),
        ("a\0b.png", "NUL"),
        ("nope://cat.jpg", "Protocol not known"),
        ("zip://a.png::train.zip", "no such file"),
        ("missing.png", "no such file"),
        ("x" * 300 + ".png", "name is longer"),
        (os.devnull, "device"),
        ("/dev/zero", "device"),
        ("\ud800.png", "can't be encoded"),
    ],
)
def test_source_that_is_no_image_is_refused_in_words(source, reason):
    """What isn't an image file is named, with the reason."""
    assert reason in refuse(source).reason


def test_source_special_files_are_refused_without_opening(tmp_path):
    """FIFOs (which hang a reader), directories, sockets and link loops are named."""
    fifo = tmp_path / "fifo.png"
    os.mkfifo(fifo)
    assert "FIFO" in refuse(fifo).reason
    assert "directory" in refuse(tmp_path).reason
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    assert "circle" in refuse(loop).reason
    assert "no such file" in refuse(tmp_path / "a" / "b.png").reason
    (tmp_path / "file").write_bytes(b"x")
    assert "part of its path" in refuse(tmp_path / "file" / "b.png").reason
    address = str(tmp_path / "socket.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        assert "socket" in refuse(address).reason


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() == 0, reason="root may read everything"
)
def test_source_without_permission_is_named(tmp_path):
    """A file that may not be read is an error that says so."""
    path = tmp_path / "secret.png"
    path.write_bytes(encode(make_scene(), "PNG"))
    path.chmod(0)
    assert "permission" in refuse(path).reason


class RaisingPath:
    """A path that raises on use."""

    def __init__(self, error):
        self.error = error

    def __fspath__(self):
        raise self.error


def test_error_is_raised_from_its_cause():
    """The original exception is the cause, whatever it was."""
    assert isinstance(refuse("missing.png").__cause__, FileNotFoundError)
    half = by_name("half.jpg").content
    assert isinstance(refuse(half).__cause__, OSError)
    assert isinstance(refuse(b"no image").__cause__, UnidentifiedImageError)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_error_never_hides_an_interrupt(interrupt):
    """Ctrl-C stays Ctrl-C."""
    with pytest.raises(interrupt):
        read_image(RaisingPath(interrupt()), image_size=(4, 4))


def test_error_survives_pickling():
    """The error arrives whole in another process."""
    error = refuse("missing.png")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ImageLoadError
    assert again.errors == error.errors == [(None, "missing.png", again.reason)]
    assert str(again) == str(error) == "'missing.png': there is no such file"


def test_names_that_look_like_urls_are_read_when_the_file_exists(tmp_path):
    """Only what isn't on disk is taken for a URL."""
    path = tmp_path / "a::b.png"
    Image.new("L", (4, 4), 9).save(path)
    assert read_image(str(path), image_size=(1, 1), dtype="uint8").item() == 9
    with pytest.raises(ImageLoadError, match="Protocol not known"):
        read_image("nope://bucket/a.png", image_size=(1, 1))
