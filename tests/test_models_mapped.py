"""Images in one array on disk, np.memmap: written in parallel, read batch by batch."""

import time

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.utils import gen_even_slices

from skimgclf import ImageLoader, KerasImageClassifier

# Its training program is traced quickly.
SMALL = {"hidden_layer_sizes": (), "optimizer": "sgd", "epochs": 2, "random_state": 0}


def map_images(path, X):
    np.save(path, (X * 255).astype(np.uint8))
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"early_stopping": True, "class_weight": {"3": 0.0}},
    ],
    ids=["defaults", "held out and left out"],
)
def test_mapped_images_learn_the_same_bit_for_bit(digits, tmp_path, parameters):
    X, y = digits
    mapped = map_images(tmp_path / "images.npy", X)
    assert isinstance(mapped, np.memmap)
    fits = [
        KerasImageClassifier(**SMALL, **parameters).fit(images, y)
        for images in (mapped, np.array(mapped))
    ]
    for first, second in zip(*(fit.model_.get_weights() for fit in fits), strict=True):
        np.testing.assert_array_equal(first, second)
    assert fits[0].history_ == fits[1].history_


WRITE_AND_LOOK = """
import os, sys
import joblib
import numpy as np
from sklearn.utils import gen_even_slices
from skimgclf import ImageLoader

def write(loader, paths, file, rows):
    images = np.load(file, mmap_mode="r+")
    images[rows] = loader.transform(paths[rows])
    images.flush()
    return os.getpid(), "tensorflow" in sys.modules or "keras" in sys.modules

file, *paths = sys.argv[1:]
loader = ImageLoader(image_size=(8, 8), dtype="uint8")
shape = (len(paths), 8, 8, 1)
np.lib.format.open_memmap(file, mode="w+", dtype="uint8", shape=shape)
parts = gen_even_slices(len(paths), 4)
with joblib.Parallel(n_jobs=2) as parallel:
    done = parallel(joblib.delayed(write)(loader, paths, file, part) for part in parts)
print(len(done), os.getpid() in dict(done), any(heavy for _, heavy in done))
"""


@pytest.mark.slow
def test_mapped_images_are_written_in_parallel(digits, tmp_path, run_python):
    """By processes that import neither Keras nor TensorFlow."""
    paths = []
    for row, image in enumerate(digits[0][:50]):
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray((image[:, :, 0] * 255).astype(np.uint8)).save(paths[-1])
    file = tmp_path / "images.npy"
    assert run_python(WRITE_AND_LOOK, file, *paths) == "4 False False"
    expected = ImageLoader(image_size=(8, 8), dtype="uint8").transform(paths)
    np.testing.assert_array_equal(np.load(file, mmap_mode="r"), expected)


@pytest.mark.slow
def test_mapped_images_fill_a_cache_in_parallel(digits, tmp_path, decodes):
    """Afterwards nothing is decoded any more."""
    paths = []
    for row, image in enumerate(digits[0][:50]):
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray((image[:, :, 0] * 255).astype(np.uint8)).save(paths[-1])
    time.sleep(0.03)  # files that are younger may still change unseen, and aren't kept
    loader = ImageLoader(image_size=(8, 8), cache=tmp_path / "cache")
    with joblib.Parallel(n_jobs=2) as parallel:
        parts = parallel(
            joblib.delayed(loader.transform)(paths[part])
            for part in gen_even_slices(len(paths), 4)
        )
    assert decodes == []  # in this process
    np.testing.assert_array_equal(loader.transform(paths), np.concatenate(parts))
    assert decodes == []


FLAT_MEMORY = """
import sys, threading
import numpy as np
from skimgclf import KerasImageClassifier

X = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(X)) % 2
weights = np.where(np.arange(len(X)) % 5, 1.0, 0.0)

def own_memory():
    # Not the pages of the mapped file, which the system takes back when it needs them.
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("RssAnon"))
    return int(line.split()[1]) // 1024

def watch():
    while not done.wait(0.005):
        sizes.append(own_memory())

def work(X, y, weights):
    classifier = KerasImageClassifier(
        hidden_layer_sizes=(8,), epochs=1, early_stopping=True, random_state=0
    )
    classifier.fit(X, y, weights).predict(X)

work(np.array(X[:100]), y[:100], weights[:100])
idle = own_memory()
sizes, done = [idle], threading.Event()
thread = threading.Thread(target=watch)
thread.start()
work(X, y, weights)
done.set()
thread.join()
print(max(sizes) - idle, X.nbytes // 2**20)
"""


@pytest.mark.slow
def test_mapped_images_are_not_copied_into_memory(tmp_path, run_python):
    """Neither checked, held out, left out with a weight of 0, nor predicted."""
    path = tmp_path / "images.npy"
    # Zeros that the disk needn't hold.
    shape = (4000, 128, 128, 3)
    np.lib.format.open_memmap(path, mode="w+", dtype="uint8", shape=shape)
    grown, in_file = map(int, run_python(FLAT_MEMORY, path).split())
    assert in_file == 187
    assert grown < 110
