"""Write a file or a folder that appears in one step, when all of it is on disk."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import stat
import threading
import zlib

from skimgclf._platform import (
    find_status,
    is_alive,
    is_folder_name,
    is_reserved,
    keep_mode,
    replace,
    sync_all,
    sync_file,
)

# Readers of image folders and of models pass over names that start with a dot.
_PREFIX = ".skimgclf"
_TEMPORARY = re.compile(
    rf"{re.escape(_PREFIX)}-([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{16}}\.tmp"
)

# The temporary names in use in this process. Others with its number were left by a dead
# process: a restarted container gives the same numbers again.
_being_written = set()
_lock = threading.Lock()

# What helps where a file system takes no more, by the number of the error.
_ELSEWHERE = "write to another place"
_ADVICE = {
    errno.ENOSPC: f"delete files there, or {_ELSEWHERE}",
    errno.EDQUOT: f"delete files there, or {_ELSEWHERE}",
    errno.EROFS: _ELSEWHERE,
    errno.EFBIG: _ELSEWHERE,  # such as a file of 4 GiB on FAT
}


@contextlib.contextmanager
def replace_atomically(destination, *, folder=False):
    """Write a file or a folder under another name, and rename it when it is on disk.

    If anything fails before the renaming (an exception, Ctrl-C, a full disk, a kill),
    an old file or folder is left as it was. Temporary files and folders that killed
    processes left beside it are removed first.

    Parameters
    ----------
    destination : str or os.PathLike
        The file to make or to replace, or the folder to make. A symbolic link stays,
        and its target is replaced. An old file's permissions stay. If a folder exists,
        the new files are moved into it one by one, and its other files stay.
    folder : bool, default=False
        Whether to make a folder instead of a file.

    Yields
    ------
    target : binary file object or str
        The file to write to; with `folder`, the path of an empty folder to fill.

    Examples
    --------
    >>> import os, tempfile
    >>> from skimgclf._atomic import replace_atomically
    >>> folder = tempfile.mkdtemp()
    >>> path = os.path.join(folder, "report.csv")
    >>> with replace_atomically(path) as file:
    ...     n_bytes = file.write(b"path,label")
    >>> os.listdir(folder)
    ['report.csv']
    """
    if is_folder_name(destination) and not folder:
        name = os.fspath(destination)
        raise IsADirectoryError(f"{name!r} is a folder. Give the path of a file.")
    path = os.path.realpath(destination)
    old_mode = None if folder else _check_target(path)
    parent = os.path.dirname(path)
    _remove_strays(parent)
    name = _temporary_name()
    temporary = os.path.join(parent, name)
    with _lock:
        _being_written.add(name)
    try:
        with (
            _new_folder(temporary) if folder else _new_file(temporary, old_mode) as new
        ):
            yield new
        _move(temporary, path)
    except OSError as error:
        _name_file(error, destination, temporary)
        raise
    finally:
        _remove(temporary)  # nothing is left of it if it was moved
        with _lock:
            _being_written.discard(name)
    _sync_folder(parent)


def bring_to_disk(file):
    """Bring the content of a file to disk, as `replace_atomically` does at its end.

    Two files that belong together are written by one `replace_atomically` within
    another: where the outer file is on disk before the inner one is written, an error
    of either leaves both old files as they were.
    """
    file.flush()
    sync_file(file.fileno())


@contextlib.contextmanager
def full_disk_explained():
    """Say what to do in errors of a full or read-only disk, as `replace_atomically`."""
    try:
        yield
    except OSError as error:
        _advise(error)
        raise


def find_replaced(path, sources):
    """Find a file that is read among those that a new file would replace.

    Files are compared, not names: "~" in the name of a source, links to files and
    folders and hard links lead to the same file.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.
    sources : iterable of (str, bytes or os.PathLike)
        The paths of files that are read; they needn't exist.

    Returns
    -------
    source : str, bytes, os.PathLike or None
        The first of `sources` that is the file `path`, or None.

    Examples
    --------
    >>> from skimgclf._atomic import find_replaced
    >>> find_replaced(__file__, ["missing.csv", __file__]) == __file__
    True
    """
    target = find_status(path)
    if target is None:
        return None
    for source in sources:
        for name in (source, os.path.expanduser(source)):
            found = find_status(name)
            if found is not None and os.path.samestat(found, target):
                return source
    return None


def _name_file(error, path, temporary):
    """Name the file in an error of a full or read-only disk, and say what to do."""
    is_ours = error.filename is None or temporary in str(error.filename)
    if error.errno in _ADVICE and is_ours:
        error.filename = os.fspath(path)
        if error.filename2 is not None:  # of a renaming
            del error.filename2
        _advise(error)


def _advise(error):
    advice = _ADVICE.get(error.errno)
    if advice and advice not in str(error.strerror):
        error.strerror = f"{os.strerror(error.errno)}: {advice}"


@contextlib.contextmanager
def _new_file(path, mode):
    with open(path, "xb") as file:
        yield file
        if mode is not None:
            keep_mode(file, mode)
        bring_to_disk(file)


@contextlib.contextmanager
def _new_folder(path):
    os.mkdir(path)
    yield path
    # One call for all files: fsync for each of a million takes hours.
    sync_all()


def _move(source, target):
    try:
        replace(source, target)
    except OSError:
        if not (os.path.isdir(source) and os.path.isdir(target)):
            raise
        for folder, _, names in os.walk(source):
            into = os.path.join(target, os.path.relpath(folder, source))
            os.makedirs(into, exist_ok=True)
            for name in names:
                replace(os.path.join(folder, name), os.path.join(into, name))


def _remove(path):
    # Errors are ignored: another process may remove it at the same time.
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path)


def _remove_strays(folder):
    """Remove temporary files and folders of dead processes of this machine."""
    for name in os.listdir(folder):
        match = _TEMPORARY.fullmatch(name)
        if match and match[1] == _host() and _is_stray(name, int(match[2])):
            _remove(os.path.join(folder, name))


def _temporary_name():
    return f"{_PREFIX}-{_host()}-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def _host():
    # Another machine may share the folder over the network, and has the same numbers
    # for other processes.
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_stray(name, process):
    if process == os.getpid():
        with _lock:
            return name not in _being_written
    return not is_alive(process)


def _check_target(path):
    """Refuse a path that isn't a writable file, and return an old file's mode."""
    if is_reserved(path):
        raise OSError(f"{path!r} is the name of a device on Windows.")
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{path!r} is a folder. Give the path of a file.")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path!r} isn't a regular file, so it can't be replaced.")
    if not os.access(path, os.W_OK):  # a rename would not ask
        raise PermissionError(f"{path!r} is write-protected.")
    return stat.S_IMODE(status.st_mode)


def _sync_folder(folder):
    """Bring the new name to disk too, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            sync_file(descriptor)
        finally:
            os.close(descriptor)
