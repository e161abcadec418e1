"""Tables that name images, and what load_image_csv makes of them."""

import os

import pytest

from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import DatasetError


def write_table(folder, table, *names, encoding="utf-8"):
    """Write a table, and files that are listed but never decoded."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"any bytes")
    path = folder / "table.csv"
    path.write_bytes(table if isinstance(table, bytes) else table.encode(encoding))
    return path


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
