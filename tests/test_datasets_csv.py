"""load_image_csv: the images that a csv table names."""

import csv as csv_module
import os
import shutil
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
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
    """Return a function that writes a table and empty images, which a listing needs."""

    def write_table(table, *names, encoding="utf-8"):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"any bytes")
        path = tmp_path / "table.csv"
        path.write_bytes(table if isinstance(table, bytes) else table.encode(encoding))
        return path

    return write_table


def relative(folder, paths):
    return [os.path.relpath(path, folder) for path in paths]


def load_names(csv, **parameters):
    """Return the base names and labels that a table leads to."""
    data = load_image_csv(csv, **parameters)
    return [os.path.basename(name) for name in data.filenames], list(data.target)


def problems_of(csv, **parameters):
    """Return the problems of a table, which is an error."""
    with pytest.raises(DatasetError) as caught:
        load_image_csv(csv, **parameters)
    return caught.value.problems


TABLE = "id,label,size\na.png,cat,1\nb.png,dog,2\nc.png,cat,3\n"
IMAGES = ("a.png", "b.png", "c.png")


# What comes back


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


# image_dir


def test_csv_image_dir_is_where_ids_start(write, tmp_path):
    csv = write(TABLE, *(f"images/{name}" for name in IMAGES))
    data = load_image_csv(csv, image_dir=tmp_path / "images")
    assert data.filenames[0] == str(tmp_path / "images" / "a.png")
    with pytest.raises(
        DatasetError, match=r"none of the images is found from .*image_"
    ):
        load_image_csv(csv)


def test_csv_ids_may_name_subfolders(write, tmp_path):
    csv = write(
        "id,label\ntrain/a.png,1\n./train//b,2\ntest/x/c.png,1\n",
        "train/a.png",
        "train/b.png",
        "test/x/c.png",
    )
    assert relative(tmp_path, load_image_csv(csv).filenames) == [
        "train/a.png",
        "train/b.png",
        "test/x/c.png",
    ]


def test_csv_ids_written_on_windows_are_found(write):
    csv = write(
        "id,label\ntrain\\a.png,1\n.\\train\\b,2\n", "train/a.png", "train/b.png"
    )
    assert load_names(csv)[0] == ["a.png", "b.png"]


# Ids and labels are text


@pytest.mark.parametrize("image_id", ["007", "1e5", "1.10", "NA", "None", "0x1F", "-0"])
def test_csv_ids_stay_text(write, image_id):
    """Pandas reads 007 as 7, 1e5 as 100000.0 and NA as missing."""
    table = f"id,label\n{image_id},a\n8,b\n"
    names, _ = load_names(write(table, f"{image_id}.png", "8.png"))
    assert names == [f"{image_id}.png", "8.png"]


@pytest.mark.parametrize(
    "label", ["NA", "None", "null", "nan", "n/a", "07", "1.0", "True", "=1+1"]
)
def test_csv_labels_stay_text(write, label):
    csv = write(f"id,label\na,{label}\nb,other\n", *IMAGES)
    data = load_image_csv(csv)
    assert data.target.tolist() == [label, "other"]
    assert data.frame["label"].tolist() == [label, "other"]


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0", "\u3000", " \u00a0 "])
def test_csv_spaces_around_ids_labels_and_column_names_are_stripped(write, space):
    table = (
        f"{space}id,label{space}\n{space}a.png{space},{space}cat{space}\nb.png,dog\n"
    )
    data = load_image_csv(write(table, *IMAGES))
    assert data.target.tolist() == ["cat", "dog"]
    assert data.frame["label"].tolist() == ["cat", "dog"]
    assert data.frame["id"].tolist() == ["a.png", "b.png"]


def test_csv_quoted_fields_may_hold_separators_quotes_and_newlines(write):
    table = 'id,label\n"a.png","big, ""old"" cat"\n"b.png","two\nlines"\n'
    _, labels = load_names(write(table, *IMAGES))
    assert labels == ['big, "old" cat', "two\nlines"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_line_ends_of_every_system_are_read(write, end):
    csv = write(TABLE.replace("\n", end), *IMAGES)
    assert load_names(csv) == ([*IMAGES], ["cat", "dog", "cat"])
    bad = write(TABLE.replace("\n", end) + f"x.png,cat,4{end}")
    assert problems_of(bad)[0].startswith("line 5: ")


# Which file an id means


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("a.png", "a.png"),
        ("a", "a.png"),
        ("a", "a.JPG"),
        ("a.jpg", "a.JPG"),
        ("a.JPG", "a.jpg"),
        ("a.jpg", "a.jpg.png"),
        ("version 1.5", "version 1.5.tif"),
        ("a.dat", "a.dat"),
        ("extensionless", "extensionless"),
        (".hidden.png", ".hidden.png"),
        (".hidden", ".hidden.png"),
        (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
        (unicodedata.normalize("NFD", "é"), unicodedata.normalize("NFC", "é.PNG")),
        (
            unicodedata.normalize("NFC", "é/a.png"),
            unicodedata.normalize("NFD", "é/a.png"),
        ),
    ],
)
def test_csv_id_finds_its_file(write, image_id, name, tmp_path):
    csv = write(f"id,label\n{image_id},x\nother.png,y\n", name, "other.png")
    assert load_image_csv(csv).filenames[0] == str(tmp_path / name)


@pytest.mark.parametrize(
    ("image_id", "names", "chosen"),
    [
        ("a", ["a", "a.png"], "a"),
        ("a.png", ["a.png", "a.PNG", "a.jpg", "a.png.jpg"], "a.png"),
        ("a.png", ["a.PNG", "a.png.jpg"], "a.PNG"),
        ("a", ["a.txt", "a.png", "A.png"], "a.png"),
        ("a", ["a.png", ".a.png"], "a.png"),
    ],
)
def test_csv_exact_names_come_first(write, image_id, names, chosen):
    csv = write(f"id,label\n{image_id},x\nother.png,y\n", "other.png", *names)
    assert load_names(csv)[0][0] == chosen


@pytest.mark.parametrize(
    ("image_id", "names"),
    [
        ("a", ["a.png", "a.jpg"]),
        ("a", ["a.png", "a.PNG"]),
        ("a.jpg", ["a.JPG", "a.Jpg"]),
    ],
)
def test_csv_id_with_two_candidates_is_refused(write, image_id, names):
    (problem,) = problems_of(write(f"id,label\nb,x\n{image_id},y\n", "b.png", *names))
    assert problem.startswith(f"line 3: {image_id!r} could be any of ")
    assert all(repr(name) in problem for name in names)


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("a", "A.png"),
        ("a.png", "a.jpg"),
        ("a", "b.png"),
        ("a", "a.txt"),
        ("a", "ab.png"),
    ],
)
def test_csv_other_names_are_not_taken(write, image_id, name):
    (problem,) = problems_of(
        write(f"id,label\nother,x\n{image_id},y\n", "other.png", name)
    )
    assert problem.startswith(f"line 3: no image {image_id!r} in ")
    similar = name.lower().startswith("a.") and not name.endswith(".txt")
    assert (f"there is {name!r}" in problem) == similar


def test_csv_ids_that_are_no_files_are_named(write, tmp_path):
    csv = write("id,label\na.png,1\nfolder,2\nlink,3\npipe.png,4\nloop,5\n", "a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere.png")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.png")
    folder, link, pipe, loop = problems_of(csv)
    assert "folder' is a folder, not a file" in folder
    assert "link' is a link that leads to no file" in link
    assert "pipe.png' is a special file" in pipe
    assert "loop' is a link that leads to no file" in loop


def test_csv_ids_too_long_for_a_file_are_missing(write):
    long = "x" * 300
    problems = problems_of(write(f"id,label\na,1\n{long},2\n{long}/a,3\n", *IMAGES))
    assert "no image" in problems[0]
    assert "no folder" in problems[1]


# Paths that lead out of image_dir


@pytest.fixture
def outside(tmp_path):
    """Make a folder beside image_dir with an image in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "x.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "image_id",
    ["../outside/x.png", "..\\outside\\x", "link.png", "folder_link/x.png", "/x.png"],
)
def test_csv_ids_that_lead_outside_are_refused_unless_allowed(
    write, tmp_path, outside, image_id
):
    if image_id.startswith("/"):
        image_id = str(outside / "x.png")
    csv = write(f"id,label\na,1\n{image_id},2\n", "images/a.png")
    (tmp_path / "images" / "link.png").symlink_to(outside / "x.png")
    (tmp_path / "images" / "folder_link").symlink_to(outside)
    (problem,) = problems_of(csv, image_dir=tmp_path / "images")
    assert problem.startswith("line 3: ")
    assert "allow_outside=True accepts it" in problem
    data = load_image_csv(csv, image_dir=tmp_path / "images", allow_outside=True)
    assert os.path.samefile(data.filenames[1], outside / "x.png")


def test_csv_absolute_ids_are_refused_even_inside(write, tmp_path):
    csv = write(f"id,label\na,1\n{tmp_path / 'b.png'},2\n", *IMAGES)
    (problem,) = problems_of(csv)
    assert "is an absolute path" in problem
    (problem,) = problems_of(write("id,label\na,1\n/b.png,2\n", *IMAGES))
    assert "'/b.png' is an absolute path" in problem
    csv = write(f"id,label\na,1\n{tmp_path / 'b.png'},2\n", *IMAGES)
    assert load_names(csv, allow_outside=True)[0] == ["a.png", "b.png"]


def test_csv_ids_may_go_up_and_down_inside(write):
    csv = write("id,label\nx/../a.png,1\nx/c.png,2\n", "a.png", "x/c.png")
    assert load_names(csv)[0] == ["a.png", "c.png"]


def test_csv_going_up_behind_a_link_means_the_links_target(write, tmp_path):
    """So the operating system reads it; the parts can't just be cancelled."""
    csv = write("id,label\nlink/../x.png,1\na,2\n", "a.png", "x.png", "far/x.png")
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to("far/deep")
    assert os.path.samefile(
        load_image_csv(csv).filenames[0], tmp_path / "far" / "x.png"
    )


def test_csv_folder_with_a_longer_name_is_outside(write, tmp_path):
    csv = write("id,label\na,1\n../data2/x.png,2\n", "data/a.png", "data2/x.png")
    (problem,) = problems_of(csv, image_dir=tmp_path / "data")
    assert "lies outside of" in problem


def test_csv_links_inside_are_followed(write, tmp_path):
    csv = write("id,label\nlink.png,1\nb,2\n", "store/key", "b.png")
    (tmp_path / "link.png").symlink_to("store/key")
    assert load_names(csv)[0] == ["link.png", "b.png"]


def test_csv_image_dir_may_be_a_link(write, tmp_path):
    csv = write(TABLE, *(f"images/{name}" for name in IMAGES))
    (tmp_path / "link").symlink_to("images")
    data = load_image_csv(csv, image_dir=tmp_path / "link")
    assert data.filenames[0] == str(tmp_path / "link" / "a.png")


# Rows that are wrong


def test_csv_every_problem_is_listed_with_its_line(write):
    """Line 4 starts behind a field with a newline, and line 7 is blank."""
    table = (
        "id,label\n"
        'a.png,"two\nlines"\n'  # 2 and 3
        "missing.png,cat\n"  # 4
        "b.png,dog,3\n"  # 5
        "c.png\n"  # 6
        "\n"
        ",cat\n"  # 8
        "c.png, \n"  # 9
        "a.png,dog\n"  # 10
        "../x.png,dog\n"  # 11
        "d,dog\n"  # 12
    )
    problems = problems_of(write(table, *IMAGES, "d.png", "d.jpg"))
    lines = [int(problem.split(":")[0].removeprefix("line ")) for problem in problems]
    assert lines == [4, 5, 6, 8, 9, 10, 11, 12]
    for problem, expected in zip(
        problems,
        [
            "no image 'missing.png'",
            "3 fields where the header has 2",
            "1 field where the header has 2",
            "the id is empty",
            "the label of 'c.png' is empty",
            "'a.png' is 'dog' here and 'two\\nlines' in line 2",
            "lies outside of",
            "'d' could be any of 'd.jpg', 'd.png'",
        ],
        strict=True,
    ):
        assert expected in problem


def test_csv_error_lists_ten_problems_and_holds_all(write):
    rows = "".join(f"x{number}.png,cat\n" for number in range(25))
    with pytest.raises(DatasetError) as caught:
        load_image_csv(write(f"id,label\na,dog\n{rows}", *IMAGES))
    assert len(caught.value.problems) == 25
    assert str(caught.value).endswith("... and 15 more")
    assert "it has 25 problems" in str(caught.value)


def test_csv_one_field_too_many_in_every_row_is_refused(write):
    """Pandas takes the first column for an index: ids become labels."""
    problems = problems_of(write("id,label\na,cat,x\nb,dog,x\n", *IMAGES))
    assert len(problems) == 2


def test_csv_blank_lines_are_passed_over_and_counted(write):
    data = load_image_csv(write("\nid,label\n\na,1\n\r\nb,2\n\n", *IMAGES))
    assert data.report["n_blank_lines"] == 4
    assert data.report["n_rows"] == 2


def test_csv_rows_of_separators_alone_are_problems(write):
    problems = problems_of(write("id,label\na,1\n,\n", *IMAGES))
    assert problems == ["line 3: the id is empty", "line 3: the label of '' is empty"]


def test_csv_quote_that_is_never_closed_names_its_line(write):
    rows = "".join(f"x{number},cat\n" for number in range(20_000))
    for rest in ("c,cat\n", rows):
        table = f'id,label\na,cat\nb,"dog\n{rest}'
        (problem,) = problems_of(write(table, *IMAGES))
        assert problem == 'line 3: a quote (") is opened and never closed'


def test_csv_text_behind_a_closing_quote_names_its_line(write):
    problems = problems_of(write('id,label\na,"cat"x\nb,"dog" \n', *IMAGES))
    assert [problem.split(" (")[0] for problem in problems] == [
        "line 2: text follows a closing quote",
        "line 3: text follows a closing quote",
    ]


def test_csv_header_that_can_not_be_parsed_is_refused(write):
    problems = problems_of(write('"id"x,label\na,cat\n', *IMAGES))
    assert "line 1: text follows a closing quote" in problems[0]


# The same image again


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


# Columns


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


@pytest.mark.parametrize("sep", [";", "\t", "|", " "])
def test_csv_sep_separates_fields(write, sep):
    assert load_names(write(TABLE.replace(",", sep), *IMAGES), sep=sep)[1] == [
        "cat",
        "dog",
        "cat",
    ]


# Encodings


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("utf-8", "utf-8-sig"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("cp1252", "cp1252"),
    ],
)
def test_csv_encoding_reads_what_was_written(write, written, read):
    csv = write("id,label\na,café\nb,thé\n", *IMAGES, encoding=written)
    assert load_image_csv(csv, encoding=read).target_names == ["café", "thé"]


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [
        ("cp1252", "utf-8-sig", "byte 14 (line 2) is b'\\xe9'; try encoding='cp1252'"),
        ("utf-16", "utf-8-sig", "byte 0 (line 1) is b'\\xff'; try encoding='utf-16'"),
        ("utf-32", "utf-8-sig", "try encoding='utf-32'"),
        ("utf-8", "ascii", "try encoding='utf-8-sig'"),
    ],
)
def test_csv_in_another_encoding_names_the_byte_and_advises(
    write, written, read, expected
):
    csv = write("id,label\na,café\n", *IMAGES, encoding=written)
    with pytest.raises(DatasetError) as caught:
        load_image_csv(csv, encoding=read)
    assert repr(str(csv)) in str(caught.value)
    assert expected in str(caught.value)


def test_csv_byte_offset_counts_the_byte_order_mark(write):
    csv = write(b"\xef\xbb\xbfid,label\na,caf\xe9\n", *IMAGES)
    with pytest.raises(DatasetError, match="byte 17 "):
        load_image_csv(csv)


@pytest.mark.parametrize(
    ("encoding", "advice"), [("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be")]
)
def test_csv_in_utf16_without_a_mark_is_recognised(write, encoding, advice):
    csv = write("id,label\na,b\n", *IMAGES, encoding=encoding)
    with pytest.raises(DatasetError, match=f"in line 1.*try encoding='{advice}'"):
        load_image_csv(csv)


def test_csv_bytes_that_only_latin1_knows_are_advised(write):
    with pytest.raises(DatasetError, match="try encoding='latin-1'"):
        load_image_csv(write(b"id,label\na,\x81\n", *IMAGES))


def test_csv_cut_utf16_is_called_damaged(write):
    table = "id,label\na,b\n".encode("utf-16")[:-1]
    with pytest.raises(DatasetError, match="the file may be damaged"):
        load_image_csv(write(table, *IMAGES), encoding="utf-16")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"PK\x03\x04...", "a zip archive or an Excel workbook"),
        (b"\x1f\x8b...", "compressed with gzip"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"id,label\n", "has no rows below its header"),
    ],
)
def test_csv_files_that_hold_no_table_are_refused(write, content, expected):
    with pytest.raises(DatasetError) as caught:
        load_image_csv(write(content))
    assert expected in str(caught.value)
    assert "table.csv'" in str(caught.value)


# Classes


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


# Contents


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


# Parameters


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("csv", "nowhere.csv", "the path of an existing file (looked in"),
        ("csv", "/nowhere.csv", "the path of an existing file. Got '/nowhere.csv'"),
        ("csv", os.getcwd(), "the path of an existing file"),
        ("csv", 3, "the path of an existing file, as str or os.PathLike. Got 3"),
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


def test_repair_unlimited_fields_reads_fields_longer_than_pythons_limit(write):
    """Run-length masks beside the labels don't make a table unreadable."""
    mask = "1 2 " * 50_000
    csv = write(f"id,label,mask\na,x,{mask}\nb,y,\n", "a.png", "b.png")
    before = csv_module.field_size_limit(20)
    try:
        data = load_image_csv(csv)
        assert csv_module.field_size_limit() == 20
    finally:
        csv_module.field_size_limit(before)
    assert data.frame["mask"][0] == mask
