"""load_image_folder: one folder per class."""

import os
import shutil
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
from class_folders import relative, write_files
from PIL import Image

from skimgclf.datasets import load_image_folder
from skimgclf.exceptions import (
    DatasetError,
    DatasetWarning,
    ImageLoadError,
    InvalidParameterError,
)


def write_image(path, gray):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.new("L", (4, 3), gray).save(path)


@pytest.fixture
def root(tmp_path):
    """Make a tree of two classes with two images each."""
    write_files(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    return tmp_path


@pytest.fixture
def decodable(tmp_path):
    """Make a tree of real images: four distinct ones and one that is broken."""
    root = tmp_path / "decodable"
    for index, name in enumerate(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]):
        write_image(root / name, 50 * index)
    write_files(root, "b/broken.png", content=b"not an image")
    return root


def test_folder_labels_are_the_names_of_the_class_folders(root):
    data = load_image_folder(root)
    assert relative(root, data.filenames) == [
        "cat/1.png",
        "cat/2.png",
        "dog/1.png",
        "dog/2.png",
    ]
    assert data.target.tolist() == ["cat", "cat", "dog", "dog"]
    assert data.target_names == ["cat", "dog"]


def test_folder_returns_the_documented_types(root):
    data = load_image_folder(root)
    for array in (data.filenames, data.target):
        assert array.shape == (4,)
        assert array.dtype == object
        assert {type(item) for item in array} == {str}
    assert isinstance(data.frame, pd.DataFrame)
    assert data.frame["filename"].tolist() == data.filenames.tolist()
    assert data.frame["label"].tolist() == data.target.tolist()
    assert data.groups is None
    assert "4 images in 2 classes" in data.DESCR
    assert set(data) == {
        "filenames",
        "target",
        "target_names",
        "frame",
        "groups",
        "report",
        "DESCR",
    }


def test_folder_report_has_every_documented_key(root):
    assert load_image_folder(root).report == {
        "n_images": 4,
        "n_per_class": {"cat": 2, "dog": 2},
        "n_nested": 0,
        "skipped": {},
        "skipped_files": [],
        "root_files": [],
        "links_not_followed": [],
        "repeated": [],
        "empty_classes": [],
        "dropped": [],
        "duplicates": None,
        "conflicts": None,
    }


def test_folder_return_X_y_gives_filenames_and_target_alone(root):
    data = load_image_folder(root)
    filenames, target = load_image_folder(root, return_X_y=True)
    np.testing.assert_array_equal(filenames, data.filenames)
    np.testing.assert_array_equal(target, data.target)


def test_folder_filenames_start_with_the_root_as_given(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    for given in (root.name, f"{root.name}/", f"./{root.name}", str(root)):
        filenames, target = load_image_folder(given, return_X_y=True)
        assert filenames[0] == os.path.join(given, "cat/1.png")
        assert all(os.path.exists(name) for name in filenames)
        assert target.tolist() == ["cat", "cat", "dog", "dog"]


def test_folder_root_may_be_the_current_folder(root, monkeypatch):
    monkeypatch.chdir(root)
    assert load_image_folder(".").filenames[0] == "./cat/1.png"


def test_folder_root_may_start_with_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert load_image_folder(f"~/{root.name}").filenames[0] == str(root / "cat/1.png")


def test_folder_order_is_by_class_then_path(tmp_path):
    """The order is that of the parts: "a b" sorts behind "a", whatever "/" is."""
    names = ["a b/0.png", "a/z/1.png", "a/b.png", "a/b/2.png", "10/x.png", "2/x.png"]
    write_files(tmp_path, *names)
    data = load_image_folder(tmp_path)
    assert relative(tmp_path, data.filenames) == [
        "10/x.png",
        "2/x.png",
        "a/b/2.png",
        "a/b.png",
        "a/z/1.png",
        "a b/0.png",
    ]
    assert data.target_names == sorted(data.target_names) == ["10", "2", "a", "a b"]


@pytest.mark.parametrize(
    "extension",
    "apng avif avifs bmp dib gif heic heics heif heifs hif ico jfif jp2 jpe jpeg jpf "
    "jpg jpx mpo pbm pgm png pnm ppm tif tiff webp JPG Png TIF HEIC".split(),
)
def test_folder_takes_every_known_extension_in_any_case(root, extension):
    write_files(root, f"cat/x.{extension}")
    assert f"cat/x.{extension}" in relative(root, load_image_folder(root).filenames)


def test_folder_skips_and_counts_what_has_no_image_extension(root):
    write_files(root, "cat/notes.txt", "dog/a.TXT", "dog/README", "dog/x.png.part")
    data = load_image_folder(root)
    assert len(data.filenames) == 4
    assert data.report["skipped"] == {"": 1, ".part": 1, ".txt": 2}
    assert relative(root, data.report["skipped_files"]) == [
        "cat/notes.txt",
        "dog/README",
        "dog/a.TXT",
        "dog/x.png.part",
    ]


def test_folder_warns_of_pictures_in_formats_that_are_not_read(root):
    write_files(root, "cat/IMG_0001.JXL", "dog/x.svg")
    with pytest.warns(DatasetWarning, match="formats that aren't read") as record:
        data = load_image_folder(root)
    assert "IMG_0001.JXL" in str(record[0].message)
    assert "x.svg" in str(record[0].message)
    assert data.report["skipped"] == {".jxl": 1, ".svg": 1}


@pytest.mark.parametrize(
    "clutter",
    [
        ".hidden.png",
        "._1.png",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        ".git/1.png",
        "__MACOSX/1.png",
        "@eaDir/1.png",
        "cat/.cache/1.png",
        "cat/__MACOSX/1.png",
        "cat/._1.png",
        "cat/Thumbs.db",
        "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    ],
)
def test_folder_passes_over_hidden_and_system_files(root, clutter):
    expected = load_image_folder(root)
    write_files(root, clutter)
    data = load_image_folder(root)
    assert data.filenames.tolist() == expected.filenames.tolist()
    assert data.report == expected.report


def test_folder_label_of_a_nested_image_is_the_first_level(root):
    write_files(root, "cat/old/1999/1.png")
    data = load_image_folder(root)
    assert data.target.tolist() == ["cat", "cat", "cat", "dog", "dog"]
    assert data.report["n_nested"] == 1


def test_folder_warns_of_images_outside_of_class_folders(root):
    write_files(root, "stray.png", "labels.csv")
    with pytest.warns(DatasetWarning, match=r"outside of any class folder.*\n.*stray"):
        data = load_image_folder(root)
    assert len(data.filenames) == 4
    assert relative(root, data.report["root_files"]) == ["labels.csv", "stray.png"]


def test_folder_other_files_beside_the_class_folders_are_only_reported(root):
    write_files(root, "labels.csv")
    assert relative(root, load_image_folder(root).report["root_files"]) == [
        "labels.csv"
    ]


@pytest.mark.parametrize(
    "name",
    ["new\nline.png", "  spaces .png", "f" * 240 + ".png", "é.png", "'quote\".png"],
)
def test_folder_takes_unusual_names(root, name):
    write_files(root, f"cat/{name}")
    assert f"cat/{name}" in relative(root, load_image_folder(root).filenames)


@pytest.mark.usefixtures("names_of_any_bytes")
def test_folder_takes_names_that_are_not_utf8(tmp_path):
    """Such a name comes back so that `open` finds it."""
    for folder in (b"caf\xe9", b"tea"):
        os.mkdir(os.path.join(os.fsencode(tmp_path), folder))
        path = os.path.join(os.fsencode(tmp_path), folder, b"\xff.png")
        with open(path, "wb") as file:
            file.write(folder)
    data = load_image_folder(tmp_path, hash_files=True)
    assert data.target_names == ["caf\udce9", "tea"]
    assert all(os.path.exists(name) for name in data.filenames)
    assert data.frame["filename"].tolist() == data.filenames.tolist()
    data.DESCR.encode()
    assert len(set(data.groups)) == 2


def test_folder_holds_nfc_and_nfd_names_apart(root):
    names = [unicodedata.normalize(form, "cat/é.png") for form in ("NFC", "NFD")]
    write_files(root, *names)
    if not {os.path.basename(name) for name in names} <= {*os.listdir(f"{root}/cat")}:
        pytest.skip("this file system takes both names for one")
    assert set(names) <= set(relative(root, load_image_folder(root).filenames))


def test_folder_classes_selects_folders(root):
    write_files(root, "bird/1.png", "fish/1.png")
    data = load_image_folder(root, classes=["dog", "bird"])
    assert data.target_names == ["bird", "dog"]
    assert data.target.tolist() == ["bird", "dog", "dog"]


def test_folder_classes_that_do_not_exist_are_all_named(root):
    with pytest.raises(DatasetError) as caught:
        load_image_folder(root, classes=["cat", "dgo", "brid"])
    assert len(caught.value.problems) == 2
    assert "no class folder 'dgo'; there are ['cat', 'dog']" in str(caught.value)
    assert "'brid'" in str(caught.value)


def test_folder_classes_finds_another_unicode_form(root):
    composed, decomposed = (unicodedata.normalize(f, "café") for f in ("NFC", "NFD"))
    write_files(root, f"{decomposed}/1.png")
    data = load_image_folder(root, classes=["cat", composed])
    assert data.target_names == sorted(["cat", decomposed])


def test_folder_one_chosen_class_is_no_surprise(root):
    """The warning of a single class is for those who didn't ask for it."""
    assert load_image_folder(root, classes=["cat"]).target_names == ["cat"]


@pytest.mark.parametrize("classes", ["cat", [], [1, 2], ["cat", "cat"], 3, b"cat"])
def test_folder_classes_of_a_wrong_kind_are_refused(root, classes):
    with pytest.raises(
        InvalidParameterError,
        match=r"^The 'classes' parameter of load_image_folder must be a list of",
    ):
        load_image_folder(root, classes=classes)


def test_folder_empty_class_folders_are_all_named(root):
    write_files(root, "bird/notes.txt")
    os.mkdir(root / "fish")
    with pytest.raises(DatasetError) as caught:
        load_image_folder(root)
    bird, fish = caught.value.problems
    assert "bird' holds no image (but files with the extensions 1 x '.txt')" in bird
    assert "fish' holds no image; remove it or pass allow_empty=True" in fish


def test_folder_allow_empty_accepts_and_reports_them(root):
    os.mkdir(root / "fish")
    data = load_image_folder(root, allow_empty=True)
    assert data.report["empty_classes"] == ["fish"]
    assert data.target_names == ["cat", "dog"]


@pytest.mark.parametrize("allow_empty", [False, True])
def test_folder_without_class_folders_is_refused(tmp_path, allow_empty):
    write_files(tmp_path, "1.png", "2.png")
    with pytest.raises(DatasetError, match=r"no images of any class.*; 2 files"):
        load_image_folder(tmp_path, allow_empty=allow_empty)


def test_folder_warns_of_one_class(tmp_path):
    write_files(tmp_path, "images/1.png")
    expected = "^The folder .* has only one class, 'images'.*is .* the folder that"
    with pytest.warns(DatasetWarning, match=expected):
        load_image_folder(tmp_path)


def test_folder_warns_of_classes_that_look_like_splits(tmp_path):
    write_files(tmp_path, "train/cat/1.png", "Test/cat/1.png")
    with pytest.warns(DatasetWarning, match="look like parts of a data set"):
        load_image_folder(tmp_path)
    load_image_folder(tmp_path, classes=["train", "Test"])


def test_folder_classes_named_like_splits_without_subfolders_are_classes(tmp_path):
    write_files(tmp_path, "test/1.png", "dev/1.png")
    assert load_image_folder(tmp_path).target_names == ["dev", "test"]


def test_folder_warns_of_classes_that_differ_in_case_or_form(root):
    write_files(root, "Cat/1.png", "d o g/1.png")
    with pytest.warns(DatasetWarning, match="differ only by") as record:
        load_image_folder(root)
    assert "'Cat', 'cat'" in str(record[0].message)
    assert "'d o g', 'dog'" in str(record[0].message)


def test_folder_that_can_not_be_listed_is_named(root, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "cat":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"cat' can't be listed \(Permission den"):
        load_image_folder(root)


def test_folder_on_bad_ignore_decodes_nothing(decodable):
    data = load_image_folder(decodable, on_bad="ignore")
    assert len(data.filenames) == 5
    assert data.report["duplicates"] is None


def test_folder_on_bad_raise_names_the_bad_files(decodable):
    write_files(decodable, "a/empty.png", content=b"")
    with pytest.raises(ImageLoadError) as caught:
        load_image_folder(decodable, on_bad="raise")
    assert relative(decodable, [path for _, path, _ in caught.value.errors]) == [
        "a/empty.png",
        "b/broken.png",
    ]
    os.remove(decodable / "a/empty.png")
    os.remove(decodable / "b/broken.png")
    assert len(load_image_folder(decodable, on_bad="raise").filenames) == 4


def test_folder_on_bad_raise_takes_max_pixels(decodable):
    os.remove(decodable / "b/broken.png")
    with pytest.raises(
        ImageLoadError, match=r"4 images can't be read.*\n.* max_pixels=1 "
    ):
        load_image_folder(decodable, on_bad="raise", max_pixels=1)


def test_folder_verbose_shows_a_bar_where_files_are_decoded(decodable, capsys):
    os.remove(decodable / "b/broken.png")
    load_image_folder(decodable, verbose=1)
    assert capsys.readouterr().err == ""
    load_image_folder(decodable, on_bad="raise", verbose=1)
    assert "Checking: 100%" in capsys.readouterr().err


def test_folder_on_bad_drop_leaves_out_image_label_and_row(decodable):
    with pytest.warns(DatasetWarning, match="1 image of .* was dropped.*\n.*broken"):
        data = load_image_folder(decodable, on_bad="drop", hash_files=True)
    names = ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
    assert relative(decodable, data.filenames) == names
    assert data.target.tolist() == ["a", "a", "b", "b"]
    assert data.frame["filename"].tolist() == data.filenames.tolist()
    assert data.frame.index.tolist() == [0, 1, 2, 3]
    assert len(set(data.groups)) == 4
    ((path, reason),) = data.report["dropped"]
    assert path == str(decodable / "b/broken.png")
    assert reason


def test_folder_on_bad_drop_says_which_classes_are_gone(decodable):
    write_files(decodable, "c/1.png", content=b"")
    with pytest.warns(DatasetWarning, match=r"the classes \['c'\] have no image left"):
        data = load_image_folder(decodable, on_bad="drop")
    assert data.target_names == ["a", "b"]


def test_folder_of_bad_images_alone_is_refused(root):
    with pytest.raises(DatasetError, match="None of the images"):
        load_image_folder(root, on_bad="drop")


@pytest.mark.parametrize("on_bad", ["ignore", "drop"])
def test_folder_hash_files_gives_equal_content_one_group(decodable, on_bad):
    shutil.copy(decodable / "a/1.png", decodable / "a/1 - Copy.png")
    os.remove(decodable / "b/broken.png")
    data = load_image_folder(decodable, hash_files=True, on_bad=on_bad)
    groups = dict(zip(relative(decodable, data.filenames), data.groups, strict=True))
    assert groups["a/1.png"] == groups["a/1 - Copy.png"]
    assert len(set(data.groups)) == 4
    assert data.groups.dtype == object
    (duplicates,) = data.report["duplicates"]
    assert relative(decodable, duplicates) == ["a/1 - Copy.png", "a/1.png"]
    assert data.report["conflicts"] == []


def test_folder_hashes_are_the_same_whoever_computes_them(decodable):
    os.remove(decodable / "b/broken.png")
    plain = load_image_folder(decodable, hash_files=True).groups
    decoded = load_image_folder(decodable, hash_files=True, on_bad="raise").groups
    np.testing.assert_array_equal(plain, decoded)


def test_folder_equal_images_under_two_labels_give_a_warning(decodable):
    shutil.copy(decodable / "a/1.png", decodable / "b/3.png")
    os.remove(decodable / "b/broken.png")
    with pytest.warns(DatasetWarning, match=r"a/1.png' as 'a', .*b/3.png' as 'b'"):
        data = load_image_folder(decodable, hash_files=True)
    assert data.report["conflicts"] == [
        [(str(decodable / "a/1.png"), "a"), (str(decodable / "b/3.png"), "b")]
    ]
    with pytest.raises(DatasetError, match="equal images under different labels"):
        load_image_folder(decodable, on_bad="raise")


def test_folder_files_that_vanish_before_hashing_are_named(root, monkeypatch):
    def vanish(path, mode="r"):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr("skimgclf.datasets._duplicates.open", vanish, raising=False)
    with pytest.raises(DatasetError) as caught:
        load_image_folder(root, hash_files=True)
    assert len(caught.value.problems) == 4
    assert "cat/1.png': No such file" in caught.value.problems[0]


@pytest.mark.parametrize("parameter", ["hash_files", "follow_links", "allow_outside"])
@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_folder_switches_are_bools(root, parameter, value):
    expected = f"'{parameter}' parameter of load_image_folder must be True or False"
    with pytest.raises(InvalidParameterError, match=expected):
        load_image_folder(root, **{parameter: value})


@pytest.mark.parametrize("parameter", ["allow_empty", "return_X_y"])
def test_folder_other_switches_are_bools(root, parameter):
    with pytest.raises(InvalidParameterError, match=f"'{parameter}' parameter of load"):
        load_image_folder(root, **{parameter: 1})


@pytest.mark.parametrize("on_bad", ["skip", None, True])
def test_folder_on_bad_is_one_of_three(root, on_bad):
    with pytest.raises(
        InvalidParameterError, match=r"must be one of 'ignore', 'raise', 'drop'\. Got"
    ):
        load_image_folder(root, on_bad=on_bad)


@pytest.mark.parametrize("value", [None, 3, b"bytes", "", ["a"]])
def test_folder_root_must_be_a_path(value):
    with pytest.raises(
        InvalidParameterError,
        match=r"^The 'root' parameter of load_image_folder must be the path of an exis",
    ):
        load_image_folder(value)


@pytest.mark.parametrize("name", ["nowhere", "cat/1.png", "nul\0byte"])
def test_folder_root_must_exist(root, name):
    with pytest.raises(InvalidParameterError, match="an existing folder"):
        load_image_folder(os.path.join(root, name))


def test_folder_filenames_are_str_whatever_the_root_is(root):
    data = load_image_folder(np.str_(root), classes=np.array(["cat", "dog"]))
    assert {type(item) for item in [*data.filenames, *data.target]} == {str}


def test_folder_relative_root_that_does_not_exist_says_where_it_looked(tmp_path):
    with pytest.raises(InvalidParameterError, match=r"\(looked in '/"):
        load_image_folder("no such folder")


def test_folder_warnings_point_to_the_caller(tmp_path):
    write_files(tmp_path, "images/1.png")
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        load_image_folder(tmp_path)
    assert [warning.filename for warning in record] == [__file__]


def test_folder_warns_of_images_without_an_image_extension(tmp_path):
    """They are skipped like other files, but not without a word."""
    for name in ("a/1.png", "b/1.png", "a/2.jpg_large", "b/notes"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"notes" if name == "b/notes" else b"\x89PNG\r\n\x1a\n")
    with pytest.warns(DatasetWarning, match=r"start like images.*\n.*2\.jpg_large"):
        data = load_image_folder(tmp_path)
    assert len(data.filenames) == 2
    assert len(data.report["skipped_files"]) == 2
