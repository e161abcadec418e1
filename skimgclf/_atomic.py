"""Replacing a file in one step: readers see the old file or the new one, whole."""

import contextlib
import os
import re
import secrets
import socket
import stat
import threading
import zlib

# A dot in front: no reader of image folders or models takes it for one of its own.
_PREFIX = ".skimgclf"
_TEMPORARY = re.compile(
    rf"{re.escape(_PREFIX)}-([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{16}}\.tmp"
)

# The temporaries that this process is writing. Others with its number were left by a
# dead process that had the same one, as the processes of a restarted container have.
_being_written = set()
_lock = threading.Lock()


@contextlib.contextmanager
def replace_atomically(path):
    """Write a file beside another, and put it in its place when all of it is on disk.

    Whatever happens before that, an exception, Ctrl-C, a full disk or a kill, leaves
    the old file untouched. Temporary files that killed processes left in the folder
    are removed first.

    Parameters
    ----------
    path : str or os.PathLike
        The file to make or to replace. A symbolic link stays, and its target is
        replaced. An old file's permissions stay.

    Yields
    ------
    file : binary file object
        What is written to it becomes the content.

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
    path = os.path.realpath(path)
    old_mode = _check_target(path)
    folder = os.path.dirname(path)
    remove_stray_files(folder)
    temporary = os.path.join(folder, _temporary_name())
    with _lock:
        _being_written.add(os.path.basename(temporary))
    try:
        with open(temporary, "xb") as file:
            yield file
            if old_mode is not None:
                os.fchmod(file.fileno(), old_mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        with _lock:
            _being_written.discard(os.path.basename(temporary))
    _sync_folder(folder)


def remove_stray_files(folder):
    """Remove the temporary files that dead processes of this machine left in a folder.

    Parameters
    ----------
    folder : str
        Where to look; not below it.
    """
    for name in os.listdir(folder):
        match = _TEMPORARY.fullmatch(name)
        if match and match[1] == _host() and _is_stray(name, int(match[2])):
            # Another process may do the same at this moment.
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))


def _temporary_name():
    return f"{_PREFIX}-{_host()}-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def _host():
    # Process numbers say nothing about the processes of another machine, which may
    # share the folder over the network.
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_stray(name, process):
    if process == os.getpid():
        with _lock:
            return name not in _being_written
    return not _is_alive(process)


def _is_alive(process):
    if os.name == "nt":  # where os.kill(process, 0) ends it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, or no number of a process
        return True
    return True


def _check_target(path):
    """Refuse what isn't a file that may be written; return an old file's mode."""
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
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
