"""Hide the differences between Linux, macOS and Windows from other modules."""

import contextlib
import errno
import functools
import multiprocessing
import os
import re
import stat
import threading
import time

# What two names are joined by, and what a folder's name may end in.
SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))

# Seconds to try again while another program, such as a virus scanner, has a file open.
_PATIENCE = 2.0
_PAUSE = 0.05

# Seconds between looks at a parent process.
_WATCH = 1.0

# Devices of Windows, also with an extension or spaces behind.
RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\ *(\..*)?",
    re.IGNORECASE | re.DOTALL,
)

# https://learn.microsoft.com/windows/win32/procthread/process-security-and-access-rights
_QUERY_LIMITED_INFORMATION = 0x1000
_STILL_ACTIVE = 259
_ERROR_INVALID_PARAMETER = 87


def after_fork(function):
    """Call a function in each forked child, where processes are forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def find_status(file):
    """Return the status of a file or folder, or None if there is none."""
    try:
        return os.stat(file)
    except (OSError, ValueError):  # a name that no file can have
        return None


@functools.cache
def end_with_parent():
    """Let a worker of joblib end soon after the process that started it.

    Cause: workers of loky, joblib 1.6's processes, don't notice that their main process
    was killed. They compute on, and wait for minutes or for ever to hand over results.

    Gone: that is so again.

    Can go: when loky ends its workers.
    """
    parent = multiprocessing.parent_process()
    kind = type(multiprocessing.current_process()).__module__
    if parent is not None and ".loky." in f".{kind}":
        watch = threading.Thread(target=_end_after, args=[parent.pid], daemon=True)
        watch.start()


def _end_after(parent):
    first = os.getppid()
    # A process whose parent ends gets another one, but not on Windows.
    while os.getppid() == first and is_alive(parent):
        time.sleep(_WATCH)
    os._exit(1)


def is_folder_name(path):
    """Tell whether a path ends as that of a folder does, such as ``out/``."""
    return os.fspath(path).endswith(SEPARATORS)


def is_reserved(path):
    """Tell whether Windows takes a path for a device, such as ``nul.csv``."""
    return os.name == "nt" and bool(RESERVED.fullmatch(os.path.basename(path)))


def path_of_file_url(path):
    """Return the path that follows ``file://``: on Windows, a drive has a slash before.

    So ``file:///C:/cat.png`` is the file ``C:/cat.png``.
    """
    has_drive = os.name == "nt" and re.match("/[A-Za-z]:(/|$)", path)
    return path[1:] if has_drive else path


def keep_mode(file, mode):
    """Give an open file the permissions of another one."""
    if hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), mode)
    elif not mode & stat.S_IWUSR:  # all that Windows knows
        os.chmod(file.name, mode)


def sync_all():
    """Bring all files to disk, where the system has a call for that.

    Windows has one for each file only, which would take hours for a million.
    """
    if hasattr(os, "sync"):
        os.sync()


def sync_file(descriptor):
    """Bring an open file or folder to disk.

    On macOS, `os.fsync` brings it to the drive, which may keep it in its own memory.
    """
    os.fsync(descriptor)
    try:
        import fcntl
    except ImportError:
        return
    if hasattr(fcntl, "F_FULLFSYNC"):
        with contextlib.suppress(OSError):  # not all file systems have it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def replace(source, target):
    """Rename a file, also over another one.

    On Windows, no file can be replaced while a program has it open.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return os.replace(source, target)
        except PermissionError as error:
            if os.name != "nt" or os.path.isdir(target):
                raise
            if time.monotonic() > deadline:
                raise PermissionError(
                    error.errno,
                    "another program has it open: close it there, and try again",
                    os.fspath(target),
                ) from error
        time.sleep(_PAUSE)


def open_without_waiting(path, flags):
    """Open a file, as the `opener` of `open`; a named pipe would be waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextlib.contextmanager
def locked(file):
    """Wait until no other process has locked an open file, and lock it.

    Yields
    ------
    is_locked : bool
        False if the file system has no locks.
    """
    lock, unlock = _find_locks()
    try:
        lock(file)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        yield False
        return
    try:
        yield True
    finally:
        unlock(file)


def _find_locks():
    try:
        import fcntl
    except ImportError:
        import msvcrt

        return _wait_for_byte, lambda file: _lock_byte(file, msvcrt.LK_UNLCK)
    return (
        lambda file: fcntl.flock(file, fcntl.LOCK_EX),
        lambda file: fcntl.flock(file, fcntl.LOCK_UN),
    )


def _wait_for_byte(file):
    import msvcrt

    while True:
        try:
            return _lock_byte(file, msvcrt.LK_NBLCK)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
        time.sleep(_PAUSE)


def _lock_byte(file, mode):
    import msvcrt

    file.seek(0)  # the byte at the position of the file, which needn't exist
    msvcrt.locking(file.fileno(), mode, 1)


def is_alive(process):
    """Tell whether a process of this machine runs, by its number."""
    if os.name == "nt":  # where os.kill(process, 0) ends it
        return _is_alive_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or too large a number
        return True
    return True


def _is_alive_on_windows(process):
    import ctypes

    if process >= 2**32:
        return True
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, process)
    if not handle:  # there is none, or it is another user's
        return ctypes.get_last_error() != _ERROR_INVALID_PARAMETER
    handle, code = ctypes.c_void_p(handle), ctypes.c_ulong()
    found = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not found or code.value == _STILL_ACTIVE
