"""A search on a Dask cluster: the same scores, from other processes.

A grid search over two architectures, one of them a function of this script, runs in
this process and then on a cluster of two worker processes, which here are on this
machine; for several machines, give `Client` the address of a cluster. The scores are
equal bit for bit. The user guide says what each line of `fit_on_cluster` is for.

Run it with ``python examples/search_on_dask.py``. It needs ``skimgclf[dask]``, takes
about half a minute on two cores, and writes scikit-learn's digits as PNG files and the
cache of decoded images into the folder ``skimgclf-dask`` below the current one.
"""

import os

# TensorFlow's C++ side reports its CPU features on stderr unless told otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import joblib
import keras
import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_digit_images

N_IMAGES = 600

# Two processes of one thread each; any free port of this machine for the dashboard.
CLUSTER = {
    "n_workers": 2,
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
}


def build_pooled(image_shape, *, conv_filters):
    """Build a network of strided convolutions; workers get it from this script."""
    inputs = x = keras.Input(image_shape)
    for n_filters in conv_filters:
        x = keras.layers.Conv2D(n_filters, 3, strides=2, activation="relu")(
            x
        )
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def score_and_note_process(estimator, X, y):
    """Return the accuracy, and the number of the process that computed it."""
    return {"accuracy": estimator.score(X, y), "process": os.getpid()}


def make_search(cache):
    """Make the search, which doesn't know where it will run."""
    loader = ImageLoader(image_size=(16, 16), cache=cache)
    classifier = KerasImageClassifier(
        epochs=15, learning_rate=0.01, random_state=0
    )
    pipeline = Pipeline([("load", loader), ("classify", classifier)])
    return GridSearchCV(
        pipeline,
        {"classify__architecture": ["dense", build_pooled]},
        scoring=score_and_note_process,
        refit="accuracy",
        error_score="raise",
    )


def fit_on_cluster(search, paths, y):
    """Run a search on a cluster, and survive the loss of a worker."""
    splits = list(StratifiedKFold(2).split(paths, y))
    search.set_params(cv=splits)
    shared = [paths, y, *(rows for split in splits for rows in split)]
    with (
        LocalCluster(**CLUSTER) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask", scatter=shared),
    ):
        client.amm.stop()
        search.fit(paths, y)


def collect(search, name):
    """Return what a scorer gave in each split, (n_candidates, n_splits)."""
    splits = range(search.n_splits_)
    return np.stack(
        [search.cv_results_[f"split{i}_test_{name}"] for i in splits], 1
    )


def main(folder="skimgclf-dask"):
    """Search in this process and on a cluster, and compare."""
    folder = Path(folder).absolute()
    folder.mkdir(exist_ok=True)
    paths, y = load_digit_images(folder, return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(paths))[:N_IMAGES]
    paths, y = paths[chosen], y[chosen]
    search = make_search(folder / "cache")
    search.set_params(cv=2, refit=False).fit(paths, y)
    here = collect(search, "accuracy")

    search = make_search(folder / "cache")
    fit_on_cluster(search, paths, y)
    there = collect(search, "accuracy")
    processes = set(collect(search, "process").astype(int).flat)

    for candidate, scores in zip(
        search.cv_results_["params"], there, strict=True
    ):
        architecture = candidate["classify__architecture"]
        print(
            getattr(architecture, "__name__", architecture), scores.round(3)
        )
    print(f"Worker processes: {len(processes - {os.getpid()})}")
    print(
        f"The scores are {'equal' if np.array_equal(here, there) else 'NOT equal'}."
    )


if __name__ == "__main__":
    main()
