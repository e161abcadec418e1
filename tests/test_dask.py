"""Searches and loading on a Dask cluster of two worker processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from campaign_counts import show_counts
from dask.distributed import Client, LocalCluster
from PIL import Image
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader
from skimgclf.exceptions import ImageLoadError

ROOT = Path(__file__).parents[1]
N_SPLITS = 2


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Start two processes of one thread each, which talk over the loopback."""
    folder = tmp_path_factory.mktemp("dask")
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=folder,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def threads():
    """Start a cluster of two threads of this process, which takes less time."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """300 real digits as files, and their labels."""
    folder = tmp_path_factory.mktemp("digits")
    X, y = digits
    paths = [str(folder / f"{row}.png") for row in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray((image[:, :, 0] * 255).astype(np.uint8)).save(path)
    return np.array(paths, dtype=object), y


def build_narrow(image_shape):
    """Build a network; workers get the function by its code, as from a script."""
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(8, activation="relu")]
    return keras.Sequential([keras.Input(image_shape), *layers])


build_narrow.__module__ = "__main__"


def make_search(score, *, cv=N_SPLITS, cache=None, **parameters):
    from skimgclf import KerasImageClassifier

    classifier = KerasImageClassifier(hidden_layer_sizes=(8,), random_state=0)
    loader = ImageLoader(image_size=(8, 8), cache=cache)
    pipeline = Pipeline([("load", loader), ("classify", classifier)])
    grid = {
        "classify__architecture": ["dense", build_narrow],
        "classify__epochs": [2],
        "classify__learning_rate": [0.01],
    }
    return GridSearchCV(
        pipeline,
        {**grid, **parameters},
        cv=cv,
        scoring=score,
        refit=False,
        error_score="raise",
    )


def scores_of(search):
    rows = [search.cv_results_[f"split{i}_test_accuracy"] for i in range(N_SPLITS)]
    return np.stack(rows)


def score(estimator, X, y):
    return {"accuracy": estimator.score(X, y), "process": os.getpid()}


class ScoreAndDie:
    """A scorer that kills its process, the first time that it is called anywhere."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __call__(self, estimator, X, y):
        result = score(estimator, X, y)
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return result
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def expected(files):
    """Score in one process."""
    return scores_of(make_search(score).fit(*files))


@pytest.mark.slow
def test_dask_workers_load_without_tensorflow(client, files):
    """A fresh worker decodes its part of the images and stays small."""
    paths, _ = files
    client.restart()
    loader = ImageLoader()
    with joblib.parallel_config(backend="dask"):
        parts = joblib.Parallel()(
            joblib.delayed(loader.transform)(part) for part in np.array_split(paths, 4)
        )
    np.testing.assert_array_equal(np.concatenate(parts), loader.transform(paths))
    # Not by a function of this file, with which workers would import what it imports.
    modules = client.run(eval, "sorted(__import__('sys').modules)")
    for names in modules.values():
        assert "PIL.Image" in names
        assert not {"tensorflow", "keras", "scikeras", "matplotlib"} & set(names)


@pytest.mark.parametrize(
    "cluster", ["threads", pytest.param("client", marks=pytest.mark.slow)]
)
def test_dask_workers_decode_by_one_thread_each(request, cluster):
    """Unless told otherwise, however many workers the cluster has."""
    request.getfixturevalue(cluster)
    paths = ["none.png"] * 4  # never decoded
    for n_jobs, expected in [(None, 1), (3, 3)]:
        X = ImageLoader(lazy=True, n_jobs=n_jobs).transform(paths)
        with joblib.parallel_config(backend="dask"):
            assert X.n_threads == expected
            counts = joblib.Parallel()([joblib.delayed(getattr)(X, "n_threads")] * 2)
        assert counts == [expected, expected]


# That the error survives pickling is seen in `test_images_sources.py`.
@pytest.mark.slow
def test_dask_brings_back_the_loaders_own_error(client, files):
    paths, _ = files
    with joblib.parallel_config(backend="dask"):
        parallel = joblib.Parallel()
        with pytest.raises(ImageLoadError, match=r"^'lost.png' \(row 1\)") as caught:
            parallel(
                joblib.delayed(ImageLoader().transform)([path, "lost.png"])
                for path in paths[:3]
            )
    assert caught.value.path == "lost.png"


@pytest.mark.slow
def test_dask_search_gives_the_same_scores(client, files, expected):
    """Bit for bit, from both worker processes and not from this one."""
    with joblib.parallel_config(backend="dask"):
        search = make_search(score).fit(*files)
    np.testing.assert_array_equal(scores_of(search), expected)
    noted = [search.cv_results_[f"split{i}_test_process"] for i in range(N_SPLITS)]
    workers = set(client.run(os.getpid).values())
    assert set(np.concatenate(noted)) <= workers
    assert len(workers | {os.getpid()}) == 3


@pytest.mark.slow
@pytest.mark.campaign
def test_dask_search_survives_a_killed_worker(client, files, tmp_path, expected):
    """With data and splits on every worker, as the user guide shows."""
    paths, y = files
    before = set(client.run(os.getpid).values())
    splits = list(StratifiedKFold(N_SPLITS).split(paths, y))
    shared = [paths, y, *(rows for split in splits for rows in split)]
    client.amm.stop()
    with joblib.parallel_config(backend="dask", scatter=shared):
        search = make_search(ScoreAndDie(tmp_path / "mark"), cv=splits).fit(paths, y)
    np.testing.assert_array_equal(scores_of(search), expected)
    # Whether Dask starts another worker in its place is Dask's own affair.
    lost = len(before - set(client.run(os.getpid).values()))
    show_counts("Dask searches", workers_lost=lost, wrong_scores=0)
    assert lost == 1


def enter_home(home):
    """Give this worker a home directory of its own, as on a machine of its own."""
    os.environ["HOME"] = f"{home}/{os.getpid()}"
    os.mkdir(os.environ["HOME"])


@pytest.mark.slow
def test_dask_workers_cache_on_their_own_disks(client, files, tmp_path, expected):
    """One path means another directory on each machine."""
    client.run(enter_home, str(tmp_path))
    with joblib.parallel_config(backend="dask"):
        search = make_search(score, cache="~/skimgclf-cache").fit(*files)
    np.testing.assert_array_equal(scores_of(search), expected)
    noted = [search.cv_results_[f"split{i}_test_process"] for i in range(N_SPLITS)]
    caches = tmp_path.glob("*/skimgclf-cache/*.sqlite")
    assert {cache.parts[-3] for cache in caches} == {
        str(int(process)) for process in np.concatenate(noted)
    }


@pytest.mark.slow
def test_dask_example_finds_equal_scores(tmp_path):
    """Its pipeline and its architecture are made in the script itself."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "search_on_dask.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "build_pooled" in done.stdout
    assert "Worker processes: 2" in done.stdout
    assert "The scores are equal." in done.stdout
