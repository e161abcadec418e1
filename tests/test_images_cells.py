"""Forms in which a cell of the input may hold an image file."""

import ast
import base64
import io
import mmap
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_corpus import refuse
from sample_images import encode, make_scene

from skimgclf import ImageLoader
from skimgclf.exceptions import ImageLoadError, InvalidParameterError, SkimgclfWarning
from skimgclf.images import check_images, read_image


@pytest.fixture(scope="module")
def content():
    return encode(make_scene(), "PNG")


@pytest.fixture
def expected(content):
    return read_image(content, image_size=(5, 5))


def test_cell_may_be_a_stream(content, expected, tmp_path):
    """It is read from its start, put back, and may stand in two cells."""
    path = tmp_path / "a.png"
    path.write_bytes(content)
    spooled = tempfile.SpooledTemporaryFile()
    spooled.write(content)
    with open(path, "rb") as opened:
        streams = [io.BytesIO(content), opened, io.BufferedReader(io.FileIO(path))]
        streams += [spooled, io.BytesIO(content)]
        streams[-1].seek(7)
        places = [stream.tell() for stream in streams]
        for stream in streams:
            assert np.array_equal(read_image(stream, image_size=(5, 5)), expected)
        cells = [*streams, *streams]
        images = ImageLoader(image_size=(5, 5), n_jobs=2).transform(cells)
        assert (images == expected).all()
        lazy = ImageLoader(image_size=(5, 5), lazy=True).transform(cells)
        assert (np.asarray(lazy) == expected).all()
        assert check_images(cells).ok.all()
        assert [stream.tell() for stream in streams] == places
        streams[2].close()
    spooled.close()


def test_error_on_a_stream_names_its_file(tmp_path):
    path = str(tmp_path / "a.jpg")
    Path(path).write_bytes(b"no image")
    for opened in [open(path, "rb"), open(Path(path), "rb")]:
        with opened:
            assert refuse(opened).path == f"{path} (8 bytes)"
            assert check_images([opened]).path[0] == f"{path} (8 bytes)"
            with pytest.raises(ImageLoadError, match=r"a\.jpg"):
                ImageLoader().transform([opened])
    with open(os.open(path, os.O_RDONLY), "rb") as nameless:
        assert refuse(nameless).path == "<8 bytes>"
    assert refuse(io.BytesIO(b"no image")).path == "<8 bytes>"


class Pipe(io.BytesIO):
    """A stream that can't go back."""

    def seekable(self):
        return False

    def seek(self, *place):
        raise io.UnsupportedOperation


def test_cell_may_be_a_stream_that_can_not_go_back(content, expected):
    assert np.array_equal(read_image(Pipe(content), image_size=(5, 5)), expected)
    pipes = [Pipe(content), Pipe(content)]
    images = ImageLoader(image_size=(5, 5), lazy=True).transform(pipes)
    for _ in range(2):
        assert (np.asarray(images) == expected).all()


class Response:
    """A stream with nothing but `read`, as clients of servers give."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


class OldStream(Response):
    """A stream that goes back, but doesn't say so, as mmap before Python 3.13."""

    def __init__(self, content):
        stream = io.BytesIO(content)
        self.read, self.seek, self.tell = stream.read, stream.seek, stream.tell


def test_cell_may_be_a_stream_that_does_not_tell_whether_it_goes_back(
    content, expected
):
    with mmap.mmap(-1, len(content)) as mapped:
        mapped.write(content)
        streams = [mapped, OldStream(content), OldStream(content), Response(content)]
        streams[1].seek(7)
        cells = [*streams[:3], *streams]
        images = ImageLoader(image_size=(5, 5)).transform(cells)
        assert (images == expected).all()
        assert [stream.tell() for stream in streams[:3]] == [len(content), 7, 0]
        with pytest.raises(InvalidParameterError, match="wrap the single"):
            ImageLoader().transform(mapped)
        assert "isn't an image" in refuse(OldStream(b"no image")).reason


def test_cell_may_be_a_feature_of_hugging_face(content, expected, tmp_path):
    path = str(tmp_path / "a.png")
    Path(path).write_bytes(content)
    cells = [
        {"bytes": content, "path": None},
        {"bytes": content, "path": "far/away.png"},
        {"bytes": None, "path": path},
        {"path": path, "bytes": bytearray(content)},
    ]
    for cell in cells:
        assert np.array_equal(read_image(cell, image_size=(5, 5)), expected)
    images = ImageLoader(image_size=(5, 5)).transform(pd.Series(cells))
    assert (images == expected).all()
    with pytest.raises(ImageLoadError) as caught:
        ImageLoader().transform([{"bytes": b"no image", "path": "far/away.png"}])
    assert "far/away.png" in str(caught.value)


def test_cell_may_be_a_buffer(content, expected):
    for cell in [bytearray(content), memoryview(content)]:
        assert np.array_equal(read_image(cell, image_size=(5, 5)), expected)


@pytest.mark.parametrize(
    "cell",
    [
        {"bytes": None, "path": None},
        {"bytes": "text", "path": "a.png"},
        {"image": b""},
        io.StringIO("text"),
        3,
    ],
)
def test_cell_of_another_kind_is_refused_with_the_kinds_there_are(cell):
    reason = refuse(cell).reason
    assert "a dict of bytes and path" in reason
    assert not check_images([cell]).ok[0]


def test_cell_that_is_a_closed_stream_is_refused():
    closed = io.BytesIO(b"")
    closed.close()
    assert "BytesIO" in refuse(closed).reason


def test_single_stream_or_dict_is_no_list(content):
    for X in [io.BytesIO(content), {"bytes": content, "path": None}]:
        with pytest.raises(InvalidParameterError, match="wrap the single"):
            ImageLoader().transform(X)


def test_path_may_start_at_home(content, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(content)
    for path in ["~/a.png", Path("~/a.png")]:
        assert np.array_equal(read_image(path, image_size=(5, 5)), expected)
    cache = tmp_path / "cache"
    for _ in range(2):
        images = ImageLoader(image_size=(5, 5), cache=cache).transform(["~/a.png"])
        assert np.array_equal(images[0], expected)
    monkeypatch.chdir(tmp_path)
    os.mkdir("~")
    (tmp_path / "~" / "a.png").write_bytes(encode(make_scene()[::-1], "PNG"))
    named_so = read_image("~/a.png", image_size=(5, 5))
    assert not np.array_equal(named_so, expected)


def test_text_in_base64_is_named(content):
    text = base64.b64encode(content).decode()
    jpeg = base64.b64encode(encode(make_scene(), "JPEG")).decode()
    for cell in [text, jpeg]:
        error = refuse(cell)
        assert "base64.b64decode(text)" in error.reason
        assert len(str(error)) < 300
    assert "data: URL" in refuse(f"data:image/png;base64,{text}").reason
    assert "no such file" in refuse("/9j/a.png").reason
    assert "base64" in check_images([text]).reason[0]


ENCODED_FORMATS = ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "PPM"]


@pytest.mark.parametrize("encode_text", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("image_format", ENCODED_FORMATS)
def test_way_out_for_text_in_base64_gives_the_bytes(image_format, encode_text):
    """RFC 4648: section 5 has the alphabet for URLs, often without the padding."""
    for width in [40, 41, 42]:
        content = encode(make_scene()[:, :width], image_format)
        encoded = encode_text(content).decode()
        for text in [
            encoded,
            encoded.rstrip("="),
            f" {encoded}",
            f"\n{encoded}\n",
            f'"{encoded}"',
            f"'{encoded.rstrip('=')}'",
        ]:
            error = refuse(text)
            assert "in base64, not a path" in error.reason
            assert len(str(error)) < 300
            way_out = error.reason.rpartition(": pass the bytes, ")[2]
            assert eval(way_out, {"base64": base64, "text": text}) == content


@pytest.mark.parametrize("start", ["DATA:", " data:", '"data:', "\nData:"])
def test_data_url_in_other_forms_is_named(content, start):
    """RFC 3986, section 3.1: the case of a scheme has no meaning."""
    text = f"{start}image/png;base64,{base64.b64encode(content).decode()}"
    error = refuse(text)
    assert "it is a data: URL" in error.reason
    assert len(str(error)) < 300
    way_out = error.reason.rpartition(": pass the bytes, ")[2]
    assert eval(way_out, {"base64": base64, "text": text}) == content
    assert "it is a data: URL" in refuse(text.encode()).reason


@pytest.mark.parametrize("image_format", ENCODED_FORMATS)
def test_text_of_bytes_is_named(image_format):
    """Python's own form of bytes, as a table of them has once it was saved as text."""
    content = encode(make_scene(), image_format)
    encoded = base64.b64encode(content)
    url = b"data:image/png;base64," + encoded
    for held, word in [
        (encoded, "in base64, not a path"),
        (encoded.rstrip(b"="), "in base64, not a path"),
        (base64.encodebytes(content), "in base64, not a path"),
        (base64.urlsafe_b64encode(content), "in base64, not a path"),
        (url, "a data: URL"),
        (content, "the text of an image's bytes"),
    ]:
        for text in [str(held), f" {held}\n"]:
            error = refuse(text)
            assert word in error.reason
            assert len(str(error)) < 300
            way_out = error.reason.rpartition(": pass the bytes, ")[2]
            names = {"base64": base64, "ast": ast, "text": text}
            assert eval(way_out, names) == content


def test_data_url_that_lost_its_scheme_is_named(content):
    text = f"image/png;base64,{base64.b64encode(content).decode()}"
    error = refuse(text)
    assert "it is the rest of a data: URL" in error.reason
    way_out = error.reason.rpartition(": pass the bytes, ")[2]
    assert eval(way_out, {"base64": base64, "text": text}) == content
    assert "data: URL" in refuse(text.encode()).reason


@pytest.mark.parametrize("name", ["b'a.png'", "b'a.png", "image/png;a.png", "b'II"])
def test_path_that_looks_like_the_text_of_bytes_is_a_path(name):
    assert str(refuse(name)) == f"{name!r}: there is no such file"


def test_text_that_is_too_long_for_a_path_is_shortened():
    """It may be an image in a form that nobody knows."""
    for text in ["x" * 100_000, "ab: " * 30_000, "/" + "y/" * 30_000 + "a.png"]:
        assert len(str(refuse(text))) < 300
        assert len(check_images([text]).path[0]) < 300


@pytest.mark.parametrize("image_format", ENCODED_FORMATS)
def test_bytes_in_base64_are_named(image_format, tmp_path):
    """b64encode returns bytes, and a column may hold them; a file may as well."""
    content = encode(make_scene(), image_format)
    for encoded in [base64.b64encode(content), base64.encodebytes(content)]:
        assert "base64.b64decode(content)" in refuse(encoded).reason
        assert "data: URL" in refuse(b"data:image/png;base64," + encoded).reason
        (tmp_path / "a.png").write_bytes(encoded)
        assert "base64.b64decode(content)" in refuse(tmp_path / "a.png").reason
    assert "formats read" in refuse(b"AAAA" * 40 + b".").reason


@pytest.mark.parametrize("start", ["AAAA", "UklGR", "iVBORw0KGgo"])
def test_file_whose_name_looks_like_base64_is_named_whole(start, tmp_path, monkeypatch):
    """A folder of long names isn't base64 either, since a dot follows."""
    monkeypatch.chdir(tmp_path)
    name = start + "b" * 80
    for path in [name, f"{name}.jpg", f"data:{name}"]:
        Path(path).write_bytes(b"no image")
        assert path in str(refuse(path))
        assert check_images([path]).path[0] == path
        os.remove(path)
    missing = f"{name}/a.jpg"
    assert str(refuse(missing)) == f"{missing!r}: there is no such file"
    assert "base64" in refuse(name).reason
    assert "base64" in refuse(f"{name}\n{name}==\n").reason


def test_columns_of_polars_and_pyarrow_are_read(content, expected, tmp_path):
    path = str(tmp_path / "a.png")
    Path(path).write_bytes(content)
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"path": [path, path]})
    columns = [
        polars.Series([path, path]),
        polars.DataFrame({"path": [path, path]}),
        pyarrow.array([path, path]),
        table["path"],
        table,
        pyarrow.array([{"bytes": content, "path": None}] * 2),
    ]
    for column in columns:
        images = ImageLoader(image_size=(5, 5)).transform(column)
        assert (images == expected).all()
    with pytest.raises(InvalidParameterError, match="table of 2 columns"):
        ImageLoader().transform(pyarrow.table({"a": [path], "b": [path]}))


def test_columns_of_structs_in_polars_are_read(content, expected, tmp_path):
    """Hugging Face's image features are structs of bytes and path."""
    polars = pytest.importorskip("polars")
    path = tmp_path / "a.png"
    path.write_bytes(content)
    features = [{"bytes": content, "path": None}, {"bytes": None, "path": str(path)}]
    for column in [
        polars.Series("image", features),
        polars.DataFrame({"image": features}),
    ]:
        images = ImageLoader(image_size=(5, 5)).transform(column)
        assert (images == expected).all()


def test_query_that_has_not_run_is_named():
    """Polars warns where one asks such a query for its columns."""
    polars = pytest.importorskip("polars")
    query = polars.LazyFrame({"path": ["a.png"]})
    for read in [ImageLoader().fit_transform, check_images, ImageLoader().transform]:
        with pytest.raises(InvalidParameterError, match=r"LazyFrame.*\.collect\(\)"):
            read(query)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_arrays_of_numpy_texts_of_any_length_are_read(
    content, expected, shape, tmp_path
):
    pytest.importorskip("numpy", "2.0")
    path = tmp_path / "a.png"
    path.write_bytes(content)
    paths = np.array([str(path)] * 2, dtype=np.dtypes.StringDType()).reshape(shape)
    assert (ImageLoader(image_size=(5, 5)).transform(paths) == expected).all()
    missing = np.array([str(path), None], dtype=np.dtypes.StringDType(na_object=None))
    report = check_images(missing.reshape(shape))
    assert report.ok.tolist() == [True, False]
    assert "the cell is empty" in report.reason[1]


class Column:
    """A column that gives lists as pyarrow does."""

    def __init__(self, values):
        self._values = values

    def to_pylist(self):
        return self._values


def test_column_that_gives_a_list_is_read(content, expected):
    images = ImageLoader(image_size=(5, 5)).transform(Column([content, content]))
    assert (images == expected).all()


def test_arrays_with_channels_first_get_advice():
    images = np.zeros((5, 3, 20, 30), dtype=np.uint8)
    with (
        pytest.warns(SkimgclfWarning, match=r"array.transpose\(0, 2, 3, 1\)"),
        pytest.raises(ImageLoadError, match=r"transpose\(1, 2, 0\)"),
    ):
        ImageLoader().transform(images)
    with pytest.warns(SkimgclfWarning, match=r"\[array.transpose\(1, 2, 0\)\]"):
        ImageLoader().transform(images[0])
    with pytest.raises(ImageLoadError, match=r"pass array.transpose\(1, 2, 0\)"):
        ImageLoader().transform([images[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageLoader().transform(images.transpose(0, 2, 3, 1))
        ImageLoader().transform(np.zeros((5, 20, 30), dtype=np.uint8))
        ImageLoader().transform(np.zeros((3, 4, 5), dtype=np.uint8))
