"""Measure how fast ImageLoader reads images that aren't files on disk.

Writes 400 JPEG photos of 640x480 pixels (scikit-learn's two, shifted) and loads them to
64x64 pixels in colour from a folder, from a zip file, from one that holds 20,000 other
files as well, one by one from a web server on this machine, and from a zip file behind
it, by one thread and by eight. The server shares the processors with the loader, and
answers at once: a far one adds its latency, which threads hide.

Beside it stands the same with ``fsspec.open(url).read()`` for each image, by as many
threads: the difference is what `skimgclf/images/_urls.py` gains by keeping archives
open and by asking web servers once for each image.

Needs the extra ``remote``. Takes about two minutes on two cores.

Run it with ``python examples/benchmarks/remote_reading.py``.
"""

import contextlib
import functools
import http.server
import os
import shutil
import statistics
import tempfile
import threading
import time
import zipfile

import fsspec
import numpy as np
from _report import describe_run, print_table
from joblib import Parallel, delayed
from PIL import Image
from sklearn.datasets import load_sample_images

from skimgclf import ImageLoader
from skimgclf.images import read_image

N_IMAGES = 400
N_ROUNDS = 3
N_OTHERS = 20_000
PIXELS = {"image_size": (64, 64), "color_mode": "rgb"}


class Server(http.server.ThreadingHTTPServer):
    """A server that keeps up: the default of 5 makes clients wait for each other."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing of connections that the client closes early."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """A handler that keeps connections, and sends without waiting for the client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        """Say nothing of each request."""


@contextlib.contextmanager
def serve(folder):
    """Serve a folder on this machine, and give its URL."""
    server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_images(folder, n_images):
    """Write the images as files and into two zip files; return their names."""
    photos = [
        Image.fromarray(photo).resize((640, 480))
        for photo in load_sample_images().images
    ]
    names = [f"{row:04}.jpg" for row in range(n_images)]
    with zipfile.ZipFile(os.path.join(folder, "all.zip"), "w") as archive:
        for row, name in enumerate(names):
            photo = np.roll(np.asarray(photos[row % 2]), row, axis=1)
            path = os.path.join(folder, name)
            Image.fromarray(photo).save(path, quality=85)
            archive.write(path, name)
    shutil.copy(os.path.join(folder, "all.zip"), os.path.join(folder, "large.zip"))
    with zipfile.ZipFile(os.path.join(folder, "large.zip"), "a") as archive:
        for row in range(N_OTHERS):
            archive.writestr(f"others/{row:05}.txt", b"")
    return names


def load(urls, n_jobs):
    """Load with ImageLoader."""
    ImageLoader(**PIXELS, n_jobs=n_jobs).transform(urls)


def load_plainly(urls, n_jobs):
    """Load with nothing but ``fsspec.open`` and the same decoding."""

    def read(url):
        with fsspec.open(url) as file:
            return read_image(file.read(), **PIXELS)

    Parallel(n_jobs=n_jobs, backend="threading")(delayed(read)(url) for url in urls)


COLUMNS = {
    (1, load): "1 thread",
    (1, load_plainly): "fsspec.open",
    (8, load): "8 threads",
    (8, load_plainly): "fsspec.open",
}


def measure(function, urls, n_jobs):
    """Load once, and return images a second."""
    started = time.perf_counter()
    function(urls, n_jobs)
    return len(urls) / (time.perf_counter() - started)


def main(n_images=N_IMAGES, n_rounds=N_ROUNDS):
    """Time all ways in turn, print a table, and return images a second."""
    with tempfile.TemporaryDirectory() as folder:
        names = write_images(folder, n_images)
        with serve(folder) as server:
            ways = {
                "folder": f"{folder}/{{}}",
                "`zip://`": f"zip://{{}}::{folder}/all.zip",
                "`zip://`, 20,000 others": f"zip://{{}}::{folder}/large.zip",
                "`http://`": f"{server}/{{}}",
                "`zip://...::simplecache::http://`": (
                    f"zip://{{}}::simplecache::{server}/all.zip"
                ),
            }
            keys = [(way, *column) for way in ways for column in COLUMNS]
            rates = {key: [] for key in keys}
            for _ in range(n_rounds):
                for way, n_jobs, function in keys:
                    urls = [ways[way].format(name) for name in names]
                    rates[way, n_jobs, function].append(measure(function, urls, n_jobs))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    print(describe_run("fsspec", "aiohttp", "pillow"))
    rows = [
        [way, *(f"{medians[way, *column]:.0f}" for column in COLUMNS)] for way in ways
    ]
    print_table(["images a second from", *COLUMNS.values()], rows)
    return medians


if __name__ == "__main__":
    main()
