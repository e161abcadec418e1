"""What a million and a hundred million images take, on paper.

Measures on one core of this machine what one image costs: decoding a JPEG file of
640x480 pixels, reading it back from the cache or from a decoded array, the bytes that
it takes there, and a step of training, as slopes between a small and a large number of
images, so that what happens once doesn't count. Then it multiplies. Times are those
that the processor spent, so that whatever else the machine does doesn't count either;
disks and networks that are slower than that are not in these numbers.

Needs nothing beyond skimgclf's own dependencies. Takes about half a minute on two
cores. Run it with ``python examples/benchmarks/scale.py``; with ``--write``, it also
writes the tables for the user guide to ``docs/user_guide/_scale.md``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import describe_run, print_table
from PIL import Image
from sklearn.datasets import load_sample_image

from skimgclf import ImageLoader, KerasImageClassifier

N_SMALL, N_LARGE = 64, 320
N_IMAGES = (10**6, 10**8)
N_CORES = (1, 16, 256)
LOADER = {"image_size": (96, 96), "color_mode": "rgb", "dtype": "uint8"}
NETWORK = {"conv_filters": (16, 32), "hidden_layer_sizes": (64,), "random_state": 0}
PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "_scale.md"


def write_photos(folder, n_images):
    """Write pieces of a real photo as JPEG files of 640x480 pixels."""
    photo = Image.fromarray(load_sample_image("china.jpg"))
    offsets = np.random.default_rng(0).integers(0, 100, size=(n_images, 2))
    paths = []
    for row, (left, top) in enumerate(offsets.tolist()):
        paths.append(str(folder / f"{row}.jpg"))
        piece = photo.crop((left, top, left + 540, top + 327))
        piece.resize((640, 480)).save(paths[-1], quality=90)
    return paths


def slope(function, paths):
    """Return the processor's seconds that one more image costs."""
    function(paths[:2])  # imports, connections, first pages
    seconds = []
    for n_images in (N_SMALL, N_LARGE):
        started = time.process_time()
        function(paths[:n_images])
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / (N_LARGE - N_SMALL)


def measure(folder):
    """Return what one image costs: seconds of one core, and bytes."""
    paths = write_photos(folder, N_LARGE)
    time.sleep(0.1)  # the cache takes no file that has just changed
    loader = ImageLoader(**LOADER)
    decode = slope(loader.transform, paths)

    cached = ImageLoader(**LOADER, cache=folder / "cache")
    cached.transform(paths[:N_SMALL])
    before = disk_bytes(folder / "cache")
    cached.transform(paths)
    cache_bytes = (disk_bytes(folder / "cache") - before) / (N_LARGE - N_SMALL)
    from_cache = slope(cached.transform, paths)

    X = np.asarray(loader.transform(paths))
    return {
        "decode": decode,
        "from_cache": from_cache,
        "train": measure_training(X),
        "cache_bytes": cache_bytes,
        "array_bytes": X[0].nbytes,
    }


def disk_bytes(folder):
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def measure_training(X):
    """Return the processor's seconds that an image costs in an epoch of training."""
    y = np.arange(len(X)) % 2
    seconds = []
    for epochs in (1, 3):
        started = time.process_time()
        KerasImageClassifier("cnn", **NETWORK, epochs=epochs).fit(X, y)
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / (2 * len(X))


def show_slopes(costs):
    """Print what was measured."""
    print("On one core of the machine named below, an image of 640x480 pixels costs\n")
    rows = [
        [name, f"{1000 * costs[key]:.2f} ms", f"{1 / costs[key]:,.0f}"]
        for name, key in {
            "decoding the JPEG file to 96x96 pixels in colour": "decode",
            "reading it back from the cache": "from_cache",
            "an epoch's step of training a small CNN": "train",
        }.items()
    ]
    print_table(["", "time", "images a second"], rows)


def show_scale(costs):
    """Print what follows for many images."""
    print("\nFor all images, decoded once and kept as 8-bit pixels:\n")
    rows = [
        [
            f"{n_images:,}",
            format_hours(n_images * costs["decode"] / 3600),
            f"{n_images * costs['cache_bytes'] / 2**30:,.0f} GiB",
            f"{n_images * costs['array_bytes'] / 2**30:,.0f} GiB",
        ]
        for n_images in N_IMAGES
    ]
    print_table(["images", "decode-hours", "cache", "one array"], rows)
    print("\nHours of one epoch over all images on N cores that share the work:\n")
    ways = {
        "reading JPEG files": ("decode",),
        "reading the cache": ("from_cache",),
        "training from JPEG files": ("decode", "train"),
        "training from the cache": ("from_cache", "train"),
    }
    rows = []
    for n_images in N_IMAGES:
        for way, parts in ways.items():
            hours = n_images * sum(costs[part] for part in parts) / 3600
            shares = [format_hours(hours / n_cores) for n_cores in N_CORES]
            rows.append([f"{n_images:,}", way, *shares])
    print_table(["images", "", *(f"N = {n:,}" for n in N_CORES)], rows)


def format_hours(hours):
    """Return hours in two digits or more."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def main(write=False):
    """Measure, and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        show_slopes(costs)
        show_scale(costs)
        print(f"\n{describe_run('pillow', 'keras', 'tensorflow')}.")
    print(printed.getvalue(), end="")
    if write:
        PAGE.write_text(printed.getvalue())


if __name__ == "__main__":
    main(write="--write" in sys.argv)
