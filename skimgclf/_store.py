"""Keep arrays by key in an SQLite file that many processes and threads share.

Nothing here raises since work goes on without a cache: values that can't be read
are missing, values that can't be written aren't kept, and `PixelStore.take_problem`
returns the reason as a sentence.
"""

import atexit
import contextlib
import os
import sqlite3
import threading
import time
import zlib

from skimgclf._platform import after_fork, find_status
from skimgclf._store_file import FILE_NAME, close_file, open_file

# Seconds until the time of last use of an entry is written again, so that reading
# seldom writes.
_USE_RESOLUTION = 3600

# Eviction continues until this fraction of the limit is left.
_KEPT_FRACTION = 0.9

# Entries that are looked up at once (at most a tenth of all), and entries that are
# deleted in one transaction, which takes half a second. Between transactions, other
# processes may write: SQLite looks every 0.1 seconds whether it may.
_N_OLDEST = 50_000
_N_DELETED = 5_000
_PAUSE = 0.15


class PixelStore:
    """Store arrays in one directory, for all threads of this process.

    Parameters
    ----------
    directory : str
        Absolute path; it is made if its parent exists.
    """

    def __init__(self, directory):
        self._directory = directory
        self._path = os.path.join(directory, FILE_NAME)
        self._lock = threading.Lock()
        # Connections that no thread uses, each with the file that it has open.
        self._idle = []
        self._is_readable = self._is_writable = True
        self._is_read_only = False
        self._failed_on = None
        self._problem = None
        self._has_problem = False

    def load(self, keys):
        """Load values by their keys.

        Parameters
        ----------
        keys : list of bytes
            Each of at least 16 bytes, evenly distributed as hashes are.

        Returns
        -------
        values : dict of bytes to bytes
            The values that exist and have the right checksum.
        damaged : set of bytes
            The keys of values with a wrong checksum.
        """
        if not keys or not self._is_readable:
            return {}, set()
        try:
            with self._connect() as connection:
                rows = _select(connection, keys)
        except (sqlite3.Error, OSError) as error:
            self._is_readable = False
            self._give_up(error)
            return {}, set()
        self._mark_used(rows)
        values = {}
        known = [key for key in keys if _id_of(key) in rows]
        for key in known:
            _, checksum, value = rows[_id_of(key)]
            if isinstance(value, bytes) and checksum == _checksum(key, value):
                values[key] = value
        damaged = set(known) - set(values)
        if damaged:
            self._note("holds images that were damaged after they were written")
        return values, damaged

    def store(self, values, damaged, limit):
        """Store values by their keys.

        Parameters
        ----------
        values : dict of bytes to bytes
            By key, as in `load`.
        damaged : set of bytes
            Keys of `values` that replace damaged values in the store.
        limit : int
            Largest size of the store in bytes; the least recently used values go first.
        """
        if values:
            self._write(lambda connection: _insert(connection, values, damaged), limit)

    def take_problem(self):
        """Return a sentence on the first failure once, and None in later calls."""
        with self._lock:
            problem, self._problem = self._problem, None
        return problem

    def close(self):
        """Close the connections that aren't in use."""
        with self._lock:
            while self._idle:
                close_file(self._idle.pop()[0])

    def is_outdated(self):
        """Tell whether the file or directory was replaced after the store failed."""
        return not self._is_writable and self._failed_on != self._identify_place()

    def _write(self, work, limit=None):
        """Change the file in one transaction, and evict; a failure ends all writing."""
        if not self._is_writable:
            return
        try:
            with self._connect() as connection:
                if self._is_read_only:
                    raise OSError("it is read-only, and doesn't hold all images")
                with _transaction(connection):
                    work(connection)
                if limit is not None:
                    _evict(connection, limit)
        except (sqlite3.Error, OSError, OverflowError) as error:
            self._give_up(error)

    def _mark_used(self, rows):
        now = int(time.time())
        stale = [
            (now, identifier)
            for identifier, (used, _, _) in rows.items()
            if not isinstance(used, int) or now - used > _USE_RESOLUTION
        ]
        statement = "UPDATE entries SET used = ? WHERE id = ?"
        if stale and not self._is_read_only:
            self._write(lambda connection: connection.executemany(statement, stale))

    @contextlib.contextmanager
    def _connect(self):
        """Lend a connection that no other thread uses at the same time."""
        file, connection = _identify(self._path), None
        with self._lock:
            while self._idle and connection is None:
                connection, opened = self._idle.pop()
                if opened != file:  # the file was deleted to clear the cache
                    close_file(connection)
                    connection = None
        if connection is None:
            connection, self._is_read_only = open_file(self._directory)
            file = _identify(self._path)
        try:
            yield connection
        except BaseException:
            close_file(connection)
            raise
        with self._lock:
            self._idle.append((connection, file))

    def _give_up(self, error):
        self._is_writable = False
        self._failed_on = self._identify_place()
        self._note(error)

    def _identify_place(self):
        parent = os.path.dirname(self._directory)
        return [_identify(path) for path in (parent, self._directory, self._path)]

    def _note(self, problem):
        with self._lock:
            if not self._has_problem:
                self._has_problem = True
                self._problem = f"The cache {self._directory!r} {_explain(problem)}"


_stores = {}
_stores_lock = threading.Lock()

# SQLite's connections must neither be used nor closed in a forked child.
_parents_stores = []

# Stores that may keep connections, each of which takes a file descriptor.
_MAX_OPEN = 16


def open_store(directory):
    """Return the store of a directory, one for each process.

    A store that failed is opened again once its directory or file was replaced.
    """
    with _stores_lock:
        store = _stores.pop(directory, None)
        if store is None or store.is_outdated():
            store = PixelStore(directory)
        _stores[directory] = store  # at the end: stores are in the order of last use
        if len(_stores) > _MAX_OPEN:
            list(_stores.values())[-_MAX_OPEN - 1].close()
        return store


def _close_stores():
    for store in list(_stores.values()):
        store.close()


def _leave_stores_to_parent():
    global _stores, _stores_lock
    _parents_stores.append(_stores)
    _stores, _stores_lock = {}, threading.Lock()


atexit.register(_close_stores)
after_fork(_leave_stores_to_parent)


def _identify(path):
    status = find_status(path)
    return status and (status.st_dev, status.st_ino, status.st_mode)


@contextlib.contextmanager
def _transaction(connection):
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _select(connection, keys):
    places = ",".join("?" * len(keys))
    rows = connection.execute(
        "SELECT id, used, checksum, value FROM entries LEFT JOIN pixels "
        f"ON pixels.number = entries.number WHERE id IN ({places})",
        [_id_of(key) for key in keys],
    )
    return {identifier: row for identifier, *row in rows}


def _insert(connection, values, damaged):
    now = int(time.time())
    for key, value in values.items():
        identifier = _id_of(key)
        find = "SELECT 1 FROM entries WHERE id = ?"
        is_known = connection.execute(find, (identifier,)).fetchone()
        if is_known and key not in damaged:
            continue  # another process was faster
        number = connection.execute(
            "INSERT INTO pixels (checksum, value) VALUES (?, ?)",
            (_checksum(key, value), value),
        ).lastrowid
        connection.execute(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (identifier, number, now)
        )


def _evict(connection, limit):
    """Delete the least recently used entries, until 90 % of the limit is left."""
    if _n_bytes(connection) <= limit:
        return
    while _n_bytes(connection) > _KEPT_FRACTION * limit:
        oldest = connection.execute(
            "SELECT id, number FROM entries ORDER BY used, number LIMIT "
            f"(SELECT MIN(COUNT(*) / 10 + 1, {_N_OLDEST}) FROM entries)"
        ).fetchall()
        if not oldest:
            return
        while oldest and _n_bytes(connection) > _KEPT_FRACTION * limit:
            part, oldest = oldest[:_N_DELETED], oldest[_N_DELETED:]
            with _transaction(connection):
                _delete(connection, part)
            if oldest:
                time.sleep(_PAUSE)


def _delete(connection, rows):
    """Delete entries and their pixels, unless another process was faster."""
    connection.executemany(
        "DELETE FROM pixels WHERE number = ?2 AND EXISTS "
        "(SELECT 1 FROM entries WHERE id = ?1 AND number = ?2)",
        rows,
    )
    connection.executemany("DELETE FROM entries WHERE id = ? AND number = ?", rows)


def _n_bytes(connection):
    n_pages, n_free, page_size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (n_pages - n_free) * page_size


def _id_of(key):
    return int.from_bytes(key[:8], "big", signed=True)


def _checksum(key, value):
    # The key is included, so that pixels of another image don't match. CRC-32 finds
    # every flipped bit, at a third of the cost of a cryptographic hash.
    return zlib.crc32(value, zlib.crc32(key))


def _explain(problem):
    if isinstance(problem, str):
        return problem
    if isinstance(problem, FileNotFoundError):
        return "can't be made, since its parent directory doesn't exist"
    if isinstance(problem, OSError):
        return f"can't be used: {problem.strerror or problem}"
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    advice = ": delete it" if code == sqlite3.SQLITE_CORRUPT else ""
    return f"can't be used: SQLite says {str(problem)!r}{advice}"
