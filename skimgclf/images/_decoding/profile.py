"""Convert colours to sRGB where a file declares another colour space.

Profiles are read and applied by littleCMS, through Pillow. Files without a profile may
have numbers for their colours, of which a profile is written here.
"""

import functools
import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image

from skimgclf.images._decoding.reasons import UnreadableImage

# ITU-T H.273, table 2: x and y of red, green, blue and white.
_D65 = (0.3127, 0.3290)
_SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
_PRIMARIES = {
    1: _SRGB_PRIMARIES,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65),
    7: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
}

# H.273, table 3, as parameters g, a, b, c, d of ICC.1:2022, table 68, function type 3:
# (a v + b)^g from d on, and c v below.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    **{4: (2.2,), 5: (2.8,), 8: (1.0,), 13: _SRGB_CURVE},
}
_SRGB_TRANSFER = 13
# Transfer functions of cameras; 2 is "unspecified".
_CAMERA_TRANSFERS = {1, 2, 6, 14, 15}
_WIDE_PRIMARIES = {9, 11, 12}
_HIGH_DYNAMIC_RANGE = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}

# PNG specification (third edition), section 11.3.2.2: what stands for sRGB.
_SRGB_GAMMA = 45455

# Bradford's matrix, which adapts colours to the white D50 of profiles (ICC.1:2022, E).
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])

# Larger differences than one level of 8 bits are converted.
_TOLERANCE = 1

_SPACES = {"GRAY": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
_PILLOW_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
_GRAY_MODES = ("1", "L", "I", "La")


class ColourNotes(NamedTuple):
    """The colour information of a file.

    Attributes
    ----------
    profile : bytes or None
        An ICC profile.
    code : tuple of three int or None
        Primaries, transfer function and whether all values are used (1) or those of
        video, as ITU-T H.273 counts them.
    gamma : int or None
        The exponent of encoding, times 100,000.
    primaries : tuple of eight float or None
        x and y of red, green, blue and white.
    unread : str or None
        Why the colours can't be converted, where the file is refused for it.
    """

    profile: bytes | None = None
    code: tuple | None = None
    gamma: int | None = None
    primaries: tuple | None = None
    unread: str | None = None


# Adobe RGB (1998), section 4.3: primaries, and the exponent 563 / 256.
ADOBE_RGB = ColourNotes(
    gamma=round(100_000 * 256 / 563),
    primaries=(0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65),
)


def make_video_code(primaries, transfer):
    """Make a code of the numbers in a HEIC or AVIF file, or None.

    Decoders have converted YCbCr to all values of RGB, whatever the range was. Programs
    write the curves of cameras, such as BT.709, also for what is meant for screens: as
    in Chrome, sRGB's is taken for them, and of their primaries those that are wider.
    """
    if transfer in _CAMERA_TRANSFERS:
        is_wide = primaries in _WIDE_PRIMARIES
        return (primaries, _SRGB_TRANSFER, 1) if is_wide else None
    is_known = transfer in _CURVES or transfer in _HIGH_DYNAMIC_RANGE
    return (primaries, transfer, 1) if is_known else None


def find_transform(notes, mode):
    """Find the conversion to sRGB of images of a file.

    Parameters
    ----------
    notes : ColourNotes or None
    mode : str
        Pillow's name for the kind of pixels of the file.

    Returns
    -------
    transform : Transform or None
        None if the colours are sRGB, nothing is said of them, or not in a way that can
        be read.
    """
    if notes is None or not any(part is not None for part in notes):
        return None
    if mode == "LAB":
        return None  # it is converted to sRGB with its mode
    if notes.unread is not None:
        raise UnreadableImage(notes.unread)
    space = "RGB"
    if mode == "CMYK":
        space = "CMYK"
    elif mode.startswith(_GRAY_MODES):
        space = "GRAY"
    return _build_transform(notes, space)


class Transform:
    """A conversion of pixels to sRGB.

    Parameters
    ----------
    space : {"GRAY", "RGB", "CMYK"}
    transform : PIL.ImageCms.ImageCmsTransform
    """

    def __init__(self, space, transform):
        self.space = space
        self._transform = transform

    def convert(self, image):
        """Convert an image of mode L, RGB, RGBA or CMYK to RGB or RGBA."""
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        if self.space == "GRAY":
            gray = image.getchannel(0)
            channels = [gray.point(table.tolist()) for table in self._gray_tables.T]
            image = Image.merge("RGB", channels)
        else:
            from PIL import ImageCms

            image = image.convert("RGB") if alpha is not None else image
            image = ImageCms.applyTransform(image, self._transform)
        if alpha is not None:
            image.putalpha(alpha)
        return image

    def convert_floats(self, pixels):
        """Convert floats in [0, 1] of 1, 3 or 4 channels; alpha stays as it is.

        littleCMS takes 8 bits here: between their levels, its colours are interpolated.
        """
        scaled, alpha = pixels[:, :, :3] * np.float32(255), pixels[:, :, 3:]
        is_gray = self.space == "GRAY"
        convert = self._interpolate_gray if is_gray else self._interpolate_colours
        converted = np.empty((*pixels.shape[:2], 3 + alpha.shape[2]), dtype=np.float32)
        np.divide(convert(scaled), 255, out=converted[:, :, :3])
        converted[:, :, 3:] = alpha
        return converted

    @functools.cached_property
    def _gray_tables(self):
        """Red, green and blue of all levels of gray, of shape (256, 3)."""
        from PIL import ImageCms

        levels = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
        return np.asarray(ImageCms.applyTransform(levels, self._transform))[0]

    def _interpolate_gray(self, scaled):
        low = scaled[:, :, 0].astype(np.uint8)
        levels = self._gray_tables.astype(np.float32)
        steps = np.diff(levels, axis=0, append=levels[-1:])
        parts = scaled[:, :, :1] - low[:, :, np.newaxis]
        return levels[low] + parts * steps[low]

    def _interpolate_colours(self, scaled):
        """Interpolate between three of the eight levels around a colour.

        From the levels below a colour, the channel that lies farthest above its level
        goes up first, and the others then: three conversions take half the time of
        eight, and are exact for grays and where channels don't depend on each other.
        """
        # Channels come first here, since NumPy is slow at short last axes.
        channels = np.ascontiguousarray(np.moveaxis(scaled, 2, 0))
        low = channels.astype(np.uint8)
        high = np.minimum(low, 254) + np.uint8(1)
        parts = channels - low
        largest = parts.max(axis=0)
        is_largest = parts == largest
        others = (parts.sum(axis=0) - largest) / 2
        shares = parts + is_largest * (others - largest)
        below, first, above = map(self._convert_channels, (low, low + is_largest, high))
        above -= first  # in place: these arrays are as large as the image
        above *= shares
        first -= below
        first *= largest
        below += first
        below += above
        return np.moveaxis(below, 0, 2)

    def _convert_channels(self, channels):
        image = Image.merge("RGB", [Image.fromarray(each) for each in channels])
        converted = self.convert(image).split()
        return np.stack([np.asarray(each, dtype=np.float32) for each in converted])


@functools.lru_cache(maxsize=64)
def _build_transform(notes, space):
    profile = _choose_profile(notes, space)
    if profile is None or profile[16:20] != _SPACES[space]:
        return None
    from PIL import ImageCms

    mode = _PILLOW_MODES[space]
    # By itself, littleCMS takes 33 of 256 levels of gray and interpolates others.
    flags = ImageCms.Flags.NOOPTIMIZE if space == "GRAY" else ImageCms.Flags.NONE
    try:
        transform = Transform(
            space,
            ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                mode,
                "RGB",
                renderingIntent=ImageCms.Intent.PERCEPTUAL,
                flags=flags,
            ),
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # a broken profile
    if space != "CMYK" and _changes_nothing(transform):
        return None
    return transform


def _changes_nothing(transform):
    """Tell whether colours all over the cube stay as they are."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    if transform.space == "GRAY":
        colours = np.tile(np.arange(256, dtype=np.uint8)[:, np.newaxis], (1, 1, 3))
    converted = np.asarray(transform.convert(Image.fromarray(colours)), dtype=int)
    return np.abs(converted - colours).max() <= _TOLERANCE


def _choose_profile(notes, space):
    """Choose by the precedence of PNG (section 4.3): code, profile, gamma."""
    if notes.code is not None:
        primaries, transfer, is_full = notes.code
        if transfer in _HIGH_DYNAMIC_RANGE:
            raise UnreadableImage(
                f"its brightness is coded as {_HIGH_DYNAMIC_RANGE[transfer]}, for "
                "screens of high dynamic range, which isn't read: convert it to sRGB, "
                "or take the numbers as they are by color_management=False"
            )
        if not is_full:
            raise UnreadableImage(
                "its values are those of video, black at 16 of 255: convert it to "
                "sRGB, or take the numbers as they are by color_management=False"
            )
        if primaries in _PRIMARIES and transfer in _CURVES:
            return write_profile(_PRIMARIES[primaries], _CURVES[transfer], space)
    if notes.profile is not None:
        return notes.profile
    if notes.gamma is None and notes.primaries is None:
        return None
    is_srgb = notes.gamma is None or abs(notes.gamma - _SRGB_GAMMA) <= 1
    curve = _SRGB_CURVE if is_srgb else (100_000 / notes.gamma,)
    return write_profile(notes.primaries or _SRGB_PRIMARIES, curve, space)


def write_profile(primaries, curve, space):
    """Write an ICC profile of a matrix and a curve (ICC.1:2022, sections 7, 8 and 10).

    Parameters
    ----------
    primaries : tuple of eight float
        x and y of red, green, blue and white.
    curve : tuple of one or five float
        A power, or the parameters of function type 3.
    space : {"GRAY", "RGB"}

    Returns
    -------
    profile : bytes or None
        None if no colours have such primaries.
    """
    kind = {1: 0, 5: 3}[len(curve)]
    packed_curve = struct.pack(">4s4xH2x", b"para", kind) + _pack_fixed(curve)
    tags = {b"wtpt": struct.pack(">4s4x", b"XYZ ") + _pack_fixed(_D50)}
    if space == "GRAY":
        tags[b"kTRC"] = packed_curve
    else:
        matrix = _adapt_primaries(primaries)
        if matrix is None:
            return None
        for name, column in zip(b"rgb", matrix.T, strict=True):
            letter = bytes([name])
            tags[letter + b"XYZ"] = struct.pack(">4s4x", b"XYZ ") + _pack_fixed(column)
            tags[letter + b"TRC"] = packed_curve
    place = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", place + len(data), len(value))
        data += value.ljust(-(-len(value) // 4) * 4, b"\0")
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x",
        *(place + len(data), 0x04400000, b"mntr", _SPACES[space], b"XYZ ", b"acsp"),
        _pack_fixed(_D50),
    )
    return header + table + data


def _pack_fixed(values):
    """Pack numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _adapt_primaries(primaries):
    """Compute X, Y and Z of red, green and blue (columns), adapted to D50."""
    x, y = np.array(primaries, dtype=float).reshape(4, 2).T
    if not (y > 0).all():
        return None
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    colours, white = xyz[:, :3], xyz[:, 3]
    if abs(np.linalg.det(colours)) < 1e-6:
        return None
    matrix = colours * np.linalg.solve(colours, white)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    matrix = np.linalg.solve(_BRADFORD, scale @ _BRADFORD @ matrix)
    return matrix if np.abs(matrix).max() < 100 else None
