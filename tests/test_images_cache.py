"""The cache of decoded images: each file once, and never wrong pixels."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_images import make_corpus, make_scene
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skimgclf import _store
from skimgclf.exceptions import (
    ImageCacheWarning,
    ImageLoadError,
    ImageLoadWarning,
    InvalidParameterError,
)
from skimgclf.images import ImageLoader, _load_many

SIZE = {"image_size": (9, 7), "color_mode": "rgb"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Forty images that differ, old enough to be kept."""
    folder = tmp_path_factory.mktemp("images")
    scene = make_scene()
    for row in range(40):
        Image.fromarray(np.roll(scene, row, axis=1)).save(folder / f"{row:02}.png")
    wait_for_the_clock()
    return sorted(str(path) for path in folder.iterdir())


def wait_for_the_clock():
    time.sleep(0.03)


def load(paths, cache=None, **parameters):
    return ImageLoader(cache=cache, **(SIZE | parameters)).transform(paths)


def count_entries(cache, table="entries"):
    with sqlite3.connect(find_file(cache)) as connection:
        (count,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    connection.close()
    return count


def find_file(cache):
    (path,) = Path(cache).glob("*.sqlite")
    return path


def copy_cache(cache, folder):
    """Copy a cache, to one that no connection of this process knows."""
    folder.mkdir()
    with sqlite3.connect(find_file(cache)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copy(find_file(cache), folder)
    return folder


# The same pixels


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_cache_gives_the_same_pixels_for_every_kind_of_file(tmp_path, dtype):
    """Of 8 bits and deeper, at the first time and at the second."""
    paths = []
    for sample in make_corpus():
        if sample.reason is None:
            paths.append(tmp_path / str(len(paths)))
            paths[-1].write_bytes(sample.content)
    wait_for_the_clock()
    expected = load(paths, dtype=dtype)
    for _ in range(2):
        images = load(paths, tmp_path / "cache", dtype=dtype)
        assert images.dtype == dtype
        np.testing.assert_array_equal(images, expected)
    assert count_entries(tmp_path / "cache") == len(paths)


def test_cache_decodes_each_file_once(paths, tmp_path, decodes):
    expected = load(paths)
    decodes.clear()
    load(paths, tmp_path / "cache")
    assert decodes == paths
    for parameters in [
        {},
        {"dtype": "uint8"},
        {"n_jobs": 3},
        {"on_error": "fill"},
        {"cache_limit": 10**9},
        {"lazy": True},
    ]:
        images = np.asarray(load(paths[::-1], tmp_path / "cache", **parameters))
        divisor = 255 if parameters == {"dtype": "uint8"} else 1
        np.testing.assert_array_equal(
            (images / np.float32(divisor)).astype("float32"), expected[::-1]
        )
    assert len(decodes) == len(paths)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", (9, 8)),
        ("color_mode", "grayscale"),
        ("resize_mode", "crop"),
        ("interpolation", "box"),
        ("background", "black"),
        ("max_pixels", 10_000),
    ],
)
def test_cache_tells_options_apart(paths, tmp_path, decodes, name, value):
    load(paths[:3], tmp_path / "cache")
    images = load(paths[:3], tmp_path / "cache", **{name: value})
    assert len(decodes) == 6
    np.testing.assert_array_equal(images, load(paths[:3], **{name: value}))


def test_cache_refuses_more_pixels_than_max_pixels_as_without(paths, tmp_path):
    load(paths[:1], tmp_path / "cache")
    with pytest.raises(ImageLoadError, match="max_pixels=100"):
        load(paths[:1], tmp_path / "cache", max_pixels=100)


def test_cache_knows_a_file_by_its_absolute_path(paths, tmp_path, decodes, monkeypatch):
    load(paths[:1], tmp_path / "cache")
    monkeypatch.chdir(Path(paths[0]).parent)
    name = Path(paths[0]).name
    for same in [name, f"./{name}", Path(name), f"../{Path.cwd().name}/{name}"]:
        load([same], tmp_path / "cache")
    assert len(decodes) == 1


def test_cache_keeps_bytes_but_no_pil_images_and_arrays(paths, tmp_path, decodes):
    content = Path(paths[0]).read_bytes()
    image = Image.open(paths[1]).copy()
    cells = [content, image, np.asarray(image)]
    first = load(cells, tmp_path / "cache")
    np.testing.assert_array_equal(load(cells, tmp_path / "cache"), first)
    assert [type(source) for source in decodes].count(bytes) == 1
    assert len(decodes) == 5


def test_cache_decodes_a_file_that_is_named_twice_once(paths, tmp_path, decodes):
    images = load([paths[0], paths[1], paths[0]], tmp_path / "cache")
    np.testing.assert_array_equal(images[0], images[2])
    assert len(decodes) == 2


def test_cache_keeps_no_file_that_cannot_be_read(paths, tmp_path, decodes):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    wait_for_the_clock()
    for _ in range(2):
        with pytest.raises(ImageLoadError, match=r"bad.png' \(row 1\)"):
            load([paths[0], bad, paths[1]], tmp_path / "cache")
        with pytest.warns(ImageLoadWarning, match=r"bad.png' \(row 0\)"):
            load([bad], tmp_path / "cache", on_error="fill")
    assert decodes.count(bad) == 4
    assert count_entries(tmp_path / "cache") == 2
    Image.fromarray(make_scene()).save(bad)
    np.testing.assert_array_equal(load([bad], tmp_path / "cache"), load([bad]))


# Files that change


def write_gray(path, gray):
    Image.new("L", (20, 20), gray).save(path)


def test_cache_sees_a_file_that_was_rewritten(tmp_path):
    """Also with the same size and the same time of modification."""
    path = tmp_path / "a.bmp"
    write_gray(path, 10)
    wait_for_the_clock()
    before = os.stat(path)
    load([path], tmp_path / "cache", dtype="uint8")
    write_gray(path, 20)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    wait_for_the_clock()
    after = os.stat(path)
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert (load([path], tmp_path / "cache", dtype="uint8") == 20).all()


def test_cache_sees_a_file_that_was_replaced(tmp_path):
    old, new = tmp_path / "a.bmp", tmp_path / "b.bmp"
    write_gray(old, 10)
    write_gray(new, 20)
    times = os.stat(old)
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    wait_for_the_clock()
    load([old], tmp_path / "cache", dtype="uint8")
    os.replace(new, old)
    wait_for_the_clock()
    assert (load([old], tmp_path / "cache", dtype="uint8") == 20).all()


def test_cache_tells_files_apart_whose_paths_only_look_the_same(tmp_path):
    """What follows a symbolic link to a directory, ".." leads out of its target."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    write_gray(tmp_path / "a.bmp", 10)
    write_gray(tmp_path / "far" / "a.bmp", 20)
    wait_for_the_clock()
    near, far = f"{tmp_path}/a.bmp", f"{tmp_path}/link/../a.bmp"
    for paths in ([near, far], [far, near]):
        images = load(paths, tmp_path / "cache", dtype="uint8")
        np.testing.assert_array_equal(images, load(paths, dtype="uint8"))
    with pytest.raises(ImageLoadError, match="there is no such file"):
        load([f"{near}/"], tmp_path / "cache")


def test_cache_sees_a_link_that_is_turned_while_it_is_read(tmp_path, monkeypatch):
    link = tmp_path / "link.bmp"
    for gray in (10, 20):
        write_gray(tmp_path / f"{gray}.bmp", gray)
    wait_for_the_clock()

    def turn(gray):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / f"{gray}.bmp")

    decode = _load_many.decode_pixels
    with monkeypatch.context() as patched:
        patched.setattr(
            _load_many, "decode_pixels", lambda *given: (turn(20), decode(*given))[1]
        )
        turn(10)
        load([link], tmp_path / "cache", dtype="uint8")
    for gray in (10, 20):
        turn(gray)
        assert (load([link], tmp_path / "cache", dtype="uint8") == gray).all()


def test_repair_ticks_keeps_no_file_that_may_change_again(
    tmp_path, decodes, monkeypatch
):
    """A file that changes twice within a tick looks the same."""
    path = tmp_path / "a.bmp"
    write_gray(path, 9)
    changed = os.stat(path).st_ctime_ns
    for n_milliseconds, n_decodes in [(0, 2), (19, 2), (21, 1)]:
        now = changed + n_milliseconds * 10**6
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        decodes.clear()
        for _ in range(2):
            load([path], tmp_path / "cache")
        assert len(decodes) == n_decodes


def test_cache_never_keeps_a_file_that_may_still_change_within_a_tick(tmp_path):
    path = tmp_path / "a.bmp"
    for gray in range(100):
        write_gray(path, gray)
        assert (load([path], tmp_path / "cache", dtype="uint8") == gray).all()


# The limit


def test_cache_limit_bounds_the_file_and_evicts_what_was_not_used(tmp_path, decodes):
    paths = []
    for row in range(120):
        paths.append(tmp_path / f"{row}.png")
        write_gray(paths[-1], row)
    wait_for_the_clock()
    cache, limit = tmp_path / "cache", 1_000_000
    options = {"image_size": (150, 150), "color_mode": "grayscale"}
    load(paths[:20], cache, cache_limit=limit, **options)
    with sqlite3.connect(find_file(cache)) as connection:
        # As if an hour had passed for all of them, before the first ten are used.
        connection.execute("UPDATE entries SET used = used - 7200")
    connection.close()
    load(paths[:10], cache, cache_limit=limit, **options)
    for row in range(20, 44):
        load(paths[row : row + 1], cache, cache_limit=limit, **options)
        assert os.path.getsize(find_file(cache)) < 1.1 * limit
    decodes.clear()
    load(paths[:20], cache, cache_limit=limit, **options)
    assert not set(decodes) & set(paths[:10])
    assert set(decodes) & set(paths[10:20])
    load(paths, cache, cache_limit=limit, **options)
    assert os.path.getsize(find_file(cache)) < 1.5 * limit
    assert 10 < count_entries(cache) < 40
    assert count_entries(cache) == count_entries(cache, "pixels")


def test_cache_evicts_in_parts_between_which_others_write(tmp_path, monkeypatch):
    """A look at a million entries must not keep other processes from writing."""
    monkeypatch.setattr(_store, "_N_DELETED", 20)
    store = _store.PixelStore(str(tmp_path / "cache"))
    values = {row.to_bytes(2, "big") * 12: bytes(5_000) for row in range(1_000)}
    store.store(values, set(), 10**9)
    seen = set()
    arguments = ({bytes(24): bytes(9)}, set(), 4_000_000)
    evicting = threading.Thread(target=store.store, args=arguments)
    with sqlite3.connect(find_file(tmp_path / "cache"), timeout=60) as other:
        evicting.start()
        while evicting.is_alive():
            other.execute("BEGIN IMMEDIATE")
            seen.add(other.execute("SELECT COUNT(*) FROM entries").fetchone())
            other.execute("ROLLBACK")
    other.close()
    store.close()
    assert store.take_problem() is None
    assert len(seen) > 5
    assert 300 < count_entries(tmp_path / "cache") < 900


def test_cache_with_a_tiny_limit_still_loads(paths, tmp_path):
    images = load(paths, tmp_path / "cache", cache_limit=1)
    np.testing.assert_array_equal(images, load(paths))


# Where it is


def test_cache_directory_is_made_if_its_parent_exists(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    load(paths[:1], "~/cache")
    assert count_entries(tmp_path / "cache") == 1
    with pytest.warns(ImageCacheWarning, match="its parent directory doesn't exist"):
        images = load(paths[:2], tmp_path / "no" / "cache")
    np.testing.assert_array_equal(images, load(paths[:2]))
    assert not (tmp_path / "no").exists()
    load(paths[:2], tmp_path / "no" / "cache")  # warned of once only


def test_cache_in_a_working_directory_that_was_deleted(paths, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.warns(ImageCacheWarning, match="'cache' can't be made"):
        images = load(paths[:2], "cache")
    np.testing.assert_array_equal(images, load(paths[:2]))


@pytest.mark.parametrize(
    "name", ["a b", "100%41", "what?mode=ro", "a#b&c", "ü\n", os.fsdecode(b"\xff"), "~"]
)
def test_cache_directory_may_have_any_name(paths, tmp_path, name):
    load(paths[:2], f"{tmp_path}/{name}")
    assert count_entries(tmp_path / name) == 2
    load(paths[:3], f"/{tmp_path}/{name}/")
    assert count_entries(tmp_path / name) == 3


def test_cache_refuses_a_name_that_no_directory_can_have(paths):
    for name in ("", "a\0b", "\ud800"):
        with pytest.raises(
            InvalidParameterError, match=r"'cache' .* path of a directory"
        ):
            load(paths[:1], name)


def test_cache_that_failed_is_used_again_once_its_place_is_in_order(paths, tmp_path):
    """As the warnings suggest: the parent made, or what is damaged deleted."""
    cache = tmp_path / "parent" / "cache"
    with pytest.warns(ImageCacheWarning, match="parent directory doesn't exist"):
        load(paths, cache)
    cache.mkdir(parents=True)
    (cache / "images-1.sqlite").write_bytes(bytes(range(256)) * 99)
    with pytest.warns(ImageCacheWarning, match="not a database"):
        load(paths, cache)
    shutil.rmtree(cache)
    load(paths, cache)
    assert count_entries(cache) == len(paths)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux' /proc")
def test_many_caches_take_few_file_descriptors(paths, tmp_path, decodes):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(60):
        load(paths[:1], tmp_path / str(number))
    assert len(os.listdir("/proc/self/fd")) - before < 60
    load(paths[:1], tmp_path / "0")
    assert len(decodes) == 60


def test_cache_is_cleared_by_deleting_its_directory(paths, tmp_path, decodes):
    """Also while this process has it open."""
    cache = tmp_path / "cache"
    load(paths, cache)
    shutil.rmtree(cache)
    load(paths, cache)
    load(paths, cache)
    assert len(decodes) == 2 * len(paths)
    assert count_entries(cache) == len(paths)


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
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(images, load(paths))
    np.testing.assert_array_equal(load(paths, tmp_path / "cache"), images)


def test_cache_file_that_is_empty_is_a_new_one(paths, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "images-1.sqlite").touch()
    load(paths, tmp_path / "cache")
    assert count_entries(tmp_path / "cache") == len(paths)


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


FULL_DISK = """
import resource, signal, sys, warnings
import numpy as np
from skimgclf.images import ImageLoader
cache, *paths = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
def load(cache=None):
    return ImageLoader(image_size=(90, 70), cache=cache).transform(paths)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        assert np.array_equal(load(cache), load())
print(*[str(warning.message) for warning in caught], sep="\\n")
"""


def test_cache_on_a_full_disk_costs_one_warning(paths, tmp_path, run_python):
    """The limit of a file's size stands for the end of the disk."""
    printed = run_python(FULL_DISK, tmp_path / "cache", *paths, *paths)
    assert len(printed.splitlines()) == 1
    assert "can't be used: SQLite says" in printed
    images = load(paths, tmp_path / "cache", image_size=(90, 70))
    np.testing.assert_array_equal(images, load(paths, image_size=(90, 70)))


# Damage


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


@pytest.mark.slow
def test_cache_with_a_flipped_bit_never_gives_wrong_pixels_3000_times(paths, tmp_path):
    load(paths, tmp_path / "cache")
    assert 0 < check_flips(tmp_path / "cache", paths, tmp_path, 3000) < 3000


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


# Many threads and processes


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


def test_cache_survives_killed_writers(paths, tmp_path):
    check_kills(paths, tmp_path, 3)


@pytest.mark.slow
def test_cache_survives_200_killed_writers(paths, tmp_path):
    check_kills(paths, tmp_path, 200)


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


def test_cache_is_used_on_both_sides_of_a_fork(paths, tmp_path, run_python):
    assert run_python(FORK, tmp_path / "cache", *paths) == "True 0 True"


def test_cache_lets_a_search_decode_each_file_once(paths, tmp_path, decodes):
    labels = np.arange(len(paths)) // 10 % 2
    loader = ImageLoader(flatten=True, cache=tmp_path / "cache")
    pipeline = Pipeline([("load", loader), ("classify", LogisticRegression())])
    search = GridSearchCV(
        pipeline, {"classify__C": [0.1, 1.0]}, cv=3, error_score="raise"
    )
    scores = search.fit(paths, labels).cv_results_["mean_test_score"]
    assert sorted(decodes) == paths
    plain = search.set_params(estimator__load__cache=None).fit(paths, labels)
    np.testing.assert_array_equal(scores, plain.cv_results_["mean_test_score"])
