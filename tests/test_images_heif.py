"""HEIC images, read with pillow-heif: depth, alpha, orientation and sequences."""

import io
import struct
import sys

import numpy as np
import pillow_heif
import pytest
from image_corpus import FULL_SIZE, refuse
from PIL import Image, UnidentifiedImageError
from sample_images import (
    HEIGHT,
    WIDTH,
    box,
    luma,
    make_alpha,
    make_exif,
    make_scene,
    on_white,
    store,
)

from skimgclf._extras import how_to_install
from skimgclf.images import check_images, read_image
from skimgclf.images._decoding.boxes import list_boxes

# libheif's sample values of lossless 4:4:4 differ by the rounding of YCbCr alone.
LOSSLESS = {"quality": -1, "chroma": 444}


def encode_heic(pixels, mode="RGB", **options):
    """Encode pixels as HEIC; in modes of 16 bits, as 10 or 12 bits."""
    size = pixels.shape[1::-1]
    file = pillow_heif.from_bytes(mode, size, np.ascontiguousarray(pixels).tobytes())
    stream = io.BytesIO()
    file.save(stream, **{**LOSSLESS, **options})
    return stream.getvalue()


def make_deep(pixels):
    """Make 16 bits of 8, from black to white."""
    return pixels.astype(np.uint16) * 257


def test_heic_is_read_like_other_formats(tmp_path):
    scene = make_scene()
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(encode_heic(scene))
    image = read_image(path, image_size=FULL_SIZE, color_mode="rgb", dtype="uint8")
    assert np.abs(image.astype(int) - scene).max() <= 3
    gray = read_image(path, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(gray - luma(scene)).max() < 0.01
    report = check_images([path])
    assert report.loc[0, "ok"]
    assert tuple(report.loc[0, ["width", "height", "format"]]) == (56, 40, "HEIF")


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("color_mode", ["grayscale", "rgb", "rgba"])
def test_heic_of_ten_and_twelve_bits_is_scaled_by_its_depth(bits, color_mode):
    """White is 1 and a step of one in 1023 or 4095 is kept."""
    deep = np.full((64, 64, 3), 65535, dtype=np.uint16)
    deep[:, 32:] = round(65535 * 101 / (2**bits - 1))
    content = encode_heic(deep, "RGB;16", bit_depth=bits)
    assert pillow_heif.open_heif(io.BytesIO(content)).info["bit_depth"] == bits
    image = read_image(content, image_size=(8, 8), color_mode=color_mode)
    colours = image[:, :, :3]
    assert colours[:, :3].min() == pytest.approx(1, abs=1 / 2**bits)
    dark = 101 / (2**bits - 1)
    assert colours[:, 5:] == pytest.approx(dark, abs=1.5 / 2**bits)


@pytest.mark.parametrize("mode", ["RGBA", "RGBA;16"])
def test_heic_keeps_transparency(mode):
    scene, alpha = make_scene(), make_alpha()
    rgba = np.dstack([scene, alpha])
    content = encode_heic(make_deep(rgba) if mode.endswith("16") else rgba, mode)
    gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(gray - on_white(luma(scene), alpha)).mean() < 0.01
    image = read_image(content, image_size=FULL_SIZE, color_mode="rgba")
    assert np.abs(image[:, :, 3] - alpha / 255).max() < 0.01


@pytest.mark.parametrize("mode", ["L", "L;16", "LA", "LA;16"])
def test_heic_of_gray_is_read(mode):
    levels, alpha = make_scene()[:, :, 0], make_alpha()
    pixels = np.dstack([levels, alpha]) if "A" in mode else levels
    content = encode_heic(make_deep(pixels) if mode.endswith("16") else pixels, mode)
    gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    expected = on_white(levels / 255, alpha) if "A" in mode else levels / 255
    assert np.abs(gray - expected).mean() < 0.01


@pytest.mark.parametrize("mode", ["RGB;16", "RGBA;16", "L;16", "LA;16"])
def test_heic_as_a_pil_image_that_is_not_decoded_is_read_as_its_file(mode):
    """pillow-heif's plugin for Pillow keeps 8 bits."""
    deep = make_deep(np.dstack([make_scene(), make_alpha()])) + np.uint16(100)
    channels = {"RGB": [0, 1, 2], "RGBA": [0, 1, 2, 3], "L": [0], "LA": [0, 3]}
    content = encode_heic(deep[:, :, channels[mode[:-3]]].squeeze(), mode, bit_depth=12)
    options = {"image_size": FULL_SIZE, "color_mode": "rgba"}
    expected = read_image(content, **options)
    opened = pillow_heif.HeifImageFile(io.BytesIO(content))
    assert np.array_equal(read_image(opened, **options), expected)
    opened.load()
    assert np.abs(read_image(opened, **options) - expected).max() < 0.02


def test_heic_as_a_pil_image_has_the_image_that_was_chosen():
    scene = make_scene()
    file = pillow_heif.from_pillow(Image.fromarray(scene))
    file.add_from_pillow(Image.fromarray(scene[::-1]))
    stream = io.BytesIO()
    file.save(stream, **LOSSLESS)
    opened = pillow_heif.HeifImageFile(stream)
    for number in [0, 1, 0]:
        opened.seek(number)
        gray = read_image(opened, image_size=FULL_SIZE)[:, :, 0]
        expected = luma(scene[::-1] if number else scene)
        assert np.abs(gray - expected).max() < 0.02
        if number:
            opened.load()


def test_heic_as_a_pil_image_that_was_changed_has_its_pixels():
    opened = pillow_heif.HeifImageFile(io.BytesIO(encode_heic(make_scene())))
    opened.paste("white", (0, 0, WIDTH, HEIGHT))
    assert read_image(opened, image_size=(4, 4)).min() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_upright_once(orientation):
    """The orientation stands in the container and in the EXIF block: one counts."""
    scene = make_scene()
    exif = make_exif(orientation).tobytes()
    content = encode_heic(store(scene, orientation), exif=exif)
    image = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(image - luma(scene)).mean() < 0.01


def test_heic_of_several_images_gives_the_main_one():
    scene = make_scene()
    file = pillow_heif.from_pillow(Image.fromarray(scene))
    file.add_from_pillow(Image.new("RGB", (WIDTH, HEIGHT), "red"))
    stream = io.BytesIO()
    file.save(stream, **LOSSLESS)
    image = read_image(stream.getvalue(), image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(image - luma(scene)).max() < 0.02


def test_heic_of_more_than_max_pixels_is_refused_before_it_is_decoded():
    content = encode_heic(make_scene())
    assert "2240 pixels" in refuse(content, max_pixels=2239).reason
    read_image(content, image_size=(4, 4), max_pixels=2240)


def test_heic_that_is_cut_is_refused():
    content = encode_heic(make_scene())
    for share in [0.1, 0.5, 0.75, 0.95]:
        error = refuse(content[: int(len(content) * share)])
        assert "HEIC file that is damaged" in error.reason


def test_heic_without_pillow_heif_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refuse(encode_heic(make_scene()))
    assert how_to_install("heif") in error.reason


def test_heic_leaves_pillow_as_it_is(monkeypatch):
    """Reading HEIC registers nothing in Pillow."""
    # imageio, which another test may have imported, registers pillow-heif.
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    others = {end: name for end, name in Image.EXTENSION.items() if name != "HEIF"}
    monkeypatch.setattr(Image, "EXTENSION", others)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    content = encode_heic(make_scene()[:8, :8])
    read_image(content, image_size=(4, 4))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(content))
    assert "HEIF" not in Image.OPEN
    assert ".heic" not in Image.registered_extensions()


@pytest.mark.slow
def test_heic_leaves_pillow_of_a_new_process_as_it_is(run_python):
    """Nor does the first reading of a process, which imports pillow-heif."""
    code = """
import sys
from PIL import Image
from skimgclf.images import read_image
read_image(bytes.fromhex(sys.argv[1]), image_size=(4, 4))
print("HEIF" in Image.OPEN, ".heic" in Image.registered_extensions())
"""
    content = encode_heic(make_scene()[:8, :8])
    assert run_python(code, content.hex()) == "False False"


def full_box(name, *parts, flags=0):
    return box(name, struct.pack(">I", flags), *parts)


def write_film(scene, brand):
    """Write a sequence of one image (ISO/IEC 14496-12, section 8) without a still."""
    boxes = dict(list_boxes(encode_heic(scene)))
    meta = dict(list_boxes(boxes[b"meta"][4:]))
    properties = dict(list_boxes(dict(list_boxes(meta[b"iprp"]))[b"ipco"]))
    sample, start = boxes[b"mdat"], box(b"ftyp", brand, bytes(4), b"msf1hevcmif1")
    one = struct.pack(">I", 1)
    matrix = struct.pack(">9I", 2**16, 0, 0, 0, 2**16, 0, 0, 0, 2**30)
    entry = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", WIDTH, HEIGHT)
    entry += (
        struct.pack(">IIIH", 0x480000, 0x480000, 0, 1) + bytes(32) + b"\0\x18\xff\xff"
    )
    table = box(
        b"stbl",
        full_box(b"stsd", one, box(b"hvc1", entry, box(b"hvcC", properties[b"hvcC"]))),
        full_box(b"stts", struct.pack(">3I", 1, 1, 100)),
        full_box(b"stsc", struct.pack(">4I", 1, 1, 1, 1)),
        full_box(b"stsz", struct.pack(">2I", len(sample), 1)),
        full_box(b"stco", struct.pack(">2I", 1, len(start) + 8)),
    )
    places = box(b"dinf", full_box(b"dref", one, full_box(b"url ", flags=1)))
    media = box(
        b"mdia",
        full_box(b"mdhd", struct.pack(">4I2H", 0, 0, 1000, 100, 0x55C4, 0)),
        full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
        box(b"minf", full_box(b"vmhd", bytes(8), flags=1), places, table),
    )
    track = struct.pack(">5I", 0, 0, 1, 0, 100) + bytes(16) + matrix
    track += struct.pack(">2I", WIDTH << 16, HEIGHT << 16)
    movie = struct.pack(">4IIH", 0, 0, 1000, 100, 2**16, 256) + bytes(10) + matrix
    movie = full_box(b"mvhd", movie, bytes(24), struct.pack(">I", 2))
    track = box(b"trak", full_box(b"tkhd", track, flags=3), media)
    return start + box(b"mdat", sample) + box(b"moov", movie, track)


@pytest.mark.parametrize("brand", [b"msf1", b"hevc"])
def test_heic_sequence_gives_its_still_image_or_is_refused_by_name(brand):
    scene = make_scene()
    film = write_film(scene[::-1], brand)
    error = refuse(film)
    assert "HEIC sequence without a still image" in error.reason
    assert "ffmpeg" in error.reason
    still = encode_heic(scene)
    still = still[:8] + brand + still[12:]
    for content in [still, still + film[film.index(b"moov") - 4 :]]:
        gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
        assert np.abs(gray - luma(scene)).max() < 0.02


@pytest.mark.parametrize("brand", [b"miaf", b"MiHE", b"mif1", b"heim"])
def test_heic_is_known_by_any_of_its_brands(brand):
    content = encode_heic(make_scene())
    content = content[:8] + brand + content[12:]
    read_image(content, image_size=FULL_SIZE)
