"""What Windows and macOS lack or do otherwise, shown by removing it here."""

import ast
import contextlib
import ctypes
import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from skimgclf import _platform
from skimgclf._atomic import replace_atomically
from skimgclf._platform import (
    after_fork,
    end_with_parent,
    is_alive,
    is_reserved,
    locked,
    open_without_waiting,
    replace,
)
from skimgclf._shell.report import check_output
from skimgclf.datasets import fetch_image_archive
from skimgclf.exceptions import DatasetWarning, SkimgclfError
from skimgclf.images._urls import local_files, local_path

fcntl = pytest.importorskip("fcntl", reason="not on Windows")


def write(path, content=b"new"):
    with replace_atomically(path) as file:
        file.write(content)


@pytest.fixture
def windows(monkeypatch):
    """Let the package think that it runs on Windows; pathlib doesn't work then."""
    for name in ("fchmod", "sync", "register_at_fork", "O_NONBLOCK"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(os, "name", "nt")


def test_files_are_replaced_without_what_windows_lacks(tmp_path, windows):
    """A second saving keeps the permissions of the first file."""
    path = f"{tmp_path}/model"
    write(path, b"old")
    write(path)
    with open(path, "rb", opener=open_without_waiting) as file:
        assert file.read() == b"new"
    with replace_atomically(f"{tmp_path}/folder", folder=True) as folder:
        write(f"{folder}/a.txt")
    assert os.listdir(f"{tmp_path}/folder") == ["a.txt"]
    after_fork(print)
    assert sorted(os.listdir(tmp_path)) == ["folder", "model"]


@pytest.fixture
def msvcrt(monkeypatch):
    """Stand for the module of Windows, with locks that really lock."""

    def lock(descriptor, mode, n_bytes):
        assert n_bytes == 1
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
        try:
            fcntl.flock(descriptor, mode)
        except BlockingIOError:
            raise OSError(errno.EACCES, "Permission denied") from None

    module = types.ModuleType("msvcrt")
    module.locking, module.LK_UNLCK = lock, fcntl.LOCK_UN
    module.LK_NBLCK = fcntl.LOCK_EX | fcntl.LOCK_NB
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", module)


def count_inside_at_once(path):
    """Return the largest number of threads that hold a lock at the same time."""
    inside, most = [], []

    def work():
        for _ in range(3):
            with open(path, "ab") as file, locked(file) as is_locked:
                assert is_locked
                inside.append(None)
                most.append(len(inside))
                threading.Event().wait(0.002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 9
    return max(most)


def test_a_lock_locks(tmp_path):
    assert count_inside_at_once(tmp_path / "lock") == 1


@pytest.mark.usefixtures("msvcrt")
def test_a_lock_locks_on_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(_platform, "_PAUSE", 0.001)
    assert count_inside_at_once(tmp_path / "lock") == 1


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(file, mode):
        raise OSError(errno.ENOLCK, "No locks available")

    Image.fromarray(np.zeros((4, 4), "uint8")).save(tmp_path / "a.png")
    archive = f"{tmp_path}/a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "a.png", "cat/a.png")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(DatasetWarning, match=r"'.*a-\w+\.lock' has no locks"):
        folder = fetch_image_archive(archive, data_home=tmp_path, progress=False)
    assert os.listdir(folder) == ["cat"]


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path, monkeypatch):
    def refuse(file, mode):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open(tmp_path / "lock", "ab") as file, pytest.raises(OSError, match="Input"):
        contextlib.ExitStack().enter_context(locked(file))


@pytest.mark.parametrize("n_failures", [2, 10**9])
def test_a_file_that_another_program_has_open_is_waited_for_on_windows(
    tmp_path, windows, monkeypatch, n_failures
):
    rename, failures = os.replace, []

    def fail(source, target):
        if len(failures) < n_failures:
            failures.append(target)
            raise PermissionError(errno.EACCES, "Access is denied", source)
        rename(source, target)

    path = f"{tmp_path}/model"
    write(path, b"old")
    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(_platform, "_PATIENCE", 0.05 if n_failures > 2 else 60)
    monkeypatch.setattr(_platform, "_PAUSE", 0.01)
    expected = contextlib.nullcontext()
    if n_failures > 2:
        expected = pytest.raises(PermissionError, match="has it open: close it there")
    with expected as caught:
        write(path)
    with open(path, "rb") as file:
        assert file.read() == (b"new" if caught is None else b"old")
    assert os.listdir(tmp_path) == ["model"]
    assert caught is None or caught.value.filename == path


def test_no_file_is_waited_for_elsewhere(tmp_path, monkeypatch):
    def fail(source, target):
        calls.append(target)
        raise PermissionError(errno.EACCES, "Permission denied", source)

    calls = []
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PermissionError, match="Permission denied"):
        replace("a", "b")
    assert calls == ["b"]


@pytest.mark.parametrize(
    ("handle", "code", "error", "expected"),
    [
        (7, 259, 0, True),
        (7, 1, 0, False),
        (None, 0, 87, False),  # there is no such process
        (None, 0, 5, True),  # it is another user's
    ],
)
def test_processes_of_windows_are_asked_for(
    monkeypatch, windows, handle, code, error, expected
):
    closed = []

    class Kernel:
        def __init__(self, name, use_last_error):
            assert (name, use_last_error) == ("kernel32", True)
            self.OpenProcess = lambda rights, inherit, process: handle

        def GetExitCodeProcess(self, opened, place):
            place._obj.value = code
            return 1

        def CloseHandle(self, opened):
            closed.append(opened.value)

    def fail(*arguments):
        raise AssertionError("on Windows, this ends the process")

    monkeypatch.setattr(os, "kill", fail)
    monkeypatch.setattr(ctypes, "WinDLL", Kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    assert is_alive(1234) is expected
    assert closed == ([] if handle is None else [handle])
    assert is_alive(10**30)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C/nul", True),
        ("CON.csv", True),
        ("aux .txt", True),
        ("COM1.model", True),
        ("com.csv", False),
        ("console.csv", False),
        ("con/a.csv", False),
    ],
)
def test_names_of_devices_are_refused_on_windows(
    tmp_path, windows, monkeypatch, path, expected
):
    assert is_reserved(path) is expected
    if expected:
        with pytest.raises(SkimgclfError, match="a device on Windows"):
            check_output(path)
        with pytest.raises(OSError, match="a device on Windows"):
            write(f"{tmp_path}/{path}")
    monkeypatch.setattr(os, "name", "posix")
    assert not is_reserved(path)


@pytest.mark.parametrize("ending", ["/", "\\"])
def test_an_output_that_ends_as_a_folder_is_refused(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(_platform, "SEPARATORS", ("/", "\\"))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write(f"{tmp_path}/new{ending}")
    with pytest.raises(SkimgclfError, match="must be a file, not a folder"):
        check_output(f"{tmp_path}/new{ending}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///C:/photos/cat.png", "C:/photos/cat.png"),
        ("local:///d:/cat.png", "d:/cat.png"),
        ("file://C:/cat.png", "C:/cat.png"),
        ("file:///C:", "C:"),
        ("file:///photos/cat.png", "/photos/cat.png"),
        ("file:///CD:/cat.png", "/CD:/cat.png"),
    ],
)
def test_a_drive_has_no_slash_before_on_windows(windows, monkeypatch, url, path):
    found = local_path(url), local_files(url)
    monkeypatch.setattr(os, "name", "posix")  # pytest's own report needs it
    assert found == (path, [path])
    assert local_path(url) == url.partition("://")[2]


def test_a_file_is_brought_out_of_the_memory_of_its_drive(tmp_path, monkeypatch):
    """As macOS does by a call of its own, which not all file systems have."""

    def ask(descriptor, command):
        asked.append((os.fstat(descriptor).st_ino, command, os.path.exists(path)))
        if "old" in os.listdir(tmp_path):
            raise OSError(errno.ENOTSUP, "Operation not supported")

    path, asked = f"{tmp_path}/new", []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", ask)
    write(path)
    file, folder = os.stat(path).st_ino, os.stat(tmp_path).st_ino
    assert asked == [(file, 51, False), (folder, 51, True)]
    write(f"{tmp_path}/old")
    write(path, b"newer")
    assert len(asked) == 6
    with open(path, "rb") as stream:
        assert stream.read() == b"newer"


# What an import of a module may not ask for: `fsdecode` refuses other than UTF-8 there.
WINDOWS_LACKS = {
    "os": "O_NONBLOCK WNOHANG chown fchmod fork fsdecode getegid geteuid getgid "
    "getpgid getuid killpg mkfifo mknod nice register_at_fork sched_getaffinity "
    "setgid setsid setuid statvfs sync sysconf uname wait waitid",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP "
    "SIGUSR1 SIGUSR2 SIGXCPU SIGXFSZ alarm pthread_kill setitimer",
    "time": "tzset",
}
WINDOWS_LACKS_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}
# Most files hold none of these words, and needn't be parsed.
WORDS = [*" ".join(WINDOWS_LACKS.values()).split(), *WINDOWS_LACKS_MODULES]
MENTIONED = re.compile(rf"\b({'|'.join(WORDS)})\b")


def find_asked_at_import(code):
    """List what an import of Python code asks for and Windows lacks."""
    if not MENTIONED.search(code):
        return []
    found, waiting = [], [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            # Only the body is run later.
            waiting += [node.args, *getattr(node, "decorator_list", [])]
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in WINDOWS_LACKS.get(node.value.id, "").split():
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Import):
            found += WINDOWS_LACKS_MODULES & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            lacking = WINDOWS_LACKS.get(node.module, "").split()
            found += [f"{node.module}.{name}" for name in names & {*lacking}]
            found += WINDOWS_LACKS_MODULES & {node.module}
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import resource", ["resource"]),
        ("from os import fork", ["os.fork"]),
        ("@mark.skipif(os.getuid() != 0)\ndef test(): os.fork()", ["os.getuid"]),
        ("def test(number=signal.SIGKILL): pass", ["signal.SIGKILL"]),
        ("class Test:\n    NAME = os.fsdecode(b'')", ["os.fsdecode"]),
        ("def test():\n    import fcntl\n    os.fork()", []),
        ("work = lambda: os.fork()", []),
        ("resource = pytest.importorskip('resource')", []),
        ("is_root = getattr(os, 'getuid', int)() == 0", []),
    ],
)
def test_what_an_import_asks_for_is_found(code, found):
    assert find_asked_at_import(code) == found


@pytest.mark.parametrize("folder", ["skimgclf", "tests", "examples"])
def test_modules_can_be_imported_on_windows(folder):
    """A module of tests that can't be imported ends the whole run of pytest."""
    paths = sorted((pathlib.Path(__file__).parent.parent / folder).rglob("*.py"))
    asked = {f"{path}": find_asked_at_import(path.read_text("utf-8")) for path in paths}
    assert len(asked) > 10
    assert {name: found for name, found in asked.items() if found} == {}


WORKERS = """
import os, time
from joblib import Parallel, delayed
from skimgclf._platform import end_with_parent

def work():
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)

Parallel(2)(delayed(work)() for _ in range(2))
"""


def test_repair_end_with_parent_ends_workers_of_a_killed_process():
    command = [sys.executable, "-c", WORKERS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as main:
        workers = [int(main.stdout.readline()) for _ in range(2)]
        assert all(map(is_alive, workers))
        main.kill()
        main.communicate(timeout=20)  # until the workers have closed the same pipe
    assert main.returncode == -signal.SIGKILL


def test_end_with_parent_leaves_other_processes_alone():
    before = threading.active_count()
    end_with_parent.__wrapped__()
    assert threading.active_count() == before
