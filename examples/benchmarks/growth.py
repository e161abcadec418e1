"""How time and memory grow with the images, the classes and the size.

- images, 1,000 to 100,000 (PNG of 28x28): loading into one array, decoded and from a
  filled cache; and training for one epoch on images that are streamed from files and
  from the cache (``lazy=True``), so that memory shouldn't grow with them
- classes, 2 to 1,000: fitting the textbook's network to 4,000 images, 2 epochs
- size, 28 to 224 pixels: loading 400 JPEG files of 500x375, and training on them for
  one epoch

Each point is a process of its own. Those of images are measured three times, in turn:
a figure is the median. Memory is the most that the process has held beyond
what it held when everything was imported (and, for training, a small network fitted).
The files are 1,000 different ones under many names (hard links).

Takes about ten minutes on two cores; half a minute with ``--quick``. For plots,
matplotlib is needed.

Run it with ``python examples/benchmarks/growth.py --plots FOLDER``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import tempfile
import time

import numpy as np
from _measure import (
    answer_alone,
    peak_megabytes,
    print_goals,
    read_arguments,
    report_progress,
    run_alone,
)
from _photos import make_photos
from _report import describe_run, print_table, save_lines

N_IMAGES = [1_000, 3_000, 10_000, 30_000, 100_000]
N_CLASSES = [2, 10, 100, 1_000]
SIZES = [28, 56, 112, 224]
N_REPEATS = 3
QUICK_N_IMAGES, QUICK_N_CLASSES, QUICK_SIZES = [500, 1_000], [100], [56]

N_DISTINCT, N_IN_CLASSES, N_IN_SIZES = 1000, 4000, 400
DECODED, CACHED = "loaded, decoded", "loaded, cached"
STREAMED, STREAMED_CACHED = "streamed, decoded", "streamed, cached"


def list_files(folder):
    """List the files of a folder, in order."""
    return sorted(entry.path for entry in os.scandir(folder))


def warm_up(size=28):
    """Fit a small network: TensorFlow loads much at the first fit."""
    from skimgclf import KerasImageClassifier

    X = np.zeros((64, size, size, 1), dtype="float32")
    KerasImageClassifier(epochs=1).fit(X, np.arange(64) % 3)


def time_beyond(function):
    """Return the seconds that a function takes, and the MB beyond those held before."""
    before = peak_megabytes()
    started = time.perf_counter()
    function()
    return {
        "seconds": time.perf_counter() - started,
        "megabytes": peak_megabytes() - before,
    }


def load(folder, size, cache=None, n_files=None):
    """Load images into one array."""
    from skimgclf import ImageLoader

    loader = ImageLoader(image_size=(size, size), cache=cache, n_jobs=1)
    paths = list_files(folder)[:n_files]
    loader.transform(paths[:10])
    return time_beyond(lambda: loader.transform(paths))


def stream(folder, size, cache=None, n_files=None):
    """Train for an epoch on images that are loaded batch by batch."""
    from skimgclf import ImageLoader, KerasImageClassifier

    warm_up(size)
    loader = ImageLoader(image_size=(size, size), cache=cache, lazy=True, n_jobs=1)
    paths = list_files(folder)[:n_files]
    classifier = KerasImageClassifier(epochs=1)
    classifier.fit(loader.transform(paths[:64]), np.arange(64) % 2)
    y = np.arange(len(paths)) % 10
    return time_beyond(lambda: classifier.fit(loader.transform(paths), y))


def fit_classes(n_classes, n_images):
    """Fit the textbook's network to many classes."""
    from skimgclf import KerasImageClassifier

    warm_up()
    X = np.random.default_rng(0).random((n_images, 28, 28, 1), dtype="float32")
    classifier = KerasImageClassifier(epochs=2)
    return time_beyond(lambda: classifier.fit(X, np.arange(n_images) % n_classes))


def fit_sizes(folder, size):
    """Train for an epoch on an array of images."""
    from skimgclf import ImageLoader, KerasImageClassifier

    warm_up()
    X = ImageLoader(image_size=(size, size)).transform(list_files(folder))
    classifier = KerasImageClassifier(epochs=1)
    return time_beyond(lambda: classifier.fit(X, np.arange(len(X)) % 10))


def measure(name, *arguments):
    """Measure a point in a process of its own."""
    report_progress(f"{name}, {arguments}")
    result = run_alone(__file__, name, *arguments)
    if "error" in result:
        raise RuntimeError(result["error"])
    return result


def grow_images(folder, numbers, n_repeats):
    """Measure how cost grows with the number of images, as medians of repeats.

    Returns
    -------
    curves : dict of str to list of tuple (float, dict)
        Name -> (number of images, what `time_beyond` returns).
    """
    photos, cache = os.path.join(folder, "icons"), os.path.join(folder, "cache")
    make_photos(photos, "icons", max(numbers), n_distinct=N_DISTINCT)
    measure("load", photos, 28, cache)  # to fill the cache
    ways = {
        DECODED: ("load", None),
        CACHED: ("load", cache),
        STREAMED: ("stream", None),
        STREAMED_CACHED: ("stream", cache),
    }
    rounds = [
        {
            (name, n): measure(way, photos, 28, kept, n)
            for name, (way, kept) in ways.items()
            for n in numbers
        }
        for _ in range(n_repeats)
    ]
    return {
        name: [
            (n, _take_medians([points[name, n] for points in rounds])) for n in numbers
        ]
        for name in ways
    }


def _take_medians(points):
    return {
        unit: statistics.median(point[unit] for point in points) for unit in points[0]
    }


def grow_classes(numbers, n_images):
    """Measure how cost grows with the number of classes."""
    points = [(n, measure("fit_classes", n, n_images)) for n in numbers]
    return {f"fitting {n_images} images": points}


def grow_sizes(folder, sizes, n_files):
    """Measure how cost grows with the size of images."""
    photos = os.path.join(folder, "crops")
    make_photos(photos, "crops", n_files)
    return {
        "loaded, decoded": [(size, measure("load", photos, size)) for size in sizes],
        "training, one epoch": [
            (size, measure("fit_sizes", photos, size)) for size in sizes
        ],
    }


def print_curves(label, curves):
    """Print a table: a column for each curve's seconds and megabytes."""
    header, columns = [label], []
    for name, points in curves.items():
        header += [f"{name}, s", f"{name}, MB"]
        columns.append([f"{point['seconds']:.2f}" for _, point in points])
        columns.append([f"{point['megabytes']:.0f}" for _, point in points])
    starts = [f"{x:,}" for x, _ in points]
    print()
    print_table(header, zip(starts, *columns, strict=True))


def _list_goals(images):
    """List linear time and flat memory, over the last tenfold of images."""
    goals = []
    for name, points in images.items():
        (n, few), (m, many) = points[-3:][0], points[-1]
        ratio = (many["seconds"] / m) / (few["seconds"] / n)
        title = f"{name}: seconds an image, at {m:,} / at {n:,}"
        goals.append((title, "at most", 1.3, ratio))
    for name in (STREAMED, STREAMED_CACHED):
        (n, few), (m, many) = images[name][-3:][0], images[name][-1]
        title = f"{name}: MB more at {m:,} than at {n:,} images"
        goals.append((title, "at most", 50, many["megabytes"] - few["megabytes"]))
    return goals


def main(quick=False, plots=None):
    """Measure all points, print tables and draw the curves."""
    print(describe_run("pillow", "keras", "tensorflow"))
    with tempfile.TemporaryDirectory() as folder:
        numbers, n_repeats = (QUICK_N_IMAGES, 1) if quick else (N_IMAGES, N_REPEATS)
        images = grow_images(folder, numbers, n_repeats)
        n_images = 500 if quick else N_IN_CLASSES
        classes = grow_classes(QUICK_N_CLASSES if quick else N_CLASSES, n_images)
        n_files = 40 if quick else N_IN_SIZES
        sizes = grow_sizes(folder, QUICK_SIZES if quick else SIZES, n_files)
    curves = {"images": images, "classes": classes, "size": sizes}
    for label, several in curves.items():
        print_curves(label, several)
    print_goals(_list_goals(images))
    if plots:
        panels = [
            {
                "title": f"{unit}, by {label}",
                "x": label,
                "y": unit,
                "log": label != "size" and unit == "seconds",
                "lines": {
                    name: [(x, point[unit]) for x, point in points]
                    for name, points in several.items()
                },
            }
            for label, several in curves.items()
            for unit in ("seconds", "megabytes")
        ]
        save_lines(plots / "growth.svg", panels)


if __name__ == "__main__":
    functions = {
        function.__name__: function
        for function in (load, stream, fit_classes, fit_sizes)
    }
    if not answer_alone(functions):
        arguments = read_arguments(__doc__)
        main(arguments.quick, arguments.plots)
