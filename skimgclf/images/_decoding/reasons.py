"""Explain in words why a source can't be read as an image."""

import errno
import os

import numpy as np
from PIL import Image

from skimgclf.images._urls import MissingPackageError

FORMATS_IN_WORDS = "JPEG, PNG, GIF, BMP, TIFF, WEBP, PPM or ICO"

_ERRNO_IN_WORDS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file (a part of its path is a file, no directory)",
    errno.EISDIR: "it is a directory, not an image file",
    errno.EACCES: "there is no permission to read it",
    errno.EPERM: "there is no permission to read it",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.ENAMETOOLONG: "its name is longer than the file system allows",
}

# The first bytes of other files that are found in image folders, and their reasons.
_NOT_IMAGES = (
    (
        b"version https://git-lfs",
        "it is a git-lfs pointer, not the image itself: `git lfs pull` fetches it",
    ),
    (
        b"\x00\x05\x16\x07",
        "it is an AppleDouble file (metadata that macOS writes beside an image), "
        "not an image",
    ),
    (b"%PDF", "it is a PDF file, not an image"),
    (b"%!PS", "it is a PostScript file, not an image"),
    (b"\xc5\xd0\xd3\xc6", "it is an EPS file, which isn't read"),
    (b"PK\x03\x04", "it is a zip archive, not an image"),
    (b"\x1f\x8b", "it is a gzip archive, not an image"),
    (b"8BPS", "it is a Photoshop (PSD) file, which isn't read"),
    (b"\x00\x00\x00\x0cjP  ", "it is a JPEG 2000 file, which isn't read"),
)

_IMAGE_STARTS = (
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
)


class UnreadableImage(Exception):
    """A source that can't be read, with the reason in words."""


def describe_source(source):
    """Name a source in an error: its path, or the kind of object."""
    if isinstance(source, str):
        return str(source)
    if isinstance(source, os.PathLike):
        try:
            return os.fsdecode(source)
        except Exception:  # decoding has raised it, too, and it is the reason
            return f"<{type(source).__name__}>"
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, Image.Image):
        width, height = source.size
        kind = f"{source.format} " if source.format else ""
        return f"<PIL image, {kind}{source.mode}, {width}x{height}>"
    if isinstance(source, np.ndarray):
        return f"<array of shape {source.shape}, {source.dtype}>"
    return f"<{type(source).__name__}>"


def refuse_type(source):
    """Make the error of a cell that is no kind of image source."""
    if is_missing(source):
        return UnreadableImage("the cell is empty (a missing value), not an image")
    return UnreadableImage(
        f"it is a {type(source).__name__}; an image is given as a path (str or "
        "os.PathLike), as bytes, as a PIL image or as a decoded array"
    )


def is_missing(value):
    """Tell whether a value is None, NaN or a missing value of pandas."""
    # Missing values of pandas are found by the name of their class, since comparing
    # pd.NA raises and importing pandas is slow.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def explain_start(stream):
    """Explain what a stream holds that Pillow doesn't take for an image."""
    stream.seek(0)
    start = stream.read(512)
    for signature, reason in _NOT_IMAGES:
        if start.startswith(signature):
            return reason
    markup = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if markup.startswith(b"<"):
        if b"<svg" in markup or b"html" not in markup:
            return "it is an XML or SVG file, which isn't read"
        return "it is an HTML page, not an image (what a failed download leaves)"
    if start[4:8] == b"ftyp":
        return "it is a HEIC, AVIF or video file, which isn't read"
    name = name_format(start)
    if name is not None:
        return (
            f"it starts like a {name} file, but its header is damaged, cut short or of "
            "a kind that Pillow can't read"
        )
    return f"it isn't an image in one of the formats read ({FORMATS_IN_WORDS})"


def name_format(start):
    """Name the image format of files that start with these bytes, or return None."""
    if start.startswith(b"RIFF"):
        return "WEBP" if start[8:12] == b"WEBP" else None
    names = (name for signature, name in _IMAGE_STARTS if start.startswith(signature))
    return next(names, None)


def explain_error(error):
    """Explain why decoding failed; a missing package is raised again."""
    if isinstance(error, MissingPackageError):
        raise error
    if isinstance(error, UnreadableImage):
        return str(error)
    if isinstance(error, MemoryError):
        return "there isn't enough memory to decode it"
    if isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError):
        return "its name can't be encoded for this file system"
    if isinstance(error, OSError) and error.errno is not None:
        words = error.strerror or f"errno {error.errno}"
        return _ERRNO_IN_WORDS.get(error.errno, f"it can't be read: {words}")
    message = str(error) or type(error).__name__
    return (
        "it can't be decoded, being damaged, cut short or of a kind that Pillow can't "
        f"read: {message}"
    )
