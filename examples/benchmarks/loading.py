"""How many images a second are loaded, beside the usual ways and beside the limit.

Photographs of 500x375 and 2048x1536 pixels as JPEG, and of 500x375 and 28x28 as PNG,
become one float array (n, 28, 28, 1) in [0, 1]:

- skimgclf's `ImageLoader`, with one thread and with two; where photographs say that
  they are in Adobe RGB, also without converting them to sRGB
- the textbook's loop: `keras.utils.load_img`, `img_to_array`, / 255
- `keras.utils.image_dataset_from_directory` (with as many threads as it likes)
- OpenCV: `imread`, `resize` with INTER_AREA; and with `IMREAD_REDUCED_GRAYSCALE_*`
- embetter's way, written out: Pillow's open, convert and resize
- the limit: libjpeg-turbo's decoding at a fraction of the size, by simplejpeg in its
  fastest setting, and nothing else: no resize, no array of all images

All are timed in turn, round by round, in one process; the files lie in the system's
cache. A ratio is the median over rounds. The difference is the mean absolute one from
decoding at full size and shrinking with antialiasing by Pillow's bilinear filter; it is
small for what antialiases with another filter, and large for what doesn't antialias or
converts colours.
The last table but one says where the time of one image goes.

Takes about four minutes on two cores; a few seconds with ``--quick``. OpenCV and
simplejpeg are optional (``pip install "skimgclf[benchmark]"``).

Run it with ``python examples/benchmarks/loading.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import functools
import io
import statistics
import tempfile
import time

import keras
import numpy as np
from _measure import (
    divide_pairs,
    print_goals,
    print_summary,
    read_arguments,
    report_progress,
    time_in_turn,
)
from _photos import count_bytes, make_photos
from _report import describe_run, print_table, save_bars
from PIL import Image

from skimgclf import ImageLoader
from skimgclf.images import read_image

try:
    import cv2
except ModuleNotFoundError:
    cv2 = None
try:
    import simplejpeg
except ModuleNotFoundError:
    simplejpeg = None

SIZE = 28

# Kind of photographs -> (what they are, how many files, by what a scaled decode may
# reduce them so that twice 28 pixels are left).
SETS = {
    "crops": ("JPEG 500x375", 200, 4),
    "mosaics": ("JPEG 2048x1536, sharp", 40, 8),
    "enlargements": ("JPEG 2048x1536, soft", 40, 8),
    "adobe": ("JPEG 500x375, Adobe RGB", 200, 4),
    "pictures": ("PNG 500x375", 100, None),
    "icons": ("PNG 28x28", 1000, None),
}
N_ROUNDS = 9

PACKAGES = ["pillow", "keras", "tensorflow", "opencv-python-headless", "simplejpeg"]

OURS, TWO_THREADS = "skimgclf ImageLoader", "skimgclf ImageLoader, two threads"
UNMANAGED = "skimgclf ImageLoader, color_management=False"
TEXTBOOK, LIMIT = "textbook's loop (keras load_img)", "limit: simplejpeg, scaled decode"
DATASET = "keras image_dataset_from_directory"
PILLOW = "Pillow open, convert, resize (embetter)"
OPENCV = "OpenCV imread, resize"

READING, PARSING = "reading the file", "parsing its header"
DECODING = "decoding at a fraction, in gray"


def load_ours(paths, **parameters):
    """Load with skimgclf."""
    return ImageLoader(**{"n_jobs": 1} | parameters).transform(paths)


def load_textbook(paths):
    """Load as textbooks do."""
    images = []
    for path in paths:
        image = keras.utils.load_img(
            path, color_mode="grayscale", target_size=(SIZE, SIZE)
        )
        images.append(keras.utils.img_to_array(image) / 255)
    return np.array(images)


def load_dataset(paths):
    """Load with Keras' data set of a directory."""
    dataset = keras.utils.image_dataset_from_directory(
        os.path.dirname(paths[0]),
        labels=None,
        color_mode="grayscale",
        image_size=(SIZE, SIZE),
        shuffle=False,
        verbose=False,
    )
    return np.concatenate([np.asarray(batch) / 255 for batch in dataset])


def load_pillow(paths):
    """Load as embetter's ImageLoader and a resize do."""
    images = []
    for path in paths:
        image = Image.open(path).convert("L").resize((SIZE, SIZE))
        images.append(np.asarray(image, dtype="float32")[:, :, np.newaxis] / 255)
    return np.stack(images)


def load_opencv(paths, flag=None):
    """Load with OpenCV."""
    flag = cv2.IMREAD_GRAYSCALE if flag is None else flag
    images = []
    for path in paths:
        image = cv2.imread(path, flag)
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        images.append(image[:, :, np.newaxis].astype("float32") / 255)
    return np.stack(images)


def decode_scaled(paths):
    """Decode JPEG at the fraction that ours asks for, in gray, and drop the result."""
    for path in paths:
        with open(path, "rb") as file:
            encoded = file.read()
        simplejpeg.decode_jpeg(
            encoded,
            "GRAY",
            fastdct=True,
            fastupsample=True,
            min_height=2 * SIZE,
            min_width=2 * SIZE,
        )


def load_fully(paths):
    """Decode at full size and shrink with antialiasing: what others are held to."""
    images = []
    for path in paths:
        image = Image.open(path).convert("L")
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        images.append(np.asarray(image, dtype="float32")[:, :, np.newaxis] / 255)
    return np.stack(images)


def choose_contestants(kind):
    """Return the ways to load a kind of photographs, by their names."""
    reduction = SETS[kind][-1]
    contestants = {OURS: load_ours, TWO_THREADS: functools.partial(load_ours, n_jobs=2)}
    if kind == "adobe":
        unmanaged = functools.partial(load_ours, color_management=False)
        contestants[UNMANAGED] = unmanaged
    contestants |= {
        TEXTBOOK: load_textbook,
        DATASET: load_dataset,
        PILLOW: load_pillow,
    }
    if cv2 is not None:
        cv2.setNumThreads(1)
        contestants[OPENCV] = load_opencv
    if cv2 is not None and reduction is not None:
        flag = getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{reduction}")
        reduced = functools.partial(load_opencv, flag=flag)
        contestants["OpenCV imread reduced, resize"] = reduced
    if simplejpeg is not None and reduction is not None:
        contestants[LIMIT] = decode_scaled
    return contestants


def compare(paths, contestants, n_rounds):
    """Time the contestants and print a table.

    Returns
    -------
    ratios : dict of str to float
        How many times as long as ours each takes.
    rates : dict of str to float
        Images a second.
    difference : float
        Of ours, from decoding at full size; without a conversion of colours.
    """
    seconds = time_in_turn(
        {name: functools.partial(load, paths) for name, load in contestants.items()},
        n_rounds,
    )
    reference = load_fully(paths)
    rows, ratios, rates, differences = [], {}, {}, {}
    for name, load in contestants.items():
        images = load(paths)
        ratios[name] = divide_pairs(seconds[name], seconds[OURS])
        rates[name] = len(paths) / statistics.median(seconds[name])
        if images is not None:
            differences[name] = float(np.abs(images - reference).mean())
        rows.append(
            [
                name,
                f"{rates[name]:.0f}",
                f"{ratios[name]:.2f}",
                f"{differences[name]:.4f}" if name in differences else "-",
            ]
        )
    print_table(["", "images/s", "time / ours", "difference"], rows)
    return ratios, rates, differences.get(UNMANAGED, differences[OURS])


def profile(paths, n_rounds, *, has_limit):
    """Measure where the time of one image goes.

    Parameters
    ----------
    paths : list of str
        The files.
    n_rounds : int
        How often each step is timed.
    has_limit : bool
        Whether simplejpeg reads the files.

    Returns
    -------
    microseconds : dict of str to float
        What each step adds to those before it, on average over the images; and what
        the limit takes, if simplejpeg is there.
    """
    steps = {
        READING: _read,
        PARSING: _open,
        DECODING: _decode,
        "resizing": _resize,
        "everything else of read_image": _read_image,
    }
    limit = {LIMIT: lambda path: decode_scaled([path])} if has_limit else {}
    # The least of several: what a step costs when nothing disturbs it.
    best = {name: dict.fromkeys(paths, float("inf")) for name in steps | limit}
    for _ in range(n_rounds):
        for path in paths:
            for name, step in (steps | limit).items():
                started = time.perf_counter()
                step(path)
                seconds = time.perf_counter() - started
                best[name][path] = min(best[name][path], seconds)
    microseconds, before = {}, 0
    for name, values in best.items():
        mean = statistics.mean(values.values()) * 1e6
        microseconds[name] = mean if name == LIMIT else mean - before
        before = mean
    return microseconds


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _open(path):
    return Image.open(io.BytesIO(_read(path)), formats=["JPEG", "PNG"])


def _decode(path):
    image = _open(path)
    image.draft("L", (2 * SIZE, 2 * SIZE))
    image.load()
    return image


def _resize(path):
    return _decode(path).resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def _read_image(path):
    return read_image(path, image_size=(SIZE, SIZE))


def main(quick=False, plots=None):
    """Compare the contestants on each set of photographs."""
    n_rounds = 2 if quick else N_ROUNDS
    ratios, rates, differences, profiles = {}, {}, {}, {}
    print(describe_run(*PACKAGES))
    with tempfile.TemporaryDirectory() as folder:
        for kind, (title, n_files, _) in SETS.items():
            report_progress(title)
            n_files = n_files // 10 if quick else n_files
            paths = make_photos(os.path.join(folder, kind), kind, n_files)
            n_kilobytes = count_bytes(paths) / 1e3
            print(f"\n**{title}**: {n_files} files of {n_kilobytes:.0f} kB\n")
            contestants = choose_contestants(kind)
            ratios[kind], rates[title], differences[title] = compare(
                paths, contestants, n_rounds
            )
            profiles[title] = profile(
                paths[:20], 3 * n_rounds, has_limit=LIMIT in contestants
            )
    _print_profiles(profiles)
    _print_bounds(ratios, profiles)
    _print_goals(ratios, differences)
    _print_summary(ratios)
    if plots:
        save_bars(plots / "loading.svg", rates, "images a second (more is better)")


def _print_profiles(profiles):
    print("\nMicroseconds of one image, in one thread, when nothing disturbs it:\n")
    every = profiles.values()
    rows = [
        [step, *(f"{steps[step]:.0f}" if step in steps else "-" for steps in every)]
        for step in next(iter(every))
    ]
    print_table(["", *profiles], rows)


def _print_bounds(ratios, profiles):
    """Print how much faster than the textbook's loop loading with Pillow can be."""
    pillow = {
        title: sum(steps[name] for name in (READING, PARSING, DECODING)) / steps[LIMIT]
        for title, steps in profiles.items()
        if LIMIT in steps
    }
    shares = [f"{share:.2f} times on {title}" for title, share in pillow.items()]
    bounds = [
        f"{ratio[TEXTBOOK] / ratio[LIMIT]:.1f} times on {SETS[kind][0]}"
        for kind, ratio in ratios.items()
        if LIMIT in ratio
    ]
    if bounds:
        print(
            "\nThe limit itself is faster than the textbook's loop by "
            f"{'; '.join(bounds)}. What decoding at a fraction can't save is reading "
            "all of the file's entropy-coded data: the sharper a photograph, the more."
            "\n\nPillow's reading, parsing and decoding at the same fraction, which "
            "nothing built on Pillow can do without, takes as long as the limit "
            f"{'; '.join(shares)}."
        )


def _print_goals(ratios, differences):
    goals = []
    for kind, (title, *_) in SETS.items():
        times = ratios[kind]
        for other in (TEXTBOOK, PILLOW, OPENCV):
            reached = times.get(other)
            goals.append((f"{title}: {other} / ours", "at least", 1, reached))
        two = times[DATASET] / times[TWO_THREADS]
        goals.append((f"{title}: {DATASET} / ours, two threads", "at least", 1.2, two))
        if SETS[kind][-1] is not None:
            limit = times.get(LIMIT)
            reached = None if not limit else 1 / limit
            goals.append((f"{title}: ours / limit", "at most", 1.2, reached))
        goals.append((f"{title}: difference", "at most", 0.01, differences[title]))
    print_goals(goals)


def _print_summary(ratios):
    shares = [
        f"{times[TWO_THREADS] / times[DATASET]:.2f} on {SETS[kind][0]}"
        for kind, times in ratios.items()
    ]
    print_summary(
        "loading with two threads, beside Keras' image_dataset_from_directory: "
        f"{', '.join(shares)} (time / its time)."
    )


if __name__ == "__main__":
    arguments = read_arguments(__doc__)
    main(arguments.quick, arguments.plots)
