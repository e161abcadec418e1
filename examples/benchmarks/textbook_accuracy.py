"""The textbook's network on handwritten digits, three ways.

Shows that a pipeline from image files, with all defaults, reaches the accuracy of the
same network written by hand in bare Keras (same layers, optimizer, epochs and batch
size, on the same arrays), for three seeds; scikit-learn's own `MLPClassifier` with the
same layers stands beside them.

Needs nothing beyond skimgclf's own dependencies. Takes about half a minute on two cores
and writes scikit-learn's digits as PNG files below its data home.

Run it with ``python examples/benchmarks/textbook_accuracy.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import warnings

import keras
import numpy as np
from _report import describe_run, print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_digit_images

SEEDS = (0, 1, 2)
HIDDEN_LAYER_SIZES, EPOCHS, BATCH_SIZE = (40, 20, 10), 10, 32


def score_pipeline(paths, y, test_paths, y_test, seed):
    """Score skimgclf's pipeline with all defaults."""
    pipeline = Pipeline(
        [("load", ImageLoader()), ("classify", KerasImageClassifier(random_state=seed))]
    )
    return pipeline.fit(paths, y).score(test_paths, y_test)


def score_keras(paths, y, test_paths, y_test, seed):
    """Score the same network in bare Keras."""
    classes, codes = np.unique(y, return_inverse=True)
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(n_units, "relu") for n_units in HIDDEN_LAYER_SIZES]
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            *layers,
            keras.layers.Dense(len(classes), "softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    X, X_test = ImageLoader().transform(paths), ImageLoader().transform(test_paths)
    network.fit(X, codes, epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0)
    predicted = network.predict(X_test, verbose=0).argmax(axis=1)
    return accuracy_score(y_test, classes[predicted])


def score_mlp(paths, y, test_paths, y_test, seed):
    """Score scikit-learn's network with the same layers and optimizer."""
    mlp = MLPClassifier(
        HIDDEN_LAYER_SIZES,
        alpha=0,  # the other two don't penalize weights
        batch_size=BATCH_SIZE,
        max_iter=EPOCHS,
        random_state=seed,
    )
    pipeline = Pipeline([("load", ImageLoader(flatten=True)), ("classify", mlp)])
    with warnings.catch_warnings():
        # Ten epochs are what is compared, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(paths, y).score(test_paths, y_test)


CONTESTANTS = {
    "skimgclf: ImageLoader and KerasImageClassifier": score_pipeline,
    "bare Keras": score_keras,
    "scikit-learn's MLPClassifier": score_mlp,
}


def main():
    """Score each contestant with each seed and print a table."""
    paths, y = load_digit_images(return_X_y=True)
    paths, test_paths, y, y_test = train_test_split(
        paths, y, test_size=0.2, random_state=42
    )
    rows = []
    for name, score in CONTESTANTS.items():
        accuracies = [score(paths, y, test_paths, y_test, seed) for seed in SEEDS]
        median = statistics.median(accuracies)
        rows.append([name, *(f"{value:.3f}" for value in [*accuracies, median])])
    print(describe_run("scikit-learn", "keras", "tensorflow"))
    print(f"{len(paths)} training and {len(test_paths)} test images; accuracy:\n")
    seeds = [f"random_state={seed}" for seed in SEEDS]
    print_table(["network 40-20-10", *seeds, "median"], rows)


if __name__ == "__main__":
    main()
