"""LazyImages: the shape and the indexing of an array, decoded when needed."""

import pickle
import warnings

import numpy as np
import pytest
from PIL import Image
from sample_images import make_scene
from sklearn.model_selection import KFold, train_test_split
from sklearn.utils import _safe_indexing

from skimgclf.exceptions import (
    ImageLoadError,
    ImageLoadWarning,
    InvalidParameterError,
    SkimgclfWarning,
)
from skimgclf.images import ImageLoader, LazyImages

SIZE = {"image_size": (9, 7), "color_mode": "rgb"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    scene = make_scene()
    for row in range(12):
        Image.fromarray(np.roll(scene, row, axis=1)).save(folder / f"{row:02}.png")
    return sorted(str(path) for path in folder.iterdir())


def load(paths, **parameters):
    return ImageLoader(**(SIZE | parameters)).transform(paths)


def load_lazily(paths, **parameters):
    return load(paths, lazy=True, **parameters)


def test_lazy_images_look_like_their_array(paths, decodes):
    for dtype in ["float32", "uint8"]:
        eager, lazy = load(paths, dtype=dtype), load_lazily(paths, dtype=dtype)
        decodes.clear()
        assert isinstance(lazy, LazyImages)
        for name in ["shape", "ndim", "dtype", "nbytes"]:
            assert getattr(lazy, name) == getattr(eager, name), name
        assert len(lazy) == 12
        assert repr(lazy) == f"LazyImages(shape=(12, 9, 7, 3), dtype={dtype})"
        assert decodes == []
        np.testing.assert_array_equal(np.asarray(lazy), eager)


KEYS = [
    slice(None),
    slice(3, 9),
    slice(None, None, -2),
    slice(20, 30),
    [4, 0, 4, -1],
    [],
    np.array([], dtype=int),
    np.array([7, 2], dtype=np.uint8),
    np.arange(12) % 3 == 0,
    [True, False] * 6,
    np.zeros(12, dtype=bool),
    (np.array([5, 1]), Ellipsis),
    (slice(2, 4), slice(None), slice(None)),
    Ellipsis,
    (),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_lazy_images_select_what_an_array_selects(paths, decodes, key):
    eager, lazy = load(paths), load_lazily(paths)
    decodes.clear()
    selected = lazy[key]
    assert decodes == []
    assert isinstance(selected, LazyImages)
    expected = eager[
        np.array([], dtype=int) if isinstance(key, list) and not key else key
    ]
    assert selected.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(selected), expected)


@pytest.mark.parametrize("key", [0, 11, -12, np.int64(3), np.array(3), (4, Ellipsis)])
def test_lazy_images_decode_one_image_for_an_int(paths, decodes, key):
    eager, lazy = load(paths), load_lazily(paths)
    decodes.clear()
    image = lazy[key]
    assert type(image) is np.ndarray
    np.testing.assert_array_equal(image, eager[key])
    assert len(decodes) == 1


@pytest.mark.parametrize(
    "key", [12, -13, [0, 12], [True, False], 1.0, [0.5], "a", None, (0, 1), [[0, 1]]]
)
def test_lazy_images_refuse_other_keys(paths, key):
    with pytest.raises(IndexError):
        load_lazily(paths)[key]


@pytest.mark.parametrize("key", [12, [0, 12]])
def test_lazy_images_say_how_many_they_are(paths, key):
    with pytest.raises(IndexError, match=r"index 12 .* with size 12"):
        load_lazily(paths)[key]


def test_lazy_images_are_a_sequence(paths):
    lazy = load_lazily(paths)
    np.testing.assert_array_equal(np.stack(list(lazy)), load(paths))


def test_lazy_images_go_through_splitters_undecoded(paths, decodes):
    lazy, labels = load_lazily(paths), np.arange(12) % 2
    parts = train_test_split(lazy, labels, stratify=labels, random_state=0)
    for train, _ in KFold(3).split(lazy):
        parts.append(_safe_indexing(lazy, train))
    assert decodes == []
    eager = load(paths)
    again = train_test_split(eager, labels, stratify=labels, random_state=0)
    np.testing.assert_array_equal(np.asarray(parts[0]), again[0])
    np.testing.assert_array_equal(np.asarray(parts[-1]), eager[:8])


def test_lazy_images_become_arrays_of_any_dtype(paths):
    lazy = load_lazily(paths, dtype="uint8")
    assert np.asarray(lazy, dtype="float64").dtype == "float64"
    assert lazy.__array__("float64").dtype == "float64"
    assert lazy.__array__(copy=True).dtype == "uint8"
    with pytest.raises(ValueError, match="without decoding"):
        lazy.__array__(copy=False)


def test_lazy_images_warn_before_they_fill_the_memory(decodes):
    """The warning comes first: here it is an error, and nothing is decoded."""
    lazy = ImageLoader(image_size=(8192, 8192), lazy=True).transform(["a.png"] * 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkimgclfWarning)
        with pytest.raises(SkimgclfWarning, match=r"All 5 images .* of 1\.2 GiB"):
            np.asarray(lazy)
    assert decodes == []


def test_lazy_images_pickle(paths):
    lazy = load_lazily(paths)[3:]
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(np.asarray(again), load(paths)[3:])


def test_lazy_images_use_the_cache(paths, tmp_path, decodes):
    lazy = load_lazily([*paths, b"no image"][:-1], cache=tmp_path / "cache", n_jobs=2)
    for _ in range(3):
        np.asarray(lazy[::-1]), lazy[3], lazy.read(slice(4, 8))
    assert len(decodes) <= len(paths)


def test_lazy_images_name_the_row_of_the_first_list(paths):
    """However they were selected since."""
    mixed = [*paths[:5], "missing.png", *paths[5:]]
    lazy = load_lazily(mixed)  # nothing is read, and so nothing is missing yet
    selected = lazy[::-1][[7, 6, 5]][:2]
    with pytest.raises(ImageLoadError, match=r"'missing.png' \(row 5\): there is no"):
        np.asarray(lazy[::-1][4:8])
    with pytest.raises(ImageLoadError, match=r"row 5"):
        lazy[5]
    np.testing.assert_array_equal(np.asarray(selected[1:]), load(mixed[6:7]))
    filled = load_lazily(mixed, on_error="fill", background="black")
    with pytest.warns(ImageLoadWarning, match=r"row 5") as caught:
        assert (filled[5] == 0).all()
    assert caught[0].filename == __file__
    images, errors = filled.read(slice(4, 7))
    assert images.shape == (3, 9, 7, 3)
    assert [row for row, _, _ in errors] == [5]


def test_lazy_loader_refuses_flatten_and_an_empty_list(paths):
    with pytest.raises(InvalidParameterError, match=r"'lazy' .* flatten=True"):
        load_lazily(paths, flatten=True)
    with pytest.raises(InvalidParameterError, match="at least one image"):
        load_lazily([])
