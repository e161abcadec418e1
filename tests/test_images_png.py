"""PNG files are checked as libpng checks them: checksums, and data for all rows."""

import io
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from image_corpus import FULL_SIZE, refuse
from PIL import Image, ImageOps, PngImagePlugin
from sample_images import (
    HEIGHT,
    WIDTH,
    encode,
    luma,
    make_alpha,
    make_exif,
    make_icon,
    make_png,
    make_scene,
    store,
)

from skimgclf.images import check_images, read_image
from skimgclf.images._decoding.png import decode_plain, read_png


def split_chunks(content):
    """Return the chunks of a PNG file, as [kind, body]."""
    chunks, position = [], 8
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        chunks.append([kind, content[position + 8 : position + 8 + length]])
        position += 12 + length
    return chunks


def join_chunks(chunks, wrong=()):
    """Write a PNG file; the checksums of chunks of the kinds in `wrong` are wrong."""
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        check = zlib.crc32(kind + body) ^ (kind in wrong)
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    return content


def add_chunks(content, *extra):
    """Put chunks behind the header of a PNG file."""
    chunks = split_chunks(content)
    return [chunks[0], *map(list, extra), *chunks[1:]]


TAIL = [[b"IDAT", zlib.compress(bytes(89))], [b"IEND", b""]]


def make_image(mode):
    """Make an image of a mode from the scene."""
    if mode == "RGBA":
        return Image.fromarray(np.dstack([make_scene(), make_alpha()]))
    if mode == "silhouette":
        image = Image.new("RGBA", (WIDTH, HEIGHT))
        image.paste((0, 0, 0, 255), (9, 5, 40, 30))
        return image
    if mode == "I;16":
        return Image.fromarray(make_scene()[:, :, 0].astype(np.uint16) * 257)
    return Image.fromarray(make_scene()).convert(mode)


MODES = ["1", "L", "P", "RGB", "LA", "RGBA", "I;16", "silhouette"]


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        *((mode, {}) for mode in ("L", "P", "RGB", "LA", "RGBA", "silhouette")),
        *(("P", {"bits": bits}) for bits in (1, 2, 4)),
    ],
)
def test_plain_pixels_are_those_of_pillow(mode, options):
    image = make_image(mode)
    if options:
        image = image.quantize(2 ** options["bits"])
    content = encode(image, "PNG", **options)
    plain, expected = decode_plain(read_png(io.BytesIO(content))), reopen(content)
    assert (plain.mode, plain.info) == (expected.mode, {})
    assert np.array_equal(plain.convert("RGBA"), expected.convert("RGBA"))


def reopen(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize(
    "content",
    [
        encode(make_image("1"), "PNG"),
        encode(make_image("I;16"), "PNG"),
        encode(make_image("L"), "PNG", transparency=3),
        encode(make_image("L"), "PNG", exif=make_exif(6)),
        join_chunks([[b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 1)], *TAIL]),
        join_chunks([[b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0)], *TAIL]),
        join_chunks([[b"IHDR", struct.pack(">IIBBBBB", 0, 9, 8, 0, 0, 0, 0)], *TAIL]),
    ],
    ids=["bits", "deep", "transparent", "turned", "passes", "too short", "empty"],
)
def test_other_pixels_are_left_to_pillow(content):
    assert decode_plain(read_png(io.BytesIO(content))) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [0.5, 0.75])
def test_repair_read_png_refuses_a_png_whose_tail_is_zeros(mode, share):
    """A crash or a full disk leaves zeros: the checksum of the data tells."""
    content = encode(make_image(mode), "PNG")
    n_kept = int(len(content) * share)
    assert "PNG" in refuse(content[:n_kept] + bytes(len(content) - n_kept)).reason


def interlace(image):
    """Write an interlaced PNG file of 8-bit gray or colours, without filters."""
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [
        b"\0" + row.tobytes()
        for x, y, step_x, step_y in passes
        for row in pixels[y::step_y, x::step_x]
        if row.size
    ]
    colour_type = {2: 0, 3: 2}[pixels.ndim]
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 1)
    data = zlib.compress(b"".join(rows))
    return join_chunks([[b"IHDR", header], [b"IDAT", data], [b"IEND", b""]])


def drop_bytes(content, n_bytes):
    """Leave out the last bytes of the unpacked data, with all checksums right."""
    chunks = split_chunks(content)
    data = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    data = [b"IDAT", zlib.compress(data[:-n_bytes])]
    first = [part for part in chunks if part[0] not in {b"IDAT", b"IEND"}]
    return join_chunks([*first, data, [b"IEND", b""]])


@pytest.mark.parametrize("mode", [*MODES, "interlaced"])
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_repair_unpack_rows_refuses_a_png_without_its_last_rows(mode, share):
    """Its checksums are right, and its compressed data have an end."""
    if mode == "interlaced":
        whole = interlace(make_image("RGB"))
    else:
        whole = encode(make_image(mode), "PNG")
    data = b"".join(body for kind, body in split_chunks(whole) if kind == b"IDAT")
    n_bytes = len(zlib.decompress(data))
    row = n_bytes // HEIGHT
    n_rows = max(1, round((1 - share) * HEIGHT) - 1)
    cut = drop_bytes(whole, n_rows * row)
    assert "cut short" in refuse(cut).reason
    refuse(Image.open(io.BytesIO(cut)))
    assert "cut short" in refuse(make_icon(cut, width=WIDTH, height=HEIGHT)).reason


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA"])
def test_png_with_a_black_or_clear_end_is_read(mode):
    image = Image.new(mode, (WIDTH, HEIGHT))
    assert read_image(encode(image, "PNG"), image_size=(4, 4)).shape[:2] == (4, 4)


@pytest.mark.parametrize("mode", [*MODES, "interlaced"])
@pytest.mark.parametrize("n_bytes", [1, 300])
def test_png_whose_data_hold_too_few_rows_is_refused(mode, n_bytes):
    """Right checksums over too few rows don't help, in an icon neither."""
    if mode == "interlaced":
        whole = interlace(make_image("RGB"))
    else:
        whole = encode(make_image(mode), "PNG")
    n_bytes = min(n_bytes, 60 if mode in {"1", "L", "P"} else 300)
    cut = drop_bytes(whole, n_bytes)
    assert "cut short" in refuse(cut).reason
    opened = Image.open(io.BytesIO(cut))
    for _ in range(2):  # Pillow would give the rows that it has at the second try
        refuse(opened)
    icon = make_icon(cut, width=WIDTH, height=HEIGHT)
    assert "cut short" in refuse(icon).reason


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (5, 5), (9, 8), (56, 40)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_png_interlaced_of_any_size_is_read(size, mode):
    image = make_image(mode).crop((0, 0, *size))
    options = {"image_size": size[::-1], "color_mode": "rgb", "dtype": "uint8"}
    pixels = read_image(interlace(image), **options)
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    if size != (1, 1):
        assert "cut short" in refuse(drop_bytes(interlace(image), 1)).reason


def test_png_in_an_icon_given_as_a_pil_image_is_checked():
    """Pillow has decoded it already, without a look at checksums and missing rows."""
    whole = encode(make_image("RGBA"), "PNG")
    chunks = split_chunks(whole)
    wrong = join_chunks(chunks, {b"IDAT"})
    for damaged, reason in [(drop_bytes(whole, 900), "cut short"), (wrong, "checksum")]:
        icon = make_icon(damaged, width=WIDTH, height=HEIGHT)
        opened = Image.open(io.BytesIO(icon))
        assert reason in refuse(opened).reason
        opened.thumbnail((9, 9))
        assert reason in refuse(opened).reason


def test_icon_that_was_changed_or_closed_has_the_pixels_of_the_pil_image():
    square = make_image("RGB").crop((0, 0, 40, 40))
    icon = encode(square, "ICO", sizes=[(32, 32), (16, 16)])
    options = {"image_size": (16, 16), "color_mode": "rgb", "dtype": "uint8"}
    for change in [
        lambda image: image.thumbnail((16, 16)),
        lambda image: setattr(image, "size", (16, 16)) or image.load(),
        lambda image: image.paste((9, 9, 9), (0, 0, 40, 40)),
        lambda image: image.__exit__(),
    ]:
        opened = Image.open(io.BytesIO(icon))
        change(opened)
        resized = opened.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
        pixels = read_image(opened, **options)
        assert np.abs(pixels.astype(int) - np.asarray(resized)).max() <= 1


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND"])
def test_png_with_a_wrong_checksum_of_a_critical_chunk_is_refused(kind):
    chunks = split_chunks(encode(make_image("P"), "PNG"))
    join_chunks(chunks)
    assert f"chunk {kind.decode()}" in refuse(join_chunks(chunks, {kind})).reason


def test_png_with_a_flipped_byte_in_a_remark_is_read():
    """Libpng drops ancillary chunks with wrong checksums; Pillow refuses the file."""
    scene = make_scene()
    kinds = [b"gAMA", b"pHYs", b"tEXt", b"zTXt", b"iCCP", b"tRNS", b"eXIf", b"tIME"]
    chunks = add_chunks(encode(scene, "PNG"), *[(kind, b"damaged") for kind in kinds])
    image = read_image(join_chunks(chunks, kinds), image_size=FULL_SIZE)
    assert np.abs(image[:, :, 0] - luma(scene)).max() < 0.003


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iTXt", b"Note\0\1\0\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(5_000_000))),
        (b"zTXt", b"Comment\0\7" + b"not zlib"),
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iCCP", b"icc\0\7" + b"not zlib"),
        (b"tEXt", b"Comment\0" + bytes(6_000_000)),
        (b"gAMA", b"\0"),
        (b"cHRM", b"\0"),
        (b"sRGB", b""),
        (b"pHYs", b"\0"),
        (b"tRNS", b"\0"),
        (b"acTL", b"\0"),
        (b"fcTL", b"\0"),
    ],
    ids=lambda chunk: chunk[0].decode() + f"-{len(chunk[1])}",
)
def test_png_with_long_or_odd_remarks_is_read(chunk, monkeypatch):
    """Texts and profiles above Pillow's limits, and broken ones, hide no pixels."""
    # Not Pillow's 64 MiB, which take long to write.
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 5_000_000)
    scene = make_scene()
    content = join_chunks(add_chunks(encode(scene, "PNG"), chunk))
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    image = read_image(content, image_size=FULL_SIZE)
    assert np.abs(image[:, :, 0] - luma(scene)).max() < 0.003
    assert limit == PngImagePlugin.MAX_TEXT_CHUNK


def test_png_is_turned_by_xmp_where_exif_says_nothing():
    scene = make_scene()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    chunk = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    content = join_chunks(add_chunks(encode(store(scene, 6), "PNG"), chunk))
    image = read_image(content, image_size=FULL_SIZE)
    assert np.abs(image[:, :, 0] - luma(scene)).max() < 0.003


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
EXIF = make_exif(6).tobytes()
HEX_EXIF = b"\nexif\n%8d\n%s\n" % (len(EXIF), EXIF.hex().encode())
RAW_PROFILE = b"Raw profile type exif\0"

TURNING_TEXTS = {
    "tEXt": [(b"tEXt", RAW_PROFILE + HEX_EXIF)],
    "zTXt": [(b"zTXt", RAW_PROFILE + b"\0" + zlib.compress(HEX_EXIF))],
    "iTXt": [(b"iTXt", RAW_PROFILE + bytes(4) + HEX_EXIF)],
    "bytes": [(b"tEXt", b"exif\0" + EXIF)],
    "XMP": [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)],
    "packed XMP": [(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))],
    "XMP as text": [(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(XMP))],
    "broken": [(b"zTXt", RAW_PROFILE + b"\0no zlib")],
    "of a method": [(b"iTXt", RAW_PROFILE + b"\1\1\0\0" + zlib.compress(HEX_EXIF))],
    "no hex": [(b"tEXt", RAW_PROFILE + b"\nexif\n9\nno hex\n")],
    "too few parts": [(b"iTXt", RAW_PROFILE + b"\0\0en")],
    "another name": [(b"zTXt", b"Comment\0\0" + zlib.compress(HEX_EXIF))],
    "beside a remark": [
        (b"zTXt", RAW_PROFILE + b"\0" + zlib.compress(HEX_EXIF)),
        (b"tEXt", b"Comment\0" + bytes(99)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.replace(b"6", b"3")),
    ],
}


def turn_as_pillow(content):
    """Return an image as `ImageOps.exif_transpose` turns it."""
    image = reopen(content)
    try:
        return np.asarray(ImageOps.exif_transpose(image))
    except ValueError:  # EXIF that isn't hexadecimal
        return np.asarray(image)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", TURNING_TEXTS)
def test_png_is_turned_by_texts_as_pillow_turns_it(name, deep, behind):
    """Older programs write EXIF as a text, and XMP may be compressed."""
    scene = store(make_scene(), 6)
    plain = encode(scene, "PNG")
    expected = turn_as_pillow(join_chunks(add_chunks(plain, *TURNING_TEXTS[name])))
    if deep:
        plain = write_deep(scene.astype(np.uint16) * 257, kinds=(0,))
    chunks = split_chunks(plain)
    place = -1 if behind else 1
    chunks[place:place] = TURNING_TEXTS[name]
    content = join_chunks(chunks)
    for source in [content, Image.open(io.BytesIO(content))]:
        options = {"image_size": expected.shape[:2], "color_mode": "rgb"}
        image = read_image(source, **options)
        assert np.abs(image * 255 - expected).max() < 0.01


def test_png_with_an_endless_text_is_read_soon():
    """Only the start of a text is unpacked, and of several ones the last."""
    packed = zlib.compress(HEX_EXIF + b" " * 2**26, 3)
    texts = [(b"zTXt", RAW_PROFILE + b"\0" + packed)] * 40
    content = join_chunks(add_chunks(encode(store(make_scene(), 6), "PNG"), *texts))
    start = time.perf_counter()
    image = read_image(content, image_size=FULL_SIZE)
    assert time.perf_counter() - start < 1
    assert np.abs(image[:, :, 0] - luma(make_scene())).max() < 0.003


def test_png_with_exif_of_a_wrong_checksum_is_not_turned():
    content = encode(make_scene(), "PNG", exif=make_exif(6))
    content = join_chunks(split_chunks(content), {b"eXIf"})
    image = read_image(content, image_size=FULL_SIZE)
    assert np.abs(image[:, :, 0] - luma(make_scene())).max() < 0.003


@pytest.mark.parametrize(
    "chunk",
    [
        (b"tRNS", struct.pack(">H", 0)),
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"cICP", bytes([9, 16, 0, 1])),
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(200))),
    ],
    ids=lambda chunk: chunk[0].decode(),
)
def test_png_part_that_says_what_pixels_mean_is_left_out_if_it_is_damaged(chunk):
    """As libpng does: the file is read as if the chunk weren't there."""
    plain = encode(make_image("L"), "PNG")
    content = join_chunks(add_chunks(plain, chunk), {chunk[0]})
    expected = read_image(plain, image_size=FULL_SIZE, color_mode="rgba")
    image = read_image(content, image_size=FULL_SIZE, color_mode="rgba")
    assert np.array_equal(image, expected)


def test_png_whose_first_frame_claims_to_be_small_is_read_whole():
    """The default image of an animation has the size of the file, as libpng reads."""
    scene = make_scene()
    frame = struct.pack(">5I2H2B", 0, 9, 9, 5, 5, 1, 10, 0, 0)
    chunks = add_chunks(
        encode(scene, "PNG"), (b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", frame)
    )
    image = read_image(join_chunks(chunks), image_size=FULL_SIZE)
    assert np.abs(image[:, :, 0] - luma(scene)).max() < 0.003


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda chunks: chunks[1:], "no header"),
        (lambda chunks: [part for part in chunks if part[0] != b"PLTE"], "palette"),
        (lambda chunks: chunks[:-1], "cut short"),
        (lambda chunks: [chunks[0], [b"CgBI", b"\0"], *chunks[1:]], "chunk, CgBI"),
        (lambda chunks: [chunks[0], [b"a\0bc", b"\0"], *chunks[1:]], "is called"),
    ],
)
def test_png_with_broken_structure_is_refused(change, reason):
    chunks = split_chunks(encode(make_image("P"), "PNG"))
    assert reason in refuse(join_chunks(change(chunks))).reason


def make_small(colour_type, before=(), behind=(), between=()):
    """Write four pixels, 0, 1, 1, 0, as gray, colours or indices, and more chunks."""
    header = struct.pack(">IIBBBBB", 4, 1, 8, colour_type, 0, 0, 0)
    n_samples = {0: 1, 2: 3, 3: 1}[colour_type]
    pixels = b"".join(bytes([value] * n_samples) for value in (0, 1, 1, 0))
    data = zlib.compress(b"\0" + pixels)
    parts = [[b"IDAT", data[:5]], *between, [b"IDAT", data[5:]]]
    return join_chunks([[b"IHDR", header], *before, *parts, *behind, [b"IEND", b""]])


COLOURS = [b"PLTE", bytes([10, 20, 30, 200, 100, 50])]
OTHERS = [b"PLTE", bytes([50, 60, 70, 90, 80, 70])]
CLEAR, HALF_CLEAR = [b"tRNS", b"\0"], [b"tRNS", b"\x80"]  # of the first colour
CLEAR_GRAYS = [[b"tRNS", struct.pack(">H", value)] for value in (0, 1)]
CLEAR_BLACK = [b"tRNS", bytes(6)]


def read_by_libpng(content):
    """Read a PNG file by OpenCV, whose libpng is of version 1.6.58."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((3, [COLOURS, OTHERS]), "second palette"),
        ((3, [COLOURS], [OTHERS]), "second palette"),
        ((3, [], [COLOURS]), "palette is missing"),
        ((3, [[b"PLTE", bytes(7)]]), "palette has 7 bytes"),
        ((3, [[b"PLTE", b""]]), "palette has 0 bytes"),
        ((3, [[b"PLTE", bytes(771)]]), "palette has 771 bytes"),
        ((2, [[b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, 0, 0, 0, 0)]]), "second hea"),
        ((2, [], [], [[b"tEXt", b"a\0b"]]), "cut short"),
        ((2, [], [], [[b"IEND", b""]]), "cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_png_with_critical_chunks_in_other_places_is_refused(parts, reason):
    """Section 5.6 of the specification; so does libpng, for each of them."""
    content = make_small(*parts)
    assert reason in refuse(content).reason
    assert read_by_libpng(content) is None


def test_png_with_data_interrupted_by_a_damaged_remark_is_refused():
    content = join_chunks(
        split_chunks(make_small(2, between=[[b"tEXt", b"a\0b"]])), {b"tEXt"}
    )
    assert "cut short" in refuse(content).reason
    assert read_by_libpng(content) is None


@pytest.mark.parametrize(
    ("parts", "alpha"),
    [
        ((3, [COLOURS, CLEAR]), [0, 255]),
        ((3, [CLEAR, COLOURS]), [255, 255]),
        ((3, [CLEAR, COLOURS, HALF_CLEAR]), [128, 255]),
        ((3, [COLOURS], [CLEAR]), [255, 255]),
        ((3, [COLOURS, [b"tRNS", bytes(3)]]), [255, 255]),
        ((3, [COLOURS, [b"tRNS", b""]]), [255, 255]),
        ((3, [COLOURS, [b"tRNS", bytes(3)], HALF_CLEAR]), [128, 255]),
        ((3, [COLOURS, HALF_CLEAR, CLEAR]), [128, 255]),
        ((3, [COLOURS, CLEAR], [HALF_CLEAR]), [0, 255]),
        ((0, CLEAR_GRAYS), [0, 255]),
        ((0, [], CLEAR_GRAYS), [255, 255]),
        ((0, [[b"tRNS", bytes(3)], CLEAR_GRAYS[1]]), [255, 0]),
        ((2, [CLEAR_BLACK], [[b"tRNS", b"\0\1" * 3]]), [0, 255]),
        ((2, [CLEAR_BLACK, COLOURS]), [0, 255]),
        ((2, [COLOURS, OTHERS, [b"PLTE", bytes(7)], CLEAR_BLACK]), [0, 255]),
        ((2, [], [[b"tEXt", b"a\0b"], [b"IDAT", b"more"]]), [255, 255]),
    ],
    ids=str,
)
@pytest.mark.parametrize("as_pil_image", [False, True])
def test_png_takes_the_transparency_that_libpng_takes(parts, alpha, as_pil_image):
    """The first one of a right length, between the palette and the data."""
    content = make_small(*parts)
    source = Image.open(io.BytesIO(content)) if as_pil_image else content
    pixels = read_image(source, image_size=(1, 4), color_mode="rgba", dtype="uint8")
    expected = np.take(alpha, [0, 1, 1, 0])
    assert np.array_equal(pixels[0, :, 3], expected)
    colours = [[10, 20, 30], [200, 100, 50]] if parts[0] == 3 else [[0] * 3, [1] * 3]
    shown = expected[:2] > 0
    assert np.array_equal(pixels[0, :2, :3][shown], np.array(colours)[shown])
    if parts[0] != 0:  # OpenCV doesn't ask libpng for transparent grays
        opinion = read_by_libpng(content)
        has_alpha = opinion.shape[2] == 4
        assert np.array_equal(opinion[0, :, 3] if has_alpha else [255] * 4, expected)


GAMMA, NO_GAMMA = ([b"gAMA", struct.pack(">I", value)] for value in (100_000, 45_455))
SHORT_GAMMA = [b"gAMA", b"\0"]
PQ = [b"cICP", bytes([9, 16, 0, 1])]


@pytest.mark.parametrize(
    ("chunks", "is_linear"),
    [
        (([GAMMA],), True),
        (([GAMMA, NO_GAMMA],), True),
        (([NO_GAMMA, GAMMA],), False),
        (([SHORT_GAMMA, GAMMA],), True),
        (([COLOURS, GAMMA],), False),
        (([[b"PLTE", bytes(7)], GAMMA],), True),
        (([], [GAMMA]), False),
        (([], [PQ]), False),
        (([COLOURS, PQ, [b"iCCP", b"icc\0\0"]],), False),
        (([[b"sRGB", b""], GAMMA],), True),
        (([[b"sRGB", b"\4"], GAMMA],), True),
        (([GAMMA], [[b"sRGB", b"\0"]]), True),
    ],
    ids=str,
)
def test_png_takes_colours_from_the_places_where_they_may_stand(chunks, is_linear):
    """Before the palette and the data, the first of a right length (section 5.6)."""
    content = make_small(2, *chunks)
    options = {"image_size": (1, 4), "color_mode": "rgb", "dtype": "uint8"}
    pixels = read_image(content, **options)
    # 1 of 255 is 13 in sRGB where values are linear: 12.92 up to .0031.
    assert pixels[0, :, 0].tolist() == ([0, 13, 13, 0] if is_linear else [0, 1, 1, 0])
    if all(body for _, body in chunks[0]) and SHORT_GAMMA not in chunks[0]:
        # Pillow itself doesn't open the others.
        opened = read_image(Image.open(io.BytesIO(content)), **options)
        assert np.array_equal(opened, pixels)


def test_png_is_turned_by_its_first_exif():
    """EXIF may stand anywhere, but once."""
    exifs = [[b"eXIf", make_exif(turn).tobytes()[6:]] for turn in (6, 3)]
    stored = encode(store(make_scene(), 6), "PNG")
    content = join_chunks([*(chunks := split_chunks(stored))[:-1], *exifs, chunks[-1]])
    for source in [content, Image.open(io.BytesIO(content))]:
        image = read_image(source, image_size=FULL_SIZE)
        assert np.abs(image[:, :, 0] - luma(make_scene())).max() < 0.003


def test_png_with_bytes_behind_its_end_is_read():
    content = encode(make_scene(), "PNG")
    expected = read_image(content, image_size=(5, 5))
    pixels = read_image(content + b"trailing bytes" * 9, image_size=(5, 5))
    assert np.array_equal(pixels, expected)


def test_png_data_in_many_chunks_are_read():
    chunks = split_chunks(encode(make_scene(), "PNG"))
    data = b"".join(body for kind, body in chunks if kind == b"IDAT")
    parts = [[b"IDAT", data[start : start + 50]] for start in range(0, len(data), 50)]
    content = join_chunks([chunks[0], *parts, [b"IDAT", b""], chunks[-1]])
    pixels = read_image(content, image_size=(5, 5))
    assert np.array_equal(
        pixels, read_image(encode(make_scene(), "PNG"), image_size=(5, 5))
    )
    rows = [bytes([value] * 3) for value in range(9)]
    tiny = make_png(rows, 8, 0, width=3)
    assert read_image(tiny, image_size=(9, 3)).shape == (9, 3, 1)


def filter_rows(values, kinds):
    """Filter rows of 16-bit samples as section 9.2 of the specification says."""
    height, width, n_samples = values.shape
    raw = values.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    step, above, rows = 2 * n_samples, np.zeros(2 * width * n_samples, int), b""
    for row, kind in zip(raw, np.resize(kinds, height), strict=True):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        estimate = left + above - corner
        distances = [np.abs(estimate - each) for each in (left, above, corner)]
        nearest = np.argmin(distances, axis=0)
        paeth = np.choose(nearest, [left, above, corner])
        basis = [0, left, above, (left + above) // 2, paeth][kind]
        rows += bytes([kind]) + ((row - basis) % 256).astype(np.uint8).tobytes()
        above = row
    return rows


def write_deep(values, kinds=(0, 1, 2, 3, 4), *, interlaced=False, extra=()):
    """Write colours of 16 bits with all kinds of filters."""
    height, width, n_samples = values.shape
    header = struct.pack(
        ">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[n_samples], 0, 0, interlaced
    )
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [values[y::step_y, x::step_x] for x, y, step_x, step_y in passes]
    parts = [part for part in parts if part.size] if interlaced else [values]
    data = zlib.compress(b"".join(filter_rows(part, kinds) for part in parts))
    return join_chunks([[b"IHDR", header], *extra, [b"IDAT", data], [b"IEND", b""]])


@pytest.mark.parametrize("n_samples", [2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (13, 21)])
def test_repair_has_deep_colours_keeps_sixteen_bits(n_samples, interlaced, size):
    """Every bit of every sample, whatever the filters, as OpenCV reads them."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65536, (*size, n_samples)).astype(np.uint16)
    values[..., -1] |= 0x8000  # no alpha of 0, under which nobody sees a colour
    content = write_deep(values, interlaced=interlaced)
    image = read_image(content, image_size=size, color_mode="rgba")
    order = {2: [0, 0, 0, 1], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[n_samples]
    expected = values[:, :, order] / 65535
    assert image[:, :, : len(order)] == pytest.approx(expected, abs=1e-5)
    if n_samples != 2:
        encoded = np.frombuffer(content, np.uint8)
        opinion = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)[
            :, :, [2, 1, 0, 3][:n_samples]
        ]
        assert np.array_equal(opinion, values)
    opened = Image.open(io.BytesIO(content))
    again = read_image(opened, image_size=size, color_mode="rgba")
    assert np.array_equal(again, image)


def test_png_of_deep_colours_keeps_small_values():
    """255 of 65535 is 0.0039, in gray and in colours."""
    values = np.full((8, 8, 3), 255, dtype=np.uint16)
    for mode in ["grayscale", "rgb"]:
        image = read_image(write_deep(values), image_size=(2, 2), color_mode=mode)
        assert image == pytest.approx(255 / 65535, rel=1e-4)


def test_png_of_deep_colours_has_its_transparent_colour_alone():
    """Other colours with the same high bytes stay opaque."""
    values = np.arange(0x0100, 0x010C, dtype=np.uint16).reshape(1, 4, 3)
    key = [b"tRNS", struct.pack(">3H", 0x0103, 0x0104, 0x0105)]
    content = write_deep(values, extra=[key])
    image = read_image(content, image_size=(1, 4), color_mode="rgba")
    assert image[0, :, 3].tolist() == [1, 0, 1, 1]


def animate(values, extra=()):
    """Write an animation of a frame of 16-bit colours and the same upside down."""
    chunks = split_chunks(write_deep(values, extra=extra))
    other = split_chunks(write_deep(values[::-1]))[1][1]
    height, width = values.shape[:2]
    frames = [
        [b"fcTL", struct.pack(">5I2H2B", number, width, height, 0, 0, 1, 9, 0, 0)]
        for number in (0, 1)
    ]
    more = [frames[1], [b"fdAT", struct.pack(">I", 2) + other]]
    first = [chunks[0], [b"acTL", struct.pack(">2I", 2, 0)], *chunks[1:-2], frames[0]]
    return join_chunks([*first, chunks[-2], *more, chunks[-1]])


def test_png_frame_that_was_chosen_of_a_deep_animation_is_read():
    """Pillow reads later frames; with a transparent colour it can't."""
    values = np.zeros((8, 8, 3), dtype=np.uint16)
    values[:4] = 65535
    opened = Image.open(io.BytesIO(animate(values)))
    for number, expected in [(0, [1, 0]), (1, [0, 1]), (0, [1, 0])]:
        opened.seek(number)
        image = read_image(opened, image_size=(8, 8))
        assert image[[0, -1], 0, 0].tolist() == expected
    key = [b"tRNS", struct.pack(">3H", 0, 0, 0)]
    opened = Image.open(io.BytesIO(animate(values, extra=[key])))
    read_image(opened, image_size=(8, 8))
    opened.seek(1)
    assert "save the frame" in refuse(opened).reason


def test_png_of_deep_colours_is_turned_checked_and_refused():
    values = np.zeros((20, 30, 3), dtype=np.uint16)
    values[:, 15:] = 65535
    exif = [b"eXIf", make_exif(6).tobytes()[6:]]
    image = read_image(write_deep(values, extra=[exif]), image_size=(30, 20))
    assert image[0].max() == 0
    assert image[-1].min() == 1
    content = write_deep(values)
    assert "cut short" in refuse(drop_bytes(content, 1)).reason
    assert "600 pixels" in refuse(content, max_pixels=599).reason
    chunks = split_chunks(content)
    broken = [[kind, b"no zlib" if kind == b"IDAT" else body] for kind, body in chunks]
    assert "damaged" in refuse(join_chunks(broken)).reason
    assert check_images([content]).loc[0, "mode"] == "RGB;16"
