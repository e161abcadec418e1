"""Open an image source as a stream, if it is a file, a URL or bytes."""

import io
import os
import stat
from contextlib import contextmanager

from skimgclf.images._decoding.reasons import UnreadableImage, explain_encoded
from skimgclf.images._urls import explain_url_error, is_url, local_path

_SPECIAL_FILES = (
    (stat.S_ISDIR, "it is a directory, not an image file"),
    (stat.S_ISFIFO, "it is a named pipe (FIFO), not a regular file"),
    (stat.S_ISSOCK, "it is a socket, not a regular file"),
    (stat.S_ISCHR, "it is a device, not a regular file"),
    (stat.S_ISBLK, "it is a device, not a regular file"),
)


# Files of so many bytes are read in one step.
_READ_AT_ONCE = 2**20


@contextmanager
def open_source(source, url_reader):
    """Open a path, URL or bytes as a binary stream, refusing other than files."""
    if isinstance(source, bytes):
        if not source:
            raise UnreadableImage("the bytes are empty")
        yield io.BytesIO(source)
        return
    path = find_file(source)
    text = source if path is None else path  # bytes as a text may look like a URL
    reason = explain_encoded(text) if isinstance(text, str) else None
    if reason is not None:
        raise UnreadableImage(reason)
    if path is None:
        yield io.BytesIO(_read_url(source, url_reader))
        return
    if _check_path(path) <= _READ_AT_ONCE:
        with open(path, "rb", buffering=0) as file:
            yield io.BytesIO(file.read())
        return
    with open(path, "rb") as stream:
        yield stream


@contextmanager
def keeping_position(stream):
    """Return to the position of a stream after it was read elsewhere."""
    position = stream.tell()
    try:
        yield
    finally:
        stream.seek(position)


def find_file(source):
    """Return the path on this machine that a source means, or None for a URL."""
    if is_url(source):
        return local_path(source)
    path = os.fspath(source)
    is_home = isinstance(path, str) and path.startswith("~")
    return os.path.expanduser(path) if is_home and not os.path.lexists(path) else path


def _read_url(url, url_reader):
    try:
        content = url_reader.read(url)
    except Exception as error:
        raise UnreadableImage(explain_url_error(error)) from error
    if not content:
        raise UnreadableImage("the file is empty")
    return content


def _check_path(path):
    """Refuse a path that isn't a file with contents; return the number of bytes."""
    if not path:
        raise UnreadableImage("the path is empty")
    if "\0" in os.fsdecode(path):
        raise UnreadableImage("its name holds a NUL character")
    # Before it is opened: opening a FIFO waits for ever, reading /dev/zero never ends.
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        for is_special, reason in _SPECIAL_FILES:
            if is_special(status.st_mode):
                raise UnreadableImage(reason)
    if status.st_size == 0:
        raise UnreadableImage("the file is empty")
    return status.st_size
