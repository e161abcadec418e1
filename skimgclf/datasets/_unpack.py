"""Unpack a zip or tar file that nobody vouches for."""

import contextlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import namedtuple

from skimgclf.exceptions import DatasetError

# A zip file of some megabytes can hold petabytes of zeros. ImageNet's 1,281,167 images,
# in 138 GB, stay below both.
MAX_ENTRIES = 2_000_000
MAX_BYTES = 200 * 2**30

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_CHUNK = 2**20

# `kind` is "file", "folder" or what it is instead; `handle` is what the archive's own
# class calls it.
_Entry = namedtuple("_Entry", ["name", "kind", "size", "handle"])


def unpack_archive(path, folder, source, bar):
    """Unpack a zip or tar file into a new folder.

    Parameters
    ----------
    path : str
        The archive.
    folder : str
        Is made; holds a part of the files if something fails.
    source : str
        What the archive is called in errors.
    bar : tqdm
        Is moved on by each entry.

    Raises
    ------
    DatasetError
        If the archive is damaged or isn't one, or if an entry is a link or no file,
        leads out of the folder, stands there twice or is one too many.
    """
    os.mkdir(folder)
    guard = _Guard(source, shutil.disk_usage(folder).free)
    with open(path, "rb") as file:
        is_zip = file.read(4) in _ZIP_STARTS
    with _damage_named(source):
        unpack = _unpack_zip if is_zip else _unpack_tar
        unpack(path, folder, guard, bar)


def _unpack_zip(path, folder, guard, bar):
    with zipfile.ZipFile(path) as archive:
        entries = [_describe_zipped(info) for info in archive.infolist()]
        # All of them first, so that nothing is written of an archive that is refused.
        targets = [guard.check(entry) for entry in entries]
        bar.reset(total=len(entries))
        for entry, target in zip(entries, targets, strict=True):
            _write(archive.open, entry, os.path.join(folder, target), guard)
            bar.update()


def _unpack_tar(path, folder, guard, bar):
    with tarfile.open(path, tarinfo=_Member) as archive:
        for member in archive:
            entry = _describe_member(member)
            target = os.path.join(folder, guard.check(entry))
            _write(archive.extractfile, entry, target, guard)
            bar.update()
            archive.members.clear()  # it would keep what it knows of all of them
        if not isinstance(archive.ending, tarfile.EOFHeaderError):
            raise EOFError("its end is missing, or there is damage in between")
        # Behind the end of the packed stream lies its checksum.
        while content := archive.fileobj.read(_CHUNK):
            guard.count(len(content))


class _Member(tarfile.TarInfo):
    """An entry; tells its archive why there is no other one.

    tarfile takes whatever it doesn't understand for the end.
    """

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            archive.ending = error
            raise


class _Guard:
    """Decides on what may be unpacked.

    Parameters
    ----------
    source : str
        What the archive is called in errors.
    n_free : int
        How many bytes the disk has.
    """

    def __init__(self, source, n_free):
        self._source, self._n_free = source, n_free
        self._seen = set()
        self._n_entries = self._n_bytes = 0

    def check(self, entry):
        """Return the path below the folder that an entry goes to."""
        self.count(entry.size)
        if entry.kind not in {"file", "folder"}:
            self.refuse(f"{entry.name!r} in it is {entry.kind}")
        # Windows' separator as well, on every system.
        parts = [
            part for part in re.split(r"[/\\]", entry.name) if part not in ("", ".")
        ]
        if re.match(r"[/\\]|[A-Za-z]:", entry.name):
            self.refuse(f"{entry.name!r} in it is an absolute path")
        if ".." in parts or "\0" in entry.name:
            self.refuse(f"{entry.name!r} in it leads out of its folder")
        target = os.path.join("", *parts)
        if entry.kind == "file":
            if target in self._seen or not parts:
                self.refuse(f"{entry.name!r} stands in it twice")
            self._seen.add(target)
        return target

    def refuse(self, why):
        raise DatasetError(f"The archive {self._source!r} isn't unpacked: {why}.")

    def count(self, n_bytes):
        """Count one more entry, or refuse it for what all of them take."""
        self._n_entries += 1
        self._n_bytes += n_bytes
        if self._n_entries > MAX_ENTRIES:
            self.refuse(f"it holds more than {MAX_ENTRIES:,} files")
        if self._n_bytes > MAX_BYTES:
            self.refuse(f"it holds more than {MAX_BYTES:,} bytes")
        if self._n_bytes > self._n_free:
            self.refuse(f"it holds more than the {self._n_free:,} bytes that are free")


def _describe_zipped(info):
    file_type = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 1:
        kind = "encrypted"
    elif stat.S_ISLNK(file_type):
        kind = "a link"
    elif info.is_dir():
        kind = "folder"
    elif file_type in (0, stat.S_IFREG):  # 0 where the system has no such types
        kind = "file"
    else:
        kind = "no regular file"
    return _Entry(info.filename, kind, info.file_size, info)


def _describe_member(member):
    if member.issym() or member.islnk():
        kind = "a link"
    elif member.isdir():
        kind = "folder"
    else:
        kind = "file" if member.isreg() else "no regular file"
    return _Entry(member.name, kind, member.size, member)


def _write(open_entry, entry, target, guard):
    """Write an entry, without the owner, permissions and times that it asks for."""
    try:
        if entry.kind == "folder":
            os.makedirs(target, exist_ok=True)
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open_entry(entry.handle) as content, open(target, "xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        guard.refuse(f"{entry.name!r} is a file in it and a folder as well")


@contextlib.contextmanager
def _damage_named(source):
    """Name the archive in whatever its reader raises."""
    try:
        yield
    except DatasetError:
        raise
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,  # a method of compression
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine: a full disk
        raise DatasetError(
            f"{source!r} is damaged, or is no zip or tar archive: {error}."
        ) from error
