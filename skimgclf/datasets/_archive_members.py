"""Check names, kinds and sizes of an archive's members before they are unpacked."""

import re

from skimgclf._platform import RESERVED
from skimgclf.datasets._file_names import composed
from skimgclf.exceptions import DatasetError

# A zip file of some megabytes can hold petabytes of zeros. ImageNet's 1,281,167 images,
# in 138 GB, stay below both.
MAX_ENTRIES = 2_000_000
MAX_BYTES = 200 * 2**30

# In characters. Every folder of a path is made by itself.
_MAX_NAME = 1024

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: characters that aren't
# allowed, and those that are silently cut off at the end.
_NO_WINDOWS_NAME = re.compile(r'[\x00-\x1f<>:"|?*]|[. ]$')


class NoSpaceError(DatasetError):
    """An archive holds more than the disk has room for."""


class MemberChecks:
    """Checks the members of one archive, one after the other.

    The same archive is accepted or refused on every system: names that Windows can't
    hold, and names that differ only in case or in the form of an accent, are refused.

    Parameters
    ----------
    source : str
        The archive's name in errors.
    n_free : int
        Free bytes on the disk.
    """

    def __init__(self, source, n_free):
        self._source, self._n_free = source, n_free
        self._n_members = self._n_bytes = 0
        # Folded names of files, and of folders with the names as they were first seen.
        self._files, self._folders = set(), {"": ""}

    def check(self, name, kind, size):
        """Refuse a member that must not be unpacked.

        Parameters
        ----------
        name : str
            Its name in the archive.
        kind : str
            "file" or "folder"; any other kind is refused, and named in the error.
        size : int
            Bytes of its content, by its header.

        Raises
        ------
        DatasetError
            If it is refused.
        """
        self._n_members += 1
        self.count(size)
        if len(name) > _MAX_NAME:
            self.refuse(f"a name in it has {len(name):,} characters")
        if kind not in {"file", "folder"}:
            self.refuse(f"{name!r} in it is {kind}")
        parts = self._split(name)
        for end in range(1, len(parts) + (kind == "folder")):
            self._add_folder(name, "/".join(parts[:end]))
        if kind == "file":
            self._add_file(name, "/".join(parts))
        if max(self._n_members, len(self._folders)) > MAX_ENTRIES:
            self.refuse(f"it holds more than {MAX_ENTRIES:,} files")

    def count(self, n_bytes):
        """Count bytes, and refuse more than are allowed or than the disk has."""
        self._n_bytes += n_bytes
        if n_bytes < 0:
            self.refuse("the size of a file in it is negative")
        if self._n_bytes > MAX_BYTES:
            self.refuse(f"it holds more than {MAX_BYTES:,} bytes")
        if self._n_bytes > self._n_free:
            raise NoSpaceError(
                f"The archive {self._source!r} isn't unpacked: it holds more than the "
                f"{self._n_free:,} bytes that are free: delete files there, or give a "
                "data_home on another disk."
            )

    def refuse(self, why):
        raise DatasetError(f"The archive {self._source!r} isn't unpacked: {why}.")

    def _split(self, name):
        if re.match(r"[/\\]|[A-Za-z]:", name):
            self.refuse(f"{name!r} in it is an absolute path")
        if ".." in re.split(r"[/\\]", name):
            self.refuse(f"{name!r} in it leads out of its folder")
        if "\\" in name:
            self.refuse(f"{name!r} in it has a backslash, which Windows takes for '/'")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        for part in parts:
            # Most file systems allow 255 bytes.
            n_bytes = len(part.encode("utf-8", "surrogateescape"))
            is_odd = _NO_WINDOWS_NAME.search(part) or RESERVED.fullmatch(part)
            if n_bytes > 255 or is_odd:
                self.refuse(f"{name!r} in it is no valid file name on every system")
        return parts

    def _add_folder(self, name, folder):
        folded = _fold(folder)
        first = self._folders.setdefault(folded, folder)
        if folded in self._files:
            self.refuse(f"{name!r} is a file in it and a folder as well")
        if first != folder:
            self.refuse(
                f"{folder!r} and {first!r} in it are one folder on systems that ignore "
                "case or the form of accents"
            )

    def _add_file(self, name, path):
        folded = _fold(path)
        if folded in self._folders:
            self.refuse(f"{name!r} is a file in it and a folder as well")
        if folded in self._files:
            self.refuse(
                f"{name!r} stands in it twice, on systems that ignore case or the form "
                "of accents"
            )
        self._files.add(folded)


def _fold(path):
    """Return a key that is equal for names that a file system may take for the same."""
    return composed(composed(path).casefold())
