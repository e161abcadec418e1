"""Read TIFF files of which Pillow mixes up samples or drops bits.

Pillow (13.0) reads samples of 16 bits in separate planes as noise, gray with alpha in
planes as blank, and keeps 8 of 16 bits of colours. It reads gray rightly, whatever the
compression: so it gets the same strips with a directory that calls them gray.
Luma and chroma are read so as well.
"""

import io
import struct

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.colour import SIGNED, straighten_alpha
from skimgclf.images._decoding.pillow_repairs import count_stored_pixels
from skimgclf.images._decoding.profile import ColourNotes, find_transform
from skimgclf.images._decoding.reasons import UnreadableImage
from skimgclf.images._decoding.tiff import is_lost_plane
from skimgclf.images._decoding.tiff_directory import damaged
from skimgclf.images._decoding.tiff_ycbcr import YCBCR, convert_ycbcr, read_units

# TIFF 6.0, PhotometricInterpretation and its number of colours.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _SEPARATED = 0, 1, 2, 5
_GRAYS = {_WHITE_IS_ZERO, _BLACK_IS_ZERO}
_N_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _SEPARATED: 4}

# TIFF 6.0, ExtraSamples; 999 is Corel Draw's number, which Pillow reads as well.
_ASSOCIATED, _UNASSOCIATED = 1, 2
_ALPHAS = {1: _ASSOCIATED, 2: _UNASSOCIATED, 999: _UNASSOCIATED}

_CMYK_WITH_ALPHA = (
    "it is a TIFF file of CMYK with transparency and a profile, which aren't read "
    "together: save it as RGB, or take the numbers as they are by "
    "color_management=False"
)

# SampleFormat: unsigned integers, and samples of which nothing is said.
_UNSIGNED = {1, 4}

# Compressions that know nothing of samples: none, LZW, Deflate (two numbers), PackBits,
# LZMA and Zstandard.
_BY_ROWS = {1, 5, 8, 32773, 32946, 34925, 50000}

# TIFF 6.0, section 14: differences are stored by LZW, and by what has taken them over
# (libtiff's tif_predict.c); the tag means nothing for others.
_WITH_DIFFERENCES = _BY_ROWS - {1, 32773}


def needs_planes(directory):
    """Tell whether Pillow would read the samples of a file wrongly or in part."""
    n_samples, photometric = (
        directory.get(Tag.SamplesPerPixel, 1),
        directory.get(Tag.PhotometricInterpretation),
    )
    bits = directory.values.get(Tag.BitsPerSample) or (1,)
    if n_samples == 1:
        # Pillow reads white as 0 in 16 bits in some orders of bytes alone.
        is_inverted = photometric == _WHITE_IS_ZERO and bits == (16,)
        return is_inverted or _is_lost_plane(directory)
    if photometric not in _N_COLOURS:
        if directory.get(Tag.PlanarConfiguration) == 2:
            raise UnreadableImage(
                "it is a TIFF file whose colours are stored in separate planes and "
                "aren't gray, RGB or CMYK: save it as RGB"
            )
        return _is_ycbcr(directory)
    is_common = photometric > _BLACK_IS_ZERO and n_samples <= 4
    if directory.get(Tag.PlanarConfiguration) != 2 and bits[0] != 16 and is_common:
        return False
    if directory.get(Tag.SampleFormat, 1) not in _UNSIGNED or set(bits) not in (
        {8},
        {16},
    ):
        raise UnreadableImage(
            f"it is a TIFF file of {n_samples} samples a pixel of {bits[0]} bits, of a "
            "kind that isn't read: save it as gray or RGB of 8 or 16 unsigned bits"
        )
    return True


def _is_lost_plane(directory):
    """Tell whether gray is called a plane in a way that Pillow mixes up."""
    n_bits = directory.get(Tag.BitsPerSample, 1)
    if not is_lost_plane(directory, n_bits):
        return False
    is_gray = directory.get(Tag.PhotometricInterpretation) in _GRAYS
    if not is_gray or n_bits not in {1, 2, 4, 8, 16}:
        raise UnreadableImage(
            f"it is a TIFF file whose only sample, of {n_bits} bits, is called a "
            "separate plane, of a kind that isn't read: save it as gray or RGB"
        )
    return True


def _is_ycbcr(directory):
    """Tell whether the pixels are luma and chroma, but not of JPEG data."""
    return (
        directory.get(Tag.PhotometricInterpretation) == YCBCR
        and directory.get(Tag.Compression, 1) in _BY_ROWS
        and set(directory.values.get(Tag.BitsPerSample, ())) == {8}
        and directory.get(Tag.SamplesPerPixel) == 3
    )


def read_planes(file, directory):
    """Read the samples of a file for which `needs_planes` is true.

    Parameters
    ----------
    file : binary file
    directory : Directory

    Returns
    -------
    pixels : PIL.Image.Image or ndarray of shape (height, width, n_channels)
        As stored, not turned; float32 in [0, 1] for 16 bits, but for CMYK with a
        profile, of which 8 are kept. CMYK with alpha is RGB with alpha.
    """
    if not set(directory.values.get(Tag.SampleFormat, ())) <= _UNSIGNED:
        raise UnreadableImage(SIGNED)
    if directory.get(Tag.FillOrder, 1) != 1:
        raise UnreadableImage(
            "it is a TIFF file with the bits of a byte in reverse order (FillOrder), "
            "which isn't read for its kind of samples: save it with FillOrder 1"
        )
    if directory.get(Tag.Compression, 1) not in _BY_ROWS:
        raise UnreadableImage(
            "it is a TIFF file of a compression that isn't read for its kind of "
            "samples: save it uncompressed, or with LZW or Deflate"
        )
    _refuse_missing_parts(directory, file.seek(0, io.SEEK_END))
    if _is_ycbcr(directory):
        return _read_ycbcr(file, directory)
    if directory.get(Tag.BitsPerSample, 1) < 8:
        return _read_low_plane(file, directory)
    is_planar = directory.get(Tag.PlanarConfiguration) == 2
    read = _read_planes if is_planar else _read_rows
    channels, alpha = _choose_channels(directory)
    return _scale_channels(read(file, directory, channels), directory, alpha)


def name_planes_mode(image, directory):
    """Name the kind of pixels of `read_planes`, as Pillow does."""
    if not isinstance(image, np.ndarray):
        return image.mode
    is_gray = directory.get(Tag.PhotometricInterpretation) <= _BLACK_IS_ZERO
    with_alpha = "LA;16" if is_gray else "RGBA;16"
    return {1: "I;16", 3: "RGB;16", 4: with_alpha}[image.shape[2]]


def read_planes_notes(file, directory):
    """Read the colour information of a file for which `needs_planes` is true."""
    notes = ColourNotes(directory.find_bytes(Tag.InterColorProfile, file))
    if directory.get(Tag.PhotometricInterpretation) != _SEPARATED:
        return notes
    _, alpha = _choose_channels(directory)
    if alpha is None:
        return notes
    # Its inks have become RGB, of which its profile says nothing.
    is_read = find_transform(notes, "CMYK") is None
    return None if is_read else ColourNotes(unread=_CMYK_WITH_ALPHA)


def _refuse_missing_parts(directory, length):
    """Refuse strips outside of the file, which Pillow would look for in our copy."""
    parts = directory.parts
    if not parts or any(start + size > length for start, size in parts):
        raise damaged("its strips lead out of the file")


def _read_planes(file, directory, channels):
    """Read some planes as gray images: each has its own part of the strips or tiles."""
    n_samples, parts = directory.get(Tag.SamplesPerPixel, 1), directory.parts
    n_parts, samples = len(parts) // n_samples, None
    if n_parts == 0:
        raise damaged("it has fewer strips than planes")
    for place, number in enumerate(channels):
        own = parts[number * n_parts : (number + 1) * n_parts]
        plane = _decode_gray(file, directory, own, {})
        if samples is None:
            samples = np.empty((*plane.shape, len(channels)), dtype=plane.dtype)
        samples[:, :, place] = plane
    return samples


def _read_low_plane(file, directory):
    """Read gray of fewer than 8 bits, which is called a plane."""
    photometric = directory.values[Tag.PhotometricInterpretation]
    changes = {Tag.PhotometricInterpretation: photometric}
    image = _open_gray(file, directory, directory.parts, changes)
    image.load()
    return image


def _read_ycbcr(file, directory):
    """Read units of luma and chroma as a gray image of their bytes."""
    units = read_units(directory)
    changes = {**units.resize(directory), Tag.Predictor: (1,)}
    samples = _decode_gray(file, directory, directory.parts, changes)
    if units.n_samples == 3:
        pixels = samples.reshape(len(samples), -1, 3)
        _undo_differences(pixels, directory)
    return convert_ycbcr(units.split(samples, directory), file, directory)


def _read_rows(file, directory, channels):
    """Read samples that stand side by side as a gray image that is as much wider."""
    values, n_samples = directory.values, directory.get(Tag.SamplesPerPixel, 1)
    wider = {
        tag: (n_samples * values[tag][0],)
        for tag in (Tag.ImageWidth, Tag.TileWidth)
        if tag in values
    }
    changes = {**wider, Tag.Predictor: (1,)}
    gray = _decode_gray(file, directory, directory.parts, changes)
    samples = gray.reshape(len(gray), -1, n_samples)
    _undo_differences(samples, directory)
    if channels[-1] < len(channels):  # the first ones, without a copy
        return samples[:, :, : len(channels)]
    return samples[:, :, channels]


def _undo_differences(samples, directory):
    """Add the differences to the left that each row of a strip or tile holds."""
    predictor = directory.get(Tag.Predictor, 1)
    if directory.get(Tag.Compression, 1) not in _WITH_DIFFERENCES or predictor == 1:
        return
    if predictor != 2:
        raise UnreadableImage("its pixels are predicted as floating-point numbers are")
    tile_width = directory.get(Tag.TileWidth, directory.get(Tag.ImageWidth))
    for left in range(0, samples.shape[1], tile_width):
        tile = samples[:, left : left + tile_width]
        np.cumsum(tile, axis=1, dtype=samples.dtype, out=tile)


_KEPT = (
    Tag.ImageWidth,
    Tag.ImageLength,
    Tag.Compression,
    Tag.RowsPerStrip,
    Tag.Predictor,
    Tag.TileWidth,
    Tag.TileLength,
)

# Bytes in front of the strips of a copy: byte order, version, place of the directory.
_START = 8


def _decode_gray(file, directory, parts, changes):
    """Decode some strips or tiles of 8 or 16 bits with Pillow."""
    image = _open_gray(file, directory, parts, changes)
    image.load()
    return np.array(image, dtype=np.uint8 if image.mode == "L" else np.uint16)


def _open_gray(file, directory, parts, changes):
    """Open a copy of some strips or tiles that says gray, if it holds all pixels."""
    copy = _copy_as_gray(file, directory, parts, changes)
    image = Image.open(copy, formats=["TIFF"])
    n_pixels, _ = count_stored_pixels(image)
    if directory.get(Tag.Compression, 1) == 1:
        # The bytes behind a strip that is too short would become pixels.
        n_bits = 8 * sum(n_bytes for _, n_bytes in parts)
        n_pixels = min(n_pixels, n_bits // directory.get(Tag.BitsPerSample, 1))
    if n_pixels < image.width * image.height:
        raise damaged("its strips hold only a part of the image")
    return image


def _copy_as_gray(file, directory, parts, changes):
    """Copy some strips or tiles, with a directory that says gray."""
    first, last = min(parts)[0], max(sum(part) for part in parts)
    file.seek(first)
    content = file.read(last - first)
    end = _START + len(content)
    values = {tag: directory.values[tag] for tag in _KEPT if tag in directory.values}
    values |= {
        Tag.BitsPerSample: (directory.get(Tag.BitsPerSample, 1),),
        Tag.PhotometricInterpretation: (1,),
        Tag.SamplesPerPixel: (1,),
    }
    values |= changes
    places, sizes = directory.part_tags
    values[places] = tuple(_START + start - first for start, _ in parts)
    values[sizes] = tuple(size for _, size in parts)
    entries, longer = [], b""
    n_bytes = 2 + 12 * len(values) + 4
    order = directory.order
    for tag in sorted(values):
        kind, code = (3, "H") if tag == Tag.BitsPerSample else (4, "I")
        packed = struct.pack(f"{order}{len(values[tag])}{code}", *values[tag])
        value = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place = end + n_bytes + len(longer)
            value, longer = struct.pack(f"{order}I", place), longer + packed
        entries.append(struct.pack(f"{order}HHI", tag, kind, len(values[tag])) + value)
    start = b"II*\0" if order == "<" else b"MM\0*"
    start += struct.pack(f"{order}I", end)
    count = struct.pack(f"{order}H", len(entries))
    return io.BytesIO(b"".join([start, content, count, *entries, b"\0\0\0\0", longer]))


def _choose_channels(directory):
    """Choose the samples that are colours or alpha, and tell the kind of alpha."""
    photometric = directory.get(Tag.PhotometricInterpretation)
    n_colours = _N_COLOURS[photometric]
    n_samples = directory.get(Tag.SamplesPerPixel, 1)
    if n_samples < n_colours:
        raise damaged("it has too few samples a pixel")
    channels = [*range(n_colours)]
    meanings = directory.values.get(Tag.ExtraSamples, ())[: n_samples - n_colours]
    if not meanings and (photometric, n_samples) == (_RGB, 4):
        # OpenCV and others write RGBA without the tag, and Pillow reads it so.
        meanings = (_UNASSOCIATED,)
    for number, meaning in enumerate(meanings, start=n_colours):
        if meaning in _ALPHAS:
            return [*channels, number], _ALPHAS[meaning]
    return channels, None


def _scale_channels(channels, directory, alpha):
    """Make pixels of samples, with alpha of the given kind or without."""
    photometric = directory.get(Tag.PhotometricInterpretation)
    is_associated = alpha == _ASSOCIATED
    if photometric == _SEPARATED:
        return _scale_inks(channels, directory, is_associated)
    if photometric == _WHITE_IS_ZERO:
        channels = np.dstack([~channels[:, :, :1], channels[:, :, 1:]])
    if channels.dtype == np.uint8:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels.shape[2]]
        return _make_image(mode.replace("A", "a") if is_associated else mode, channels)
    return straighten_alpha(np.divide(channels, np.float32(65535)), is_associated)


def _scale_inks(channels, directory, is_associated):
    """Make CMYK or RGB of inks, or RGBA where they have alpha."""
    has_alpha = channels.shape[2] > 4
    if Tag.InterColorProfile in directory.places and not has_alpha:
        channels = _keep_eight_bits(channels)
    is_deep = channels.dtype != np.uint8
    if not is_deep and not has_alpha:
        return _make_image("CMYK", channels)
    floats = np.divide(channels, np.float32(65535 if is_deep else 255))
    inks, alpha = floats[:, :, :4], floats[:, :, 4:]
    if is_associated:
        # TIFF 6.0, section 18: colours, which are inks here, are multiplied by alpha.
        np.divide(inks, alpha, out=inks, where=alpha > 0)
        np.minimum(inks, 1, out=inks)
    colours = (1 - inks[:, :, :3]) * (1 - inks[:, :, 3:])
    pixels = np.concatenate([colours, alpha], axis=2) if has_alpha else colours
    if is_deep:
        return pixels
    return _make_image("RGBA", np.rint(pixels * 255).astype(np.uint8))


def _make_image(mode, channels):
    return Image.frombytes(mode, channels.shape[1::-1], channels.tobytes())


def _keep_eight_bits(channels):
    """Round 16 bits to 8: Pillow converts CMYK by a profile in 8 bits alone."""
    if channels.dtype == np.uint8:
        return channels
    return ((channels.astype(np.uint32) + 128) // 257).astype(np.uint8)
