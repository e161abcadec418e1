"""A cache that is unusable, damaged or shared by processes costs time, never pixels."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import cached_images
import numpy as np
import pytest
from cached_images import (
    count_entries,
    find_file,
    load,
    wait_for_the_clock,
    write_forty_images,
    write_gray,
)
from campaign_counts import show_counts

from skimgclf.exceptions import ImageCacheWarning


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_forty_images(tmp_path_factory.mktemp("images"))


def copy_cache(cache, folder):
    """Copy a cache, to one that no connection of this process knows."""
    folder.mkdir()
    shutil.copy(find_file(cache), folder)
    return folder


def make_nothing_of(kind, cache):
    if kind == "file":
        cache.write_text("not a directory")
        return
    cache.mkdir()
    path = cache / "images-1.sqlite"
    if kind == "garbage":
        path.write_bytes(random.Random(0).randbytes(50_000))
    elif kind == "text":
        path.write_text("SQLite format 4 " * 100)
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "other tables":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE entries (name TEXT)")
        connection.close()


@pytest.mark.parametrize(
    "kind", ["file", "garbage", "text", "directory", "fifo", "other tables"]
)
def test_cache_that_is_none_costs_one_warning(paths, tmp_path, kind):
    make_nothing_of(kind, tmp_path / "cache")
    with pytest.warns(ImageCacheWarning, match="cache' can't be used: ") as caught:
        images = load(paths, tmp_path / "cache", n_jobs=2)
    assert len(caught) == 1
    assert caught[0].filename == cached_images.__file__
    np.testing.assert_array_equal(images, load(paths))
    np.testing.assert_array_equal(load(paths, tmp_path / "cache"), images)


@pytest.mark.parametrize("is_read_only", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER UPDATE ON entries BEGIN DELETE FROM pixels; END",
        "CREATE VIEW v AS SELECT * FROM pixels",
        "CREATE TABLE t (x)",
        "CREATE INDEX i ON pixels (hex(value))",
        "ALTER TABLE entries ADD COLUMN x AS (zeroblob(1e9))",
    ],
)
def test_cache_that_somebody_put_more_into_is_left_alone(
    paths, tmp_path, monkeypatch, statement, is_read_only
):
    load(paths[:2], tmp_path / "made")
    cache = copy_cache(tmp_path / "made", tmp_path / "cache")
    with sqlite3.connect(find_file(cache)) as connection:
        connection.execute(statement)
    connection.close()
    content = find_file(cache).read_bytes()
    if is_read_only:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda path, mode: "cache" not in str(path))
    with pytest.warns(ImageCacheWarning, match="has other tables than a cache"):
        images = load(paths[:2], cache)
    np.testing.assert_array_equal(images, load(paths[:2]))
    assert find_file(cache).read_bytes() == content


def test_cache_that_is_a_link_writes_into_no_other_database(paths, tmp_path):
    with sqlite3.connect(tmp_path / "mine.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for name in ("mine.sqlite", "none.sqlite"):
        cache = tmp_path / f"cache of {name}"
        cache.mkdir()
        (cache / "images-1.sqlite").symlink_to(tmp_path / name)
        with pytest.warns(ImageCacheWarning, match="isn't a regular file"):
            load(paths[:2], cache)
    with sqlite3.connect(tmp_path / "mine.sqlite") as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("mine",)]
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_what_lies_beside_a_cache_leads_into_no_other_file(
    paths, tmp_path, ending, kind
):
    """SQLite would wait for ever for a pipe."""
    victim, cache = tmp_path / "victim", tmp_path / "cache"
    victim.write_bytes(b"mine" * 2000)
    load(paths[:2], cache)
    other = copy_cache(cache, tmp_path / "other")
    beside = other / f"images-1.sqlite{ending}"
    os.mkfifo(beside) if kind == "pipe" else beside.symlink_to(victim)
    with pytest.warns(ImageCacheWarning, match="isn't a regular file") as caught:
        images = load(paths[:2], other)
    assert len(caught) == 1
    np.testing.assert_array_equal(images, load(paths[:2]))
    assert victim.read_bytes() == b"mine" * 2000


def write_journal(cache, victim):
    """Write a journal as of a change of several databases, which names a file.

    https://www.sqlite.org/fileformat2.html#the_rollback_journal
    """
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(victim)
    n_pages = find_file(cache).stat().st_size // 16_384
    head = magic + struct.pack(">5I", 0, 0, n_pages, 512, 16_384)
    number = 2**30 // 16_384 + 1
    end = struct.pack(">I", number) + name + struct.pack(">2I", len(name), sum(name))
    Path(f"{find_file(cache)}-journal").write_bytes(
        head.ljust(512, b"\0") + end + magic
    )


def test_a_journal_beside_a_cache_lets_sqlite_delete_no_file(paths, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    load(paths[:2], tmp_path / "made")
    cache = copy_cache(tmp_path / "made", tmp_path / "cache")
    write_journal(cache, victim)
    with pytest.warns(ImageCacheWarning, match="wasn't written for a cache"):
        images = load(paths[:2], cache)
    np.testing.assert_array_equal(images, load(paths[:2]))
    assert victim.read_text() == "mine"
    assert count_entries(cache) == 2  # by SQLite alone it would have been deleted
    assert not victim.exists()


def test_a_cache_is_mapped_into_no_memory(paths, tmp_path):
    """On a full disk, writing there would end the process on some file systems."""
    cache = tmp_path / "cache"
    load(paths[:2], cache)
    assert os.listdir(cache) == ["images-1.sqlite"]  # while it is open
    other = copy_cache(cache, tmp_path / "other")
    with sqlite3.connect(find_file(other)) as connection:  # as an older version
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    load(paths[:4], other)
    assert os.listdir(other) == ["images-1.sqlite"]
    assert count_entries(other) == 4


def test_cache_trusts_nothing_in_its_file(paths, tmp_path, monkeypatch):
    opened, connect = [], sqlite3.connect

    def note(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", note)
    load(paths[:2], tmp_path / "cache")
    for name, value in [("trusted_schema", 0), ("cell_size_check", 1)]:
        assert opened[0].execute(f"PRAGMA {name}").fetchone() == (value,)


def test_cache_file_that_is_empty_is_a_new_one(paths, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "images-1.sqlite").touch()
    load(paths, tmp_path / "cache")
    assert count_entries(tmp_path / "cache") == len(paths)


def test_cache_that_may_not_be_written_is_read(paths, tmp_path, monkeypatch):
    """Silently as long as it holds what is asked for, then with one warning."""
    load(paths[:2], tmp_path / "made")
    cache = copy_cache(tmp_path / "made", tmp_path / "cache")
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: "cache" not in str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load(paths[:2], cache), load(paths[:2]))
    with pytest.warns(ImageCacheWarning, match="read-only, and doesn't hold") as caught:
        images = [load(paths[:4], cache) for _ in range(3)]
    assert len(caught) == 1
    np.testing.assert_array_equal(images, [load(paths[:4])] * 3)
    assert os.listdir(cache) == ["images-1.sqlite"]
    assert count_entries(cache) == 2


# As a user without rights, since root may write everywhere.
READ_ONLY = """
import os, sys, warnings
import numpy as np
from skimgclf.images import ImageLoader
cache, known, new = sys.argv[1:]
def load(*paths, cache=cache):
    loader = ImageLoader(image_size=(9, 7), color_mode="rgb", cache=cache)
    return loader.transform(paths)
load(known, cache=None)  # imports what another user may not be allowed to
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
assert not os.access(cache, os.W_OK)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert np.array_equal(load(known), load(known, cache=None))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        assert np.array_equal(load(known, new), load(known, new, cache=None))
print([str(warning.message) for warning in caught], os.listdir(cache))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no such users")
def test_cache_that_is_read_only_is_read(tmp_path, run_python):
    """Silently as long as it holds what is asked for, then with one warning."""
    # Not in tmp_path, which other users can't enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        known, new = Path(folder) / "known.png", Path(folder) / "new.png"
        write_gray(known, 10)
        write_gray(new, 20)
        wait_for_the_clock()
        made = tmp_path / "cache"
        load([known], made)
        cache = copy_cache(made, Path(folder) / "cache")
        os.chmod(find_file(cache), 0o444)
        os.chmod(cache, 0o555)
        printed = run_python(READ_ONLY, cache, known, new)
        os.chmod(cache, 0o755)
    assert printed.count("read-only, and doesn't hold all images") == 1
    assert printed.endswith("['images-1.sqlite']")


@contextlib.contextmanager
def small_files():
    """Refuse files of more than 400,000 bytes, as a disk does that is full."""
    resource = pytest.importorskip("resource")  # Windows has no such limit
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_cache_on_a_full_disk_costs_one_warning(paths, tmp_path):
    cache, size = tmp_path / "cache", {"image_size": (90, 70)}
    expected = load(paths * 2, **size)
    # No longer than needed: pytest itself must be able to write a long report.
    with (
        small_files(),
        pytest.warns(ImageCacheWarning, match="can't be used: SQLite says") as caught,
    ):
        images = [load(paths * 2, cache, **size) for _ in range(3)]
    assert len(caught) == 1
    np.testing.assert_array_equal(images, [expected] * 3)
    np.testing.assert_array_equal(load(paths * 2, cache, **size), expected)


def check_flips(cache, paths, folder, n_flips):
    """Flip a bit of a copied cache, many times; count those that were noticed."""
    expected = load(paths, dtype="uint8")
    rng = random.Random(0)
    noticed = 0
    for number in range(n_flips):
        copy = copy_cache(cache, folder / str(number))
        content = bytearray(find_file(copy).read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        find_file(copy).write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = load(paths, copy, dtype="uint8")
        np.testing.assert_array_equal(images, expected)
        assert {warning.category for warning in caught} <= {ImageCacheWarning}
        assert len(caught) <= 1
        noticed += len(caught)
        shutil.rmtree(copy)
    return noticed


def test_cache_with_a_flipped_bit_never_gives_wrong_pixels(paths, tmp_path):
    load(paths, tmp_path / "cache", image_size=(60, 60))
    load(paths, tmp_path / "cache")
    assert check_flips(tmp_path / "cache", paths, tmp_path, 60) < 60


def test_cache_with_damage_in_the_names_of_its_tables_costs_one_warning(
    paths, tmp_path
):
    expected = load(paths, tmp_path / "cache")
    copy = copy_cache(tmp_path / "cache", tmp_path / "copy")
    file = find_file(copy)
    content = file.read_bytes()
    assert b" used INTEGER" in content
    file.write_bytes(content.replace(b" used INTEGER", b" used\xa0INTEGER"))
    with pytest.warns(ImageCacheWarning, match="other tables") as caught:
        images = load(paths, copy)
    np.testing.assert_array_equal(images, expected)
    assert len(caught) == 1


@pytest.mark.slow
@pytest.mark.campaign
def test_cache_with_a_flipped_bit_never_gives_wrong_pixels_3000_times(paths, tmp_path):
    load(paths, tmp_path / "cache")
    noticed = check_flips(tmp_path / "cache", paths, tmp_path, 3000)
    counts = {"warned of": noticed, "wrong pixels": 0}
    show_counts("bits flipped in a cache", flips=3000, **counts)
    assert 0 < noticed < 3000


def test_cache_mends_pixels_that_are_damaged(paths, tmp_path, decodes):
    load(paths, tmp_path / "cache")
    copy = copy_cache(tmp_path / "cache", tmp_path / "copy")
    with sqlite3.connect(find_file(copy)) as connection:
        value = bytes(9 * 7 * 3)
        connection.execute("UPDATE pixels SET value = ? WHERE number = 5", (value,))
        connection.execute("DELETE FROM pixels WHERE number = 6")
        connection.execute("UPDATE pixels SET value = 'text' WHERE number = 7")
        connection.execute("UPDATE entries SET number = 9 WHERE number = 8")
        connection.execute("UPDATE entries SET used = 'never' WHERE number = 10")
    connection.close()
    decodes.clear()
    with pytest.warns(ImageCacheWarning, match="that were damaged") as caught:
        images = load(paths, copy)
    assert len(caught) == 1
    assert len(decodes) == 4
    np.testing.assert_array_equal(images, load(paths))
    decodes.clear()
    np.testing.assert_array_equal(load(paths, copy), images)
    assert decodes == []


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_cache_that_was_cut_short_never_gives_wrong_pixels(paths, tmp_path, share):
    load(paths, tmp_path / "cache", image_size=(60, 60))
    copy = copy_cache(tmp_path / "cache", tmp_path / "copy")
    size = os.path.getsize(find_file(copy))
    os.truncate(find_file(copy), int(share * size))
    with pytest.warns(ImageCacheWarning):
        images = load(paths, copy, image_size=(60, 60))
    np.testing.assert_array_equal(images, load(paths, image_size=(60, 60)))


def test_cache_is_used_by_many_threads_at_once(paths, tmp_path):
    expected = load(paths)
    results = []

    def work():
        results.append(load(paths, tmp_path / "cache", n_jobs=2))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for images in results:
        np.testing.assert_array_equal(images, expected)
    assert count_entries(tmp_path / "cache") == len(paths)


WORKER = """
import sys, warnings
import numpy as np
from skimgclf.images import ImageLoader
warnings.simplefilter("error")
cache, n_rounds, *paths = sys.argv[1:]
def load(size, cache=None):
    loader = ImageLoader(image_size=(9, size), color_mode="rgb", cache=cache)
    return loader.transform(paths)
print("ready", flush=True)
for size in range(1, int(n_rounds) + 1):
    assert np.array_equal(load(size, cache), load(size))
print("done")
"""


def start_worker(cache, paths, n_rounds):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(cache), str(n_rounds), *paths],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_cache_is_filled_by_many_processes_at_once(paths, tmp_path):
    """Each starts with a directory that doesn't exist, and finds only right pixels."""
    workers = [start_worker(tmp_path / "cache", paths, 10) for _ in range(3)]
    for worker in workers:
        printed, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        assert printed.endswith("done\n")
    assert count_entries(tmp_path / "cache") == 10 * len(paths)


def check_kills(paths, tmp_path, n_kills):
    cache = tmp_path / "cache"
    rng = random.Random(0)
    for _ in range(n_kills):
        worker = start_worker(cache, paths, 10**6)
        worker.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        assert worker.returncode == -signal.SIGKILL
        for size in (1, 2, 5, 20):
            images = load(paths, cache, image_size=(9, size))
            np.testing.assert_array_equal(images, load(paths, image_size=(9, size)))
    assert count_entries(cache) > len(paths)


@pytest.mark.slow
def test_cache_survives_killed_writers(paths, tmp_path):
    check_kills(paths, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.campaign
def test_cache_survives_200_killed_writers(paths, tmp_path):
    check_kills(paths, tmp_path, 200)
    counts = {"readings": 800, "wrong pixels": 0}
    show_counts("kills of writers of a cache", kills=200, **counts)


FORK = """
import os, sys, warnings
import numpy as np
from skimgclf.images import ImageLoader
warnings.simplefilter("error")
cache, *paths = sys.argv[1:]
load = lambda paths: ImageLoader(cache=cache).transform(paths)
expected = load(paths)
child = os.fork()
if child == 0:
    ok = np.array_equal(load(paths), expected)
    os._exit(0 if ok else 1)
parent_ok = np.array_equal(load(paths[::-1]), expected[::-1])
_, status = os.waitpid(child, 0)
print(parent_ok, status, np.array_equal(load(paths), expected))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no forks")
def test_cache_is_used_on_both_sides_of_a_fork(paths, tmp_path, run_python):
    assert run_python(FORK, tmp_path / "cache", *paths) == "True 0 True"
