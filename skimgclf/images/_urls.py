"""Files behind URLs, which fsspec finds and reads.

fsspec is an optional package, imported when the first URL is met.
"""

import contextlib
import os
import threading
from collections import OrderedDict, namedtuple

from skimgclf._validation import parameter_error

# A server can send without end. An image of the largest size that is decoded by default
# takes half of this, uncompressed and with 16 bits a channel.
_MAX_BYTES = 2**30
_CHUNK = 2**20

# Archives that are kept open: their directories are read once instead of for each file.
_MAX_ARCHIVES = 8

# What tells of a file's content. A time of change alone doesn't: HTTP's has seconds.
_CONTENT_MARKS = ("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "sha", "CRC")

_Place = namedtuple("_Place", ["fs", "path", "lock"])
_Archive = namedtuple("_Archive", ["fs", "identity", "lock"])


class MissingPackageError(ImportError):
    """fsspec, or what it needs for a protocol, isn't installed."""


def is_url(source):
    """Tell whether a source is a URL: no file on disk, and "://" or "::" is in it.

    Examples
    --------
    >>> from skimgclf.images._urls import is_url
    >>> is_url("s3://bucket/cat.png"), is_url("zip://cat.png::a.zip"), is_url("cat.png")
    (True, True, False)
    """
    if not isinstance(source, str) or not ("://" in source or "::" in source):
        return False
    return not os.path.lexists(source)


def check_storage_options(owner, storage_options):
    """Refuse anything but None and a dict with keys of str; return a dict of it."""
    if storage_options is None:
        return {}
    if not isinstance(storage_options, dict) or not all(
        isinstance(key, str) for key in storage_options
    ):
        expected = "a dict of fsspec's options by their names, or None"
        raise parameter_error(owner, "storage_options", expected, storage_options)
    return storage_options


def local_path(url):
    """Return the path of a ``file://`` URL, or None for another one."""
    protocol, separator, path = url.partition("://")
    is_local = separator and "::" not in url and protocol in {"file", "local"}
    return path if is_local else None


def read_url(url, storage_options):
    """Read a file whole.

    So nothing is left open, each file takes one request where that is possible, and
    checksums of archives are seen to: zipfile compares them at the end of a file.

    Parameters
    ----------
    url : str
    storage_options : dict
        As fsspec takes them.

    Returns
    -------
    content : bytes

    Raises
    ------
    MissingPackageError
        If fsspec lacks, or what it needs for the protocol.
    Exception
        Whatever a file system raises; `explain_url_error` has words for it.
    """
    fs, path, lock = find_place(url, storage_options)
    if _has_protocol(fs, {"http", "https"}):
        from fsspec.asyn import sync

        return sync(fs.loop, _stream, fs, path)
    content = bytearray()
    with lock, fs.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            _append(chunk, content)
    return bytes(content)


async def _stream(fs, path):
    """Read from a web server in one request and one visit to fsspec's own thread.

    A file object of fsspec asks for the size first, which signed URLs refuse, and goes
    there and back for each piece.
    """
    session = await fs.set_session()
    content = bytearray()
    async with session.get(fs.encode_url(path), **fs.kwargs) as response:
        response.raise_for_status()
        async for chunk in response.content.iter_chunked(_CHUNK):
            _append(chunk, content)
    return bytes(content)


def _append(chunk, content):
    content += chunk
    if len(content) > _MAX_BYTES:
        raise OSError(f"it is larger than {_MAX_BYTES:,} bytes")


def fingerprint_url(url, storage_options):
    """Ask a file system what tells of a file's content.

    Returns
    -------
    fingerprint : str or None
        Another one if the content is another; None if nothing is told.
    """
    place = find_place(url, storage_options)
    from fsspec.implementations.cached import CachingFileSystem

    if isinstance(place.fs, CachingFileSystem):
        return None  # what it gives may be older than what it tells
    info = _ask(place)
    marks = [(name, info[name]) for name in _CONTENT_MARKS if info.get(name)]
    # A weak one, "W/...", may be that of a file with other bytes.
    if not marks or any(str(mark).startswith("W/") for _, mark in marks):
        return None
    return repr((marks, info.get("size")))


def find_place(url, storage_options):
    """Find the file system of a URL, and the path in it.

    Returns
    -------
    place : namedtuple
        `fs` and `path` for fsspec, and `lock`, a context in which to use them.
    """
    fsspec = _import_fsspec(url)
    head, _, rest = url.partition("::")
    with _missing_packages_named(url):
        if rest and is_archive(head):
            archive = _open_archive(url, storage_options)
            path = fsspec.core.strip_protocol(complete_head(head))
            return _Place(archive.fs, path, archive.lock)
        fs, path = fsspec.core.url_to_fs(url, **_copy_options(storage_options))
        # Its files are the same objects for all threads.
        is_shared = _has_protocol(fs, {"memory"})
        return _Place(fs, path, _memory_lock if is_shared else contextlib.nullcontext())


def is_archive(head):
    """Tell whether the first part of a chain of URLs lies in a zip or tar file."""
    import fsspec
    from fsspec.archive import AbstractArchiveFileSystem

    protocol = complete_head(head).partition("://")[0]
    if not protocol.isidentifier():  # a path, by mistake
        return False
    return issubclass(fsspec.get_filesystem_class(protocol), AbstractArchiveFileSystem)


def complete_head(head):
    """Write the first part of a chain as a URL: fsspec allows ``zip`` for ``zip://``.

    Examples
    --------
    >>> from skimgclf.images._urls import complete_head
    >>> complete_head("zip"), complete_head("zip://a.png")
    ('zip://', 'zip://a.png')
    """
    return head if "://" in head else f"{head}://"


def explain_url_error(error):
    """Say in words why a URL can't be read."""
    cause = error.__cause__
    if cause is not None and type(cause).__module__.startswith("aiohttp"):
        error = cause  # for fsspec, what a server doesn't give isn't there
    if isinstance(error, FileNotFoundError | KeyError):  # a KeyError of zipfile's
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a directory, not an image file"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"the server answers {status} ({getattr(error, 'message', '')})"
    message = str(error) or type(error).__name__
    if "range requests" in message:
        return (
            "the server doesn't send parts of files: for a zip file behind it, put "
            "simplecache between (zip://a.png::simplecache::http://host/a.zip)"
        )
    return f"it can't be read: {message}"


_archives = OrderedDict()
_archives_lock = threading.Lock()
_memory_lock = threading.Lock()

# A forked child must not read from its parent's open files, whose place they share,
# nor close them.
_parents_archives = []


def _leave_archives_to_parent():
    global _archives, _archives_lock, _memory_lock
    _parents_archives.append(_archives)
    _archives = OrderedDict()
    _archives_lock, _memory_lock = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_archives_to_parent)


def _open_archive(url, storage_options):
    """Return the open archive of a URL, anew if the archive's file has changed.

    It is kept here, since fsspec closes an archive that nobody refers to, and with it
    the files in it.
    """
    import fsspec

    head, _, rest = url.partition("::")
    protocol = complete_head(head).partition("://")[0]
    key = protocol, rest, repr(storage_options)
    identity = _identify(rest, storage_options)
    with _archives_lock:
        archive = _archives.pop(key, None)
        if archive is None or archive.identity != identity:
            options = _copy_options(storage_options)
            fs, _ = fsspec.core.url_to_fs(f"{protocol}://::{rest}", **options)
            # Reading at once by several threads mixes up what tar files give.
            archive = _Archive(fs, identity, threading.Lock())
        _archives[key] = archive
        while len(_archives) > _MAX_ARCHIVES:
            _archives.popitem(last=False)
    return archive


def _identify(url, storage_options):
    """Return what changes when the file of an archive does."""
    # It never looks again itself, and each thread would get a copy of its own.
    if url.startswith("simplecache::"):
        return None
    protocols = {part.partition("://")[0] for part in url.split("::")}
    options = {
        name: value for name, value in storage_options.items() if name in protocols
    }
    try:
        info = _ask(find_place(url, options))
    except OSError as error:
        why = explain_url_error(error)
        raise OSError(f"in the archive's place {url!r}, {why}") from error
    if info.get("type") != "file":
        raise OSError(f"the archive {url!r} isn't a regular file")
    return repr(info)


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


def _import_fsspec(url):
    try:
        import fsspec
        import fsspec.core
    except ImportError as error:
        raise MissingPackageError(
            f"{url!r} is a URL, which fsspec reads, and that isn't installed: "
            'pip install "skimgclf[remote]".'
        ) from error
    return fsspec


@contextlib.contextmanager
def _missing_packages_named(url):
    try:
        yield
    except MissingPackageError:
        raise
    except ImportError as error:
        raise MissingPackageError(
            f"{url!r} needs a package that isn't installed: {error} (for http:// and "
            'https://, pip install "skimgclf[remote]").'
        ) from error
