"""Read HEIC and HEIF images, as iPhones write them, with pillow-heif."""

import numpy as np
from PIL import Image

from skimgclf._extras import how_to_install
from skimgclf.images._decoding.boxes import find_box, list_main_properties
from skimgclf.images._decoding.colour import straighten_alpha
from skimgclf.images._decoding.profile import make_video_code
from skimgclf.images._decoding.reasons import UnreadableImage, read_brands

# ISO/IEC 23008-12, annex B, and ISO/IEC 14496-12: an HEVC image, a collection or a
# sequence of them; mif1 and msf1 stand for any codec, AV1 included.
_HEVC_BRANDS = {"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"}
_CONTAINER_BRANDS = {"mif1", "msf1"}
_AVIF_BRANDS = {"avif", "avis"}

_SEQUENCE = (
    "it is a HEIC sequence without a still image, a film, which isn't read: save its "
    "first frame as PNG or JPEG, as `ffmpeg -i` does"
)


def is_heif(start):
    """Tell from its first bytes whether a file is HEIC or HEIF, and not AVIF."""
    brands = read_brands(start)
    if not brands or brands[0] in _AVIF_BRANDS:
        return False
    if _HEVC_BRANDS.intersection(brands):
        return True
    return brands[0] in _CONTAINER_BRANDS and not _AVIF_BRANDS.intersection(brands)


def read_heif_header(file, number=None):
    """Read an image of a HEIC file, of which no pixels are decoded yet.

    Parameters
    ----------
    file : binary file
    number : int, default=None
        Its place in the file; None for the main image.

    Returns
    -------
    image : pillow_heif.HeifImage
    """
    try:
        # Its reader, not its plugin for Pillow, which is a setting of the process.
        import pillow_heif
    except ImportError as error:
        raise UnreadableImage(
            "it is a HEIC file, which needs pillow-heif: "
            f"`{how_to_install('heif')}` installs it"
        ) from error
    try:
        heif = pillow_heif.open_heif(
            file, convert_hdr_to_8bit=False, hdr_to_16bit=False
        )
        return heif[heif.primary_index if number is None else number]
    except Exception as error:
        if list_main_properties(file) is None and find_box(file, b"moov"):
            raise UnreadableImage(_SEQUENCE) from error
        raise _damaged(error) from error


def decode_heif(heif_image):
    """Decode an image of `read_heif_header`, which libheif turns upright.

    Returns
    -------
    image : PIL.Image.Image or ndarray of shape (height, width, n_channels)
        float32 in [0, 1] for an image deeper than 8 bits.
    """
    try:
        pixels = np.asarray(heif_image)
    except Exception as error:
        raise _damaged(error) from error
    if pixels.dtype == np.uint8:
        mode = heif_image.mode
        return Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    floats = pixels.astype(np.float32) / (2 ** heif_image.info["bit_depth"] - 1)
    return straighten_alpha(np.atleast_3d(floats), heif_image.premultiplied_alpha)


def name_heif_mode(heif_image):
    """Name the kind of pixels of the file, as Pillow does."""
    # libheif makes colours of gray with alpha; gray has no ratio of colours to it.
    is_gray = "chroma" not in heif_image.info
    return heif_image.mode.replace("RGB", "L") if is_gray else heif_image.mode


def read_code(heif_image):
    """Read the numbers that stand for the colours of an image, or return None.

    Parameters
    ----------
    heif_image : pillow_heif.HeifImage or PIL.Image.Image
    """
    code = heif_image.info.get("nclx_profile")
    if code is None:
        return None
    return make_video_code(code["color_primaries"], code["transfer_characteristics"])


def _damaged(error):
    return UnreadableImage(
        "it is a HEIC file that is damaged, cut short or of a kind that libheif can't "
        f"read: {error}"
    )
