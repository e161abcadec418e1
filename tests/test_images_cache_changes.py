"""The cache sees each change of a file."""

import os
import time
import types
import zipfile

import numpy as np
import pytest
from cached_images import (
    count_entries,
    load,
    wait_for_the_clock,
    write_forty_images,
    write_gray,
)

from skimgclf._file_identity import identify_file
from skimgclf.exceptions import ImageLoadError
from skimgclf.images import _load_many


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_forty_images(tmp_path_factory.mktemp("images"))


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


@pytest.fixture
def whole_seconds(monkeypatch):
    """Let all files have times of whole seconds, as on ext3, FAT and HFS+."""
    stat = os.stat

    def floor(path, **options):
        status = stat(path, **options)
        values = names_of(status)
        for name in ("st_atime", "st_mtime", "st_ctime"):
            values[name] = float(int(values[name]))
            values[f"{name}_ns"] = int(values[name]) * 10**9
        return os.stat_result(status, values)

    monkeypatch.setattr(os, "stat", floor)


def names_of(status):
    return {name: getattr(status, name) for name in dir(status) if name[:3] == "st_"}


@pytest.mark.usefixtures("whole_seconds")
def test_cache_keeps_no_young_file_where_times_are_whole_seconds(tmp_path, monkeypatch):
    """A file rewritten in place 0.1 s later looks the same there."""
    path, clock = tmp_path / "a.bmp", time.time_ns
    for gray in (10, 20, 30, 40, 50):
        write_gray(path, gray)
        monkeypatch.setattr(time, "time_ns", lambda: clock() + 100_000_000)
        assert (load([path], tmp_path / "cache", dtype="uint8") == gray).all()
    monkeypatch.setattr(time, "time_ns", lambda: clock() + 4 * 10**9)
    load([path], tmp_path / "cache", dtype="uint8")
    assert count_entries(tmp_path / "cache") == 1


@pytest.mark.usefixtures("whole_seconds")
def test_an_archive_rewritten_in_place_within_a_second_is_opened_again(tmp_path):
    for gray in (10, 20):
        write_gray(tmp_path / "a.bmp", gray)
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
            archive.write(tmp_path / "a.bmp", f"{gray}.bmp")
        (tmp_path / "a.zip").write_bytes((tmp_path / "new.zip").read_bytes())
        url = f"zip://{gray}.bmp::{tmp_path}/a.zip"
        assert (load([url], dtype="uint8") == gray).all()


def test_time_of_change_is_that_of_modification_on_windows(tmp_path, monkeypatch):
    """There, `st_ctime` is the time when a file was made."""
    path = tmp_path / "a"
    path.touch()
    made = os.stat(path).st_ctime_ns
    changed = made + 60 * 10**9 + 1
    os.utime(path, ns=(changed, changed))
    monkeypatch.setattr(time, "time_ns", lambda: changed + 10**7)
    assert identify_file(path) is not None
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        assert identify_file(str(path)) is None


@pytest.mark.parametrize(
    "name", ["st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev"]
)
def test_identity_of_a_file_is_another_one_by_each_of_its_values(
    tmp_path, monkeypatch, name
):
    path = tmp_path / "a"
    path.touch()
    status = os.stat(path)
    values = {each: getattr(status, each) for each in dir(status) if each[:3] == "st_"}
    monkeypatch.setattr(time, "time_ns", lambda: status.st_ctime_ns + 10**12)
    found = set()
    for number in (values[name], values[name] - 1):
        changed = types.SimpleNamespace(**{**values, name: number})
        monkeypatch.setattr(os, "stat", lambda _, changed=changed: changed)
        found.add(identify_file("a"))
    assert len(found - {None}) == 2


def test_cache_takes_the_long_numbers_of_files_on_windows(tmp_path, monkeypatch):
    """Inodes have 128 bits on ReFS."""
    path, stat = tmp_path / "a.bmp", os.stat
    write_gray(path, 10)
    wait_for_the_clock()

    def lengthen(path, **options):
        status = stat(path, **options)
        return os.stat_result(
            [status[0], 2**127 + 1, *list(status)[2:]], names_of(status)
        )

    monkeypatch.setattr(os, "stat", lengthen)
    load([path], tmp_path / "cache", dtype="uint8")
    assert count_entries(tmp_path / "cache") == 1
