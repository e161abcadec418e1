"""Bring one file here, from a web server or from Google Drive."""

import contextlib
import http.client
import os
import re
import urllib.error
import urllib.request

import skimgclf
from skimgclf.datasets._unpack import MAX_BYTES
from skimgclf.exceptions import DatasetError

_TIMEOUT = 60
_N_TRIES = 4
_CHUNK = 2**18


def download_file(url, path, bar):
    """Download a file over HTTP, going on where an earlier try ended.

    What has come so far lies in ``<path>.part``, and beside it the server's ETag: the
    rest is only asked for if that is still the same, and otherwise all of it.

    Parameters
    ----------
    url : str
        Of http or https.
    path : str
        Where to; it appears when all of the file is there.
    bar : tqdm
        Is moved on by bytes.

    Raises
    ------
    OSError
        If the server can't be reached or refuses, or keeps breaking off.
    DatasetError
        If the file is too large.
    """
    part, n_tries = f"{path}.part", 0
    while True:
        try:
            _download_rest(url, part, bar)
            break
        except (OSError, http.client.HTTPException) as error:
            n_tries += 1
            if getattr(error, "code", None) == 416 and os.path.exists(part):
                os.unlink(part)  # there is no such rest
            elif n_tries == _N_TRIES or not _may_pass(error):
                raise OSError(f"{url!r} can't be downloaded: {error}") from error
    os.replace(part, path)


def _may_pass(error):
    """Tell whether trying again may help: neither with a 404 nor with a full disk."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    network = (
        urllib.error.URLError,
        http.client.HTTPException,
        ConnectionError,
        TimeoutError,
    )
    return isinstance(error, network)


def _download_rest(url, part, bar):
    n_bytes, etag = _find_part(part)
    headers = {
        "User-Agent": f"skimgclf/{skimgclf.__version__}",
        "Accept-Encoding": "identity",
    }
    if n_bytes:
        headers |= {"Range": f"bytes={n_bytes}-", "If-Range": etag}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        if not response.headers.get("Content-Range", "").startswith(
            f"bytes {n_bytes}-"
        ):
            n_bytes = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else n_bytes + int(length)
        _note_etag(part, response.headers.get("ETag", ""))
        bar.reset(total=total)
        bar.update(n_bytes)
        with open(part, "r+b" if n_bytes else "wb") as file:
            file.seek(n_bytes)
            file.truncate()
            _copy(response, file, total, bar)


def _find_part(part):
    """Return how much of a file is here, and its ETag; 0 if that is of no use."""
    try:
        with open(f"{part}.etag", encoding="latin-1") as file:
            etag = file.read()
        return os.path.getsize(part), etag
    except FileNotFoundError:
        return 0, ""


def _note_etag(part, etag):
    """Write down which file a part is of, if parts of it can be put together."""
    if re.fullmatch(r'"[^"]*"', etag):  # a weak one, W/"...", isn't about the bytes
        with open(f"{part}.etag", "w", encoding="latin-1") as file:
            file.write(etag)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{part}.etag")


def _copy(response, file, total, bar):
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        bar.update(len(chunk))
        if file.tell() > MAX_BYTES:
            raise DatasetError(f"{response.url!r} sends more than {MAX_BYTES:,} bytes.")
    if total is not None and file.tell() != total:
        raise ConnectionError(f"it ended after {file.tell():,} of {total:,} bytes")


def download_from_drive(file_id, path, *, resume, progress):
    """Download a file of Google Drive, through gdown.

    Parameters
    ----------
    file_id : str
        What stands in its link.
    path : str
        Where to.
    resume : bool
        Whether to go on where an earlier try ended. Nothing tells whether the file is
        still the same.
    progress : bool
        Whether gdown shows a progress bar.

    Raises
    ------
    ImportError
        If gdown isn't installed.
    OSError
        If the file can't be downloaded.
    """
    try:
        import gdown
    except ImportError as error:
        raise ImportError(
            f"{file_id!r} is no file here and no URL. If it is the id of a file of "
            'Google Drive, gdown downloads it: pip install "skimgclf[fetch]".'
        ) from error
    try:
        gdown.download(
            id=file_id,
            output=path,
            quiet=not progress,
            use_cookies=False,  # it would write them into the home folder
            resume=resume,
            timeout=_TIMEOUT,
        )
    except (gdown.exceptions.DownloadError, OSError) as error:
        why = " ".join(str(error).split())
        raise OSError(
            f"The file {file_id!r} of Google Drive can't be downloaded: {why}"
        ) from error
