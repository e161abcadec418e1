"""ImageLoader: the lists of images it takes, and its errors for bad ones."""

import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from loader_images import write_five_formats
from PIL import Image
from sample_images import encode, make_scene

from skimgclf.exceptions import ImageLoadError, ImageLoadWarning, InvalidParameterError
from skimgclf.images import ImageLoader


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_five_formats(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def paths(folder):
    return sorted(str(path) for path in folder.glob("?.*"))


def test_loader_takes_every_form_of_a_list(folder, paths):
    """Lists, arrays, Series, tables and paths of any type are the same images."""
    X = ImageLoader().transform(paths)
    array = np.array(paths)
    series = pd.Series(paths, index=range(10, 15), name="file")
    forms = [
        tuple(paths),
        [Path(path) for path in paths],
        array,
        array.astype(object),
        array[:, np.newaxis],
        array.astype(object)[:, np.newaxis],
        array[::-1][::-1],
        series,
        series.astype(object),
        series.astype("category"),
        pd.Series([Path(path) for path in paths]),
        pd.Index(paths),
        series.to_frame(),
        [Path(path).read_bytes() for path in paths],
        pd.Series([Path(path).read_bytes() for path in paths]),
        [paths[0], Path(paths[1]), Path(paths[2]).read_bytes(), *paths[3:]],
    ]
    for form in forms:
        assert np.array_equal(ImageLoader().transform(form), X), type(form)


def test_loader_takes_decoded_images(paths):
    """PIL images, arrays of several sizes and whole arrays are cells, too."""
    scene = make_scene()
    X = ImageLoader(color_mode="rgb").transform([encode(scene, "PNG")])
    images = [Image.fromarray(scene), scene]
    for cells in [images, pd.Series(images), tuple(images)]:
        loaded = ImageLoader(color_mode="rgb").transform(cells)
        assert np.array_equal(loaded, np.concatenate([X, X]))
    whole = np.stack([scene, scene[::-1]])
    loaded = ImageLoader(color_mode="rgb").transform(whole)
    assert np.array_equal(loaded[0], X[0])
    assert len(loaded) == 2
    gray = whole[:, :, :, 0]
    assert ImageLoader().transform(gray).shape == (2, 28, 28, 1)
    # Loaded images load again, unchanged.
    again = ImageLoader().transform(ImageLoader().transform(gray))
    assert np.array_equal(again, ImageLoader().transform(gray))


def test_loader_keeps_zero_bytes_at_the_end_of_bytes():
    """Bytes are never passed through NumPy, which strips trailing zeros."""
    dark = np.zeros((4, 4), dtype=np.uint8)
    content = b"P5 4 4 255\n" + dark.tobytes()
    assert ImageLoader().transform([content, content]).max() == 0


@pytest.mark.parametrize(
    ("X", "sentence"),
    [
        ("cat.jpg", r"wrap the single one in a list, \['cat.jpg'\]"),
        (Path("cat.jpg"), "wrap the single one in a list"),
        (b"bytes", "wrap the single one in a list"),
        (np.str_("cat.jpg"), "wrap the single one in a list"),
        (Image.new("L", (2, 2)), "wrap the single PIL image in a list"),
        ([], "at least one image. Got an empty list"),
        ((), "Got an empty tuple"),
        (np.array([]), "Got an empty ndarray"),
        (pd.Series([], dtype=object), "Got an empty Series"),
        (pd.DataFrame({"file": []}), "Got an empty DataFrame"),
        (np.array([["a", "b"]]), r"shape \(1, 2\)"),
        (pd.DataFrame({"file": ["a"], "label": ["b"]}), r"X\[\['file'\]\]"),
        (pd.DataFrame(index=[0]), "without columns"),
        (np.zeros(3), "one image a row"),
        (np.zeros((3, 1)), "one image a row"),
        (np.zeros((1, 2, 3, 4, 5)), "one image a row"),
        (np.array("cat.jpg"), "one image a row"),
        (iter(["a"]), "Got a list_iterator instead"),
        ({"a": 1}, "Got a dict instead"),
        (None, "Got a NoneType instead"),
        (3, "Got a int instead"),
    ],
)
def test_loader_refuses_what_is_no_list_of_images(X, sentence):
    """Anything but a list of images is a sentence that says what to give."""
    with pytest.raises(InvalidParameterError, match=sentence):
        ImageLoader().transform(X)


def bad_cells(paths):
    return [paths[0], "missing.png", None, paths[1], b"no image", np.nan, pd.NA, ["a"]]


def test_on_error_raise_lists_all_bad_images(paths):
    """One error for the whole call, with row, path and reason of each bad image."""
    for n_jobs in [1, 3]:
        with pytest.raises(ImageLoadError) as caught:
            ImageLoader(n_jobs=n_jobs).transform(bad_cells(paths))
        error = caught.value
        assert [row for row, _, _ in error.errors] == [1, 2, 4, 5, 6, 7]
        assert (error.path, error.reason) == ("missing.png", "there is no such file")
        assert isinstance(error.__cause__, FileNotFoundError)
        assert "6 images can't be read" in str(error)
        assert "'missing.png' (row 1): there is no such file" in str(error)


def test_on_error_raise_is_an_oserror(paths):
    """Code that catches OSError goes on working."""
    with pytest.raises(OSError, match=r"missing\.png"):
        ImageLoader().transform(["missing.png"])


def test_on_error_raise_keeps_no_frames():
    """Thousands of bad images don't hold the memory of their decodes."""
    with pytest.raises(ImageLoadError) as caught:
        ImageLoader().transform(["missing.png"] * 1000)
    assert len(caught.value.errors) == 1000
    assert "... and 990 more" in str(caught.value)
    assert caught.value.__cause__.__traceback__ is None


@pytest.mark.parametrize("color_mode", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_on_error_fill_keeps_rows_and_warns_once(paths, color_mode, dtype):
    """Bad rows become background, good ones stay where they are, one warning."""
    loader = ImageLoader(
        on_error="fill", background=(255, 128, 0), color_mode=color_mode, dtype=dtype
    )
    with pytest.warns(ImageLoadWarning) as caught:
        X = loader.transform(bad_cells(paths))
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    assert [row for row, _, _ in caught[0].message.errors] == [1, 2, 4, 5, 6, 7]
    top = 255 if dtype == "uint8" else 1
    colour = {"grayscale": [151], "rgb": [255, 128, 0], "rgba": [255, 128, 0, 255]}
    expected = np.array(colour[color_mode]) / 255 * top
    assert np.abs(X[[1, 2, 4, 5, 6, 7]] - expected).max() < 0.005 * top
    good = ImageLoader(
        background=(255, 128, 0), color_mode=color_mode, dtype=dtype
    ).transform(paths[:2])
    assert np.array_equal(X[[0, 3]], good)


def test_on_error_fill_is_silent_when_all_is_well(paths):
    """Without bad images there is no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageLoader(on_error="fill").transform(paths)


def test_max_pixels_refuses_larger_images(paths):
    """Images above max_pixels are bad images."""
    with pytest.raises(ImageLoadError, match="max_pixels=2239") as caught:
        ImageLoader(max_pixels=40 * 56 - 1).transform(paths)
    assert len(caught.value.errors) == 4


# That an error survives pickling is seen in `test_images_sources.py` as well.
@pytest.mark.slow
def test_errors_come_back_from_worker_processes():
    """Loky carries the error, with everything it says."""
    with pytest.raises(ImageLoadError) as caught:
        joblib.Parallel(n_jobs=2, backend="loky")(
            joblib.delayed(ImageLoader().transform)(["missing.png", "gone.png"])
            for _ in range(2)
        )
    assert [path for _, path, _ in caught.value.errors] == ["missing.png", "gone.png"]


def test_input_of_one_colour_image_is_refused():
    """An array (height, width, 3) isn't `height` gray images of 3 pixels' width."""
    image = np.zeros((20, 30, 3), dtype="uint8")
    with pytest.raises(InvalidParameterError, match="wrap it in a list"):
        ImageLoader().transform(image)
    assert ImageLoader().transform([image]).shape == (1, 28, 28, 1)


def test_on_error_fill_warns_at_the_users_line():
    """The warning points here, through scikit-learn's fit_transform as well."""
    loader = ImageLoader(on_error="fill")
    for load in (loader.transform, loader.fit_transform):
        with pytest.warns(ImageLoadWarning) as warned:
            load(["missing.png"])
        assert warned[0].filename == __file__
