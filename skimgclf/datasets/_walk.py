"""Find the images in a folder of class folders on disk, each real file once."""

import dataclasses
import os

from skimgclf.datasets._file_names import is_clutter, is_unreadable, split_name
from skimgclf.datasets._paths import is_folder, is_inside
from skimgclf.datasets._tree import ClassFile, ClassTree, sort_key
from skimgclf.images._decoding.reasons import name_format


class DiskFolder:
    """A folder of class folders on disk.

    Parameters
    ----------
    root : str
        The folder.
    follow_links : bool
        Whether to enter links to folders.
    allow_outside : bool
        Whether links may lead out of `root`.

    Attributes
    ----------
    class_names : list of str
        The class folders, sorted.
    root_links : list of str
        Links to folders beside them that aren't entered.
    """

    def __init__(self, root, *, follow_links, allow_outside):
        self.class_names, self._root, self._tree = [], root, ClassTree(root)
        self.root_links = self._tree.root_links
        self._follow_links = follow_links
        self._allow_outside = allow_outside
        self._real_root = os.path.realpath(root)
        self._folder_links, self._file_links = [], []
        # Resolved folder -> the class as which it was read (None: the root).
        self._entered = {self._real_root: None}
        self._list_root()

    def walk(self, class_names):
        """Collect the files of some of the classes, once.

        Real folders come first, then links to folders, then links to files, so that
        an image that can be reached in two ways is taken under its own name.

        Parameters
        ----------
        class_names : list of str
            The classes.

        Returns
        -------
        tree : ClassTree
        """
        folders = {label: os.path.join(self._root, label) for label in class_names}
        for label, path in folders.items():
            if path not in self._folder_links:
                self._read(path, os.path.join(self._real_root, label), label)
        self._add_links(folders)
        return self._make_tree(folders)

    def _add_links(self, labels):
        # Links in a linked folder are appended during the loop.
        for path in self._folder_links:
            label = self._label(path)
            if label in labels:
                self._follow(path, label)
        if self._file_links:
            taken = {image.real_path: image for image in self._tree.images}
            for path in self._file_links:
                self._take_link(path, taken)

    def _make_tree(self, folders):
        tree = self._tree
        tree.images.sort(key=lambda image: sort_key(image.path, os.sep))
        listed = tree.skipped, tree.unreadable, tree.misnamed, tree.links, tree.repeated
        for paths in listed:
            paths.sort()
        depth = os.path.join(self._root, "").count(os.sep) + 1
        return dataclasses.replace(
            tree,
            folders=folders,
            n_nested=sum(image.path.count(os.sep) > depth for image in tree.images),
            root_images=[path for path in tree.root_files if split_name(path)[1]],
        )

    def _label(self, path):
        """Return the first part of a path below the root."""
        return path[len(os.path.join(self._root, "")) :].split(os.sep)[0]

    def _list_root(self):
        for entry in self._list(self._root):
            if is_folder(entry):
                if not entry.is_symlink():
                    self.class_names.append(entry.name)
                elif self._follow_links:
                    self.class_names.append(entry.name)
                    self._folder_links.append(entry.path)
                else:
                    self.root_links.append(entry.path)
            elif not self._refuse_broken(entry):
                self._tree.root_files.append(entry.path)

    def _list(self, path):
        """List a folder without clutter, sorted by name."""
        try:
            with os.scandir(path) as entries:
                visible = [entry for entry in entries if not is_clutter(entry.name)]
        except OSError as error:
            self._refuse(path, f"can't be listed ({error.strerror})")
            return []
        return sorted(visible, key=lambda entry: entry.name)

    def _read(self, path, real_path, label):
        """Read a folder and all below it, but for links."""
        waiting = [(path, real_path)]
        while waiting:
            path, real_path = waiting.pop()
            if self._was_entered(path, real_path, label):
                continue
            for entry in self._list(path):
                real = f"{real_path}{os.sep}{entry.name}"
                if entry.is_file(follow_symlinks=False):
                    self._add_file(entry, real, label)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, real))
                elif is_folder(entry):
                    self._add_folder_link(entry.path)
                elif split_name(entry.name)[1]:
                    self._file_links.append(entry.path)
                elif not self._refuse_broken(entry):
                    self._skip(entry, ClassFile(entry.path, label, real))

    def _was_entered(self, path, real_path, label):
        """Tell whether a folder was read before, and note that it is now."""
        if real_path not in self._entered:
            self._entered[real_path] = label
            return False
        first = self._entered[real_path]
        self._tree.repeated.append(path)
        if first not in (None, label):
            self._refuse(path, f"is the same folder as one that is read as {first!r}")
        return True

    def _add_file(self, entry, real_path, label):
        file = ClassFile(entry.path, label, real_path)
        if split_name(entry.name)[1]:
            self._tree.images.append(file)
        else:
            self._skip(entry, file)

    def _skip(self, entry, file):
        self._tree.skipped.append(file)
        if is_unreadable(entry.name):
            self._tree.unreadable.append(entry.path)
        elif _starts_like_image(entry):
            self._tree.misnamed.append(entry.path)

    def _add_folder_link(self, path):
        (self._folder_links if self._follow_links else self._tree.links).append(path)

    def _follow(self, path, label):
        """Enter a link to a folder, unless its images have a name of their own."""
        real_path = os.path.realpath(path)
        if not is_inside(real_path, self._real_root):
            if self._allow_outside:
                self._read(path, real_path, label)
            else:
                self._refuse_outside(path)
        elif self._has_own_name(real_path):
            self._tree.repeated.append(path)
            own = self._own_class(real_path)
            if real_path == self._real_root or own == label:
                return
            if os.path.dirname(path) == self._root:
                self._refuse(path, f"is a link to the same folder as {own!r}")
            else:
                self._tree.other_classes[path] = own
        else:
            self._read(path, real_path, label)

    def _has_own_name(self, real_path):
        """Tell whether a folder below the root is reached without links, too."""
        if real_path == self._real_root:
            return True
        parts = os.path.relpath(real_path, self._real_root).split(os.sep)
        return not any(map(is_clutter, parts))

    def _own_class(self, real_path):
        """Return the class to which a folder below the root belongs."""
        return os.path.relpath(real_path, self._real_root).split(os.sep)[0]

    def _take_link(self, path, taken):
        """Take a link to a file as an image, unless it is one already."""
        real_path, label = os.path.realpath(path), self._label(path)
        if not os.path.isfile(real_path):
            what = (
                "a link that leads to" if os.path.islink(path) else "a pipe or device,"
            )
            self._refuse(path, f"is {what} no file")
        elif not self._allow_outside and not is_inside(real_path, self._real_root):
            self._refuse_outside(path)
        elif real_path not in taken:
            image = taken[real_path] = ClassFile(path, label, real_path)
            self._tree.images.append(image)
        else:
            self._tree.repeated.append(path)
            first = taken[real_path]
            if first.label != label:
                self._refuse(
                    path, f"is the same file as {first.path!r}, under another label"
                )

    def _refuse_broken(self, entry):
        """Note a link that leads nowhere: it may have led to a folder of images."""
        if not entry.is_symlink() or os.path.exists(entry.path):
            return False
        self._refuse(entry.path, "is a link that leads nowhere")
        return True

    def _refuse_outside(self, path):
        self._refuse(
            path,
            f"is a link that leads outside of {self._root!r} (allow_outside=True "
            f"accepts it)",
        )

    def _refuse(self, path, what):
        self._tree.problems.append(f"{path!r} {what}")
        self._tree.problem_labels.add(self._label(path))


class FlatFolder(DiskFolder):
    """A folder on disk of which all images are taken, in whatever folders below it.

    Parameters are those of `DiskFolder`.
    """

    def walk_all(self):
        """Collect all files, as `DiskFolder.walk` does."""
        self._read(self._root, self._real_root, None)
        self._add_links([None])
        return self._make_tree({})

    def _list_root(self):
        self._entered.clear()  # the root is read as any other folder

    def _label(self, path):
        return None

    def _own_class(self, real_path):
        return None


def _starts_like_image(entry):
    if not entry.is_file():
        return False
    try:
        with open(entry.path, "rb") as file:
            return name_format(file.read(16)) is not None
    except OSError:
        return False
