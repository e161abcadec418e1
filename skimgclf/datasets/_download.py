"""Download one file from a web server or from Google Drive."""

import skimgclf
from skimgclf._atomic import replace_atomically
from skimgclf._extras import import_extra
from skimgclf.datasets._archive_members import MAX_BYTES
from skimgclf.exceptions import DatasetError, mask_credentials

# Seconds without a byte from the server.
_TIMEOUT = 60

_CHUNK = 2**18


def download_file(url, path, progress):
    """Download a file over HTTP, through pooch.

    Parameters
    ----------
    url : str
        An http or https URL; redirects to other schemes are refused.
    path : str
        The file to make; it appears when all of it is there.
    progress : bool
        Whether to show a progress bar.

    Raises
    ------
    ImportError
        If pooch isn't installed.
    OSError
        If the file can't be downloaded.
    DatasetError
        If the file is too large.
    """
    needed = f"pooch downloads {mask_credentials(repr(url))}"
    pooch = import_extra("pooch", "fetch", needed)
    download = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=_CHUNK,
        timeout=_TIMEOUT,
        headers={
            "User-Agent": f"skimgclf/{skimgclf.__version__}",
            "Accept-Encoding": "identity",
        },
        hooks={"response": [_keep_packed, _leave_unread]},
    )
    try:
        with replace_atomically(path) as file:
            download(url, _LimitedFile(file, url), pooch=None)
    except DatasetError:
        raise
    except (OSError, ValueError) as error:
        why = f"{url!r} can't be downloaded: {error}"
        raise OSError(mask_credentials(why)) from error


def download_from_drive(file_id, path, progress):
    """Download a file of Google Drive, through gdown.

    Parameters
    ----------
    file_id : str
        The id in the file's link.
    path, progress
        As in `download_file`.

    Raises
    ------
    ImportError
        If gdown isn't installed.
    OSError
        If the file can't be downloaded.
    DatasetError
        If the file is too large.
    """
    gdown = import_extra(
        "gdown",
        "fetch",
        f"{file_id!r} is no file here and no URL. If it is the id of a file of Google "
        "Drive, gdown downloads it",
    )
    try:
        with replace_atomically(path) as file:
            gdown.download(
                id=file_id,
                output=_LimitedFile(file, file_id),
                quiet=not progress,
                use_cookies=False,  # it would write them into the home folder
                timeout=_TIMEOUT,
                log_messages={"output": ""},  # a temporary name says nothing
            )
    except (gdown.exceptions.DownloadError, OSError) as error:
        why = " ".join(str(error).split())
        raise OSError(
            f"The file {file_id!r} of Google Drive can't be downloaded: {why}"
        ) from error


def _keep_packed(response, **options):
    """Keep requests from unpacking a .tar.gz sent with "Content-Encoding: gzip".

    It would have another SHA-256.
    """
    response.raw.headers.pop("Content-Encoding", None)


def _leave_unread(response, **options):
    """Keep requests from reading the content of a redirect whole into memory."""
    if response.is_redirect:
        response.close()


class _LimitedFile:
    """A file that refuses to become larger than an archive may be."""

    def __init__(self, file, source):
        self._file, self._source = file, source

    def write(self, content):
        if self._file.tell() + len(content) > MAX_BYTES:
            raise DatasetError(f"{self._source!r} sends more than {MAX_BYTES:,} bytes.")
        return self._file.write(content)

    def flush(self):
        """Do nothing: pooch asks for it after each chunk."""
