"""Recognise the names of images and of hidden files, and equal names."""

import os
import unicodedata

# Extensions of files that are taken for images. The content decides on the format when
# they are decoded.
IMAGE_EXTENSIONS = frozenset(
    ".apng .avif .avifs .bmp .dib .gif .heic .heics .heif .heifs .hif .ico .jfif .jp2 "
    ".jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)

# Extensions of pictures that ImageLoader doesn't read. A warning lists those that are
# left out; text files beside the images give none.
_UNREADABLE_EXTENSIONS = frozenset(
    ".arw .cr2 .cr3 .dcm .dng .eps .exr .hdr .j2c .j2k .jpc .jxl .jxr .nef .orf .pcx "
    ".psd .qoi .raf .raw .rw2 .svg .tga .xcf".split()
)

# Names of files and folders that operating systems and programs make, in lower case.
# Synology's "@eaDir" even holds thumbnails with image names.
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
    >>> from skimgclf.datasets._file_names import is_clutter
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
    >>> from skimgclf.datasets._file_names import split_name
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


def composed(text):
    """Return a text in Unicode's composed form (NFC).

    A name typed on Linux or Windows is composed ("é" is one character), one that comes
    from macOS is often decomposed ("e" and a combining accent): they look the same.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)
