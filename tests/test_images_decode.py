"""read_image: pixels, colours, sizes, sources and errors."""

import io
import os
import pickle
import socket
import struct
import threading
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from sample_images import (
    HEIGHT,
    WIDTH,
    encode,
    luma,
    make_alpha,
    make_corpus,
    make_exif,
    make_icon,
    make_lossless_jpeg,
    make_png,
    make_scene,
    make_tiff,
    store,
)
from sklearn.datasets import load_sample_image
from sklearn.utils.parallel import Parallel, delayed

from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.images import read_image
from skimgclf.images._decoding.pillow_repairs import (
    count_stored_pixels,
    isolated,
    read_tags,
    read_transparent_colour,
)
from skimgclf.images._decoding.reasons import UnreadableImage

FULL_SIZE = (HEIGHT, WIDTH)
CORPUS = make_corpus()
READABLE = [sample for sample in CORPUS if sample.gray is not None]


def by_name(name):
    return next(sample for sample in CORPUS if sample.name == name)


def refuse(source, **options):
    """Read what must be refused, and return the error."""
    options = {"image_size": (8, 8), **options}
    with pytest.raises(ImageLoadError) as caught:
        read_image(source, **options)
    return caught.value


def quadrant_means(image):
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    return [
        image[top : top + rows, left : left + columns].mean()
        for top in (0, rows)
        for left in (0, columns)
    ]


# What is read


def test_corpus_has_at_least_eighty_files():
    """The corpus is as broad as promised, and its names are unique."""
    assert len({sample.name for sample in CORPUS}) == len(CORPUS) >= 80


@pytest.mark.parametrize("sample", CORPUS, ids=lambda sample: sample.name)
def test_read_image_reads_rightly_or_refuses_by_name(sample, tmp_path):
    """Each file of the corpus has its known gray values, or a reason to be refused."""
    path = tmp_path / sample.name
    path.write_bytes(sample.content)
    if sample.gray is None:
        error = refuse(path)
        assert error.path == str(path)
        assert sample.reason in error.reason
        return
    image = read_image(path, image_size=FULL_SIZE)
    assert image.shape == (HEIGHT, WIDTH, 1)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    gray = image[:, :, 0]
    assert np.abs(gray - sample.gray).mean() < sample.tolerance
    assert gray.mean() == pytest.approx(sample.gray.mean(), abs=sample.tolerance)
    expected = quadrant_means(sample.gray)
    assert quadrant_means(gray) == pytest.approx(expected, abs=sample.tolerance)


@pytest.mark.parametrize("max_image_pixels", [None, 100])
def test_repair_isolated_ignores_settings_of_the_process(monkeypatch, max_image_pixels):
    """Somebody's LOAD_TRUNCATED_IMAGES and MAX_IMAGE_PIXELS change no result."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", max_image_pixels)
    for sample in CORPUS:
        if sample.gray is None:
            refuse(sample.content)
            continue
        gray = read_image(sample.content, image_size=FULL_SIZE)[:, :, 0]
        assert np.abs(gray - sample.gray).mean() < sample.tolerance, sample.name
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert Image.MAX_IMAGE_PIXELS == max_image_pixels


def test_read_image_of_eight_bits_is_uint8_over_255():
    """With 8-bit sources float32 is exactly uint8 / 255, resized too."""
    for name in ["RGB.png", "RGB-90.jpg", "P-entries.png", "RGBA.webp", "CMYK.jpg"]:
        for color_mode in ["grayscale", "rgb", "rgba"]:
            options = {"image_size": (9, 13), "color_mode": color_mode}
            content = by_name(name).content
            floats = read_image(content, **options)
            integers = read_image(content, dtype="uint8", **options)
            assert integers.dtype == np.uint8
            assert np.array_equal(floats, integers.astype(np.float32) / 255)


def test_read_image_of_sixteen_bits_keeps_their_precision():
    """Deep images are resized at float: levels far below 1/255 survive."""
    deep = np.full((64, 64), 100, dtype=np.uint16)
    deep[:, 32:] = 120
    image = read_image(encode(deep, "PNG"), image_size=(8, 8))
    assert image[4, 1, 0] == pytest.approx(100 / 65535, rel=1e-5)
    assert image[4, 6, 0] == pytest.approx(120 / 65535, rel=1e-5)


def test_read_image_of_sixteen_bits_rounds_to_uint8():
    """Deep images become uint8 by rounding what float32 gives."""
    content = by_name("I16.png").content
    floats = read_image(content, image_size=(9, 13))
    integers = read_image(content, image_size=(9, 13), dtype="uint8")
    assert np.array_equal(integers, np.rint(floats * 255).astype(np.uint8))


def test_read_image_of_sixteen_bits_stays_in_range():
    """What bicubic overshoots at the edges of a deep image is clipped."""
    deep = np.zeros((40, 40), dtype=np.uint16)
    deep[10:30, 10:30] = 65535
    image = read_image(
        encode(deep, "PNG"), image_size=(33, 33), interpolation="lanczos"
    )
    assert image.min() == 0
    assert image.max() == 1


def test_read_image_transparent_gray_keeps_colour_modes_alike():
    """A deep gray with one transparent level is composited in each colour mode."""
    content = by_name("I16-key.png").content
    clear = by_name("I16-key.png").gray == 1
    rgba = read_image(content, image_size=FULL_SIZE, color_mode="rgba")
    assert np.array_equal(rgba[:, :, 3] == 0, clear)
    options = {"color_mode": "rgb", "background": (255, 0, 0)}
    rgb = read_image(content, image_size=FULL_SIZE, **options)
    assert np.allclose(rgb[clear], [1, 0, 0])


def test_read_image_resizes_without_dark_fringes():
    """Hidden black under transparency never bleeds into what is seen."""
    rgba = np.zeros((64, 64, 4), dtype=np.uint8)
    rgba[16:48, 16:48] = 255
    for source in [rgba, rgba / 255]:
        image = read_image(source, image_size=(12, 12), color_mode="rgba")
        assert image[image[:, :, 3] > 0.05][:, :3].min() > 0.98
        white = read_image(source, image_size=(12, 12), color_mode="rgb")
        assert white.min() == 1


def test_read_image_uint8_overflows_nowhere():
    """White stays white and black black, whatever the filter."""
    for level in [0, 255]:
        flat = np.full((50, 70, 3), level, dtype=np.uint8)
        for interpolation in ["bilinear", "bicubic", "lanczos", "box", "hamming"]:
            image = read_image(
                flat, image_size=(11, 9), interpolation=interpolation, dtype="uint8"
            )
            assert (image == level).all()


# Parameters


def test_image_size_is_height_then_width():
    """image_size=(h, w) gives h rows and w columns."""
    assert read_image(make_scene(), image_size=(5, 9)).shape == (5, 9, 1)


def test_color_mode_decides_on_channels():
    """Grayscale, rgb and rgba give 1, 3 and 4 channels of the right values."""
    scene = make_scene()
    content = encode(scene, "PNG")
    gray = read_image(content, image_size=FULL_SIZE)
    assert np.abs(gray[:, :, 0] - luma(scene)).max() < 0.003
    rgb = read_image(content, image_size=FULL_SIZE, color_mode="rgb")
    assert np.array_equal(rgb, scene.astype(np.float32) / 255)
    rgba = read_image(content, image_size=FULL_SIZE, color_mode="rgba")
    assert np.array_equal(rgba[:, :, :3], rgb)
    assert (rgba[:, :, 3] == 1).all()


def test_color_mode_rgba_keeps_transparency():
    """The alpha of a file arrives as it is."""
    rgba = np.dstack([make_scene(), make_alpha()])
    image = read_image(
        encode(rgba, "PNG"), image_size=FULL_SIZE, color_mode="rgba", dtype="uint8"
    )
    assert np.array_equal(image, rgba)


def test_resize_mode_stretch_uses_the_whole_image():
    """Stretching changes the aspect ratio: both halves stay halves."""
    wide = np.zeros((10, 40), dtype=np.uint8)
    wide[:, 20:] = 255
    image = read_image(wide, image_size=(10, 10), interpolation="box")[:, :, 0]
    assert np.array_equal(image[0] > 0.5, np.arange(10) >= 5)


def test_resize_mode_crop_takes_the_centre():
    """Cropping keeps the middle of the longer side."""
    wide = np.zeros((10, 40), dtype=np.uint8)
    wide[:, 15:25] = 255
    image = read_image(wide, image_size=(10, 10), resize_mode="crop")
    assert (image == 1).all()
    tall = read_image(wide.T, image_size=(10, 10), resize_mode="crop")
    assert (tall == 1).all()


def test_resize_mode_pad_centres_on_background():
    """Padding keeps the aspect ratio and fills with the background."""
    wide = np.zeros((10, 40), dtype=np.uint8)
    for source in [wide, wide / 255.0]:
        image = read_image(source, image_size=(20, 20), resize_mode="pad")[:, :, 0]
        rows = image.mean(axis=1)
        expected = np.ones(20)
        expected[7:12] = 0
        assert np.array_equal(rows, expected)


def test_interpolation_names_are_pillow_filters():
    """Each name gives what Pillow's filter of that name gives."""
    levels = make_scene()[:, :, 0]
    results = []
    for name in ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]:
        pillow_filter = Image.Resampling[name.upper()]
        expected = np.asarray(Image.fromarray(levels).resize((17, 11), pillow_filter))
        image = read_image(
            levels, image_size=(11, 17), interpolation=name, dtype="uint8"
        )
        assert np.array_equal(image[:, :, 0], expected)
        results.append(image.tobytes())
    assert len(set(results)) == 6


def test_background_shows_through_and_around():
    """The background is what transparent pixels and padding become."""
    clear = np.zeros((4, 8, 4), dtype=np.uint8)
    for background, rgb in [("#ff8000", (255, 128, 0)), ((1, 2, 3), (1, 2, 3))]:
        options = {"background": background, "resize_mode": "pad", "dtype": "uint8"}
        image = read_image(clear, image_size=(8, 8), color_mode="rgb", **options)
        assert (image == rgb).all()
        gray = read_image(clear, image_size=(8, 8), **options)
        assert (gray == round(luma(rgb) * 255)).all()


def test_dtype_decides_on_scale():
    """float32 lies in [0, 1], uint8 in [0, 255]."""
    white = np.full((3, 3), 255, dtype=np.uint8)
    assert read_image(white, image_size=(2, 2)).max() == 1
    image = read_image(white, image_size=(2, 2), dtype="uint8")
    assert image.dtype == np.uint8
    assert image.max() == 255


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "PPM", "PIL", "array"])
def test_max_pixels_is_the_largest_size_read(kind):
    """An image of exactly max_pixels is read, one pixel less allowed is an error."""
    image = Image.new("L", (20, 10))
    sources = {"PIL": image, "array": np.zeros((10, 20), dtype=np.uint8)}
    source = sources[kind] if kind in sources else encode(image, kind)
    read_image(source, image_size=(2, 2), max_pixels=200)
    error = refuse(source, max_pixels=199)
    assert "200 pixels" in error.reason
    assert "max_pixels=199" in error.reason


def test_repair_unwrap_icon_finds_more_pixels_than_max_pixels():
    """An icon's directory may claim a small size: what it holds is measured."""
    bomb = encode(Image.new("L", (300, 200)), "PNG")
    icon = make_icon(bomb, width=16, height=16)
    assert "60000 pixels" in refuse(icon, max_pixels=59_999).reason
    assert read_image(icon, image_size=(4, 4)).max() == 0
    bitmap = struct.pack("<IiiHHI", 40, 9000, 2 * 9000, 1, 32, 0)
    icon = make_icon(bitmap, width=16, height=16)
    assert "81000000 pixels" in refuse(icon, max_pixels=10**6).reason


def test_max_pixels_is_checked_before_decoding():
    """A header that claims a huge image is refused by its size alone."""
    error = refuse(b"P5 100000 100000 255\n")
    assert "than max_pixels=89478485 allows" in error.reason


def test_max_pixels_may_exceed_pillow_limit(monkeypatch):
    """Above Pillow's own limit only max_pixels decides, and no warning appears."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    content = encode(Image.new("L", (100, 100), 255), "PNG")
    assert read_image(content, image_size=(2, 2)).min() == 1
    assert read_image(content, image_size=(2, 2), max_pixels=10_000).min() == 1
    for max_pixels in [1500, 2000, 2001, 9_999]:
        assert "max_pixels" in refuse(content, max_pixels=max_pixels).reason


BAD_VALUES = [
    ("image_size", (0, 8)),
    ("image_size", 28),
    ("image_size", (28,)),
    ("image_size", (28.0, 28)),
    ("color_mode", "gray"),
    ("color_mode", None),
    ("resize_mode", "squash"),
    ("interpolation", "cubic"),
    ("background", "no colour"),
    ("background", (0, 0, 256)),
    ("background", (0, 0)),
    ("background", (0.0, 0.0, 0.0)),
    ("background", "#ff000080"),
    ("background", 255),
    ("dtype", "float64"),
    ("dtype", np.float32),
    ("max_pixels", 0),
    ("max_pixels", None),
    ("max_pixels", 1e6),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_read_image_refuses_bad_parameters(name, value):
    """Each bad value is the one form of a parameter error."""
    options = {"image_size": (8, 8), name: value}
    start = f"The '{name}' parameter of read_image must be"
    with pytest.raises(InvalidParameterError, match=start) as caught:
        read_image(make_scene(), **options)
    assert str(caught.value).endswith(f"Got {value!r} instead.")


# JPEG at a fraction of its size


@pytest.fixture(scope="module")
def photographs():
    china, flower = map(load_sample_image, ["china.jpg", "flower.jpg"])
    # Sizes that no fraction divides.
    return [china[:421, :629], flower[:337, :449]]


def resize_whole(content, image_size, resize_mode, interpolation):
    """Decode a JPEG whole and resize it with Pillow's own functions."""
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    size, resample = image_size[::-1], Image.Resampling[interpolation.upper()]
    if resize_mode == "stretch":
        whole = whole.resize(size, resample)
    elif resize_mode == "crop":
        whole = ImageOps.fit(whole, size, resample)
    else:
        inner = ImageOps.contain(whole, size, resample)
        whole = Image.new("RGB", size, "white")
        left, top = (size[0] - inner.width) // 2, (size[1] - inner.height) // 2
        whole.paste(inner, (left, top))
    return np.asarray(whole) / 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_draft_stays_close_to_the_full_decoding(photographs, orientation):
    """Drafted JPEGs differ by less than 0.01 from full antialiased decoding."""
    for photograph in photographs:
        stored = store(photograph, orientation)
        content = encode(stored, "JPEG", quality=92, exif=make_exif(orientation))
        for image_size in [(28, 28), (12, 50), (64, 20)]:
            for resize_mode in ["stretch", "crop", "pad"]:
                for interpolation in ["bilinear", "lanczos", "box", "hamming"]:
                    options = (image_size, resize_mode, interpolation)
                    drafted = read_image(
                        content,
                        image_size=image_size,
                        color_mode="rgb",
                        resize_mode=resize_mode,
                        interpolation=interpolation,
                    )
                    difference = np.abs(drafted - resize_whole(content, *options))
                    assert difference.mean() < 0.01, options


@pytest.mark.parametrize("resize_mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(60, 600), (600, 60), (100, 640), (427, 80)])
def test_draft_holds_for_extreme_aspect_ratios(photographs, resize_mode, shape):
    """Long strips are never decoded smaller than the resize needs."""
    strip = cv2.resize(photographs[0], shape[::-1], interpolation=cv2.INTER_AREA)
    content = encode(strip, "JPEG", quality=92)
    for image_size in [(28, 28), (8, 40), (40, 8)]:
        image = read_image(
            content, image_size=image_size, color_mode="rgb", resize_mode=resize_mode
        )
        whole = resize_whole(content, image_size, resize_mode, "bilinear")
        assert np.abs(image - whole).mean() < 0.01


def test_draft_takes_gray_as_the_file_holds_it(photographs):
    """The luma of a JPEG isn't converted to colours and back."""
    for photograph in photographs:
        content = encode(photograph, "JPEG", quality=92)
        stored = Image.open(io.BytesIO(content))
        stored.draft("YCbCr", None)
        luma = np.asarray(stored)[:, :, 0]
        whole = read_image(content, image_size=luma.shape, dtype="uint8")
        assert np.array_equal(whole[:, :, 0], luma)
        converted = np.asarray(Image.open(io.BytesIO(content)).convert("L")) / 255
        assert np.abs(luma / 255 - converted).mean() < 0.001


def test_draft_reads_gray_of_a_jpeg_that_holds_rgb(photographs):
    """A JPEG may hold red, green and blue, of which gray is made while decoding."""
    content = encode(photographs[0], "JPEG", quality=92, keep_rgb=True)
    for image_size in [(28, 28), photographs[0].shape[:2]]:
        gray = read_image(content, image_size=image_size)[:, :, 0]
        whole = Image.open(io.BytesIO(content)).convert("L")
        whole = whole.resize(image_size[::-1], Image.Resampling.BILINEAR)
        assert np.abs(gray - np.asarray(whole) / 255).mean() < 0.01


def test_draft_is_off_with_nearest(photographs):
    """With "nearest", pixels are picked from the whole image."""
    content = encode(photographs[0], "JPEG")
    image = read_image(
        content, image_size=(20, 20), color_mode="rgb", interpolation="nearest"
    )
    whole = resize_whole(content, (20, 20), "stretch", "nearest")
    assert np.array_equal(image, whole.astype(np.float32))


def test_draft_reads_phone_photographs(photographs):
    """MPO, what phones write as .jpg, is drafted as JPEG is."""
    image = Image.fromarray(photographs[0])
    content = encode(image, "MPO", save_all=True, append_images=[image])
    drafted = read_image(content, image_size=(28, 28), color_mode="rgb")
    whole = resize_whole(content, (28, 28), "stretch", "bilinear")
    assert np.abs(drafted - whole).mean() < 0.01


def test_draft_failure_falls_back_to_the_full_decoding():
    """Lossless JPEG, which can't be decoded at a fraction, is decoded whole."""
    image = read_image(make_lossless_jpeg(512, 512), image_size=(28, 28))
    assert np.allclose(image, 128 / 255)


# An independent decoder


# Where OpenCV does something else: no EXIF outside of JPEG, alpha and transparent
# colours dropped, the maximum of a PGM ignored, no ICO.
_NOT_COMPARED = (
    "of-",
    "turned",
    "-key",
    "RGBA",
    "LA",
    "La",
    "P-entries",
    "RGBa",
    ".ico",
)


def test_read_image_agrees_with_opencv():
    """OpenCV reads the same pixels from opaque files, within 0.02 on average."""
    compared = set()
    for sample in READABLE:
        other = cv2.imdecode(np.frombuffer(sample.content, np.uint8), cv2.IMREAD_COLOR)
        is_jpeg = sample.content.startswith(b"\xff\xd8")
        skipped = any(part in sample.name for part in _NOT_COMPARED) and not is_jpeg
        if other is None or skipped:
            continue
        rgb = read_image(sample.content, image_size=FULL_SIZE, color_mode="rgb")
        assert other.shape == rgb.shape, sample.name
        assert np.abs(rgb - other[:, :, ::-1] / 255).mean() < 0.02, sample.name
        compared.add(sample.name)
    assert len(compared) >= 50


def test_read_image_resizes_as_opencv_does(photographs):
    """Area averaging in OpenCV and the box filter agree within 0.02 on average."""
    for photograph in photographs:
        content = encode(photograph, "JPEG", quality=95)
        other = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        other = cv2.resize(other, (28, 28), interpolation=cv2.INTER_AREA)
        rgb = read_image(
            content, image_size=(28, 28), color_mode="rgb", interpolation="box"
        )
        assert np.abs(rgb - other[:, :, ::-1] / 255).mean() < 0.02


# Sources


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


def test_source_with_any_file_name_is_read(tmp_path):
    """Spaces, newlines, long and non-UTF-8 names are files like others."""
    content = encode(make_scene(), "PNG")
    for name in [
        b"a b.png",
        b"a\nb.png",
        b"\xff\xfe.png",
        b"x" * 240,
        "é.png".encode(),
    ]:
        path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
        Path(path).write_bytes(content)
        assert read_image(path, image_size=(4, 4)).shape == (4, 4, 1)


def test_source_pil_image_gives_what_its_file_gives():
    """An opened PIL image is read like its file, also turned and deep ones."""
    for sample in READABLE:
        if sample.content.startswith(b"\xff\xd8") or sample.name.endswith(".ico"):
            continue  # decoded at a fraction; bitmaps that Pillow alone looks into
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


def test_repair_close_if_failed_closes_a_pil_image():
    """A broken PIL image fails at every try (Pillow gives blank pixels at the 2nd)."""
    content = encode(make_scene(), "PNG")
    opened = Image.open(io.BytesIO(content[: len(content) // 2]))
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_source_without_permission_is_named(tmp_path):
    """A file that may not be read is an error that says so."""
    path = tmp_path / "secret.png"
    path.write_bytes(encode(make_scene(), "PNG"))
    path.chmod(0)
    assert "permission" in refuse(path).reason


# Errors and warnings


class RaisingPath:
    """A path that raises on use."""

    def __init__(self, error):
        self.error = error

    def __fspath__(self):
        raise self.error


def test_error_is_raised_from_its_cause():
    """The original exception is the cause, whatever it was."""
    assert isinstance(refuse("missing.png").__cause__, FileNotFoundError)
    half = by_name("half.png").content
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


def test_repair_warning_filter_hides_remarks_on_metadata(tmp_path):
    """Remarks on metadata are no warnings, and no errors under -W error."""
    levels = make_scene()[:, :, 0].tobytes()
    # A description that claims a million characters: Pillow skips it and warns.
    entry = struct.pack("<HHI", 270, 3, 1)
    content = make_tiff(levels, bits=[8], photometric=1, tags=[(270, 3, [0])])
    remarkable = content.replace(entry, struct.pack("<HHI", 270, 3, 10**6))
    with pytest.warns(UserWarning, match="Skipping tag 270"):
        Image.open(io.BytesIO(remarkable))
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(remarkable, image_size=FULL_SIZE, dtype="uint8")
    assert caught == []
    assert image.tobytes() == levels
    read_image(remarkable, image_size=FULL_SIZE)  # the tests' own filter: error
    assert warnings.filters == before


@pytest.mark.filterwarnings("error")
def test_decoding_hides_no_warnings_of_other_threads():
    """While one thread decodes, another's warnings are shown."""
    stop = threading.Event()
    content = encode(make_scene(), "PNG")

    def decode():
        while not stop.is_set():
            read_image(content, image_size=(8, 8))

    thread = threading.Thread(target=decode)
    thread.start()
    try:
        for number in range(200):
            with pytest.raises(UserWarning, match=f"mine {number}"):
                warnings.warn(f"mine {number}", stacklevel=1)
    finally:
        stop.set()
        thread.join()


def run_in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_warning_filter_may_travel_to_workers():
    """The filter set during a decode can be copied, as scikit-learn's Parallel does."""
    tasks = [delayed(warnings.warn)("seen in the worker")]
    with isolated(1):
        with pytest.warns(UserWarning, match="seen in the worker"):
            run_in_thread(lambda: Parallel(n_jobs=1)(tasks))
        assert pickle.loads(pickle.dumps(warnings.filters))


def test_pillow_globals_are_safe_in_threads(monkeypatch):
    """With LOAD_TRUNCATED_IMAGES set, threads find every truncation, and it is kept."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    half, whole = by_name("half.jpg").content, by_name("RGB-90.jpg").content
    expected = read_image(whole, image_size=(8, 8))
    wrong = []

    def decode():
        for _ in range(60):
            if not np.array_equal(read_image(whole, image_size=(8, 8)), expected):
                wrong.append("another image")
            try:
                read_image(half, image_size=(8, 8))
            except ImageLoadError:
                continue
            wrong.append("silent")

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_pillow_globals_are_put_back_in_a_fork(monkeypatch):
    """A child forked during a decode has the globals as the user set them."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with isolated(1):
        child = os.fork()
        if child == 0:
            half = by_name("half.jpg").content
            kept = ImageFile.LOAD_TRUNCATED_IMAGES is True
            try:
                read_image(half, image_size=(8, 8))
            except ImageLoadError:
                os._exit(0 if kept else 2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def signed_tiff_that_lost_its_sign():
    """Return a TIFF whose entry on signed samples is unreadable: Pillow skips it."""
    levels = np.full((HEIGHT, WIDTH), 30000, dtype="<i2")
    content = make_tiff(
        levels.tobytes(), bits=[16], photometric=1, tags=[(339, 3, [2])]
    )
    entry = struct.pack("<HHI", 339, 3, 1)
    assert content.count(entry) == 1
    return content.replace(entry, struct.pack("<HHI", 339, 99, 1))


def test_repair_check_directory_finds_lost_tags_whatever_was_warned_of_before():
    """Pillow's warning of a lost tag is given once in a process: it can't be asked."""
    content = signed_tiff_that_lost_its_sign()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for _ in range(2):
            with Image.open(io.BytesIO(content)) as image:
                image.load()
            with pytest.raises(ImageLoadError, match="TIFF directory"):
                read_image(content, image_size=(8, 8))


def test_repair_find_stream_lets_pil_images_be_checked():
    """An opened file gets the same check as its path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(signed_tiff_that_lost_its_sign()))
    with pytest.raises(ImageLoadError, match="TIFF directory"):
        read_image(image, image_size=(8, 8))


def test_tiff_directory_is_checked_while_others_swap_warning_filters():
    """Another thread's catch_warnings replaces the filters under our feet."""
    content, stop = signed_tiff_that_lost_its_sign(), threading.Event()

    def swap():
        while not stop.is_set():
            with warnings.catch_warnings():
                pass

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            with pytest.raises(ImageLoadError, match="TIFF directory"):
                read_image(content, image_size=(8, 8))
    finally:
        stop.set()
        thread.join()


def test_repair_count_stored_pixels_finds_rows_that_no_strip_holds():
    """Pillow leaves them black."""
    content = make_tiff(bytes(WIDTH * HEIGHT), bits=[8], photometric=1)
    height = struct.pack("<HHII", 257, 3, 1, HEIGHT)
    assert content.count(height) == 1
    taller = content.replace(height, struct.pack("<HHII", 257, 3, 1, HEIGHT + 5))
    with Image.open(io.BytesIO(taller)) as image:
        image.load()
    with pytest.raises(ImageLoadError, match="its strips hold only a part"):
        read_image(taller, image_size=(8, 8))


@pytest.mark.parametrize(
    ("bits", "value", "colour"), [(2, 2, 170), (4, 9, 153), (8, 9, 9)]
)
def test_repair_read_transparent_colour_scales_it(bits, value, colour):
    """Of a PNG file that is all transparent, nothing is seen."""
    row = bytes([sum(value << shift for shift in range(0, 8, bits))] * bits)
    extra = [(b"tRNS", struct.pack(">H", value))]
    content = make_png([row] * 4, bits, 0, width=8, extra=extra)
    with Image.open(io.BytesIO(content)) as image:
        assert np.asarray(image).ravel().tolist() == [colour] * 32
    assert (read_image(content, image_size=(2, 2)) == 1).all()


def test_repair_refuse_lost_bits_finds_colours_that_only_look_transparent():
    """Of a 16-bit colour Pillow keeps the high bytes, which other colours share."""
    row = struct.pack(">12H", *range(0x0100, 0x010C))
    extra = [(b"tRNS", struct.pack(">3H", 0x0100, 0x0101, 0x0102))]
    content = make_png([row], 16, 2, width=4, extra=extra)
    assert "Pillow reads 8 bits only" in refuse(content).reason


@pytest.mark.parametrize(
    "repair", [read_transparent_colour, count_stored_pixels, read_tags]
)
def test_repair_read_attribute_fails_loudly_where_a_name_is_gone(repair):
    image = Image.new("L", (4, 4))  # has neither `tile` nor `tag_v2`
    image.format, image.info["transparency"] = "PNG", 3
    with pytest.raises(UnreadableImage, match=rf"Pillow {PIL.__version__} has no"):
        repair(image)


def test_tiff_between_pillows_limits_is_read(monkeypatch):
    """Pillow warns of such a size, which is no damage."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60_000)
    content = encode(np.full((300, 300), 7, dtype="uint8"), "TIFF")
    image = read_image(content, image_size=(2, 2), dtype="uint8", max_pixels=100_000)
    assert image.ravel().tolist() == [7] * 4


def test_palette_with_alpha_is_put_on_the_background():
    """A palette may hold alpha itself, without a transparent index."""
    clear_red = Image.new("RGBA", (8, 8), (255, 0, 0, 0)).quantize(4)
    assert clear_red.palette.mode == "RGBA"
    image = read_image(clear_red, image_size=(2, 2), color_mode="rgb", dtype="uint8")
    assert image.ravel().tolist() == [255] * 12


def test_repair_load_stream_decodes_again_after_settings_changed(monkeypatch):
    """Whoever asks for truncated images during a decode gets no say in it."""
    content = encode(make_scene(), "PNG")
    half = content[: len(content) // 2]
    load = ImageFile.ImageFile.load
    calls = []

    def load_as_somebody_interferes(image):
        calls.append(image)
        if len(calls) == 1:
            monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load_as_somebody_interferes)
    with pytest.raises(ImageLoadError, match="cut short"):
        read_image(half, image_size=(8, 8))
    assert calls[-1] is not calls[0]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_names_that_look_like_urls_are_read_when_the_file_exists(tmp_path):
    """Only what isn't on disk is taken for a URL."""
    path = tmp_path / "a::b.png"
    Image.new("L", (4, 4), 9).save(path)
    assert read_image(str(path), image_size=(1, 1), dtype="uint8").item() == 9
    with pytest.raises(ImageLoadError, match="Protocol not known"):
        read_image("nope://bucket/a.png", image_size=(1, 1))


def test_a_forked_child_reads_pil_images_while_a_thread_of_its_parent_did():
    """The lock for PIL images is renewed: no thread of the child holds it."""
    from skimgclf.images._decoding import load

    with load._pil_image_lock:
        child = os.fork()
        if child == 0:
            read_image(Image.new("L", (4, 4), 9), image_size=(1, 1))
            os._exit(0)
        for _ in range(100):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.1)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert done
    assert os.waitstatus_to_exitcode(status) == 0
