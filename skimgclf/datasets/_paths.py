"""Check paths, and read files by path or URL."""

import os

from skimgclf._validation import Rule, a_path, expand_path, is_path
from skimgclf.exceptions import mask_credentials
from skimgclf.images._urls import explain_url_error, is_url, local_path


def is_folder(entry):
    """Tell whether an `os.DirEntry` is a folder or a link to one.

    ``entry.is_dir()`` raises for a link to itself or to a folder without permission.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_inside(real_path, real_root):
    """Tell whether a resolved path is a resolved folder or lies below it."""
    return real_path == real_root or real_path.startswith(
        os.path.join(real_root, "")  # "/data" must not hold "/data2"
    )


def an_existing(kind):
    """Make the rule that a value is the path of an existing "folder" or "file".

    A file must be a regular one, since reading a pipe would wait for ever. A
    ``file://`` URL becomes a path. Other URLs are valid: whether they exist is seen
    when they are read.
    """
    exists = {"folder": os.path.isdir, "file": os.path.isfile}[kind]

    def find(value):
        path = expand_path(value)
        return (local_path(path) or path) if is_url(path) else path

    def accepts(value):
        return is_path(value) and (is_url(find(value)) or exists(find(value)))

    def explain(value):
        if not is_path(value):
            return None
        where = "" if os.path.isabs(find(value)) else f" (looked in {os.getcwd()!r})"
        return f"the path of an existing {kind}{where}"

    path = a_path(f"an existing {kind}")
    wrong = (*path.wrong, "/no/such/place")
    return Rule(path.expected, accepts, wrong, find, explain)


def read_bytes(path, url_reader):
    """Read a file on this machine or behind a URL.

    Raises
    ------
    OSError
        If that isn't possible; its `strerror` says why.
    """
    if not is_url(path):
        with open(path, "rb") as file:
            return file.read()
    try:
        return url_reader.read(path)
    except Exception as error:
        raise OSError(None, explain_url_error(error), mask_credentials(path)) from error
