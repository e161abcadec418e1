"""TIFF files of which a strip or tile lacks data, in compressions that can tell."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from image_corpus import FULL_SIZE, refuse
from PIL import Image
from sample_images import encode, make_scene, make_tiff
from sklearn.datasets import load_sample_image

from skimgclf.images import check_images, read_image
from skimgclf.images._decoding.reasons import UnreadableImage
from skimgclf.images._decoding.tiff_data import check_data
from skimgclf.images._decoding.tiff_directory import read_directory

END = b"\xff\xd9"


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(load_sample_image("china.jpg")[100:295, 200:503])


def write_jpeg(photo, **options):
    """Write JPEG strips, their tables in the directory."""
    return encode(photo, "TIFF", compression="jpeg", quality=90, **options)


def write_tiles(photo):
    """Write JPEG tiles that hold their own tables."""
    photo = photo.resize((128, 64)).convert("L")
    boxes = [(left, 0, left + 64, 64) for left in (0, 64)]
    tiles = [encode(photo.crop(box), "JPEG", quality=90) for box in boxes]
    tags = [(259, 3, [7]), (322, 3, [64]), (323, 3, [64])]
    tags += [(324, 4, [0, 0]), (325, 4, [len(tile) for tile in tiles])]
    options = {"bits": [8], "photometric": 1, "size": (128, 64)}
    content = make_tiff(b"".join(tiles), tags=tags, **options)
    first = len(content) - sum(map(len, tiles))
    places = struct.pack("<2I", first, first + len(tiles[0]))
    (at,) = struct.unpack_from(
        "<I", content, content.index(struct.pack("<HHI", 324, 4, 2)) + 8
    )
    return content[:at] + places + content[at + 8 :]


def write_old_jpeg(photo, *, end=END):
    """Write a file of compression 6, which holds one JPEG file (TIFF 6.0, 22)."""
    jpeg = encode(photo, "JPEG", quality=90)[:-2] + end
    height = photo.size[1]
    tags = [(259, 3, [6]), (278, 3, [height]), (530, 3, [2, 2])]
    tags += [(513, 4, [0]), (514, 4, [len(jpeg)])]
    options = {"bits": [8] * 3, "photometric": 6, "size": photo.size, "tags": tags}
    content = bytearray(make_tiff(jpeg, **options))
    entry = content.index(struct.pack("<HHI", 513, 4, 1))
    struct.pack_into("<I", content, entry + 8, len(content) - len(jpeg))
    return bytes(content)


JPEG_WAYS = {
    "few strips": write_jpeg,
    "many strips": lambda photo: write_jpeg(photo, strip_size=303 * 3 * 16),
    "gray": lambda photo: write_jpeg(photo.convert("L")),
    "CMYK": lambda photo: write_jpeg(photo.convert("CMYK")),
    "tiles": write_tiles,
}


def damage_part(content, way, number=-1):
    """Damage the second half of a strip or tile."""
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    start, n_bytes = page.dataoffsets[number], page.databytecounts[number]
    changed, middle = bytearray(content), start + n_bytes // 2
    if way == "ended":
        changed[middle : middle + 2] = END
    elif way == "all zeros":
        changed[start : start + n_bytes] = bytes(n_bytes)
    elif way == "zeros within":
        n_bytes = min(600, n_bytes // 4)
        changed[middle : middle + n_bytes] = bytes(n_bytes)
    else:
        changed[middle : start + n_bytes] = bytes(start + n_bytes - middle)
    return bytes(changed)


@pytest.mark.parametrize("kind", JPEG_WAYS)
@pytest.mark.parametrize(
    "way", ["ended", "all zeros", "zeros within", "zeros at the end"]
)
def test_repair_check_data_refuses_damaged_jpeg_data(photo, kind, way):
    """Pillow shows gray for the rest, in silence."""
    content = JPEG_WAYS[kind](photo)
    read_image(content, image_size=(8, 8))
    for number in [0, -1]:
        damaged = damage_part(content, way, number)
        reason = refuse(damaged).reason
        assert "strips or tiles" in reason
        assert "it is a JPEG file" not in reason  # said once
        assert "strips or tiles" in refuse(Image.open(io.BytesIO(damaged))).reason


def test_tiff_of_jpeg_data_is_read_as_before(photo):
    for write in JPEG_WAYS.values():
        content = write(photo)
        opened = Image.open(io.BytesIO(content))
        options = {"color_mode": "rgb", "dtype": "uint8"}
        image = read_image(content, image_size=opened.size[::-1], **options)
        assert np.array_equal(image, np.asarray(opened.convert("RGB")))


@pytest.mark.parametrize("end", [END, b"", END + bytes(50)])
def test_tiff_of_an_old_jpeg_file_is_read_and_checked(photo, end):
    content = write_old_jpeg(photo, end=end)
    options = {"image_size": photo.size[::-1]}
    gray = read_image(content, **options)
    assert np.abs(gray - read_image(encode(photo, "JPEG"), **options)).mean() < 0.02
    middle = len(content) - len(encode(photo, "JPEG", quality=90)) // 3
    zeros = content[:middle] + bytes(len(content) - middle)
    ended = content[:middle] + END + content[middle + 2 :]
    for damaged in [zeros, ended]:
        assert "strips or tiles" in refuse(damaged).reason
        assert "strips or tiles" in check_images([damaged]).reason[0]


@pytest.mark.parametrize("compression", [6, 7])
def test_tiff_of_jpeg_data_larger_than_its_image_are_not_unpacked(compression):
    """`max_pixels` knows the size of the image alone."""
    options = {"bits": [8] * 3, "photometric": 6, "size": (8, 8)}
    kind = {"progressive": compression == 7}
    for side in [8, 1000]:
        jpeg = encode(Image.new("RGB", (side, side)), "JPEG", **kind)
        tags = [(259, 3, [compression]), (513, 4, [0]), (514, 4, [len(jpeg)])]
        content = bytearray(make_tiff(jpeg, tags=tags, **options))
        entry = content.index(struct.pack("<HHI", 513, 4, 1))
        struct.pack_into("<I", content, entry + 8, len(content) - len(jpeg))
        if side == 8:
            read_image(bytes(content), image_size=(8, 8))
        else:
            assert "more pixels than" in refuse(bytes(content)).reason


def test_tiff_of_an_old_jpeg_file_takes_no_more_memory_than_its_file(photo, tmp_path):
    content = bytearray(write_old_jpeg(photo))
    entry = content.index(struct.pack("<HHI", 514, 4, 1))
    struct.pack_into("<I", content, entry + 8, 2**32 - 1)
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            check_data(file, read_directory(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [8, 32946])
def test_tiff_whose_deflated_data_are_damaged_is_refused(
    photo, planes, bits, compression
):
    """Each strip has a checksum, which libtiff doesn't look at."""
    samples = np.asarray(photo).astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    samples = np.moveaxis(samples, 2, 0) if planes == "separate" else samples
    stream = io.BytesIO()
    options = {"photometric": "rgb", "planarconfig": planes, "rowsperstrip": 50}
    tifffile.imwrite(stream, samples, compression="zlib", **options)
    content = stream.getvalue()
    entry = struct.pack("<HHI", 259, 3, 1) + struct.pack("<H", 8)
    content = content.replace(entry, entry[:-2] + struct.pack("<H", compression))
    image = read_image(content, image_size=photo.size[::-1], color_mode="rgb")
    assert np.abs(image - np.asarray(photo) / 255).max() < 0.003
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    end = page.dataoffsets[-1] + page.databytecounts[-1]
    flipped = bytearray(content)
    flipped[end - 1] ^= 1
    damages = [bytes(flipped), damage_part(content, "zeros within", 0)]
    for damaged in damages:
        assert "Deflate data" in refuse(damaged).reason
        assert "Deflate data" in refuse(Image.open(io.BytesIO(damaged))).reason


def test_tiff_whose_deflated_data_lack_their_end_is_refused():
    """Enough pixels may be made of zeros, so that the checksum is never reached."""
    levels = np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8)
    options = {"bits": [8], "photometric": 1, "size": (64, 64)}
    data = zlib.compress(levels.tobytes() * 2)
    for n_bytes in [len(data), len(data) // 2]:
        content = make_tiff(data[:n_bytes], tags=[(259, 3, [8])], **options)
        if n_bytes == len(data):
            read_image(content, image_size=(8, 8))
        else:
            assert "end too early" in refuse(content).reason


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("side", [1, 2, 16, 255, 256, 257, 512])
def test_tiff_of_deflated_data_of_any_length_is_read(bits, side):
    samples = np.arange(side * side, dtype=f"u{bits // 8}").tobytes()
    for level in [0, 1, 9]:
        for content in [samples, bytes(len(samples))]:
            data = zlib.compress(content, level)
            tags = [(259, 3, [8]), (339, 3, [1])]
            kind = {"bits": [bits], "photometric": 1, "size": (side, side)}
            read_directory_and_check(make_tiff(data, tags=tags, **kind))


def read_directory_and_check(content):
    stream = io.BytesIO(content)
    stream.seek(3)
    check_data(stream, read_directory(stream))
    assert stream.tell() == 3


def test_tiff_check_data_keeps_the_position_of_a_file_that_it_refuses(photo):
    stream = io.BytesIO(damage_part(write_jpeg(photo), "all zeros"))
    stream.seek(3)
    with pytest.raises(UnreadableImage):
        check_data(stream, read_directory(stream))
    assert stream.tell() == 3


def test_tiff_of_many_deflated_strips_is_not_unpacked_beyond_its_rows():
    data = zlib.compress(bytes(2**23), 9)
    tags = [(259, 3, [8]), (278, 3, [1])]
    options = {"bits": [8], "photometric": 1, "n_strips": 1000, "tags": tags}
    content = make_tiff(data * 1000, size=(1000, 1000), **options)
    started = time.thread_time()
    read_directory_and_check(content)
    assert time.thread_time() - started < 1


def test_tiff_of_deflated_data_is_not_unpacked_beyond_its_pixels():
    """A megabyte of zeros can be packed into a thousand bytes."""
    # To pack 256 MiB takes a second, and a block that is flushed may be repeated.
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", 2**28 % 65521, 1)
    data = b"\x78\xda" + block * 256 + b"\x03\x00" + checksum
    options = {"bits": [8], "photometric": 1, "size": (8, 8)}
    content = make_tiff(data, tags=[(259, 3, [8])], **options)
    started = time.thread_time()
    assert (read_image(content, image_size=(2, 2)) == 0).all()
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize("fill_order", [1, 2])
def test_tiff_whose_fax_data_are_zeros_is_refused(photo, fill_order):
    """White or noise is shown for the rest; scans of pages are of this kind."""
    page = photo.convert("L").point(lambda level: 255 * (level > 128), "1")
    content = encode(page, "TIFF", compression="group4", tiffinfo={266: fill_order})
    image = read_image(content, image_size=photo.size[::-1])
    assert np.array_equal(image[:, :, 0], np.asarray(page, dtype="f4"))
    for way in ["all zeros", "zeros within", "zeros at the end"]:
        assert "fax data" in refuse(damage_part(content, way)).reason


@pytest.mark.parametrize("n_zeros", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("level", [0, 1])
def test_tiff_of_fax_data_with_padding_is_read(level, n_zeros):
    """Blank pages, and zeros behind the end of data."""
    page = Image.new("1", (400, 300), level)
    content = encode(page, "TIFF", compression="group4")
    data = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    start, n_bytes = data.dataoffsets[0], data.databytecounts[0]
    fax = content[start : start + n_bytes] + bytes(n_zeros)
    options = {"bits": [1], "photometric": 1, "size": page.size}
    content = make_tiff(fax, tags=[(259, 3, [4])], **options)
    assert (read_image(content, image_size=(2, 2)) == level).all()


@pytest.mark.parametrize("n_zeros", [0, 2, 3, 15, 16])
def test_tiff_of_fax_data_without_an_end_is_read_where_padding_is_short(photo, n_zeros):
    page = photo.convert("L").point(lambda level: 255 * (level > 128), "1")
    content = encode(page, "TIFF", compression="group4", strip_size=10**6)
    data = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    start, n_bytes = data.dataoffsets[0], data.databytecounts[0]
    fax = content[start : start + n_bytes]
    bits = f"{int.from_bytes(fax, 'big'):0{8 * len(fax)}b}"
    bits = bits[: bits.rindex("000000000001" * 2)]
    bits += "1" * (-len(bits) % 8)
    fax = int(bits, 2).to_bytes(len(bits) // 8, "big") + bytes(n_zeros)
    options = {"bits": [1], "photometric": 1, "size": page.size}
    content = make_tiff(fax, tags=[(259, 3, [4])], **options)
    if n_zeros == 16:
        assert "fax data" in refuse(content).reason
    else:
        image = read_image(content, image_size=photo.size[::-1])
        assert np.array_equal(image[:, :, 0], np.asarray(page, dtype="f4"))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_tiff_of_jpeg_data_without_an_end_marker_is_read(photo, mode):
    """As libtiff does; data that end too early are refused all the same."""
    content = write_jpeg(photo.convert(mode), strip_size=10**7)
    (n_bytes,) = tifffile.TiffFile(io.BytesIO(content)).pages[0].databytecounts
    options = {"image_size": photo.size[::-1]}
    for n_left in [n_bytes - 2, n_bytes // 2]:
        entry = struct.pack("<HHII", 279, 4, 1, n_bytes)
        assert entry in content
        shorter = content.replace(entry, entry[:-4] + struct.pack("<I", n_left))
        if n_left == n_bytes - 2:
            image = read_image(shorter, **options)
            assert np.array_equal(image, read_image(content, **options))
        else:
            assert "JPEG data" in refuse(shorter).reason


def test_tiff_whose_strips_overlap_is_refused_soon(photo):
    """A small file could make them more than memory holds."""
    jpeg = encode(photo, "JPEG")
    n_strips = 50_000
    tags = [
        (259, 3, [7]),
        (278, 3, [1]),
        (279, 4, list(range(10**6, 10**6 + n_strips))),
    ]
    options = {"bits": [8] * 3, "photometric": 6, "n_strips": n_strips, "tags": tags}
    content = make_tiff(jpeg, size=(8, n_strips), **options)
    assert "overlap" in refuse(content).reason


def test_repair_read_low_palette_keeps_palettes_of_eight_bits():
    """As libtiff takes them; Pillow shows all colours black."""
    levels = make_scene()[:, :, 0]
    colours = [*range(256), *range(255, -1, -1), *[200] * 256]
    options = {"bits": [8], "photometric": 3}
    content = make_tiff(levels.tobytes(), tags=[(320, 3, colours)], **options)
    expected = np.dstack([levels, 255 - levels, np.full_like(levels, 200)])
    read_options = {"image_size": FULL_SIZE, "color_mode": "rgb", "dtype": "uint8"}
    assert np.array_equal(read_image(content, **read_options), expected)
    opened = Image.open(io.BytesIO(content))
    for _ in range(2):
        assert np.array_equal(read_image(opened, **read_options), expected)
    full = make_tiff(
        levels.tobytes(), tags=[(320, 3, [257 * each for each in colours])], **options
    )
    assert np.array_equal(read_image(full, **read_options), expected)
