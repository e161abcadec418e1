"""TIFF files in every layout of samples, with tifffile as writer and second opinion."""

import copy
import io
import itertools
import pickle
import struct
import time
import tracemalloc

import cv2
import numpy as np
import pytest
import tifffile
from image_corpus import FULL_SIZE, refuse
from PIL import Image
from sample_images import (
    HEIGHT,
    WIDTH,
    encode,
    luma,
    make_alpha,
    make_exif,
    make_scene,
    make_tiff,
    pack_12_bits,
    store,
)

from skimgclf import ImageLoader
from skimgclf.exceptions import ImageLoadError
from skimgclf.images import read_image

# Colours, extra samples: what follows gray or RGB in a pixel.
COLOURS = [
    ("minisblack", ()),
    ("miniswhite", ()),
    ("minisblack", ("unassalpha",)),
    ("minisblack", ("assocalpha",)),
    ("minisblack", ("unspecified",)),
    ("minisblack", ("unspecified", "unspecified")),
    ("miniswhite", ("unassalpha",)),
    ("rgb", ()),
    ("rgb", ("unassalpha",)),
    ("rgb", ("assocalpha",)),
    ("rgb", ("unspecified",)),
    ("rgb", ("unspecified", "unassalpha")),
]
BITS = [8, 16, 32]
PLANES = ["contig", "separate"]
# tifffile has no other compressions by itself.
PACKING = [
    {},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"compression": "lzma"},
]
PARTS = [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}]
FILES = [
    {"byteorder": "<"},
    {"byteorder": ">"},
    {"byteorder": "<", "bigtiff": True},
    {"byteorder": ">", "bigtiff": True},
]


def make_samples(photometric, extra, bits):
    """Paint as many samples a pixel as a file has; premultiplied if it says so."""
    scene, alpha = make_scene() / 255, make_alpha() / 255
    colours = scene if photometric == "rgb" else scene[:, :, :1]
    others = [alpha if "alpha" in kind else scene[::-1, :, 1] for kind in extra]
    if "assocalpha" in extra:
        colours = colours * alpha[:, :, np.newaxis]
    samples = np.dstack([colours, *others])
    return np.rint(samples * (2**bits - 1)).astype(f"u{bits // 8}")


def write_tiff(samples, photometric, extra, planes, **options):
    """Write a file with tifffile."""
    if samples.shape[2] == 1:
        samples = samples[:, :, 0]
    else:
        options["planarconfig"] = planes
        samples = np.moveaxis(samples, 2, 0) if planes == "separate" else samples
    stream = io.BytesIO()
    options = {"metadata": None, "extrasamples": extra or None, **options}
    tifffile.imwrite(stream, samples, photometric=photometric, **options)
    return stream.getvalue()


def answer(content, photometric, extra, bits):
    """Compute gray on white from the samples that tifffile reads, in [0, 1]."""
    samples = tifffile.imread(io.BytesIO(content)) / (2**bits - 1)
    n_colours = 3 if photometric == "rgb" else 1
    if samples.ndim == 3 and samples.shape[2] != n_colours + len(extra):
        samples = np.moveaxis(samples, 0, 2)
    samples = np.atleast_3d(samples)
    colours = samples[:, :, :n_colours]
    colours = 1 - colours if photometric == "miniswhite" else colours
    gray = luma(colours * 255) if n_colours == 3 else colours[:, :, 0]
    for number, kind in enumerate(extra):
        if "alpha" in kind:
            alpha = samples[:, :, n_colours + number]
            gray = (gray if kind == "assocalpha" else gray * alpha) + 1 - alpha
    return gray


def check_layout(colours, bits, planes, options):
    """Read a file rightly or refuse it; return whether it was read."""
    photometric, extra = colours
    samples = make_samples(photometric, extra, bits)
    content = write_tiff(samples, photometric, extra, planes, **options)
    try:
        gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    except ImageLoadError:
        return False
    difference = np.abs(gray - answer(content, photometric, extra, bits))
    assert difference.max() < 0.006, (colours, bits, planes, options)
    if bits == 16:
        assert difference.mean() < 1e-3, (colours, bits, planes, options)
    return True


def list_layouts():
    for colours, bits, planes in itertools.product(COLOURS, BITS, PLANES):
        if not colours[1] and colours[0] != "rgb" and planes == "separate":
            continue
        for packing, parts, file in itertools.product(PACKING, PARTS, FILES):
            yield colours, bits, planes, {**packing, **parts, **file}


@pytest.mark.slow
def test_tiff_of_every_layout_is_read_rightly_or_refused():
    """Over 3,000 files: only 32 bits and big-endian BigTIFF are refused."""
    layouts = list(list_layouts())
    assert len(layouts) >= 3000
    for layout in layouts:
        _, bits, _, options = layout
        is_big_endian = options.get("bigtiff") and options["byteorder"] == ">"
        assert check_layout(*layout) == (bits < 32 and not is_big_endian), layout


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", PLANES)
def test_repair_needs_planes_reads_every_layout_of_samples(planes, bits):
    """Pillow gives noise, blank images or 8 of 16 bits for a third of them."""
    for number, colours in enumerate(COLOURS[2:]):
        options = {**PACKING[number % 4], **PARTS[number % 3], **FILES[number % 3]}
        assert check_layout(colours, bits, planes, options)
        assert check_layout(colours, bits, planes, {})


@pytest.mark.parametrize("shape", [(3, HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_tiff_colours_of_sixteen_bits_keep_all_bits(shape, tmp_path):
    """What tifffile writes by its defaults, with the values 255 and 300 of 65535."""
    deep = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint16)
    deep[:, WIDTH // 2 :] = 300, 301, 302
    stored = np.moveaxis(deep, 2, 0) if shape[0] == 3 else deep
    tifffile.imwrite(tmp_path / "deep.tif", stored, photometric="rgb")
    image = read_image(tmp_path / "deep.tif", image_size=FULL_SIZE, color_mode="rgb")
    np.testing.assert_allclose(image, deep / 65535, atol=1e-7)


def test_tiff_of_sixteen_bits_that_was_decoded_before_has_its_white():
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    for photometric, stored in [("minisblack", deep), ("miniswhite", 65535 - deep)]:
        stream = io.BytesIO()
        tifffile.imwrite(stream, stored, photometric=photometric)
        with Image.open(stream) as image:
            image.load()
            pixels = read_image(image, image_size=FULL_SIZE)
        np.testing.assert_allclose(pixels[:, :, 0], deep / 65535, atol=1e-7)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_tiff_that_pillow_wrote_in_other_compressions_is_read(compression):
    """Gray with alpha, and LZW with differences, which tifffile alone can't write."""
    levels = make_scene()[:, :, 0]
    image = Image.fromarray(np.dstack([levels, make_alpha()]), "LA")
    options = {"compression": compression}
    expected = read_image(image, image_size=FULL_SIZE)
    for predictor in [{}, {"tiffinfo": {317: 2}}]:
        if compression == "packbits" and predictor:
            continue
        content = encode(image, "TIFF", **options, **predictor)
        assert np.array_equal(read_image(content, image_size=FULL_SIZE), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_planes_are_turned_upright(orientation, bits):
    scene = make_scene()
    stored = store(scene, orientation).astype(f"u{bits // 8}")
    stored *= 257 if bits == 16 else 1
    tag = (274, "H", 1, orientation, True)
    content = write_tiff(stored, "rgb", (), "separate", extratags=[tag])
    gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(gray - luma(scene)).max() < 0.005


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_cmyk_in_planes_is_read_as_side_by_side(bits):
    cmyk = np.asarray(Image.fromarray(make_scene()).convert("CMYK"))
    expected = read_image(Image.fromarray(cmyk, "CMYK"), image_size=FULL_SIZE)
    deep = cmyk.astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    for planes in PLANES:
        content = write_tiff(deep, "separated", (), planes)
        image = read_image(content, image_size=FULL_SIZE)
        assert np.abs(image - expected).max() < 0.01


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", PLANES)
def test_tiff_fourth_sample_of_colours_is_alpha_if_nothing_is_said(planes, bits):
    """OpenCV writes no ExtraSamples, and reads alpha back; 0 says that it is none."""
    colour = np.array([90, 120, 180, 100])
    samples = np.full((16, 16, 4), colour).astype(f"<u{bits // 8}")
    samples *= 257 if bits == 16 else 1
    written = [cv2.imencode(".tif", samples[:, :, [2, 1, 0, 3]])[1].tobytes()]
    is_planar = planes == "separate"
    data = (np.moveaxis(samples, 2, 0) if is_planar else samples).tobytes()
    options = {"bits": [bits] * 4, "photometric": 2, "size": (16, 16)}
    options["n_strips"] = 4 if is_planar else 1
    layout = [(284, 3, [2 if is_planar else 1])]
    written.append(make_tiff(data, tags=layout, **options))
    written.append(make_tiff(data, tags=[*layout, (338, 3, [999])], **options))
    for content in written:
        pixels = read_image(content, image_size=(1, 1), color_mode="rgba")[0, 0]
        assert pixels * 255 == pytest.approx(colour, abs=1)
    content = make_tiff(data, tags=[*layout, (338, 3, [0])], **options)
    pixels = read_image(content, image_size=(1, 1), color_mode="rgba")[0, 0]
    assert pixels * 255 == pytest.approx([90, 120, 180, 255], abs=1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize(
    "extra", [("unassalpha",), ("assocalpha",), ("unspecified", "unassalpha")]
)
def test_tiff_cmyk_keeps_transparency(extra, planes, bits):
    """TIFF 6.0, section 18: inks may have been multiplied by alpha."""
    inks, alpha = np.array([200, 60, 20, 50]) / 255, 100 / 255
    colour = (1 - inks[:3]) * (1 - inks[3])
    inks = inks * alpha if "assocalpha" in extra else inks
    pixel = [*inks, *[0.5] * (len(extra) - 1), alpha]
    samples = np.rint(np.full((16, 16, len(pixel)), pixel) * (2**bits - 1))
    samples = samples.astype(f"u{bits // 8}")
    content = write_tiff(samples, "separated", extra, planes)
    rgba = read_image(content, image_size=(2, 2), color_mode="rgba")[0, 0]
    assert rgba == pytest.approx([*colour, alpha], abs=0.01)
    options = {"image_size": (2, 2), "color_mode": "rgb", "background": (0, 0, 255)}
    expected = colour * alpha + np.array([0, 0, 1]) * (1 - alpha)
    assert read_image(content, **options)[0, 0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("n_inks", [4, 5])
def test_tiff_of_other_inks_than_cmyk_is_refused_by_name(n_inks, planes, bits):
    """TIFF 6.0, section 16: an InkSet of 2 isn't CMYK; libtiff refuses it too."""
    samples = np.full((16, 16, n_inks), 99, dtype=f"u{bits // 8}")
    extra = ("unspecified",) * (n_inks - 4)
    for ink_set in [1, 2]:
        tags = [(332, "H", 1, ink_set, True)]
        content = write_tiff(samples, "separated", extra, planes, extratags=tags)
        if ink_set == 1:
            read_image(content, image_size=(2, 2))
        else:
            assert "other inks than CMYK" in refuse(content).reason


def test_tiff_planes_are_refused_where_they_can_not_be_read():
    scene = make_scene()
    planar = [(284, 3, [2])]
    planes = np.moveaxis(scene, 2, 0).tobytes()
    options = {"bits": [8] * 3, "n_strips": 3, "tags": planar}
    lab = make_tiff(planes, photometric=8, **options)
    assert "separate planes" in refuse(lab).reason
    whole = make_tiff(planes, photometric=2, **options)
    for n_bytes in [1, WIDTH, len(planes) // 2]:
        assert "out of the file" in refuse(whole[:-n_bytes]).reason
    signed = write_tiff(scene.astype("i2"), "rgb", (), "contig")
    assert "3 samples" in refuse(signed).reason
    content = write_tiff(scene.astype("u2"), "rgb", (), "separate")
    assert "2240 pixels" in refuse(content, max_pixels=2239).reason
    many = write_tiff(
        np.zeros((40, 56, 50), "u1"), "minisblack", ("unspecified",) * 49, "contig"
    )
    assert "22400 pixels" in refuse(many, max_pixels=22_399).reason
    sizes, other = struct.pack("<HHI", 279, 4, 3), struct.pack("<HHI", 280, 4, 3)
    assert "directory" in refuse(whole.replace(sizes, other)).reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            lambda: write_tiff(make_scene() / np.float32(255), "rgb", (), "contig"),
            "float",
        ),
        (lambda: write_tiff(make_scene() / 255, "rgb", (), "separate"), "64 bits"),
        (lambda: write_tiff(np.ones((9, 9, 1), "f2"), "minisblack", (), ""), "16 bits"),
        (lambda: write_tiff(np.ones((9, 9, 1), "c8"), "minisblack", (), ""), "complex"),
        (
            lambda: make_tiff(bytes(100), bits=[10], photometric=1, size=(8, 8)),
            "10 bits",
        ),
        (
            lambda: make_tiff(bytes(200), bits=[14], photometric=1, size=(8, 8)),
            "14 bits",
        ),
        (
            lambda: write_tiff(
                make_scene(), "rgb", (), "contig", bigtiff=True, byteorder=">"
            ),
            "big-endian BigTIFF",
        ),
    ],
)
def test_tiff_that_is_not_read_is_refused_by_its_own_reason(content, reason):
    assert reason in refuse(content()).reason


THUMBNAIL, SUBDIRECTORIES = (254, 4, [1]), (330, 4, [9])


@pytest.mark.parametrize(
    "tags",
    [
        [(50706, 4, [0x0104])],  # DNG
        [THUMBNAIL, SUBDIRECTORIES],  # NEF and ARW
        [THUMBNAIL, (330, 4, [9, 9, 9])],
        [(259, 3, [65535])],  # PEF
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_a_raw_photo_is_refused_by_name(tags, order):
    """Its first image is a thumbnail of the photo."""
    options = {"bits": [8] * 3, "photometric": 2, "order": order, "tags": tags}
    content = make_tiff(make_scene().tobytes(), **options)
    assert "camera's raw file" in refuse(content).reason
    if tags[0][0] != 259:
        assert "camera's raw file" in refuse(Image.open(io.BytesIO(content))).reason


def test_tiff_of_canons_raw_is_refused_by_name():
    """Canon writes "CR" and a version behind the offset of the first directory."""
    content = make_tiff(bytes(2248), bits=[8], photometric=1)
    start = content[:4] + struct.pack("<I", 16) + b"CR\2\0\0\0\0\0"
    assert "camera's raw file" in refuse(start + content[8:]).reason
    read_image(start.replace(b"CR", b"\0\0") + content[8:], image_size=FULL_SIZE)


@pytest.mark.parametrize(
    "tags", [[THUMBNAIL], [SUBDIRECTORIES], [(254, 4, [0]), SUBDIRECTORIES]]
)
def test_tiff_pyramids_and_single_thumbnails_are_read(tags):
    """The first image of a pyramid is the largest, and others are behind tag 330."""
    content = make_tiff(make_scene().tobytes(), bits=[8] * 3, photometric=2, tags=tags)
    gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(gray - luma(make_scene())).max() < 0.003


@pytest.mark.parametrize(
    ("tag", "reason"),
    [((339, 3, [2]), "signed integers"), ((266, 3, [2]), "reverse order")],
)
@pytest.mark.parametrize("kind", ["white is zero", "planes"])
def test_tiff_of_signed_or_reversed_samples_is_refused(tag, reason, kind):
    """Read as if the tag weren't there, half of the grays would be wrong."""
    scene = make_scene().astype("<u2")
    if kind == "planes":
        if tag[0] == 339:
            tag = (339, 3, [1, 1, 2])
        options = {"bits": [16] * 3, "photometric": 2, "n_strips": 3}
        tags, data = [(284, 3, [2]), tag], np.moveaxis(scene, 2, 0)
    else:
        options, tags = {"bits": [16], "photometric": 0}, [tag]
        data = scene[:, :, 0]
    content = make_tiff(data.tobytes(), tags=tags, **options)
    assert reason in refuse(content).reason
    tags.remove(tag)
    read_image(make_tiff(data.tobytes(), tags=tags, **options), image_size=(8, 8))


def make_twelve_bits():
    """Write a 12-bit file of one gray, 2000 of 4095."""
    values = np.full((HEIGHT, WIDTH), 2000)
    return make_tiff(pack_12_bits(values), bits=[12], photometric=1)


@pytest.mark.parametrize("lose", [copy.copy, copy.deepcopy, Image.Image.copy])
def test_tiff_copies_of_deep_gray_are_refused(lose):
    """A copy has lost the value that is white: it would be 16 times too dark."""
    opened = Image.open(io.BytesIO(make_twelve_bits()))
    expected = read_image(opened, image_size=(2, 2))
    assert expected == pytest.approx(2000 / 4095)
    copied = lose(opened)
    if hasattr(copied, "tag_v2"):
        assert np.array_equal(read_image(copied, image_size=(2, 2)), expected)
    else:
        assert "give the path" in refuse(copied).reason


def test_tiff_pickles_of_eight_bits_are_read_by_several_processes():
    """Joblib pickles the cells of a search: their tags get lost, their pixels don't."""
    for image in [make_scene(), make_scene()[:, :, 0]]:
        opened = Image.open(io.BytesIO(encode(image, "TIFF")))
        expected = ImageLoader().transform([opened])
        sent = pickle.loads(pickle.dumps(opened))
        assert np.array_equal(ImageLoader().transform([sent]), expected)
        assert np.array_equal(ImageLoader().transform([opened.copy()]), expected)
    deep = Image.open(io.BytesIO(make_twelve_bits()))
    assert "give the path" in refuse(pickle.loads(pickle.dumps(deep))).reason


LOSSES = [lambda image: image.copy(), lambda image: pickle.loads(pickle.dumps(image))]


@pytest.mark.parametrize("lose", LOSSES, ids=["copied", "pickled"])
def test_tiff_copies_that_pillow_has_made_blank_are_refused(lose):
    """Gray with alpha in planes, and palettes of 8 bits: their pixels are zeros."""
    pixels = np.dstack([make_scene()[:, :, 0], make_alpha()])
    for extra in ["unassalpha", "assocalpha"]:
        options = {"compression": "zlib"}
        content = write_tiff(pixels, "minisblack", (extra,), "separate", **options)
        read_image(content, image_size=(2, 2))
        blank = lose(Image.open(io.BytesIO(content)))
        assert "zero all over" in refuse(blank).reason
        content = write_tiff(pixels, "minisblack", (extra,), "contig", **options)
        whole = Image.open(io.BytesIO(content))
        expected = read_image(whole, image_size=(2, 2))
        copied = read_image(lose(whole), image_size=(2, 2))
        assert copied == pytest.approx(expected, abs=0.005)
    for white in [255, 65535]:
        palette = np.zeros((3, 256), dtype=np.uint16)
        palette[0] = white * (np.arange(256) > 100)
        content = io.BytesIO()
        levels = make_scene()[:, :, 0]
        tifffile.imwrite(content, levels, photometric="palette", colormap=palette)
        copied = lose(Image.open(content))
        if white == 255:
            assert "zero all over" in refuse(copied).reason
        else:
            image = read_image(copied, image_size=FULL_SIZE, color_mode="rgb")
            assert np.array_equal(image[:, :, 0], levels > 100)


def test_deep_images_that_are_no_tiff_may_be_copied():
    deep = np.full((4, 4), 1000, dtype=np.uint16)
    for image in [Image.fromarray(deep), Image.open(io.BytesIO(encode(deep, "PNG")))]:
        for each in [image, image.copy(), pickle.loads(pickle.dumps(image))]:
            assert read_image(each, image_size=(1, 1)) == pytest.approx(1000 / 65535)


def test_tiff_pil_images_in_planes_are_read_from_their_file():
    scene = make_scene()
    content = write_tiff(scene.astype("u2") * 257, "rgb", (), "separate")
    opened = Image.open(io.BytesIO(content))
    gray = read_image(opened, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(gray - luma(scene)).max() < 0.003
    opened.load()  # noise
    assert "separate planes" in refuse(opened).reason


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize(
    ("photometric", "bits"),
    [("rgb", 16), ("rgb", 8), ("minisblack", 16), ("miniswhite", 16)],
)
def test_tiff_page_that_was_chosen_of_a_pil_image_is_read(
    photometric, bits, planes, bigtiff
):
    """Never the first page, nor a page of 8 bits by the directory of another one."""
    n_colours = 3 if photometric == "rgb" else 1
    scene = make_scene()[:, :, :n_colours]
    pages = [scene, scene[::-1] // 2, scene[:, ::-1]]
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=bigtiff) as writer:
        for page in pages:
            page = page.astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
            page = np.moveaxis(page, 2, 0) if planes == "separate" else page
            options = {"photometric": photometric, "metadata": None}
            if n_colours == 3:
                options["planarconfig"] = planes
            writer.write(page.squeeze(), **options)
    opened = Image.open(stream)
    for number in [1, 2, 0, 1]:
        opened.seek(number)
        image = read_image(opened, image_size=FULL_SIZE, color_mode="rgb")
        expected = pages[number] / 255
        expected = 1 - expected if photometric == "miniswhite" else expected
        assert np.abs(image - expected).max() < 0.003


def test_tiff_turned_by_exif_in_planes_stays_turned_once():
    scene = make_scene()
    content = encode(store(scene, 6), "TIFF", exif=make_exif(6))
    gray = read_image(content, image_size=FULL_SIZE)[:, :, 0]
    assert np.abs(gray - luma(scene)).max() < 0.003


def test_tiff_of_a_page_without_strips_for_all_planes_is_refused():
    data = make_scene()[:, :, 0].astype("<u2").tobytes()
    content = make_tiff(data, bits=[16] * 3, photometric=2, tags=[(284, 3, [2])])
    assert "fewer strips than planes" in refuse(content).reason


def test_tiff_reads_the_planes_of_its_colours_alone():
    """Of planes that aren't used, a small file can have thousands."""
    scene = np.moveaxis(make_scene(), 2, 0)
    others = np.zeros((500, HEIGHT, WIDTH), dtype=np.uint8)
    content = write_tiff(
        np.moveaxis(np.concatenate([scene, others]), 0, 2),
        "rgb",
        ("unspecified",) * len(others),
        "separate",
    )
    options = {"image_size": FULL_SIZE, "color_mode": "rgb", "dtype": "uint8"}
    read_image(content, **options)
    started = time.thread_time()
    tracemalloc.start()
    try:
        image = read_image(content, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.array_equal(image, make_scene())
    assert peak < others.nbytes // 4
    assert time.thread_time() - started < 0.2


@pytest.mark.parametrize("tag", [256, 259, 273, 513])
def test_tiff_directory_that_names_a_tag_twice_is_refused(tag):
    """Which of both counts is a matter of the program, and reading all takes long."""
    tags = [(513, 4, [1]), (1000, 4, [1]), (1001, 4, [1])]
    options = {"bits": [8], "photometric": 1, "tags": tags}
    content = make_tiff(make_scene()[:, :, 0].tobytes(), **options)
    place = content.index(struct.pack("<HHI", 1001, 4, 1))
    for other in [1000, tag]:
        changed = content[:place] + struct.pack("<H", other) + content[place + 2 :]
        if other == tag:
            assert f"tag {tag} stands in it twice" in refuse(changed).reason
        else:
            read_image(changed, image_size=(8, 8))


@pytest.mark.parametrize("planes", PLANES)
def test_tiff_in_planes_takes_memory_for_its_pixels_alone(planes, tmp_path):
    """One plane is read at a time: no second copy of all samples is made."""
    path = tmp_path / "large.tif"
    samples = np.zeros((700, 1000, 3), dtype=np.uint16)
    path.write_bytes(write_tiff(samples, "rgb", (), planes))
    read_image(path, image_size=(4, 4))
    tracemalloc.start()
    try:
        read_image(path, image_size=(4, 4))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * samples.nbytes
