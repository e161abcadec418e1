"""Images to cache, and a look into the file of a cache."""

import sqlite3
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sample_images import make_scene

from skimgclf.images import ImageLoader

SIZE = {"image_size": (9, 7), "color_mode": "rgb"}


def write_forty_images(folder):
    """Write forty images that differ, and wait until they are old enough to be kept."""
    scene = make_scene()
    for row in range(40):
        Image.fromarray(np.roll(scene, row, axis=1)).save(folder / f"{row:02}.png")
    wait_for_the_clock()
    return sorted(str(path) for path in folder.iterdir())


def wait_for_the_clock():
    time.sleep(0.03)


def load(paths, cache=None, **parameters):
    return ImageLoader(cache=cache, **(SIZE | parameters)).transform(paths)


def count_entries(cache, table="entries"):
    with sqlite3.connect(find_file(cache)) as connection:
        (count,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    connection.close()
    return count


def find_file(cache):
    (path,) = Path(cache).glob("*.sqlite")
    return path


def write_gray(path, gray):
    Image.new("L", (20, 20), gray).save(path)
