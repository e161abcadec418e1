"""Find the image file that an id of a table stands for."""

import contextlib
import os

from skimgclf.datasets._file_names import composed, is_clutter, split_name
from skimgclf.datasets._paths import is_folder, is_inside

# Kinds of entries of a folder that can be images.
_FILES = ("file", "link")


class ImageLookup:
    """Find image files by id, listing each folder once.

    Asking the file system about every row costs minutes for a large table on a slow
    disk, and can't tell that a name exists in another spelling; a listing can.

    Parameters
    ----------
    image_dir : str
        The folder that ids start from ("" is the current one).
    allow_outside : bool
        Whether ids may lead out of it.
    """

    def __init__(self, image_dir, *, allow_outside):
        self.image_dir = image_dir
        self._real_dir = os.path.realpath(image_dir or ".")
        self._allow_outside = allow_outside
        self._folders = {}
        self._folders_by_real_path = {}

    def find(self, image_id):
        """Find the file of an id.

        Parameters
        ----------
        image_id : str
            A file name relative to the folder, with or without its extension.

        Returns
        -------
        path : str
            The file, below `image_dir` as it was given.
        real_path : str
            The path without links, equal for two ids of the same file.

        Raises
        ------
        LookupError
            With a sentence that says why there is no such file.
        """
        head, tail = os.path.split(image_id) if "/" in image_id else ("", image_id)
        if head.startswith("/") and not self._allow_outside:
            raise LookupError(
                f"{image_id!r} is an absolute path (allow_outside=True accepts it)"
            )
        try:
            folder = self._folder(head)
            name = folder.match(tail)
        except LookupError:
            # A table that was written on Windows.
            if "\\" not in image_id:
                raise
            return self.find(image_id.replace("\\", "/"))
        folder.used.add(name)
        path = folder.path_of(name)
        if folder.kinds[name] == "file":
            return path, folder.real_prefix + name
        return path, self._resolve(path)

    def has(self, image_id):
        """Tell whether a file has this name, with or without its extension."""
        head, tail = os.path.split(image_id)
        with contextlib.suppress(LookupError):
            if self._folder(head).has(tail):
                return True
        # A table that was written on Windows, as in `find`.
        return "\\" in image_id and self.has(image_id.replace("\\", "/"))

    def orphans(self):
        """List the images without an id.

        Returns
        -------
        paths : list of str
            Sorted; only of folders that ids name.
        """
        return sorted(
            folder.path_of(name)
            for folder in self._folders_by_real_path.values()
            for name, kind in folder.kinds.items()
            if kind in _FILES
            and name not in folder.used
            and split_name(name)[1]
            and not is_clutter(name)
        )

    def _folder(self, head):
        """Return the listing of a folder, or raise the same error again."""
        if head not in self._folders:
            try:
                self._folders[head] = self._open(head)
            except LookupError as error:
                self._folders[head] = str(error)
        if isinstance(self._folders[head], str):
            raise LookupError(self._folders[head])
        return self._folders[head]

    def _open(self, head):
        if ".." not in head.split("/"):
            # With "..", normpath would give another folder than the file system if the
            # folder before it is a link.
            head = "" if head in ("", ".") else os.path.normpath(head)
            if not head.isascii():
                head = _respell(self.image_dir, head)
        path = os.path.join(self.image_dir, head)
        real_path = os.path.realpath(path or ".")
        if not self._allow_outside and not is_inside(real_path, self._real_dir):
            raise LookupError(
                f"the folder {head!r} lies outside of {self.image_dir or '.'!r} "
                f"(allow_outside=True accepts it)"
            )
        if real_path not in self._folders_by_real_path:
            self._folders_by_real_path[real_path] = _list_folder(path, real_path)
        return self._folders_by_real_path[real_path]

    def _resolve(self, link):
        real_path = os.path.realpath(link)
        if not os.path.isfile(real_path):
            raise LookupError(f"{link!r} is a link that leads to no file")
        if not self._allow_outside and not is_inside(real_path, self._real_dir):
            raise LookupError(
                f"{link!r} is a link that leads outside of {self.image_dir or '.'!r} "
                f"(allow_outside=True accepts it)"
            )
        return real_path


class ListedFolder:
    """One listed folder, and which of its files ids have asked for.

    Parameters
    ----------
    prefix : str
        The path before a name, and the name of the folder in sentences.
    real_prefix : str
        The same without links.
    kinds : dict of str to str
        The kind of each entry: "file", "link", "folder" or another one in words.
    """

    def __init__(self, prefix, real_prefix, kinds):
        self.prefix, self.real_prefix, self.kinds = prefix, real_prefix, kinds
        self.used = set()
        self._by_stem = self._similar = None

    def path_of(self, name):
        return self.prefix + name

    def has(self, name):
        """Tell whether there is a file with a name, or with it in another spelling."""
        return self.kinds.get(name) in _FILES or bool(self._candidates(name))

    def match(self, name):
        """Find the file with a name, or with the same name in another spelling."""
        if self.kinds.get(name) in _FILES:
            return name
        candidates = self._candidates(name)
        if len(candidates) > 1:
            raise LookupError(
                f"{name!r} could be any of {', '.join(map(repr, sorted(candidates)))} "
                f"in {self.prefix or '.'!r}: give the exact name"
            )
        if not candidates:
            raise LookupError(self._describe_missing(name))
        return candidates[0]

    def _candidates(self, name):
        """List the files with a name in another spelling."""
        if self._by_stem is None:
            self._by_stem = self._index()
        stem, extension = split_name(name)
        candidates = [
            candidate
            for candidate in self._by_stem.get(composed(stem), ())
            if split_name(candidate)[1] == extension
        ]
        return candidates or [
            candidate
            for candidate in self._by_stem.get(composed(name), ())
            if split_name(candidate)[1]
        ]

    def _index(self):
        """Index the files by the part of the name that all their spellings share."""
        by_stem = {}
        for name, kind in self.kinds.items():
            if kind in _FILES:
                stem = composed(split_name(name)[0])
                by_stem[stem] = (*by_stem.get(stem, ()), name)
        return by_stem

    def _describe_missing(self, name):
        kind = self.kinds.get(name)
        if kind is not None:
            return f"{self.path_of(name)!r} is a {kind}, not a file"
        if self._similar is None:
            self._similar = {stem.casefold(): stem for stem in self._by_stem}
        similar = self._similar.get(composed(split_name(name)[0]).casefold())
        hint = f" (there is {self._by_stem[similar][0]!r})" if similar else ""
        return f"no image {name!r} in {self.prefix or '.'!r}{hint}"


def _list_folder(path, real_path):
    try:
        with os.scandir(path or ".") as entries:
            kinds = {entry.name: _kind(entry) for entry in entries}
    except OSError as error:
        raise LookupError(f"no folder {path!r} ({error.strerror})") from error
    return ListedFolder(os.path.join(path, ""), os.path.join(real_path, ""), kinds)


def _kind(entry):
    if entry.is_file(follow_symlinks=False):
        return "file"
    if is_folder(entry):
        return "folder"
    return "link" if entry.is_symlink() else "special file (a pipe or device)"


def _respell(image_dir, head):
    """Find a folder whose name on disk has another Unicode form, part by part."""
    path = "/" if head.startswith("/") else ""
    for part in head.strip("/").split("/"):
        folder = os.path.join(image_dir, path)
        if not os.path.isdir(os.path.join(folder, part)):
            names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
            same = [name for name in names if composed(name) == composed(part)]
            part = same[0] if len(same) == 1 else part
        path = os.path.join(path, part)
    return path
