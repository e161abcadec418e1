"""The readers against simple oracles, on generated tables and folder trees.

An oracle states the rules again, by brute force and without the code of the package.
"""

import os
import tempfile
import unicodedata
import warnings
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from skimgclf.datasets import load_image_csv, load_image_folder
from skimgclf.exceptions import DatasetError, DatasetWarning

# Files are written for every example; the time it takes depends on the disk.
EXAMPLES = settings(max_examples=60, deadline=None)

KNOWN = set(
    ".apng .bmp .dib .gif .ico .jfif .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm "
    ".tif .tiff .webp".split()
)
E_ACUTE = "\u00e9", "e\u0301"


def nfc(text):
    return unicodedata.normalize("NFC", text)


def split(name):
    """Split a name into stem and extension, if it is one of an image."""
    stem, extension = os.path.splitext(name)
    known = extension.lower() in KNOWN
    return (stem, extension.lower()) if known else (name, "")


def write_files(root, names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def attempt(load, *arguments, **parameters):
    """Return what a reader returns and None, or None and its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatasetWarning)
        try:
            return load(*arguments, **parameters), None
        except DatasetError as error:
            return None, error


def lines_of(texts):
    return {int(text.split(":")[0].removeprefix("line ")) for text in texts}


# Tables

stems = st.sampled_from(["a", "A", "b", "a.b", "1.5", "007", *E_ACUTE])
extensions = st.sampled_from(["", ".png", ".PNG", ".jpg", ".txt"])
names = st.builds("{}{}".format, stems, extensions)
spaces = st.sampled_from(["", "", "", " ", "\u00a0"])
good_labels = st.sampled_from(["x", "x", "x", "x ", "NA", "1e5", "x\ny", 'x"y', "x,y"])
labels = st.sampled_from(range(20)).flatmap(
    lambda die: good_labels if die else st.sampled_from(["", "\u00a0"])
)


@st.composite
def tables(draw):
    """Draw the files of a folder and a table that names most of them rightly."""
    files = draw(st.sets(names, max_size=8))
    right = [*files, *{os.path.splitext(name)[0] for name in files}]
    table = []
    for _ in range(draw(st.integers(1, 6))):
        die = draw(st.integers(1, 20))
        image_id = draw(st.sampled_from(right) if right and die < 19 else names)
        row = [draw(spaces) + image_id + draw(spaces), draw(labels)]
        if die == 1:
            row = draw(st.sampled_from([[], row[:1], [*row, "x"], ["", *row[1:]]]))
        table.append(row)
    return table, files


def quote(cell):
    """Quote a cell where the format asks for it."""
    if any(character in cell for character in ',"\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def candidates(image_id, files):
    """List the files that an id could mean, the exact name before all others."""
    if image_id in files:
        return [image_id]
    stem, extension = split(image_id)
    spellings = [
        name
        for name in files
        if (nfc(split(name)[0]), split(name)[1]) == (nfc(stem), extension)
    ]
    return spellings or [
        name
        for name in files
        if split(name)[1] and nfc(split(name)[0]) == nfc(image_id)
    ]


def judge_rows(table, files):
    """Return what is taken, the lines with problems and those that repeat an image."""
    line, taken, problems, repeated, first = 2, [], set(), set(), {}
    for row in table:
        start, line = line, line + 1 + sum(cell.count("\n") for cell in row)
        if len(row) != 2:
            if row:
                problems.add(start)
            continue
        image_id, label = (cell.strip() for cell in row)
        found = candidates(image_id, files) if image_id else []
        if not image_id or not label or len(found) != 1:
            problems.add(start)
        if image_id:
            # Rows without a file are compared by their ids.
            file = found[0] if len(found) == 1 else ("no file", image_id)
            known = first.setdefault(file, label)
            if known != label and known and label:
                problems.add(start)
            elif (file, label) in [item[:2] for item in taken]:
                repeated.add(start)
            elif known == label and len(found) == 1:
                taken.append((file, label, start))
    return taken, problems, repeated


@EXAMPLES
@given(tables())
@example(([("a", "x"), ("a.png", "x"), ("b", "y")], {"a.png", "b.PNG"}))
@example(([("a", "x"), ("", "y"), ("b", "")], {"a.png", "a.jpg"}))
@example(([("a", "x\ny"), ("zzz", "y")], {"a.png"}))
def test_csv_agrees_with_the_oracle(table_and_files):
    table, files = table_and_files
    taken, problems, repeated = judge_rows(table, files)
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, files)
        lines = ["id,label", *(",".join(map(quote, row)) for row in table)]
        csv = Path(folder, "table.csv")
        csv.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        data, error = attempt(load_image_csv, csv)
        if error:
            assert lines_of(error.problems) == problems
            # A table of blank lines alone has no line to blame.
            assert problems or not any(table)
            return
        assert not problems
        assert data.filenames.tolist() == [os.path.join(folder, f) for f, _, _ in taken]
        assert data.target.tolist() == [label for _, label, _ in taken]
        assert data.frame["label"].tolist() == data.target.tolist()
        assert lines_of(data.report["repeated"]) == repeated
        unused = {name for name in files if split(name)[1]} - {f for f, _, _ in taken}
        assert {os.path.basename(path) for path in data.report["orphans"]} == unused


# All that UTF-8 writes; Hypothesis would try out a codec's characters one by one.
texts = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]))


@EXAMPLES
@given(
    st.lists(st.lists(texts), max_size=5),
    st.sampled_from([",", ";", "\t"]),
)
def test_csv_any_table_is_read_or_refused_by_name(cells, sep):
    """No table raises anything but the two errors that say what to do."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, ["a.png"])
        csv = Path(folder, "table.csv")
        lines = [f"id{sep}label", f"a{sep}x", *(sep.join(row) for row in cells)]
        csv.write_text("\n".join(lines), encoding="utf-8", newline="")
        data, error = attempt(load_image_csv, csv, sep=sep)
        if error:
            assert repr(str(csv)) in str(error)
        else:
            assert data.filenames.tolist() == [os.path.join(folder, "a.png")]


@EXAMPLES
@given(st.binary(max_size=60))
def test_csv_any_bytes_are_refused_by_name(content):
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder, "table.csv")
        csv.write_bytes(content)
        _, error = attempt(load_image_csv, csv)
        assert repr(str(csv)) in str(error)


# Trees

folders = st.sampled_from(["cat", "dog", "a b", "a", "10", ".git", "__MACOSX", "1.png"])
files = st.sampled_from(
    ["1.jpg", "2.PNG", "b.tif", "n.txt", "raw", ".h.png", "._1.png", "Thumbs.db"]
)
paths = st.builds(
    lambda parts, name: (*parts, name), st.lists(folders, max_size=3), files
)
HIDDEN = {"__MACOSX", "Thumbs.db"}


def is_visible(path):
    return not any(part.startswith(".") or part in HIDDEN for part in path)


@EXAMPLES
@given(st.sets(paths, max_size=10), st.booleans())
@example({("a", "1.jpg"), ("a b", "1.jpg"), ("a", "a b", "1.jpg")}, False)
def test_folder_agrees_with_the_oracle(tree, allow_empty):
    visible = sorted(path for path in tree if is_visible(path))
    images = [path for path in visible if len(path) > 1 and split(path[-1])[1]]
    # A folder is there even if all that it holds is hidden.
    classes = {path[0] for path in tree if len(path) > 1 and is_visible(path[:1])}
    empty = classes - {path[0] for path in images}
    with tempfile.TemporaryDirectory() as root:
        write_files(root, [os.path.join(*path) for path in tree])
        data, error = attempt(load_image_folder, root, allow_empty=allow_empty)
        if error:
            assert (empty and not allow_empty) or not images
            assert allow_empty or len(error.problems) == len(empty)
            return
        assert images
        assert allow_empty or not empty
        assert data.filenames.tolist() == [os.path.join(root, *path) for path in images]
        assert data.target.tolist() == [path[0] for path in images]
        assert data.report["empty_classes"] == sorted(empty)
        assert data.report["n_nested"] == sum(len(path) > 2 for path in images)
        others = [path for path in visible if path not in images]
        assert data.report["skipped_files"] == sorted(
            os.path.join(root, *path) for path in others if len(path) > 1
        )
        assert len(data.report["root_files"]) == sum(len(path) == 1 for path in others)


link_names = st.builds(
    os.path.join,
    st.sampled_from(["cat", "dog", "cat/dog"]),
    st.sampled_from(["link", "link.png", "other.png"]),
)
targets = st.sampled_from(
    [".", "cat", "dog", "cat/dog", "cat/1.jpg", "dog/1.jpg", ".store", ".store/3.jpg"]
)


@EXAMPLES
@given(st.dictionaries(link_names, targets, max_size=4))
@example({"cat/link": ".", "cat/link.png": "cat/1.jpg"})
def test_folder_takes_every_real_file_at_most_once(links):
    """However links lead, a file is taken under its own name if it has one."""
    own = ["cat/1.jpg", "cat/dog/2.jpg", "dog/1.jpg", "dog/cat/2.jpg"]
    with tempfile.TemporaryDirectory() as root:
        write_files(root, [*own, ".store/3.jpg"])
        for name, target in links.items():
            os.symlink(os.path.join(root, target), os.path.join(root, name))
        data, error = attempt(load_image_folder, root, follow_links=True)
        if error:
            # Only the same file, or the hidden folder, under both labels is wrong.
            assert all("the same f" in problem for problem in error.problems)
            return
        real = [os.path.realpath(name) for name in data.filenames]
        assert len(real) == len(set(real))
        assert {os.path.join(root, name) for name in own} <= set(data.filenames)
        stored = [name for name in real if "/.store/" in name]
        assert len(stored) == any(
            target == ".store" or (target == ".store/3.jpg" and name.endswith(".png"))
            for name, target in links.items()
        )
        parts = [os.path.relpath(name, root).split("/") for name in data.filenames]
        assert parts == sorted(parts)
        assert data.target.tolist() == [part[0] for part in parts]
