"""check_images: one report on all files."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sample_images import HEIGHT, WIDTH, encode, make_corpus, make_exif, make_scene

from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.images import ImageLoader, check_images
from skimgclf.images._decoding.depth import count_bits

CORPUS = make_corpus()
COLUMNS = "path ok reason width height mode format sha256 duplicate_of note".split()


@pytest.fixture
def corpus_paths(tmp_path):
    for sample in CORPUS:
        (tmp_path / sample.name).write_bytes(sample.content)
    return [str(tmp_path / sample.name) for sample in CORPUS]


def test_check_images_reports_on_every_file(corpus_paths):
    """One row a file, in order, with size, hash and a reason exactly where needed."""
    report = check_images(corpus_paths)
    assert list(report.columns) == COLUMNS
    assert list(report.path) == corpus_paths
    for row, sample in zip(report.itertuples(), CORPUS, strict=True):
        assert row.sha256 == (
            hashlib.sha256(sample.content).hexdigest() if sample.content else None
        )
        if sample.gray is None:
            assert not row.ok
            assert sample.reason in row.reason
            assert row.width is pd.NA
            assert row.mode is row.format is None
        else:
            assert row.ok, sample.name
            assert row.reason is None
            assert (row.height, row.width) == (HEIGHT, WIDTH), sample.name
            assert row.format


def test_check_images_agrees_with_the_loader(corpus_paths):
    """What is ok can be read, what isn't can't, for the same reason."""
    report = check_images(corpus_paths)
    good = report.path[report.ok]
    assert len(ImageLoader().transform(good)) == len(good)
    bad = report[~report.ok]
    with pytest.raises(ImageLoadError) as caught:
        ImageLoader().transform(bad.path)
    assert [reason for _, _, reason in caught.value.errors] == list(bad.reason)


def test_check_images_finds_duplicates(tmp_path):
    """Equal contents point to the first of them, whatever their names."""
    scene = make_scene()
    names = ["a.png", "b.jpg", "c - Copy.png", "d.png"]
    contents = [encode(scene, "PNG"), encode(scene, "JPEG")]
    contents += [contents[0], contents[0]]
    paths = [tmp_path / name for name in names]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    report = check_images(paths)
    first = str(paths[0])
    assert list(report.duplicate_of) == [None, None, first, first]


def test_check_images_gives_upright_sizes(tmp_path):
    """Width and height are those of the picture as it is seen."""
    image = Image.new("L", (30, 10))
    paths = [tmp_path / f"turned.{name}" for name in ["jpg", "png", "tif"]]
    for path in paths:
        image.save(path, exif=make_exif(6))
    report = check_images(paths)
    assert list(report.width) == [10, 10, 10]
    assert list(report.height) == [30, 30, 30]
    assert list(report.format) == ["JPEG", "PNG", "TIFF"]


def test_check_images_never_raises_for_a_bad_cell(tmp_path):
    """Missing files, directories, missing values and nonsense are rows."""
    cells = ["missing.png", tmp_path, None, np.nan, pd.NA, 3, b"", b"no", "a\0b", ""]
    report = check_images(cells)
    assert not report.ok.any()
    assert report.reason.notna().all()
    assert report.duplicate_of.isna().all()


def test_check_images_takes_images_without_files():
    """Bytes, PIL images and arrays are checked as well."""
    scene = make_scene()
    cells = [
        encode(scene, "PNG"),
        Image.fromarray(scene),
        scene,
        scene / 255,
        scene[0, 0],
    ]
    report = check_images(cells)
    assert list(report.ok) == [True, True, True, True, False]
    assert list(report.width[:4]) == [WIDTH] * 4
    assert report.sha256.notna().tolist() == [True, False, False, False, False]


def test_check_images_takes_tables_and_no_images():
    """A Series or DataFrame is read like a list; no images give an empty report."""
    series = pd.Series(["missing.png"], index=[7], name="file")
    for paths in [series, series.to_frame(), series.to_numpy()]:
        assert list(check_images(paths).path) == ["missing.png"]
    empty = check_images([])
    assert list(empty.columns) == COLUMNS
    assert len(empty) == 0
    with pytest.raises(InvalidParameterError, match="wrap the single one"):
        check_images("missing.png")


def test_check_images_max_pixels_refuses_larger_images():
    """max_pixels works as in the loader."""
    content = encode(Image.new("L", (20, 10)), "PNG")
    assert check_images([content], max_pixels=200).ok[0]
    assert "200 pixels" in check_images([content], max_pixels=199).reason[0]


def test_check_images_n_jobs_changes_nothing(corpus_paths):
    """Threads give the same report."""
    expected = check_images(corpus_paths)
    pd.testing.assert_frame_equal(check_images(corpus_paths, n_jobs=3), expected)


def test_check_images_verbose_shows_progress(capsys):
    """A bar on stderr, only on request."""
    check_images(["missing.png"])
    assert capsys.readouterr().err == ""
    check_images(["missing.png"], verbose=1)
    assert "Checking" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_pixels", 0), ("n_jobs", 0), ("n_jobs", 1.5), ("verbose", -1), ("strict", 1)],
)
def test_check_images_refuses_bad_parameters(name, value):
    """Each bad value is the one form of a parameter error."""
    start = f"The '{name}' parameter of check_images must be"
    with pytest.raises(InvalidParameterError, match=start):
        check_images(["a.png"], **{name: value})


def test_check_images_reads_large_files_in_pieces(tmp_path):
    """A file too large to hold in memory is hashed and decoded all the same."""
    path = tmp_path / "large.png"
    content = encode(make_scene(), "PNG")
    with path.open("wb") as stream:
        stream.write(content)
        stream.truncate(65 * 2**20)
    report = check_images([path])
    assert report.ok[0]
    digest = hashlib.sha256(content)
    digest.update(bytes(65 * 2**20 - len(content)))
    assert report.sha256[0] == digest.hexdigest()


def make_ppm(largest):
    pixels = np.full((4, 4, 3), largest).astype(">u2" if largest > 255 else "u1")
    return f"P6 4 4\n# a comment\n{largest}\n".encode() + pixels.tobytes()


def change_depth(content, kind, place, value):
    """Change the byte in which a box of AVIF or JPEG 2000 says its depth."""
    changed = bytearray(content)
    changed[content.index(kind) + place] = value
    return bytes(changed)


def test_check_images_notes_bits_that_are_lost():
    """Pillow keeps 8 bits of colours; of other files, nothing is lost."""
    scene = make_scene()
    deep = scene.astype("u2") * 257
    assert check_images([make_ppm(65535)]).note[0] == "read at 8 of 16 bits"
    assert check_images([make_ppm(1023)]).note[0] == "read at 8 of 10 bits"
    cells = [make_ppm(255), encode(deep[:, :, 0], "PNG"), encode(scene, "AVIF")]
    cells += [encode(scene, "JPEG2000"), encode(deep[:, :, 0], "JPEG2000"), scene]
    assert check_images(cells).note.isna().all()
    assert check_images(["missing.png"]).note[0] is None


@pytest.mark.parametrize(
    ("image_format", "kind", "place", "value", "n_bits"),
    [
        ("AVIF", b"av1C", 6, 0x4C, 10),
        ("AVIF", b"av1C", 6, 0x6C, 12),
        ("AVIF", b"av1C", 6, 0x0C, 8),
        ("JPEG2000", b"ihdr", 14, 11, 12),
        ("JPEG2000", b"ihdr", 14, 255, None),
    ],
)
def test_count_bits_reads_what_boxes_declare(image_format, kind, place, value, n_bits):
    content = encode(make_scene(), image_format)
    assert count_bits(change_depth(content, kind, place, value), image_format) == n_bits
    assert count_bits(b"", "PNG") is None
    for end in (0, content.index(kind), content.index(kind) + 4):
        assert count_bits(content[:end], image_format) is None
