"""load_image_csv: the file that an id of a table names."""

import functools
import os
import unicodedata

import pytest
from csv_tables import IMAGES, TABLE, load_names, problems_of, relative, write_table

from skimgclf.datasets import load_image_csv
from skimgclf.exceptions import DatasetError


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table and files in `tmp_path`."""
    return functools.partial(write_table, tmp_path)


def test_csv_image_dir_is_where_ids_start(write, tmp_path):
    csv = write(TABLE, *(f"images/{name}" for name in IMAGES))
    data = load_image_csv(csv, image_dir=tmp_path / "images")
    assert data.filenames[0] == str(tmp_path / "images" / "a.png")
    with pytest.raises(
        DatasetError, match=r"none of the images is found from .*image_"
    ):
        load_image_csv(csv)


def test_csv_ids_may_name_subfolders(write, tmp_path):
    csv = write(
        "id,label\ntrain/a.png,1\n./train//b,2\ntest/x/c.png,1\n",
        "train/a.png",
        "train/b.png",
        "test/x/c.png",
    )
    assert relative(tmp_path, load_image_csv(csv).filenames) == [
        "train/a.png",
        "train/b.png",
        "test/x/c.png",
    ]


def test_csv_ids_written_on_windows_are_found(write):
    csv = write(
        "id,label\ntrain\\a.png,1\n.\\train\\b,2\n", "train/a.png", "train/b.png"
    )
    assert load_names(csv)[0] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("a.png", "a.png"),
        ("a", "a.png"),
        ("a", "a.JPG"),
        ("a.jpg", "a.JPG"),
        ("a.JPG", "a.jpg"),
        ("a.jpg", "a.jpg.png"),
        ("version 1.5", "version 1.5.tif"),
        ("a.dat", "a.dat"),
        ("extensionless", "extensionless"),
        (".hidden.png", ".hidden.png"),
        (".hidden", ".hidden.png"),
        (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
        (unicodedata.normalize("NFD", "é"), unicodedata.normalize("NFC", "é.PNG")),
        (
            unicodedata.normalize("NFC", "é/a.png"),
            unicodedata.normalize("NFD", "é/a.png"),
        ),
    ],
)
def test_csv_id_finds_its_file(write, image_id, name, tmp_path):
    csv = write(f"id,label\n{image_id},x\nother.png,y\n", name, "other.png")
    assert load_image_csv(csv).filenames[0] == str(tmp_path / name)


@pytest.mark.parametrize(
    ("image_id", "names", "chosen"),
    [
        ("a", ["a", "a.png"], "a"),
        ("a.png", ["a.png", "a.PNG", "a.jpg", "a.png.jpg"], "a.png"),
        ("a.png", ["a.PNG", "a.png.jpg"], "a.PNG"),
        ("a", ["a.txt", "a.png", "A.png"], "a.png"),
        ("a", ["a.png", ".a.png"], "a.png"),
    ],
)
def test_csv_exact_names_come_first(write, image_id, names, chosen):
    csv = write(f"id,label\n{image_id},x\nother.png,y\n", "other.png", *names)
    assert load_names(csv)[0][0] == chosen


@pytest.mark.parametrize(
    ("image_id", "names"),
    [
        ("a", ["a.png", "a.jpg"]),
        ("a", ["a.png", "a.PNG"]),
        ("a.jpg", ["a.JPG", "a.Jpg"]),
    ],
)
def test_csv_id_with_two_candidates_is_refused(write, image_id, names):
    (problem,) = problems_of(write(f"id,label\nb,x\n{image_id},y\n", "b.png", *names))
    assert problem.startswith(f"line 3: {image_id!r} could be any of ")
    assert all(repr(name) in problem for name in names)


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("a", "A.png"),
        ("a.png", "a.jpg"),
        ("a", "b.png"),
        ("a", "a.txt"),
        ("a", "ab.png"),
    ],
)
def test_csv_other_names_are_not_taken(write, image_id, name):
    (problem,) = problems_of(
        write(f"id,label\nother,x\n{image_id},y\n", "other.png", name)
    )
    assert problem.startswith(f"line 3: no image {image_id!r} in ")
    similar = name.lower().startswith("a.") and not name.endswith(".txt")
    assert (f"there is {name!r}" in problem) == similar


def test_csv_ids_that_are_no_files_are_named(write, tmp_path):
    csv = write("id,label\na.png,1\nfolder,2\nlink,3\npipe.png,4\nloop,5\n", "a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere.png")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.png")
    folder, link, pipe, loop = problems_of(csv)
    assert "folder' is a folder, not a file" in folder
    assert "link' is a link that leads to no file" in link
    assert "pipe.png' is a special file" in pipe
    assert "loop' is a link that leads to no file" in loop


def test_csv_ids_too_long_for_a_file_are_missing(write):
    long = "x" * 300
    problems = problems_of(write(f"id,label\na,1\n{long},2\n{long}/a,3\n", *IMAGES))
    assert "no image" in problems[0]
    assert "no folder" in problems[1]


@pytest.fixture
def outside(tmp_path):
    """Make a folder beside image_dir with an image in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "x.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "image_id",
    ["../outside/x.png", "..\\outside\\x", "link.png", "folder_link/x.png", "/x.png"],
)
def test_csv_ids_that_lead_outside_are_refused_unless_allowed(
    write, tmp_path, outside, image_id
):
    if image_id.startswith("/"):
        image_id = str(outside / "x.png")
    csv = write(f"id,label\na,1\n{image_id},2\n", "images/a.png")
    (tmp_path / "images" / "link.png").symlink_to(outside / "x.png")
    (tmp_path / "images" / "folder_link").symlink_to(outside)
    (problem,) = problems_of(csv, image_dir=tmp_path / "images")
    assert problem.startswith("line 3: ")
    assert "allow_outside=True accepts it" in problem
    data = load_image_csv(csv, image_dir=tmp_path / "images", allow_outside=True)
    assert os.path.samefile(data.filenames[1], outside / "x.png")


def test_csv_absolute_ids_are_refused_even_inside(write, tmp_path):
    csv = write(f"id,label\na,1\n{tmp_path / 'b.png'},2\n", *IMAGES)
    (problem,) = problems_of(csv)
    assert "is an absolute path" in problem
    (problem,) = problems_of(write("id,label\na,1\n/b.png,2\n", *IMAGES))
    assert "'/b.png' is an absolute path" in problem
    csv = write(f"id,label\na,1\n{tmp_path / 'b.png'},2\n", *IMAGES)
    assert load_names(csv, allow_outside=True)[0] == ["a.png", "b.png"]


def test_csv_ids_may_go_up_and_down_inside(write):
    csv = write("id,label\nx/../a.png,1\nx/c.png,2\n", "a.png", "x/c.png")
    assert load_names(csv)[0] == ["a.png", "c.png"]


def test_csv_going_up_behind_a_link_means_the_links_target(write, tmp_path):
    """So the operating system reads it; the parts can't just be cancelled."""
    csv = write("id,label\nlink/../x.png,1\na,2\n", "a.png", "x.png", "far/x.png")
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to("far/deep")
    assert os.path.samefile(
        load_image_csv(csv).filenames[0], tmp_path / "far" / "x.png"
    )


def test_csv_folder_with_a_longer_name_is_outside(write, tmp_path):
    csv = write("id,label\na,1\n../data2/x.png,2\n", "data/a.png", "data2/x.png")
    (problem,) = problems_of(csv, image_dir=tmp_path / "data")
    assert "lies outside of" in problem


def test_csv_links_inside_are_followed(write, tmp_path):
    csv = write("id,label\nlink.png,1\nb,2\n", "store/key", "b.png")
    (tmp_path / "link.png").symlink_to("store/key")
    assert load_names(csv)[0] == ["link.png", "b.png"]


def test_csv_image_dir_may_be_a_link(write, tmp_path):
    csv = write(TABLE, *(f"images/{name}" for name in IMAGES))
    (tmp_path / "link").symlink_to("images")
    data = load_image_csv(csv, image_dir=tmp_path / "link")
    assert data.filenames[0] == str(tmp_path / "link" / "a.png")


@pytest.mark.parametrize("image_id", [" a.png", "a.png ", " sub/a.png", " a"])
def test_csv_id_with_a_space_takes_the_file_of_exactly_this_name(write, image_id):
    """Never a similar one: without the space, it would be another file."""
    csv = write(f"id,label\n{image_id},cat\nb.png,dog\n", image_id, "a.png", "b.png")
    assert load_names(csv)[0][0] == os.path.basename(image_id)
    csv = write(f"id,label\n {image_id}  ,cat\nb.png,dog\n")
    if image_id.strip() == "a.png":
        assert load_names(csv)[0][0] == "a.png"


@pytest.mark.parametrize("image_id", [r" s\q.png", r" s\q", r"s\q.png ", r" s\t/q.png"])
def test_csv_id_of_windows_with_a_space_takes_the_file_of_its_name(
    write, tmp_path, image_id
):
    """Its backslashes stand for slashes, as in ids without a space."""
    path = image_id.replace("\\", "/")
    path = path if path.strip().endswith(".png") else f"{path}.png"
    csv = write(f"id,label\n{image_id},cat\nb.png,dog\n", path, path.strip(), "b.png")
    assert relative(tmp_path, load_image_csv(csv).filenames)[0] == path
    (tmp_path / path).unlink()
    assert relative(tmp_path, load_image_csv(csv).filenames)[0] == path.strip()


@pytest.mark.parametrize("image_id", [" a", "a ", " sub/a", "sub/a "])
def test_csv_id_with_a_space_and_no_extension_takes_the_file_of_its_name(
    write, image_id
):
    csv = write(f"id,label\n{image_id},cat\nb,dog\n", f"{image_id}.png", "b.png")
    name = os.path.basename(image_id)
    for other in ["a.png", "sub/a.png"]:
        write("id,label\n", other)
    csv = write(f"id,label\n{image_id},cat\nb,dog\n")
    assert load_names(csv)[0][0] == f"{name}.png"
    csv = write(f"id,label\n{image_id},cat\nb,dog\n", f"{image_id}.jpg")
    assert "could be any of" in problems_of(csv)[0]


@pytest.mark.parametrize("image_id", ["data:image/png;base64;abc", "/9j/" + 90 * "A"])
def test_csv_ids_that_hold_the_image_itself_are_named(write, image_id):
    csv = write(f"id,label\n{image_id},cat\n")
    assert "base64.b64decode" in problems_of(csv)[0]
