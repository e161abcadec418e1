"""Replacing a file in one step: kills, full disks and interrupts tear nothing."""

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from campaign_counts import show_counts

from skimgclf._atomic import replace_atomically

resource = pytest.importorskip("resource", reason="not on Windows")

OLD, NEW = b"old" * 1000, b"new" * 2000


def make_old(folder):
    path = folder / "model"
    path.write_bytes(OLD)
    return path


def replace(path, content=NEW):
    with replace_atomically(path) as file:
        for start in range(0, len(content), 1000):
            file.write(content[start : start + 1000])


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["open", "fchmod", "fsync", "replace"])
def test_the_old_file_is_whole_when_a_step_fails(tmp_path, monkeypatch, step, error):
    path = make_old(tmp_path)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(f"{'builtins' if step == 'open' else 'os'}.{step}", fail)
        with pytest.raises(type(error)):
            replace(path)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device: delete files there, or write"),
        (errno.EDQUOT, "Disk quota exceeded: delete files there, or write"),
        (errno.EFBIG, "File too large: write to another place"),
        (errno.EROFS, "Read-only file system: write to another place"),
    ],
)
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_disk_that_takes_no_more_is_an_error_that_names_the_file(
    tmp_path, monkeypatch, step, number, said
):
    """Not the temporary one, nor two of them, as errors of `os.replace` do."""
    path = make_old(tmp_path)

    def fail(*names):
        names = [str(name) for name in names if not isinstance(name, int)]
        first, second = (*names, None, None)[:2]
        raise OSError(number, os.strerror(number), first, None, second)

    with monkeypatch.context() as patch:
        patch.setattr(f"{'builtins' if step == 'open' else 'os'}.{step}", fail)
        with pytest.raises(OSError, match=said) as caught:
            replace(path)
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert str(caught.value).endswith(f" place: {str(path)!r}")


def test_other_errors_of_a_writer_are_left_as_they_are(tmp_path):
    def write(error):
        with replace_atomically(tmp_path / "model"):
            raise error

    for given in [
        OSError("no number"),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ENOSPC, "No space left on device", "/of/another/disk"),
    ]:
        before = str(given)
        with pytest.raises(OSError, match=r"no number|error|another") as caught:
            write(given)
        assert str(caught.value) == before


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    path, sync, calls = make_old(tmp_path), os.fsync, []

    def fail_second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_second)
    replace(path)
    assert len(calls) == 2
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("n", range(6))
def test_the_old_file_is_whole_when_the_nth_write_fails(tmp_path, n):
    path = make_old(tmp_path)

    def write_until_interrupted():
        with replace_atomically(path) as file:
            for _ in range(n):
                file.write(bytes(1000))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted()
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_the_old_file_is_whole_when_the_disk_is_full(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(bytes(range(256)) * 100)
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for share in np.linspace(0, 0.99, 20):
            limit = int(share * len(content))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(OSError, match="File too large"):
                replace(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["model"]


SAVER = """
import sys
from skimgclf._atomic import replace_atomically
assert "keras" not in sys.modules
path = sys.argv[1]
print("ready", flush=True)
for i in range(10**9):
    with replace_atomically(path) as file:
        for _ in range(50):
            file.write(bytes([i % 256]) * 20_000)
    print(i, flush=True)
"""


def kill_savers(folder, n_kills):
    """Kill savers at random moments, and return how often one had a stray file."""
    rng, path = np.random.default_rng(0), folder / "model"
    n_strays = 0
    for _ in range(n_kills):
        path.write_bytes(bytes(1_000_000))
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE
        )
        assert saver.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.03))
        saver.kill()
        printed, _ = saver.communicate()
        last = int((printed.split(b"\n")[:-1] or [b"0"])[-1])
        content = path.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1, "torn"
        # What was reported as saved isn't lost; the save after it may be there too.
        assert content[0] in (last % 256, (last + 1) % 256)
        n_strays += len(os.listdir(folder)) - 1
        replace(path)
        assert os.listdir(folder) == ["model"]
        assert path.read_bytes() == NEW
    return n_strays


@pytest.mark.slow
def test_twenty_kills_tear_lose_and_leave_nothing(tmp_path):
    assert kill_savers(tmp_path, 20) > 0, "no kill came in the middle of a save"


@pytest.mark.slow
@pytest.mark.campaign
def test_two_hundred_kills_tear_lose_and_leave_nothing(tmp_path):
    n_strays = kill_savers(tmp_path, 200)
    counts = {"torn": 0, "lost": 0, "strays, removed later": n_strays}
    show_counts("kills while a file is replaced", kills=200, **counts)
    assert n_strays > 20


def test_only_strays_of_dead_processes_of_this_machine_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with replace_atomically(tmp_path / "model"):
        (mine,) = os.listdir(tmp_path)
    _, host, process, token = mine.split("-")
    assert int(process) == os.getpid()

    def stray(host, process, suffix=""):
        name = f".skimgclf-{host}-{process}-{token}{suffix}"
        (tmp_path / name).write_bytes(b"")
        return name

    stray(host, dead.pid)
    stray(host, os.getpid())  # of one with our number, before a container restarted
    kept = [
        stray(host, os.getppid()),
        stray("00000000", dead.pid),
        stray(host, dead.pid, ".mine"),
        stray(host, 10**30),
    ]
    with replace_atomically(tmp_path / "model"):
        # A second save of this process, at the same time.
        replace(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "model", "other"])


def test_links_and_permissions_of_the_old_file_stay(tmp_path):
    path = make_old(tmp_path)
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    replace(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o640
    replace(tmp_path / "fresh")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() == 0, reason="root may write everything"
)
def test_a_write_protected_file_is_not_replaced(tmp_path):
    path = make_old(tmp_path)
    path.chmod(0o400)
    with pytest.raises(PermissionError, match="write-protected"):
        replace(path)
    assert path.read_bytes() == OLD


def test_the_writer_imports_no_keras(run_python):
    printed = run_python("import sys, skimgclf._atomic; print('keras' in sys.modules)")
    assert printed == "False"
