"""Run the guide's page "Your own photos" on real photos, and write its outputs.

The code stands in the page itself, docs/user_guide/your_photos.md. This script puts
some photos of each class into a folder and runs the page there. What the code prints
and draws replaces the outputs and the pictures of the page. To show how a check reports
them, one file is cut and three are copied.

Needs the extra packages of ``pip install "skimgclf[benchmark]"``. Takes three minutes
on two cores.

Run it with ``python examples/benchmarks/your_photos.py "NAME=PHOTOS"``: a folder with a
folder of images for each class, and the words for its source.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import re
import shutil
import sys
import tempfile
import textwrap

from _report import describe_run
from accuracy import name_source

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGE = DOCS / "user_guide" / "your_photos.md"

_SOURCE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end of measured -->)", re.S)


def copy_photos(source, folder, n_per_class):
    """Copy the first photos of each class, cut one and copy three again.

    Parameters
    ----------
    source, folder : pathlib.Path
        Class folders, and where to make such a folder.
    n_per_class : int

    Returns
    -------
    n_classes : int
    """
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for path in classes:
        (folder / path.name).mkdir(parents=True)
        photos = sorted(photo for photo in path.iterdir() if photo.is_file())
        for photo in photos[:n_per_class]:
            shutil.copy(photo, folder / path.name)
    first, *others = sorted(folder.rglob("*.*"))[:4]
    for photo in others:
        shutil.copy(photo, photo.with_stem(f"{photo.stem} - Copy"))
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    return len(classes)


def write_page(name, source, n_per_class, page=PAGE):
    """Run the page on photos of a folder, and write its outputs and their source.

    Parameters
    ----------
    name : str
        The words for the source of the photos.
    source : pathlib.Path
        A folder of class folders.
    n_per_class : int
    page : pathlib.Path, default=PAGE
        The page to run and to write.
    """
    sys.path.insert(0, str(DOCS))
    import run_pages

    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder) / "photos"
        n_classes = copy_photos(source, photos, n_per_class)
        run_pages.write_page(page, folder)
    note = (
        f"The outputs and pictures are of {name}, {n_per_class} of each of {n_classes} "
        "classes. One file was cut and three were copied on purpose. "
        f"{describe_run('scikit-learn', 'keras', 'tensorflow')}"
    )
    note = f"{textwrap.fill(note, 88)}\n"
    text = page.read_text("utf-8")
    page.write_text(_SOURCE.sub(lambda _: note, text), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", metavar="[NAME=]PHOTOS", help="class folders")
    parser.add_argument(
        "--per-class", type=int, default=100, help="photos of each class (100)"
    )
    given = parser.parse_args()
    name, source = name_source(given.photos)
    write_page(name, pathlib.Path(source).resolve(), given.per_class)
