"""Read a csv table as text, strictly, with the line in which each row starts.

pandas isn't used: it shifts columns silently when the first row has one field too
many, reads the id 007 as 7 and the class NA as missing, and knows no line numbers.
"""

import codecs
import contextlib
import csv
import io
import re
import threading
from collections import namedtuple

from skimgclf._validation import Rule
from skimgclf.exceptions import DatasetError
from skimgclf.images._decoding.reasons import is_missing

# First bytes of files that are often taken for a csv table, and their kinds.
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it or save it as csv",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as csv",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"PAR1": "a parquet file; save it as csv",
}

# What Excel writes, and understands, as the first line of a table. A program that takes
# it for a row adds the separators of the empty cells behind it when it saves the table.
_SEPARATOR_LINE = re.compile(
    r'"?sep=([^"\r\n])"?(?:([,;|\t])\2*)?(?:\r\n|\r|\n)', re.IGNORECASE
)
_LINE = re.compile(r"[^\r\n]*")

# The longer mark first: the UTF-32 one starts with the UTF-16 one.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Table(
    namedtuple(
        "Table",
        ["columns", "rows", "lines", "problems", "n_blank_lines", "unit", "declared"],
        defaults=["line", None],
    )
):
    """A csv table as text.

    Parameters
    ----------
    columns : list of str
        The header, without spaces around the names.
    rows : list of list of str
        The cells of the rows that have as many fields as the header.
    lines : list of int
        For each row the line of the file in which it starts, from 1.
    problems : list of tuple (int, str)
        Line and description of every row that can't be read.
    n_blank_lines : int
        How many blank lines were skipped.
    unit : {"line", "row"}
        The unit of `lines`: lines of a file, or rows of a table in memory.
    declared : str or None
        The separator, if the first line of the file names it.
    """

    __slots__ = ()


def _is_encoding(value):
    try:
        b"a".decode(value)
    except UnicodeError:
        return True  # of several bytes a character
    except (LookupError, ValueError, TypeError):  # ValueError: a NUL in its name
        return False
    return True


ENCODING = Rule(
    "the name of a text encoding such as 'cp1252'",
    _is_encoding,
    ("utf-9", "hex", "utf-8\0", "", None),
)


def read_table(content, path, *, sep, encoding):
    """Read a csv table.

    Parameters
    ----------
    content : bytes
        The content of the file.
    path : str
        Its path or URL, for errors.
    sep : str
        The one character between two fields.
    encoding : str
        The name of a text encoding.

    Returns
    -------
    table : Table

    Raises
    ------
    DatasetError
        If the file has no header, has no rows, or isn't text in that encoding.
    """
    text = _decode(content, path, encoding)
    first_line, declared = 1, _SEPARATOR_LINE.match(text)
    if declared:
        first_line, text = 2, text[declared.end() :]
        sep, of_saving = declared.groups()
        if of_saving and of_saving in _LINE.match(text)[0]:
            sep = of_saving
    rows, lines, problems, n_blank_lines = _parse(text, sep, first_line)
    if not rows or (problems and problems[0][0] < lines[0]):
        what = "can't be used; its header can't be read:" if problems else "is empty."
        raise DatasetError(
            f"The table {path!r} {what}",
            [f"line {line}: {problem}" for line, problem in problems],
        )
    columns = [name.strip() for name in rows[0]]
    if len(rows) == 1 and not problems:
        raise DatasetError(
            f"The table {path!r} has no rows below its header {columns!r}."
        )
    width = len(columns)
    problems += [
        (line, _describe_width(row, width))
        for row, line in zip(rows, lines, strict=True)
        if len(row) != width
    ]
    whole = [index for index in range(1, len(rows)) if len(rows[index]) == width]
    return Table(
        columns,
        [rows[index] for index in whole],
        [lines[index] for index in whole],
        problems,
        n_blank_lines,
        declared=sep if declared else None,
    )


def read_frame(frame):
    """Read a table in memory as text: missing values are empty.

    Parameters
    ----------
    frame : DataFrame or Table of pandas, polars or pyarrow

    Returns
    -------
    table : Table
    """
    names = getattr(frame, "column_names", frame.columns)  # pyarrow's have both
    if hasattr(frame, "iloc"):  # pandas' names may repeat
        columns = [frame.iloc[:, number] for number in range(len(names))]
    elif hasattr(frame, "column_names"):  # and pyarrow's
        columns = [frame.column(number) for number in range(len(names))]
    else:
        columns = [frame[name] for name in names]
    columns = [
        each.to_pylist() if hasattr(each, "to_pylist") else list(each)
        for each in columns
    ]
    rows = [
        ["" if is_missing(value) else str(value) for value in row]
        for row in zip(*columns, strict=True)
    ]
    if not rows:
        raise DatasetError(f"The table has no rows; its columns are {list(names)!r}.")
    names = [str(name).strip() for name in names]
    return Table(names, rows, list(range(len(rows))), [], 0, "row")


def _decode(raw, path, encoding):
    for signature, what in _SIGNATURES.items():
        if raw.startswith(signature):
            raise DatasetError(f"The table {path!r} isn't a csv file: it is {what}.")
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        raise _encoding_error(path, raw, encoding, error) from error
    if "\0" in text:
        # UTF-16 without its mark: every other byte of plain text is zero.
        byte_order = "le" if raw.index(0) % 2 else "be"
        raise DatasetError(
            f"The table {path!r} holds zero bytes when read as {encoding!r} (the first "
            f"in line {text.count(chr(10), 0, text.index(chr(0))) + 1}); if it is in "
            f"UTF-16, try encoding='utf-16-{byte_order}'."
        )
    return text.removeprefix("\ufeff")


def _encoding_error(path, raw, encoding, error):
    where = ""
    if isinstance(error, UnicodeDecodeError):
        # "utf-8-sig" counts from behind the byte order mark that it has cut off.
        offset = error.start + len(raw) - len(error.object)
        line = raw.count(b"\n", 0, offset) + 1
        where = f": byte {offset} (line {line}) is {raw[offset : offset + 1]!r}"
    guess = _guess_encoding(raw)
    advice = f"try encoding={guess!r}"
    if codecs.lookup(guess) == codecs.lookup(encoding):
        advice = "the file may be damaged"
    return DatasetError(
        f"The table {path!r} isn't text in the encoding {encoding!r}{where}; {advice}."
    )


def _guess_encoding(raw):
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            return encoding
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _parse(text, sep, first_line):
    """Split a text into rows; a row that can't be parsed becomes a problem."""
    with _unlimited_fields():
        return _parse_rows(text, sep, first_line)


@contextlib.contextmanager
def _unlimited_fields():
    """Let a field be as long as it is (run-length masks are); the limit is a global."""
    with _FIELD_LIMIT_LOCK:
        limit = csv.field_size_limit(2**31 - 1)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


_FIELD_LIMIT_LOCK = threading.Lock()


def _parse_rows(text, sep, first_line):
    rows, lines, problems, n_blank_lines = [], [], [], 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sep, strict=True)
    line = first_line
    while True:
        try:
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(line)
                else:
                    n_blank_lines += 1
                # A quoted field may hold newlines: the next row starts behind the last
                # line that was consumed.
                line = reader.line_num + first_line
        except csv.Error as error:
            problems.append((line, _describe_syntax(str(error))))
            line = reader.line_num + first_line
        else:
            return rows, lines, problems, n_blank_lines


def _describe_syntax(message):
    if "end of data" in message:
        return 'a quote (") is opened and never closed'
    if "expected after" in message:
        return 'text follows a closing quote (a quote inside quotes is written "")'
    return message


def _describe_width(row, width):
    fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
    return (
        f"{fields} where the header has {width} (a field that holds the separator must "
        f"stand in quotes): {row[: width + 1]!r}"
    )
