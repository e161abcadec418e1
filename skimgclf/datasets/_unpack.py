"""Unpack a zip or tar file from a source that isn't trusted."""

import contextlib
import errno
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib

from skimgclf.datasets._archive_members import MemberChecks
from skimgclf.datasets._tar_stream import MAX_HEADER, TarStream
from skimgclf.exceptions import DatasetError

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")

# In bytes: the list of 2,000,000 files with names of usual length.
_MAX_ZIP_LIST = 2**28

# In bytes, of tar files.
_BLOCK = 512

# zipfile puts no limit on what it unpacks at once by other methods: 300 bytes of bzip2
# took 460 MB.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack_archive(path, folder, source, bar):
    """Unpack a zip or tar file into an empty folder.

    Parameters
    ----------
    path : str
        The archive.
    folder : str
        Holds a part of the files if something fails.
    source : str
        The archive's name in errors.
    bar : tqdm or the like
        Is moved on by each member.

    Raises
    ------
    DatasetError
        If the archive is damaged or isn't one, or if a member is refused by
        `MemberChecks`.
    """
    checks = MemberChecks(source, shutil.disk_usage(folder).free)
    with open(path, "rb") as file:
        is_zip = file.read(4) in _ZIP_STARTS
    with _damage_named(source):
        (_unpack_zip if is_zip else _unpack_tar)(path, folder, checks, bar)


def _unpack_zip(path, folder, checks, bar):
    with _ZipBytes(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        # All of them first, so that nothing is written of an archive that is refused.
        for member in members:
            checks.check(member.filename, _kind_of_zipped(member), member.file_size)
        bar.reset(total=len(members))
        for member in members:
            # zipfile stops at the size that was checked.
            archive.extract(member, folder)
            bar.update()


class _ZipBytes(io.FileIO):
    """A zip file whose list of files is refused if it is too long.

    zipfile reads that list whole, before the files in it can be counted.
    """

    def read(self, n_bytes=-1):
        if n_bytes > _MAX_ZIP_LIST:
            raise zipfile.BadZipFile(f"its list of files has {n_bytes:,} bytes")
        return super().read(n_bytes)


def _kind_of_zipped(member):
    file_type = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & 1:
        return "encrypted"
    if stat.S_ISLNK(file_type):
        return "a link"
    if member.is_dir():
        return "folder"
    if member.compress_type not in _ZIP_METHODS:
        return "compressed by another method than deflate"
    # 0 is written by systems that have no such types.
    return "file" if file_type in (0, stat.S_IFREG) else "no regular file"


def _unpack_tar(path, folder, checks, bar):
    with TarStream(path, checks.refuse) as stream:
        while _unpack_member(stream, folder, checks):
            bar.update()
        if stream.last != bytes(_BLOCK):
            raise EOFError("its end is missing, or there is damage in between")
        # The checksum of gzip, bzip2 and xz is compared when all of it was read.
        while stream.last:
            stream.allow(MAX_HEADER)
            checks.count(len(stream.read(MAX_HEADER)))


def _unpack_member(stream, folder, checks):
    """Unpack the next member of a tar file, and tell whether there was one.

    tarfile takes anything that it can't read for the end: the caller compares the last
    block.
    """
    start = stream.tell()
    stream.allow(MAX_HEADER)
    # A TarFile for each member: it keeps all that it has read, and global headers, in
    # memory.
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        member = next(iter(archive), None)
        if member is None:
            return False
        checks.count(stream.tell() - start)
        checks.check(member.name, _kind_of_tarred(member), member.size)
        size = member.size if member.isreg() else 0
        stream.allow(size + -size % _BLOCK)
        archive.extract(member, folder, set_attrs=False, filter="data")
        stream.read(-size % _BLOCK)
    return True


def _kind_of_tarred(member):
    if member.issym() or member.islnk():
        return "a link"
    if member.isdir():
        return "folder"
    if member.issparse():
        return "a sparse file"
    return "file" if member.isreg() else "no regular file"


@contextlib.contextmanager
def _damage_named(source):
    """Name the archive in errors of the libraries that read it."""
    try:
        yield
    except DatasetError:
        raise
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,  # strong encryption
        RecursionError,  # a header that announces a header that announces ...
    ) as error:
        # EINVAL: a position before the start of the file. Others are of this machine,
        # as for a full disk.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise DatasetError(
            f"{source!r} is damaged, or is no zip or tar archive: {error}."
        ) from error
