"""ImageLoader: its parameters, its output, and how it works in scikit-learn."""

import inspect
import pickle
import threading
import time
import types

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from loader_images import write_five_formats
from PIL import Image
from sample_images import make_corpus
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.images import ImageLoader, _threads, read_image

# For each parameter a value that isn't its default.
OTHER_VALUES = {
    "image_size": (10, 12),
    "color_mode": "rgb",
    "resize_mode": "crop",
    "interpolation": "nearest",
    "background": "black",
    "dtype": "uint8",
    "flatten": True,
    "on_error": "fill",
    "max_pixels": 10_000,
    "color_management": False,
    "storage_options": {"anon": True},
    "cache": "cache",
    "cache_limit": 1_000_000,
    "lazy": True,
    "n_jobs": 2,
    "verbose": 1,
}


PIXEL_PARAMETERS = {
    "image_size",
    "color_mode",
    "resize_mode",
    "interpolation",
    "background",
    "dtype",
    "flatten",
}


BAD_VALUES = [
    ("image_size", (0, 8)),
    ("color_mode", "gray"),
    ("resize_mode", "fit"),
    ("interpolation", "cubic"),
    ("background", "no colour"),
    ("dtype", "float64"),
    ("flatten", 1),
    ("on_error", "skip"),
    ("max_pixels", 0),
    ("color_management", 1),
    ("cache", ""),
    ("cache_limit", 0),
    ("lazy", 1),
    ("n_jobs", 0),
    ("n_jobs", 1.0),
    ("n_jobs", True),
    ("verbose", -1),
    ("verbose", "yes"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_five_formats(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def paths(folder):
    return sorted(str(path) for path in folder.glob("?.*"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    paths = []
    for row in range(300):
        paths.append(str(folder / f"{row}.png"))
        pixels = (images[row].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    return paths, labels[:300].astype(str)


def test_loader_parameters_are_keyword_only_and_plain():
    """No positional parameters, no *args, and the values tests know of."""
    parameters = inspect.signature(ImageLoader).parameters
    assert set(parameters) == set(OTHER_VALUES)
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        ImageLoader((28, 28))
    with pytest.raises(TypeError, match="imgsize"):
        ImageLoader(imgsize=(28, 28))


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_loader_get_and_set_every_parameter(name):
    """Each parameter can be set, is stored as given and survives clone and pickle."""
    value = OTHER_VALUES[name]
    assert getattr(ImageLoader(), name) != value
    loader = ImageLoader(**{name: value})
    assert getattr(loader, name) is value
    assert loader.get_params()[name] == value
    assert getattr(ImageLoader().set_params(**{name: value}), name) is value
    for copy in [clone(loader), pickle.loads(pickle.dumps(loader))]:
        assert copy.get_params() == loader.get_params()
    assert f"{name}=" in repr(loader)
    with pytest.raises(ValueError, match="Invalid parameter"):
        loader.set_params(**{name + "s": value})


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_loader_refuses_bad_values(name, value, paths):
    """Bad values are stored without a word and refused by fit and by transform."""
    loader = ImageLoader(**{name: value})
    for method in [loader.fit, loader.transform]:
        start = f"The '{name}' parameter of ImageLoader must be"
        with pytest.raises(InvalidParameterError, match=start) as caught:
            method(paths)
        assert str(caught.value).endswith(f"Got {value!r} instead.")


def test_loader_fit_learns_and_changes_nothing(paths):
    """After fit the loader is what it was, without learnt attributes."""
    loader = ImageLoader(image_size=[9, 9])
    before = dict(vars(loader))
    assert loader.fit(paths) is loader
    assert vars(loader) == before
    assert loader.fit(["there is no such file"], [0]) is loader


def test_loader_is_stateless(paths):
    """Transform works without fit, and gives what fit_transform gives."""
    check_is_fitted(ImageLoader())
    X = ImageLoader().transform(paths)
    assert np.array_equal(ImageLoader().fit_transform(paths), X)
    assert np.array_equal(ImageLoader().fit(paths[:1]).transform(paths), X)


def test_loader_tags_are_honest():
    """Tags say that no fit is needed and that strings come in, not 2-D numbers."""
    tags = get_tags(ImageLoader())
    assert tags.requires_fit is False
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.allow_nan
    assert not tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == []


def test_loader_has_a_html_representation():
    """The HTML diagram of a notebook shows the loader, alone and in a pipeline."""
    pipeline = Pipeline([("load", ImageLoader(color_mode="rgb"))])
    for estimator in [ImageLoader(), pipeline]:
        assert "ImageLoader" in estimator._repr_html_()


def test_loader_output_is_wrapped_as_columns_only(paths):
    """set_output's global setting leaves the 4-D array alone."""
    assert not hasattr(ImageLoader(), "get_feature_names_out")
    columns = ImageLoader(flatten=True, image_size=(2, 3), color_mode="rgb")
    with sklearn.config_context(transform_output="pandas"):
        assert type(ImageLoader().fit_transform(paths)) is np.ndarray
        frame = columns.fit_transform(paths)
    np.testing.assert_array_equal(frame.to_numpy(), columns.transform(paths))
    assert list(frame.columns) == list(columns.get_feature_names_out())


def test_columns_have_names_through_a_column_transformer(paths):
    loader = ImageLoader(flatten=True, image_size=(2, 2))
    transformer = ColumnTransformer([("pixels", loader, ["path"])])
    transformer.fit(pd.DataFrame({"path": paths}))
    names = [f"pixels__imageloader{n}" for n in range(4)]
    assert list(transformer.get_feature_names_out()) == names


def test_loader_output_is_contiguous_and_typed(paths):
    """(n, h, w, c) in C order, float32 in [0, 1] or uint8."""
    for dtype, top in [("float32", 1), ("uint8", 255)]:
        X = ImageLoader(image_size=(7, 9), color_mode="rgb", dtype=dtype).transform(
            paths
        )
        assert X.shape == (5, 7, 9, 3)
        assert X.dtype == dtype
        assert X.flags.c_contiguous
        assert X.flags.writeable
        assert 0.5 * top < X.max() <= top


def test_loader_rows_are_what_read_image_reads(paths):
    """Row i is image i, with the loader's parameters handed on."""
    options = {
        name: OTHER_VALUES[name]
        for name in [
            "image_size",
            "color_mode",
            "resize_mode",
            "interpolation",
            "background",
            "dtype",
            "max_pixels",
            "color_management",
        ]
    }
    X = ImageLoader(**options).transform(paths)
    for row, path in zip(X, paths, strict=True):
        assert np.array_equal(row, read_image(path, **options))


@pytest.mark.parametrize(
    "name",
    [name for name in OTHER_VALUES if name in PIXEL_PARAMETERS],
)
def test_loader_parameter_changes_the_result(name, paths):
    """Changing a parameter that concerns pixels changes the array."""
    X = ImageLoader().transform(paths)
    other = ImageLoader(**{name: OTHER_VALUES[name]}).transform(paths)
    assert other.shape != X.shape or not np.array_equal(other, X)


def test_loader_flatten_gives_one_row_an_image(paths):
    """flatten=True is the same numbers in two dimensions, for float32 only."""
    X = ImageLoader(image_size=(6, 5), color_mode="rgb").transform(paths)
    flat = ImageLoader(image_size=(6, 5), color_mode="rgb", flatten=True)
    assert np.array_equal(flat.transform(paths), X.reshape(5, 90))
    flat.set_params(dtype="uint8")
    with pytest.raises(InvalidParameterError, match=r"'dtype' .* flatten=True"):
        flat.fit(paths)


def test_loader_row_does_not_depend_on_its_batch():
    """One image alone gives the same bits as among others, for any n_jobs."""
    cells = [sample.content for sample in make_corpus() if sample.gray is not None]
    X = ImageLoader(color_mode="rgb").transform(cells)
    for row in range(0, len(cells), 13):
        alone = ImageLoader(color_mode="rgb").transform(cells[row : row + 1])
        assert np.array_equal(alone[0], X[row])
    loader = ImageLoader(color_mode="rgb", n_jobs=2)
    assert np.array_equal(loader.transform(cells), X)


class SlowPath:
    """A path that takes a while, and notes which threads read it."""

    def __init__(self):
        self.threads = set()

    def __fspath__(self):
        time.sleep(0.01)
        self.threads.add(threading.current_thread().name)
        return "missing.png"


@pytest.mark.parametrize(("n_jobs", "config"), [(2, {}), (None, {"n_jobs": 2})])
def test_loader_n_jobs_decides_on_threads(n_jobs, config):
    """Several threads read slow images with n_jobs=2 or in a parallel_config."""
    path = SlowPath()
    with joblib.parallel_config(**config), pytest.raises(ImageLoadError) as caught:
        ImageLoader(n_jobs=n_jobs).transform([path] * 20)
    assert [row for row, _, _ in caught.value.errors] == list(range(20))
    # The first few show that they are slow; then two others share the work.
    assert len(path.threads) == 3


def test_loader_reads_in_one_thread_without_n_jobs():
    """However slow the images are."""
    path = SlowPath()
    with pytest.raises(ImageLoadError):
        ImageLoader().transform([path] * 10)
    assert path.threads == {threading.current_thread().name}


def test_loader_reads_quick_images_in_one_thread(monkeypatch):
    """One hold-up brings no threads in; rows that are slow at last do."""
    clock = 0.0
    rows = {}
    milliseconds = [0.1] * 200 + [50] + [0.1] * 200 + [1] * 200

    def work(chunk):
        nonlocal clock
        for row in chunk:
            clock += milliseconds[row] / 1000
            rows[row] = threading.current_thread() is threading.main_thread()

    clocks = types.SimpleNamespace(perf_counter=lambda: clock)
    monkeypatch.setattr(_threads, "time", clocks)
    _threads.run_chunks(work, 601, n_jobs=2, verbose=0, description="")
    assert sorted(rows) == list(range(601))
    assert all(rows[row] for row in range(401))
    assert not rows[600]


def test_loader_without_threads_works_in_whole_chunks():
    """So that a batch from the cache takes one look at its file."""
    sizes = []
    _threads.run_chunks(
        lambda chunk: sizes.append(len(chunk)),
        70,
        n_jobs=1,
        verbose=0,
        description="",
    )
    assert sizes == [32, 32, 6]


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_loader_uses_threads_under_any_backend(backend, paths):
    """A process backend asked for elsewhere doesn't take the output array away."""
    X = ImageLoader().transform(paths)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert np.array_equal(ImageLoader().transform(paths), X)


def test_loader_verbose_shows_progress(capsys, paths):
    """A bar on stderr, only on request."""
    ImageLoader().transform(paths)
    assert capsys.readouterr().err == ""
    ImageLoader(verbose=1).transform(paths)
    captured = capsys.readouterr()
    assert "Loading" in captured.err
    assert "5/5" in captured.err
    assert captured.out == ""


def test_loader_stops_at_an_interrupt():
    """Ctrl-C during a load comes through, with threads too."""

    class Interrupt:
        def __fspath__(self):
            raise KeyboardInterrupt

    for n_jobs in [1, 2]:
        with pytest.raises(KeyboardInterrupt):
            ImageLoader(n_jobs=n_jobs).transform([Interrupt()] * 3)


def test_loader_feeds_any_classifier(digits):
    """Pipeline, train_test_split and score work on paths."""
    paths, labels = digits
    parts = train_test_split(paths, labels, test_size=0.2, random_state=42)
    train, test, y_train, y_test = parts
    pipeline = Pipeline(
        [
            ("load", ImageLoader(image_size=(8, 8), flatten=True)),
            ("classify", LogisticRegression(max_iter=300)),
        ]
    )
    assert pipeline.fit(train, y_train).score(test, y_test) > 0.85
    again = pickle.loads(pickle.dumps(pipeline))
    assert np.array_equal(again.predict_proba(test), pipeline.predict_proba(test))


@pytest.mark.slow
def test_loader_is_searched(digits):
    """GridSearchCV tunes the loader's parameters, in processes too."""
    paths, labels = digits
    pipeline = Pipeline(
        [
            ("load", ImageLoader(flatten=True)),
            ("classify", LogisticRegression(max_iter=200, C=0.1)),
        ]
    )
    grid = {"load__image_size": [(2, 2), (8, 8)]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(paths, labels)
    assert search.best_params_ == {"load__image_size": (8, 8)}
    assert search.best_score_ > 0.8
    with pytest.raises(ImageLoadError, match=r"missing\.png"):
        search.fit([*paths[:-1], "missing.png"], labels)


def test_loader_takes_what_meta_estimators_pass(digits):
    """Bagging passes (n, 1) arrays, ColumnTransformer one-column tables."""
    paths, labels = digits[0][:100], digits[1][:100]
    column = np.array(paths, dtype=object)[:, np.newaxis]
    pipeline = Pipeline(
        [
            ("load", ImageLoader(image_size=(8, 8), flatten=True)),
            ("classify", LogisticRegression(max_iter=200)),
        ]
    )
    table = pd.DataFrame({"file": paths, "size": np.arange(100.0)})
    columns = ColumnTransformer(
        [("images", ImageLoader(image_size=(8, 8), flatten=True), ["file"])],
        remainder="passthrough",
    )
    assert columns.fit_transform(table).shape == (100, 65)
    bagging = BaggingClassifier(pipeline, n_estimators=2, random_state=0)
    assert bagging.fit(column, labels).score(column, labels) > 0.9


def test_storage_options_are_never_shown():
    """By the loader, by what holds it, by an error, in a notebook."""
    options = {"anon": False, "key": "hush", "s3": {"secret": "hush", "token": b"hush"}}
    loader = ImageLoader(storage_options=options)
    pipeline = Pipeline([("load", loader), ("classify", LogisticRegression())])
    search = GridSearchCV(pipeline, {"load__image_size": [(2, 2)]})
    holders = [loader, pipeline, search, clone(search)]
    shown = [each._repr_html_() for each in holders]
    shown += [
        repr(each) for each in [*holders, loader.get_params(), search.get_params()]
    ]
    assert "hush" not in "".join(shown)
    assert "'secret': ***" in repr(pipeline)
    for wrong in [{1: "hush"}, [("key", "hush")], "hush"]:
        with pytest.raises(ValueError, match="'storage_options'") as caught:
            ImageLoader(storage_options=wrong).fit(["a.png"])
        assert "hush" not in str(caught.value)
    # They are what was given, all the same.
    assert clone(loader).storage_options == loader.get_params()["storage_options"]
    assert loader.storage_options is options
