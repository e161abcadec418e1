"""What training and predicting cost beyond what bare Keras takes.

Four comparisons of `KerasImageClassifier` with the same network in bare Keras, on 28x28
images: the fixed cost of a fit (one epoch on few images), the rest (fits of five
seconds and more), repeated fits with and without a shared program, and prediction of
one image and of many. "Tuned alike" is Keras with 16 steps per execution and without
XLA, beside it stand Keras' defaults. Runs are interleaved, and each ratio is the
median of the ratios within a round; bare Keras against itself shows the noise.

The first table says where the time of a fit of ten epochs goes: beside a fit with a
program of its own and one with a shared program stand what TensorFlow alone takes to
trace such a program and to run it, in bare operations without any layer, metric or
check, and scikit-learn's `MLPClassifier`. A search over small networks can't be faster
than its tracing and its steps.

Needs nothing beyond skimgclf's own dependencies. Takes about a quarter of an hour on
two cores, one minute with ``--quick``.

Run it with ``python examples/benchmarks/fit_overhead.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import itertools
import math
import operator
import statistics
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
from _bare_tensorflow import BareTensorFlow
from _measure import print_goals, time_in_turn
from _report import describe_run, print_table
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.models import build_dense

N_IMAGES, N_FEW, N_CLASSES = 5000, 1000, 10
# The images of a fold in a search over 1,000, and all of them.
N_OF_FITS, N_EPOCHS, BATCH_SIZE, N_UNITS = (800, 5000), 10, 32, (40, 20, 10)
HEADER = ["measured", "skimgclf", "beside it", "median of ratios (range)"]


def make_images():
    """Return random images, float32 in [0, 1], and their classes."""
    generator = np.random.default_rng(0)
    X = generator.random((N_IMAGES, 28, 28, 1), dtype="float32")
    return X, np.arange(N_IMAGES) % N_CLASSES


def fit_skimgclf(X, y, epochs, architecture="dense"):
    """Fit the classifier with its default layers."""
    return KerasImageClassifier(architecture, epochs=epochs, random_state=0).fit(X, y)


def fit_keras(X, y, epochs, *, steps_per_execution=16):
    """Build, compile and fit the same network in bare Keras."""
    features = build_dense(X.shape[1:])
    outputs = keras.layers.Dense(N_CLASSES, "softmax")(features.outputs[0])
    network = keras.Model(features.inputs, outputs)
    network.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        jit_compile=False if steps_per_execution > 1 else "auto",
    )
    network.fit(X, y, epochs=epochs, batch_size=32, verbose=0)
    return network


def compare(what, seconds, first, second):
    """Return a row that compares two of the timed functions."""
    pairs = list(zip(seconds[first], seconds[second], strict=True))
    ratios = [one / other for one, other in pairs]
    difference = 1000 * statistics.median(one - other for one, other in pairs)
    medians = [1000 * statistics.median(values) for values in zip(*pairs, strict=True)]
    return [
        f"{what}: {first} / {second}",
        f"{medians[0]:.1f} ms",
        f"{medians[1]:.1f} ms ({difference:+.1f} ms)",
        f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})",
    ]


def take_median(seconds, combine, first, second):
    """Return the median over rounds of what two of the timed functions give."""
    return statistics.median(map(combine, seconds[first], seconds[second]))


def measure_parts(X, y, n_images, n_rounds):
    """Time the parts of a fit of ten epochs.

    Returns
    -------
    milliseconds : dict of str to float
        Medians.
    """
    X, y = X[:n_images], y[:n_images]
    rows, codes = X.reshape(len(X), -1), y.astype("int32")
    n_units = (rows.shape[1], *N_UNITS, N_CLASSES)
    bare = []

    def trace():
        bare[:] = [BareTensorFlow(n_units, BATCH_SIZE)]
        bare[0].trace(rows, codes)

    def fit_mlp():
        settings = {"alpha": 0, "batch_size": BATCH_SIZE, "max_iter": N_EPOCHS}
        MLPClassifier(N_UNITS, **settings).fit(rows, y)

    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        seconds = time_in_turn(
            {
                "skimgclf, own program": lambda: fit_skimgclf(
                    X, y, N_EPOCHS, build_dense
                ),
                "skimgclf, shared program": lambda: fit_skimgclf(X, y, N_EPOCHS),
                "bare TensorFlow: tracing": trace,
                "bare TensorFlow: steps": lambda: bare[0].run(rows, codes, N_EPOCHS),
                "scikit-learn MLPClassifier": fit_mlp,
            },
            n_rounds,
        )
    return {name: 1000 * statistics.median(each) for name, each in seconds.items()}


def print_parts(X, y, n_rounds):
    """Print where the time of a fit goes, for fits of several numbers of images."""
    parts = {n: measure_parts(X, y, n, n_rounds) for n in N_OF_FITS}
    header = [f"fit of {N_EPOCHS} epochs, ms", *(f"{n:,} images" for n in parts)]
    names = list(parts[N_OF_FITS[0]])
    print_table(
        header, [[name, *(f"{parts[n][name]:.0f}" for n in parts)] for name in names]
    )


def measure_fixed_cost(X, y, n_rounds):
    """Time fits of one epoch on few images; return rows and goals."""
    few = X[:N_FEW], y[:N_FEW], 1
    seconds = time_in_turn(
        {
            "own program": functools.partial(fit_skimgclf, *few, build_dense),
            "shared program": functools.partial(fit_skimgclf, *few),
            "Keras tuned alike": functools.partial(fit_keras, *few),
            "Keras again": functools.partial(fit_keras, *few),
            "Keras' defaults": functools.partial(
                fit_keras, *few, steps_per_execution=1
            ),
        },
        n_rounds,
    )
    cost = take_median(seconds, operator.sub, "own program", "Keras tuned alike")
    goals = [("fixed cost of a fit over Keras, ms", "at most", 50, 1000 * cost)]
    rows = [
        compare("short fit", seconds, *pair)
        for pair in [
            ("own program", "Keras tuned alike"),
            ("shared program", "Keras tuned alike"),
            ("shared program", "own program"),
            ("own program", "Keras' defaults"),
            ("Keras again", "Keras tuned alike"),
        ]
    ]
    return rows, goals


def measure_long_fits(X, y, n_rounds, at_least):
    """Time fits of at least so many seconds; return rows and goals."""
    seconds = time_in_turn(
        {n: functools.partial(fit_keras, X, y, n) for n in (1, 9)}, n_rounds=2
    )
    an_epoch = (min(seconds[9]) - min(seconds[1])) / 8
    epochs = math.ceil(at_least / max(an_epoch, 0.01))
    data = X, y, epochs
    seconds = time_in_turn(
        {
            "own program": functools.partial(fit_skimgclf, *data, build_dense),
            "Keras tuned alike": functools.partial(fit_keras, *data),
            "Keras again": functools.partial(fit_keras, *data),
            "Keras' defaults": functools.partial(
                fit_keras, *data, steps_per_execution=1
            ),
        },
        n_rounds,
    )
    rows = [
        compare(f"fit of {epochs} epochs", seconds, *pair)
        for pair in [
            ("own program", "Keras tuned alike"),
            ("Keras again", "Keras tuned alike"),
            ("own program", "Keras' defaults"),
        ]
    ]
    others = {"Keras tuned alike": 1.1, "Keras' defaults": 1}
    goals = [
        (
            f"fit of {epochs} epochs, ours / {other}",
            "at most",
            most,
            take_median(seconds, operator.truediv, "own program", other),
        )
        for other, most in others.items()
    ]
    return rows, goals


def measure_prediction(X, y, n_rounds):
    """Time one image, as array and as file, and many; return rows and goals."""
    classifier = fit_skimgclf(X[:N_FEW], y[:N_FEW], 1)
    pipeline = Pipeline([("load", ImageLoader()), ("classify", classifier)])
    predict = functools.partial(classifier.model_.predict, verbose=0, batch_size=32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.png")
        Image.fromarray((X[0, :, :, 0] * 255).astype("uint8")).save(path)
        one = time_in_turn(
            {
                "pipeline": lambda: pipeline.predict_proba([path]),
                "loader alone": lambda: pipeline[0].transform([path]),
                "predict_proba": lambda: classifier.predict_proba(X[:1]),
                "keras.Model.predict": lambda: predict(X[:1]),
            },
            5 * n_rounds,
        )
    many = time_in_turn(
        {
            "predict_proba": lambda: classifier.predict_proba(X),
            "keras.Model.predict": lambda: predict(X),
        },
        n_rounds,
    )
    names = "predict_proba", "keras.Model.predict"
    rows = [
        compare("a file", one, "pipeline", "loader alone"),
        compare("an image", one, *names),
        compare(f"{len(X)} images", many, *names),
    ]
    besides = take_median(one, operator.sub, "pipeline", "loader alone")
    faster = 1 / take_median(one, operator.truediv, *names)
    goals = [
        ("a file, besides decoding, ms", "at most", 3, 1000 * besides),
        ("an image, keras.Model.predict / ours", "at least", 20, faster),
        (
            f"{len(X)} images, ours / keras.Model.predict",
            "at most",
            1,
            take_median(many, operator.truediv, *names),
        ),
    ]
    return rows, goals


def measure(X, y, n_rounds, at_least):
    """Run all comparisons with bare Keras.

    Returns
    -------
    rows : list of list of str
        In the columns of `HEADER`.
    goals : list of tuple
        As `print_goals` takes them.
    """
    parts = [
        measure_fixed_cost(X, y, n_rounds),
        measure_long_fits(X, y, n_rounds, at_least),
        measure_prediction(X, y, n_rounds),
    ]
    return [list(itertools.chain(*kind)) for kind in zip(*parts, strict=True)]


def main():
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer, shorter fits")
    arguments = parser.parse_args()
    print(describe_run("scikit-learn", "scikeras", "keras", "tensorflow"), end="\n\n")
    X, y = make_images()
    n_rounds, at_least = (3, 0.5) if arguments.quick else (15, 5)
    print_parts(X, y, n_rounds)
    print()
    rows, goals = measure(X, y, n_rounds, at_least)
    print_table(HEADER, rows)
    print_goals(goals)


if __name__ == "__main__":
    main()
