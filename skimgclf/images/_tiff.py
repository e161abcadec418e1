"""TIFF files whose tags are damaged, which Pillow reads as well as it can."""

import re

from skimgclf.images._source import UnreadableImage

_PLANAR_CONFIGURATION = 284

# TIFF 6.0: the tags without which pixels would be read wrongly (size, bits,
# compression, colours, strips, orientation, planes, predictor, tiles, alpha, sign,
# tables, YCbCr).
_PIXEL_TAGS = {
    *range(256, 260),
    262,
    266,
    273,
    274,
    *range(277, 280),
    284,
    317,
    320,
    *range(322, 326),
    338,
    339,
    347,
    *range(529, 533),
}


def check_directory(image, messages):
    """Refuse a TIFF file of whose tags some that decide on pixels are lost or wrong.

    Parameters
    ----------
    image : PIL.TiffImagePlugin.TiffImageFile
        As opened, not yet decoded.
    messages : list of str
        What Pillow warned of while it opened the file.
    """
    _check_messages(messages)
    # Pillow (13.0) leaves what no strip covers black, without an error.
    covered = sum(
        (right - left) * (lower - upper)
        for _, (left, upper, right, lower), *_ in image.tile
    )
    is_planar = image.tag_v2.get(_PLANAR_CONFIGURATION) == 2 and len(image.tile) > 1
    n_layers = len(image.getbands()) if is_planar else 1
    if covered < image.width * image.height * n_layers:
        raise UnreadableImage(
            "its strips hold only a part of the image: the file is damaged or cut short"
        )


def _check_messages(messages):
    for message in messages:
        skipped = re.search(r"Skipping tag (\d+)", message)
        if skipped:
            harmless = int(skipped[1]) not in _PIXEL_TAGS
        else:
            # Four bytes are missing where the next page would be named; a "Metadata
            # Warning" is on tags with more values than they need.
            harmless = "read 4 bytes" in message or "Metadata Warning" in message
        if not harmless:
            raise UnreadableImage(
                "its TIFF directory, which says what its pixels mean, is damaged or "
                f"cut short (Pillow says: {message.strip()})"
            )
