"""Refuse TIFF files that Pillow would read wrongly, with the reason of each."""

from PIL.ExifTags import Base as Tag

from skimgclf.images._decoding.pillow_repairs import count_stored_pixels, read_tags
from skimgclf.images._decoding.reasons import RAW_PHOTO, UnreadableImage
from skimgclf.images._decoding.tiff_directory import PIXEL_TAGS, damaged

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_FLOAT, _COMPLEX = 3, {5, 6}

# TIFF 6.0, section 16: the PhotometricInterpretation of inks, and the InkSet of CMYK.
_SEPARATED, _CMYK = 5, 1

# Compressions that decide on their own what is white: TIFF 6.0, section 3, gives 0 as
# the normal value of faxes, and old JPEG data are luma and chroma.
_SAYING_WHITE = {2, 3, 4, 6, 32771}

# PhotometricInterpretation and bits of planes whose names in Pillow are of one letter.
_PLAIN_PLANES = {(1, 1), (1, 8), (3, 8)}

# Compressions of raw photos of Sony, Nikon and Pentax.
_RAW_COMPRESSIONS = {32767, 34713, 65535}


def refuse_kind(directory):
    """Refuse a camera's raw file, and samples that Pillow can't read or scale."""
    _refuse_raw(directory)
    _refuse_samples(directory)


def _refuse_raw(directory):
    """Refuse a camera's raw file, whose first image is mostly a thumbnail."""
    # A pyramid has further images as well, but its first one is the largest.
    is_reduced = directory.get(Tag.NewSubfileType, 0) & 1 == 1
    if (
        Tag.DNGVersion in directory.values
        or (is_reduced and Tag.SubIFDs in directory.values)
        or directory.get(Tag.Compression) in _RAW_COMPRESSIONS
        or directory.start[8:10] == b"CR"  # Canon's CR2
    ):
        raise UnreadableImage(RAW_PHOTO)


def refuse_unknown_white(tags):
    """Refuse samples without a tag that says whether 0 is black or white.

    Pillow (13.0) takes 0 for white in 8 bits and for black in 16, and others differ.

    Parameters
    ----------
    tags : Directory or mapping of int to int
    """
    is_said = tags.get(Tag.PhotometricInterpretation) is not None
    if not is_said and tags.get(Tag.Compression, 1) not in _SAYING_WHITE:
        raise UnreadableImage(
            "it is a TIFF file without the tag that says whether 0 is black or white "
            "(PhotometricInterpretation): save it again by a program that writes it"
        )


def is_lost_plane(tags, n_bits):
    """Tell whether Pillow forgets the bits of a sample, and whether 0 is white.

    It does where the only sample is uncompressed and called a separate plane, which
    means nothing then (TIFF 6.0, section 8).

    Parameters
    ----------
    tags : Directory or mapping of int to int
    n_bits : int
    """
    is_raw_plane = (
        tags.get(Tag.PlanarConfiguration) == 2
        and tags.get(Tag.SamplesPerPixel, 1) == 1
        and tags.get(Tag.Compression, 1) == 1
    )
    kind = tags.get(Tag.PhotometricInterpretation), n_bits
    return is_raw_plane and kind not in _PLAIN_PLANES


def _refuse_samples(directory):
    """Refuse kinds of samples that have no natural white, or that Pillow can't read."""
    refuse_unknown_white(directory)
    sample_format = directory.get(Tag.SampleFormat, 1)
    bits = directory.values.get(Tag.BitsPerSample) or (1,)
    way_out = "scale it to 8 or 16 bits first"
    if sample_format == _FLOAT:
        raise UnreadableImage(
            f"its pixels are floating-point numbers of {bits[0]} bits (Pillow's mode "
            f"F), which have no natural white: {way_out}"
        )
    if sample_format in _COMPLEX:
        raise UnreadableImage(f"its pixels are complex numbers: {way_out}")
    if not set(bits) <= {1, 2, 4, 8, 12, 16, 32}:
        raise UnreadableImage(
            f"its samples have {max(bits)} bits, which Pillow doesn't read: {way_out}"
        )
    is_separated = directory.get(Tag.PhotometricInterpretation) == _SEPARATED
    if is_separated and directory.get(Tag.InkSet, _CMYK) != _CMYK:
        raise UnreadableImage(
            "it is a TIFF file of other inks than CMYK (InkSet), of unknown colours: "
            "save it as RGB"
        )
    if directory.is_big and directory.order == ">":
        raise UnreadableImage(
            "it is a big-endian BigTIFF file, which Pillow doesn't read: save it as "
            "little-endian, or as a TIFF file of less than 4 GiB"
        )


def explain_unread(directory):
    """Explain why Pillow doesn't open a TIFF file, from its directory."""
    n_bits = max(directory.values.get(Tag.BitsPerSample) or (1,))
    n_samples = directory.get(Tag.SamplesPerPixel, 1)
    return (
        f"it is a TIFF file of {n_samples} samples a pixel of {n_bits} bits "
        f"(compression {directory.get(Tag.Compression, 1)}, photometric interpretation "
        f"{directory.get(Tag.PhotometricInterpretation)}), which Pillow can't read, or "
        "it is damaged: save it as gray or RGB of 8 bits"
    )


def check_directory(tiff, directory):
    """Refuse a TIFF file with lost tags or strips that decide on pixels.

    Pillow (13.0) skips such a tag with a warning, and decodes as if it weren't there.

    Parameters
    ----------
    tiff : PIL.TiffImagePlugin.TiffImageFile
        As opened, not yet decoded.
    directory : Directory
        From its file.
    """
    tags = read_tags(tiff)
    for tag in PIXEL_TAGS.intersection(directory.values):
        if tag not in tags:
            raise damaged(f"tag {tag} can't be read")
    n_pixels, n_strips = count_stored_pixels(tiff)
    is_planar = tags.get(Tag.PlanarConfiguration) == 2 and n_strips > 1
    n_layers = len(tiff.getbands()) if is_planar else 1
    if n_pixels < tiff.width * tiff.height * n_layers:
        raise UnreadableImage(
            "its strips hold only a part of the image: the file is damaged or cut short"
        )
