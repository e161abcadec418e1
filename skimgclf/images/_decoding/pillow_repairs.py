"""Work around defects of Pillow (13.0), and settings of the whole process.

Everything that is private or undocumented in Pillow and `warnings` is used here alone.
Where a name is gone, the image is refused with a sentence that names Pillow's version,
since its pixels may be wrong. Only the warning filter is left out silently then, and
under ``-W error`` a remark of Pillow's makes an image unreadable.
"""

import io
import threading
import warnings
from contextlib import contextmanager

import PIL
from PIL import Image, ImageFile
from PIL.ExifTags import Base as Tag

from skimgclf._platform import after_fork
from skimgclf.images._decoding.reasons import UnreadableImage

_thread = threading.local()

# PNG gives a transparent colour in the bit depth of the file, but Pillow scales pixels
# to 8 bits. The keys are Pillow's mode of the image, and rawmode, Pillow's name for the
# layout of the samples in the file.
_COLOUR_SCALES = {
    ("L", "L"): None,
    ("L", "L;2"): lambda value: value * 85,
    ("L", "L;4"): lambda value: value * 17,
    ("RGB", "RGB"): None,
}


def read_transparent_colour(pil_image):
    """Read which colour a PNG file declares transparent, if Pillow errs there.

    Cause: ``image.info["transparency"]`` isn't scaled as the pixels are, and the bit
    depth of the file stands in the undocumented ``image.tile`` alone. It can go when
    Pillow scales both.

    Parameters
    ----------
    pil_image : PIL.Image.Image
        As `PIL.Image.open` returns it, decoded since, or a copy.

    Returns
    -------
    colour : int or None
        In the scale of the decoded pixels; None if Pillow's is right.
    """
    colour = pil_image.info.get("transparency")
    is_right = pil_image.format not in {"PNG", None} or colour is None
    if is_right or pil_image.mode not in {"L", "RGB"}:
        return None
    tiles = _read_attribute(pil_image, "tile") if pil_image.format else None
    if not tiles:
        return _scale_copied_colour(pil_image, colour)
    rawmode = tiles[0][3]
    if (pil_image.mode, rawmode) not in _COLOUR_SCALES:
        raise _refuse_version(f"reads PNG files in an unknown layout, {rawmode!r}")
    scale = _COLOUR_SCALES[pil_image.mode, rawmode]
    return None if scale is None else scale(colour)


def _scale_copied_colour(pil_image, colour):
    """Scale the transparent colour of a decoded PNG image, or a copy, as its pixels.

    Its bit depth is lost. Pixels of 2 and 4 bits are multiples of 85 and 17 alone,
    among which the colour of a file of 8 bits would be none.
    """
    if pil_image.mode == "RGB":
        if isinstance(colour, tuple) and max(colour) > 255:
            raise UnreadableImage(
                "it is a decoded PNG image, or a copy, of 16 bits with a transparent "
                "colour, of which its pixels have kept 8: give the path of the file "
                "instead"
            )
        return None
    # A copy of a GIF image keeps its version.
    is_other = "version" in pil_image.info or not isinstance(colour, int)
    if is_other or not 0 < colour < 16:
        return None
    levels = [level for level, n in enumerate(pil_image.histogram()) if n]
    if any(level % 17 for level in levels):
        return None
    is_of_two_bits = colour < 4 and not any(level % 85 for level in levels)
    return colour * (85 if is_of_two_bits else 17)


def count_stored_pixels(pil_image):
    """Count the pixels for which an opened TIFF file has data, in all its layers.

    Cause: Pillow leaves pixels black that no strip holds, silently; the strips stand in
    the undocumented ``image.tile`` alone. It can go when Pillow raises an error.

    Parameters
    ----------
    pil_image : PIL.TiffImagePlugin.TiffImageFile
        As opened, not yet decoded.

    Returns
    -------
    n_pixels : int
    n_strips : int
    """
    tiles = _read_attribute(pil_image, "tile")
    n_pixels = sum(
        (right - left) * (lower - upper) for _, (left, upper, right, lower), *_ in tiles
    )
    return n_pixels, len(tiles)


def read_frame_box(pil_image):
    """Return the part of a GIF file's canvas that its first frame fills, or None.

    Cause: Pillow gives the rest the first colour of the palette, and browsers leave it
    transparent; the box stands in the undocumented ``image.dispose_extent`` alone. It
    can go when Pillow leaves the rest transparent.

    Returns
    -------
    box : tuple of four int or None
        Left, top, right and bottom; None for a frame that fills the canvas, for other
        formats, and for an image that was changed since. A pickle has lost it.
    """
    if pil_image.format != "GIF" or _is_pickle(pil_image, "dispose_extent"):
        return None
    if pil_image.tell() != 0:
        return None
    box = _read_attribute(pil_image, "dispose_extent")
    if box == (0, 0, *pil_image.size):
        return None
    is_loaded = not _read_attribute(pil_image, "tile")
    return None if is_loaded and not _is_empty_outside(pil_image, box) else box


def _is_empty_outside(pil_image, box):
    """Tell whether a loaded image has a single colour outside of a box."""
    _, _, right, lower = box
    if right > pil_image.width or lower > pil_image.height:
        return False
    outside = Image.new("L", pil_image.size, 255)
    outside.paste(0, box)
    if pil_image.mode in {"L", "P"}:
        n_pixels = pil_image.histogram(outside)
        n_pixels[pil_image.info.get("transparency", 0)] = 0
        return not any(n_pixels)
    # What Pillow's LOADING_STRATEGY may have made of the palette.
    bands = pil_image.split() if pil_image.mode == "RGB" else ()
    n_values = [sum(map(bool, band.histogram(outside))) for band in bands]
    return n_values == [1, 1, 1]


def read_tags(pil_image):
    """Return the tags that Pillow has read from a TIFF file, by number.

    A pickle has lost them (None), and then its pixels are all that it has.

    Cause: Pillow skips a tag that it can't read with a warning alone, which another
    thread may have filtered. It can go when Pillow raises an error.
    """
    if _is_pickle(pil_image, "tag_v2"):
        return None
    return _read_attribute(pil_image, "tag_v2")


def read_low_palette(pil_image):
    """Return the palette of a TIFF file that gives colours in 8 bits instead of 16.

    Cause: Pillow keeps the high bytes, so that all colours are black. libtiff takes a
    palette without larger numbers than 255 for such a one. It can go when Pillow reads
    such palettes.

    Returns
    -------
    palette : bytes or None
        Red, green and blue of each colour; None for other files.
    """
    if pil_image.format != "TIFF" or pil_image.mode not in {"P", "PA"}:
        return None
    # TIFF 6.0, section 5: all reds, then all greens and all blues.
    colours = (read_tags(pil_image) or {}).get(Tag.ColorMap)
    if not colours or max(colours) > 255:
        return None
    n_colours = len(colours) // 3
    triples = zip(
        *(colours[i * n_colours :][:n_colours] for i in range(3)), strict=True
    )
    return b"".join(map(bytes, triples))


def find_stream(pil_image):
    """Return the stream from which a PIL image will be decoded, or None if it was.

    An icon is decoded while it is opened, and Pillow lists no tiles of a WEBP or HEIC
    file before `load`: their streams are returned until they are closed or dropped.

    Cause: a user's PIL image keeps its file in the undocumented ``image.fp`` alone,
    and damage of TIFF files is found in the file. It can go when the repairs of TIFF
    files can.
    """
    if not isinstance(pil_image, ImageFile.ImageFile):
        return None
    if pil_image.format in {"ICO", "WEBP", "HEIF"}:
        stream = getattr(pil_image, "fp", None)  # a pickle has lost it
        return None if stream is None or stream.closed else stream
    return (
        _read_attribute(pil_image, "fp") if _read_attribute(pil_image, "tile") else None
    )


def cut_out_frame(pil_image, stream):
    """Return the file of the image of an MPO file that the user chose by its ``seek``.

    Cause: the place of that image stands in the undocumented ``image.tile`` alone, its
    data are checked in the file, and its ``info`` keeps the first image's profile. It
    can go with `decoding_from`.

    Parameters
    ----------
    pil_image : PIL.MpoImagePlugin.MpoImageFile
        Not yet decoded.
    stream : binary file
        From `find_stream`.
    """
    stream.seek(_read_attribute(pil_image, "tile")[0][2])
    return io.BytesIO(stream.read())


@contextmanager
def decoding_from(stream, pil_image):
    """Decode a PIL image from a stream instead of its own; from its own for None.

    Cause: missing data of a JPEG file are found by leaving out its end marker, and a
    user's PIL image keeps its file in the undocumented ``image.fp`` alone. It can go
    when Pillow raises an error for them.
    """
    if stream is None:
        yield
        return
    own = _read_attribute(pil_image, "fp")
    pil_image.fp = stream
    try:
        yield
    finally:
        if pil_image.fp is not None:
            pil_image.fp = own
        if stream.closed:  # as Pillow does with files that it has opened
            own.close()


@contextmanager
def close_if_failed(pil_image):
    """Close a PIL image that fails to decode, so that it can't be decoded again.

    Cause: after a failed ``load()``, the next one returns blank pixels without an
    error. It can go when Pillow raises an error each time.
    """
    try:
        yield
    except BaseException:
        pil_image.close()
        raise


def _is_pickle(image, name):
    """Tell whether an image was pickled, and has lost all but its pixels."""
    return getattr(image, "tile", None) == [] and not hasattr(image, name)


def _read_attribute(image, name):
    try:
        return getattr(image, name)
    except AttributeError as error:
        raise _refuse_version(f"has no image.{name} any more") from error


def _refuse_version(what):
    return UnreadableImage(
        f"Pillow {PIL.__version__} {what}, without which wrong pixels can't be found: "
        "install an older Pillow or a newer skimgclf"
    )


class SettingsChanged(Exception):
    """Pillow's settings were changed while an image was decoded."""


class _ThisThreadDecodes:
    """The message pattern of a warning filter: matches in threads that decode."""

    # scikit-learn's Parallel copies all filters to its workers by this attribute: there
    # the filter becomes one that never matches.
    pattern = "(?!)"

    def match(self, message):
        """Tell whether the message came from a decode."""
        return getattr(_thread, "decodes", False)


_FILTER = ("ignore", _ThisThreadDecodes(), Warning, None, 0)


def _add_warning_filter():
    """Ignore the warnings of threads that decode, and only these.

    Cause: under ``-W error``, a remark of Pillow's on metadata would lose a good image,
    and ``warnings.catch_warnings`` swaps a list of the whole process, which isn't safe
    in threads. Python (3.11 to 3.14) doesn't document ``warnings.filters``, nor that a
    pattern may be any object with a method ``match``. It can go when all supported
    versions of Python have ``sys.flags.context_aware_warnings`` on (3.14 has it, off by
    default).
    """
    filters = getattr(warnings, "filters", None)
    if isinstance(filters, list) and filters[:1] != [_FILTER]:
        filters.insert(0, _FILTER)


def _remove_warning_filter():
    filters = getattr(warnings, "filters", None)
    if isinstance(filters, list) and _FILTER in filters:
        filters.remove(_FILTER)


class _PillowSettings:
    """Counts the decodes that run, and sets Pillow's globals while some need it.

    As long as the globals suit (nearly always), nothing is set. As soon as one decode
    has to set them, those that start beside it join it, since the globals don't hold
    the user's values any more; the last one puts the values back.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        self.lock = threading.Lock()
        self.n_decodes = 0
        self.n_overriding = 0
        self.saved = None

    def enter(self, max_pixels):
        """Start a decode, and return whether it runs with globals that were set."""
        with self.lock:
            self.n_decodes += 1
            _add_warning_filter()
            if self.n_overriding == 0:
                if _globals_suit(max_pixels):
                    return False
                self.saved = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
            self.n_overriding += 1
            return True

    def leave(self, overriding):
        """End a decode that `enter` started."""
        with self.lock:
            self.n_decodes -= 1
            if self.n_decodes == 0:
                _remove_warning_filter()
            self.n_overriding -= overriding
            if overriding and self.n_overriding == 0:
                self._put_back()

    def _put_back(self):
        # Only unchanged values: other code may have set them meanwhile.
        truncated, limit = self.saved
        if ImageFile.LOAD_TRUNCATED_IMAGES is False:
            ImageFile.LOAD_TRUNCATED_IMAGES = truncated
        if Image.MAX_IMAGE_PIXELS is None:
            Image.MAX_IMAGE_PIXELS = limit

    def after_fork(self):
        """Reset a forked child, in which the threads of its parent don't exist."""
        if self.n_overriding:
            self._put_back()
        self.reset()


_settings = _PillowSettings()
after_fork(_settings.after_fork)


def _globals_suit(max_pixels):
    # Pillow warns above MAX_IMAGE_PIXELS (filtered here) and raises above twice that.
    limit = Image.MAX_IMAGE_PIXELS
    return not ImageFile.LOAD_TRUNCATED_IMAGES and (
        limit is None or max_pixels <= 2 * limit
    )


@contextmanager
def isolated(max_pixels):
    """Decode with Pillow's default globals, and without its warnings.

    Cause: other code in the process may set Pillow's globals. With
    ``ImageFile.LOAD_TRUNCATED_IMAGES = True`` (the usual advice on the web) half of all
    truncated files turn into wrong pixels without an error, and
    ``Image.MAX_IMAGE_PIXELS`` refuses images that `max_pixels` allows. It can go when
    ``Image.open`` takes both as arguments.

    Parameters
    ----------
    max_pixels : int
        The most pixels the decode must be able to read.

    Raises
    ------
    UnreadableImage
        If Pillow finds more pixels than that.
    SettingsChanged
        If other code has asked Pillow for truncated images meanwhile, so that this one
        may be cut short. Decode it again.
    """
    overriding = _settings.enter(max_pixels)
    _thread.decodes = True
    try:
        yield
    except Image.DecompressionBombError as error:
        reason = f"it has more pixels than max_pixels={max_pixels} allows"
        raise UnreadableImage(reason) from error
    finally:
        _thread.decodes = False
        changed = bool(ImageFile.LOAD_TRUNCATED_IMAGES)
        _settings.leave(overriding)
    if changed:
        raise SettingsChanged
