"""Check paths, and read files by path or URL."""

import os

from skimgclf._validation import parameter_error
from skimgclf.images._urls import explain_url_error, is_url, local_path


def is_folder(entry):
    """Tell whether an `os.DirEntry` is a folder or a link to one.

    Its own ``is_dir()`` raises for a link that leads to itself or to where one may not
    look.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_inside(real_path, real_root):
    """Tell whether a resolved path is a resolved folder or lies below it."""
    return real_path == real_root or real_path.startswith(
        os.path.join(real_root, "")  # "/data" must not hold "/data2"
    )


def check_existing(owner, name, value, *, folder):
    """Refuse anything but the path of an existing folder, or of an existing file.

    Parameters
    ----------
    owner, name, value
        As in `skimgclf._validation.parameter_error`.
    folder : bool
        Whether a folder is asked for; otherwise a regular file (reading a pipe would
        wait for ever).

    Returns
    -------
    path : str
        With a leading ``~`` replaced by the home folder. A URL is returned as it is:
        whether it exists is seen when it is read.
    """
    kind = "folder" if folder else "file"
    path = check_path(owner, name, value, kind=f"an existing {kind}")
    if is_url(path):
        if local_path(path) is None:
            return path
        path = local_path(path)
    # A NUL in a name makes isdir and isfile answer False.
    if not (os.path.isdir if folder else os.path.isfile)(path):
        where = "" if os.path.isabs(path) else f" (looked in {os.getcwd()!r})"
        raise parameter_error(
            owner, name, f"the path of an existing {kind}{where}", value
        )
    return path


def check_path(owner, name, value, *, kind):
    """Refuse anything but a path as str or os.PathLike, and return it as str."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path:
        raise parameter_error(
            owner, name, f"the path of {kind}, as str or os.PathLike", value
        )
    # NumPy's str would make every path that starts with it one, too.
    return os.path.expanduser(str(path))


def read_bytes(path, url_reader):
    """Read a file on this machine or behind a URL.

    Raises
    ------
    OSError
        If that isn't possible; its `strerror` says why.
    """
    if not is_url(path):
        with open(path, "rb") as file:
            return file.read()
    try:
        return url_reader.read(path)
    except ImportError:
        raise
    except Exception as error:
        raise OSError(None, explain_url_error(error), path) from error
