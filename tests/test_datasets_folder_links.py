"""load_image_folder: links, loops and files outside of the folder."""

import os
import shutil

import pytest
from class_folders import relative, write_files

from skimgclf.datasets import load_image_folder
from skimgclf.datasets._folder import list_images
from skimgclf.exceptions import DatasetError, DatasetWarning


@pytest.fixture
def root(tmp_path):
    """Make a tree of two classes with two images each."""
    write_files(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    return tmp_path


def test_folder_links_to_folders_are_not_followed_but_named(root, tmp_path):
    store = tmp_path / ".store"
    write_files(store, "3.png")
    os.symlink(store, root / "cat" / "more")
    os.symlink(store, root / "bird")
    with pytest.warns(DatasetWarning, match="links to folders, which follow_links"):
        data = load_image_folder(root)
    assert len(data.filenames) == 4
    assert relative(root, data.report["links_not_followed"]) == ["bird", "cat/more"]


def test_folder_links_beside_chosen_classes_are_not_asked_for(root):
    os.symlink(".store", root / "bird")
    os.mkdir(root / ".store")
    assert load_image_folder(root, classes=["cat", "dog"]).target_names == [
        "cat",
        "dog",
    ]
    with pytest.raises(DatasetError, match="'bird' is a link, which follow_links=True"):
        load_image_folder(root, classes=["bird"])


def test_folder_follow_links_enters_links_to_folders(root):
    write_files(root, ".store/more/3.png", ".store/bird/deep/1.png")
    os.symlink(root / ".store" / "more", root / "cat" / "more")
    os.symlink(root / ".store" / "bird", root / "bird")
    data = load_image_folder(root, follow_links=True)
    assert relative(root, data.filenames) == [
        "bird/deep/1.png",
        "cat/1.png",
        "cat/2.png",
        "cat/more/3.png",
        "dog/1.png",
        "dog/2.png",
    ]
    assert data.report["links_not_followed"] == []


def test_folder_loops_of_links_do_not_repeat_files(root):
    """Keras makes 1,274 samples of one image that way."""
    os.symlink(root, root / "cat" / "root")
    os.symlink(root / "cat", root / "cat" / "self")
    os.symlink(root / "cat", root / "dog" / "cat")
    with pytest.warns(DatasetWarning, match="dog/cat' \\(class 'cat'\\)") as caught:
        data = load_image_folder(root, follow_links=True)
    assert "self" not in str(caught[0].message)
    assert len(data.filenames) == 4
    assert data.target.tolist() == ["cat", "cat", "dog", "dog"]
    assert len(data.report["repeated"]) == 3


def test_folder_loops_through_the_outside_do_not_repeat_files(tmp_path):
    root = tmp_path / "root"
    write_files(root, "cat/1.png", "dog/1.png")
    write_files(tmp_path / "outside", "2.png")
    os.symlink(tmp_path / "outside", root / "cat" / "out")
    os.symlink(tmp_path / "outside", tmp_path / "outside" / "again")
    os.symlink(root, tmp_path / "outside" / "back")
    data = load_image_folder(root, follow_links=True, allow_outside=True)
    assert relative(root, data.filenames) == ["cat/1.png", "cat/out/2.png", "dog/1.png"]


@pytest.mark.parametrize("target", ["cat", "cat/more"])
@pytest.mark.parametrize("classes", [None, ["dog"]])
def test_folder_links_to_folders_of_another_class_are_named(root, target, classes):
    """Their images would have two labels: those of the real folder count."""
    write_files(root, "cat/more/3.png")
    os.symlink(root / target, root / "dog" / "x")
    with pytest.warns(DatasetWarning, match="belong to another class") as caught:
        data = load_image_folder(root, follow_links=True, classes=classes)
    assert len(caught) == 1
    assert "dog/x' (class 'cat')" in str(caught[0].message)
    assert relative(root, data.filenames)[-2:] == ["dog/1.png", "dog/2.png"]
    assert relative(root, data.report["repeated"]) == ["dog/x"]
    os.remove(root / "dog" / "1.png")
    os.remove(root / "dog" / "2.png")
    with pytest.raises(DatasetError) as error:
        load_image_folder(root, follow_links=True, classes=classes)
    (problem,) = error.value.problems
    assert "dog' holds no image (but links to folders of another class" in problem
    assert "dog/x' (class 'cat')" in problem


def test_folder_all_images_are_listed_once_without_a_warning(root):
    os.symlink(root / "cat", root / "dog" / "x")
    assert len(list_images(str(root), follow_links=True)) == 4


def test_folder_root_is_not_read_again_from_above(tmp_path):
    write_files(tmp_path, "root/cat/1.png", "root/dog/1.png", "beside/2.png")
    os.symlink(tmp_path, tmp_path / "root" / "cat" / "up")
    data = load_image_folder(tmp_path / "root", follow_links=True, allow_outside=True)
    assert relative(tmp_path / "root", data.filenames) == [
        "cat/1.png",
        "cat/up/beside/2.png",
        "dog/1.png",
    ]


def test_folder_follow_links_enters_chosen_classes_alone(root):
    write_files(root, ".store/1.png")
    os.symlink(root / ".store", root / "bird")
    data = load_image_folder(root, classes=["cat", "dog"], follow_links=True)
    assert data.target_names == ["cat", "dog"]


def test_folder_reached_under_two_labels_is_refused(root):
    write_files(root, ".store/3.png")
    for label in ("cat", "dog"):
        os.symlink(root / ".store", root / label / "more")
    with pytest.raises(DatasetError, match="dog/more' is the same folder as one"):
        load_image_folder(root, follow_links=True)


def test_folder_links_to_the_outside_are_refused_unless_allowed(root, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    write_files(outside, "3.png", "more/4.png")
    os.symlink(outside / "3.png", root / "cat" / "3.png")
    os.symlink(outside / "more", root / "dog" / "more")
    with pytest.raises(DatasetError) as caught:
        load_image_folder(root, follow_links=True)
    assert len(caught.value.problems) == 2
    assert "leads outside of" in caught.value.problems[0]
    data = load_image_folder(root, follow_links=True, allow_outside=True)
    assert relative(root, data.filenames)[2:4] == ["cat/3.png", "dog/1.png"]
    assert len(data.filenames) == 6
    shutil.rmtree(outside)


def test_folder_of_refused_links_is_not_called_empty(root):
    (root / "bird").mkdir()
    os.symlink("/dev/null", root / "bird" / "1.png")
    with pytest.raises(DatasetError) as caught:
        load_image_folder(root)
    assert len(caught.value.problems) == 1


def test_folder_with_a_longer_name_is_outside(tmp_path):
    write_files(tmp_path, "data/cat/1.png", "data/dog/1.png", "data2/x.png")
    os.symlink(tmp_path / "data2" / "x.png", tmp_path / "data" / "cat" / "x.png")
    with pytest.raises(DatasetError, match="leads outside"):
        load_image_folder(tmp_path / "data")


def test_folder_root_itself_may_be_a_link(root, tmp_path):
    os.symlink(root, tmp_path / ".link")
    data = load_image_folder(tmp_path / ".link")
    assert data.filenames[0] == str(tmp_path / ".link" / "cat" / "1.png")


def test_folder_links_to_hidden_files_are_images(root):
    """So git-annex keeps its files."""
    write_files(root, ".annex/key")
    os.symlink("../.annex/key", root / "cat" / "3.png")
    assert len(load_image_folder(root).filenames) == 5


def test_folder_takes_a_real_file_once(root):
    os.symlink("2.png", root / "cat" / "0.png")
    data = load_image_folder(root)
    assert relative(root, data.filenames)[:2] == ["cat/1.png", "cat/2.png"]
    assert relative(root, data.report["repeated"]) == ["cat/0.png"]


def test_folder_real_file_under_two_labels_is_refused(root):
    os.symlink("../dog/2.png", root / "cat" / "0.png")
    with pytest.raises(DatasetError, match=r"cat/0.png' is the same file as .*dog/2"):
        load_image_folder(root)


def test_folder_broken_links_and_pipes_are_all_named(root):
    os.symlink("nowhere.png", root / "cat" / "3.png")
    os.symlink("4.png", root / "cat" / "4.png")
    os.mkfifo(root / "dog" / "3.png")
    with pytest.raises(DatasetError) as caught:
        load_image_folder(root)
    first, second, third = caught.value.problems
    assert "cat/3.png' is a link that leads to no file" in first
    assert "cat/4.png' is a link that leads to no file" in second
    assert "dog/3.png' is a pipe or device, no file" in third


@pytest.mark.parametrize("name", ["bird", "cat/more", "cat/notes.txt"])
def test_folder_broken_links_to_anything_are_named(root, name):
    """A link to a folder on a disk that isn't there looks like one to a file."""
    os.symlink("nowhere", root / name)
    with pytest.raises(DatasetError, match=f"{name}' is a link that leads nowhere"):
        load_image_folder(root)


@pytest.mark.parametrize("target", ["cat", "cat/more"])
@pytest.mark.parametrize("classes", [None, ["bird", "dog"]])
def test_folder_two_classes_that_are_one_folder_are_refused(root, target, classes):
    """Its images would have two labels; nothing is called empty."""
    write_files(root, "cat/more/3.png")
    os.symlink(root / target, root / "bird")
    with pytest.raises(DatasetError, match="same folder as 'cat'") as caught:
        load_image_folder(root, follow_links=True, classes=classes)
    assert len(caught.value.problems) == 1


def test_folder_two_links_to_one_folder_outside_are_refused(tmp_path):
    root = tmp_path / "root"
    write_files(root, "cat/1.png")
    write_files(tmp_path / "store", "2.png")
    for name in ["bird", "dog"]:
        os.symlink(tmp_path / "store", root / name)
    with pytest.raises(DatasetError, match="same folder"):
        load_image_folder(root, follow_links=True, allow_outside=True)
