"""Select the rows of a table that name an image, and list mistakes in the others."""

import os
from operator import itemgetter

from skimgclf.datasets._bunch import describe_count
from skimgclf.datasets._file_names import IMAGE_EXTENSIONS
from skimgclf.exceptions import DatasetError
from skimgclf.images._decoding.reasons import explain_encoded


class Selection:
    """The selected rows of a table, and the mistakes of the others.

    Parameters
    ----------
    csv : str
        The path of the table, for error sentences.
    table : Table
        The content of the table.
    id_column : str
        The column with the file names.
    label_column : str or None
        The column with the labels.

    Attributes
    ----------
    taken : list of int
        The rows that are taken; `select` fills this and the other lists.
    filenames : list of str
        The image of each.
    labels : list of str or None
        The label of each; None without `label_column`.
    problems : list of tuple (int, str)
        Line and description of each mistake.
    repeated : list of str
        Rows that name an image again.

    Raises
    ------
    DatasetError
        If the table lacks one of the columns.
    """

    def __init__(self, csv, table, id_column, label_column):
        self.csv, self.table = csv, table
        self.id_index = _find_column(csv, table, "id_column", id_column)
        self.label_index = None
        if label_column is not None:
            self.label_index = _find_column(csv, table, "label_column", label_column)
        self.taken, self.filenames = [], []
        self.labels = None if label_column is None else []
        self.problems = list(table.problems)
        self.repeated = []
        self._n_missing = self._n_unlabelled = 0
        self._first = {}  # a file -> line and label of the first row that names it

    def select(self, lookup):
        """Go through all rows; cells of ids and labels are stripped in place."""
        table = self.table
        for index, (row, line) in enumerate(zip(table.rows, table.lines, strict=True)):
            image_id = _choose_name(row[self.id_index], lookup)
            row[self.id_index] = image_id
            label = None
            if self.label_index is not None:
                label = row[self.label_index] = row[self.label_index].strip()
            if not image_id:
                self.problems.append((line, "the id is empty"))
            if label == "":
                self._n_unlabelled += 1
                self.problems.append((line, f"the label of {image_id!r} is empty"))
            if not image_id:
                continue
            try:
                path, real_path = lookup.find(image_id)
            except LookupError as error:
                self._n_missing += 1
                self.problems.append((line, explain_encoded(image_id) or str(error)))
                # Rows without an image can still contradict each other.
                path, real_path = None, (image_id,)
            self._take(index, line, image_id, label, path, real_path)

    def _take(self, index, line, image_id, label, path, real_path):
        """Take a row, unless an earlier one is on the same image."""
        first_line, first_label = self._first.setdefault(real_path, (line, label))
        if first_line == line:
            self.taken.append(index)
            self.filenames.append(path)
            if label is not None:
                self.labels.append(label)
        elif label == first_label:
            self.repeated.append(
                f"{self.table.unit} {line}: {image_id!r} stands in {self.table.unit} "
                f"{first_line} already"
            )
        elif label and first_label:
            self.problems.append(
                (
                    line,
                    f"{image_id!r} is {label!r} here and {first_label!r} in "
                    f"{self.table.unit} {first_line}",
                )
            )

    def error(self, lookup):
        """Make the error that lists all problems in the order of the lines."""
        number = describe_count(len(self.problems), "problem")
        summary = f"The table {self.csv!r} can't be used; it has {number}"
        n_rows = len(self.table.rows)
        if self._n_missing == n_rows > 0:
            image_dir = lookup.image_dir or "."
            summary += (
                f" (none of the images is found from {image_dir!r}: check image_dir)"
            )
        elif self._n_missing:
            summary += (
                " (remove rows without an image: "
                "on_bad='drop' leaves out damaged files only)"
            )
        if self._n_unlabelled == n_rows > 0:
            summary += " (no row has a label: label_column=None reads such a table)"
        by_line = sorted(self.problems, key=itemgetter(0))
        return DatasetError(
            f"{summary}:",
            [f"{self.table.unit} {line}: {what}" for line, what in by_line],
        )


def _choose_name(image_id, lookup):
    """Strip an id, unless a file has the name that it has with its spaces."""
    stripped = image_id.strip()
    if image_id == stripped or not stripped or not lookup.has(image_id):
        return stripped
    return image_id


def _find_column(csv, table, parameter, name):
    """Return the index of a named column; the error lists the columns there are."""
    columns = table.columns
    if columns.count(name.strip()) == 1:
        return columns.index(name.strip())
    if name.strip() in columns:
        raise DatasetError(
            f"The table {csv!r} has {columns.count(name.strip())} columns {name!r}; "
            f"rename all but one. Its columns are {columns!r}."
        )
    advice = f"pass {parameter}= with the name of one of them"
    if parameter == "label_column":
        advice += ", or label_column=None for an unlabelled table"
    for other in ",;\t|":
        if name.strip() in map(str.strip, ",".join(columns).split(other)):
            advice = (
                f"they seem to be separated by {other!r}{_fix_separator(table, other)}"
            )
    if any(
        os.path.splitext(column)[1].lower() in IMAGE_EXTENSIONS for column in columns
    ):
        advice += ". An image's name is among them: the table needs a header line"
    raise DatasetError(
        f"The table {csv!r} has no column {name!r}. Its columns are {columns!r}; "
        f"{advice}."
    )


def _fix_separator(table, sep):
    """Advise on a table of which another character separates the fields."""
    if table.unit == "row":
        return f": read the file with sep={sep!r}"
    if table.declared is None:
        return f": pass sep={sep!r}"
    return (
        f", but the table's first line says that it is {table.declared!r}: correct or "
        "remove that line"
    )
