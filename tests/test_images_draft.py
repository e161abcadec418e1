"""JPEGs that are decoded at a smaller scale, and OpenCV's reading beside Pillow's."""

import io

import cv2
import numpy as np
import pytest
from image_corpus import FULL_SIZE, READABLE
from PIL import Image, ImageOps
from sample_images import encode, make_exif, make_lossless_jpeg, store
from sklearn.datasets import load_sample_image

from skimgclf.images import read_image


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


@pytest.mark.parametrize(
    ("orientation", "interpolation"),
    [
        pytest.param(
            orientation,
            interpolation,
            # However an image is turned, its pixels are joined by the same filter, and
            # one that swaps the sides of an image stands for the others.
            marks=(
                ()
                if orientation == 1 or (orientation, interpolation) == (6, "bilinear")
                else pytest.mark.slow
            ),
        )
        for orientation in range(1, 9)
        for interpolation in ["bilinear", "lanczos", "box", "hamming"]
    ],
)
def test_draft_stays_close_to_the_full_decoding(
    photographs, orientation, interpolation
):
    """Drafted JPEGs differ by less than 0.01 from full antialiased decoding."""
    for photograph in photographs:
        stored = store(photograph, orientation)
        content = encode(stored, "JPEG", quality=92, exif=make_exif(orientation))
        for image_size in [(28, 28), (12, 50), (64, 20)]:
            for resize_mode in ["stretch", "crop", "pad"]:
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
