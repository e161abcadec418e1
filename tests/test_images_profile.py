"""Colours that a file says aren't sRGB: ICC profiles, and the chunks of PNG."""

import io
import pickle
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
import tifffile
from image_corpus import refuse
from PIL import Image, ImageCms
from sample_images import encode, make_exif, make_scene
from test_images_png import add_chunks, join_chunks, write_deep

from skimgclf import ImageLoader
from skimgclf.images import check_images, read_image
from skimgclf.images._decoding import profile as profile_module
from skimgclf.images._decoding.profile import write_profile

D65 = (0.3127, 0.3290)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65)
P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *D65)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

COLOUR = (180, 120, 90)


def find_matrix(primaries):
    """Compute the matrix from linear RGB to XYZ (SMPTE RP 177)."""
    x, y = np.array(primaries).reshape(4, 2).T
    columns = np.stack([x, y, 1 - x - y])[:, :3]
    white = np.array([x[3] / y[3], 1, (1 - x[3] - y[3]) / y[3]])
    return columns * np.linalg.solve(columns, white)


def encode_srgb(linear):
    """Encode linear values (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )[()]


def decode_srgb(value):
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def convert_colour(colour, primaries, decode):
    """Convert a colour to sRGB by the formulas of its space, also of white D65."""
    linear = decode(np.array(colour) / 255)
    matrix = np.linalg.solve(find_matrix(SRGB), find_matrix(primaries))
    return encode_srgb(matrix @ linear)


def power(exponent):
    return lambda value: value**exponent


ADOBE_PROFILE = write_profile(ADOBE, (563 / 256,), "RGB")
P3_PROFILE = write_profile(P3, SRGB_CURVE, "RGB")
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IN_ADOBE = convert_colour(COLOUR, ADOBE, power(563 / 256))
IN_P3 = convert_colour(COLOUR, P3, decode_srgb)


def read_colour(source, **options):
    """Read the one colour of an image."""
    options = {"image_size": (2, 2), "color_mode": "rgb", **options}
    return read_image(source, **options)[0, 0]


def encode_flat(image_format, profile, mode="RGB", colour=COLOUR):
    image = Image.new(mode, (40, 40), colour)
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}
    options = options.get(
        image_format, {"AVIF": {"quality": 100}}.get(image_format, {})
    )
    return encode(image, image_format, icc_profile=profile, **options)


def test_formulas_give_known_colours():
    """As the sheets of colour spaces have it: Adobe RGB (180, 120, 90) in sRGB."""
    assert IN_ADOBE == pytest.approx([0.78, 0.47, 0.35], abs=0.006)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    ("profile", "expected"), [(ADOBE_PROFILE, IN_ADOBE), (P3_PROFILE, IN_P3)]
)
def test_profile_is_honoured_in_every_format(image_format, profile, expected):
    content = encode_flat(image_format, profile)
    assert read_colour(content) == pytest.approx(expected, abs=0.008)
    luma = expected @ [0.299, 0.587, 0.114]
    gray = read_image(content, image_size=(2, 2))
    assert gray == pytest.approx(luma, abs=0.008)
    stored = read_colour(content, color_management=False)
    assert stored * 255 == pytest.approx(COLOUR, abs=2)
    opened = Image.open(io.BytesIO(content))
    assert np.array_equal(read_colour(opened), read_colour(content))


def test_profile_of_heic_is_honoured():
    image = Image.new("RGB", (40, 40), COLOUR)
    image.info["icc_profile"] = P3_PROFILE
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=-1, chroma=444)
    assert read_colour(stream.getvalue()) == pytest.approx(IN_P3, abs=0.015)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_profile_of_deep_and_planar_tiff_is_honoured(bits, planes):
    scale = 257 if bits == 16 else 1
    pixels = np.full((40, 40, 3), COLOUR, dtype=f"u{bits // 8}") * scale
    pixels = np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels
    stream = io.BytesIO()
    options = {"photometric": "rgb", "planarconfig": planes}
    tifffile.imwrite(stream, pixels, iccprofile=ADOBE_PROFILE, **options)
    assert read_colour(stream.getvalue()) == pytest.approx(IN_ADOBE, abs=0.005)


def test_profile_of_deep_gray_is_honoured():
    """Linear light of 0.2 is 0.4845 in sRGB, and a step of 16 bits is kept."""
    profile = write_profile(None, (1.0,), "GRAY")
    deep = np.full((40, 40), 13107, dtype=np.uint16)
    for value in [13107, 13117]:
        deep[:] = value
        for image_format in ["TIFF", "PNG"]:
            image = read_image(
                encode(deep, image_format, icc_profile=profile), image_size=(2, 2)
            )
            expected = float(encode_srgb(value / 65535))
            assert image == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
def test_profile_of_gray_with_alpha_in_tiff_is_honoured(extra, planes, bits):
    """Linear light of 0.4 is 0.665 in sRGB, whatever the bits and the planes."""
    alpha = 0.8
    gray = 0.4 * alpha if extra == "assocalpha" else 0.4
    pixels = np.rint(np.full((40, 40, 2), [gray, alpha]) * (2**bits - 1))
    pixels = pixels.astype(f"u{bits // 8}")
    pixels = np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels
    stream = io.BytesIO()
    options = {"photometric": "minisblack", "extrasamples": [extra]}
    profile = write_profile(None, (1.0,), "GRAY")
    tifffile.imwrite(stream, pixels, planarconfig=planes, iccprofile=profile, **options)
    expected = [*[float(encode_srgb(0.4))] * 3, alpha]
    image = read_colour(stream.getvalue(), color_mode="rgba")
    assert image == pytest.approx(expected, abs=0.006)


def write_linear(values, kind):
    """Write a row of gray values of 16 bits in linear light."""
    deep = np.tile(values.astype(np.uint16), (2, 1))
    if kind == "gray PNG":
        content = encode(deep, "PNG")
    elif kind == "gray TIFF":
        profile = write_profile(None, (1.0,), "GRAY")
        return encode(deep, "TIFF", icc_profile=profile)
    else:
        deep = np.repeat(deep[:, :, np.newaxis], 3, axis=2)
        if kind == "TIFF":
            stream = io.BytesIO()
            profile = write_profile(SRGB, (1.0,), "RGB")
            tifffile.imwrite(stream, deep, iccprofile=profile, photometric="rgb")
            return stream.getvalue()
        content = write_deep(deep)
    return join_chunks(add_chunks(content, (b"gAMA", struct.pack(">I", 100_000))))


@pytest.mark.parametrize("kind", ["gray PNG", "gray TIFF", "PNG", "TIFF"])
def test_profile_of_linear_light_keeps_sixteen_bits(kind):
    """Near black, a level of 8 bits in linear light is 13 levels in sRGB."""
    for values in [np.arange(100, 401), np.arange(0, 65536, 16)]:
        image = read_image(
            write_linear(values, kind), image_size=(2, len(values)), color_mode="rgb"
        )
        expected = encode_srgb(values / 65535)[:, np.newaxis]
        assert np.abs(image[0] - expected).max() < 0.003
        assert np.diff(image[0], axis=0).min() >= -1e-6


def test_profile_of_deep_colours_is_near_the_formula_between_levels():
    """In linear light, where primaries are wider and channels depend on each other."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    values[:10] = values[:10] // 16 + 300
    values[0, :3] = [[0, 0, 0], [65535, 65535, 65535], [65535, 0, 300]]
    stream = io.BytesIO()
    profile = write_profile(P3, (1.0,), "RGB")
    tifffile.imwrite(stream, values, photometric="rgb", iccprofile=profile)
    options = {"image_size": (20, 30), "color_mode": "rgb"}
    image = read_image(stream.getvalue(), **options)
    matrix = np.linalg.solve(find_matrix(SRGB), find_matrix(P3))
    expected = encode_srgb((values / 65535) @ matrix.T)
    difference = np.abs(image - expected)
    assert difference.mean() < 0.0015
    assert np.quantile(difference, 0.99) < 0.006


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_profile_of_gray_is_honoured(mode):
    profile = write_profile(None, (1.0,), "GRAY")
    colour = {"L": 51, "LA": (51, 255), "1": 1}[mode]
    image = Image.new(mode, (40, 40), colour)
    expected = 1 if mode == "1" else encode_srgb(0.2)
    content = encode(image, "PNG", icc_profile=profile)
    for color_mode in ["grayscale", "rgb", "rgba"]:
        pixels = read_colour(content, color_mode=color_mode)
        assert pixels[0] == pytest.approx(expected, abs=0.005)


def make_cmyk_profile(*falls, intent=0):
    """Write a profile in which black alone counts: L* is 100 less 80 of black.

    `falls` are numbers in place of 80, for the tables of the intents 0, 1 and 2, and
    `intent` is that of the header (ICC.1:2022, sections 7.2.15 and 9.2).
    """
    white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    parts = {b"wtpt": white}
    for number, fall in enumerate(falls or [80]):
        parts[b"A2B%d" % number] = write_lightness_table(fall)
    place = 128 + 4 + 12 * len(parts)
    tags, data = struct.pack(">I", len(parts)), b""
    for name, value in parts.items():
        tags += name + struct.pack(">II", place + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s24xI3i48x",
        *(place + len(data), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp", intent),
        *(63190, 65536, 54061),
    )
    return header + tags + data


def write_lightness_table(fall):
    """Write a table from CMYK to L*a*b* (ICC.1:2022, section 10.11)."""
    lightness = [100 - fall * black for *_, black in np.ndindex(2, 2, 2, 2)]
    table = b"".join(bytes([round(each * 2.55), 128, 128]) for each in lightness)
    identity = struct.pack(
        ">9i", *(65536 * each for each in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    )
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
    return lut + bytes(range(256)) * 4 + table + bytes(range(256)) * 3


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_profile_of_cmyk_is_honoured(image_format):
    """L* of 60 is 0.567 in sRGB (CIE 15), less the adaption of black to the screen's.

    Pillow's own formula for CMYK gives 0.1.
    """
    colour = (200, 10, 60, 128)
    content = encode_flat(image_format, make_cmyk_profile(), "CMYK", colour)
    assert read_colour(content) == pytest.approx([0.567] * 3, abs=0.03)
    assert read_colour(content, color_management=False)[0] < 0.2


@pytest.mark.parametrize("intent", [0, 1, 2, 3])
def test_profile_is_taken_with_its_perceptual_intent(intent):
    """Whatever its header prefers: L* of 60, where others would be 80 and 90."""
    content = encode_flat(
        "JPEG", make_cmyk_profile(80, 40, 20, intent=intent), "CMYK", (200, 10, 60, 128)
    )
    assert read_colour(content) == pytest.approx([0.567] * 3, abs=0.03)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_profile_of_cmyk_is_honoured_in_deep_and_planar_tiff(bits, planes):
    """Of 16 bits 8 are kept, which a note of `check_images` says."""
    colour = np.array([200, 10, 60, 128]) * (257 if bits == 16 else 1)
    pixels = np.full((40, 40, 4), colour, dtype=f"u{bits // 8}")
    pixels = np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels
    options = {"photometric": "separated", "planarconfig": planes}
    plain, managed = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(plain, pixels, **options)
    tifffile.imwrite(managed, pixels, iccprofile=make_cmyk_profile(), **options)
    content = managed.getvalue()
    assert read_colour(content) == pytest.approx([0.567] * 3, abs=0.03)
    stored = read_colour(content, color_management=False)
    assert stored == pytest.approx(read_colour(plain.getvalue()), abs=0.005)
    note = check_images([plain.getvalue(), content]).note
    assert note.tolist() == [None, "read at 8 of 16 bits" if bits == 16 else None]


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_profile_of_cmyk_with_alpha_is_refused_by_name(bits, planes):
    pixels = np.full((40, 40, 5), 100, dtype=f"u{bits // 8}")
    pixels = np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels
    options = {"photometric": "separated", "planarconfig": planes}
    options["extrasamples"] = ["unassalpha"]
    plain, managed, other = io.BytesIO(), io.BytesIO(), io.BytesIO()
    tifffile.imwrite(plain, pixels, **options)
    tifffile.imwrite(managed, pixels, iccprofile=make_cmyk_profile(), **options)
    tifffile.imwrite(other, pixels, iccprofile=ADOBE_PROFILE, **options)
    content = managed.getvalue()
    assert "CMYK with transparency" in refuse(content).reason
    assert "CMYK with transparency" in check_images([content]).reason[0]
    expected = read_colour(plain.getvalue())
    stored = read_colour(content, color_management=False)
    assert np.array_equal(stored, expected)
    assert np.array_equal(read_colour(other.getvalue()), expected)


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        ADOBE_PROFILE[:200],
        write_profile(None, (1.8,), "GRAY"),  # of another kind of pixels
        make_cmyk_profile(),
        SRGB_PROFILE,
        write_profile(SRGB, SRGB_CURVE, "RGB"),
    ],
    ids=["no profile", "cut", "gray", "CMYK", "sRGB", "sRGB by its values"],
)
def test_profile_that_is_broken_or_srgb_changes_nothing(profile):
    """Nor does it cost the fast way from JPEG to gray."""
    for mode in ["grayscale", "rgb", "rgba"]:
        for image_format in ["JPEG", "PNG"]:
            options = {"image_size": (9, 9), "color_mode": mode}
            plain = encode(make_scene(), image_format)
            content = encode(make_scene(), image_format, icc_profile=profile)
            expected = read_image(plain, **options)
            assert np.array_equal(read_image(content, **options), expected)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
def test_background_and_padding_are_srgb(deep, color_mode):
    """They are the user's colours, not the file's."""
    rgba = np.zeros((20, 40, 4), dtype=np.uint8)
    rgba[:, 20:] = (*COLOUR, 255)
    if deep:
        stream = io.BytesIO()
        options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
        pixels = rgba.astype("u2") * 257
        tifffile.imwrite(stream, pixels, iccprofile=ADOBE_PROFILE, **options)
        content = stream.getvalue()
    else:
        content = encode(rgba, "PNG", icc_profile=ADOBE_PROFILE)
    options = {"image_size": (40, 40), "color_mode": color_mode, "resize_mode": "pad"}
    image = read_image(content, background=(0, 200, 100), **options)
    background = read_image(
        np.full((9, 9, 3), (0, 200, 100), "u1"),
        image_size=(1, 1),
        color_mode=color_mode,
    )[0, 0]
    assert image[2, 30] == pytest.approx(background)
    if color_mode == "rgba":
        assert image[20, 5, 3] == 0
    else:
        assert image[20, 5] == pytest.approx(background, abs=0.001)
    expected = (
        IN_ADOBE if color_mode != "grayscale" else [IN_ADOBE @ [0.299, 0.587, 0.114]]
    )
    assert image[20, 35, :3] == pytest.approx(expected, abs=0.01)


def chunk(kind, *values):
    body = {
        b"gAMA": lambda: struct.pack(">I", *values),
        b"cHRM": lambda: struct.pack(
            ">8I", *(round(1e5 * each) for each in (*values[6:], *values[:6]))
        ),
        b"sRGB": lambda: bytes(values),
        b"cICP": lambda: bytes(values),
        b"iCCP": lambda: b"name\0\0" + zlib.compress(values[0]),
    }[kind]()
    return kind, body


STORED = np.array(COLOUR) / 255
P3_CODE = chunk(b"cICP", 12, 13, 0, 1)
LINEAR = encode_srgb(STORED)


def decode_bt709(value):
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([chunk(b"gAMA", 100_000)], LINEAR),
        ([chunk(b"gAMA", 45455)], STORED),
        ([chunk(b"gAMA", 45455), chunk(b"cHRM", *SRGB)], STORED),
        (
            [chunk(b"gAMA", 55556), chunk(b"cHRM", *P3)],
            convert_colour(COLOUR, P3, power(1 / 0.55556)),
        ),
        ([chunk(b"cHRM", *P3)], IN_P3),
        ([chunk(b"sRGB", 0)], STORED),
        ([chunk(b"sRGB", 0), chunk(b"gAMA", 100_000)], STORED),
        ([chunk(b"gAMA", 100_000), chunk(b"sRGB", 0), chunk(b"cHRM", *P3)], STORED),
        ([chunk(b"iCCP", P3_PROFILE), chunk(b"gAMA", 100_000)], IN_P3),
        ([chunk(b"iCCP", P3_PROFILE), chunk(b"sRGB", 0)], IN_P3),
        ([chunk(b"iCCP", b"broken"), chunk(b"gAMA", 100_000)], STORED),
        ([P3_CODE, chunk(b"iCCP", ADOBE_PROFILE), chunk(b"sRGB", 0)], IN_P3),
        ([chunk(b"cICP", 1, 13, 0, 1), chunk(b"iCCP", ADOBE_PROFILE)], STORED),
        (
            [chunk(b"cICP", 1, 1, 0, 1)],
            convert_colour(COLOUR, SRGB, decode_bt709),
        ),
        ([chunk(b"cICP", 2, 2, 0, 1), chunk(b"gAMA", 100_000)], LINEAR),
        ([chunk(b"gAMA", 0)], STORED),
        ([chunk(b"cHRM", *[0] * 8)], STORED),
        (
            [(b"gAMA", b"\0"), (b"cICP", b"\1"), (b"cHRM", b"\1"), (b"iCCP", b"a")],
            STORED,
        ),
    ],
)
def test_png_says_its_colours_in_the_order_of_the_specification(chunks, expected):
    """PNG, third edition, section 4.3: cICP, iCCP, sRGB, then gAMA and cHRM."""
    plain = encode(Image.new("RGB", (40, 40), COLOUR), "PNG")
    content = join_chunks(add_chunks(plain, *chunks))
    assert read_colour(content) == pytest.approx(expected, abs=0.006)
    assert read_colour(content, color_management=False) == pytest.approx(STORED)


COPIES = {
    "loaded": lambda image: image.load() and image,
    "copied": lambda image: image.copy(),
    "pickled": lambda image: pickle.loads(pickle.dumps(image)),
    "smaller": lambda image: image.resize((20, 20)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([chunk(b"gAMA", 100_000)], LINEAR),
        ([chunk(b"gAMA", 45455), chunk(b"cHRM", *P3)], IN_P3),
        (
            [chunk(b"gAMA", 55556), chunk(b"cHRM", *P3)],
            convert_colour(COLOUR, P3, power(1 / 0.55556)),
        ),
        ([chunk(b"cHRM", *P3)], IN_P3),
        ([chunk(b"sRGB", 0), chunk(b"gAMA", 100_000), chunk(b"cHRM", *P3)], STORED),
        ([chunk(b"iCCP", P3_PROFILE), chunk(b"gAMA", 100_000)], IN_P3),
        ([chunk(b"gAMA", 1)], STORED),
    ],
)
def test_png_that_was_decoded_has_the_colours_of_its_file(chunks, expected, copy):
    """Pillow's copies hold what the chunks say, all but cICP."""
    plain = encode(Image.new("RGB", (40, 40), COLOUR), "PNG")
    opened = Image.open(io.BytesIO(join_chunks(add_chunks(plain, *chunks))))
    assert read_colour(copy(opened)) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("value", ["2.2", None, float("nan"), 1e300, (1, 2), 0, -1.0])
def test_colours_in_pil_images_that_mean_nothing_change_nothing(value):
    image = Image.new("RGB", (40, 40), COLOUR)
    for name in ["gamma", "chromaticity", "srgb", "exif"]:
        image.info = {name: value}
        assert read_colour(image) == pytest.approx(STORED)
    image.info = {"chromaticity": (value,) * 8}
    assert read_colour(image) == pytest.approx(STORED)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P"])
@pytest.mark.parametrize(
    "gamma", [1, 2, 3, 15, 16, 17, 625_000_000, 625_000_001, 2**31 - 1, 2**32 - 1]
)
def test_png_of_a_gamma_that_no_screen_has_is_read(gamma, mode):
    """Libpng (png_colorspace_set_gamma) ignores less than 0.00016 and over 6250."""
    if mode == "I;16":
        plain = encode(np.full((40, 40), 128 * 257, dtype=np.uint16), "PNG")
    else:
        plain = encode(
            Image.new("RGBA", (40, 40), (128, 128, 128)).convert(mode), "PNG"
        )
    content = join_chunks(add_chunks(plain, chunk(b"gAMA", gamma)))
    is_ignored = not 16 <= gamma <= 625_000_000
    expected = 128 / 255 if is_ignored else float(gamma > 45455)
    assert read_colour(content) == pytest.approx([expected] * 3, abs=0.01)


def test_png_of_gray_takes_the_curve_alone():
    plain = encode(Image.new("L", (40, 40), 51), "PNG")
    chunks = [chunk(b"gAMA", 100_000), chunk(b"cHRM", *P3)]
    content = join_chunks(add_chunks(plain, *chunks))
    assert read_colour(content) == pytest.approx([encode_srgb(0.2)] * 3, abs=0.005)


@pytest.mark.parametrize(
    ("code", "word"),
    [((9, 16, 0, 1), "PQ"), ((9, 18, 0, 1), "HLG"), ((1, 1, 0, 0), "video")],
)
def test_png_of_high_dynamic_range_is_refused_by_name(code, word):
    plain = encode(Image.new("RGB", (40, 40), COLOUR), "PNG")
    content = join_chunks(add_chunks(plain, chunk(b"cICP", *code)))
    assert word in refuse(content).reason
    assert word in check_images([content]).reason[0]
    assert read_colour(content, color_management=False) == pytest.approx(STORED)


def change_code(content, primaries, transfer):
    """Change the numbers of an AVIF or HEIC file that stand for its colours."""
    changed = bytearray(content)
    place = content.index(b"colrnclx") + 8
    changed[place : place + 4] = struct.pack(">2H", primaries, transfer)
    return bytes(changed)


@pytest.mark.parametrize("image_format", ["AVIF", "HEIC"])
def test_numbers_of_avif_and_heic_are_honoured(image_format):
    """Display P3 with sRGB's curve; a camera's curve of BT.709 isn't meant."""
    image = Image.new("RGB", (40, 40), COLOUR)
    if image_format == "AVIF":
        content = encode(image, "AVIF", quality=100, subsampling="4:4:4")
    else:
        stream = io.BytesIO()
        pillow_heif.from_pillow(image).save(stream, quality=-1, chroma=444)
        content = stream.getvalue()
    stored = read_colour(content)
    assert stored == pytest.approx(STORED, abs=0.015)
    in_p3 = read_colour(change_code(content, 12, 13))
    assert in_p3 == pytest.approx(IN_P3, abs=0.02)
    if image_format == "AVIF":
        opened = Image.open(io.BytesIO(change_code(content, 12, 13)))
        assert np.array_equal(read_colour(opened), in_p3)
    assert np.array_equal(read_colour(change_code(content, 1, 1)), stored)
    assert "PQ" in refuse(change_code(content, 9, 16)).reason
    assert "HLG" in refuse(change_code(content, 9, 18)).reason


def open_heic(content):
    """Open HEIC as Pillow does once pillow-heif is registered in it."""
    return pillow_heif.HeifImageFile(io.BytesIO(content))


@pytest.mark.parametrize(
    "make",
    [
        open_heic,
        lambda content: open_heic(content).copy(),
        lambda content: pickle.loads(pickle.dumps(open_heic(content))),
        lambda content: pillow_heif.open_heif(io.BytesIO(content)).to_pillow(),
    ],
    ids=["opened", "copied", "pickled", "converted"],
)
def test_numbers_of_heic_as_a_pil_image_are_honoured(make):
    """pillow-heif keeps them beside the pixels, also in copies."""
    stream = io.BytesIO()
    image = Image.new("RGB", (40, 40), COLOUR)
    pillow_heif.from_pillow(image).save(stream, quality=-1, chroma=444)
    content = stream.getvalue()
    for numbers in [(12, 13), (1, 13), (1, 1)]:
        changed = change_code(content, *numbers)
        for options in [{}, {"color_management": False}]:
            expected = read_colour(changed, **options)
            assert np.array_equal(read_colour(make(changed), **options), expected)
    assert "PQ" in refuse(make(change_code(content, 9, 16))).reason
    assert "HLG" in refuse(make(change_code(content, 9, 18))).reason
    image.info["icc_profile"] = ADOBE_PROFILE
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=-1, chroma=444)
    expected = read_colour(stream.getvalue())
    assert expected == pytest.approx(IN_ADOBE, abs=0.015)
    assert np.array_equal(read_colour(make(stream.getvalue())), expected)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_profile_of_gray_in_heic_is_honoured(mode):
    """Linear light of 0.2 is 0.4845 in sRGB; libheif makes colours of LA."""
    stream = io.BytesIO()
    pixels = np.full((64, 64, len(mode)), (51, 204)[: len(mode)], dtype=np.uint8)
    file = pillow_heif.from_bytes(mode, (64, 64), pixels.tobytes())
    file[0].info["icc_profile"] = write_profile(None, (1.0,), "GRAY")
    file.save(stream, quality=-1)
    expected = [*[float(encode_srgb(0.2))] * 3, 0.8 if mode == "LA" else 1]
    for source in [stream.getvalue(), open_heic(stream.getvalue())]:
        image = read_colour(source, color_mode="rgba")
        assert image == pytest.approx(expected, abs=0.01)


def test_profile_is_read_once_for_many_images():
    contents = [encode_flat("JPEG", P3_PROFILE, colour=(i, 9, 9)) for i in range(20)]
    profile_module._build_transform.cache_clear()
    ImageLoader(n_jobs=2).transform(contents)
    assert profile_module._build_transform.cache_info().currsize == 1


def test_profile_is_honoured_when_a_photo_is_turned():
    image = Image.new("RGB", (60, 40), COLOUR)
    image.paste((0, 0, 0), (0, 0, 30, 40))
    options = {"exif": make_exif(6), "icc_profile": P3_PROFILE, "quality": 100}
    content = encode(image, "JPEG", **options)
    upright = read_image(content, image_size=(6, 4), color_mode="rgb")
    assert upright[1] == pytest.approx(0, abs=0.01)
    assert upright[4, 2] == pytest.approx(IN_P3, abs=0.01)
