"""Explain in words why a source can't be read as an image."""

import errno
import os
import re

import numpy as np
from PIL import Image

from skimgclf.images._urls import MissingPackageError

FORMATS_IN_WORDS = "JPEG, PNG, GIF, BMP, TIFF, WEBP, AVIF, HEIC, JPEG 2000, PPM or ICO"

_ERRNO_IN_WORDS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file (a part of its path is a file, no directory)",
    errno.EISDIR: "it is a directory, not an image file",
    errno.EACCES: "there is no permission to read it",
    errno.EPERM: "there is no permission to read it",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.ENAMETOOLONG: "its name is longer than the file system allows",
}


def _say_not_read(name, way_out="convert it to PNG or JPEG"):
    return f"it is {name} file, which isn't read: {way_out}"


_AVIF = (
    "it is an AVIF file that is damaged, cut short or not read by this build of "
    "Pillow (the wheels on PyPI read AVIF)"
)
_JPEG_XL = _say_not_read("a JPEG XL", "convert it to PNG or JPEG, as `djxl` does")
_RAW_JPEG_2000 = _say_not_read(
    "a raw JPEG 2000 (J2K)", "it doesn't say which colours it holds; convert it to JP2"
)
_DICOM = _say_not_read(
    "a DICOM",
    "read its pixels with pydicom, scale them to [0, 1] by the window that you need, "
    "and pass the array",
)
_EXR = _say_not_read(
    "an OpenEXR", "its floats have no white; scale them to [0, 1] and pass the array"
)
RAW_PHOTO = _say_not_read(
    "a camera's raw", "develop it to JPEG or TIFF, as rawpy or dcraw does"
)

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
    (b"\xff\x4f\xff\x51", _RAW_JPEG_2000),
    (b"\xff\x0a", _JPEG_XL),
    (b"\x00\x00\x00\x0cJXL ", _JPEG_XL),
    (b"\x76\x2f\x31\x01", _EXR),
    (b"#?RADIANCE", _say_not_read("a Radiance HDR", "scale it to [0, 1] yourself")),
    (b"II\xbc", _say_not_read("a JPEG XR")),
    (b"FUJIFILMCCD-RAW", RAW_PHOTO),
    (b"IIRO", RAW_PHOTO),
    (b"IIU\x00", RAW_PHOTO),
    (b"gimp xcf", _say_not_read("a GIMP (XCF)", "export it")),
    (b"qoif", _say_not_read("a QOI")),
    (b"DDS ", _say_not_read("a DDS")),
    (b"SIMPLE  =", _say_not_read("a FITS", "scale it to [0, 1] yourself")),
    (b"\x93NUMPY", "it is a NumPy file: pass the array that numpy.load returns"),
)

# DICOM PS3.5, section 7.1: a file without a preamble begins with an element of group
# 0002 or 0008, its numbers and the kind or the length of its value.
_BARE_DICOM = re.compile(
    rb"""\x02\0\0\0UL | \x08\0[\0\1\5\6\x08\x12\x16]\0(?:[A-Z]{2}|[^\0]\0\0\0)
    | \0\x08\0[\0\1\5\6\x08\x12\x16][A-Z]{2}""",
    re.VERBOSE | re.DOTALL,
)

# Files of the ISO base media format that hold no AVIF or HEIC image, by their brand.
_BRANDS = {
    "avif": _AVIF,
    "avis": _AVIF,
    "crx ": RAW_PHOTO,
    "jxl ": _JPEG_XL,
}

_IMAGE_STARTS = (
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
)


class UnreadableImage(Exception):
    """A source that can't be read, with the reason in words."""


def describe_source(source):
    """Name a source in an error: its path, or the kind of object."""
    if isinstance(source, str):
        is_long = len(source) > _LONGEST_PATH
        is_content = is_long or explain_encoded(source) is not None
        return f"{source[:40]}..." if is_content else str(source)
    if isinstance(source, os.PathLike):
        try:
            return os.fsdecode(source)
        except Exception:  # decoding has raised it, too, and it is the reason
            return f"<{type(source).__name__}>"
    if isinstance(source, bytes):
        name = getattr(source, "name", "")
        return f"{name} ({len(source)} bytes)" if name else f"<{len(source)} bytes>"
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
        "os.PathLike), as bytes, as a binary file that is open, as a dict of bytes and "
        "path, as a PIL image or as a decoded array"
    )


def explain_encoded(text):
    """Explain that a text holds an image, in base64 or as bytes, or return None.

    A file that has such a name is a file.
    """
    literal = _LITERAL.match(text)
    if literal is None:
        reason = _explain_encoded(text, "text", "")
    else:
        # The text of bytes has line ends in two characters.
        inner = literal[1].replace("\\n", "\n")
        reason = _explain_encoded(inner, _FROM_LITERAL, "b")
        if reason is None and _IMAGE_LITERAL.match(literal[1]):
            reason = (
                "it is the text of an image's bytes, not a path: pass the bytes, "
                f"{_FROM_LITERAL}"
            )
    if reason is None or os.path.lexists(text[:_LONGEST_PATH]):
        return None
    return reason


def _explain_encoded(text, source, prefix):
    """Explain which form of base64 a text is, or return None.

    `source` is the code that gives it, and `prefix` that of its kind of texts in code.
    """
    url = _DATA_URL.match(text)
    if url:
        name = "a data: URL" if url[1] else "the rest of a data: URL"
        return (
            f"it is {name}, which holds the image itself: pass the bytes, "
            f"base64.b64decode({source}.partition({prefix}',')[2])"
        )
    if _is_base64(text):
        is_padded = len(_AROUND_BASE64.sub("", text)) % 4 == 0
        encoded = source if is_padded else f"{source} + {prefix}'=='"
        return (
            "it is an image in base64, not a path: pass the bytes, "
            f"base64.{_name_decoder(text)}({encoded})"
        )
    return None


def _is_base64(text):
    """Tell whether a text is an image in base64, or the start of one."""
    return len(text) >= _SHORTEST_BASE64 and _BASE64.fullmatch(text) is not None


def _name_decoder(text):
    """Name the function that decodes a text in one of the alphabets of base64."""
    return "urlsafe_b64decode" if "-" in text or "_" in text else "b64decode"


# Shorter texts may be ids.
_SHORTEST_BASE64 = 64

# No system takes longer paths.
_LONGEST_PATH = 4096

# RFC 4648: the alphabets of sections 4 and 5 behind the starts of JPEG, PNG, GIF, WEBP,
# TIFF, HEIC, ICO, BMP (with its four bytes of zeros) and PPM files.
_BASE64 = re.compile(
    r"""[\s"']*
    (?:[/_]9j[/_]|iVBORw0KGgo|R0lGOD|UklGR|SUkqA|TU0AK|AAAA|AAABA
    |Qk[0-3][A-Za-z0-9+/_-]{5}AAAA|UD[EIMQUY][JKNg])
    [A-Za-z0-9+/_\s-]*=*[\s"']*""",
    re.VERBOSE,
)
_AROUND_BASE64 = re.compile(r"""[\s"']+""")
# RFC 2397, also without its scheme, whose case has no meaning (RFC 3986, section 3.1).
_DATA_URL = re.compile(
    r"""[\s"']*(?:(data:)|image/[a-z0-9.+-]+;base64,)""", re.IGNORECASE
)

# Bytes as Python writes them, and what images begin with in this form.
_LITERAL = re.compile(r"""\s*b["'](.+)["']\s*""", re.DOTALL)
_FROM_LITERAL = "ast.literal_eval(text.strip())"
_IMAGE_LITERAL = re.compile(
    r"""\\xff\\xd8|\\x89PNG|GIF8|RIFF.{4,16}WEBP|II[*+]\\x00|MM\\x00|\\x00\\x00
    |BM.{4,16}\\x00\\x00\\x00\\x00|P[1-6](?:[ ]|\\n)""",
    re.VERBOSE,
)


def is_missing(value):
    """Tell whether a value is None, NaN or a missing value of pandas."""
    # Missing values of pandas are found by the name of their class, since comparing
    # pd.NA raises and importing pandas is slow.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def explain_start(stream):
    """Explain why Pillow doesn't take a stream for an image, from its first bytes."""
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
    text = start.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    if _DATA_URL.match(text):
        return (
            "it is a data: URL as bytes, which holds the image itself: decode it, "
            "base64.b64decode(content.partition(b',')[2])"
        )
    if _is_base64(text):
        decoder = _name_decoder(text)
        return f"it is an image in base64: decode it, base64.{decoder}(content)"
    if start[4:8] == b"ftyp":
        return _explain_brands(read_brands(start))
    if _is_dicom(start):
        return _DICOM
    name = name_format(start)
    if name is not None:
        return (
            f"it starts like a {name} file, but its header is damaged, cut short or of "
            "a kind that Pillow can't read"
        )
    return f"it isn't an image in one of the formats read ({FORMATS_IN_WORDS})"


def _explain_brands(brands):
    reasons = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return reasons[0] if reasons else _say_not_read("a video", "save its frames as PNG")


def read_brands(start):
    """Read the brands of a file of the ISO base media format from its first bytes.

    Returns
    -------
    brands : list of str
        The major one first; empty for files of other formats.
    """
    if start[4:8] != b"ftyp":
        return []
    # ISO/IEC 14496-12, section 4.3: size, "ftyp", major brand, version, other brands.
    end = min(int.from_bytes(start[:4], "big"), len(start))
    places = [8, *range(16, end - 3, 4)]
    return [start[place : place + 4].decode("latin-1") for place in places]


def refuse_start(start):
    """Refuse a kind of file that Pillow would read without knowing its colours."""
    if start.startswith(b"\xff\x4f\xff\x51"):
        raise UnreadableImage(_RAW_JPEG_2000)


def refuse_dicom(start):
    """Refuse DICOM, whose first bytes may be those of a TIFF file (PS3.10, 7.1)."""
    if _is_dicom(start):
        raise UnreadableImage(_DICOM)


def _is_dicom(start):
    return start[128:132] == b"DICM" or _BARE_DICOM.match(start) is not None


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
