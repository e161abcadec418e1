"""A child process of test_images_decode: reads mutated files and reports on it.

Started as a program with a seed, a number of files and a folder, without TensorFlow.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from sample_images import make_corpus

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import read_image
from skimgclf.images._check import probe_image
from skimgclf.images._urls import UrlReader


def mutate(content, random):
    """Change a file as disks, cables and people do."""
    content = bytearray(content)
    kind = random.integers(5)
    position = int(random.integers(len(content)))
    length = int(random.integers(1, 64))
    if kind == 0:
        content[position] ^= 1 << int(random.integers(8))
    elif kind == 1:
        content[position : position + length] = bytes(length)
    elif kind == 2:
        content[position : position + length] = random.bytes(length)
    elif kind == 3:
        del content[position : position + length]
    else:
        # The header, where sizes and depths stand.
        for place in random.integers(min(100, len(content)), size=3):
            content[place] = int(random.integers(256))
    return bytes(content)


def main(seed, n_files, folder):
    """Read `n_files` mutated files and print what happened."""
    random = np.random.default_rng(seed)
    contents = [sample.content for sample in make_corpus() if sample.content]
    report = {"read": 0, "refused": 0, "nameless": [], "escaped": [], "slowest": 0.0}
    report["disagreed"] = []
    path = Path(folder) / f"mutated {seed}.img"
    for number in range(n_files):
        content = mutate(contents[number % len(contents)], random)
        path.write_bytes(content)
        started = time.perf_counter()
        try:
            image = read_image(path, image_size=(28, 28))
            fine = np.isfinite(image).all() and 0 <= image.min() and image.max() <= 1
            report["read"] += bool(fine)
            reason = None
        except ImageLoadError as error:
            report["refused"] += 1
            reason = error.reason
            if str(path) not in str(error) or not error.reason:
                report["nameless"].append(repr(error))
        except Exception as error:
            report["escaped"].append(repr(error))
            continue
        report["slowest"] = max(report["slowest"], time.perf_counter() - started)
        checked = probe_image(path, 89_478_485, UrlReader({}))["reason"]
        if (checked is None) != (reason is None):
            report["disagreed"].append((number, reason, checked))
    report["peak_mb"] = _read_peak_memory()
    report["heavy"] = [name for name in ("tensorflow", "keras") if name in sys.modules]
    print(json.dumps(report))


def _read_peak_memory():
    """Read the most memory that this program has had resident, in MiB."""
    # Not getrusage's ru_maxrss: Linux hands down that of the process that forked us.
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
