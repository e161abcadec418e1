"""Faults at random moments, many times; each prints counts, which `.ci/slow` shows."""

import ast
import collections
import contextlib
import functools
import gc
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import numpy as np
import pytest
from campaign_counts import show_counts
from PIL import Image

from skimgclf import ImageLoader, KerasImageClassifier, load_model, save_model
from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import ImageLoadError

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

# How often processes are killed: each starts Python anew.
N_KILLS = int(os.environ.get("N_KILLS", 12))

X = np.eye(16, dtype="float32")
TWO, FOUR = np.arange(16) % 2, np.arange(16) % 4


quick = functools.partial(
    KerasImageClassifier, hidden_layer_sizes=(4,), epochs=1, learning_rate=0.1
)


# NumPy computes the one, and TensorFlow the other.
NETWORKS = {
    "dense": (quick, X),
    "cnn": (
        lambda **parameters: quick(
            architecture="cnn",
            conv_filters=(2,),
            batch_norm=True,
            dropout=0.5,
            **parameters,
        ),
        X.reshape(-1, 4, 4, 1),
    ),
}


def predict_beside(classifier, X, work, n_threads=8):
    """Predict in threads while `work` runs; return all answers and errors."""
    is_over, answers, errors = threading.Event(), [], []

    def predict():
        while not is_over.is_set():
            try:
                answers.append(classifier.predict_proba(X))
                classifier.predict(X)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=predict) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    return answers, errors


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("is_partial", [False, True])
def test_eight_threads_see_whole_networks_beside_further_training(is_partial, network):
    make, X = NETWORKS[network]
    classifier = make(warm_start=True).fit(X, TWO)
    known = [classifier.predict_proba(X)]

    def work():
        for _ in range(20):
            (classifier.partial_fit if is_partial else classifier.fit)(X, TWO)
            known.append(classifier.predict_proba(X))

    answers, errors = predict_beside(classifier, X, work)
    torn = sum(
        not any(np.allclose(answer, each, atol=1e-6) for each in known)
        for answer in answers
    )
    how = "partial_fit" if is_partial else "warm fit"
    what = f"8 threads beside 20 times {how} ({network})"
    show_counts(what, predictions=len(answers), torn=torn, errors=len(errors))
    assert (torn, errors) == (0, [])
    assert len(answers) > 100


@pytest.mark.parametrize("network", NETWORKS)
def test_eight_threads_see_whole_classifiers_beside_refits_with_other_classes(network):
    make, X = NETWORKS[network]
    classifier, labels = make().fit(X, TWO), set()

    def work():
        for row in range(30):
            classifier.fit(X, FOUR if row % 2 else 10 + TWO)
            labels.update(classifier.classes_.tolist())

    answers, errors = predict_beside(classifier, X, work)
    what = f"8 threads beside 30 fits with other classes ({network})"
    show_counts(what, predictions=len(answers), errors=len(errors))
    assert errors == []
    assert {answer.shape[1] for answer in answers} == {2, 4}


def measure():
    gc.collect()
    with open("/proc/self/statm") as file:
        n_pages = int(file.read().split()[1])
    n_files = len(os.listdir("/proc/self/fd"))
    megabytes = n_pages * os.sysconf("SC_PAGE_SIZE") // 2**20
    return megabytes, n_files, threading.active_count()


def repeat(what, action, n_times, n_first):
    """Repeat an action; return what grew after the first times."""
    for row in range(n_times):
        action(row)
        if row == n_first:
            before = measure()
    after = measure()
    grown = [late - early for early, late in zip(before, after, strict=True)]
    growth = dict(zip(["MB more", "files more", "threads more"], grown, strict=True))
    show_counts(f"{what}, after the first {n_first}", times=n_times, **growth)
    return grown


def test_two_hundred_mixed_fits_leave_memory_files_and_threads_flat():
    images = np.random.default_rng(0).random((16, 8, 8, 1), dtype="float32")

    def fit(row):
        kinds = [{}, {"batch_norm": True}, {"dropout": 0.3}, {"optimizer": "sgd"}]
        is_cnn = row % 3 == 0
        more = {"architecture": "cnn", "conv_filters": (2,)} if is_cnn else {}
        classifier = quick(**kinds[row % 4], **more)
        classifier.fit(images if is_cnn else X, FOUR if row % 2 else TWO)
        classifier.predict(images if is_cnn else X)

    megabytes, n_files, n_threads = repeat("mixed fits", fit, 200, 60)
    assert megabytes < 40
    assert (n_files, n_threads) == (0, 0)


def test_ten_thousand_loads_leave_memory_files_and_threads_flat(tmp_path):
    images = np.random.default_rng(0).random((16, 8, 8, 1), dtype="float32")
    cnn = quick(architecture="cnn", conv_filters=(2,))
    save_model(quick().fit(X, TWO), tmp_path / "dense")
    save_model(cnn.fit(images, TWO), tmp_path / "cnn")

    def load(row):
        name, samples = ("dense", X) if row % 10 else ("cnn", images)
        load_model(tmp_path / name).predict(samples[:1])

    megabytes, n_files, n_threads = repeat("loads", load, 10_000, 1000)
    assert megabytes < 40
    assert (n_files, n_threads) == (0, 0)


INTERRUPTS = """
import os, random, signal, sys, threading, time
import numpy as np
from sklearn.model_selection import GridSearchCV
from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_digit_images

digits = load_digit_images(sys.argv[1])
paths, y = digits.filenames, digits.target
lazy = ImageLoader(image_size=(8, 8), lazy=True).transform(paths)
X = np.asarray(lazy)
dense = dict(epochs=20, random_state=0)
cnn = dict(architecture="cnn", epochs=4, random_state=0)
draws, counts = random.Random(0), dict.fromkeys(["heard", "late", "changed", "lost"], 0)
seconds = []

def prepare(parameters, data, is_search):
    classifier = KerasImageClassifier(**parameters, warm_start=True)
    classifier.fit(data[:200], y[:200])
    search = GridSearchCV(classifier, {"learning_rate": [0.001, 0.01]}, cv=2)
    return classifier, search if is_search else classifier

for number in range(int(sys.argv[2])):
    parameters, data = (dense, cnn)[number % 2], (X, lazy)[number // 2 % 2]
    classifier, trained = prepare(parameters, data, is_search=number % 10 == 9)
    before = classifier.predict_proba(X[:50])
    sent = []

    def press():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(draws.uniform(0.01, 2.5), press)
    ended = False
    try:
        timer.start()
        trained.fit(data, y)
        ended = True
        timer.cancel()
        timer.join()
        time.sleep(0)
    except KeyboardInterrupt:
        seconds.append(time.monotonic() - sent[0])
        counts["heard"] += 1
        counts["late"] += seconds[-1] > 2
    else:
        counts["lost"] += bool(sent)
    if not ended:
        now = classifier.predict_proba(X[:50])
        counts["changed"] += not np.array_equal(now, before)
print(counts | {"slowest, in s": round(max(seconds), 2)})
"""


def test_no_ctrl_c_is_lost_at_random_moments_of_fits_and_searches(tmp_path):
    """Dense and cnn, eager and lazy, in the main thread of a process."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTS, tmp_path, "200"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    counts = ast.literal_eval(done.stdout.splitlines()[-1])
    show_counts("Ctrl-C in fits and searches", signals=200, **counts)
    assert counts["heard"] > 100
    assert (counts["lost"], counts["late"], counts["changed"]) == (0, 0, 0)


FITS = """
import sys
from skimgclf import ImageLoader, KerasImageClassifier, save_model
from skimgclf.datasets import load_image_csv
from skimgclf.saving import BestEpochCheckpoint

table, folder = sys.argv[1:]
paths, y = load_image_csv(table, return_X_y=True)
loader = ImageLoader(image_size=(8, 8), cache=f"{folder}/cache")
checkpoint = BestEpochCheckpoint(f"{folder}/best", monitor="accuracy")
classifier = KerasImageClassifier(epochs=3, callbacks=checkpoint, learning_rate=0.01)
for size in range(8, 1000):  # each with decodes, a fit and two kinds of saving
    loader.set_params(image_size=(8, size))
    classifier.fit(loader.transform(paths), y)
    classifier.callbacks = None
    save_model(classifier, f"{folder}/last")
    classifier.callbacks = checkpoint
    if size == 8:  # once all files are there
        print("ready", flush=True)
"""


def start(code, *arguments, **settings):
    """Start Python in a group of processes of its own, and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **settings,
    )
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()[1]
    return process


def list_alive(group):
    """List the processes of a group that still run."""
    alive = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, found = path.read_text().rpartition(") ")[2].split()[:3]
            if int(found) == group and state not in "ZX":
                alive.append(int(path.parent.name))
    return alive


def end_group(group, seconds=120):
    """Wait until all processes of a group have ended; kill and return the others."""
    deadline = time.monotonic() + seconds
    while list_alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = list_alive(group)
    for number in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return left


def compare_cached(paths, folder, size):
    """Tell whether a cache gives the pixels of the files, and warns of nothing."""
    loader = ImageLoader(image_size=size, cache=folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached = loader.transform(paths)
    return np.array_equal(cached, ImageLoader(image_size=size).transform(paths))


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGINT"])
def test_kills_at_random_moments_of_fits_leave_whole_files(
    tmp_path, digit_folder, kind
):
    """A cache, a checkpoint of each best epoch and a saved model are being written."""
    number = getattr(signal, kind)
    table = digit_folder / "train.csv"
    paths = load_image_csv(table, return_X_y=True)[0]
    draws, counts = random.Random(0), collections.Counter()
    for _ in range(N_KILLS):
        process = start(FITS, table, tmp_path)
        time.sleep(draws.uniform(0, 4))
        os.kill(process.pid, number)
        _, error = process.communicate(timeout=60)
        is_heard = process.returncode == -signal.SIGKILL or "KeyboardInterrupt" in error
        counts["ended"] += is_heard
        for name in ("best", "last"):  # a broken file would be an error
            loaded = load_model(tmp_path / name)
            counts[name] += len(loaded.predict(np.zeros((1, *loaded.image_shape_))))
        counts["cache"] += compare_cached(paths, tmp_path / "cache", (8, 8))
    strays = [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    save_model(quick().fit(X, TWO), tmp_path / "last")  # sweeps up
    left = [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    found = {"strays": len(strays), "left later": len(left)}
    show_counts(f"{kind} in fits that save", times=N_KILLS, **counts, **found)
    assert set(counts.values()) == {N_KILLS}
    assert left == []


SEARCH = """
import sys
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_image_csv

table, folder = sys.argv[1:]
paths, y = load_image_csv(table, return_X_y=True)
loader = ImageLoader(image_size=(8, 8), cache=f"{folder}/cache")
steps = [("load", loader), ("classify", KerasImageClassifier(epochs=20))]
candidates = {"classify__learning_rate": [10.0**-n for n in range(2, 200)]}
search = GridSearchCV(Pipeline(steps), candidates, cv=3, n_jobs=2, error_score="raise")
print("ready", flush=True)
search.fit(paths, y)
"""


@pytest.mark.parametrize("kind", ["Ctrl-C", "kill", "kill a worker"])
def test_searches_of_two_processes_end_as_a_whole(tmp_path, digit_folder, kind):
    """Ctrl-C goes to all processes, as from a terminal; a kill goes to one."""
    table = digit_folder / "train.csv"
    paths = load_image_csv(table, return_X_y=True)[0]
    draws, counts, seconds = random.Random(0), collections.Counter(), []
    n_kills = N_KILLS // 3
    for _ in range(n_kills):
        process = start(SEARCH, table, tmp_path)
        group = process.pid
        while len(list_workers(group)) < 2:
            time.sleep(0.1)
        time.sleep(draws.uniform(0, 20))
        started = time.monotonic()
        if kind == "Ctrl-C":
            os.killpg(group, signal.SIGINT)
        elif kind == "kill":
            os.kill(group, signal.SIGKILL)
        else:
            os.kill(list_workers(group)[0], signal.SIGKILL)
        process.wait(timeout=120)
        counts["left"] += len(end_group(group))
        seconds.append(time.monotonic() - started)
        _, error = process.communicate()
        counts["ended"] += process.returncode != 0
        counts["told"] += any(
            word in error for word in ("KeyboardInterrupt", "TerminatedWorkerError")
        )
        counts["cache"] += compare_cached(paths, tmp_path / "cache", (8, 8))
    slowest = {"slowest, in s": round(max(seconds), 1)}
    what = f"searches of two processes, {kind}"
    show_counts(what, times=n_kills, **counts, **slowest)
    assert counts["ended"] == counts["cache"] == n_kills
    assert counts["left"] == 0
    assert counts["told"] == (0 if kind == "kill" else n_kills)


def list_workers(group):
    """List the workers of joblib in a group of processes."""
    return [
        number
        for number in list_alive(group)
        if b"LokyProcess" in pathlib.Path(f"/proc/{number}/cmdline").read_bytes()
    ]


def write_growing(path, content):
    """Write a file piece by piece, as a camera or a download does."""
    with open(path, "wb") as file:
        for start in range(0, len(content), 200):
            file.write(content[start : start + 200])
            file.flush()


def write_replacing(path, content):
    pathlib.Path(f"{path}.new").write_bytes(content)
    os.replace(f"{path}.new", path)


@pytest.mark.parametrize("write", [write_growing, write_replacing])
@pytest.mark.parametrize("extension", ["png", "jpg"])
@pytest.mark.parametrize("is_cached", [False, True])
def test_files_that_change_while_they_are_read_give_no_mixture(
    tmp_path, write, extension, is_cached
):
    """Each reading gives one of the images, or an error that names the file."""
    path, contents, known = tmp_path / f"a.{extension}", [], []
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 40), dtype="uint8")
        Image.fromarray(noise).save(path)
        contents.append(path.read_bytes())
        known.append(ImageLoader().transform([path])[0])
    cache = tmp_path / "cache" if is_cached else None
    loader, is_over = ImageLoader(cache=cache), threading.Event()
    counts = collections.Counter()

    def rewrite():
        while not is_over.is_set():
            for content in contents:
                write(path, content)
                time.sleep(0.002)  # or hardly any reading would find it whole

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(1500):
            try:
                image = loader.transform([path])[0]
            except ImageLoadError as error:
                counts["errors" if error.path == f"{path}" else "nameless"] += 1
            else:
                is_known = any(np.array_equal(image, each) for each in known)
                counts["whole" if is_known else "mixed"] += 1
    finally:
        is_over.set()
        thread.join()
    what = f"{write.__name__} {extension}{' through a cache' * is_cached}"
    show_counts(what, readings=1500, **counts)
    assert counts["mixed"] == counts["nameless"] == 0
    assert counts["whole"] > (100 if write is write_replacing else 0)
    if write is write_replacing:
        assert counts["errors"] == 0
    # Once nothing changes any more, the pixels are those of the file.
    final = ImageLoader().transform([path])[0]
    assert np.array_equal(loader.transform([path])[0], final)


# A second user, who may read what is everybody's: root makes it, or nobody does.
STRANGER = 65534

AS_STRANGER = """
import contextlib, io, os, pathlib, sys, warnings
import numpy as np
from skimgclf import ImageLoader, KerasImageClassifier, cli, load_model, save_model
from skimgclf.exceptions import ImageCacheWarning, ImageLoadError

os.chdir(sys.argv[1])
# Python itself may lie where strangers can't read: import all that is needed first.
save_model(load_model("theirs/model"), "theirs/first")
for arguments in [["check", "images"], ["predict", "theirs/first", "images/0.png"]]:
    cli.main(arguments)
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
counts = dict.fromkeys(["refused", "kept", "right", "told"], 0)

def refuse(act, *words):
    try:
        act()
    except OSError as error:
        counts["refused"] += isinstance(error, PermissionError)
        counts["told"] += all(word in str(error) for word in words)

images = [f"images/{n}.png" for n in range(4)]
plain = ImageLoader().transform(images)
model = load_model("theirs/model")
before = pathlib.Path("theirs/model").read_bytes()
refuse(lambda: save_model(model, "theirs/model"), "theirs")
refuse(lambda: save_model(model, "theirs/new"), "theirs")
refuse(lambda: load_model("theirs/hidden"), "hidden")
counts["kept"] += pathlib.Path("theirs/model").read_bytes() == before
# The cache of another user: read it, or decode, but never fail.
for cache in ["theirs/cache", "theirs/newcache", "everybodys/cache"]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = ImageLoader(cache=cache).transform(images)
    counts["right"] += np.array_equal(pixels, plain)
    assert {each.category for each in caught} <= {ImageCacheWarning}, caught
try:
    ImageLoader().transform(["images/hidden.png"])
except ImageLoadError as error:
    counts["told"] += "hidden.png" in str(error) and "ermission" in str(error)
for arguments in [
    ["check", *images, "--output", "theirs/report.csv"],
    ["predict", "theirs/model", images[0], "--output", "theirs/report.csv"],
    ["predict", "theirs/hidden", images[0]],
    ["fit", "images", "--output", "theirs/m"],
]:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        counts["refused"] += cli.main(arguments) == 1
    counts["told"] += "ermission" in said.getvalue()
save_model(model, "everybodys/model")
mine = load_model("everybodys/model")
counts["kept"] += mine.predict(plain[:, ::7, ::7]).shape == (4,)
print(counts)
"""


@pytest.mark.skipif(
    getattr(os, "getuid", lambda: None)() != 0,
    reason="only root can run another user's part",
)
def test_two_users_and_read_only_folders(digit_folder):
    # pytest's folders can't be entered by others.
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        for name in ["images", "theirs", "everybodys"]:
            (folder / name).mkdir()
        images = [folder / f"images/{number}.png" for number in range(4)]
        for number, path in enumerate(images):
            shutil.copy(digit_folder / f"{number}/digit_000{number}.png", path)
        shutil.copy(images[0], folder / "images/hidden.png")
        loader = ImageLoader(cache=folder / "theirs/cache")
        small = loader.transform(images)[:, ::7, ::7]
        save_model(quick().fit(small, np.arange(4) % 2), folder / "theirs/model")
        shutil.copy(folder / "theirs/model", folder / "theirs/hidden")
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        folder.chmod(0o755)
        (folder / "everybodys").chmod(0o1777)
        for path in ["images/hidden.png", "theirs/hidden"]:
            (folder / path).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", AS_STRANGER, folder, str(STRANGER)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        counts = ast.literal_eval(done.stdout.splitlines()[-1])
        show_counts("another user's and read-only folders", **counts)
        assert counts == {"refused": 7, "kept": 2, "right": 3, "told": 8}
        # What the stranger wrote is read here, too, and his cache is right.
        assert compare_cached(images, folder / "everybodys/cache", (28, 28))
        assert load_model(folder / "everybodys/model").classes_.tolist() == [0, 1]
    finally:
        shutil.rmtree(folder)
