"""What fitting and predicting cost beside other ways to train the same network.

The textbook's dense network (40-20-10, 10 epochs, and 70 with fewer contestants) and a
small convolutional one (2 epochs) learn scikit-learn's handwritten digits: 5,000 images
of 28x28, each a training digit enlarged and moved by up to two pixels; scored on 360
other digits.

- skimgclf's `KerasImageClassifier`
- bare Keras with its defaults, and tuned (16 steps per execution; predicting by
  batches with `predict_on_batch`)
- scikeras' `KerasClassifier`, and Keras' own `SKLearnClassifier`, which takes rows
  only: its network turns them into images first
- scikit-learn's `MLPClassifier` with the dense network's layers, on the rows

All share layers, optimizer, epochs and batch size. Each is measured in fresh processes,
in turn with the others: a small fit to two classes comes first and isn't timed (it
loads what TensorFlow loads late), then one fit, one predict of all 5,000 images, and
fifty predictions of one image. Medians over rounds, ratios round by round. Memory is
the most that the process held, with all that is imported; "before" is the most until
the fit that is timed began.

Takes about ten minutes on two cores; less than one with ``--quick``.

Run it with ``python examples/benchmarks/networks.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import time
import warnings

import numpy as np
from _measure import (
    answer_alone,
    divide_pairs,
    peak_megabytes,
    print_goals,
    print_summary,
    read_arguments,
    report_progress,
    run_alone,
)
from _report import describe_run, print_table, save_bars

N_IMAGES, N_TEST, N_SINGLE, SIZE, N_CLASSES = 5000, 360, 50, 28, 10
HIDDEN_LAYER_SIZES, BATCH_SIZE = (40, 20, 10), 32
CASES = [("dense", 10), ("dense", 70), ("cnn", 2)]
N_ROUNDS = 3

OURS, MLP = "skimgclf", "scikit-learn MLPClassifier"
KERAS, TUNED = "bare Keras, defaults", "bare Keras, tuned"
SCIKERAS, WRAPPER = "scikeras", "keras SKLearnClassifier"


def load_images(n_images):
    """Make images to train on, and images of other digits to score on.

    Returns
    -------
    X, X_test : ndarray of shape (n_samples, 28, 28, 1), float32
        In [0, 1].
    y, y_test : ndarray of int
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 16).astype("float32")
    images = images.repeat(3, axis=1).repeat(3, axis=2)  # 24x24: two pixels around
    X, X_test, y, y_test = train_test_split(
        images, labels, test_size=N_TEST, random_state=0, stratify=labels
    )
    random = np.random.default_rng(0)
    rows = random.permutation(np.resize(np.arange(len(X)), n_images))
    moved = [_place(X[row], *random.integers(0, 5, 2)) for row in rows]
    still = [_place(image, 2, 2) for image in X_test]
    return np.array(moved), np.array(still), y[rows], y_test


def _place(image, top, left):
    placed = np.zeros((SIZE, SIZE, 1), dtype="float32")
    placed[top : top + len(image), left : left + len(image), 0] = image
    return placed


def build_network(
    architecture,
    loss,
    steps_per_execution=1,
    *,
    takes_rows=False,
    n_classes=N_CLASSES,
):
    """Build and compile the network that skimgclf's classifier builds by default."""
    import keras

    image_shape = (SIZE, SIZE, 1)
    blocks = [keras.layers.Reshape(image_shape)] if takes_rows else []
    if architecture == "cnn":
        for n_filters in (32, 64):
            convolution = keras.layers.Conv2D(n_filters, 3, padding="same")
            relu, pool = keras.layers.Activation("relu"), keras.layers.MaxPooling2D()
            blocks += [convolution, relu, pool]
    layers = [keras.layers.Dense(n_units, "relu") for n_units in HIDDEN_LAYER_SIZES]
    network = keras.Sequential(
        [
            keras.Input((SIZE * SIZE,) if takes_rows else image_shape),
            *blocks,
            keras.layers.Flatten(),
            *layers,
            keras.layers.Dense(n_classes, "softmax"),
        ]
    )
    network.compile("adam", loss, steps_per_execution=steps_per_execution)
    return network


class BareKeras:
    """Keras without any wrapper, with the three methods that are measured."""

    def __init__(self, architecture, epochs, is_tuned):
        self.architecture, self.epochs = architecture, epochs
        self.is_tuned = is_tuned

    def fit(self, X, y):
        """Build the network and train it."""
        n_steps = 16 if self.is_tuned else 1
        loss = "sparse_categorical_crossentropy"
        self.network = build_network(self.architecture, loss, n_steps)
        self.network.fit(X, y, epochs=self.epochs, batch_size=BATCH_SIZE, verbose=0)
        return self

    def predict_proba(self, X):
        """Predict in one go; tuned, by batches without Keras' loop around them."""
        if not self.is_tuned:
            return self.network.predict(X, verbose=0)
        starts = range(0, len(X), 512)
        return np.concatenate(
            [self.network.predict_on_batch(X[start : start + 512]) for start in starts]
        )

    def predict(self, X):
        """Predict classes, which are 0 to 9."""
        return self.predict_proba(X).argmax(axis=1)


class OfRows:
    """An estimator of rows, given images."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        """Fit the estimator on rows."""
        self.estimator.fit(X.reshape(len(X), -1), y)
        return self

    def predict(self, X):
        """Predict classes."""
        return self.estimator.predict(X.reshape(len(X), -1))

    def predict_proba(self, X):
        """Predict probabilities, or classes where that is all there is."""
        predict = getattr(self.estimator, "predict_proba", self.estimator.predict)
        return predict(X.reshape(len(X), -1))


def make_ours(architecture, epochs):
    """Make skimgclf's classifier."""
    from skimgclf import KerasImageClassifier

    return KerasImageClassifier(
        architecture,
        hidden_layer_sizes=HIDDEN_LAYER_SIZES,
        epochs=epochs,
        batch_size=BATCH_SIZE,
    )


def make_scikeras(architecture, epochs):
    """Make scikeras' classifier."""
    from scikeras.wrappers import KerasClassifier

    def build(meta):
        loss = "sparse_categorical_crossentropy"
        return build_network(architecture, loss, n_classes=meta["n_classes_"])

    return KerasClassifier(
        build,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        verbose=0,
    )


def make_wrapper(architecture, epochs):
    """Make Keras' own wrapper, which encodes labels as one-hot rows."""
    from keras.wrappers import SKLearnClassifier

    def build(X, y):
        loss = "categorical_crossentropy"
        n_classes = y.shape[1]
        return build_network(architecture, loss, takes_rows=True, n_classes=n_classes)

    fit_kwargs = {"epochs": epochs, "batch_size": BATCH_SIZE, "verbose": 0}
    return OfRows(SKLearnClassifier(build, fit_kwargs=fit_kwargs))


def make_mlp(architecture, epochs):
    """Make scikit-learn's network."""
    from sklearn.neural_network import MLPClassifier

    # The others don't penalize weights. Ten epochs are compared, converged or not.
    mlp = MLPClassifier(
        HIDDEN_LAYER_SIZES, alpha=0, batch_size=BATCH_SIZE, max_iter=epochs
    )
    return OfRows(mlp)


CONTESTANTS = {
    OURS: make_ours,
    KERAS: lambda architecture, epochs: BareKeras(architecture, epochs, False),
    TUNED: lambda architecture, epochs: BareKeras(architecture, epochs, True),
    SCIKERAS: make_scikeras,
    WRAPPER: make_wrapper,
    MLP: make_mlp,
}


def measure(name, architecture, n_images, epochs):
    """Fit and predict in this process.

    Returns
    -------
    result : dict of str to float
        fit and predict (seconds), single (milliseconds), accuracy, before and peak
        (MB).
    """
    warnings.simplefilter("ignore")
    X, X_test, y, y_test = load_images(n_images)
    # With two classes: skimgclf shares a traced program between fits of one network,
    # and the fit that is timed shall be the first of its kind.
    warm = CONTESTANTS[name](architecture, 1).fit(X[:320], y[:320] % 2)
    warm.predict(X[:64])
    warm.predict_proba(X[:1])
    before = peak_megabytes()
    classifier = CONTESTANTS[name](architecture, epochs)
    started = time.perf_counter()
    classifier.fit(X, y)
    fitted = time.perf_counter()
    classifier.predict(X)
    predicted = time.perf_counter()
    classifier.predict_proba(X[:1])  # it may trace anew for this size
    singles = []
    for i in range(N_SINGLE):
        single = time.perf_counter()
        classifier.predict_proba(X[i : i + 1])
        singles.append(time.perf_counter() - single)
    return {
        "fit": fitted - started,
        "predict": predicted - fitted,
        "single": statistics.median(singles) * 1e3,
        "accuracy": float(np.mean(classifier.predict(X_test) == y_test)),
        "before": before,
        "peak": peak_megabytes(),
    }


def compare(architecture, n_images, epochs, n_rounds):
    """Measure all contestants in turn and print a table.

    Returns
    -------
    runs : dict of str to list of dict
        As from `measure`, one a round, of those that ran.
    """
    names = [name for name in CONTESTANTS if (name, architecture) != (MLP, "cnn")]
    if epochs > 10:  # the others take minutes
        names = [OURS, TUNED, MLP]
    runs = {name: [] for name in names}
    for i in range(n_rounds):
        start = i % len(names)
        for name in names[start:] + names[:start]:
            report_progress(f"{architecture}, round {i + 1}, {name}")
            arguments = ("measure", name, architecture, n_images, epochs)
            runs[name].append(run_alone(__file__, *arguments))
    rows, complete = [], {}
    for name, results in runs.items():
        failed = [result["error"] for result in results if "error" in result]
        if failed:
            print(f"{name} fails: {failed[0]}\n")
        else:
            complete[name] = results
            rows.append(_describe(name, results, runs[OURS]))
    header = ["", "fit, s", "fit / ours", "predict, s", "one image, ms"]
    print_table([*header, "accuracy", "before, MB", "peak, MB"], rows)
    return complete


def _describe(name, results, ours):
    medians = {
        key: statistics.median(result[key] for result in results) for key in results[0]
    }
    ratio = "-" if any("error" in run for run in ours) else _divide(results, ours)
    return [
        name,
        f"{medians['fit']:.2f}",
        ratio if isinstance(ratio, str) else f"{ratio:.2f}",
        f"{medians['predict']:.3f}",
        f"{medians['single']:.2f}",
        f"{medians['accuracy']:.3f}",
        f"{medians['before']:.0f}",
        f"{medians['peak']:.0f}",
    ]


def _divide(runs, baseline, key="fit"):
    return divide_pairs([run[key] for run in runs], [run[key] for run in baseline])


def main(quick=False, plots=None):
    """Compare the contestants on both networks."""
    print(describe_run("scikit-learn", "scikeras", "keras", "tensorflow"))
    seconds, goals, summaries = {}, [], []
    for architecture, epochs in CASES[: 1 if quick else None]:
        n_images, epochs = (640, 1) if quick else (N_IMAGES, epochs)
        n_rounds = 1 if quick else N_ROUNDS
        title = f"{architecture}, {epochs} epochs"
        print(f"\n**{title}** on {n_images} images; {n_rounds} rounds\n")
        runs = compare(architecture, n_images, epochs, n_rounds)
        seconds[f"fit: {title}"] = {
            name: statistics.median(run["fit"] for run in results)
            for name, results in runs.items()
        }
        if OURS in runs:
            goals += _list_goals(title, architecture, runs)
        if {OURS, MLP} <= set(runs):
            fit, predict, single = (
                _divide(runs[OURS], runs[MLP], key)
                for key in ("fit", "predict", "single")
            )
            summaries.append(
                f"{epochs} epochs of the dense network, beside MLPClassifier: fitting "
                f"{fit:.2f}, predicting {n_images:,} images {predict:.2f}, one image "
                f"{single:.2f} (time / its time)."
            )
    print_goals(goals)
    for summary in summaries:
        print_summary(summary)
    if plots:
        save_bars(plots / "networks.svg", seconds, "seconds (less is better)")


def _list_goals(title, architecture, runs):
    """Return the goals: beside which contestant, in which time, and how much of it."""
    wanted = [
        (KERAS, "fit", 1),
        (TUNED, "fit", 0.9 if architecture == "cnn" else 1),
        (MLP, "fit", 0.5 if "70" in title else 0.8),
        (KERAS, "predict", 1),
        (TUNED, "predict", 0.9),
        (MLP, "predict", 2),
        (KERAS, "single", 0.05),
        (TUNED, "single", 1),
        (MLP, "single", 1.5),
    ]
    names = {"fit": "fit", "predict": "predict", "single": "one image"}
    return [
        (
            f"{title}: {names[key]}, ours / {other}",
            "at most",
            most,
            _divide(runs[OURS], runs[other], key),
        )
        for other, key, most in wanted
        if other in runs
    ]


if __name__ == "__main__":
    if not answer_alone({"measure": measure}):
        arguments = read_arguments(__doc__)
        main(arguments.quick, arguments.plots)
