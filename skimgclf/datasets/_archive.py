"""Fetch a zip or tar file of images and unpack it: fetch_image_archive."""

import contextlib
import hashlib
import os
import re
import urllib.parse
from collections import namedtuple

from sklearn.datasets import get_data_home

from skimgclf._atomic import full_disk_explained, replace_atomically
from skimgclf._file_identity import wait_for_identity
from skimgclf._platform import locked
from skimgclf._terminal import make_bar
from skimgclf._validation import (
    TRUE_OR_FALSE,
    ParameterTable,
    Rule,
    a_path,
    optional,
    warn_user,
)
from skimgclf.datasets._archive_members import NoSpaceError
from skimgclf.datasets._download import download_file, download_from_drive
from skimgclf.datasets._unpack import unpack_archive
from skimgclf.exceptions import DatasetError, DatasetWarning


def _is_hash(value):
    return isinstance(value, str) and re.fullmatch("[0-9A-Fa-f]{64}", value) is not None


_TABLE = ParameterTable(
    "fetch_image_archive",
    {
        "sha256": Rule(
            "64 hexadecimal digits or None",
            lambda value: value is None or _is_hash(value),
            ("abc", 3, True),
            lambda value: value and value.lower(),
        ),
        "data_home": optional(a_path("a folder")),
        "progress": TRUE_OR_FALSE,
        "source": a_path("an archive, or its URL,"),
    },
)

# Seconds to wait until a file that has just changed can be told from a later one.
_PATIENCE = 5.0

_EXPECTED = (
    "an http or https URL, the link or id of a file of Google Drive, or the path of a "
    "file that exists"
)

# What Google Drive's ids are made of; those in use have 28, 33 or 44 characters.
_DRIVE_ID = r"[\w-]{25,}"
_DRIVE_HOSTS = {"drive.google.com", "drive.usercontent.google.com"}
_DRIVE_LINK = rf"/file/(?:u/\d+/)?d/({_DRIVE_ID})(?:/.*)?"

# The source of an archive: `kind` is "url", "drive" or "path", `address` the URL, id or
# path, `identity` a text that differs for another archive, `stem` a readable name.
_Origin = namedtuple("_Origin", ["kind", "address", "identity", "stem"])


def fetch_image_archive(source, *, sha256=None, data_home=None, progress=True):
    """Fetch a zip or tar file of images and unpack it, once.

    The folder it returns is for :func:`load_image_folder` and :func:`load_image_csv`.
    The folder appears when all of it is unpacked, and later calls return it without
    looking at `source` again: delete it to fetch it anew. A download that breaks off
    starts anew at the next call.

    Parameters
    ----------
    source : str or os.PathLike
        An http or https URL, or the link or id of a file of Google Drive that everybody
        with the link may read (both need the extra ``fetch``), or the path of an
        archive on this machine, of which later changes are noticed. The archive is a
        zip or tar file; a tar file may be compressed with gzip, bzip2 or xz.
    sha256 : str, default=None
        The SHA-256 of the archive, in 64 hexadecimal digits. It is compared before
        unpacking; without it, another archive in the same place isn't noticed.
    data_home : str or os.PathLike, default=None
        The folder below which it is kept, as ``skimgclf/archives/<name>``. By default
        scikit-learn's data home (:func:`sklearn.datasets.get_data_home`).
    progress : bool, default=True
        Whether to show progress bars on stderr.

    Returns
    -------
    folder : str
        The path of the folder with the unpacked files. Often it holds a single folder.

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value, or `source` is none of those.
    DatasetError
        If the SHA-256 is another one; if the archive is damaged, or is a web page (as
        Google Drive sends instead of files that were downloaded too often); if it holds
        absolute paths, paths that lead out of the folder, names that Windows can't
        hold, links, other things than files, encrypted files, or a name twice (names
        that differ only in case or in the form of accents count as equal); if it holds
        more than 2,000,000 files, more than 200 GiB, or more than the disk has.
    ImportError
        If `source` is a URL and pooch isn't installed, or a file of Google Drive and
        gdown isn't installed.
    OSError
        If the archive can't be downloaded or written.

    Examples
    --------
    >>> import os, tempfile, zipfile
    >>> from skimgclf.datasets import fetch_image_archive
    >>> with tempfile.TemporaryDirectory() as home:
    ...     path = os.path.join(home, "pets.zip")
    ...     with zipfile.ZipFile(path, "w") as archive:
    ...         archive.writestr("cat/tom.png", b"...")
    ...     folder = fetch_image_archive(path, data_home=home, progress=False)
    ...     print(os.listdir(folder), os.path.basename(folder).split("-")[0])
    ['cat'] pets
    """
    plain = _TABLE.check(locals())
    sha256, data_home = plain["sha256"], plain["data_home"]
    origin = _find_origin(plain["source"])
    # With the same SHA-256, it is the same archive wherever it comes from.
    identity = sha256 or hashlib.sha256(origin.identity.encode()).hexdigest()
    name = f"{origin.stem}-{identity[:12]}"
    with full_disk_explained():
        home = os.path.join(get_data_home(data_home), "skimgclf", "archives")
        folder = os.path.join(home, name)
        if not os.path.isdir(folder):
            os.makedirs(home, exist_ok=True)
            with _locked(os.path.join(home, f".{name}.lock")):
                if not os.path.isdir(folder):
                    _fetch(origin, folder, sha256, progress)
    return folder


def _find_origin(path):
    """Tell the kind of a source."""
    if os.path.isfile(path):
        path = os.path.realpath(path)
        identity = f"{path} {wait_for_identity(path, _PATIENCE) or os.stat(path)}"
        return _Origin("path", path, identity, _make_stem(path))
    try:
        parts = urllib.parse.urlsplit(path)
    except ValueError as error:  # such as "http://[x/a.zip"
        raise _TABLE.error("source", _EXPECTED, path) from error
    file_id = _find_drive_id(path, parts)
    if file_id is not None:
        return _Origin("drive", file_id, f"drive {file_id}", _make_stem(file_id))
    is_web = parts.scheme in {"http", "https"} and parts.netloc
    if is_web and parts.hostname not in _DRIVE_HOSTS:  # such as a folder's
        stem = _make_stem(urllib.parse.unquote(parts.path))
        return _Origin("url", path, path, stem)
    raise _TABLE.error("source", _EXPECTED, path)


def _find_drive_id(text, parts):
    """Return the id of a file of Google Drive from its link, or itself, or None."""
    if re.fullmatch(_DRIVE_ID, text):
        return text
    if parts.hostname not in _DRIVE_HOSTS:
        return None
    match = re.fullmatch(_DRIVE_LINK, parts.path)
    ids = [match[1]] if match else urllib.parse.parse_qs(parts.query).get("id", [])
    return ids[0] if len(ids) == 1 and re.fullmatch(_DRIVE_ID, ids[0]) else None


def _make_stem(path):
    """Make the readable part of a folder's name."""
    stem = os.path.basename(path.rstrip("/")).split(".")[0]
    return re.sub("[^A-Za-z0-9_]+", "_", stem)[:40].strip("_") or "archive"


@contextlib.contextmanager
def _locked(path):
    """Wait until no other process fetches the same; a killed one doesn't count."""
    with open(path, "ab") as file, locked(file) as is_locked:
        if not is_locked:
            warn_user(
                f"The file system of {path!r} has no locks: don't fetch the same "
                "archive into it by two processes at once.",
                DatasetWarning,
            )
        yield


def _fetch(origin, folder, sha256, progress):
    """Bring an archive here, check and unpack it; the folder appears in one step."""
    if origin.kind == "path":
        return _unpack(origin.address, folder, origin, sha256, progress)
    home, name = os.path.split(folder)
    path = os.path.join(home, f".{name}.archive")
    if not os.path.isfile(path):  # it stays if only unpacking failed, of a full disk
        download = download_from_drive if origin.kind == "drive" else download_file
        download(origin.address, path, progress)
    try:
        _unpack(path, folder, origin, sha256, progress)
    except NoSpaceError:  # the same archive has room later
        raise
    except DatasetError:
        os.unlink(path)  # another download may be a good one
        raise
    os.unlink(path)


def _unpack(path, folder, origin, sha256, progress):
    _check_content(path, origin.address, sha256)
    bar = make_bar("Unpacking", "files", shown=progress)
    with bar, replace_atomically(folder, folder=True) as unpacked:
        unpack_archive(path, unpacked, origin.address, bar)


def _check_content(path, source, sha256):
    """Refuse a file with another hash, and web pages."""
    with open(path, "rb") as file:
        start = file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(0)
        if start.startswith(b"<"):
            raise DatasetError(
                f"{source!r} gives a web page instead of an archive. Google Drive does "
                "so when a file isn't shared with everybody who has the link, or was "
                "downloaded too often; other servers, when one must sign in."
            )
        found = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
    if found != sha256:
        raise DatasetError(
            f"{source!r} has the SHA-256 {found}, and {sha256} was expected: it is "
            "another archive, or was changed on its way."
        )
