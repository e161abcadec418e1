"""Load the paths and labels of images from a csv table: load_image_csv."""

import os

from skimgclf._validation import NONE, ParameterTable, Rule, optional, pick_fields
from skimgclf.datasets._bunch import (
    READER_RULES,
    Reading,
    alike_notes,
    make_bunch,
    one_class_notes,
    warn_all,
)
from skimgclf.datasets._csv_rows import Selection
from skimgclf.datasets._csv_text import ENCODING, read_frame, read_table
from skimgclf.datasets._id_lookup import ImageLookup
from skimgclf.datasets._paths import an_existing, read_bytes
from skimgclf.datasets._urls import UrlLookup, parent_url
from skimgclf.exceptions import describe_list
from skimgclf.images._decoding.options import DEFAULT_MAX_PIXELS
from skimgclf.images._input_forms import is_query
from skimgclf.images._urls import is_url

_COLUMN = Rule(
    "a column's name, as str", lambda value: isinstance(value, str), (0, None)
)


def _is_frame(value):
    return hasattr(value, "columns") and hasattr(value, "__getitem__")


def _is_stream(value):
    return callable(getattr(value, "read", None))


_CSV = (
    an_existing("file")
    | Rule("a binary file object", _is_stream, (3, ["a"]))
    | Rule("a table in memory of pandas, polars or pyarrow", _is_frame, (3, ["a"]))
)
_TABLE = ParameterTable(
    "load_image_csv",
    {
        "id_column": _COLUMN,
        "label_column": Rule(
            "a column's name, as str, or None (an unlabelled table)",
            (_COLUMN | NONE).accepts,
            (0, True),
        ),
        "sep": Rule(
            "one character other than a quote or a line end",
            lambda sep: isinstance(sep, str) and len(sep) == 1 and sep not in '"\r\n\0',
            (", ", "", '"', "\n", None),
        ),
        "encoding": ENCODING,
        **READER_RULES,
        "csv": _CSV,
        "image_dir": optional(an_existing("folder")),
    },
)


def load_image_csv(
    csv,
    *,
    image_dir=None,
    id_column="id",
    label_column="label",
    sep=",",
    encoding="utf-8-sig",
    hash_files=False,
    on_bad="ignore",
    max_pixels=DEFAULT_MAX_PIXELS,
    allow_outside=False,
    storage_options=None,
    return_X_y=False,
    verbose=0,
):
    """Load the paths and labels of the images that a csv table names.

    Ids and labels are text, always: ``007``, ``1e5`` and a class ``NA`` stay as they
    are, and only spaces around them are stripped. So `target` holds the labels
    themselves as str, unlike that of :func:`sklearn.datasets.load_files`, which holds
    numbers. No image is decoded unless `on_bad` asks for it.

    A row's image is the file named exactly like its id; failing that, the one whose
    name differs only in Unicode form or in the case of its extension; failing that, the
    id followed by a known image extension. All mistakes of the table are one error that
    lists them with their lines, before any training starts.

    Parameters
    ----------
    csv : str, os.PathLike, binary file object or DataFrame
        The table, as a path, a URL (see `ImageLoader`) or an open file: a header, then
        one image a row. A line must have as many fields as the header; blank lines are
        skipped, and a first line ``sep=;`` of Excel's is understood. Or a table in
        memory, of pandas, polars or pyarrow, whose values are taken as text and whose
        rows are counted from 0.
    image_dir : str or os.PathLike, default=None
        The folder that ids start from; they may name sub-folders (``train/007.png``).
        By default the folder in which the table lies; for a table in memory the current
        one. A URL must be one that can be listed (``zip://train::pets.zip``,
        ``s3://bucket/train``).
    id_column : str, default="id"
        The column with the file names, with or without their extension.
    label_column : str or None, default="label"
        The column with the labels; None for an unlabelled table.
    sep : str, default=","
        The one character that separates two fields.
    encoding : str, default="utf-8-sig"
        The encoding of the table; the default is UTF-8, with or without a byte order
        mark.
    hash_files : bool, default=False
        Whether to hash the content of every file as `groups`, which reads them all.
        Give them to :class:`sklearn.model_selection.StratifiedGroupKFold`, and no copy
        of a training image is among the test images.
    on_bad : {"ignore", "raise", "drop"}, default="ignore"
        How to treat files that can't be decoded. "ignore" doesn't look: the loader
        will name them. "raise" and "drop" decode every file first, in as many threads
        as :func:`joblib.parallel_config` says. "raise" refuses bad files, and equal
        images under different labels as well; "drop" leaves bad files out, image, label
        and row of `frame` together, and warns with the list.
    max_pixels : int, default=89_478_485
        Images with more pixels are bad files for ``on_bad="raise"`` and "drop".
    allow_outside : bool, default=False
        Whether ids may be absolute paths or lead out of `image_dir`, by ``..`` or
        through links. Out of a URL, they never may.
    storage_options : dict, default=None
        Options of fsspec for URLs, by their names.
    return_X_y : bool, default=False
        Whether to return only ``(filenames, target)``.
    verbose : int, default=0
        Above 0, a progress bar is shown on stderr while files are decoded.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        - filenames : ndarray of shape (n_images,), dtype object: the paths or URLs as
          str, in the order of the table
        - target : ndarray of shape (n_images,), dtype object: the labels as str; None
          for an unlabelled table
        - target_names : list of str: the classes, sorted; None for an unlabelled table
        - frame : DataFrame of shape (n_images, n_columns): the whole table as text,
          row by row as in `filenames`
        - groups : ndarray of shape (n_images,), dtype object: the SHA-256 of each
          file's bytes; None without `hash_files`
        - report : dict: `n_rows` and `n_blank_lines` of the table; `n_images`;
          `n_per_class` (dict; None when unlabelled); `repeated` (list of str: the rows
          that name an image again); `orphans` (list of str: images without a row, in
          the folders that the ids name); `dropped` (list of path and reason); and, if
          the contents are known from `hash_files` or `on_bad`, `duplicates` (list of
          lists of equal files) and `conflicts` (list of lists of path and label: equal
          files under different labels)
        - DESCR : str: a summary in words

    (filenames, target) : tuple of ndarray
        If `return_X_y` is True.

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value, or the table or folder doesn't exist.
    DatasetError
        If the table isn't text in this encoding, is empty or lacks a named column; if
        rows have another number of fields than the header, an empty id or label, no
        image, several images, one outside of `image_dir`, or another label than an
        earlier row has for the same image.
    ImageLoadError
        If files can't be decoded, with ``on_bad="raise"``.
    ImportError
        If there are URLs, and a package that reads them isn't installed.

    Warns
    -----
    DatasetWarning
        If an image is named repeatedly with the same label (it is taken once), classes
        differ only by case, space or Unicode form, there is only one class, equal
        images have different labels, or files were dropped.

    See Also
    --------
    load_image_folder : Images in one folder per class.

    Examples
    --------
    >>> import tempfile
    >>> from skimgclf.datasets import load_digit_images, load_image_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     csv = load_digit_images(folder).csv
    ...     data = load_image_csv(csv, hash_files=True)
    >>> data.frame.head(3)
                     id label
    0  0/digit_0000.png     0
    1  1/digit_0001.png     1
    2  2/digit_0002.png     2
    >>> data.filenames.shape, data.target[:3]
    ((1797,), array(['0', '1', '2'], dtype=object))

    Images with equal content stay on one side of every split:

    >>> from sklearn.model_selection import StratifiedGroupKFold
    >>> splitter = StratifiedGroupKFold(n_splits=3)
    >>> splits = list(splitter.split(data.filenames, data.target, data.groups))
    >>> [len(test) for train, test in splits]
    [599, 599, 599]
    """
    # In front of the other checks: polars warns where one asks a query for its columns.
    if is_query(csv):
        expected = "a table in memory, which .collect() makes of a query"
        raise _TABLE.error("csv", expected, csv)
    plain = _TABLE.check(locals())
    if label_column is not None and label_column.strip() == id_column.strip():
        expected = "another column than id_column"
        raise _TABLE.error("label_column", expected, label_column)
    image_dir = plain["image_dir"]
    csv, read = _name_table(plain["csv"], sep=sep, encoding=encoding)
    source = csv if _is_frame(plain["csv"]) else f"the table {csv!r}"
    reading = pick_fields(Reading, plain, source=source)
    if image_dir is None:
        image_dir = parent_url(csv) if is_url(csv) else os.path.dirname(csv)

    table = read(reading.url_reader)
    selection = Selection(csv, table, id_column, label_column)
    if is_url(image_dir):
        lookup = UrlLookup(image_dir, reading.url_reader)
    else:
        lookup = ImageLookup(image_dir, allow_outside=allow_outside)
    selection.select(lookup)
    if selection.problems:
        raise selection.error(lookup)
    bunch, notes = make_bunch(
        selection.filenames,
        selection.labels,
        _make_frame(table, selection.taken),
        {
            "n_rows": len(table.rows),
            "n_blank_lines": table.n_blank_lines,
            "repeated": selection.repeated,
            "orphans": lookup.orphans(),
        },
        reading,
    )
    warn_all(_label_notes(bunch, reading.source) + notes)
    return (bunch.filenames, bunch.target) if return_X_y else bunch


def _name_table(csv, **form):
    """Return the name of a table, for sentences, and the function that reads it."""
    if _is_frame(csv):
        return f"a {type(csv).__name__}", lambda url_reader: read_frame(csv)
    if not _is_stream(csv):
        return csv, lambda url_reader: read_table(
            read_bytes(csv, url_reader), csv, **form
        )
    name = str(getattr(csv, "name", f"a {type(csv).__name__}"))
    return name, lambda url_reader: read_table(_read_stream(csv), name, **form)


def _read_stream(stream):
    content = stream.read()
    if not isinstance(content, bytes):
        expected = (
            "a file object that was opened in binary mode, as by open(path, 'rb')"
        )
        raise _TABLE.error("csv", expected, stream)
    return content


def _make_frame(table, taken):
    import pandas as pd

    rows = [table.rows[index] for index in taken]
    try:
        return pd.DataFrame(rows, columns=table.columns, dtype=str)
    except UnicodeEncodeError:
        # Where pyarrow is installed, the type has no place for names that aren't UTF-8.
        return pd.DataFrame(rows, columns=table.columns, dtype=object)


def _label_notes(bunch, source):
    """List the warnings on repeated rows and on the classes."""
    notes, repeated = [], bunch.report["repeated"]
    if repeated:
        notes.append(
            describe_list(f"{source} names images repeatedly; once counts:", repeated)
        )
    if bunch.target is not None:
        counts = bunch.report["n_per_class"]
        notes += alike_notes(counts, source) + one_class_notes(counts, source)
    return notes
