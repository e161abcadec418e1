"""load_digit_images, load_photo_patches: real images that scikit-learn ships."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from skimgclf.datasets import (
    _samples,
    load_digit_images,
    load_image_csv,
    load_image_folder,
    load_photo_patches,
)
from skimgclf.exceptions import InvalidParameterError

BOTH = pytest.mark.parametrize("load", [load_digit_images, load_photo_patches])


@pytest.fixture(scope="module")
def data_home(tmp_path_factory):
    """Make a data home that no test changes."""
    return tmp_path_factory.mktemp("data_home")


@pytest.fixture
def few_patches(monkeypatch):
    """Cut the photos into 8 patches in place of 520, which take long to write."""
    monkeypatch.setattr(_samples, "_PHOTO_SIZE", (64, 64))


@pytest.fixture
def own_home(few_patches, tmp_path):
    """Write few photo patches for a test that damages them."""
    load_photo_patches(tmp_path)
    return tmp_path


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def content(root):
    """Return all files below a folder with their bytes."""
    return {
        os.path.relpath(os.path.join(folder, name), root): open_bytes(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
    }


def open_bytes(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


# The digits


def test_digits_are_those_of_scikit_learn(data_home):
    data, digits = load_digit_images(data_home), load_digits()
    assert data.target.tolist() == [str(label) for label in digits.target]
    for row in range(0, 1797, 100):
        pixels = read(data.filenames[row])
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, np.rint(digits.images[row] * 255 / 16))


def test_digits_are_1797_png_files_in_ten_folders(data_home):
    data = load_digit_images(data_home)
    assert len(set(data.filenames)) == 1797
    assert data.target_names == list("0123456789")
    with Image.open(data.filenames[0]) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))


# The photos


def test_photo_patches_are_pieces_of_the_photos(data_home):
    """JPEG at quality 95 keeps every patch near its original."""
    data = load_photo_patches(data_home)
    photos = dict(zip(["china", "flower"], load_sample_images().images, strict=True))
    for row in range(0, 520, 13):
        name = os.path.basename(data.filenames[row])
        label, top, left = name.removesuffix(".jpg").split("_")
        top, left = 32 * int(top), 32 * int(left)
        patch = photos[label][top : top + 32, left : left + 32].astype(float)
        assert data.target[row] == label
        assert np.abs(read(data.filenames[row]) - patch).mean() < 6


def test_photo_patches_are_520_jpeg_files_in_two_folders(data_home):
    data = load_photo_patches(data_home)
    assert data.report["n_per_class"] == {"china": 260, "flower": 260}
    assert len(set(data.filenames)) == 520
    with Image.open(data.filenames[0]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))


# Both


@BOTH
def test_samples_can_be_read_by_both_readers(load, data_home):
    data = load(data_home)
    table, folder = load_image_csv(data.csv), load_image_folder(data.root)
    assert table.filenames.tolist() == data.filenames.tolist()
    assert table.target.tolist() == data.target.tolist()
    expected = dict(zip(data.filenames, data.target, strict=True))
    assert dict(zip(folder.filenames, folder.target, strict=True)) == expected
    assert data.frame.columns.tolist() == ["id", "label"]


@BOTH
def test_samples_lie_below_the_data_home(load, data_home):
    data = load(str(data_home))
    assert data.root.startswith(str(data_home / "skimgclf"))
    assert data.csv.startswith(data.root)
    assert all(name.startswith(data.root) for name in data.filenames)


def test_samples_lie_below_scikit_learns_data_home_by_default(
    own_home, tmp_path, monkeypatch
):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(own_home))
    assert load_photo_patches().root == str(own_home / "skimgclf" / "photos")
    other = tmp_path / "other"
    assert load_photo_patches(other).root == str(other / "skimgclf" / "photos")


@BOTH
def test_samples_return_X_y_gives_filenames_and_target_alone(load, data_home):
    data = load(data_home)
    filenames, target = load(data_home, return_X_y=True)
    np.testing.assert_array_equal(filenames, data.filenames)
    np.testing.assert_array_equal(target, data.target)


@BOTH
def test_samples_are_written_once(load, data_home, monkeypatch):
    load(data_home)

    def fail(*arguments):
        raise AssertionError("written again")

    monkeypatch.setattr(_samples, "_write_sample", fail)
    load(data_home)


# Damage


@pytest.mark.parametrize("name", ["china/china_00_00.jpg", "photos.csv", "flower", ""])
def test_samples_that_are_missing_are_written_again(own_home, name):
    root = own_home / "skimgclf" / "photos"
    before, path = content(root), root / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(before) == 9
    assert content(load_photo_patches(own_home).root) == before


def test_samples_that_are_empty_are_written_again(own_home):
    """A loss of power can leave a file without its content."""
    root = own_home / "skimgclf" / "photos"
    before = content(root)
    (root / "flower" / "flower_01_01.jpg").write_bytes(b"")
    assert content(load_photo_patches(own_home).root) == before


def test_samples_repair_keeps_the_files_of_others(own_home):
    root = own_home / "skimgclf" / "photos"
    (root / "notes.txt").write_text("mine")
    (root / "photos.csv").unlink()
    load_photo_patches(own_home)
    assert (root / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("few_patches")
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_samples_interrupted_write_leaves_nothing(tmp_path, monkeypatch, error):
    save = Image.Image.save

    def interrupt(image, path, **parameters):
        if path.endswith("china_01_00.jpg"):
            raise error
        save(image, path, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", interrupt)
        with pytest.raises(error):
            load_photo_patches(tmp_path)
    assert os.listdir(tmp_path / "skimgclf") == []
    assert len(load_photo_patches(tmp_path).filenames) == 8


@pytest.mark.usefixtures("few_patches")
def test_samples_of_a_slower_process_do_no_harm(tmp_path, monkeypatch):
    """Another process finishes between the check and the move."""
    draw = _samples._draw_patches

    def be_overtaken():
        monkeypatch.setattr(_samples, "_draw_patches", draw)
        load_photo_patches(tmp_path)
        return draw()

    monkeypatch.setattr(_samples, "_draw_patches", be_overtaken)
    data = load_photo_patches(tmp_path)
    assert len(data.filenames) == 8
    assert os.listdir(tmp_path / "skimgclf") == ["photos"]


# Waits, once everything is imported, until all processes have come so far.
LOAD_TOGETHER = """
import os, sys, time
import pandas
from skimgclf.datasets import load_photo_patches
home, me, n_processes = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.mkdir(os.path.join(home, f"ready-{me}"))
while len(os.listdir(home)) < n_processes and not os.path.isdir(f"{home}/skimgclf"):
    time.sleep(0.001)
print(len(load_photo_patches(home).filenames))
"""


@pytest.mark.slow
def test_samples_can_be_written_by_several_processes_at_once(tmp_path):
    """New processes, since a fork of one in which TensorFlow ran may hang."""
    n_processes = 2
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD_TOGETHER, tmp_path, str(me), str(n_processes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for me in range(n_processes)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert outputs == [(b"520\n", b"")] * n_processes
    assert os.listdir(tmp_path / "skimgclf") == ["photos"]
    assert len(load_photo_patches(tmp_path).filenames) == 520


def test_samples_folder_can_be_read_by_others(own_home):
    """A data home may be shared; temporary folders are for their owner alone."""
    data = load_photo_patches(own_home)
    assert os.stat(data.root).st_mode & 0o055 == 0o055


# Parameters


@BOTH
@pytest.mark.parametrize("value", [3, "", b"bytes", ["a"]])
def test_samples_data_home_must_be_a_path(load, value):
    expected = rf"'data_home' parameter of {load.__name__} must be the path of a folder"
    with pytest.raises(InvalidParameterError, match=expected):
        load(value)


@BOTH
def test_samples_return_X_y_is_a_bool(load, data_home):
    expected = f"'return_X_y' parameter of {load.__name__} must be True or False. Got 1"
    with pytest.raises(InvalidParameterError, match=expected):
        load(data_home, return_X_y=1)
