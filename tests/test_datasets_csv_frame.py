"""load_image_csv with a table in memory."""

import os

import numpy as np
import pandas as pd
import pytest
from csv_tables import IMAGES, TABLE, problems_of, write_table
from PIL import Image

from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import DatasetError, DatasetWarning, InvalidParameterError


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path, TABLE, *IMAGES)
    return tmp_path


def test_frame_gives_what_its_file_gives(folder):
    """Filenames, target, frame and report; numbers become text."""
    expected = load_image_csv(folder / "table.csv")
    frame = pd.read_csv(folder / "table.csv")
    data = load_image_csv(frame, image_dir=folder)
    assert data.filenames.tolist() == expected.filenames.tolist()
    assert data.target.tolist() == expected.target.tolist()
    pd.testing.assert_frame_equal(data.frame, expected.frame)
    assert data.report == expected.report
    X, y = load_image_csv(frame, image_dir=folder, return_X_y=True)
    assert X.tolist() == data.filenames.tolist()
    assert y.tolist() == ["cat", "dog", "cat"]


def test_frame_is_named_as_one_and_a_file_as_a_table(folder):
    frame = pd.read_csv(folder / "table.csv")
    assert ", from a DataFrame:" in load_image_csv(frame, image_dir=folder).DESCR
    of_file = load_image_csv(folder / "table.csv").DESCR
    assert f", from the table '{folder / 'table.csv'}'" in of_file


def test_frame_starts_from_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    frame = pd.DataFrame({"id": ["a.png", "b.png"], "label": [0, 1]})
    data = load_image_csv(frame)
    assert data.filenames.tolist() == ["a.png", "b.png"]
    assert data.target.tolist() == ["0", "1"]


def test_frame_problems_name_their_rows_from_0(folder):
    frame = pd.DataFrame(
        {
            "id": ["a.png", "b.png", "none.png", "a.png", None],
            "label": ["cat", np.nan, "dog", "dog", "cat"],
        },
        index=[10, 11, 12, 13, 14],
    )
    problems = problems_of(frame, image_dir=folder)
    assert [problem.split(":")[0] for problem in problems] == [
        "row 1",
        "row 2",
        "row 3",
        "row 4",
    ]
    assert "'cat' in row 0" in problems[2]
    with pytest.raises(DatasetError, match="a DataFrame"):
        load_image_csv(frame, image_dir=folder)


def test_frame_repeated_rows_count_once(folder):
    frame = pd.DataFrame({"id": ["a.png", "b.png", "a.png"], "label": ["x", "y", "x"]})
    with pytest.warns(DatasetWarning, match="row 2: 'a.png' stands in row 0 already"):
        load_image_csv(frame, image_dir=folder)


def test_frame_without_rows_or_columns_is_refused(folder):
    with pytest.raises(DatasetError, match="no rows"):
        load_image_csv(pd.DataFrame({"id": [], "label": []}), image_dir=folder)
    with pytest.raises(DatasetError, match="no column 'id'"):
        load_image_csv(pd.DataFrame({"name": ["a"], "label": [1]}), image_dir=folder)
    joined = pd.DataFrame({"id;label": ["a.png;1"]})
    with pytest.raises(DatasetError, match="read the file with sep=';'"):
        load_image_csv(joined, image_dir=folder)
    twice = pd.DataFrame([["a.png", "b.png", 1]], columns=["id", "id", "label"])
    with pytest.raises(DatasetError, match="2 columns 'id'"):
        load_image_csv(twice, image_dir=folder)


def test_query_that_has_not_run_is_refused(folder):
    polars = pytest.importorskip("polars")
    query = polars.LazyFrame({"id": ["a.png", "b.png"], "label": ["x", "y"]})
    with pytest.raises(InvalidParameterError, match=r"\.collect\(\)") as caught:
        load_image_csv(query, image_dir=folder)
    assert len(str(caught.value)) < 300
    assert load_image_csv(query.collect(), image_dir=folder).target.tolist() == list(
        "xy"
    )


@pytest.mark.usefixtures("names_of_any_bytes")
def test_frame_may_have_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"a\xff.png")
    Image.new("L", (4, 4)).save(tmp_path / name)
    Image.new("L", (4, 4), 9).save(tmp_path / "b.png")
    columns = {"id": [name, "b.png"], "label": ["cat", "dog"]}
    data = load_image_csv(pd.DataFrame(columns, dtype=object), image_dir=tmp_path)
    assert data.frame["id"].tolist() == columns["id"]
    assert os.path.basename(data.filenames[0]) == name


def test_frames_of_polars_and_pyarrow_are_read(folder):
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"id": ["a.png", "b.png"], "label": [7, 8]}
    for frame in [polars.DataFrame(columns), pyarrow.table(columns)]:
        data = load_image_csv(frame, image_dir=folder)
        assert data.target.tolist() == ["7", "8"]


def test_frames_of_pyarrow_may_repeat_the_name_of_another_column(folder):
    pyarrow = pytest.importorskip("pyarrow")
    columns = [["a.png", "b.png"], [1, 2], [3, 4], [7, 8]]
    names = ["id", "size", "size", "label"]
    frame = pyarrow.Table.from_arrays([*map(pyarrow.array, columns)], names=names)
    data = load_image_csv(frame, image_dir=folder)
    assert data.target.tolist() == ["7", "8"]
    assert data.frame.iloc[0].tolist() == ["a.png", "1", "3", "7"]
    with pytest.raises(DatasetError, match="2 columns 'size'"):
        load_image_csv(frame, image_dir=folder, label_column="size")
