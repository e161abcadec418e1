"""What the readers of folders and of tables agree on about files and their names."""

import os
import unicodedata
from collections import Counter

from skimgclf._validation import parameter_error
from skimgclf.images._urls import explain_url_error, is_url, local_path

# Names under which images are looked for. What a file really is, its content decides
# when it is decoded.
IMAGE_EXTENSIONS = frozenset(
    ".apng .bmp .dib .gif .ico .jfif .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm "
    ".tif .tiff .webp".split()
)

# Pictures all the same, though no loader here reads them: leaving them out is worth a
# warning, where a text file beside the images is worth none.
_UNREADABLE_EXTENSIONS = frozenset(
    ".arw .avif .cr2 .cr3 .dcm .dng .eps .exr .hdr .heic .heif .j2k .jp2 .jxl .nef "
    ".orf .pcx .psd .raw .svg .tga .xcf".split()
)

# What operating systems and programs leave in folders, in lower case. Synology's
# "@eaDir" even holds thumbnails with image names.
_CLUTTER = frozenset(
    {
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)


def is_clutter(name):
    """Tell whether a file or folder is hidden or was left by an operating system.

    Parameters
    ----------
    name : str
        The last part of a path.

    Returns
    -------
    clutter : bool

    Examples
    --------
    >>> from skimgclf.datasets._paths import is_clutter
    >>> is_clutter(".DS_Store"), is_clutter("__MACOSX"), is_clutter("cat.jpg")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in _CLUTTER


def split_name(name):
    """Split a file name into stem and known image extension.

    Parameters
    ----------
    name : str
        A file name, with or without an extension.

    Returns
    -------
    stem : str
        The name without its image extension; the whole name if it has none.
    extension : str
        The extension in lower case with its dot, or "".

    Examples
    --------
    >>> from skimgclf.datasets._paths import split_name
    >>> split_name("cat.JPG"), split_name("version 1.5")
    (('cat', '.jpg'), ('version 1.5', ''))
    """
    # os.path.splitext takes four times as long, and a table may have millions of rows.
    stem, _, extension = name.rpartition(".")
    extension = f".{extension.lower()}"
    if extension in IMAGE_EXTENSIONS and stem:
        return stem, extension
    return name, ""


def is_unreadable(name):
    """Tell whether a file has the extension of a picture that isn't read."""
    return os.path.splitext(name)[1].lower() in _UNREADABLE_EXTENSIONS


def count_extensions(names):
    """Count files by their extensions, in lower case."""
    counts = Counter(os.path.splitext(name)[1].lower() for name in names)
    return dict(sorted(counts.items()))


def composed(text):
    """Return a text in Unicode's composed form (NFC).

    A name typed on Linux or Windows is composed ("é" is one character), one that comes
    from macOS is often decomposed ("e" and a combining accent): they look the same.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


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
