"""From how many photos a class on fine-tuning beats the features of a frozen network.

- "softmax": `make_image_pipeline("few_photos")`, a softmax regression on the features
  of EfficientNet-Lite0
- "logistic": the same features, standardized, and scikit-learn's
  `LogisticRegression(C=0.001)`
- "fine-tuned": `make_image_pipeline("few_photos", fine_tune="all")`, which trains the
  network itself

Each draw chooses classes, and photos of each; more photos of a draw contain the fewer
ones. All ways of a draw get the same photos. The test photos of a class are always the
same. Costs are CPU seconds of `fit` in all threads, which reads the files too.

After the photos that are given come patches of ten sharp photos of scikit-image and
scikit-learn, where a class is a photo: its left half to train on, its right half to
test.

Needs the extra packages of ``pip install "skimgclf[benchmark,pretrained]"``. Takes
five minutes on two cores for a set of photos, and two for the patches.

Run it with ``python examples/benchmarks/few_photos.py PHOTOS``: a folder with a folder
of images for each class, or a csv file with the columns id and label. ``"NAME=PHOTOS"``
gives the data a name in the table.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import dataclasses
import pathlib
import statistics
import tempfile

import numpy as np
from _measure import report_progress
from _report import describe_run, print_table, save_lines
from accuracy import Data, count_cpu_seconds, load_modules, name_source
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimgclf import ImageEmbedder, ImageLoader, make_image_pipeline

PATCHES = "patches of ten sharp photos"
PATCH_SIZE, N_PATCHES = 96, 20
QUICK = {"per_class": [2], "draws": 1, "n_test": 3, "image_size": [32, 32]}


@dataclasses.dataclass(frozen=True)
class Photos:
    """Photos to draw from.

    Attributes
    ----------
    train, test : dict of str to list of str
        Class -> paths.
    """

    train: dict
    test: dict

    @property
    def n_per_class(self):
        """Number of photos to train on in the smallest class."""
        return min(map(len, self.train.values()))

    def draw(self, n_classes, n_per_class, seed):
        """Choose classes, and photos of each to train on.

        Returns
        -------
        paths, y, test_paths, y_test : list
        """
        rng = np.random.default_rng(seed)
        classes = sorted(rng.permutation(sorted(self.train))[:n_classes].tolist())
        paths, y, test_paths, y_test = [], [], [], []
        for name in classes:
            chosen = rng.permutation(self.train[name])[:n_per_class].tolist()
            paths, y = paths + chosen, y + [name] * len(chosen)
            test_paths = test_paths + self.test[name]
            y_test = y_test + [name] * len(self.test[name])
        return paths, y, test_paths, y_test


def read_photos(path, n_test):
    """Read a folder of class folders or a csv file, and set test photos aside."""
    paths, y = Data(path, None, None).read()
    rng, train, test = np.random.default_rng(0), {}, {}
    for name in np.unique(y).tolist():
        shuffled = rng.permutation(paths[y == name]).tolist()
        test[name], train[name] = shuffled[:n_test], shuffled[n_test:]
    return Photos(train, test)


def cut_patches(folder, n_test):
    """Cut patches out of photos: left halves to train on, right halves to test."""
    rng, train, test = np.random.default_rng(0), {}, {}
    for name, photo in load_sharp_photos().items():
        middle = photo.shape[1] // 2
        for half, n_patches, part in [
            (photo[:, :middle], N_PATCHES, train),
            (photo[:, middle:], n_test, test),
        ]:
            side = "train" if part is train else "test"
            part[name] = [f"{folder}/{name}_{side}_{i}.png" for i in range(n_patches)]
            for path in part[name]:
                top, left = rng.integers(np.subtract(half.shape[:2], PATCH_SIZE) + 1)
                patch = half[top : top + PATCH_SIZE, left : left + PATCH_SIZE]
                Image.fromarray(patch).save(path)
    return Photos(train, test)


def load_sharp_photos():
    """Load photos that come with scikit-image and scikit-learn, by name."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    return {
        "astronaut": skimage.data.astronaut(),
        "cat": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
        "flower": load_sample_image("flower.jpg"),
        "galaxies": skimage.data.hubble_deep_field(),
        "motorcycle": skimage.data.stereo_motorcycle()[0],
        "retina": skimage.data.retina(),
        "rocket": skimage.data.rocket(),
        "temple": load_sample_image("china.jpg"),
        "tissue": skimage.data.immunohistochemistry(),
    }


def make_softmax(image_size, seed):
    """Make a softmax regression on frozen features."""
    return make_image_pipeline("few_photos", image_size=image_size, random_state=seed)


def make_logistic(image_size, seed):
    """Make scikit-learn's logistic regression on the same features."""
    return make_pipeline(
        ImageLoader(image_size=image_size, color_mode="rgb", resize_mode="pad"),
        ImageEmbedder("EfficientNetLite0"),
        StandardScaler(),
        LogisticRegression(C=0.001, max_iter=1000),
    )


def make_fine_tuned(image_size, seed):
    """Make a network that is trained itself."""
    return make_image_pipeline(
        "few_photos", image_size=image_size, fine_tune="all", random_state=seed
    )


WAYS = {
    "softmax": make_softmax,
    "logistic": make_logistic,
    "fine-tuned": make_fine_tuned,
}


def measure(photos, n_per_class, arguments):
    """Fit all ways on each draw.

    Returns
    -------
    results : dict of str to list of tuple (float, float)
        Way -> accuracy and CPU seconds of each draw.
    """
    results = {way: [] for way in WAYS}
    for seed in range(arguments.draws):
        parts = photos.draw(arguments.classes, n_per_class, seed)
        for way, make in WAYS.items():
            pipeline = make(tuple(arguments.image_size), seed)
            started = count_cpu_seconds()
            pipeline.fit(*parts[:2])
            seconds = count_cpu_seconds() - started
            results[way].append((pipeline.score(*parts[2:]), seconds))
            report_progress(f"{n_per_class} a class, {way}: {results[way][-1]}")
    return results


def show_results(curve):
    """Print a table: a row for each number of photos a class.

    Parameters
    ----------
    curve : dict of int to dict
        Number of photos a class -> results of `measure`.
    """
    rows = []
    for n_per_class, results in curve.items():
        accuracies, seconds = {}, {}
        for way, values in results.items():
            accuracies[way], seconds[way] = zip(*values, strict=True)
        rows.append(
            [
                n_per_class,
                *(f"{statistics.mean(values):.3f}" for values in accuracies.values()),
                describe_gain(accuracies),
                *(f"{statistics.mean(values):.0f}" for values in seconds.values()),
            ]
        )
    ways = [*WAYS, "gain (of each draw)", *(f"{way}, CPU s" for way in WAYS)]
    print_table(["photos a class", *ways], rows)


def describe_gain(accuracies):
    """Describe by how much fine-tuning is ahead of a softmax regression."""
    gains = np.subtract(accuracies["fine-tuned"], accuracies["softmax"])
    each = ", ".join(f"{gain:+.3f}" for gain in gains)
    return f"{gains.mean():+.3f} ({each})"


def draw_panel(title, curve):
    """Describe the panel of a plot, for `save_lines`."""
    lines = {
        way: [
            (n_per_class, statistics.mean(accuracy for accuracy, _ in results[way]))
            for n_per_class, results in curve.items()
        ]
        for way in WAYS
    }
    return {
        "title": title,
        "x": "photos a class",
        "y": "accuracy",
        "log": False,
        "bottom": None,
        "lines": lines,
    }


def main(sources, arguments):
    """Compare the ways on all data, and draw the curves.

    Parameters
    ----------
    sources : dict of str to str or None
        Name of the data -> path, None for the patches.
    arguments : argparse.Namespace
        As from `read_arguments`.
    """
    print(describe_run("scikit-learn", "keras", "tensorflow"))
    load_modules("photos")
    panels = []
    for name, path in sources.items():
        with tempfile.TemporaryDirectory() as folder:
            if path is None:
                photos = cut_patches(folder, arguments.n_test)
            else:
                photos = read_photos(path, arguments.n_test)
            n_classes = min(arguments.classes, len(photos.train))
            print(
                f"\n**{name}**: {n_classes} classes, {arguments.n_test} test photos of "
                f"each, {'x'.join(map(str, arguments.image_size))} pixels; means of "
                f"{arguments.draws} draws\n"
            )
            counts = [n for n in arguments.per_class if n <= photos.n_per_class]
            curve = {n: measure(photos, n, arguments) for n in counts}
        show_results(curve)
        panels.append(draw_panel(name, curve))
    if arguments.output:
        save_lines(arguments.output, panels)


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
    add("--per-class", type=int, nargs="+", default=[5, 20, 50, 100], metavar="N")
    add("--classes", type=int, default=5, help="number of classes in a draw (5)")
    add("--draws", type=int, default=2, help="number of draws (2)")
    add("--n-test", type=int, default=60, help="test photos of each class (60)")
    add("--image-size", type=int, nargs=2, default=[96, 96], metavar=("H", "W"))
    add("--output", type=pathlib.Path, metavar="FILE", help="draw a plot: .png, .svg")
    add("--quick", action="store_true", help="only try that it runs: few and small")
    given = parser.parse_args(arguments)
    if given.quick:
        vars(given).update(QUICK)
    return dict(map(name_source, given.data)) | {PATCHES: None}, given


if __name__ == "__main__":
    main(*read_arguments())
