"""read_image: the corpus of files, and each of its parameters."""

import struct

import numpy as np
import pytest
from image_corpus import CORPUS, FULL_SIZE, by_name, refuse
from PIL import Image, ImageFile
from sample_images import (
    HEIGHT,
    WIDTH,
    encode,
    luma,
    make_alpha,
    make_icon,
    make_scene,
    make_tiff,
)

from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import read_image


def quadrant_means(image):
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    return [
        image[top : top + rows, left : left + columns].mean()
        for top in (0, rows)
        for left in (0, columns)
    ]


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


@pytest.mark.parametrize(
    "start",
    [
        b"II*\0".ljust(128, b"\0") + b"DICM",
        b"MM\0*\0\0\0\x08".ljust(128, b"\0") + b"DICM",
        b"II*\0\xff\xff\xff\x0f".ljust(128, b"\0") + b"DICM",
        b"\2\0\0\0UL\4\0\xc0\0\0\0",
        b"\x08\0\5\0CS\x0a\0ISO_IR 100",
        b"\x08\0\5\0\x0a\0\0\0ISO_IR 100",
        b"\x08\0\x16\0\x1a\0\0\0001.2.840.10008.5.1.4.1.1.7\0",
        b"\x08\0\0\0\4\0\0\0\xe8\0\0\0",
        b"\0\x08\0\5CS\0\x0aISO_IR 100",
    ],
)
def test_dicom_is_refused_by_name_whatever_its_start(start):
    """PS3.10, section 7.1, and PS3.5, section 7.1: a preamble of TIFF, or none."""
    assert "it is a DICOM file" in refuse(start + bytes(400)).reason


def test_tiff_that_is_dicom_as_well_is_read():
    """PS3.10, section 7.1: the preamble lets other programs read the pixels."""
    levels = make_scene()[:, :, 0].copy()
    place = make_tiff(levels.tobytes(), bits=[8], photometric=1).index(levels.tobytes())
    levels.ravel()[128 - place : 132 - place] = list(b"DICM")
    content = make_tiff(levels.tobytes(), bits=[8], photometric=1)
    assert content[128:132] == b"DICM"
    pixels = read_image(content, image_size=FULL_SIZE, dtype="uint8")
    assert np.array_equal(pixels[:, :, 0], levels)


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
