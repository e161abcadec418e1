"""What the classifier accepts as samples."""

import pathlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skimgclf import KerasImageClassifier
from skimgclf.exceptions import SkimgclfWarning
from skimgclf.models._checks.images import check_samples

IMAGES = np.linspace(0, 1, 4 * 6 * 6).reshape(4, 6, 6, 1)


def check(X):
    return check_samples(KerasImageClassifier(), X, reset=True)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ("a.png", "paths or text"),
        (pathlib.Path("a.png"), "paths or text"),
        ([Image.new("L", (6, 6))], "PIL images.*ImageLoader in front"),
        (np.zeros((2, 0, 6, 1)), "without any pixel"),
        ([IMAGES[0], (IMAGES[0] * 255).astype("uint8")], "mixes images of 8 bits"),
        (["a.png", "b.png"], r"paths or text.*'a.png'.*ImageLoader in front"),
        (np.array(["a.png"]), "paths or text"),
        (np.array([["a.png"]], dtype=object), "paths or text"),
        (pd.Series(["a.png"]), "paths or text"),
        (pd.DataFrame({"path": ["a.png"]}), "paths or text"),
        (np.zeros((3, 6, 6)), r"3 dimensions.*X\[\.\.\., np.newaxis\]"),
        (np.zeros((3, 6, 6, 1, 1)), "5 dimensions"),
        (np.zeros((0, 6, 6, 1)), "0 sample"),
        (np.full((2, 6, 6, 1), np.nan), "contains NaN"),
        ([np.zeros((6, 6, 1)), np.zeros((6, 5, 1))], r"one shape.*\n  \(6, 5, 1\)"),
        ([], "0 sample|1D array|2D array"),
    ],
)
def test_samples_that_are_no_images_are_refused_in_words(X, words):
    with pytest.raises(ValueError, match=words):
        check(X)


def as_objects(images):
    cells = np.empty(len(images), dtype=object)
    cells[:] = list(images)
    return cells


@pytest.mark.parametrize(
    "wrap",
    [list, tuple, lambda X: X.tolist(), as_objects, lambda X: pd.Series(list(X))],
)
def test_samples_may_be_a_list_of_images(wrap):
    np.testing.assert_array_equal(check(wrap(IMAGES)), IMAGES.astype("float32"))


def test_samples_of_8_bits_stay_8_bits():
    assert check((IMAGES * 255).astype("uint8")).dtype == np.uint8


def test_samples_in_float64_become_keras_float():
    assert check(IMAGES).dtype == np.float32


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "uint16"])
def test_images_of_8_bits_in_another_type_are_refused(kind):
    with pytest.raises(ValueError, match=r"range from .* to 2.*uint8") as raised:
        check((IMAGES * 255).astype(kind))
    assert "The images in X range from" in str(raised.value)


def test_images_of_8_bits_after_a_resize_are_refused():
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        check(IMAGES * 265 - 5)


@pytest.mark.parametrize(("factor", "shift"), [(1, 0.5), (-1, 0), (255, -127), (6, -3)])
def test_images_outside_the_range_get_a_warning(factor, shift):
    with pytest.warns(UserWarning, match=r"range from .* expected in \[0, 1\]"):
        check(IMAGES * factor + shift)


def test_images_scaled_twice_get_a_warning():
    with pytest.warns(UserWarning, match="divided by 255 twice"):
        check(IMAGES.repeat(3, axis=0) / 255)
    check(IMAGES[:1] / 255)  # a single frame may be dark


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_images_with_channels_first_get_a_warning(n_channels):
    images = np.zeros((2, n_channels, 6, 5))
    words = r"KerasImageClassifier takes .* channels last.*transpose\(0, 2, 3, 1\)"
    with pytest.warns(SkimgclfWarning, match=words):
        check(images)
    check(images.transpose(0, 2, 3, 1))


def test_rounding_errors_of_a_resize_get_no_warning():
    check(IMAGES * (1 + 1e-6) - 1e-9)


def test_rows_of_any_range_get_no_warning():
    rows = np.linspace(-1000, 1000, 12).reshape(4, 3)
    np.testing.assert_array_equal(check(rows), rows.astype("float32"))
