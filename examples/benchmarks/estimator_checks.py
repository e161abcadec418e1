"""scikit-learn's own estimator checks, on three ways to use Keras from scikit-learn.

Shows how many checks of `sklearn.utils.estimator_checks.check_estimator` each passes:
skimgclf's `KerasImageClassifier`, scikeras' `KerasClassifier` and Keras'
`SKLearnClassifier`, all with the same network, optimizer, epochs and batch size. How
many checks there are depends on what an estimator says it is: one that scikit-learn
doesn't recognise as a classifier is spared the checks for classifiers.

Needs nothing beyond skimgclf's own dependencies. Each estimator has a process of its
own. Takes about four minutes on two cores.

Run it with ``python examples/benchmarks/estimator_checks.py``; with ``--failed``, it
also names the checks that failed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# One of the checks is skipped unless this is set before scikit-learn is imported.
os.environ["SCIPY_ARRAY_API"] = "1"

import collections
import json
import subprocess
import sys
import warnings

from _report import describe_run, print_table

# With these, a small network learns the toy data of the checks in a full batch.
EPOCHS, LEARNING_RATE, BATCH_SIZE = 20, 0.03, 256


def make_skimgclf():
    """Make skimgclf's classifier."""
    from skimgclf import KerasImageClassifier

    return KerasImageClassifier(
        epochs=EPOCHS, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE
    )


def make_scikeras():
    """Make scikeras' classifier."""
    from scikeras.wrappers import KerasClassifier

    return KerasClassifier(
        build_for_scikeras, epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0
    )


def build_for_scikeras(meta):
    """Build the network from what scikeras knows of the data."""
    n_features, n_classes = meta["n_features_in_"], meta["n_classes_"]
    return build_network(n_features, n_classes, "sparse_categorical_crossentropy")


def make_keras():
    """Make Keras' own wrapper, which encodes labels as one-hot rows."""
    from keras.wrappers import SKLearnClassifier

    fit_kwargs = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "verbose": 0}
    return SKLearnClassifier(build_for_keras, fit_kwargs=fit_kwargs)


def build_for_keras(X, y):
    """Build the network from data as Keras' wrapper hands it on."""
    return build_network(X.shape[1], y.shape[1], "categorical_crossentropy")


def build_network(n_features, n_classes, loss):
    """Build and compile the network that skimgclf's classifier has by default."""
    import keras

    layers = [keras.layers.Dense(n_units, "relu") for n_units in (40, 20, 10)]
    head = keras.layers.Dense(n_classes, "softmax")
    network = keras.Sequential([keras.Input((n_features,)), *layers, head])
    network.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
    return network


ESTIMATORS = {
    "skimgclf KerasImageClassifier": make_skimgclf,
    "scikeras KerasClassifier": make_scikeras,
    "keras.wrappers SKLearnClassifier": make_keras,
}


def run_checks(name):
    """Run the checks on one estimator in this process and print them as JSON."""
    import keras
    from sklearn.utils.estimator_checks import check_estimator

    # The tolerances of the checks are those of float64.
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    warnings.simplefilter("ignore")
    results = check_estimator(ESTIMATORS[name](), on_skip=None, on_fail=None)
    print(json.dumps([(result["check_name"], result["status"]) for result in results]))


def main(show_failed=False):
    """Run the checks on each estimator and print a table of what came of them."""
    rows, failed = [], {}
    for name in ESTIMATORS:
        print(f"Checking {name} ...", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, __file__, name], stdout=subprocess.PIPE, check=True
        )
        results = json.loads(done.stdout.splitlines()[-1])
        counts = collections.Counter(status for _, status in results)
        statuses = [counts[status] for status in ("passed", "failed", "skipped")]
        rows.append([name, *statuses, len(results)])
        failed[name] = [check for check, status in results if status == "failed"]
    print(describe_run("scikit-learn", "scikeras", "keras", "tensorflow"))
    print_table(["estimator", "passed", "failed", "skipped", "checks"], rows)
    for name in failed if show_failed else []:
        print(f"\nFailed by {name}: {', '.join(failed[name]) or 'none'}")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] in ESTIMATORS:
        run_checks(sys.argv[1])
    else:
        main(show_failed="--failed" in sys.argv)
