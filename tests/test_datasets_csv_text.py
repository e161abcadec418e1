"""load_image_csv: the text of a table, its encoding, separators and mistakes."""

import csv as csv_module
import functools

import pytest
from csv_tables import IMAGES, TABLE, load_names, problems_of, write_table

from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import DatasetError


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table and files in `tmp_path`."""
    return functools.partial(write_table, tmp_path)


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


@pytest.mark.parametrize("on_bad", ["ignore", "drop"])
def test_csv_a_row_without_an_image_is_to_be_removed_whatever_on_bad_is(write, on_bad):
    csv = write("id,label\na.png,cat\nx.png,dog\n", *IMAGES)
    with pytest.raises(DatasetError, match="remove rows without an image") as caught:
        load_image_csv(csv, on_bad=on_bad)
    assert "on_bad='drop' leaves out damaged files only" in str(caught.value)
    with pytest.raises(DatasetError) as caught:
        load_image_csv(write("id,label\na.png,\nb.png,dog\n", *IMAGES))
    assert "remove rows" not in str(caught.value)


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


def test_csv_a_row_of_wrong_width_is_one_problem(write):
    """The fields of such a row may be shifted, so that they aren't looked at."""
    table = "id,label\na,cat\nmissing,dog,x\nmissing\nb,dog\n"
    problems = problems_of(write(table, *IMAGES))
    assert [problem.split(":")[0] for problem in problems] == ["line 3", "line 4"]


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


@pytest.mark.parametrize("sep", [";", "\t", "|", " "])
def test_csv_sep_separates_fields(write, sep):
    assert load_names(write(TABLE.replace(",", sep), *IMAGES), sep=sep)[1] == [
        "cat",
        "dog",
        "cat",
    ]


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


@pytest.mark.parametrize("first", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
@pytest.mark.parametrize("sep", [",", ";"])
def test_csv_first_line_of_excel_names_the_separator(write, first, sep):
    csv = write(first + "id;label\na.png;cat\nb.png;dog\n", "a.png", "b.png")
    assert load_names(csv, sep=sep) == (["a.png", "b.png"], ["cat", "dog"])


@pytest.mark.parametrize(
    ("first", "sep"),
    [
        ("sep=;,,\n", ","),
        ('"sep=;",,\n', ","),
        ("sep=;;;\r\n", ";"),
        ('"sep=;";;\n', ";"),
        ("sep=;\t\t\n", "\t"),
        ("sep=,;;\n", ";"),
        ("sep=;,,\n", ";"),
    ],
)
def test_csv_first_line_of_excel_that_was_saved_again_is_understood(write, first, sep):
    """A program took it for a row, and may have saved with another separator."""
    table = "id;size;label\na.png;3;cat\nb.png;4;dog\n".replace(";", sep)
    csv = write(first + table, "a.png", "b.png")
    assert load_names(csv) == (["a.png", "b.png"], ["cat", "dog"])


@pytest.mark.parametrize(
    ("first", "named", "other"),
    [("sep=;\n", ";", ","), ('"sep=,"\r\n', ",", "\t"), ("sep=\t\n", "\t", "|")],
)
def test_csv_first_line_that_names_another_separator_is_explained(
    write, first, named, other
):
    """It counts more than the parameter, which would be of no use."""
    csv = write(f"{first}id{other}label\na.png{other}cat\n", "a.png")
    for sep in [",", other]:
        with pytest.raises(DatasetError) as caught:
            load_image_csv(csv, sep=sep)
        assert (
            f"they seem to be separated by {other!r}, but the table's first line says "
            f"that it is {named!r}: correct or remove that line."
        ) in str(caught.value)
        assert "pass sep=" not in str(caught.value)


def test_csv_lines_are_counted_with_the_first_line_of_excel(write):
    csv = write("sep=\t\nid\tlabel\na.png\tcat\nno.png\tdog\n", "a.png")
    assert problems_of(csv)[0].startswith("line 4: no image 'no.png'")
