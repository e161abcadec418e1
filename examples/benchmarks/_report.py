"""What the benchmarks print: where and when they ran, and a table in Markdown."""

import datetime
import importlib.metadata
import os
import platform


def describe_run(*packages):
    """Describe the machine, the versions and the date in one line.

    Parameters
    ----------
    *packages : str
        Names of distributions; those that aren't installed are left out.

    Returns
    -------
    line : str
    """
    versions = []
    for package in ("skimgclf", *packages):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = f"Python {platform.python_version()}"
    return "; ".join(
        [f"{datetime.date.today()}", machine, ", ".join([python, *versions])]
    )


def print_table(header, rows):
    """Print a Markdown table.

    Parameters
    ----------
    header : sequence of str
        The names of the columns.
    rows : iterable of sequence of str
        The cells; the first of each row is its name.
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(f"| {' | '.join(padded)} |")
