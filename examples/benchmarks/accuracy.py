"""How often each way to classify images is right, and what its training costs.

- the pipelines of `make_image_pipeline`: "textbook", "digits", "photos" (with its own
  number of epochs, and with fewer) and "few_photos", each in the size and colours of
  its kind, but "photos" in the size of the ways below
- `KerasImageClassifier` with the defaults of each architecture, and "cnn by hand":
  `KerasImageClassifier("cnn", conv_filters=(32, 64, 128), hidden_layer_sizes=(128,),
  dropout=0.3, early_stopping=True, epochs=30)`
- scikit-learn's `LogisticRegression(C=0.001)` on standardized pixels, and on
  scikit-image's histograms of oriented gradients (HOG) in 8x8 cells
- bare Keras with the network of TensorFlow's tutorial "Image classification": three
  convolutions, augmentation and dropout, 15 epochs
- fastai, if it is installed: xresnet18 from scratch by `fit_one_cycle(30, 5e-3)`
  with `aug_transforms()`, and with fewer epochs

Each way gets the same files and is fitted in a process of its own, in which all modules
are loaded before. Costs are CPU seconds of all threads: those of `fit`, which reads the
files, and those of `predict`. The test images are the same for all seeds; a seed
chooses the training images from the others, class by class in equal shares, and decides
on all that the training draws. Figures are medians over seeds, with their range.

Needs the extra packages of ``pip install "skimgclf[benchmark]"``. Takes a
quarter of an hour for each seed with 5,000 photos of 32x32 on two cores; two minutes
with ``--quick``.

Run it with ``python examples/benchmarks/accuracy.py PHOTOS``: a folder with a folder of
images for each class, or a csv file with the columns id and label. ``"NAME=PHOTOS"``
gives the data a name in the table. Without data it takes scikit-learn's handwritten
digits.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import dataclasses
import itertools
import pathlib
import statistics
import warnings

from _accuracy_ways import BUDGETED, OURS, WAYS, Settings, list_installed
from _measure import answer_alone, report_progress, run_alone
from _report import describe_run, print_table, save_points
from sklearn.model_selection import train_test_split

DIGITS = "scikit-learn's handwritten digits"
QUICK = {"seeds": 1, "n_train": [100], "n_test": 50, "epochs": [1]}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A way with a number of epochs.

    Attributes
    ----------
    way : str
        A key of `WAYS`.
    epochs : int or None
        None for the way's own.
    """

    way: str
    epochs: int | None = None

    @property
    def name(self):
        """The name in tables and plots."""
        name = WAYS[self.way][0]
        if self.way not in BUDGETED or self.epochs is None:
            return name
        return f"{name}, {self.epochs} epoch{'s' if self.epochs > 1 else ''}"


@dataclasses.dataclass(frozen=True)
class Data:
    """Labelled images, and how they are divided.

    Attributes
    ----------
    path : str or None
        A folder of class folders or a csv file; None for the digits.
    n_train, n_test : int or None
        Numbers of images; None for all others, and for a fifth.
    """

    path: str | None
    n_train: int | None
    n_test: int | None

    def read(self):
        """Return all paths and labels."""
        from skimgclf import datasets

        if self.path is None:
            return datasets.load_digit_images(return_X_y=True)
        is_csv = self.path.endswith(".csv")
        load = datasets.load_image_csv if is_csv else datasets.load_image_folder
        return load(self.path, return_X_y=True)

    def split(self, seed):
        """Divide the images.

        Returns
        -------
        paths, test_paths, y, y_test : ndarray
            The test images are the same for every seed.
        """
        paths, y = self.read()
        paths, test_paths, y, y_test = train_test_split(
            paths, y, test_size=self.n_test or 0.2, random_state=0, stratify=y
        )
        if self.n_train is not None and self.n_train < len(paths):
            paths, _, y, _ = train_test_split(
                paths, y, train_size=self.n_train, random_state=seed, stratify=y
            )
        return paths, test_paths, y, y_test


def measure(way, settings, data, seed):
    """Fit and predict in this process.

    Parameters
    ----------
    way : str
        A key of `WAYS`.
    settings, data : dict
        Attributes of `Settings` without the seed, and of `Data`.
    seed : int

    Returns
    -------
    result : dict of str to float
        fit and predict (CPU seconds), accuracy.
    """
    warnings.simplefilter("ignore")
    paths, test_paths, y, y_test = Data(**data).split(seed)
    load_modules(way)
    size, epochs = tuple(settings["image_size"]), settings["epochs"]
    classifier = WAYS[way][1](Settings(size, epochs, seed))
    started = count_cpu_seconds()
    classifier.fit(paths, y)
    fitted = count_cpu_seconds()
    predicted = classifier.predict(test_paths)
    return {
        "fit": fitted - started,
        "predict": count_cpu_seconds() - fitted,
        "accuracy": float((predicted == y_test).mean()),
    }


def load_modules(way):
    """Load what a way imports late, so that this isn't timed."""
    import numpy as np

    if way == "fastai":
        import fastai.vision.all  # noqa: F401
    elif way == "hog":
        import skimage.feature  # noqa: F401
    elif way in (*OURS, "keras"):
        from skimgclf import KerasImageClassifier

        # A network and classes that no way has: no traced program is shared with it.
        images = np.zeros((4, 2, 2, 1), "float32")
        KerasImageClassifier(hidden_layer_sizes=(), epochs=1).fit(images, [0, 1] * 2)


def count_cpu_seconds():
    """Return the CPU seconds of this process and of those that it has waited for."""
    import resource  # Windows has none

    usages = map(resource.getrusage, [resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN])
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def list_contestants(ways, budgets, is_quick):
    """Return the contestants: each way with its own epochs, some with budgets, too."""
    contestants = []
    for way in ways:
        if way in BUDGETED or is_quick:
            contestants += [Contestant(way, epochs) for epochs in budgets]
        if not is_quick:
            contestants.append(Contestant(way))
    return contestants


def compare(contestants, image_size, data, n_seeds):
    """Measure all contestants with each seed in turn, and print a table.

    Returns
    -------
    medians : dict of str to dict of str to float
        Name -> medians of what `measure` returns, the most accurate first.
    """
    runs = {contestant: [] for contestant in contestants}
    for seed in range(n_seeds):
        for contestant, results in runs.items():
            settings = {"image_size": image_size, "epochs": contestant.epochs}
            report_progress(f"{contestant.name}, seed {seed}")
            arguments = contestant.way, settings, dataclasses.asdict(data), seed
            results.append(run_alone(__file__, "measure", *arguments))
            report_progress(f"{contestant.name}, seed {seed}: {results[-1]}")
    complete = {}
    for contestant, results in runs.items():
        failed = [result["error"] for result in results if "error" in result]
        if failed:
            print(f"{contestant.name} fails: {failed[0]}\n")
        else:
            complete[contestant.name] = results
    return show_results(complete, len(data.split(0)[1]))


def show_results(runs, n_test):
    """Print a table of results, the most accurate first.

    Parameters
    ----------
    runs : dict of str to list of dict
        Name -> results of `measure`, one a seed.
    n_test : int
        The number of test images.

    Returns
    -------
    medians : dict of str to dict of str to float
    """
    medians = {
        name: {
            key: statistics.median(result[key] for result in results)
            for key in results[0]
        }
        for name, results in runs.items()
    }
    ordered = sorted(medians, key=lambda name: -medians[name]["accuracy"])
    rows = []
    for name in ordered:
        accuracies = [result["accuracy"] for result in runs[name]]
        spread = f" ({min(accuracies):.3f} to {max(accuracies):.3f})"
        cells = medians[name]
        rows.append(
            [
                name,
                f"{cells['accuracy']:.3f}{spread if len(accuracies) > 1 else ''}",
                f"{cells['fit']:.1f}",
                f"{1000 * cells['predict'] / n_test:.2f}",
            ]
        )
    header = ["way", "accuracy", "fit, CPU s", "predict, CPU ms an image"]
    print_table(header, rows)
    return {name: medians[name] for name in ordered}


def main(sources, arguments):
    """Compare all ways on all data, and draw them.

    Parameters
    ----------
    sources : dict of str to str or None
        Name of the data -> path, None for the digits.
    arguments : argparse.Namespace
        As from `read_arguments`.
    """
    packages = "scikit-learn", "scikit-image", "keras", "tensorflow", "fastai"
    print(describe_run(*packages))
    installed = list_installed()
    for way in arguments.only:
        if way not in installed:
            print(f"\n{WAYS[way][0]} isn't installed and is left out.")
    ways = [way for way in arguments.only if way in installed]
    contestants = list_contestants(ways, arguments.epochs, arguments.quick)
    panels = []
    for (name, path), n_train in itertools.product(sources.items(), arguments.n_train):
        data = Data(path, n_train, arguments.n_test)
        title = f"{name}: {len(data.split(0)[0]):,} training images"
        describe_data(title, data, arguments)
        medians = compare(contestants, arguments.image_size, data, arguments.seeds)
        panels.append({"title": title, "points": list_points(medians)})
    if arguments.output:
        save_points(arguments.output, panels, "CPU seconds of fit", "accuracy")


def describe_data(title, data, arguments):
    """Print a title, the number of test images, their size and the number of seeds."""
    n_test = len(data.split(0)[1])
    # Two standard errors of a share of one half.
    points = f"{100 / n_test**0.5:.0f} points"
    seeds = (
        f"one seed; the choice of test images alone moves a figure by up to {points}"
    )
    if arguments.seeds > 1:
        seeds = f"medians of {arguments.seeds} seeds"
    height, width = arguments.image_size
    print(f"\n**{title}**, {n_test:,} test images, {height}x{width} pixels; {seeds}\n")


def list_points(medians):
    """Return the points of a plot: name, x, y and whether it is this package's way."""
    ours = tuple(WAYS[way][0] for way in OURS)
    return [
        (name, cells["fit"], cells["accuracy"], name.startswith(ours))
        for name, cells in medians.items()
    ]


def read_arguments(arguments=None):
    """Read the arguments of the command line.

    Returns
    -------
    sources : dict of str to str or None
    arguments : argparse.Namespace
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", nargs="*", metavar="[NAME=]DATA", help="class folders, or a csv file")
    add("--seeds", type=int, default=3, help="number of seeds (3)")
    add(
        "--n-train",
        type=int,
        nargs="+",
        default=[None],
        help="numbers of training images, a table for each (all others)",
    )
    add("--n-test", type=int, help="test images (a fifth)")
    add("--image-size", type=int, nargs=2, default=[32, 32], metavar=("H", "W"))
    add("--only", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    add(
        "--epochs",
        type=int,
        nargs="+",
        default=[10],
        help="budgets of photos and fastai beside their own epochs (10)",
    )
    add("--output", type=pathlib.Path, metavar="FILE", help="draw a plot: .png, .svg")
    add("--quick", action="store_true", help="only try that it runs: few and short")
    given = parser.parse_args(arguments)
    if given.quick:
        vars(given).update(QUICK)
    return dict(map(name_source, given.data)) or {DIGITS: None}, given


def name_source(text):
    """Divide NAME=DATA; without a name, the data's own name is taken."""
    name, separator, path = text.rpartition("=")
    if os.path.exists(text) or not separator:
        name, path = pathlib.Path(text).stem, text
    return name, path


if __name__ == "__main__":
    if not answer_alone({"measure": measure}):
        main(*read_arguments())
