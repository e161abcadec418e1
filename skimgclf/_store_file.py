"""Open the SQLite file of a store, which others may have written."""

import contextlib
import os
import pathlib
import sqlite3
import stat
import time

from skimgclf._platform import open_without_waiting

# The number is the version of `_SCHEMA`: a new version gets a new file.
FILE_NAME = "images-1.sqlite"

# Entries are small and found by the first 8 bytes of the key; pixels are stored in the
# order of writing, so that writing them changes few pages.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entries "
    "(id INTEGER PRIMARY KEY, number INTEGER NOT NULL, used INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pixels "
    "(number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, value BLOB NOT NULL)",
)

# Larger than SQLite's default of 4,096, so that an image is in fewer pages (150 KB are
# read in two thirds of the time).
_PAGE_SIZE = 16_384

# Seconds to wait while other processes write.
_PATIENCE = 10.0

# What SQLite keeps beside a file: the old pages of a change that isn't complete, and
# those of files that were written by its other method, the "write-ahead log".
_ENDINGS = ("", "-journal", "-wal", "-shm")

# The last bytes of a journal that names a further file. SQLite, which writes such ones
# for changes of several databases, would delete that file after going back.
_NAMES_A_FILE = bytes.fromhex("d9d505f920a163d7")


def list_files(directory):
    """List the files that the store of a directory has, or will have; None has none."""
    if directory is None:
        return []
    return [os.path.join(directory, FILE_NAME + ending) for ending in _ENDINGS]


def open_file(directory):
    """Open the file of a store, and make it and its directory unless they are there.

    Parameters
    ----------
    directory : str
        Absolute path; it is made if its parent exists.

    Returns
    -------
    connection : sqlite3.Connection
    is_read_only : bool
        Whether it or its directory can't be written.

    Raises
    ------
    OSError, sqlite3.Error
        If it can't be opened, or isn't a file that a store has made.
    """
    _make_directory(directory)
    path = os.path.join(directory, FILE_NAME)
    is_new = not os.path.lexists(path)
    for each in list_files(directory):
        _refuse_trap(each)
    used = [directory] if is_new else [directory, path]
    is_read_only = not all(os.access(each, os.W_OK) for each in used)
    mode = "?mode=ro&immutable=1" if is_read_only else ""
    connection = sqlite3.connect(
        pathlib.Path(path).as_uri() + mode,
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _distrust(connection)
        if is_read_only:
            _check_schema(connection)
        else:
            _prepare(connection)
    except BaseException:
        close_file(connection)
        raise
    return connection, is_read_only


def close_file(connection):
    """Close a connection; SQLite's errors are of no use any more."""
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def _make_directory(directory):
    try:
        os.mkdir(directory)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise OSError("it isn't a directory") from None


def _refuse_trap(path):
    """Refuse a file by which SQLite would wait for ever, or touch a file elsewhere."""
    name = os.path.basename(path)
    with contextlib.suppress(FileNotFoundError):
        # Not through a link either: it may lead to another database.
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{name} in it isn't a regular file")
        if path.endswith("-journal") and status.st_size > len(_NAMES_A_FILE):
            with open(path, "rb", opener=open_without_waiting) as file:
                file.seek(-len(_NAMES_A_FILE), os.SEEK_END)
                if file.read() == _NAMES_A_FILE:
                    raise OSError(f"{name} in it wasn't written for a cache")


def _distrust(connection):
    """Open a file that others may have written, as SQLite advises in such a case.

    https://www.sqlite.org/security.html, "Untrusted SQLite Database Files"
    """
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {setting}")


def _check_schema(connection):
    """Refuse a file with tables, triggers, views or indexes that aren't ours."""
    known = {statement.replace("IF NOT EXISTS ", "").encode() for statement in _SCHEMA}
    # As bytes, since those of a damaged file may be no text.
    found = connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_master")
    if {sql for (sql,) in found} - known:
        raise OSError(f"{FILE_NAME} in it has other tables than a cache")


def _prepare(connection):
    """Set the options of a file, and make the tables of a new one."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            _check_schema(connection)
            connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            # Not "WAL", for which SQLite maps a file into memory: where a disk is full,
            # some file systems, such as btrfs, end a process that writes there.
            connection.execute("PRAGMA journal_mode = DELETE")
            # Waiting for the disk would take longer than decoding. A loss of power may
            # damage the file, which checksums tell.
            connection.execute("PRAGMA synchronous = OFF")
            for statement in _SCHEMA:
                connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            # SQLite doesn't wait by itself while another process makes the same file.
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
