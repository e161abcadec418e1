"""What a worker of a web service takes: memory, and time of an answer.

Starts the two applications of ``examples/serving`` one after the other, as a user
would, with models of three kinds, and uploads JPEG files of 500x375 pixels to them on
this machine: by one client that waits for each answer, then by four at once. "ms" is
the time that a client sees, from sending an image to reading the answer; CPU seconds to
start, and CPU ms an image, are those that the server's process computes. Memory is
what it holds, once it is ready and at its most.

Server and clients share the cores. The models are trained for an epoch on few images:
what they answer doesn't matter here.

Needs ``pip install "skimgclf[serve,export,pretrained]" onnxruntime`` and Linux. Takes
about three minutes on two cores. Run it with ``python examples/benchmarks/serving.py``;
names of kinds choose some of them, and ``--write`` also writes the table for the user
guide to ``docs/user_guide/_serving.md``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import concurrent.futures
import contextlib
import http.client
import io
import itertools
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from _photos import make_photos
from _report import describe_run, print_table
from run_all import describe_conditions, measure_others

from skimgclf import export_model, make_image_pipeline, save_model
from skimgclf.datasets import load_photo_patches

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "user_guide" / "_serving.md"
SERVING = ROOT / "examples" / "serving"
# Application -> ending of its model.
APPS = {"app": "model", "onnx_app": "onnx"}
KINDS = ("digits", "photos", "few_photos")
N_REQUESTS, N_CLIENTS = 100, 4
N_SECONDS = 300

BOUNDARY = "a-boundary-of-parts"


def write_models(kind, folder):
    """Train a pipeline for a moment, save and export it.

    Returns
    -------
    models : dict of str to str
        Ending -> path.
    """
    photos = load_photo_patches(folder)
    pipeline = make_image_pipeline(kind, epochs=1, random_state=0)
    pipeline.fit(photos.filenames[::20], photos.target[::20])
    models = {ending: f"{folder}/{kind}.{ending}" for ending in APPS.values()}
    save_model(pipeline, models["model"])
    export_model(pipeline, models["onnx"])
    return models


@contextlib.contextmanager
def running(app, model):
    """Run a server, and yield its port and the number of its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", f"{app}:app", "--port", f"{port}"]
    server = subprocess.Popen(
        [*command, "--log-level", "error"],
        cwd=SERVING,
        env={**os.environ, "MODEL": model},
    )
    try:
        wait_until_ready(server, port)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(N_SECONDS)


def wait_until_ready(server, port):
    """Ask for the health of a server until it answers."""
    end = time.monotonic() + N_SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"The server hasn't started within {N_SECONDS} s.")


def upload(port, contents):
    """Upload files one after the other over one connection.

    Returns
    -------
    milliseconds : list of float
        How long each answer took.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=N_SECONDS)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    milliseconds = []
    for content in contents:
        started = time.perf_counter()
        connection.request("POST", "/predict", make_body(content), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        milliseconds.append((time.perf_counter() - started) * 1000)
        if answer.status != 200 or '"label"' not in text:
            raise RuntimeError(f"The server answers {answer.status}: {text}")
    connection.close()
    return milliseconds


def make_body(content):
    """Make a form with one file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; '
        'filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def read_megabytes(process, name):
    """Read an entry of a process in MB: VmRSS (resident now) or VmHWM (at its most)."""
    with open(f"/proc/{process}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return int(status[name].split()[0]) * 1024 / 1e6


def read_cpu_seconds(process):
    """Read how long a process has computed, all threads together."""
    with open(f"/proc/{process}/stat") as file:
        user, system = map(int, file.read().rpartition(")")[2].split()[11:13])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def measure(app, model, contents):
    """Measure one server.

    Returns
    -------
    cells : list of float
        MB when it is ready and at its most; CPU seconds until it was ready, and CPU ms
        an image; milliseconds for one client, median and 95th percentile; images a
        second for several.
    """
    with running(app, model) as (port, process):
        at_start = read_megabytes(process, "VmRSS")
        to_start = read_cpu_seconds(process)
        upload(port, contents[:20])  # the first ones start threads
        before = read_cpu_seconds(process)
        alone = upload(port, contents)
        computed = read_cpu_seconds(process) - before
        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(N_CLIENTS) as clients:
            answers = clients.map(upload, [port] * N_CLIENTS, [contents] * N_CLIENTS)
            together = list(itertools.chain.from_iterable(answers))
        seconds = time.perf_counter() - started
        at_most = read_megabytes(process, "VmHWM")
    return [
        at_start,
        at_most,
        to_start,
        1000 * computed / len(alone),
        statistics.median(alone),
        statistics.quantiles(alone, n=20)[-1],
        len(together) / seconds,
    ]


def main(kinds=KINDS, n_requests=N_REQUESTS, write=False):
    """Measure the kinds, with so many images a client, and print the table."""
    rows = []
    others, began = measure_others(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(f"{folder}/crops", "crops", n_requests)
        contents = [pathlib.Path(path).read_bytes() for path in photos]
        for kind in kinds:
            models = write_models(kind, folder)
            for app, ending in APPS.items():
                print(f"serving.py: {kind}, {app} ...", file=sys.stderr, flush=True)
                start, most, *times = measure(app, models[ending], contents)
                cells = [f"{start:.0f}", f"{most:.0f}", *(f"{t:.1f}" for t in times)]
                rows.append([f"`{app}.py`", f'"{kind}"', *cells])
    printed = io.StringIO()
    header = ["service", "model", "MB at start", "MB at most", "CPU s to start"]
    header += ["CPU ms an image", "ms", "ms, 95 %", "images a second, 4 clients"]
    with contextlib.redirect_stdout(printed):
        print_table(header, rows)
        print(f"\nEach client uploaded {n_requests} images, one in a request.")
        print(f"\n{describe_run('fastapi', 'uvicorn', 'onnxruntime', 'tensorflow')}")
        minutes = (time.monotonic() - began) / 60
        print(f"\n{describe_conditions(minutes, others, is_quick=False)}")
    print(printed.getvalue(), end="")
    if write:
        PAGE.write_text(printed.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND")
    parser.add_argument("--requests", type=int, default=N_REQUESTS, metavar="N")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    main(given.kinds or KINDS, given.requests, given.write)
