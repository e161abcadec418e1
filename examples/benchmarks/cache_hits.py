"""What an image from the cache costs beside decoding it, by kind of file and size.

Files become arrays in gray and in colour, of sizes from 28 to 1,024 pixels:

- decoded each time
- decoded and written to an empty cache
- taken from a filled cache

All three are timed in turn, round by round, in one thread of one process; the files and
the cache lie in the system's cache. Times are those of one image; a ratio is the median
over rounds.

Takes about a minute and a half on two cores; a few seconds with ``--quick``.

Run it with ``python examples/benchmarks/cache_hits.py``.
"""

import functools
import os
import statistics
import tempfile

import numpy as np
from _measure import (
    divide_pairs,
    print_goals,
    read_arguments,
    report_progress,
    time_in_turn,
)
from _photos import make_photos
from _report import describe_run, print_table

from skimgclf import ImageLoader

# Kind of photographs -> what they are, how many, and to which sizes they are brought.
SETS = {
    "icons": ("PNG 28x28", 1000, [28]),
    "crops": ("JPEG 500x375", 40, [28, 56, 112, 224, 512, 1024]),
    "mosaics": ("JPEG 2048x1536, sharp", 20, [28, 224, 1024]),
}
COLOR_MODES = {"grayscale": "gray", "rgb": "colour"}
N_ROUNDS = 7

DECODED, FIRST, CACHED = "decoded", "first time", "from the cache"
PACKAGES = ["pillow", "numpy"]


def load(paths, size, color_mode, cache=None):
    """Load files in one thread."""
    options = {"image_size": (size, size), "color_mode": color_mode}
    return ImageLoader(**options, cache=cache, n_jobs=1).transform(paths)


def load_first(paths, size, color_mode, folder):
    """Load files with a cache that is empty."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        return load(paths, size, color_mode, cache)


def compare(paths, size, color_mode, folder, n_rounds):
    """Time the three ways.

    Returns
    -------
    microseconds : dict of str to float
        Of one image, by each way.
    ratio : float
        How many times as long as decoding it takes to get it from the cache.
    """
    cache = os.path.join(folder, "cache")
    given = paths, size, color_mode
    if not np.array_equal(load(*given), load(*given, cache)):
        raise AssertionError("The cache gives other pixels.")
    seconds = time_in_turn(
        {
            DECODED: functools.partial(load, *given),
            FIRST: functools.partial(load_first, *given, folder),
            CACHED: functools.partial(load, *given, cache),
        },
        n_rounds,
    )
    microseconds = {
        name: statistics.median(values) / len(paths) * 1e6
        for name, values in seconds.items()
    }
    return microseconds, divide_pairs(seconds[CACHED], seconds[DECODED])


def main(quick=False):
    """Compare the ways for each set of photographs and size."""
    n_rounds = 2 if quick else N_ROUNDS
    rows, ratios, smallest = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        for kind, (title, n_files, sizes) in SETS.items():
            report_progress(title)
            n_files = n_files // 10 if quick else n_files
            paths = make_photos(os.path.join(folder, kind), kind, n_files)
            for size in sizes:
                for color_mode, colour in COLOR_MODES.items():
                    times, ratio = compare(paths, size, color_mode, folder, n_rounds)
                    smallest = smallest or times[CACHED]
                    ratios.append(ratio)
                    rows.append(
                        [f"{title} to {size}x{size}, {colour}"]
                        + [f"{times[name]:.0f}" for name in (DECODED, FIRST, CACHED)]
                        + [f"{ratio:.2f}"]
                    )
    print(describe_run(*PACKAGES))
    print("\nMicroseconds of one image, in one thread:\n")
    print_table(["", DECODED, FIRST, CACHED, "from the cache / decoded"], rows)
    print_goals(
        [
            ("28x28 from the cache, microseconds", "at most", 30, smallest),
            ("from the cache / decoded, the largest", "at most", 0.5, max(ratios)),
        ]
    )


if __name__ == "__main__":
    arguments = read_arguments(__doc__)
    main(arguments.quick)
