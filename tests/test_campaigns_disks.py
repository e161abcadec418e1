"""Real small disks that are full, read-only or under a quota; each prints counts."""

import collections
import contextlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from campaign_counts import show_counts
from loopback_server import LoopbackServer
from PIL import Image

from skimgclf import ImageLoader, KerasImageClassifier, cli, export_model
from skimgclf.datasets import fetch_image_archive, load_digit_images, load_image_csv
from skimgclf.exceptions import DatasetError
from skimgclf.saving import BestEpochCheckpoint, load_model, save_model

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

# How many sizes of free space are tried for each kind of file.
N_SIZES = int(os.environ.get("N_SIZES", 16))

X, y = np.eye(64, dtype="float32"), np.arange(64) % 2


@pytest.fixture
def mount(tmp_path):
    """Return a function that mounts a small disk, where the system lets us."""
    mounted = []

    def mount(*options, kind="tmpfs", source="tmpfs"):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        run("mount", "-t", kind, "-o", ",".join(options), source, folder)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:  # even while SQLite has a file open there
        subprocess.run(["umount", "-l", folder], check=True)


def run(*command):
    """Run a command of the system, or skip the test by its reason."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"there is no {command[0]} here: {error}")
    if done.returncode:
        pytest.skip(f"{command[0]} isn't possible here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def model(digit_folder, tmp_path_factory):
    """Train a network of a hundred kilobytes by the command."""
    path = tmp_path_factory.mktemp("model") / "m"
    call("fit", f"{digit_folder}/train.csv", *SMALL, "--output", path)
    return path


SMALL = ["--image-size", "8x8", "--hidden-layer-sizes", "256", "--epochs", "1"]


def call(*arguments):
    """Run the command in this process; raise what it says if it fails."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        if cli.main(list(map(str, arguments))):
            raise OSError(said.getvalue())


class Writers:
    """Write each kind of file on a disk, and check that it is whole."""

    def __init__(self, model, digit_folder, server):
        self.path, self.model = model, load_model(model)
        self.table = digit_folder / "train.csv"
        self.images = load_image_csv(self.table, return_X_y=True)[0]
        self.archive = shutil.make_archive(model.parent / "a", "zip", digit_folder)
        self.packed = server.files["/b.zip"] = pathlib.Path(self.archive).read_bytes()
        self.url = f"{server.url}/b.zip"

    def save(self, disk):
        save_model(self.model, disk / "model")
        assert load_model(disk / "model").classes_.tolist() == [*"0123456789"]

    def export(self, disk):
        export_model(self.model, disk / "model", format="keras")

    def checkpoint(self, disk):
        classifier = KerasImageClassifier(
            epochs=1, callbacks=BestEpochCheckpoint(disk / "best")
        )
        try:
            classifier.fit(X, y)
        except OSError:
            assert not hasattr(classifier, "classes_")
            raise
        assert load_model(disk / "best").classes_.tolist() == [0, 1]

    def unpack(self, disk):
        folder = fetch_image_archive(self.archive, data_home=disk, progress=False)
        assert len(list(pathlib.Path(folder).rglob("*.png"))) == 1797

    def download(self, disk):
        folder = fetch_image_archive(self.url, data_home=disk, progress=False)
        assert len(list(pathlib.Path(folder).rglob("*.png"))) == 1797

    def digits(self, disk):
        assert len(load_digit_images(disk).filenames) == 1797

    def fit(self, disk):
        call("fit", self.table, *SMALL, "--output", disk / "model")
        assert load_model(disk / "model").classes_.tolist() == [*"0123456789"]

    def predict(self, disk):
        output = disk / "table.csv"
        call("predict", self.path, "--csv", self.table, "--output", output)
        assert len(output.read_text().splitlines()) == 151

    def check(self, disk):
        call("check", self.table, "--output", disk / "table.csv")
        assert len((disk / "table.csv").read_text().splitlines()) == 151


# What is there already isn't written again, so that each trial needs an empty disk.
ONCE = {"unpack", "download", "digits"}
KINDS = ["save", "export", "checkpoint", "fit", "predict", "check", *sorted(ONCE)]


@pytest.fixture
def writers(model, digit_folder):
    with LoopbackServer() as server:
        yield Writers(model, digit_folder, server)


def leave_bytes(disk, n_free):
    """Fill a disk but for some bytes."""
    status = os.statvfs(disk)
    with open(disk / "filler", "wb") as file:
        n_bytes = status.f_bavail * status.f_frsize - n_free
        os.posix_fallocate(file.fileno(), 0, max(1, n_bytes))


def leave_inodes(disk, n_free):
    """Make empty files on a disk until only some more are possible."""
    (disk / "filler").mkdir()
    for number in range(os.statvfs(disk).f_favail - n_free):
        (disk / "filler" / str(number)).touch()


def leave_quota(disk, n_free):
    """Set a quota that leaves some bytes, for which the disk has room."""
    limit_quota(disk, count_used(disk, leave_quota) + n_free)


def limit_quota(disk, n_bytes):
    # From the folder above, on which there is no quota; 256 is the first subvolume.
    command = ["btrfs", "qgroup", "limit", f"{n_bytes}", "0/256", disk.parent]
    subprocess.run(command, check=True)


def make_room(disk, leave):
    """Undo what `leave` did."""
    if leave is leave_quota:
        limit_quota(disk, "none")
        return
    filler = disk / "filler"
    shutil.rmtree(filler) if filler.is_dir() else filler.unlink()


def count_used(disk, leave):
    status = os.statvfs(disk)
    if leave is leave_quota:
        command = ["btrfs", "qgroup", "show", "--raw", "--sync", "-f", disk]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1].split()[1])
    if leave is leave_inodes:
        return status.f_files - status.f_ffree
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@pytest.fixture
def make_disk(mount, tmp_path):
    """Return a function that makes a disk on which something can be left."""

    def make_disk(leave, *options):
        if leave is not leave_quota:
            return mount(*options)
        image = tmp_path / "image"
        with open(image, "wb") as file:
            file.truncate(2**28)
        run("mkfs.btrfs", image)
        disk = mount("loop", kind="btrfs", source=image)
        run("btrfs", "quota", "enable", disk)
        run("btrfs", "subvolume", "create", disk / "quota")
        return disk / "quota"

    return make_disk


def clear(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_all(disk):
    """Read all files of a disk, but for locks and downloads that are kept."""
    return {
        path: path.read_bytes()
        for path in disk.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".archive")
    }


def is_told(error, disk, words):
    """Tell whether an error names a file of a disk, and says what to do."""
    is_named = f"{disk}" in str(error) or "bytes that are free" in str(error)
    return is_named and any(word in str(error) for word in words)


# What a file system takes for itself while it writes.
ROOM = {leave_bytes: 40_000, leave_inodes: 3, leave_quota: 1_000_000}


@pytest.mark.parametrize("leave", ROOM)
@pytest.mark.parametrize("kind", KINDS)
def test_full_disks_tear_nothing_and_are_named(make_disk, writers, kind, leave):
    """However many bytes or inodes are left; with a little more it works."""
    disk = make_disk(leave, "size=24m", "nr_inodes=6000")
    write, counts = getattr(writers, kind), collections.Counter()
    n_before = count_used(disk, leave)
    write(disk)
    needed = count_used(disk, leave) - n_before
    if kind in ONCE:
        clear(disk)
    most = needed * 1.1 + ROOM[leave]
    for n_free in np.linspace(0, most, N_SIZES).astype(int):
        before = read_all(disk)
        leave(disk, n_free)
        try:
            write(disk)
        except (OSError, DatasetError) as error:
            refusal = error
        else:
            refusal = None
        make_room(disk, leave)
        after = read_all(disk)
        counts["refused" if refusal else "written"] += 1
        counts["strays"] += sum(path.suffix == ".tmp" for path in after)
        if refusal:
            downloads = [path.read_bytes() for path in disk.rglob(".*.archive")]
            is_torn = before != after or any(d != writers.packed for d in downloads)
            counts["torn"] += is_torn
            counts["told"] += is_told(refusal, disk, ["delete files there"])
        if kind in ONCE:
            clear(disk)
    show_counts(f"full disk, {kind}, {leave.__name__}", trials=N_SIZES, **counts)
    assert counts["torn"] == counts["strays"] == 0
    assert counts["told"] == counts["refused"] > 0
    assert counts["written"] > 0


LOAD = """
import sys, warnings
import numpy as np
from skimgclf import ImageLoader
cache, size, plain, *paths = sys.argv[1:]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        loader = ImageLoader(image_size=(int(size), int(size)), cache=cache)
        assert np.array_equal(loader.transform(paths), np.load(plain)[: len(paths)])
for warning in caught:
    assert f"The cache {cache!r}" in str(warning.message), warning
print(len(caught))
"""


def load_cached(cache, size, plain, paths):
    """Load images three times by a new process; compare pixels, count warnings."""
    arguments = map(str, [cache, size, plain, *paths])
    command = [sys.executable, "-c", LOAD, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("leave", ROOM)
def test_a_cache_on_a_full_disk_costs_one_warning(make_disk, writers, tmp_path, leave):
    """However much is left, empty or half full before; later it can be used again."""
    disk, counts = make_disk(leave, "size=8m", "nr_inodes=2000"), collections.Counter()
    plain, paths = tmp_path / "plain.npy", list(writers.images)
    np.save(plain, ImageLoader(image_size=(90, 90)).transform(paths))
    sizes = (
        range(8) if leave is leave_inodes else range(0, 8_000_000, 8_000_000 // N_SIZES)
    )
    for number, n_free in enumerate(sizes):
        if number % 2:
            assert load_cached(disk / "cache", 90, plain, paths[:75]) == 0
        leave(disk, n_free // 2 if leave is leave_inodes else n_free)
        n_warned = load_cached(disk / "cache", 90, plain, paths)
        counts["warned once" if n_warned == 1 else f"warned {n_warned} times"] += 1
        make_room(disk, leave)
        assert load_cached(disk / "cache", 90, plain, paths) == 0
        clear(disk)
    show_counts(f"full disk, cache, {leave.__name__}", trials=len(sizes), **counts)
    assert counts["warned once"] > 0
    assert set(counts) <= {"warned once", "warned 0 times"}


def test_a_read_only_disk_is_read_and_named(mount, writers, tmp_path):
    disk, counts = mount("size=24m"), collections.Counter()
    writers.save(disk)
    for kind in sorted(ONCE):
        getattr(writers, kind)(disk)
    known, plain = list(writers.images[:10]), tmp_path / "plain.npy"
    np.save(plain, ImageLoader(image_size=(8, 8)).transform(known))
    assert load_cached(disk / "cache", 8, plain, known) == 0
    before = read_all(disk)
    run("mount", "-o", "remount,ro", disk)
    for kind in KINDS:
        try:
            getattr(writers, kind)(disk)
        except OSError as error:
            words = ["ead-only file system", "no permission", "protected"]
            counts["refused"] += 1
            counts["told"] += is_told(error, disk, words)
        else:
            counts["read"] += 1
    # A new place on it can't be made.
    for kind in sorted(ONCE):
        with pytest.raises(OSError, match="Read-only file system"):
            getattr(writers, kind)(disk / "new")
        counts["refused"] += 1
        counts["told"] += 1
    assert load_model(disk / "model").predict(writers.images[:10]).shape == (10,)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loader = ImageLoader(image_size=(8, 8), cache=disk / "cache")
        counts["right"] += np.array_equal(loader.transform(known), np.load(plain))
        assert caught == []
        loader.transform(writers.images[10:20])
        ImageLoader(cache=disk / "none").transform(known)
    counts["warned"] += len(caught)
    show_counts("read-only disk", **counts)
    assert read_all(disk) == before
    # Archives and digits that are there are read.
    assert (counts["read"], counts["refused"], counts["told"]) == (3, 9, 9)
    assert (counts["right"], counts["warned"]) == (1, 2)


@pytest.mark.parametrize("kind", ["ext2", "vfat", "exfat-fuse"])
def test_a_cache_notices_changes_on_file_systems_with_coarse_times(
    mount, tmp_path, kind
):
    """A file is written anew in place, with the same size, .1 seconds later."""
    image = tmp_path / "image"
    image.write_bytes(bytes(8_000_000))
    # Inodes of 128 bytes have times of whole seconds.
    more = ["-I", "128"] if kind == "ext2" else []
    run(f"mkfs.{kind.removesuffix('-fuse')}", *more, image)
    disk, counts = mount("loop", kind=kind, source=image), collections.Counter()
    path, loader = disk / "a.bmp", ImageLoader(cache=tmp_path / "cache")
    for number in range(10):
        for level in (number, 200 + number):
            Image.new("L", (9, 9), level).save(path)
            time.sleep(0.1)
            assert path.stat().st_mtime_ns % 1_000_000_000 == 0
            pixels = loader.transform([path])
            counts["right" if np.all(pixels == np.float32(level / 255)) else "old"] += 1
    show_counts(f"coarse times, {kind}", **counts)
    assert counts == {"right": 20}
