"""What the classifier accepts as labels and weights."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._checks.labels import check_labels
from skimgclf.models._checks.weights import check_weights
from skimgclf.saving._values import decode, encode


def test_labels_come_back_as_they_were_given():
    for y in (["b", "a", "b"], [True, False, True], [7, 3, 7], pd.Series([2, 1, 2])):
        classes, codes = check_labels(y)
        np.testing.assert_array_equal(classes[codes], np.asarray(y))


def test_labels_of_a_column_are_flattened_with_a_warning():
    with pytest.warns(Warning, match="column-vector"):
        classes, codes = check_labels(np.array([["a"], ["b"]]))
    assert classes[codes].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.eye(3), r"shape \(3, 3\).*y.argmax\(axis=1\)"),
        (["a", ["b", "c"], "d"], "row 1 holds 2"),
        (["a", None, "b"], "1 of 3 labels are missing, the first in row 1"),
        (["a", pd.NA, "b"], "first in row 1"),
        (pd.Series(["a", "b", np.nan]), "first in row 2"),
        ([1.0, np.nan], "first in row 1"),
        ([1.0, np.inf], "infinity"),
        (["a", "a"], "only one class: 'a'"),
        ([0.5, 1.5], "Unknown label type"),
        (["a", np.nan, "b"], "first in row 1"),
        ([1, "a"], "row 1 is 'a' and row 0 is 1"),
        (np.array(["a", 1], dtype=object), "row 0 is 'a' and row 1 is 1"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused_in_words(y, words):
    with pytest.raises((ValueError, TypeError), match=words):
        check_labels(y)


DAYS = pd.date_range("2026-01-01", periods=3)


@pytest.mark.parametrize(
    "y",
    [
        DAYS.to_numpy(),
        DAYS.date.tolist(),
        DAYS.to_pydatetime().tolist(),
        pd.Series(DAYS.tz_localize("Europe/Berlin")),
        pd.Series(DAYS.to_period("D")),
        pd.cut(pd.Series([1, 2, 3]), 3),
        # Texts of any length came with NumPy 2.
        *(
            np.array(["a", "b", "c"], dtype=kind())
            for kind in [getattr(np.dtypes, "StringDType", None)]
            if kind
        ),
        np.arange(3, dtype=np.longdouble),
        [b"a", b"b", b"c"],
        [Decimal(1), Decimal(2), Decimal(3)],
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', type(y[0]).__name__)}",
)
def test_labels_that_no_file_holds_are_refused_with_advice_that_helps(y):
    """They can be kept as text, which the advice gives."""
    with pytest.raises(ValueError, match="no saved model could hold") as caught:
        check_labels(y)
    advice = re.search(r"text: (.*)\.$", str(caught.value)).group(1)
    classes, codes = check_labels(eval(advice, {"y": y, "numpy": np}))
    assert len(classes) == 3
    assert sorted(codes.tolist()) == [0, 1, 2]
    assert all(type(label) is str for label in decode(encode(classes)).tolist())


def test_weights_have_mean_one_over_the_samples_kept():
    codes = np.array([0, 0, 1, 1])
    weights = check_weights([0.0, 2.0, 4.0, 6.0], None, codes, np.array(["a", "b"]))
    np.testing.assert_allclose(weights, [0, 0.5, 1, 1.5])


def test_weights_leave_the_callers_array_alone():
    given = np.array([1.0, 2.0, 3.0])
    check_weights(given, "balanced", np.array([0, 0, 1]), np.array([0, 1]))
    np.testing.assert_array_equal(given, [1, 2, 3])


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.array(["a"] * 6 + ["b"] * 3 + ["c"])
    classes, codes = check_labels(y)
    np.testing.assert_allclose(
        check_weights(None, "balanced", codes, classes),
        compute_sample_weight("balanced", y),
    )


def test_balanced_weights_count_a_sample_of_weight_two_as_two():
    classes = np.array(["a", "b"])
    twice = check_weights(None, "balanced", np.array([0, 0, 1]), classes)
    weighted = check_weights([2.0, 1.0], "balanced", np.array([0, 1]), classes)
    np.testing.assert_allclose(weighted[0] / weighted[1], 2 * twice[0] / twice[2])


def test_class_weight_by_label_multiplies_and_defaults_to_one():
    weights = check_weights(None, {"b": 3}, np.array([0, 1]), np.array(["a", "b"]))
    assert weights[1] / weights[0] == pytest.approx(3)


def test_class_weight_of_an_unknown_label_is_refused():
    with pytest.raises(InvalidParameterError, match="'zebra' isn't one of"):
        check_weights(None, {"zebra": 1}, np.array([0, 1]), np.array(["a", "b"]))


def test_huge_weights_do_not_overflow():
    huge = check_weights([1e308, 1e308], None, np.array([0, 1]), np.array(["a", "b"]))
    np.testing.assert_array_equal(huge, [1, 1])


@pytest.mark.parametrize(
    ("sample_weight", "words"),
    [
        ([0, 0], "[Aa]ll sample weights are zero"),
        ([1, -1], "row 1 is -1"),
        ([1, 1, 1], "inconsistent numbers of samples"),
        ([[1], [1]], "1D array"),
        ([1, np.nan], "contains NaN"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(sample_weight, words):
    with pytest.raises(ValueError, match=words):
        check_weights(sample_weight, None, np.array([0, 1]), np.array(["a", "b"]))
