"""TIFF files whose tags on colours, bits and differences other readers pass over."""

import io
import itertools
import lzma
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from image_corpus import FULL_SIZE, refuse
from PIL import Image
from sample_images import encode, make_scene, make_tiff

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import check_images, read_image
from skimgclf.images._decoding.profile import ADOBE_RGB, write_profile

# A size that no subsampling divides.
ODD_SIZE = (37, 53)

# TIFF 6.0, section 21, YCbCrCoefficients: those of Rec. 601 are the default.
COEFFICIENTS = {
    "601": (0.299, 0.587, 0.114),
    "709": (0.2126, 0.7152, 0.0722),
}
# TIFF 6.0, section 20, ReferenceBlackWhite: the default, and the values of video.
BLACK_WHITE = {
    "full": (0, 255, 128, 255, 128, 255),
    "video": (16, 235, 128, 240, 128, 240),
}


def pack_bits(data):
    """Write PackBits (TIFF 6.0, section 9) of literal runs."""
    runs = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def pack_lzw(data):
    """Write LZW (TIFF 6.0, section 13) of codes of 9 bits for single bytes."""
    codes = []
    for at in range(0, len(data), 200):
        codes += [256, *data[at : at + 200]]  # the table is cleared before it grows
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


COMPRESS = {
    **{1: bytes, 5: pack_lzw, 8: zlib.compress},
    **{32773: pack_bits, 34925: lzma.compress},
}


def reverse_bits(data):
    """Turn the bits of each byte around, as FillOrder 2 says."""
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)


def make_ycbcr(subsampling, size=ODD_SIZE):
    """Paint luma, and blue and red chroma of fewer pixels, uint8."""
    rows, columns = np.indices(size)
    levels = 60 + (rows * 5 + columns * 3) % 130
    n_across, n_down = subsampling
    rows, columns = np.indices((-(-size[0] // n_down), -(-size[1] // n_across)))
    blue = 100 + (rows * 7 + columns * 2) % 50
    red = 110 + (rows + columns * 5) % 40
    return levels, blue, red


def pack_ycbcr(planes, subsampling, box):
    """Pack data units (TIFF 6.0, section 21): rows of luma, then both chromas."""
    (levels, blue, red), (n_across, n_down) = planes, subsampling
    top, left, bottom, right = box
    data = bytearray()
    for row in range(top, bottom, n_down):
        for column in range(left, right, n_across):
            for y, x in itertools.product(range(n_down), range(n_across)):
                inside = row + y < levels.shape[0] and column + x < levels.shape[1]
                data.append(levels[row + y, column + x] if inside else 0)
            place = row // n_down, column // n_across
            inside = place[0] < blue.shape[0] and place[1] < blue.shape[1]
            data += bytes([blue[place], red[place]] if inside else [0, 0])
    return bytes(data)


def write_ycbcr(
    planes,
    subsampling,
    *,
    compression=1,
    order="<",
    parts="strip",
    says=("601", "full"),
):
    """Write a file of one strip, of strips of 8 rows or of tiles."""
    height, width = planes[0].shape
    tags = [(259, 3, [compression])]
    if parts == "tiles":
        tags += [(322, 3, [32]), (323, 3, [16])]
        corners = itertools.product(range(0, height, 16), range(0, width, 32))
        boxes = [(top, left, top + 16, left + 32) for top, left in corners]
    else:
        n_rows = 8 if parts == "strips" else height
        tags += [(278, 3, [n_rows])]
        tops = range(0, height, n_rows)
        boxes = [(top, 0, min(top + n_rows, height), width) for top in tops]
    if subsampling != (2, 2):
        tags += [(530, 3, list(subsampling))]
    coefficients, black_white = says
    if coefficients != "601":
        parts_of = [(round(10_000 * each), 10_000) for each in COEFFICIENTS["709"]]
        tags += [(529, 5, parts_of)]
    if black_white != "full":
        tags += [(532, 5, [(each, 1) for each in BLACK_WHITE["video"]])]
    data = [COMPRESS[compression](pack_ycbcr(planes, subsampling, b)) for b in boxes]
    options = {"bits": [8] * 3, "photometric": 6, "order": order}
    content = make_tiff(data, size=(width, height), tags=tags, **options)
    return name_tiles(content, order) if parts == "tiles" else content


def name_tiles(content, order):
    """Call the strips of a file tiles."""
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    for number, other in [(273, 324), (279, 325)]:
        place = page.tags[number].offset
        content = (
            content[:place] + struct.pack(f"{order}H", other) + content[place + 2 :]
        )
    return content


def answer_ycbcr(planes, subsampling, says=("601", "full")):
    """Compute RGB to 255 by the formulas of TIFF 6.0, sections 20 and 21."""
    height, width = planes[0].shape
    codes = [planes[0]]
    for chroma in planes[1:]:
        larger = chroma.repeat(subsampling[1], axis=0).repeat(subsampling[0], axis=1)
        codes.append(larger[:height, :width])
    limits = np.reshape(BLACK_WHITE[says[1]], (3, 2))
    y, cb, cr = (
        (code - black) * coding_range / (white - black)
        for code, (black, white), coding_range in zip(
            codes, limits, [255, 127, 127], strict=True
        )
    )
    of_red, of_green, of_blue = COEFFICIENTS[says[0]]
    red = cr * (2 - 2 * of_red) + y
    blue = cb * (2 - 2 * of_blue) + y
    green = (y - of_blue * blue - of_red * red) / of_green
    return np.clip(np.stack([red, green, blue], axis=2), 0, 255)


def read_rgb(source, size=ODD_SIZE):
    return read_image(source, image_size=size, color_mode="rgb") * 255


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("compression", [1, 8, 32773])
def test_tiff_of_ycbcr_is_read_by_its_subsampling(subsampling, compression):
    """Pillow reads uncompressed ones as if each pixel had chroma of its own."""
    planes = make_ycbcr(subsampling)
    content = write_ycbcr(planes, subsampling, compression=compression)
    expected = answer_ycbcr(planes, subsampling)
    for source in [content, content + bytes(9000), Image.open(io.BytesIO(content))]:
        assert np.abs(read_rgb(source) - expected).max() <= 1.01
    second = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(second - expected).max() <= 1.01


@pytest.mark.parametrize("says", [("709", "full"), ("601", "video"), ("709", "video")])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_tiff_of_ycbcr_is_converted_by_its_own_numbers(subsampling, says):
    planes = make_ycbcr(subsampling)
    expected = answer_ycbcr(planes, subsampling, says)
    for parts in ["strips", "tiles"]:
        content = write_ycbcr(planes, subsampling, parts=parts, says=says)
        assert np.abs(read_rgb(content) - expected).max() <= 1.01
    whole = write_ycbcr(planes, subsampling, says=says)
    second = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR_RGB)
    # libtiff rounds the numbers of each step.
    assert np.abs(second - expected).max() <= (1.01 if says[1] == "full" else 3.1)


def test_tiff_of_ycbcr_that_pillow_wrote_is_read_with_its_profile():
    """One pixel in Adobe RGB, (180, 120, 90), is (199, 121, 88) in sRGB."""
    profile = write_profile(ADOBE_RGB.primaries, (563 / 256,), "RGB")
    image = Image.new("RGB", (8, 8), (180, 120, 90)).convert("YCbCr")
    content = encode(image, "TIFF", icc_profile=profile)
    expected = read_rgb(encode(image.convert("RGB"), "TIFF", icc_profile=profile))
    assert expected[0, 0, 0] > 195
    assert np.abs(read_rgb(content) - expected).max() <= 1.01


@pytest.mark.parametrize("compression", COMPRESS)
def test_tiff_of_ycbcr_that_was_cut_is_refused(compression):
    """Also strips that end too early within a whole file, which libtiff leaves gray."""
    planes = make_ycbcr((2, 2))
    content = write_ycbcr(planes, (2, 2), compression=compression)
    assert refuse(content[:-300]).reason
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    place = page.tags[279].valueoffset
    shorter = struct.pack("<I", page.databytecounts[0] // 2)
    assert refuse(content[:place] + shorter + content[place + 4 :]).reason


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ([(530, 3, [3, 2])], "3x2"),
        ([(530, 3, [2])], "YCbCrSubSampling"),
        ([(278, 3, [7])], "7 rows"),
        ([(529, 5, [(299, 1000), (0, 1), (114, 1000)])], "YCbCrCoefficients"),
        ([(529, 5, [(299, 1000), (587, 0), (114, 1000)])], "YCbCrCoefficients"),
        ([(532, 5, [(9, 1)] * 6)], "ReferenceBlackWhite"),
        ([(259, 3, [8]), (317, 3, [2])], "differences"),
    ],
)
def test_tiff_of_ycbcr_whose_tags_are_of_no_kind_is_refused_by_name(tags, reason):
    data = pack_ycbcr(make_ycbcr((2, 2), (16, 16)), (2, 2), (0, 0, 16, 16))
    data = zlib.compress(data) if len(tags) == 2 else data
    options = {"bits": [8] * 3, "photometric": 6, "size": (16, 16)}
    n_strips = 3 if tags[0][0] == 278 else 1
    content = make_tiff(data, tags=tags, n_strips=n_strips, **options)
    assert reason in refuse(content).reason


def test_tiff_of_ycbcr_as_pil_image_is_refused_where_pillow_has_mixed_it_up():
    """Pillow reads chroma of 2x2 pixels as of each one, and takes Rec. 601 for all."""
    mixed = [
        write_ycbcr(make_ycbcr((2, 2)), (2, 2)) + bytes(9000),
        write_ycbcr(make_ycbcr((1, 1)), (1, 1), says=("709", "full")),
        write_ycbcr(make_ycbcr((1, 1)), (1, 1), says=("601", "video")),
    ]
    plain = write_ycbcr(make_ycbcr((1, 1)), (1, 1))
    for content in [plain, *mixed]:
        opened = Image.open(io.BytesIO(content))
        expected = read_rgb(opened)
        opened.load()
        copied = pickle.loads(pickle.dumps(opened))
        if content is plain:
            assert np.abs(read_rgb(opened) - expected).max() <= 1.01
        else:
            assert "give the path" in refuse(opened).reason
        assert "give the path" in refuse(copied).reason


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("compression", [1, 8, 32946])
def test_tiff_of_reversed_bits_is_read(bits, compression):
    """TIFF 6.0, FillOrder 2: the compressed bytes themselves are turned around."""
    levels = np.arange(32 * 40).reshape(32, 40) % 2**bits
    rows = np.unpackbits(levels.astype(np.uint8)[:, :, np.newaxis], axis=2)
    data = np.packbits(rows[:, :, 8 - bits :].reshape(32, -1), axis=1).tobytes()
    data = data if compression == 1 else zlib.compress(data)
    tags = [(259, 3, [compression]), (266, 3, [2])]
    options = {"bits": [bits], "size": (40, 32), "tags": tags}
    for photometric in [0, 1]:
        content = make_tiff(reverse_bits(data), photometric=photometric, **options)
        if (compression, bits, photometric) == (1, 8, 0):  # Pillow lacks this one
            refuse(content)
            continue
        gray = read_image(content, image_size=(32, 40))[:, :, 0]
        expected = levels / (2**bits - 1)
        expected = expected if photometric else 1 - expected
        assert np.abs(gray - expected).max() < 0.003
    flipped = bytearray(reverse_bits(data))
    flipped[-1] ^= 1
    content = make_tiff(bytes(flipped), photometric=1, **options)
    if compression != 1:
        assert "Deflate data" in refuse(content).reason


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("predictor", [2, 3])
def test_tiff_differences_are_those_of_some_compressions(compression, bits, predictor):
    """TIFF 6.0, section 14: a scheme of LZW, which Deflate and others have taken."""
    kind, has_differences = f"<u{bits // 8}", compression in {5, 8, 34925}
    pixel = np.array([10, 20, 30]) * (257 if bits == 16 else 1)
    samples = np.full((16, 16, 3), pixel).astype(kind)
    if has_differences:
        samples[:, 1:] = 0
    data = COMPRESS[compression](samples.tobytes())
    tags = [(259, 3, [compression]), (317, 3, [predictor])]
    options = {"bits": [bits] * 3, "photometric": 2, "size": (16, 16), "tags": tags}
    content = make_tiff(data, **options)
    if has_differences and predictor == 3:
        refuse(content)
        return
    assert read_rgb(content, (16, 16))[8, 8] == pytest.approx([10, 20, 30])
    if compression != 34925:  # OpenCV reads no LZMA
        second = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert second[8, 8, ::-1].tolist() == pixel.tolist()


def answer_lab(lightness, a, b):
    """Convert CIELab of D50 to sRGB, to 255 (CIE 15; IEC 61966-2-1, Bradford)."""
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = xyz * [0.9642, 1, 0.8249]
    matrix = [
        [3.1339, -1.6169, -0.4906],
        [-0.9788, 1.9161, 0.0335],
        [0.0719, -0.2290, 1.4052],
    ]
    linear = np.clip(np.array(matrix) @ xyz, 0, 1)
    curved = np.where(
        linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear
    )
    return curved * 255


def write_lab(pixel, *, compression=1, profile=None, order="<"):
    """Write CIELab (TIFF 6.0, section 23): 255 stands for L 100, a and b are signed."""
    lightness, a, b = pixel
    stored = bytes([round(lightness * 2.55), a % 256, b % 256]) * 256
    tags = [(259, 3, [compression])]
    if profile is not None:
        tags += [(34675, 7, list(profile))]
    options = {"bits": [8] * 3, "photometric": 8, "size": (16, 16), "order": order}
    return make_tiff(COMPRESS[compression](stored), tags=tags, **options)


@pytest.mark.parametrize("compression", [1, 8])
def test_tiff_of_cielab_is_converted_once(compression):
    """A profile of RGB is for another kind of pixels, and they are in sRGB by then."""
    profile = write_profile(ADOBE_RGB.primaries, (563 / 256,), "RGB")
    pixel = (60, 40, -20)
    for given in [None, profile]:
        content = write_lab(pixel, compression=compression, profile=given)
        for source in [content, Image.open(io.BytesIO(content))]:
            assert np.abs(read_rgb(source)[0, 0] - answer_lab(*pixel)).max() < 2.5


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_tiff_that_does_not_say_which_number_is_white_is_refused(bits, compression):
    """TIFF 6.0, section 8: PhotometricInterpretation is required; readers differ."""
    data = COMPRESS[compression](bytes([60]) * (16 * 16 * bits // 8))
    options = {"bits": [bits], "size": (16, 16), "tags": [(259, 3, [compression])]}
    content = make_tiff(data, photometric=None, **options)
    assert "PhotometricInterpretation" in refuse(content).reason
    assert "PhotometricInterpretation" in check_images([content]).reason[0]
    opened = Image.open(io.BytesIO(content))
    assert "PhotometricInterpretation" in refuse(opened).reason
    opened = Image.open(io.BytesIO(content))
    opened.load()
    assert "PhotometricInterpretation" in refuse(opened).reason
    read_image(make_tiff(data, photometric=1, **options), image_size=(2, 2))


def test_tiff_of_a_fax_has_black_on_white_where_it_does_not_say_more():
    """TIFF 6.0, section 3: 0 is white is the normal value then, as libtiff takes it."""
    page = Image.fromarray(make_scene()[:, :, 0] > 128)
    content = encode(page, "TIFF", compression="group4", tiffinfo={262: 0})
    fax = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    assert fax.photometric == 0
    data = content[fax.dataoffsets[0] :][: fax.databytecounts[0]]
    without = make_tiff(data, bits=[1], photometric=None, tags=[(259, 3, [4])])
    gray = read_image(without, image_size=FULL_SIZE)[:, :, 0]
    assert np.array_equal(gray, np.asarray(page))


def pack_samples(samples, bits, order):
    """Pack rows of samples; each row starts a byte."""
    if bits >= 8:
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    rows = samples.reshape(len(samples), -1, 1).astype(np.uint8)
    rows = np.unpackbits(rows, axis=2)[:, :, 8 - bits :]
    return np.packbits(rows.reshape(len(samples), -1), axis=1).tobytes()


def write_gray_plane(bits, photometric, *, compression=1, order="<"):
    """Write gray or palette colours whose only sample is called a separate plane."""
    levels = np.arange(24 * 40).reshape(24, 40) * 37 % 2**bits
    data = COMPRESS[compression](pack_samples(levels, bits, order))
    tags = [(259, 3, [compression]), (284, 3, [2])]
    expected = np.dstack([levels] * 3) / (2**bits - 1) * 255
    if photometric == 0:
        expected = 255 - expected
    elif photometric == 3:
        palette = np.arange(3 * 2**bits).reshape(3, -1) * 29 % 256
        tags += [(320, 3, (257 * palette).ravel().tolist())]
        expected = palette.T[levels]
    options = {"bits": [bits], "photometric": photometric, "size": (40, 24)}
    return make_tiff(data, tags=tags, order=order, **options), expected


@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_tiff_of_one_sample_in_a_plane_is_read_rightly_or_refused(bits, photometric):
    """TIFF 6.0, section 8: for one sample, PlanarConfiguration means nothing.

    Pillow forgets the bits of uncompressed ones, and whether 0 is white.
    """
    if (bits, photometric) == (16, 3):
        return
    is_read = photometric < 3 or bits == 8
    content, expected = write_gray_plane(bits, photometric)
    if is_read:
        for source in [content, Image.open(io.BytesIO(content))]:
            assert np.abs(read_rgb(source, (24, 40)) - expected).max() < 0.6
    else:
        assert "separate plane" in refuse(content).reason
    opened = Image.open(io.BytesIO(content))
    # Of the others, Pillow wants more bytes than there are, or can't read them.
    if bits == 8 or (bits == 1 and photometric < 3):
        opened.load()
        if (bits, photometric) in {(1, 1), (8, 1), (8, 3)}:
            assert np.abs(read_rgb(opened, (24, 40)) - expected).max() < 0.6
        else:
            assert "give the path" in refuse(opened).reason


def list_gray_planes():
    kinds = [*itertools.product([1, 2, 4, 8], [0, 1, 3]), (16, 0), (16, 1)]
    for kind, compression, order in itertools.product(kinds, COMPRESS, "<>"):
        options = {"compression": compression, "order": order}
        content, expected = write_gray_plane(*kind, **options)
        yield content, (24, 40), expected


def list_ycbcr():
    """Yield a file, its size and its colours to 255, for each way to store chroma."""
    pairs = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)]
    for subsampling, says in itertools.product(
        pairs, itertools.product(COEFFICIENTS, BLACK_WHITE)
    ):
        planes = make_ycbcr(subsampling)
        expected = answer_ycbcr(planes, subsampling, says)
        for compression, order, parts in itertools.product(
            COMPRESS, "<>", ["strip", "strips", "tiles"]
        ):
            options = {"compression": compression, "order": order, "parts": parts}
            content = write_ycbcr(planes, subsampling, says=says, **options)
            yield content, ODD_SIZE, expected


def list_lab():
    profile = write_profile(ADOBE_RGB.primaries, (563 / 256,), "RGB")
    pixels = [(60, 40, -20), (80, -20, 30), (40, 10, 40), (70, 0, 0)]
    for pixel, compression, order, given in itertools.product(
        pixels, COMPRESS, "<>", [None, profile]
    ):
        options = {"compression": compression, "order": order, "profile": given}
        yield write_lab(pixel, **options), (16, 16), answer_lab(*pixel)


def list_reversed():
    kinds = [*itertools.product([1, 2, 4, 8], [0, 1, 3]), (16, 1), (8, 2)]
    for (bits, photometric), compression, order in itertools.product(
        kinds, COMPRESS, "<>"
    ):
        n_samples = 3 if photometric == 2 else 1
        levels = np.arange(24 * 40 * n_samples).reshape(24, 40, -1) * 37 % 2**bits
        data = reverse_bits(COMPRESS[compression](pack_samples(levels, bits, order)))
        tags = [(259, 3, [compression]), (266, 3, [2])]
        expected = levels / (2**bits - 1) * 255
        if photometric == 0:
            expected = 255 - expected
        elif photometric == 3:
            palette = np.arange(3 * 2**bits).reshape(3, -1) * 29 % 256
            tags += [(320, 3, (257 * palette).ravel().tolist())]
            expected = palette.T[levels[:, :, 0]]
        options = {"bits": [bits] * n_samples, "order": order, "size": (40, 24)}
        content = make_tiff(data, photometric=photometric, tags=tags, **options)
        yield content, (24, 40), expected


def list_differences():
    for compression, order, bits, n_samples, planes, predictor in itertools.product(
        COMPRESS, "<>", [8, 16], [1, 3, 4], [1, 2], [1, 2]
    ):
        levels = np.arange(24 * 40 * n_samples).reshape(24, 40, n_samples)
        levels = levels * (37 if bits == 8 else 7919) % 2**bits
        stored = levels.copy()
        if predictor == 2 and compression not in {1, 32773}:
            stored[:, 1:] = (stored[:, 1:] - stored[:, :-1]) % 2**bits
        layers = [stored] if planes == 1 else np.split(stored, n_samples, axis=2)
        data = [COMPRESS[compression](pack_samples(e, bits, order)) for e in layers]
        tags = [(259, 3, [compression]), (284, 3, [planes]), (317, 3, [predictor])]
        if n_samples == 4:
            tags += [(338, 3, [0])]
        options = {
            "bits": [bits] * n_samples,
            "photometric": 1 if n_samples == 1 else 2,
        }
        content = make_tiff(data, size=(40, 24), order=order, tags=tags, **options)
        yield content, (24, 40), levels[:, :, :3] / (2**bits - 1) * 255


@pytest.mark.slow
@pytest.mark.parametrize(
    ("list_files", "n_read", "n_refused", "tolerance"),
    [
        (list_ycbcr, 840, 0, 1.01),
        (list_lab, 80, 0, 2.5),
        (list_reversed, 127, 13, 0.6),
        (list_differences, 240, 0, 0.6),
        (list_gray_planes, 134, 6, 0.6),
    ],
)
def test_tiff_of_every_tag_on_its_colours_is_read_rightly(
    list_files, n_read, n_refused, tolerance
):
    """Over 1,400 files; some of those that Pillow doesn't open are refused."""
    for content, size, expected in list_files():
        try:
            image = read_rgb(content, size)
        except ImageLoadError:
            n_refused -= 1
            continue
        n_read -= 1
        assert np.abs(image - expected).max() <= tolerance, content[:400]
    assert (n_read, n_refused) == (0, 0)
