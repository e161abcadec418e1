"""replace_atomically: files and folders that appear in one step."""

import os
import subprocess
import sys

import pytest

from skimgclf._atomic import replace_atomically

FILES = {"a.txt": b"a", "b/c.txt": b"c"}


def fill(folder, files=FILES):
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def read_tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("folder", [False, True])
def test_repair_sync_folder_brings_a_new_name_to_disk_after_the_renaming(
    tmp_path, monkeypatch, folder
):
    """Otherwise a loss of power can take it back."""
    path, sync, synced = tmp_path / "new", os.fsync, []

    def note(descriptor):
        if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)):
            synced.append(path.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with replace_atomically(path, folder=folder):
        pass
    assert synced == [True]


@pytest.mark.parametrize("folder", [False, True])
def test_content_is_brought_to_disk_before_the_renaming(tmp_path, monkeypatch, folder):
    path, steps = tmp_path / "new", []

    def note(name):
        function = getattr(os, name)
        return lambda *args: steps.append(name) or function(*args)

    for name in ("sync", "fsync", "replace"):
        monkeypatch.setattr(os, name, note(name))
    with replace_atomically(path, folder=folder):
        pass
    assert steps[:2] == ["sync" if folder else "fsync", "replace"]


def test_folder_appears_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "new"
    with replace_atomically(path, folder=True) as temporary:
        assert os.path.dirname(temporary) == str(tmp_path)
        fill(temporary)
        assert not path.exists()
    assert read_tree(path) == FILES
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_folder_that_fails_leaves_nothing(tmp_path, error):
    def fail():
        with replace_atomically(tmp_path / "new", folder=True) as temporary:
            fill(temporary)
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == []


def test_folder_that_exists_keeps_its_other_files(tmp_path):
    fill(tmp_path / "old", {"a.txt": b"old", "mine.txt": b"mine", "b/mine": b"mine"})
    with replace_atomically(tmp_path / "old", folder=True) as temporary:
        fill(temporary)
    expected = {**FILES, "mine.txt": b"mine", "b/mine": b"mine"}
    assert read_tree(tmp_path / "old") == expected
    assert os.listdir(tmp_path) == ["old"]


def test_folder_in_the_place_of_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with (
        pytest.raises(NotADirectoryError),
        replace_atomically(tmp_path / "file", folder=True) as temporary,
    ):
        fill(temporary)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["file"]


def test_folders_of_killed_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with replace_atomically(tmp_path / "new", folder=True) as temporary:
        alive = os.path.basename(temporary)
        stray = alive.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
        fill(tmp_path / stray)
        with replace_atomically(tmp_path / "file"):
            names = os.listdir(tmp_path)
        assert alive in names
        assert stray not in names
    assert sorted(os.listdir(tmp_path)) == ["file", "new"]
