"""What a process costs until it loads, predicts or has fitted.

Each case is a program that runs in fresh processes, in turn with the others:

- importing scikit-learn's pipelines, with Pillow and joblib: what nobody can do without
- importing `ImageLoader`, as worker processes do that only load images
- `skimgclf predict` of one image by a saved dense network, which needs no TensorFlow
- importing Keras, and a first fit of the textbook's network to 640 images for one epoch
- importing `KerasImageClassifier`, and the same fit

Seconds are those of the program within the process. Memory is the most that the process
held. Ratios are of medians.

Needs nothing beyond skimgclf's own dependencies. Takes about five minutes on two cores.

Run it with ``python examples/benchmarks/starting.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import subprocess
import sys
import tempfile

from _measure import print_goals, print_summary, read_arguments, report_progress
from _report import describe_run, print_table

N_ROUNDS = 9

SKLEARN = "import sklearn.pipeline"
LIBRARIES = "import sklearn.pipeline, PIL.Image, joblib"
LOADER = "from skimgclf import ImageLoader"
PREDICT = "skimgclf predict, one image"
KERAS = "Keras: import and first fit"
OURS = "skimgclf: import and first fit"

_IMAGES = """
import numpy as np
X = np.random.default_rng(0).random((640, 28, 28, 1), dtype="float32")
y = np.arange(640) % 10
"""

# Name -> code; the folder with what it needs is `folder`.
CASES = {
    SKLEARN: SKLEARN,
    LIBRARIES: LIBRARIES,
    LOADER: LOADER,
    PREDICT: """
from skimgclf.cli import main
assert main(["predict", folder + "/dense.model", folder + "/image.png"]) == 0
""",
    KERAS: f"""{_IMAGES}
import keras
layers = [keras.layers.Dense(n_units, "relu") for n_units in (40, 20, 10)]
network = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Flatten(),
        *layers,
        keras.layers.Dense(10, "softmax"),
    ]
)
network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
network.fit(X, y, epochs=1, verbose=0)
""",
    OURS: f"""{_IMAGES}
from skimgclf import KerasImageClassifier
KerasImageClassifier(epochs=1).fit(X, y)
""",
}

# Prints the seconds that a program took and the peak memory of the process in MB.
TIMER = """
import resource, sys, time
folder, code = sys.argv[1:]
started = time.perf_counter()
exec(code)
seconds = time.perf_counter() - started
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

PREPARE = """
import sys
import numpy as np
from PIL import Image
from skimgclf import make_image_pipeline, save_model
folder = sys.argv[1]
random = np.random.default_rng(0)
paths = []
for i in range(4):
    paths.append(f"{folder}/{i}.png")
    Image.fromarray(random.integers(0, 255, (28, 28), dtype="uint8")).save(paths[-1])
pipeline = make_image_pipeline("textbook", epochs=1).fit(paths, [0, 1, 0, 1])
save_model(pipeline, f"{folder}/dense.model")
Image.open(paths[0]).save(f"{folder}/image.png")
"""


def measure(name, folder):
    """Run a case in a fresh process and return its seconds and megabytes."""
    command = [sys.executable, "-c", TIMER, folder, CASES[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.splitlines()[-1].split()
    return float(seconds), float(megabytes)


def compare(folder, n_rounds):
    """Measure all cases in turn.

    Returns
    -------
    medians : dict of str to tuple of float
        Name -> seconds and megabytes.
    """
    for name in CASES:
        measure(name, folder)  # to fill the file system's cache and __pycache__
    runs = {name: [] for name in CASES}
    for i in range(n_rounds):
        report_progress(f"round {i + 1}")
        for name, results in runs.items():
            results.append(measure(name, folder))
    return {
        name: tuple(map(statistics.median, zip(*results, strict=True)))
        for name, results in runs.items()
    }


def main(quick=False):
    """Compare the cases and print a table."""
    packages = "scikit-learn", "pillow", "joblib", "keras", "tensorflow"
    print(describe_run(*packages), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        prepare = [sys.executable, "-c", PREPARE, folder]
        subprocess.run(prepare, capture_output=True, check=True)
        medians = compare(folder, 1 if quick else N_ROUNDS)
    rows = [
        [name, f"{seconds:.2f}", f"{megabytes:.0f}"]
        for name, (seconds, megabytes) in medians.items()
    ]
    print_table(["program", "seconds", "peak, MB"], rows)
    pairs = [(LOADER, LIBRARIES, 1.5), (PREDICT, SKLEARN, 1.5), (OURS, KERAS, 1.05)]
    units = {"seconds": 0, "MB": 1}
    goals = {
        (name, unit): (
            f"{unit}: {name} / {other}",
            "at most",
            most,
            medians[name][column] / medians[other][column],
        )
        for name, other, most in pairs
        for unit, column in units.items()
    }
    print_goals(goals.values())
    print_summary(
        "from a cold start, beside importing scikit-learn's pipelines: classifying "
        f"an image {goals[PREDICT, 'seconds'][-1]:.2f}; beside Keras: import and first "
        f"fit {goals[OURS, 'seconds'][-1]:.2f} (time / its time)."
    )


if __name__ == "__main__":
    main(read_arguments(__doc__).quick)
