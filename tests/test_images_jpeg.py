"""JPEG files whose data end before their pixels do, though an end marker follows."""

import io
import re
import time

import numpy as np
import pytest
from image_corpus import FULL_SIZE, refuse
from PIL import Image
from sample_images import encode, luma, make_exif, make_scene
from sklearn.datasets import load_sample_image

from skimgclf import ImageLoader
from skimgclf.images import check_images, read_image

END = b"\xff\xd9"

# The ways in which cameras and programs write JPEG files.
WAYS = {
    "baseline": {},
    "444": {"subsampling": 0},
    "optimized": {"optimize": True},
    "restart rows": {"restart_marker_rows": 1},
    "restart blocks": {"restart_marker_blocks": 3},
    "thumbnail": {"exif": b"Exif\0\0II*\0\x08\0\0\0" + b"\xff\xd8\xff\xda\xff\xd9" * 9},
    "progressive": {"progressive": True},
}


@pytest.fixture(scope="module")
def photo():
    """Crop a photograph to a size that no block divides."""
    return Image.fromarray(load_sample_image("china.jpg")[100:295, 200:503])


@pytest.fixture(scope="module")
def content(photo):
    return encode(photo, "JPEG", quality=90)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_repair_padding_finds_jpegs_that_were_cut_and_ended(photo, mode, way):
    """Cut files that got an end marker are refused, whole ones aren't.

    Half a progressive file lacks scans; a cut within its last one isn't found.
    """
    content = encode(photo.convert(mode), "JPEG", quality=90, **WAYS[way])
    for size in [(28, 28), photo.size[::-1]]:
        read_image(content, image_size=size)
        for share in [0.3, 0.5] if way == "progressive" else [0.3, 0.5, 0.75, 0.95]:
            cut = content[: int(len(content) * share)] + END
            assert "cut short" in refuse(cut, image_size=size).reason


def test_jpeg_whose_tail_is_zeros_is_refused(content):
    for n_zeros in [4096, len(content) // 4, len(content) // 2]:
        damaged = content[:-n_zeros] + bytes(n_zeros)
        assert "end marker is missing" in refuse(damaged).reason


def test_jpeg_with_a_stray_marker_in_its_data_is_refused(content):
    """Libjpeg takes it for the end, and fills the rest with gray."""
    middle = len(content) // 2
    damaged = content[:middle] + b"\xff\xd8" + content[middle + 2 :]
    assert "cut short" in refuse(damaged).reason


def test_jpeg_with_trailing_bytes_is_read(content):
    """Phones append depth maps, films and whole second images."""
    expected = read_image(content, image_size=(9, 9))
    for tail in [b"\0" * 5000, b"trailing bytes", content, END * 3]:
        assert np.array_equal(read_image(content + tail, image_size=(9, 9)), expected)
    cut = content[: len(content) // 2] + END + content
    assert "cut short" in refuse(cut).reason


def test_jpeg_with_bytes_before_its_end_or_its_segments_is_read(content):
    """Libjpeg skips needless bytes, which some cameras write."""
    expected = read_image(content, image_size=(9, 9))
    for odd in [
        content[:-2] + bytes(300) + END,
        content[:-2] + b"\xff\xff" + END,
        content[:2] + b"\xff\xff\xff" + content[2:],
    ]:
        assert np.array_equal(read_image(odd, image_size=(9, 9)), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_without_one_of_its_restart_markers_is_refused(photo, mode, subsampling):
    """Libjpeg goes on behind the next one, with pixels at wrong places or gray."""
    content = encode(
        photo.convert(mode),
        "JPEG",
        quality=95,
        subsampling=subsampling,
        restart_marker_blocks=2,
    )
    read_image(content, image_size=(9, 9))
    places = [m.start() for m in re.finditer(rb"\xff[\xd0-\xd7]", content)]
    for place in [places[0], places[len(places) // 2]]:
        damaged = content[:place] + b"\0\0" + content[place + 2 :]
        assert "some of its restart markers are missing" in refuse(damaged).reason
    damaged = content[: places[-1]] + b"\0\0" + content[places[-1] + 2 :]
    assert "its last restart markers are missing" in refuse(damaged).reason
    gone = content[: places[3]] + content[places[11] :]  # eight markers, and their data
    assert "its last restart markers are missing" in refuse(gone).reason


def test_jpeg_of_a_few_bytes_that_claims_to_be_huge_is_refused_soon():
    """Its 67 million restart markers aren't counted one by one."""
    content = encode(Image.new("L", (9, 9)), "JPEG", restart_marker_blocks=1)
    frame, interval = content.index(b"\xff\xc0"), content.index(b"\xff\xdd")
    assert content[interval : interval + 6] == b"\xff\xdd\0\4\0\1"
    huge = content[: frame + 5] + b"\xff" * 4 + content[frame + 9 :]
    start = time.perf_counter()
    assert "restart markers are missing" in refuse(huge).reason
    assert time.perf_counter() - start < 1


def test_jpeg_with_one_more_restart_marker_is_read(photo):
    content = encode(photo, "JPEG", restart_marker_rows=1)
    last = max(re.finditer(rb"\xff([\xd0-\xd7])", content), key=lambda m: m.start())
    more = bytes([0xFF, 0xD0 + (last[1][0] + 1) % 8])
    expected = read_image(content, image_size=(9, 9))
    odd = read_image(content[:-2] + more + END, image_size=(9, 9))
    assert np.array_equal(odd, expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", ["baseline", "444", "restart rows", "thumbnail"])
def test_jpeg_with_zeros_in_its_data_is_refused(photo, mode, way):
    content = encode(photo.convert(mode), "JPEG", quality=95, **WAYS[way])
    for n_zeros in [512, 4096]:
        for place in [len(content) // 3, len(content) // 2, len(content) * 3 // 4]:
            damaged = content[:place] + bytes(n_zeros) + content[place + n_zeros :]
            reason = refuse(damaged).reason
            assert "zeros in place of" in reason or "restart markers" in reason


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", ["baseline", "444", "restart rows", "thumbnail"])
def test_jpeg_whose_last_data_are_zeros_is_refused(photo, mode, way):
    """Needless zeros behind all data are passed over, and are no data."""
    content = encode(photo.convert(mode), "JPEG", quality=90, **WAYS[way])
    expected = read_image(content, image_size=(9, 9))
    odd = read_image(content[:-2] + bytes(5000) + END, image_size=(9, 9))
    assert np.array_equal(odd, expected)
    for n_lost in [400, 1200, 3000]:
        for n_zeros in [200, 4096]:
            damaged = content[:-n_lost] + bytes(n_zeros) + END
            assert "cut short" in refuse(damaged).reason


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_whose_data_end_with_zeros_is_read(optimize, subsampling):
    """The blocks of a gray area may be zeros up to the last byte."""
    pixels = np.full((48, 40, 3), 128, "uint8")
    options = {"optimize": optimize, "subsampling": subsampling, "quality": 90}
    n_zeros = 0
    for seed in range(60):
        corner = np.random.default_rng(seed).integers(0, 256, (8, 8, 1), "uint8")
        pixels[:8, :8] = corner
        content = encode(pixels, "JPEG", **options)
        n_zeros += content[-3] == 0
        expected = read_image(content, image_size=FULL_SIZE)
        odd = read_image(content[:-2] + bytes(300) + END, image_size=FULL_SIZE)
        assert np.array_equal(odd, expected)
    assert n_zeros


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7])
def test_progressive_jpeg_with_zeros_in_its_data_is_refused(photo, share):
    content = encode(photo, "JPEG", quality=95, **WAYS["progressive"])
    place = int(len(content) * share)
    damaged = content[:place] + bytes(1024) + content[place + 1024 :]
    assert "zeros in place of" in refuse(damaged).reason


def test_jpeg_with_sampling_factors_of_zero_is_refused(photo):
    content = encode(photo, "JPEG", restart_marker_rows=1)
    frame = content.index(b"\xff\xc0")
    assert refuse(content[: frame + 11] + b"\0" + content[frame + 12 :])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("quality", [1, 50, 100])
def test_jpeg_of_flat_areas_is_read(progressive, optimize, quality):
    """Optimized codes of flat areas are zeros."""
    stripes = np.zeros((512, 512, 3), "uint8")
    stripes[::64] = 255
    for pixels in [stripes, 255 - stripes, stripes // 2 + 60, stripes[:, :, 0]]:
        for picture in [
            Image.fromarray(pixels),
            Image.fromarray(np.zeros_like(pixels)),
        ]:
            options = {
                "progressive": progressive,
                "optimize": optimize,
                "quality": quality,
            }
            content = encode(picture, "JPEG", **options)
            read_image(content, image_size=(9, 9))
            read_image(content, image_size=(9, 9), color_mode="rgb")


def test_mpo_that_is_cut_is_refused(photo):
    options = {"save_all": True, "append_images": [photo], "quality": 90}
    content = encode(photo, "MPO", **options)
    first = encode(photo, "JPEG", quality=90)
    place = content.index(first[-200:])
    assert check_images([content]).loc[0, "format"] == "MPO"
    damaged = content[: place - 3000] + END + content[place - 2998 :]
    assert "cut short" in refuse(damaged).reason


def test_repair_cut_out_frame_reads_the_image_of_an_mpo_that_was_chosen(photo):
    """It is checked as the first one is."""
    second = photo.transpose(Image.Transpose.ROTATE_180)
    options = {"save_all": True, "append_images": [second], "quality": 90}
    content = encode(photo, "MPO", **options)
    opened = Image.open(io.BytesIO(content))
    for number, picture in [(1, second), (0, photo), (1, second)]:
        opened.seek(number)
        alone = Image.open(io.BytesIO(encode(picture, "JPEG", quality=90)))
        expected = read_image(alone, image_size=(19, 30))
        assert np.array_equal(read_image(opened, image_size=(19, 30)), expected)
    cut = Image.open(io.BytesIO(content[:-3000] + END))
    read_image(cut, image_size=(19, 30))
    cut.seek(1)
    assert "cut short" in refuse(cut).reason


def test_repair_decoding_from_finds_cut_jpegs_given_as_pil_images(content, tmp_path):
    """An opened image is read as its file is, and stays as it was."""
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: len(content) // 2] + END)
    for source in [path, io.BytesIO(path.read_bytes())]:
        opened = Image.open(source)
        assert "cut short" in refuse(opened).reason
    path.write_bytes(content)
    with Image.open(path) as opened:
        image = read_image(opened, image_size=(9, 9))
        assert np.array_equal(read_image(opened, image_size=(9, 9)), image)
    opened = Image.open(path)  # closes its file by itself, once it is decoded
    read_image(opened, image_size=(9, 9))
    drafted = Image.open(io.BytesIO(content))
    drafted.draft("L", (40, 40))
    size = drafted.size
    read_image(drafted, image_size=(9, 9))
    assert drafted.size == size


def test_jpeg_of_several_scans_is_read_and_checked():
    """A sequential file may hold each component in a scan of its own."""
    gray = encode(Image.fromarray(make_scene()[:, :, 0]), "JPEG", quality=95)
    scene = make_scene()
    progressive = encode(scene, "JPEG", progressive=True, quality=95)
    image = read_image(progressive, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(image - luma(scene)).mean() < 0.02
    # A frame that claims a component of which no scan tells.
    frame = gray.index(b"\xff\xc0")
    length = int.from_bytes(gray[frame + 2 : frame + 4], "big")
    header = gray[frame : frame + 2 + length]
    wider = (
        b"\xff\xc0"
        + (length + 3).to_bytes(2, "big")
        + header[4:9]
        + b"\x02"
        + header[10:]
        + b"\x02\x11\x00"
    )
    lost = gray[:frame] + wider + gray[frame + 2 + length :]
    assert "scans are missing" in refuse(lost).reason


def damage(content, kind):
    """Damage a file in its middle without changing its length."""
    middle = len(content) // 2
    if kind == "other data":
        return content[:middle] + b"\x01" * 2048 + content[middle + 2048 :]
    return content[: int(len(content) * 0.9)] + END


@pytest.mark.parametrize(
    ("way", "kind"),
    [(way, "other data") for way in ["baseline", "444", "optimized"]]
    + [("progressive", "cut")],
)
def test_check_images_strict_finds_damage_within(photo, way, kind):
    """What `ImageLoader` reads with wrong pixels is found by more decodes."""
    content = encode(photo, "JPEG", quality=95, **WAYS[way])
    damaged = damage(content, kind)
    report = check_images([content, damaged], strict=True)
    assert report.ok.tolist() == [True, False]
    assert "cut short" in report.reason[1] or "fewer data" in report.reason[1]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("n_zeros", [256, 4096])
def test_check_images_strict_finds_zeros_in_optimized_jpegs(photo, share, n_zeros):
    """By optimized tables, zeros mostly are even areas."""
    content = encode(photo, "JPEG", quality=95, **WAYS["optimized"])
    place = int(len(content) * share)
    damaged = content[:place] + bytes(n_zeros) + content[place + n_zeros :]
    assert check_images([content, damaged], strict=True).ok.tolist() == [True, False]


def encode_scans(picture, **options):
    """Encode a baseline file with a scan for each of its three components."""
    tables, scans = b"", b""
    for number, component in enumerate(picture.convert("YCbCr").split()):
        content = encode(component, "JPEG", **options)
        scan = content.index(b"\xff\xda")
        frame = content.index(b"\xff\xc0")
        if number == 0:
            components = b"".join(bytes([name, 0x11, 0]) for name in range(3))
            header = content[frame + 4 : frame + 9] + b"\x03" + components
            tables = content[:frame] + b"\xff\xc0\0\x11" + header
        # The lengths: a frame of one component has 13 bytes, a scan of one has 10.
        scans += content[frame + 13 : scan] + b"\xff\xda\0\x08\x01"
        scans += bytes([number, 0]) + content[scan + 7 : -2]
    return tables + scans + END


def find_data_ends(content):
    """Find the places behind the data of each scan, and between restart markers."""
    ends, place = [], content.find(b"\xff\xda")
    while place >= 0:
        end = re.compile(rb"\xff[^\0\xd0-\xd7]").search(content, place + 10).start()
        restarts = re.finditer(rb"\xff[\xd0-\xd7]", content[place:end])
        ends += [place + match.start() for match in restarts] + [end]
        place = content.find(b"\xff\xda", end)
    return ends


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("way", [{}, {"restart_marker_rows": 4}])
def test_check_images_strict_finds_cuts_in_each_scan(photo, way, optimize):
    """Where the data end too early, libjpeg makes pixels of nothing."""
    content = encode_scans(photo, quality=90, optimize=optimize, **way)
    expected = encode(photo, "JPEG", quality=90, subsampling=0)
    image = read_image(content, image_size=FULL_SIZE, color_mode="rgb")
    whole = read_image(expected, image_size=FULL_SIZE, color_mode="rgb")
    assert np.abs(image - whole).mean() < 0.01
    for source in [content, encode(photo, "JPEG", progressive=True, **way)]:
        ends = find_data_ends(source)
        cut = [source[: end - 20] + source[end:] for end in ends[:: len(ends) // 3]]
        report = check_images([source, *cut], strict=True)
        assert report.ok.tolist() == [True] + [False] * len(cut)
        assert report.reason[1:].str.contains("cut short").all()


RESTARTS = [
    {"restart_marker_rows": 1},
    {"restart_marker_rows": 3},
    {"restart_marker_blocks": 7},
    {"restart_marker_rows": 1, "optimize": True, "subsampling": 0},
]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", RESTARTS)
def test_check_images_strict_finds_other_lengths_between_restart_markers(
    photo, mode, way
):
    """Section E.1.4: each interval holds as many units, and can be decoded alone."""
    content = encode(photo.convert(mode), "JPEG", quality=90, **way)
    places = [m.start() for m in re.finditer(rb"\xff[\xd0-\xd7]", content)]
    middle = (places[1] + places[2]) // 2
    short = content[:middle] + content[places[2] :]
    last = content[: places[-1] + 20] + END
    long = content[: places[2]] + content[places[1] + 2 :]
    report = check_images([content, short, last, long], strict=True)
    assert report.ok.tolist() == [True, False, False, False]
    assert "cut short" in report.reason[1]
    assert "cut short" in report.reason[2]
    assert "fewer data than it holds" in report.reason[3]


def test_check_images_strict_passes_restart_intervals_longer_than_a_side():
    """No side has 65,501 pixels, and no whole rows make up the interval."""
    content = encode(Image.new("L", (700, 800)), "JPEG", restart_marker_blocks=8189)
    more = encode(Image.new("L", (8, 6)), "JPEG", restart_marker_blocks=60000)
    assert content.count(b"\xff\xd0") == 1
    assert check_images([content, more], strict=True).ok.all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_check_images_strict_passes_good_files(photo, way, mode):
    content = encode(photo.convert(mode), "JPEG", **WAYS[way])
    png = encode(photo, "PNG")
    assert check_images([content, content + content, png], strict=True).ok.all()


def test_loader_names_jpegs_that_were_cut(content, tmp_path):
    paths = [tmp_path / "good.jpg", tmp_path / "cut.jpg"]
    paths[0].write_bytes(content)
    paths[1].write_bytes(content[: len(content) // 2] + END)
    error = refuse(paths[1])
    assert str(paths[1]) in str(error)
    images = ImageLoader().transform([paths[0]])
    turned = encode(Image.open(paths[0]), "JPEG", exif=make_exif(3), quality=95)
    assert (
        np.abs(ImageLoader().transform([turned])[0, ::-1, ::-1] - images[0]).mean()
        < 0.02
    )
