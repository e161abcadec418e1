"""load_image_csv: what it returns, its warnings and its parameters."""

import functools
import io
import os
import shutil
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
from csv_tables import IMAGES, TABLE, load_names, problems_of, relative, write_table
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import (
    DatasetError,
    DatasetWarning,
    ImageLoadError,
    InvalidParameterError,
)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table and files in `tmp_path`."""
    return functools.partial(write_table, tmp_path)


def test_csv_filenames_and_labels_stand_row_by_row(write, tmp_path):
    data = load_image_csv(write(TABLE, *IMAGES))
    assert data.filenames.tolist() == [str(tmp_path / name) for name in IMAGES]
    assert data.target.tolist() == ["cat", "dog", "cat"]
    assert data.target_names == ["cat", "dog"]


def test_csv_returns_the_documented_types(write):
    data = load_image_csv(write(TABLE, *IMAGES))
    for array in (data.filenames, data.target):
        assert array.shape == (3,)
        assert array.dtype == object
        assert {type(item) for item in array} == {str}
    assert data.groups is None
    assert "3 images in 2 classes" in data.DESCR
    assert data.report == {
        "n_rows": 3,
        "n_blank_lines": 0,
        "n_images": 3,
        "n_per_class": {"cat": 2, "dog": 1},
        "repeated": [],
        "orphans": [],
        "dropped": [],
        "duplicates": None,
        "conflicts": None,
    }


def test_csv_frame_holds_the_whole_table_as_text(write):
    frame = load_image_csv(write(TABLE, *IMAGES)).frame
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == ["id", "label", "size"]
    assert frame["size"].tolist() == ["1", "2", "3"]
    # pandas 3 has a text type of its own, pandas 2 calls it object.
    assert set(frame.dtypes) == {pd.Series(["a"], dtype=str).dtype}


def test_csv_order_is_that_of_the_table(write):
    names, labels = load_names(write("id,label\nb,1\nc,2\na,3\n", *IMAGES))
    assert names == ["b.png", "c.png", "a.png"]
    assert labels == ["1", "2", "3"]


def test_csv_return_X_y_gives_filenames_and_target_alone(write):
    csv = write(TABLE, *IMAGES)
    filenames, target = load_image_csv(csv, return_X_y=True)
    np.testing.assert_array_equal(filenames, load_image_csv(csv).filenames)
    assert target.tolist() == ["cat", "dog", "cat"]


def test_csv_may_be_a_path_or_str_from_home_or_here(write, tmp_path, monkeypatch):
    csv = write(TABLE, *IMAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_image_csv("table.csv").filenames.tolist() == list(IMAGES)
    for given in (csv, str(csv), "~/table.csv"):
        assert load_image_csv(given).filenames[0] == str(tmp_path / "a.png")


def test_csv_may_be_an_open_binary_file(write, tmp_path, monkeypatch):
    path = write(TABLE, *IMAGES)
    expected = load_image_csv(path)
    with open(path, "rb") as file:  # from the folder of the file
        assert load_image_csv(file).filenames.tolist() == expected.filenames.tolist()
    content = io.BytesIO(path.read_bytes())
    data = load_image_csv(content, image_dir=tmp_path)
    assert data.filenames.tolist() == expected.filenames.tolist()
    monkeypatch.chdir(tmp_path)
    data = load_image_csv(io.BytesIO(path.read_bytes()))
    assert data.filenames.tolist() == list(IMAGES)
    with pytest.raises(DatasetError, match="The table 'a BytesIO' is empty"):
        load_image_csv(io.BytesIO())
    with open(path) as text, pytest.raises(InvalidParameterError, match="binary mode"):
        load_image_csv(text)


def test_csv_repeated_row_counts_once_with_a_warning(write):
    table = (
        "id,label,n\na.png,cat,1\nb.png,dog,2\na.png,cat,3\na,cat,4\n./a.png,cat,5\n"
    )
    with pytest.warns(DatasetWarning, match="names images repeatedly") as record:
        data = load_image_csv(write(table, *IMAGES))
    assert "line 4: 'a.png' stands in line 2 already" in str(record[0].message)
    assert len(data.report["repeated"]) == 3
    assert data.frame["n"].tolist() == ["1", "2"]
    assert len(data.filenames) == len(data.target) == 2


def test_csv_repeated_image_with_another_label_is_refused(write, tmp_path):
    csv = write("id,label\na.png,cat\na,dog\nb.png,dog\nlink.png,cat\n", *IMAGES)
    (tmp_path / "link.png").symlink_to("b.png")
    assert problems_of(csv) == [
        "line 3: 'a' is 'dog' here and 'cat' in line 2",
        "line 5: 'link.png' is 'cat' here and 'dog' in line 4",
    ]


def test_csv_missing_image_with_two_labels_is_refused_for_both(write):
    problems = problems_of(write("id,label\na,cat\nx,cat\nx,dog\n", *IMAGES))
    assert len(problems) == 3


def test_csv_empty_label_of_a_repeated_image_is_one_problem(write):
    csv = write("id,label\na,\na,cat\na,\n", *IMAGES)
    assert problems_of(csv) == [
        "line 2: the label of 'a' is empty",
        "line 4: the label of 'a' is empty",
    ]


def test_csv_repeated_row_without_labels_counts_once(write):
    with pytest.warns(DatasetWarning, match="repeatedly"):
        data = load_image_csv(write("id\na\nb\na\n", *IMAGES), label_column=None)
    assert len(data.filenames) == len(data.frame) == 2


def test_csv_images_without_a_row_are_reported(write, tmp_path):
    csv = write(
        "id,label\na,1\nx/b,2\n", "a.png", "o.png", "x/b.png", "x/p.JPG", "y/q.png"
    )
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "x" / "notes.txt").write_bytes(b"")
    data = load_image_csv(csv)
    assert relative(tmp_path, data.report["orphans"]) == ["o.png", "x/p.JPG"]


def test_csv_images_of_a_folder_named_in_two_ways_are_no_orphans(write):
    csv = write("id,label\nx/a,1\n./x/b,2\n", "x/a.png", "x/b.png")
    assert load_image_csv(csv).report["orphans"] == []


def test_csv_columns_can_be_named(write):
    csv = write("path,kind,id,label\na,cat,b,x\nb,dog,a,y\n", *IMAGES)
    assert load_names(csv) == (["b.png", "a.png"], ["x", "y"])
    assert load_names(csv, id_column="path", label_column="kind") == (
        ["a.png", "b.png"],
        ["cat", "dog"],
    )


def test_csv_label_column_none_reads_an_unlabelled_table(write):
    csv = write("id,label\na,\nb,x\n", *IMAGES)
    data = load_image_csv(csv, label_column=None)
    assert data.target is None
    assert data.target_names is None
    assert data.report["n_per_class"] is None
    assert "2 images without labels" in data.DESCR
    assert data.frame["label"].tolist() == ["", "x"]
    assert load_image_csv(csv, label_column=None, return_X_y=True)[1] is None


def test_csv_table_without_any_label_gets_advice(write):
    with pytest.raises(DatasetError, match="label_column=None reads such a table"):
        load_image_csv(write("id,label\na,\nb,\n", *IMAGES))


@pytest.mark.parametrize(
    ("table", "parameters", "expected"),
    [
        ("id,kind\na,cat\n", {}, "no column 'label'. Its columns are ['id', 'kind']"),
        ("id\na\n", {}, "label_column=None for an unlabelled table"),
        ("name,label\na,cat\n", {}, "pass id_column= with the name of one of them"),
        ("ID,label\na,cat\n", {}, "no column 'id'. Its columns are ['ID', 'label']"),
        ("id;label\na;cat\n", {}, "separated by ';': pass sep=';'"),
        ("id\tlabel\na\tcat\n", {}, "separated by '\\t': pass sep='\\t'"),
        ("id,label\na,cat\n", {"sep": ";"}, "separated by ',': pass sep=','"),
        ("id;x\na;1,5\n", {"label_column": None}, "separated by ';': pass sep=';'"),
        ("a.png,cat\nb.png,dog\n", {}, "the table needs a header line"),
        ("id,label, label\na,b,c\n", {}, "has 2 columns 'label'; rename all but one"),
    ],
)
def test_csv_columns_that_are_not_there_are_explained(
    write, table, parameters, expected
):
    with pytest.raises(DatasetError) as caught:
        load_image_csv(write(table, *IMAGES), **parameters)
    assert expected in str(caught.value)


def test_csv_other_columns_may_have_any_name(write):
    """An index that pandas saved has no name; other names may stand there twice."""
    csv = write(",id,x,label,x\n0,a,1,cat,3\n1,b,2,dog,4\n", *IMAGES)
    data = load_image_csv(csv)
    assert data.target.tolist() == ["cat", "dog"]
    assert data.frame.columns.tolist() == ["", "id", "x", "label", "x"]


@pytest.mark.parametrize(
    "labels",
    [
        ("Cat", "cat"),
        ("big cat", "bigcat"),
        (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")),
        ("cat", "cat\u200b"),
        ("big cat", "big\u00a0cat"),
    ],
)
def test_csv_classes_that_look_alike_give_a_warning(write, labels):
    csv = write(f"id,label\na,{labels[0]}\nb,{labels[1]}\n", *IMAGES)
    with pytest.warns(DatasetWarning, match="differ only by case, space") as record:
        data = load_image_csv(csv)
    assert data.target.tolist() == list(labels)
    assert all(ascii(label) in str(record[0].message) for label in labels)


def test_csv_one_class_gives_a_warning(write):
    with pytest.warns(
        DatasetWarning, match="only one class, 'cat'; a classifier needs"
    ):
        load_image_csv(write("id,label\na,cat\nb,cat\n", *IMAGES))


def test_csv_warnings_point_to_the_caller(write):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        load_image_csv(write("id,label\na,cat\na,cat\n", *IMAGES))
    assert [warning.filename for warning in record] == [__file__, __file__]


@pytest.fixture
def decodable(tmp_path):
    """Make a table of real images: a copy, a broken one and a git-lfs pointer."""
    rng = np.random.default_rng(0)
    for name in "abcd":
        pixels = rng.integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "a - Copy.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1")
    names = ["a", "broken", "b", "a - Copy", "c", "pointer", "d"]
    labels = ["x", "z", "y", "x", "x", "y", "y"]
    csv = tmp_path / "table.csv"
    pd.DataFrame({"id": names, "label": labels}).to_csv(csv, index=False)
    return csv


def test_csv_on_bad_ignore_decodes_nothing(decodable):
    assert len(load_image_csv(decodable).filenames) == 7


def test_csv_on_bad_raise_names_the_bad_files(decodable, tmp_path):
    with pytest.raises(ImageLoadError) as caught:
        load_image_csv(decodable, on_bad="raise")
    paths = [path for _, path, _ in caught.value.errors]
    assert relative(tmp_path, paths) == ["broken.png", "pointer.png"]


def test_csv_on_bad_drop_takes_max_pixels(decodable):
    with pytest.raises(DatasetError, match=r"None of the images .*\n.* max_pixels=1 "):
        load_image_csv(decodable, on_bad="drop", max_pixels=1)


def test_csv_on_bad_drop_leaves_out_image_label_and_row(decodable, tmp_path):
    with pytest.warns(DatasetWarning, match="2 images of .* were dropped") as record:
        data = load_image_csv(decodable, on_bad="drop")
    names = ["a.png", "b.png", "a - Copy.png", "c.png", "d.png"]
    assert relative(tmp_path, data.filenames) == names
    assert data.target.tolist() == ["x", "y", "x", "x", "y"]
    assert data.frame["label"].tolist() == data.target.tolist()
    assert data.frame.index.tolist() == list(range(5))
    assert data.target_names == ["x", "y"]
    assert data.groups is None
    assert relative(tmp_path, [path for path, _ in data.report["dropped"]]) == [
        "broken.png",
        "pointer.png",
    ]
    message = str(record[0].message)
    assert "['z'] have no image left" in message
    assert "broken.png" in message
    assert "pointer.png" in message


def test_csv_verbose_shows_a_bar_where_files_are_decoded(decodable, capsys):
    load_image_csv(decodable, verbose=1)
    assert capsys.readouterr().err == ""
    with pytest.warns(DatasetWarning, match="were dropped"):
        load_image_csv(decodable, on_bad="drop", verbose=1)
    assert "Checking: 100%" in capsys.readouterr().err


def test_csv_on_bad_drop_works_without_labels(decodable):
    with pytest.warns(DatasetWarning, match="were dropped"):
        data = load_image_csv(decodable, on_bad="drop", label_column=None)
    assert data.target is None
    assert len(data.filenames) == len(data.frame) == 5


def test_csv_groups_keep_copies_on_one_side_of_every_split(decodable):
    decodable.write_text(decodable.read_text().replace("broken,z", "broken,y"))
    data = load_image_csv(decodable, hash_files=True)
    splitter = StratifiedGroupKFold(n_splits=2)
    splits = splitter.split(data.filenames, data.target, data.groups)
    for train, test in splits:
        assert not set(data.groups[train]) & set(data.groups[test])
    assert data.groups[0] == data.groups[3]
    assert len(set(data.groups)) == 6


def test_csv_equal_images_under_two_labels_give_a_warning(decodable):
    table = decodable.read_text().replace("a - Copy,x", "a - Copy,y")
    decodable.write_text(table)
    with pytest.warns(DatasetWarning, match="equal images under different labels"):
        data = load_image_csv(decodable, hash_files=True)
    ((first, second),) = data.report["conflicts"]
    assert (first[1], second[1]) == ("x", "y")
    decodable.write_text("id,label\na,x\na - Copy,y\n")
    with pytest.raises(DatasetError, match=r"a.png' as 'x', .*a - Copy.png' as 'y'"):
        load_image_csv(decodable, on_bad="raise")


def test_csv_equal_images_without_labels_are_no_conflict(decodable):
    data = load_image_csv(decodable, hash_files=True, label_column=None)
    assert data.report["conflicts"] == []
    assert len(data.report["duplicates"]) == 1


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("csv", "nowhere.csv", "the path of an existing file (looked in"),
        ("csv", "/nowhere.csv", "the path of an existing file. Got '/nowhere.csv'"),
        ("csv", os.getcwd(), "the path of an existing file"),
        ("csv", 3, "the path of an existing file, as str or os.PathLike or a binary"),
        ("image_dir", "/nowhere", "the path of an existing folder"),
        ("image_dir", "", "the path of an existing folder"),
        ("id_column", None, "a column's name, as str. Got None"),
        ("id_column", 0, "a column's name, as str. Got 0"),
        ("label_column", 1, "a column's name, as str, or None (an unlabelled table)"),
        ("label_column", "id", "another column than id_column. Got 'id'"),
        ("sep", ", ", "one character other than a quote or a line end. Got ', '"),
        ("sep", "", "one character"),
        ("sep", '"', "one character"),
        ("sep", "\n", "one character"),
        ("sep", None, "one character"),
        ("encoding", "utf-9", "the name of a text encoding"),
        ("encoding", "hex", "the name of a text encoding"),
        ("encoding", "utf-8\0", "the name of a text encoding"),
        ("encoding", "", "the name of a text encoding"),
        ("encoding", None, "the name of a text encoding such as 'cp1252'. Got None"),
        ("hash_files", 1, "True or False. Got 1"),
        ("on_bad", "skip", "one of 'ignore', 'raise', 'drop'. Got 'skip'"),
        ("allow_outside", "no", "True or False. Got 'no'"),
        ("return_X_y", None, "True or False. Got None"),
        ("verbose", -1, "True, False or an int of at least 0. Got -1"),
    ],
)
def test_csv_wrong_values_give_the_one_error_form(write, parameter, value, expected):
    parameters = {"csv": write(TABLE, *IMAGES), parameter: value}
    with pytest.raises(InvalidParameterError) as caught:
        load_image_csv(**parameters)
    start = f"The '{parameter}' parameter of load_image_csv must be {expected}"
    assert str(caught.value).startswith(start)


def test_csv_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InvalidParameterError, match="an existing file"):
        load_image_csv(tmp_path / "pipe.csv")
