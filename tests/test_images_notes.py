"""The colour information of files that Pillow leaves unread: boxes, blocks, headers."""

import io
import re
import struct
import tracemalloc

import numpy as np
import pillow_heif
import pytest
from image_corpus import refuse
from PIL import ExifTags, Image
from sample_images import box, encode
from test_images_profile import (
    ADOBE,
    ADOBE_PROFILE,
    COLOUR,
    COPIES,
    IN_ADOBE,
    IN_P3,
    P3,
    P3_PROFILE,
    SRGB,
    STORED,
    convert_colour,
    encode_srgb,
    make_cmyk_profile,
    power,
    read_colour,
)

from skimgclf.images import check_images, read_image
from skimgclf.images._decoding.boxes import find_box, list_boxes, list_main_properties
from skimgclf.images._decoding.depth import count_bits
from skimgclf.images._decoding.profile import write_profile


def check_colour(content, expected, **options):
    """Read a file, and the same as a PIL image that isn't decoded."""
    assert read_colour(content) == pytest.approx(expected, **options)
    stored = read_colour(content, color_management=False)
    assert stored == pytest.approx(STORED, **options)
    opened = Image.open(io.BytesIO(content))
    assert np.array_equal(read_colour(opened), read_colour(content))


# JPEG 2000


def write_jp2(mode, colour, *colours):
    """Write a JP2 file with other boxes "colr" than Pillow's."""
    content = encode(Image.new(mode, (40, 40), colour), "JPEG2000")
    place = content.index(b"jp2h") - 4
    size = int.from_bytes(content[place : place + 4], "big")
    header = [
        box(name, body)
        for name, body in list_boxes(content[place + 8 : place + size])
        if name != b"colr"
    ]
    boxes = [box(b"colr", each) for each in colours]
    header = box(b"jp2h", *header, *boxes)
    return content[:place] + header + content[place + size :]


def name_space(number):
    return b"\1\0\0" + struct.pack(">I", number)


def hold_profile(profile):
    return b"\2\0\0" + profile


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    ("profile", "expected"), [(ADOBE_PROFILE, IN_ADOBE), (P3_PROFILE, IN_P3)]
)
def test_profile_of_jpeg_2000_is_honoured(profile, expected, mode):
    colour = COLOUR if mode == "RGB" else (*COLOUR, 255)
    check_colour(write_jp2(mode, colour, hold_profile(profile)), expected, abs=0.008)


def test_profile_of_gray_jpeg_2000_is_honoured():
    profile = write_profile(None, (1.0,), "GRAY")
    content = write_jp2("L", 51, hold_profile(profile))
    assert read_colour(content) == pytest.approx([0.4845] * 3, abs=0.005)


def test_jpeg_2000_takes_its_first_colours_alone():
    """ISO/IEC 15444-1, section I.5.3.3."""
    srgb, profile = name_space(16), hold_profile(P3_PROFILE)
    check_colour(write_jp2("RGB", COLOUR, srgb, profile), STORED, abs=0.005)
    check_colour(write_jp2("RGB", COLOUR, profile, srgb), IN_P3, abs=0.008)


def test_jpeg_2000_in_sycc_is_converted():
    """ITU-T T.871, section 7: YCbCr of (180, 120, 90), all values used."""
    content = write_jp2("RGB", (135, 103, 160), name_space(18))
    assert read_colour(content) * 255 == pytest.approx(COLOUR, abs=2)


def test_jpeg_2000_in_gray_is_read():
    content = write_jp2("L", 51, name_space(17))
    assert read_colour(content) * 255 == pytest.approx([51] * 3)


@pytest.mark.parametrize(
    ("number", "name"),
    [(14, "CIELab"), (21, "ROMM-RGB"), (0, "0 as white"), (99, "space number 99")],
)
def test_jpeg_2000_in_other_spaces_is_refused_by_name(number, name):
    content = write_jp2("RGB", COLOUR, name_space(number))
    assert name in refuse(content).reason
    assert name in refuse(Image.open(io.BytesIO(content))).reason
    assert name in check_images([content]).reason[0]
    for source in [content, Image.open(io.BytesIO(content))]:
        stored = read_colour(source, color_management=False)
        assert stored == pytest.approx(STORED, abs=0.005)


# GIF


def add_gif_profile(content, profile, *before):
    """Add a profile as an application extension, in blocks of at most 255 bytes."""
    place = 13 + (3 << 1 + (content[10] & 7) if content[10] & 128 else 0)
    blocks = [b"ICCRGBG1012"]
    blocks += [profile[i : i + 255] for i in range(0, len(profile), 255)]
    packed = b"".join(bytes([len(each)]) + each for each in blocks) + b"\0"
    extensions = b"".join(before) + b"!\xff" + packed
    return content[:place] + extensions + content[place:]


@pytest.mark.parametrize("n_frames", [1, 2])
def test_profile_of_gif_is_honoured(n_frames):
    frames = [Image.new("RGB", (40, 40), each) for each in [COLOUR, (1, 2, 3)]]
    others = {"save_all": n_frames > 1, "append_images": frames[1:n_frames]}
    plain = encode(frames[0], "GIF", **others)
    comment = b"!\xfe\3abc\2de\0"
    for before in [(), (comment,)]:
        check_colour(add_gif_profile(plain, P3_PROFILE, *before), IN_P3, abs=0.008)
    for broken in [b"", b"no profile", P3_PROFILE[:200]]:
        check_colour(add_gif_profile(plain, broken), STORED, abs=0.001)


@pytest.mark.parametrize(
    ("before", "is_found"),
    [
        (b"!\xfe\1a\0" * 20, True),
        (b"!\xfe\1a\0" * 2000, False),
        (b"!\xfe" + b"\1a" * 5000 + b"\0", True),
        (b"!\xfe" + b"\1!" * 100_000 + b"\0", False),
    ],
)
def test_profile_of_gif_is_looked_for_in_its_first_blocks(before, is_found):
    plain = encode(Image.new("RGB", (40, 40), COLOUR), "GIF")
    content = add_gif_profile(plain, P3_PROFILE, before)
    check_colour(content, IN_P3 if is_found else STORED, abs=0.008)


def test_profile_of_gif_that_is_cut_within_it_is_refused():
    plain = encode(Image.new("RGB", (40, 40), COLOUR), "GIF")
    content = add_gif_profile(plain, P3_PROFILE)
    refuse(content[: content.index(b"ICCRGBG1") + 100])


# BMP


def write_bmp(
    kind, *, ends=(0,) * 9, gammas=(0,) * 3, profile=b"", from_start=False, gray=None
):
    """Write a BMP file with a header of version 5 ([MS-WMF], section 2.2.2.5)."""
    pixels, palette, bits, size = bytes(COLOUR[::-1]) * 40 * 40, b"", 24, (40, 40)
    if gray is not None:
        pixels, bits, size = gray.tobytes(), 8, gray.shape[::-1]
        palette = b"".join(bytes([level] * 3 + [0]) for level in range(256))
    place = 124 + len(palette) + len(pixels) + (14 if from_start else 0)
    header = struct.pack("<IiiHHII", 124, *size, 1, bits, 0, len(pixels)) + bytes(16)
    header += bytes(16) + kind[::-1]
    header += struct.pack("<9i3I", *ends, *gammas)
    header += struct.pack("<4I", 4, place if profile else 0, len(profile), 0)
    first = 14 + len(header) + len(palette)
    length = first + len(pixels) + len(profile)
    start = b"BM" + struct.pack("<IHHI", length, 0, 0, first)
    return start + header + palette + pixels + profile


@pytest.mark.parametrize("from_start", [False, True])
def test_profile_of_bmp_is_honoured(from_start):
    options = {"from_start": from_start}
    content = write_bmp(b"MBED", profile=ADOBE_PROFILE, **options)
    check_colour(content, IN_ADOBE, abs=0.005)
    padded = write_bmp(b"MBED", profile=ADOBE_PROFILE + bytes(2), **options)
    check_colour(padded, IN_ADOBE, abs=0.005)


def test_profile_of_bmp_that_is_broken_or_elsewhere_changes_nothing():
    for content in [
        write_bmp(b"MBED", profile=b"no profile"),
        write_bmp(b"MBED"),
        write_bmp(b"LINK", profile=b"C:\\profile.icc\0"),
        write_bmp(b"sRGB", profile=ADOBE_PROFILE),
        write_bmp(b"MBED", profile=make_cmyk_profile()),
    ]:
        check_colour(content, STORED, abs=0.001)


def test_profile_of_bmp_takes_no_more_memory_than_its_file(tmp_path):
    """Its header may give any number of bytes."""
    content = bytearray(write_bmp(b"MBED", profile=ADOBE_PROFILE))
    struct.pack_into("<I", content, 14 + 116, 2**32 - 1)
    path = tmp_path / "a.bmp"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with Image.open(path) as opened:
            assert read_colour(opened) == pytest.approx(IN_ADOBE, abs=0.005)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize("space", ["RGB", "GRAY"])
def test_profile_of_gray_palettes_is_honoured(space):
    """Pillow reads a palette of grays as gray; its profile is mostly one of colours."""
    profile = write_profile(SRGB, (1.0,), space)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    gif = add_gif_profile(encode(ramp, "GIF"), profile)
    assert Image.open(io.BytesIO(gif)).mode == "L"
    bmp = write_bmp(b"MBED", profile=profile, gray=ramp)
    assert Image.open(io.BytesIO(bmp)).mode == "L"
    expected = encode_srgb(np.arange(256) / 255)
    for content in [gif, bmp]:
        image = read_image(content, image_size=(4, 256))
        assert np.abs(image[:, :, 0] - expected).max() < 0.005
        stored = read_image(content, image_size=(4, 256), color_management=False)
        assert np.abs(stored[:, :, 0] - np.arange(256) / 255).max() < 0.001


def test_profile_of_gray_palettes_keeps_what_the_frame_leaves_transparent():
    profile = write_profile(SRGB, (1.0,), "RGB")
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    content = bytearray(add_gif_profile(encode(ramp, "GIF"), profile))
    content[6:10] = struct.pack("<HH", 256, 8)  # a higher canvas
    options = {"image_size": (8, 256), "color_mode": "rgba"}
    image = read_image(bytes(content), **options)
    assert (image[4:, :, 3] == 0).all()
    expected = encode_srgb(np.arange(256) / 255)
    assert np.abs(image[:4, :, 1] - expected).max() < 0.005


def calibrate(primaries, gamma):
    """Give primaries and gamma as numbers of 2.30 and 16.16 bits."""
    x, y = np.array(primaries).reshape(4, 2)[:3].T
    ends = np.stack([x, y, 1 - x - y], axis=1) * 2**30
    return {"ends": ends.astype(int).ravel(), "gammas": [round(gamma * 65536)] * 3}


@pytest.mark.parametrize("gamma", [2.2, 1 / 2.2])
def test_primaries_of_bmp_are_honoured(gamma):
    """Some programs write the exponent of encoding, and others that of decoding."""
    expected = convert_colour(COLOUR, P3, power(2.2))
    content = write_bmp(bytes(4), **calibrate(P3, gamma))
    check_colour(content, expected, abs=0.008)


def test_primaries_of_bmp_that_mean_nothing_change_nothing():
    kinds = [
        {},
        calibrate(ADOBE, 0),
        calibrate(ADOBE, 1000),
        {**calibrate(ADOBE, 1), "ends": [0] * 9},
        {**calibrate(ADOBE, 1), "ends": [-1] * 9},
        {**calibrate(ADOBE, 1), "gammas": [65536, 0, 2]},
    ]
    for kind in kinds:
        check_colour(write_bmp(bytes(4), **kind), STORED, abs=0.001)


# AVIF and HEIC


def write_main_and_alpha(image_format):
    """Write an image with transparency, which is an image of its own in the file."""
    image = Image.new("RGBA", (40, 40), (*COLOUR, 255))
    image.putpixel((0, 0), (*COLOUR, 254))
    if image_format == "AVIF":
        return encode(image, "AVIF", quality=100, subsampling="4:4:4")
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=-1, chroma=444)
    return stream.getvalue()


def edit_properties(content, edit):
    """Write a file whose list of properties is another one.

    `edit` gets that list, the numbers from 1 that each image has of it, by the number
    of the image, and the number of the main image; it returns both anew.
    """
    place = content.index(b"meta") - 4
    size = int.from_bytes(content[place : place + 4], "big")
    meta = content[place + 12 : place + size]
    parts = dict(list_boxes(meta))
    main = int.from_bytes(parts[b"pitm"][4:6], "big")
    properties = list_boxes(dict(list_boxes(parts[b"iprp"]))[b"ipco"])
    ipma = dict(list_boxes(parts[b"iprp"]))[b"ipma"]
    assert ipma[0] == ipma[3] == 0
    numbers, position = {}, 8
    for _ in range(int.from_bytes(ipma[4:8], "big")):
        item, n_places = struct.unpack_from(">HB", ipma, position)
        numbers[item] = list(ipma[position + 3 : position + 3 + n_places])
        position += 3 + n_places
    properties, numbers = edit(properties, numbers, main)
    entries = b"".join(
        struct.pack(">HB", item, len(each)) + bytes(each)
        for item, each in numbers.items()
    )
    ipco = box(b"ipco", *(box(name, body) for name, body in properties))
    iprp = box(b"iprp", ipco, box(b"ipma", ipma[:8], entries))
    grown = len(iprp) - len(parts[b"iprp"]) - 8
    new = {b"iprp": iprp, b"iloc": box(b"iloc", move_items(parts[b"iloc"], grown))}
    boxes = [new.get(name, box(name, body)) for name, body in list_boxes(meta)]
    meta = box(b"meta", content[place + 8 : place + 12], *boxes)
    return content[:place] + meta + content[place + size :]


def put_colours_first(content, of_alpha, of_main):
    """Write numbers of colours of the alpha image in front of those of the main one.

    The list of properties gets them as the first two, and loses those of the writer.
    """

    def edit(properties, numbers, main):
        removed = [i + 1 for i, (name, _) in enumerate(properties) if name == b"colr"]
        colours = [
            (b"colr", b"nclx" + struct.pack(">3HB", *code, 6, 128))
            for code in [of_alpha, of_main]
        ]
        properties = [
            (b"free" if name == b"colr" else name, body) for name, body in properties
        ]
        numbers = {
            item: [each + 2 for each in its if each & 127 not in removed]
            + [2 if item == main else 1]
            for item, its in numbers.items()
        }
        return colours + properties, numbers

    return edit_properties(content, edit)


def move_items(iloc, n_bytes):
    """Add to the places of all items (ISO/IEC 14496-12, section 8.11.3)."""
    iloc, version = bytearray(iloc), iloc[0]
    assert (iloc[4], version < 2) == (0x44, True)
    n_base, position = iloc[5] >> 4, 8
    for _ in range(int.from_bytes(iloc[6:8], "big")):
        position += 2 + 2 * (version == 1) + 2 + n_base
        (n_extents,) = struct.unpack_from(">H", iloc, position)
        for extent in range(n_extents):
            where = position + 2 + 8 * extent
            (offset,) = struct.unpack_from(">I", iloc, where)
            struct.pack_into(">I", iloc, where, offset + n_bytes)
        position += 2 + 8 * n_extents
    return bytes(iloc)


@pytest.mark.parametrize("image_format", ["AVIF", "HEIC"])
def test_numbers_of_the_main_image_count(image_format):
    """Those of other images, such as the one of transparency, may come before them."""
    content = write_main_and_alpha(image_format)
    srgb, p3, pq, bt709 = (1, 13), (12, 13), (9, 16), (1, 1)
    in_p3 = put_colours_first(content, srgb, p3)
    assert read_colour(in_p3) == pytest.approx(IN_P3, abs=0.02)
    for others in [pq, p3]:
        for own in [srgb, bt709]:
            stored = put_colours_first(content, others, own)
            assert read_colour(stored) == pytest.approx(STORED, abs=0.015)
    assert "PQ" in refuse(put_colours_first(content, srgb, pq)).reason
    if image_format == "AVIF":
        opened = Image.open(io.BytesIO(in_p3))
        assert np.array_equal(read_colour(opened), read_colour(in_p3))


def test_numbers_of_an_avif_animation_are_honoured():
    frames = [Image.new("RGB", (40, 40), each) for each in [COLOUR, (1, 2, 3)]]
    content = encode(
        frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=100
    )
    assert content[8:12] == b"avis"
    place = content.index(b"colrnclx", content.index(b"moov")) + 8
    in_p3 = content[:place] + struct.pack(">2H", 12, 13) + content[place + 4 :]
    assert read_colour(in_p3) == pytest.approx(IN_P3, abs=0.02)


# Boxes


def test_boxes_of_damaged_files_end():
    """Lengths that lead nowhere, back or round."""
    header = b"\0\0\0\x0cftypavif"
    for length in [0, 1, 2, 7, 8, 9, 2**32 - 1]:
        bad = struct.pack(">I4s", length, b"meta") + b"abc"
        find_box(io.BytesIO(header + bad), b"meta")
        assert find_box(io.BytesIO(header + bad), b"moov") is None
        assert len(list_boxes(bad)) <= 1
    long = struct.pack(">I4sQ", 1, b"meta", 19) + b"abc"
    assert find_box(io.BytesIO(header + long), b"meta") == b"abc"
    assert list_boxes(long) == [(b"meta", b"abc")]
    for length in [0, 8, 15, 2**62, 2**63 + 7, 2**64 - 1]:
        bad = struct.pack(">I4sQ", 1, b"free", length) + b"abc"
        assert find_box(io.BytesIO(header + bad), b"meta") is None
    many = box(b"free") * 100_000 + box(b"meta", b"abc")
    assert find_box(io.BytesIO(many), b"meta") is None


def test_box_of_no_properties_is_damage_like_any_other():
    """Its version and number of entries are read only where it holds them."""
    for content in [b"", b"\0", bytes(4), bytes(7)]:
        properties = box(b"iprp", box(b"ipco"), box(b"ipma", content))
        meta = box(b"meta", bytes(4), box(b"pitm", bytes(4) + b"\0\1"), properties)
        assert list_main_properties(io.BytesIO(meta)) == []


# JPEG


def make_interoperability(index, colour_space=65535):
    exif = Image.Exif()
    directory = exif.get_ifd(ExifTags.IFD.Exif)
    directory[ExifTags.Base.ColorSpace] = colour_space
    directory[ExifTags.IFD.Interop] = {1: index}
    return exif


@pytest.mark.parametrize("index", ["R03", "R98"])
@pytest.mark.parametrize("image_format", ["JPEG", "MPO"])
def test_cameras_adobe_rgb_without_a_profile_is_honoured(index, image_format):
    """As cameras name it in EXIF (DCF 2.0), in files that hold no profile."""
    image = Image.new("RGB", (40, 40), COLOUR)
    exif = make_interoperability(index)
    content = encode(image, image_format, quality=100, exif=exif)
    assert f"{index}\0".encode() in content
    check_colour(content, IN_ADOBE if index == "R03" else STORED, abs=0.008)
    gray = read_image(content, image_size=(2, 2))
    expected = (IN_ADOBE if index == "R03" else STORED) @ [0.299, 0.587, 0.114]
    assert gray == pytest.approx(expected, abs=0.008)


@pytest.mark.parametrize("image_format", ["JPEG", "MPO"])
def test_srgb_in_exif_counts_more_than_cameras_adobe_rgb(image_format):
    """Programs that convert a photo to sRGB may keep the index of its camera."""
    image = Image.new("RGB", (40, 40), COLOUR)
    options = {"quality": 100, "exif": make_interoperability("R03", 1)}
    check_colour(encode(image, image_format, **options), STORED, abs=0.008)


def test_cameras_profile_counts_more_than_exif():
    image = Image.new("RGB", (40, 40), COLOUR)
    options = {"quality": 100, "exif": make_interoperability("R03")}
    content = encode(image, "JPEG", icc_profile=P3_PROFILE, **options)
    check_colour(content, IN_P3, abs=0.008)


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_cameras_adobe_rgb_is_honoured_in_copies(copy):
    """A copy of a JPEG image has its EXIF, but no name of its format."""
    image = Image.new("RGB", (40, 40), COLOUR)
    exif = make_interoperability("R03")
    content = encode(image, "JPEG", quality=100, exif=exif)
    opened = copy(Image.open(io.BytesIO(content)))
    assert read_colour(opened) == pytest.approx(IN_ADOBE, abs=0.008)


# The places of "av1C" in Pillow's files, with the bit of what a reader must know.
EXCHANGED = bytes.maketrans(b"\x83\x86", b"\x86\x83")


def test_depth_of_the_main_image_is_noted():
    """Not that of its transparency, which may come first and have 8 bits."""
    content = write_main_and_alpha("AVIF")
    first, second = (found.end() for found in re.finditer(b"av1C", content))
    places = content.index(b"ipma"), content.index(b"mdat")
    for depths in [(0x4C, 0x0C), (0x0C, 0x4C), (0x4C, 0x6C)]:
        changed = bytearray(content)
        changed[first + 2], changed[second + 2] = depths
        bits = {0x0C: 8, 0x4C: 10, 0x6C: 12}
        assert count_bits(bytes(changed), "AVIF") == bits[depths[0]]
        # The main image takes the second of both, and its transparency the first.
        exchanged = changed[slice(*places)].translate(EXCHANGED)
        changed[slice(*places)] = exchanged
        assert count_bits(bytes(changed), "AVIF") == bits[depths[1]]


@pytest.mark.parametrize("image_format", ["AVIF", "HEIC"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ((12, 1), IN_P3),
        ((12, 2), IN_P3),
        ((6, 6), STORED),
        ((1, 8), encode_srgb(STORED)),
        ((1, 4), encode_srgb(STORED**2.2)),
        ((2, 2), STORED),
    ],
)
def test_numbers_of_other_curves_are_honoured(code, expected, image_format):
    """Cameras' curves stand for sRGB's, in wide primaries as well; others are meant."""
    content = put_colours_first(write_main_and_alpha(image_format), (1, 13), code)
    assert read_colour(content) == pytest.approx(expected, abs=0.02)
