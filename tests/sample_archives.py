"""Zip and tar files for the tests of fetch_image_archive."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from skimgclf.datasets import fetch_image_archive


def make_png(gray):
    stream = io.BytesIO()
    Image.new("L", (4, 4), gray).save(stream, "PNG")
    return stream.getvalue()


FILES = {
    "photos/cat/1.png": make_png(10),
    "photos/cat/2.png": make_png(20),
    "photos/dog/3.png": make_png(30),
}


def make_zip(files=FILES, change=lambda info: None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            change(info)
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def make_tar(files=FILES, mode="w", change=lambda member: None):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change(member)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def fetch(source, home, **parameters):
    return fetch_image_archive(source, data_home=home, progress=False, **parameters)


def read_tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def list_home(home):
    """List the archives' folder, but for locks."""
    names = os.listdir(home / "skimgclf" / "archives")
    return [name for name in names if not name.endswith(".lock")]
