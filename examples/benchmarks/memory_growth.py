"""Measure whether memory grows over many fits in one process.

A search fits hundreds of networks in one process. Keras on TensorFlow keeps weights and
optimizer of every fit for ever (tensorflow#97697); skimgclf leaves out the step that
does it. This fits a convolutional network 30 times on 32x32 colour images, with
skimgclf and with bare Keras, each in a process of its own, and prints the resident
memory after some of the fits. It takes about three minutes on two cores.

    python examples/benchmarks/memory_growth.py
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import subprocess
import sys

from _report import describe_run, print_table

N_FITS = 30
SHOWN = (1, 3, 10, 20, 30)

PREPARE = """
import gc, json, resource, sys
import numpy as np

X = np.random.default_rng(0).random((128, 32, 32, 3), dtype="float32")
y = np.arange(128) % 4

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * resource.getpagesize() / 2**20
"""

SKIMGCLF = """
from skimgclf import KerasImageClassifier

def fit():
    KerasImageClassifier("cnn", hidden_layer_sizes=(128,), epochs=1).fit(X, y)
"""

BARE_KERAS = """
import keras
from skimgclf.models import build_cnn

def fit():
    features = build_cnn((32, 32, 3), hidden_layer_sizes=(128,))
    network = keras.Sequential([features, keras.layers.Dense(4, "softmax")])
    network.compile("adam", loss="sparse_categorical_crossentropy")
    network.fit(X, y, verbose=0)
"""

MEASURE = f"""
sizes = []
for _ in range({N_FITS}):
    fit()
    sizes.append(resident())
print(json.dumps(sizes))
"""


def measure(code):
    """Return the resident memory in MiB after each fit, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + code + MEASURE],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure both and print a table."""
    print(describe_run("keras", "tensorflow", "scikeras"), end="\n\n")
    rows = []
    for name, code in {"skimgclf": SKIMGCLF, "bare Keras": BARE_KERAS}.items():
        sizes = measure(code)
        growth = sizes[-1] - sizes[2]
        shown = [f"{sizes[n - 1]:.0f}" for n in SHOWN]
        rows.append([name, *shown, f"{growth:.0f}"])
    print_table(
        ["MiB after fit", *map(str, SHOWN), f"growth from fit 3 to {N_FITS}"], rows
    )


if __name__ == "__main__":
    main()
