"""Read files behind URLs through fsspec, an optional package.

fsspec is imported when the first URL is met.
"""

import contextlib
import io
import os
import shutil
import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass

from skimgclf._extras import how_to_install, import_extra
from skimgclf._file_identity import wait_for_identity
from skimgclf._platform import after_fork, path_of_file_url
from skimgclf._terminal import escape_line
from skimgclf._validation import Rule
from skimgclf.exceptions import mask_credentials
from skimgclf.images._fsspec_repairs import (
    copy_web_file,
    find_server_error,
    needs_whole_file,
)
from skimgclf.images._secrets import show_wrong

# A server can send without end. An image of the largest size that is decoded by default
# takes half of this, uncompressed and with 16 bits a channel.
_MAX_BYTES = 2**30
_CHUNK = 2**20

# Archives that are kept open, so that their directories are read once and not for each
# file: see examples/benchmarks/remote_reading.py.
_MAX_ARCHIVES = 8

# Seconds to wait until a file that has just changed can be told from a later one.
_PATIENCE = 0.05

# Names of fields that change with a file's content. Times don't always: HTTP's has
# whole seconds.
_CONTENT_MARKS = ("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "sha", "CRC")


class MissingPackageError(ImportError):
    """fsspec, or a package that it needs for a protocol, isn't installed."""


@dataclass(frozen=True)
class Place:
    """The place of a file or folder behind a URL.

    Attributes
    ----------
    fs : fsspec.AbstractFileSystem
        The file system.
    path : str
        The path in it.
    lock : context manager
        To be entered while the file system is used.
    """

    fs: object
    path: str
    lock: AbstractContextManager


@dataclass(frozen=True)
class _Archive:
    fs: object
    identity: object  # another one when the file has changed
    lock: threading.Lock


def is_url(text):
    """Tell whether a source is a URL: no file on disk, and "://" or "::" is in it.

    Examples
    --------
    >>> from skimgclf.images._urls import is_url
    >>> is_url("s3://bucket/cat.png"), is_url("zip://cat.png::a.zip"), is_url("cat.png")
    (True, True, False)
    """
    if not isinstance(text, str) or not ("://" in text or "::" in text):
        return False
    return not os.path.lexists(text)


def _are_storage_options(value):
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


STORAGE_OPTIONS = Rule(
    "a dict of fsspec's options by their names, or None",
    lambda value: value is None or _are_storage_options(value),
    (3, "anon", [("anon", True)], {1: 2}, True),
    lambda value: {} if value is None else value,
    show=show_wrong,
)


def local_path(url):
    """Return the path of a ``file://`` URL, or None for another one."""
    protocol, separator, path = url.partition("://")
    is_local = separator and "::" not in url and protocol in {"file", "local"}
    return path_of_file_url(path) if is_local else None


def local_files(source):
    """List the files of this machine that a source may be read from.

    Parameters
    ----------
    source : str
        A path or a URL; fsspec also takes a path as a part of a chain.

    Returns
    -------
    paths : list of str

    Examples
    --------
    >>> from skimgclf.images._urls import local_files
    >>> local_files("zip://cat.png::a.zip"), local_files("file:///cat.png")
    (['a.zip'], ['/cat.png'])
    """
    if not is_url(source):
        return [source]
    found, below = [], []
    for part in reversed(source.split("::")):
        below = _find_local(part, below)
        found += below
    return found


def _find_local(part, below):
    """List the paths that one part of a chain may stand for on this machine.

    Parameters
    ----------
    part : str
        A part of a URL, between "::".
    below : list of str
        Those of the part that follows it.
    """
    protocol, _, path = part.partition("://")
    is_wrapper = _wraps_files(protocol)
    if not path and is_wrapper:  # as in "simplecache::a.png"
        return below
    if "://" not in part:
        is_short = part.startswith(("file:", "local:"))
        return [_strip(part.partition(":")[2] if is_short else part)]
    local = local_path(part)
    if local is not None:
        return [_strip(local)]
    if protocol == "dir":  # below a folder
        return [_strip(f"{folder}/{path}") for folder in below]
    return [_strip(path)] if below and is_wrapper else []


def _wraps_files(protocol):
    """Tell whether the files of a protocol are those of another, as of a cache."""
    try:
        return not is_archive(protocol) and protocol.isidentifier()
    except (ImportError, ValueError):  # fsspec is missing, or knows no such protocol
        return False


def _strip(path):
    return path.rstrip("/") or path[:1]  # as fsspec does


class UrlReader:
    """Reads files behind URLs with one set of options.

    Parameters
    ----------
    storage_options : dict
        As fsspec takes them.
    """

    def __init__(self, storage_options):
        self._options = storage_options

    def read(self, url):
        """Read a file whole.

        So nothing is left open, each file takes one request where that is possible, and
        checksums of archives are compared: zipfile compares them at the end of a file.

        Parameters
        ----------
        url : str

        Returns
        -------
        content : bytes

        Raises
        ------
        MissingPackageError
            If fsspec is missing, or a package that it needs for the protocol.
        Exception
            Whatever a file system raises; `explain_url_error` puts it into words.
        """
        place, content = self.find_place(url), BoundedBuffer()
        if _has_protocol(place.fs, {"http", "https"}):
            copy_web_file(place.fs, place.path, content)
        else:
            with place.lock, place.fs.open(place.path, "rb") as file:
                shutil.copyfileobj(file, content, _CHUNK)
        return content.getvalue()

    def read_fingerprint(self, url):
        """Ask a file system for a mark that changes with a file's content.

        Returns
        -------
        fingerprint : str or None
            Another one if the content is another; None if there is no such mark.
        """
        place = self.find_place(url)
        from fsspec.implementations.cached import CachingFileSystem

        if isinstance(place.fs, CachingFileSystem):
            return None  # the content that it gives may be older than its information
        info = _ask(place)
        marks = [(name, info[name]) for name in _CONTENT_MARKS if info.get(name)]
        # A weak one, "W/...", may be that of a file with other bytes.
        if not marks or any(str(mark).startswith("W/") for _, mark in marks):
            return None
        return repr((marks, info.get("size")))

    def find_place(self, url):
        """Find the file system of a URL, and the path in it.

        Returns
        -------
        place : Place
        """
        shown = mask_credentials(repr(url))
        needed = f"{shown} is a URL, which fsspec reads, and that isn't installed"
        fsspec = import_extra("fsspec", "remote", needed, MissingPackageError)
        head, _, rest = url.partition("::")
        with _missing_packages_named(url):
            if rest and is_archive(head):
                protocol, _, path = head.partition("://")  # or the protocol alone
                archive = self._open_archive(fsspec, protocol, rest)
                return Place(archive.fs, path, archive.lock)
            fs, path = fsspec.url_to_fs(url, **_copy_options(self._options))
            # In memory, an open file is the same object for all threads.
            is_shared = _has_protocol(fs, {"memory"})
            return Place(
                fs, path, _memory_lock if is_shared else contextlib.nullcontext()
            )

    def _open_archive(self, fsspec, protocol, rest):
        """Return the open archive at a URL, opened again if its file has changed.

        It is kept here, since fsspec closes an archive without references, and with
        it the files in it.
        """
        key = protocol, rest, repr(self._options)
        identity = self._identify(rest)
        with _archives_lock:
            archive = _archives.pop(key, None)
            if archive is None or archive.identity != identity:
                options = _copy_options(self._options)
                fs, _ = fsspec.url_to_fs(f"{protocol}://::{rest}", **options)
                # Reading at once by several threads mixes up the content of tar files.
                archive = _Archive(fs, identity, threading.Lock())
            _archives[key] = archive
            while len(_archives) > _MAX_ARCHIVES:
                _archives.popitem(last=False)
        return archive

    def _identify(self, url):
        """Return a value that differs once the file of an archive has changed."""
        # simplecache never looks at the file again, and each thread would download it.
        if url.startswith("simplecache::"):
            return None
        protocols = {part.partition("://")[0] for part in url.split("::")}
        options = {
            name: value for name, value in self._options.items() if name in protocols
        }
        try:
            info = _ask(UrlReader(options).find_place(url))
        except OSError as error:
            why = explain_url_error(error)
            raise OSError(f"in the archive's place {url!r}, {why}") from error
        if info.get("type") != "file":
            raise OSError(f"the archive {url!r} isn't a regular file")
        paths = [] if "::" in url else _find_local(url, [])
        if not paths:
            return repr(info)
        # One that may change once more is opened each time.
        return wait_for_identity(os.path.expanduser(paths[0]), _PATIENCE) or object()


class BoundedBuffer(io.BytesIO):
    """Bytes in memory, up to the limit of a file behind a URL."""

    def write(self, chunk):
        if self.tell() + len(chunk) > _MAX_BYTES:
            raise OSError(f"it is larger than {_MAX_BYTES:,} bytes")
        return super().write(chunk)


def is_archive(head):
    """Tell whether the first part of a chain of URLs lies in a zip or tar file."""
    import fsspec
    from fsspec.archive import AbstractArchiveFileSystem

    protocol = head.partition("://")[0]
    if not protocol.isidentifier():  # a path, by mistake
        return False
    return issubclass(fsspec.get_filesystem_class(protocol), AbstractArchiveFileSystem)


def explain_url_error(error):
    """Say in words why a URL can't be read; a missing package is raised again."""
    if isinstance(error, MissingPackageError):
        raise error
    error = find_server_error(error)
    status = getattr(error, "status", None)
    if isinstance(status, int):
        message = escape_line(str(getattr(error, "message", "")))
        return f"the server answers {status} ({message})"
    if isinstance(error, FileNotFoundError | KeyError):  # a KeyError of zipfile's
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a directory, not an image file"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    if isinstance(error, TimeoutError):
        return "the server takes too long"
    if needs_whole_file(error):
        return (
            "the server doesn't send parts of files: for a zip file behind it, put "
            "simplecache between (zip://a.png::simplecache::http://host/a.zip)"
        )
    # A server may have written a part of it.
    why = escape_line(" ".join(str(error).split()))
    return f"it can't be read: {why or type(error).__name__}"


_archives = OrderedDict()
_archives_lock = threading.Lock()
_memory_lock = threading.Lock()

# A forked child must neither read from its parent's open files, since both share the
# position in them, nor close them.
_parents_archives = []


def _leave_archives_to_parent():
    global _archives, _archives_lock, _memory_lock
    _parents_archives.append(_archives)
    _archives = OrderedDict()
    _archives_lock, _memory_lock = threading.Lock(), threading.Lock()


after_fork(_leave_archives_to_parent)


def _ask(place):
    with place.lock:
        # A listing that was made before may be older than the file.
        place.fs.invalidate_cache(place.path)
        return place.fs.info(place.path)


def _has_protocol(fs, names):
    protocols = fs.protocol if isinstance(fs.protocol, tuple | list) else [fs.protocol]
    return not names.isdisjoint(protocols)


def _copy_options(storage_options):
    """Copy options two levels deep, since fsspec writes into them."""
    return {
        name: dict(value) if isinstance(value, dict) else value
        for name, value in storage_options.items()
    }


@contextlib.contextmanager
def _missing_packages_named(url):
    try:
        yield
    except MissingPackageError:
        raise
    except ImportError as error:
        raise MissingPackageError(
            f"{mask_credentials(repr(url))} needs a package that isn't installed: "
            f"{error} (for http:// and https://, {how_to_install('remote')})."
        ) from error
