"""What a search over a pipeline from image files costs, and how often it decodes.

A grid search of 6 candidates, 5 folds and a refit over a pipeline from 1,000 JPEG files
to the textbook's network (28x28 in gray, 10 epochs), once with files of 500x375 pixels
and once of 2048x1536:

- skimgclf with a cache that is empty at first, with one process and with two
- a pipeline of Pillow's open, convert and resize, and scikeras' KerasClassifier: plain,
  and with scikit-learn's own ``Pipeline(memory=...)``
- skimgclf's classifier alone, on the array of all images: what training costs when
  there is nothing to load
- scikit-learn's `MLPClassifier` with the same layers, alone on the rows of that array

Training alone, skimgclf with a cache and MLPClassifier run five times, in turn, to show
how much runs differ, and the medians are given. Each run has a process of its own, in
which a small fit comes first and isn't timed (it loads what TensorFlow loads late); the
workers of a search with two processes start within the time. Decodes are counted by
the openings of image files, which Python reports to an audit hook in every process that
takes part. "Decode pass" is what loading all files once takes with skimgclf, in one
thread.

Where an alternative would take many minutes, fewer of the candidates run and the rest
is projected, marked by a ~: every candidate after the first has the same work to do,
and GridSearchCV says how long each took. ``--whole`` projects nothing.

Takes about twenty minutes on two cores; a minute with ``--quick``.

Run it with ``python examples/benchmarks/search.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import collections
import statistics
import sys
import tempfile
import time

import numpy as np
from _measure import (
    answer_alone,
    print_goals,
    print_summary,
    read_arguments,
    report_progress,
    run_alone,
)
from _photos import count_bytes, make_photos
from _report import describe_run, print_table, save_bars

HIDDEN_LAYER_SIZES = [(40, 20, 10), (40, 20), (20, 10), (64,), (32,), (16,)]
N_FOLDS, EPOCHS, BATCH_SIZE, N_CLASSES, SIZE = 5, 10, 32, 4, 28
N_QUICK_FOLDS, N_QUICK_CANDIDATES, N_QUICK_FILES = 2, 2, 40

N_FILES = 1000
# How often the contestants run that are close to each other.
N_ROUNDS = 5
SETS = {"crops": "500x375", "mosaics": "2048x1536"}
# So many files of a set differ; the others are hard links (to save a gigabyte).
N_DISTINCT = {"crops": 1000, "mosaics": 100}

ALONE, ALONE_TWO = "training alone", "training alone, n_jobs=2"
CACHED, CACHED_TWO = "skimgclf, cache", "skimgclf, cache, n_jobs=2"
MLP = "MLPClassifier alone"
MEMORY = "plain loading + scikeras, Pipeline(memory=)"
PLAIN = "plain loading + scikeras"

# Contestants that get the array of all images.
IN_MEMORY = {ALONE, ALONE_TWO, MLP}

# So many of the candidates of these are run where nothing else is asked for.
PROJECTED = {MEMORY: 2, PLAIN: 2}

# What is searched: n_candidates and n_folds.
Grid = collections.namedtuple("Grid", ["n_candidates", "n_folds"])

# Put on the path of all processes of a search, as a module that Python imports when it
# starts: it appends a byte to a file for each image file opened.
COUNTER = """
import os, sys
_folder, _log = os.environ["COUNTED_FOLDER"], os.environ["COUNTED_LOG"]
_descriptor = os.open(_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def _count(event, arguments):
    if event == "open" and str(arguments[0]).startswith(_folder):
        os.write(_descriptor, b".")
sys.addaudithook(_count)
"""


def load_plainly(paths):
    """Load images as one does with Pillow."""
    from PIL import Image

    images = []
    for path in paths:
        image = Image.open(path).convert("L").resize((SIZE, SIZE))
        images.append(np.asarray(image, dtype="float32")[:, :, np.newaxis] / 255)
    return np.stack(images)


def build_plainly(hidden_layer_sizes, meta):
    """Build the textbook's network for scikeras."""
    import keras

    layers = [keras.layers.Dense(n_units, "relu") for n_units in hidden_layer_sizes]
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            keras.layers.Flatten(),
            *layers,
            keras.layers.Dense(meta["n_classes_"], "softmax"),
        ]
    )


def make_ours(cache=None):
    """Make skimgclf's pipeline, or with no cache its classifier."""
    from sklearn.pipeline import Pipeline

    from skimgclf import ImageLoader, KerasImageClassifier

    classifier = KerasImageClassifier(
        epochs=EPOCHS, batch_size=BATCH_SIZE, random_state=0
    )
    if cache is None:
        return classifier, "hidden_layer_sizes"
    steps = [("load", ImageLoader(cache=cache)), ("classify", classifier)]
    return Pipeline(steps), "classify__hidden_layer_sizes"


def make_plain(memory=None):
    """Make the pipeline that one writes without skimgclf."""
    from scikeras.wrappers import KerasClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    classifier = KerasClassifier(
        build_plainly,
        hidden_layer_sizes=HIDDEN_LAYER_SIZES[0],
        optimizer="adam",
        loss="sparse_categorical_crossentropy",
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        random_state=0,
        verbose=0,
    )
    steps = [("load", FunctionTransformer(load_plainly)), ("classify", classifier)]
    return Pipeline(steps, memory=memory), "classify__hidden_layer_sizes"


def make_mlp():
    """Make scikit-learn's network, which takes rows."""
    from sklearn.neural_network import MLPClassifier

    # As in networks.py: no penalty of weights, and ten epochs, converged or not.
    classifier = MLPClassifier(
        alpha=0, batch_size=BATCH_SIZE, max_iter=EPOCHS, random_state=0
    )
    return classifier, "hidden_layer_sizes"


def search(name, photos, folder, n_candidates, n_folds):
    """Run one search.

    Parameters
    ----------
    name : str
        Which contestant.
    photos, folder : str
        Where the image files are, and where to keep what is kept.
    n_candidates, n_folds : int

    Returns
    -------
    result : dict
        With the keys seconds (wall time), later (seconds of a candidate after the
        first, summed over folds) and pass (seconds to load all images once, for
        training alone).
    """
    import warnings

    from sklearn.model_selection import GridSearchCV

    warnings.simplefilter("ignore")
    X = np.array(sorted(entry.path for entry in os.scandir(photos)), dtype=object)
    y = np.arange(len(X)) % N_CLASSES
    result = {}
    if name in IN_MEMORY:
        started = time.perf_counter()
        X = _load_all(X)
        result["pass"] = time.perf_counter() - started
        estimator, parameter = make_mlp() if name == MLP else make_ours()
        X = X.reshape(len(X), -1) if name == MLP else X
    elif name in {CACHED, CACHED_TWO}:
        estimator, parameter = make_ours(os.path.join(folder, "cache"))
    else:
        memory = os.path.join(folder, "memory") if name == MEMORY else None
        estimator, parameter = make_plain(memory)
    _warm_up(make_plain() if name in {MEMORY, PLAIN} else make_ours())
    grid = {parameter: HIDDEN_LAYER_SIZES[:n_candidates]}
    n_jobs = 2 if name in {ALONE_TWO, CACHED_TWO} else 1
    grid_search = GridSearchCV(
        estimator, grid, cv=n_folds, n_jobs=n_jobs, error_score="raise"
    )
    started = time.perf_counter()
    grid_search.fit(X, y)
    result["seconds"] = time.perf_counter() - started
    times = grid_search.cv_results_
    sums = (times["mean_fit_time"] + times["mean_score_time"]) * n_folds
    result["later"] = float(sums[1:].mean()) if n_candidates > 1 else None
    return result


def _load_all(paths):
    from skimgclf import ImageLoader

    return ImageLoader(n_jobs=1).transform(paths)


def _warm_up(pipeline):
    """Fit on a few images without files: TensorFlow loads much at the first fit."""
    # With two classes: skimgclf shares a traced program between fits of one network.
    estimator, _ = pipeline
    classifier = estimator[-1] if hasattr(estimator, "steps") else estimator
    X = np.zeros((64, SIZE, SIZE, 1), dtype="float32")
    classifier.set_params(epochs=1).fit(X, np.arange(64) % 2).predict(X)


def run_search(name, photos, n_files, grid):
    """Run one search in a process of its own, with its decodes counted.

    Parameters
    ----------
    name : str
    photos : str
    n_files : int
    grid : Grid
        Of which fewer candidates are run if `PROJECTED` says so.

    Returns
    -------
    result : dict
        As from `search`, and decodes; or the key error.
    """
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "sitecustomize.py"), "w") as file:
            file.write(COUNTER)
        log = os.path.join(folder, "opened")
        environment = {
            "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]),
            "COUNTED_FOLDER": photos,
            "COUNTED_LOG": log,
        }
        result = run_alone(
            __file__, "search", name, photos, folder, *grid, environment=environment
        )
        if "error" in result:
            return result
        result["decodes"] = os.path.getsize(log)
        if name in IN_MEMORY:
            result["decodes"] -= n_files  # made ready beforehand
        return result


def project(result, name, n_files, n_missing, n_folds):
    """Add to a search the candidates that haven't run.

    Returns
    -------
    result : dict
        As from `run_search`.
    """
    if n_missing == 0 or "error" in result:
        return result
    # Over all folds, a later candidate trains on each image n_folds - 1 times (these
    # are kept by Pipeline(memory=)) and scores on each once (not kept).
    n_trained = 0 if name == MEMORY else n_files * (n_folds - 1)
    return {
        "seconds": result["seconds"] + n_missing * result["later"],
        "decodes": result["decodes"] + n_missing * (n_files + n_trained),
    }


def compare(photos, n_files, grid, n_run, is_quick):
    """Run all contestants and print a table.

    Parameters
    ----------
    photos : str
        The folder of the image files.
    n_files : int
        How many there are.
    grid : Grid
    n_run : dict of str to int
        How many candidates run, for contestants that don't run all.
    is_quick : bool
        Whether to run each only once.

    Returns
    -------
    results : dict of str to dict
        As from `run_search`; medians of those that run several times.
    """
    order = [ALONE, CACHED, MLP] * (1 if is_quick else N_ROUNDS)
    order += [ALONE_TWO, CACHED_TWO, MEMORY, PLAIN]
    runs = {name: [] for name in order}
    for name in order:
        report_progress(name)
        n_missing = grid.n_candidates - n_run.get(name, grid.n_candidates)
        part = grid._replace(n_candidates=grid.n_candidates - n_missing)
        result = run_search(name, photos, n_files, part)
        runs[name].append(project(result, name, n_files, n_missing, grid.n_folds))
    results = {}
    for name, several in runs.items():
        failed = [run for run in several if "error" in run]
        results[name] = failed[0] if failed else _take_median(several)
    rows = [
        _describe(name, result, results[PLAIN], "~" if name in n_run else "")
        for name, result in results.items()
    ]
    print_table(["search", "seconds", "decodes", "plain / it"], rows)
    if "error" not in results[ALONE]:
        print(f"\nA decode pass takes {results[ALONE]['pass']:.2f} s.")
        close = ALONE, CACHED, MLP
        for name in [name for name in close if "error" not in results[name]]:
            spread = ", ".join(f"{run['seconds']:.1f} s" for run in runs[name])
            print(f"The runs of {name}: {spread}.")
    return results


def _take_median(runs):
    return {
        key: statistics.median(run[key] for run in runs)
        for key, value in runs[0].items()
        if value is not None
    }


def _describe(name, result, plain, mark):
    if "error" in result:
        return [name, result["error"], "-", "-"]
    speed_up = "-"
    if "error" not in plain:
        speed_up = f"{plain['seconds'] / result['seconds']:.1f}"
    seconds, decodes = f"{result['seconds']:.1f}", f"{result['decodes']:.0f}"
    return [name, mark + seconds, mark + decodes, speed_up]


def main(quick=False, plots=None, whole=False):
    """Search over both sets of photographs."""
    print(describe_run("pillow", "scikit-learn", "scikeras", "keras", "tensorflow"))
    grid = Grid(len(HIDDEN_LAYER_SIZES), N_FOLDS)
    n_files, n_run = N_FILES, {} if whole else PROJECTED
    if quick:
        grid = Grid(N_QUICK_CANDIDATES, N_QUICK_FOLDS)
        n_files, n_run = N_QUICK_FILES, {}
    seconds, goals, summaries = {}, [], []
    with tempfile.TemporaryDirectory() as folder:
        for kind, size in list(SETS.items())[: 1 if quick else None]:
            photos = os.path.join(folder, kind)
            paths = make_photos(photos, kind, n_files, n_distinct=N_DISTINCT[kind])
            print(
                f"\n**{n_files} JPEG of {size}**, {count_bytes(paths) / 1e3:.0f} kB "
                f"each; {grid.n_candidates} candidates, {grid.n_folds} folds\n"
            )
            results = compare(photos, n_files, grid, n_run, quick)
            goals += _list_goals(size, n_files, results)
            seconds[f"JPEG {size}"] = measured = {
                name: result["seconds"]
                for name, result in results.items()
                if "error" not in result
            }
            if {CACHED, MEMORY, ALONE, MLP} <= set(measured):
                summaries.append(
                    f"a search over files of {size}, beside plain loading and scikeras "
                    f"in Pipeline(memory=): {measured[CACHED] / measured[MEMORY]:.2f}; "
                    "without loading, beside MLPClassifier: "
                    f"{measured[ALONE] / measured[MLP]:.2f} (time / its time)."
                )
    print_goals(goals)
    for summary in summaries:
        print_summary(summary)
    if plots:
        save_bars(plots / "search.svg", seconds, "seconds (less is better)")


def _list_goals(size, n_files, results):
    alone, cached = results[ALONE], results[CACHED]
    two, plain, mlp = results[CACHED_TWO], results[PLAIN], results[MLP]
    if any("error" in result for result in results.values()):
        return [(f"{size}: all contestants run", "at least", 1, 0)]
    allowed = alone["seconds"] + 1.3 * alone["pass"]
    return [
        (
            f"{size}: seconds / (training alone + 1.3 decode passes)",
            "at most",
            1,
            cached["seconds"] / allowed,
        ),
        (f"{size}: decodes", "at most", n_files, cached["decodes"]),
        (f"{size}: decodes, n_jobs=2", "at most", 2 * n_files, two["decodes"]),
        (
            f"{size}: plain / skimgclf",
            "at least",
            8 if "2048" in size else 1,
            plain["seconds"] / cached["seconds"],
        ),
        (
            f"{size}: training alone / MLPClassifier alone",
            "at most",
            0.8,
            alone["seconds"] / mlp["seconds"],
        ),
        (
            f"{size}: training alone / the same with n_jobs=2",
            "at least",
            1.5,
            alone["seconds"] / results[ALONE_TWO]["seconds"],
        ),
    ]


if __name__ == "__main__":
    if not answer_alone({"search": search}):
        if whole := "--whole" in sys.argv:
            sys.argv.remove("--whole")
        arguments = read_arguments(__doc__)
        main(arguments.quick, arguments.plots, whole)
