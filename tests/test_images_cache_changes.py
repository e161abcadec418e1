"""The cache sees each change of a file."""

import os
import time

import numpy as np
import pytest
from cached_images import load, wait_for_the_clock, write_forty_images, write_gray

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
