"""Describe the files in a folder of class folders, on disk or behind a URL."""

import os
from collections import Counter, namedtuple
from dataclasses import dataclass, field

# A file in a class folder: its path or URL, its class, and the path that links lead to
# (behind a URL, the path below the root).
ClassFile = namedtuple("ClassFile", ["path", "label", "real_path"])


@dataclass(frozen=True)
class ClassTree:
    """The files in a folder of class folders, on disk or behind a URL.

    Attributes
    ----------
    root : str
        The path or URL of the folder.
    folders : dict of str to str
        The path or URL of each class folder that was read, by its class.
    images : list of ClassFile
        The images in them, sorted by class and then by path.
    n_nested : int
        How many images lie deeper than directly in a class folder.
    skipped : list of ClassFile
        Files in class folders that have no image extension.
    unreadable, misnamed : list of str
        Those of the skipped files that are pictures in a format that isn't read, and
        those that start like an image file.
    root_files, root_images : list of str
        Files beside the class folders, which belong to no class, and those of them that
        have an image extension.
    links, root_links : list of str
        Links to folders that weren't entered, within and beside the class folders.
    repeated : list of str
        Links to files and folders that are read elsewhere.
    other_classes : dict of str to str
        The class that holds the folder, by each of these links that lies in another.
    problems : list of str
        Why the tree can't be used.
    problem_labels : set of str
        The classes with problems in their folders.
    """

    root: str
    folders: dict = field(default_factory=dict)
    images: list = field(default_factory=list)
    n_nested: int = 0
    skipped: list = field(default_factory=list)
    unreadable: list = field(default_factory=list)
    misnamed: list = field(default_factory=list)
    root_files: list = field(default_factory=list)
    root_images: list = field(default_factory=list)
    links: list = field(default_factory=list)
    root_links: list = field(default_factory=list)
    repeated: list = field(default_factory=list)
    other_classes: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    problem_labels: set = field(default_factory=set)

    def describe_other_classes(self, label=None):
        """Describe the links to folders of another class, of one class or of all."""
        folder = self.root if label is None else self.folders[label]
        below = os.path.join(folder, "")
        return [
            f"{path!r} (class {other!r})"
            for path, other in sorted(self.other_classes.items())
            if path.startswith(below)
        ]

    def count_skipped(self, label=None):
        """Count the skipped files by extension, of one class or of all."""
        counts = Counter(
            os.path.splitext(file.real_path)[1].lower()
            for file in self.skipped
            if label in (None, file.label)
        )
        return dict(sorted(counts.items()))


def sort_key(path, separator):
    """Sort a path by its parts: no name holds a zero, and nothing sorts before it."""
    return path.replace(separator, "\0")
