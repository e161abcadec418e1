"""Write tables as csv files, in one step and without formulas for spreadsheets."""

import contextlib
import os
import re
import sys

from skimgclf._atomic import find_replaced, replace_atomically
from skimgclf._platform import find_status, is_folder_name, is_reserved
from skimgclf._terminal import escape_line
from skimgclf.exceptions import SkimgclfError
from skimgclf.images._urls import local_files

# Spreadsheets run a cell that begins like this as a formula (OWASP, "CSV Injection"). A
# number with a sign is no formula, and stays a number for other programs.
_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)


def check_output(path, *, device=True):
    """Refuse an output that can't be written, before any other work is done.

    Parameters
    ----------
    path : str
        The file to write; "-" for standard output.
    device : bool, default=True
        Whether the output may be a pipe or a device, which is written in place.

    Raises
    ------
    SkimgclfError
        If the output is a folder, or can't be written, or its folder can't.
    OSError
        If the name is too long for a file.
    """
    if path == "-":
        return
    if not path or is_folder_name(path) or os.path.isdir(path):
        raise SkimgclfError(f"The output {path!r} must be a file, not a folder.")
    if "\0" in path:
        raise SkimgclfError(f"The name of the output {path!r} holds a NUL character.")
    if is_reserved(path):
        raise SkimgclfError(f"The output {path!r} is the name of a device on Windows.")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise SkimgclfError(f"There is no folder {folder!r} for the output {path!r}.")
    with contextlib.suppress(FileNotFoundError):
        os.lstat(path)  # raises if the name is too long
    if os.path.exists(path) and not os.path.isfile(path):
        if device:
            return
        raise SkimgclfError(f"The output {path!r} isn't a regular file.")
    for target in [folder, path]:
        if os.path.exists(target) and not os.access(target, os.W_OK):
            raise SkimgclfError(f"There is no permission to write {target!r}.")


def check_not_read(path, inputs):
    """Refuse an output that would replace one of the inputs.

    Parameters
    ----------
    path : str
        The file to write; "-" for standard output.
    inputs : iterable of (str or None)
        The files and URLs to read.

    Raises
    ------
    SkimgclfError
        If the output is one of the inputs, or a file that one is read from.
    """
    if path == "-":
        return
    names = (name for source in filter(None, inputs) for name in local_files(source))
    if find_replaced(path, names) is not None:
        raise SkimgclfError(f"The output {path!r} would replace a file that is read.")


@contextlib.contextmanager
def named_if_written(*paths):
    """Add a note to an error or Ctrl-C: which of some files are new already.

    Parameters
    ----------
    *paths : str or None
        The files that are being written; "-" is standard output, None is no file.
    """
    given = list(filter(None, paths))
    paths = [path for path in given if not _is_stream(path)]
    before = [_identify(path) for path in paths]
    try:
        yield
    except BaseException as error:
        new = [
            path
            for path, identity in zip(paths, before, strict=True)
            if _identify(path) != identity
        ]
        if new:
            only = "Only " if len(new) < len(paths) else ""
            names = " and ".join(map(repr, new))
            were = "was" if len(new) == 1 else "were"
            error.add_note(f"{only}{names} {were} written.")
        if len(paths) < len(given):
            error.add_note("A part of the table may have been written.")
        raise


def _is_stream(path):
    """Tell whether an output is standard output, a pipe or a device."""
    return path == "-" or (os.path.exists(path) and not os.path.isfile(path))


def _identify(path):
    status = find_status(path)
    return status and (status.st_dev, status.st_ino, status.st_mtime_ns)


def write_csv(frame, path):
    """Write a table as a csv file, in UTF-8.

    Parameters
    ----------
    frame : DataFrame
        The table; its index isn't written. Cells and column names that a spreadsheet
        would take for a formula get an apostrophe in front. On a terminal, control
        characters in them are escaped.
    path : str
        The file; "-" for standard output.
    """
    # Pipes and devices are written in place, files are replaced in one step.
    if _is_stream(path):
        _write_in_place(frame, path)
        return
    with replace_atomically(path) as file:
        file.write(_to_csv(frame, is_shown=False))


def _write_in_place(frame, path):
    if path == "-":
        content = _to_csv(frame, is_shown=sys.stdout.isatty())
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    with open(path, "wb") as file:  # a device may be a terminal, as /dev/stdout is
        file.write(_to_csv(frame, is_shown=file.isatty()))


def _to_csv(frame, *, is_shown):
    import pandas as pd

    escape = _escape_for_terminal if is_shown else escape_cell
    names = [escape(name) for name in frame.columns]
    columns = [_map_text(column, escape) for _, column in frame.items()]
    text = (
        pd.concat(columns, axis=1)
        .set_axis(names, axis=1)
        .to_csv(index=False, float_format="%.6g", lineterminator="\n")
    )
    # File names that aren't UTF-8 keep their bytes on disk.
    return text.encode("utf-8", errors="surrogateescape")


def _map_text(column, function):
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):  # also bool
        return column
    # Without the type, pandas 3 makes columns of pyarrow's text where pyarrow is
    # installed, in which a name that isn't UTF-8 has no place.
    return pd.Series(map(function, column), index=column.index, dtype=object)


def escape_cell(value):
    """Put an apostrophe before text that a spreadsheet would take for a formula.

    Parameters
    ----------
    value : object
        A cell; anything but str is returned as it is.

    Returns
    -------
    cell : object

    Examples
    --------
    >>> from skimgclf._shell.report import escape_cell
    >>> [escape_cell(cell) for cell in ["=1+1", "-cat.png", "-1.5", "cat", 3]]
    ["'=1+1", "'-cat.png", '-1.5', 'cat', 3]
    """
    if not isinstance(value, str) or not _FORMULA.match(value):
        return value
    # "-" alone is standard input.
    return value if value == "-" or _NUMBER.fullmatch(value) else f"'{value}"


def _escape_for_terminal(value):
    value = escape_cell(value)
    return escape_line(value) if isinstance(value, str) else value
