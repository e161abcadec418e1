"""Load the paths and labels of images in one folder per class: load_image_folder."""

import os

from skimgclf._validation import TRUE_OR_FALSE, ParameterTable, Rule, pick_fields
from skimgclf.datasets._bunch import (
    READER_RULES,
    Reading,
    alike_notes,
    describe_count,
    make_bunch,
    one_class_notes,
    warn_all,
)
from skimgclf.datasets._file_names import composed
from skimgclf.datasets._paths import an_existing
from skimgclf.datasets._urls import UrlFolder
from skimgclf.datasets._walk import DiskFolder, FlatFolder
from skimgclf.exceptions import DatasetError, describe_list
from skimgclf.images._decoding.options import DEFAULT_MAX_PIXELS
from skimgclf.images._urls import is_url


def _are_classes(value):
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__len__"):
        return value is None
    names = list(value)
    is_text = all(isinstance(name, str) for name in names)
    return bool(names) and is_text and len(set(names)) == len(names)


_TABLE = ParameterTable(
    "load_image_folder",
    {
        "classes": Rule(
            "a list of different class names, as str, or None (all of them)",
            _are_classes,
            ("cat", [], [1, 2], ["cat", "cat"], 3, b"cat", {"cat": 1}),
            lambda value: None if value is None else list(map(str, value)),
        ),
        "follow_links": TRUE_OR_FALSE,
        "allow_empty": TRUE_OR_FALSE,
        **READER_RULES,
        "root": an_existing("folder"),
    },
)

# First-level folders that hold parts of a data set rather than classes.
_SPLIT_NAMES = frozenset(
    "dev eval evaluation test testing train training val valid validation".split()
)


def load_image_folder(
    root,
    *,
    classes=None,
    hash_files=False,
    on_bad="ignore",
    max_pixels=DEFAULT_MAX_PIXELS,
    follow_links=False,
    allow_outside=False,
    allow_empty=False,
    storage_options=None,
    return_X_y=False,
    verbose=0,
):
    """Load the paths and labels of images that lie in one folder per class.

    The label of an image is the name of the folder directly below `root` in which it
    lies, at whatever depth; so `target` holds the labels themselves as str, unlike that
    of :func:`sklearn.datasets.load_files`, which holds numbers. No image is decoded
    unless `on_bad` asks for it.

    An image is a file with the extension of an image, in any case. Hidden files and
    folders, ``__MACOSX``, ``Thumbs.db`` and the like are skipped; other files in
    class folders are left out and counted in `report`. A link to a file is an image
    like any other, but every real file is taken only once. The images are sorted by
    class, then by path, so that their order is the same on every file system.

    Parameters
    ----------
    root : str or os.PathLike
        The folder that holds the class folders, as a path or as a URL that can be
        listed (``zip://train::pets.zip``, ``s3://bucket/train``; see `ImageLoader`).
    classes : list of str, default=None
        The classes to read; by default all.
    hash_files : bool, default=False
        Whether to hash the content of every file as `groups`, which reads them all.
        Give them to :class:`sklearn.model_selection.StratifiedGroupKFold`, and no copy
        of a training image is among the test images.
    on_bad : {"ignore", "raise", "drop"}, default="ignore"
        How to treat files that can't be decoded. "ignore" doesn't look: the loader
        will name them. "raise" and "drop" decode every file first, in as many threads
        as :func:`joblib.parallel_config` says. "raise" refuses bad files, and equal
        images under different labels as well; "drop" leaves bad files out, image, label
        and row of `frame` together, and warns with the list.
    max_pixels : int, default=89_478_485
        Images with more pixels are bad files for ``on_bad="raise"`` and "drop".
    follow_links : bool, default=False
        Whether to enter links to folders; without it, they are listed in a warning. A
        folder of another class is left out, with a warning.
    allow_outside : bool, default=False
        Whether links may lead out of `root`.
    allow_empty : bool, default=False
        Whether a class folder may hold no image.
    storage_options : dict, default=None
        Options of fsspec for a URL, by their names. Links don't concern URLs.
    return_X_y : bool, default=False
        Whether to return only ``(filenames, target)``.
    verbose : int, default=0
        Above 0, a progress bar is shown on stderr while files are decoded.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        - filenames : ndarray of shape (n_images,), dtype object: the paths as str,
          or URLs, which start with `root`
        - target : ndarray of shape (n_images,), dtype object: the labels as str
        - target_names : list of str: the classes that have images, sorted
        - frame : DataFrame of shape (n_images, 2): the columns filename and label
        - groups : ndarray of shape (n_images,), dtype object: the SHA-256 of each
          file's bytes; None without `hash_files`
        - report : dict: `n_images`; `n_per_class` (dict); `n_nested` (images below
          sub-folders of class folders); `skipped` (dict: how many files in class
          folders were left out, by extension) and `skipped_files` (list of str);
          `root_files` (list of str: files outside of any class folder);
          `links_not_followed` and `repeated` (lists of str: links to folders, and links
          to files that are read elsewhere); `empty_classes` (list of str); `dropped`
          (list of path and reason); and, if the contents are known from `hash_files` or
          `on_bad`, `duplicates` (list of lists of equal files) and `conflicts` (list of
          lists of path and label: equal files under different labels)
        - DESCR : str: a summary in words

    (filenames, target) : tuple of ndarray
        If `return_X_y` is True.

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value, or the folder doesn't exist.
    DatasetError
        If there is no image or no such class, a class folder is empty, a folder can't
        be listed, a link is broken, leads out of `root`, or leads to a file that has
        another label; the error lists all of these.
    ImageLoadError
        If files can't be decoded, with ``on_bad="raise"``.
    ImportError
        If `root` is a URL, and a package that reads it isn't installed.

    Warns
    -----
    DatasetWarning
        If images lie outside of class folders, pictures have a format that isn't read
        (SVG, for example), links to folders weren't followed or lead to another class,
        classes differ only by case, space or Unicode form, look like parts of a data
        set (train, test), or there is only one, equal images have different labels, or
        files were dropped.

    See Also
    --------
    load_image_csv : The images that a csv table names.

    Examples
    --------
    >>> import tempfile
    >>> from skimgclf.datasets import load_image_folder, load_photo_patches
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = load_photo_patches(folder).root
    ...     data = load_image_folder(root)
    >>> data.report["n_per_class"], data.report["skipped"]
    ({'china': 260, 'flower': 260}, {})
    >>> data.target[[0, 259, 260, 519]]
    array(['china', 'china', 'flower', 'flower'], dtype=object)
    """
    plain = _TABLE.check(locals())
    root, classes = plain["root"], plain["classes"]
    source = f"the folder {root!r}"
    reading = pick_fields(Reading, plain, source=source)

    if is_url(root):
        folder = UrlFolder(root, reading.url_reader)
    else:
        folder = DiskFolder(
            root, follow_links=follow_links, allow_outside=allow_outside
        )
    chosen, unknown = _choose_classes(folder, classes)
    tree = folder.walk(chosen)
    found = {image.label for image in tree.images}
    empty = [label for label in chosen if label not in found]
    problems = unknown + tree.problems
    if not allow_empty:
        # A folder with refused files only isn't called empty as well.
        problems += [
            _describe_empty(tree, label)
            for label in empty
            if label not in tree.problem_labels
        ]
    if problems or not found:
        _raise_problems(root, tree, problems)
    bunch, notes = make_bunch(
        [image.path for image in tree.images],
        [image.label for image in tree.images],
        _make_frame(tree),
        _make_report(tree, empty),
        reading,
    )
    notes = _class_notes(bunch, tree, classes, source) + notes
    warn_all(_tree_notes(tree, classes, source) + notes)
    return (bunch.filenames, bunch.target) if return_X_y else bunch


def list_images(root, *, follow_links=False, allow_outside=False):
    """List all images of a folder and the folders below it, sorted by path.

    Parameters
    ----------
    root : str
        The folder, on disk.
    follow_links, allow_outside : bool
        As in `load_image_folder`.

    Returns
    -------
    filenames : list of str

    Raises
    ------
    DatasetError
        If there is no image, or a link or folder can't be used.

    Warns
    -----
    DatasetWarning
        If files are left out that look like pictures, or links to folders are.
    """
    source = f"the folder {root!r}"
    folder = FlatFolder(root, follow_links=follow_links, allow_outside=allow_outside)
    tree = folder.walk_all()
    if tree.problems:
        _raise_problems(root, tree, tree.problems)
    notes = _tree_notes(tree, None, source)
    if not tree.images:
        raise DatasetError(f"The folder {root!r} holds no images.", notes)
    warn_all(notes)
    return [image.path for image in tree.images]


def _choose_classes(folder, classes):
    """Find the folders of the classes asked for, and name those that don't exist."""
    names = folder.class_names
    if classes is None:
        return names, []
    by_form = {composed(name): name for name in names}
    linked = {os.path.basename(path) for path in folder.root_links}
    chosen, unknown = set(), []
    for name in classes:
        # The name itself first: two folders may differ in their Unicode form alone.
        found = name if name in names else by_form.get(composed(name))
        if found is not None:
            chosen.add(found)
        elif name in linked:
            unknown.append(f"{name!r} is a link, which follow_links=True would enter")
        else:
            unknown.append(f"there is no class folder {name!r}; there are {names!r}")
    return sorted(chosen), unknown


def _describe_empty(tree, label):
    extensions = tree.count_skipped(label)
    held = ", ".join(f"{count} x {name!r}" for name, count in extensions.items())
    but = [f"files with the extensions {held}"] if held else []
    links = tree.describe_other_classes(label)
    if links:
        but.append(f"links to folders of another class, {', '.join(links[:3])}")
    held_instead = f" (but {' and '.join(but)})" if but else ""
    return (
        f"the class folder {tree.folders[label]!r} holds no image"
        f"{held_instead}; remove it or pass allow_empty=True"
    )


def _raise_problems(root, tree, problems):
    if problems:
        number = describe_count(len(problems), "problem")
        raise DatasetError(
            f"The folder {root!r} can't be used; it has {number}:", problems
        )
    advice = "one folder per class is expected, with the images in it"
    if tree.root_files:
        advice += f"; {describe_count(len(tree.root_files), 'file')} directly in it"
    n_links = len(tree.root_links + tree.links)
    if n_links:
        advice += f"; {describe_count(n_links, 'link')} to folders not followed"
    raise DatasetError(f"The folder {root!r} holds no images of any class: {advice}.")


def _make_frame(tree):
    import pandas as pd

    # Object columns: a name that isn't UTF-8 has no place in pandas' own text columns.
    rows = [(image.path, image.label) for image in tree.images]
    return pd.DataFrame(rows, columns=["filename", "label"], dtype=object)


def _make_report(tree, empty):
    return {
        "skipped": tree.count_skipped(),
        "skipped_files": [file.path for file in tree.skipped],
        "root_files": tree.root_files,
        "links_not_followed": sorted(tree.root_links + tree.links),
        "repeated": tree.repeated,
        "n_nested": tree.n_nested,
        "empty_classes": empty,
    }


def _tree_notes(tree, classes, source):
    """List the warnings on files that were left out."""
    # With chosen classes, links beside the class folders don't matter.
    links = tree.links if classes else tree.root_links + tree.links
    left_out = [
        (
            "images outside of any class folder, which were left out:",
            tree.root_images,
        ),
        ("pictures in formats that aren't read, which were left out:", tree.unreadable),
        (
            "files that start like images but have no image extension, which were left "
            "out:",
            tree.misnamed,
        ),
        ("links to folders, which follow_links=True would enter:", links),
    ]
    notes = [
        describe_list(f"{source} holds {what}", [repr(path) for path in paths])
        for what, paths in left_out
        if paths
    ]
    others = tree.describe_other_classes()
    if others:
        what = "links to folders that belong to another class, which were left out:"
        notes.append(describe_list(f"{source} holds {what}", others))
    return notes


def _class_notes(bunch, tree, classes, source):
    """List the warnings on class names, which are wrong if the root is."""
    counts = bunch.report["n_per_class"]
    notes = alike_notes(counts, source)
    if classes is not None:
        return notes
    advice = f"; is {tree.root!r} the folder that holds the class folders?"
    if tree.n_nested and {name.lower() for name in counts} <= _SPLIT_NAMES:
        names = list(counts)
        notes.append(
            f"{source} has the classes {names!r}, which look like parts of a data set"
            f"{advice}"
        )
    return notes + one_class_notes(counts, source, advice)
