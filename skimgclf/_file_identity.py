"""Tell by size, times and inode whether a file is still the same."""

import os
import time

# File systems note the time of a change in ticks of up to 10 ms: a file that changed
# less than two ticks ago may change once more and look the same.
_TICKS = 20_000_000

# Some have whole seconds (ext3, HFS+, network mounts), and FAT every other second.
_SECOND = 1_000_000_000
_COARSE_TICKS = 2 * _SECOND + _TICKS


def identify_file(file):
    """Return values of a file that differ once it has been changed or replaced.

    Parameters
    ----------
    file : str, bytes or os.PathLike
        The file.

    Returns
    -------
    identity : tuple of int or None
        Size, times, inode and device. None if the file was changed so short a time ago
        that another change may look the same.

    Raises
    ------
    OSError
        If there is no such file.

    Examples
    --------
    >>> from skimgclf._file_identity import identify_file
    >>> identify_file(__file__) == identify_file(__file__)
    True
    """
    now = time.time_ns()  # before the look at the file, which may take long
    status = os.stat(file)
    if now - _time_of_change(status) < _resolution(status):
        return None
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def wait_for_identity(file, patience):
    """Wait until a file has been left alone for long enough, and identify it.

    Parameters
    ----------
    file : str, bytes or os.PathLike
        The file.
    patience : float
        The longest time to wait, in seconds.

    Returns
    -------
    identity : tuple of int or None
        None if the time was too short, or the file was changed in the future, by the
        clock of another machine.
    """
    deadline = time.monotonic() + patience
    while (identity := identify_file(file)) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return identity


def _time_of_change(status):
    # `st_ctime` is the time when the file was made on Windows. Elsewhere it is the time
    # of the last change, which no program can set.
    return status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns


def _resolution(status):
    is_coarse = status.st_mtime_ns % _SECOND == 0 == _time_of_change(status) % _SECOND
    return _COARSE_TICKS if is_coarse else _TICKS
