"""ImageLoader(cache=...): which pixels are kept, and where."""

import os
import shutil
import sqlite3
import threading
from pathlib import Path

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
from skimgclf.images import ImageLoader


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_forty_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("uint8", marks=pytest.mark.slow)]
)
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
        ("color_management", False),
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


def test_cache_never_keeps_a_file_that_may_still_change_within_a_tick(tmp_path):
    path = tmp_path / "a.bmp"
    for gray in range(100):
        write_gray(path, gray)
        assert (load([path], tmp_path / "cache", dtype="uint8") == gray).all()


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
    # What is loaded at once is written before others are evicted.
    assert os.path.getsize(find_file(cache)) < 2 * limit
    assert 10 < count_entries(cache) < 40
    assert count_entries(cache) == count_entries(cache, "pixels")


def test_cache_evicts_in_parts_between_which_others_write(tmp_path, monkeypatch):
    """A look at a million entries must not keep other processes from writing."""
    monkeypatch.setattr(_store, "_N_DELETED", 5)
    store = _store.PixelStore(str(tmp_path / "cache"))
    values = {row.to_bytes(2, "big") * 12: bytes(5_000) for row in range(200)}
    store.store(values, set(), 10**9)
    seen = set()
    arguments = ({bytes(24): bytes(9)}, set(), 800_000)
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
    assert 60 < count_entries(tmp_path / "cache") < 180


def test_cache_with_a_tiny_limit_still_loads(paths, tmp_path):
    images = load(paths, tmp_path / "cache", cache_limit=1)
    np.testing.assert_array_equal(images, load(paths))


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
    "name", ["a b", "100%41", "what?mode=ro", "a#b&c", "ü\n", "\udcff", "~"]
)
def test_cache_directory_may_have_any_name(paths, tmp_path, name, request):
    if name == "\udcff":
        request.getfixturevalue("names_of_any_bytes")
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
    for number in range(40):
        load(paths[:1], tmp_path / str(number))
    assert len(os.listdir("/proc/self/fd")) - before < 60
    load(paths[:1], tmp_path / "0")
    assert len(decodes) == 40


def test_cache_is_cleared_by_deleting_its_directory(paths, tmp_path, decodes):
    """Also while this process has it open."""
    cache = tmp_path / "cache"
    load(paths, cache)
    shutil.rmtree(cache)
    load(paths, cache)
    load(paths, cache)
    assert len(decodes) == 2 * len(paths)
    assert count_entries(cache) == len(paths)


def test_cache_lets_a_search_decode_each_file_once(paths, tmp_path, decodes):
    labels = np.arange(len(paths)) // 10 % 2
    loader = ImageLoader(image_size=(8, 8), flatten=True, cache=tmp_path / "cache")
    pipeline = Pipeline([("load", loader), ("classify", LogisticRegression())])
    search = GridSearchCV(
        pipeline, {"classify__C": [0.1, 1.0]}, cv=2, error_score="raise"
    )
    scores = search.fit(paths, labels).cv_results_["mean_test_score"]
    assert sorted(decodes) == paths
    plain = search.set_params(estimator__load__cache=None).fit(paths, labels)
    np.testing.assert_array_equal(scores, plain.cv_results_["mean_test_score"])
