"""Read the colour information of files that Pillow (13.0) leaves unread."""

import io
import struct

from PIL import ExifTags

from skimgclf.images._decoding.boxes import find_box, list_boxes, list_shown_properties
from skimgclf.images._decoding.heif import read_code
from skimgclf.images._decoding.open import keeping_position
from skimgclf.images._decoding.png import read_copied_colours
from skimgclf.images._decoding.profile import ADOBE_RGB, ColourNotes, make_video_code

# ISO/IEC 15444-2, table M.25: the spaces that can be read, CMYK, black and white, sRGB,
# gray and sYCC, and the names of others.
_JPEG_2000_SPACES = {12, 15, 16, 17, 18}
_JPEG_2000_NAMES = {
    0: "black and white with 0 as white",
    **{1: "YCbCr (1)", 3: "YCbCr (2)", 4: "YCbCr (3)", 9: "PhotoYCC", 11: "CMY"},
    **{13: "YCCK", 14: "CIELab", 19: "CIEJab", 20: "e-sRGB", 21: "ROMM-RGB"},
    **{22: "YPbPr of 60 Hz", 23: "YPbPr of 50 Hz", 24: "e-sYCC"},
}

# A damaged header may give any number of bytes of a profile, which `read` reserves.
_MOST_BYTES = 2**24

# Exif 2.32, tag ColorSpace.
_SRGB = 1

_GIF_PROFILE = b"ICCRGBG1"

# Bounds for damaged GIF files; a profile of 16 MiB has as many blocks.
_MOST_EXTENSIONS = 1000
_MOST_BLOCKS = 2**16


def read_notes(pil_image, file):
    """Read the colour information of an opened image; of PNG, the part in copies too.

    Parameters
    ----------
    pil_image : PIL.Image.Image
        As opened.
    file : binary file or None
        Its file; None if it isn't there any more. The position is kept.

    Returns
    -------
    notes : ColourNotes or None
    """
    profile = pil_image.info.get("icc_profile")
    if isinstance(profile, bytes):
        return ColourNotes(profile)
    if "nclx_profile" in pil_image.info:  # of pillow-heif, kept in copies
        return ColourNotes(code=read_code(pil_image))
    # A copy has its EXIF, but no name of a format.
    if pil_image.format in {"JPEG", "MPO", None} and _is_adobe_rgb(pil_image):
        return ADOBE_RGB
    if pil_image.format in {"PNG", None}:
        return read_copied_colours(pil_image.info)
    if file is None or pil_image.format not in _READERS:
        return None
    with keeping_position(file):
        try:
            return _READERS[pil_image.format](file)
        except (IndexError, struct.error):
            return None  # damaged; whether its pixels can be read is found by others


def are_of_colours(notes):
    """Tell whether notes are on red, green and blue: Pillow may have found grays."""
    if notes is None:
        return False
    return notes.profile is None or notes.profile[16:20] == b"RGB "


def _is_adobe_rgb(pil_image):
    """Tell whether a camera's file is in Adobe RGB, of which it writes no profile.

    DCF 2.0 (JEITA CP-3461), section 5.2: the index of interoperability says so.
    """
    # Most files don't have it, and the directories of EXIF take time to read.
    exif = pil_image.info.get("exif")
    if not isinstance(exif, bytes) or b"R03\0" not in exif:
        return False
    try:
        exif = pil_image.getexif()
        # Programs that convert photos to sRGB mostly leave the index as it was.
        if exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) == _SRGB:
            return False
        interoperability = exif.get_ifd(ExifTags.IFD.Interop)
        return interoperability.get(ExifTags.Interop.InteropIndex) == "R03"
    except Exception:
        return False  # a broken EXIF block must not lose the pixels


def _read_avif(file):
    # ISO/IEC 14496-12, section 12.1.5: the box "colr" of type "nclx".
    for name, content in list_shown_properties(file):
        if name == b"colr" and content.startswith(b"nclx"):
            code = make_video_code(*struct.unpack_from(">2H", content, 4))
            return ColourNotes(code=code)
    return None


def _read_jpeg_2000(file):
    # ISO/IEC 15444-1, section I.5.3.3: method, precedence and approximation come
    # first. Readers ignore all boxes "colr" but the first.
    for name, content in list_boxes(find_box(file, b"jp2h") or b""):
        if name != b"colr":
            continue
        method = content[0]
        if method in {2, 3}:
            return ColourNotes(content[3:])
        (space,) = struct.unpack_from(">I", content, 3)
        if method == 1 and space not in _JPEG_2000_SPACES:
            name = _JPEG_2000_NAMES.get(space, f"space number {space}")
            reason = (
                f"it is a JPEG 2000 file whose colours are {name}, which isn't read: "
                "convert it to sRGB, or take the numbers as they are by "
                "color_management=False"
            )
            return ColourNotes(unread=reason)
        return None
    return None


def _read_gif(file):
    """Read the profile of a GIF file: "ICC Profiles in GIF", of ICC.1, annex B.5."""
    file.seek(0)
    flags = file.read(13)[10]
    if flags & 128:  # a palette
        file.seek(3 << 1 + (flags & 7), io.SEEK_CUR)
    for _ in range(_MOST_EXTENSIONS):
        if file.read(1) != b"!":
            return None
        file.read(1)
        blocks = _read_gif_blocks(file)
        if blocks and blocks[0].startswith(_GIF_PROFILE):
            return ColourNotes(b"".join(blocks[1:]))
    return None


def _read_gif_blocks(file):
    """Read the blocks of a GIF file's extension; of one without a profile, the first.

    All blocks are passed over, and a file with too many of them to its end.
    """
    blocks = []
    for _ in range(_MOST_BLOCKS):
        size = file.read(1)
        if size in {b"", b"\0"}:
            return blocks
        if not blocks or blocks[0].startswith(_GIF_PROFILE):
            blocks.append(file.read(size[0]))
        else:
            file.seek(size[0], io.SEEK_CUR)
    file.seek(0, io.SEEK_END)
    return []


def _read_bmp(file):
    """Read the profile or the primaries behind a header of version 4 or 5."""
    file.seek(14)
    header = file.read(124)
    n_header = int.from_bytes(header[:4], "little")
    kind = header[56:60][::-1]  # of [MS-WMF], section 2.1.1.14
    if n_header >= 124 and kind == b"MBED":
        place, n_bytes = struct.unpack_from("<2I", header, 112)
        # Some programs count from the start of the file, not of the header.
        for start in [14 + place, place]:
            file.seek(start)
            profile = file.read(min(n_bytes, _MOST_BYTES))
            if profile[36:40] == b"acsp":
                return ColourNotes(profile)
    if n_header >= 108 and kind == bytes(4):
        return _read_calibration(header)
    return None


def _read_calibration(header):
    ends = struct.unpack_from("<9i", header, 60)
    gammas = {each / 65536 for each in struct.unpack_from("<3I", header, 96)}
    sums = [sum(ends[start : start + 3]) for start in (0, 3, 6)]
    gamma = gammas.pop()
    if min(sums) <= 0 or gammas or not 0.25 <= gamma <= 4:
        return None  # many programs leave these fields empty
    # The white is that of sRGB, as in Chrome and Firefox. Some programs write the
    # exponent of encoding, which is below 1.
    x_and_y = [ends[3 * i + j] / sums[i] for i in range(3) for j in range(2)]
    gamma = round(100_000 * min(gamma, 1 / gamma))
    return ColourNotes(gamma=gamma, primaries=(*x_and_y, *ADOBE_RGB.primaries[6:]))


_READERS = {
    "AVIF": _read_avif,
    "JPEG2000": _read_jpeg_2000,
    "GIF": _read_gif,
    "BMP": _read_bmp,
}

# The formats of which the file is needed.
NOTED_FORMATS = frozenset(_READERS)
