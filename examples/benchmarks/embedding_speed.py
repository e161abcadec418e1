"""Compare the speed of ImageEmbedder with that of the same network's own predict.

Both embed the same images in batches of the same size, in turn, so that what else the
machine does hits both. Printed are images a second, and the median of the ratios of the
pairs: the embedder's time over the time of `keras.Model.predict`. Weights are random,
which makes no difference to the time. It takes about two minutes on two cores.

    python examples/benchmarks/embedding_speed.py
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import time

import keras
import numpy as np
from _report import describe_run, print_table

from skimgclf import ImageEmbedder

N_PAIRS = 15
BATCH_SIZE = 32

# Number of images, height and width.
SETTINGS = [(256, 64), (128, 224)]


def measure(function):
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(n_images, size):
    """Return the times of the embedder and of Keras, pair by pair."""
    random = np.random.default_rng(0)
    images = random.random((n_images, size, size, 3), dtype="float32")
    embedder = ImageEmbedder(weights=None, batch_size=BATCH_SIZE).fit(images)
    # What the embedder's preprocessing computes is part of this network.
    network = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3)
    )
    in_bytes = images * 255
    runs = [
        lambda: embedder.transform(images),
        lambda: network.predict(in_bytes, batch_size=BATCH_SIZE, verbose=0),
    ]
    for run in runs:
        run()  # traces, and fills the caches
    pairs = []
    for i in range(N_PAIRS):
        order = [0, 1] if i % 2 else [1, 0]
        times = {which: measure(runs[which]) for which in order}
        pairs.append((times[0], times[1]))
    return pairs


def main():
    """Measure all settings and print a table."""
    print(describe_run("keras", "tensorflow"), end="\n\n")
    rows = []
    for n_images, size in SETTINGS:
        pairs = compare(n_images, size)
        ours, theirs = (
            n_images / statistics.median(times) for times in zip(*pairs, strict=True)
        )
        ratio = statistics.median(mine / keras_ for mine, keras_ in pairs)
        rows.append(
            [f"{size} x {size}", f"{ours:.0f}", f"{theirs:.0f}", f"{ratio:.2f}"]
        )
    header = ["MobileNetV3Small", "ImageEmbedder, images/s", "predict, images/s"]
    print_table([*header, f"median ratio of {N_PAIRS} pairs"], rows)


if __name__ == "__main__":
    main()
