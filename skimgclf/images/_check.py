"""Decode every image, and report which ones can't be read: check_images."""

import hashlib
import io

from skimgclf._validation import TRUE_OR_FALSE, ParameterTable
from skimgclf.images._decoding.colour import convert_eight_bits
from skimgclf.images._decoding.decode import load_source
from skimgclf.images._decoding.depth import count_bits
from skimgclf.images._decoding.load import load_stream
from skimgclf.images._decoding.options import DEFAULT_MAX_PIXELS
from skimgclf.images._decoding.profile import find_transform
from skimgclf.images._decoding.reasons import describe_source, explain_error
from skimgclf.images._input_forms import list_cells
from skimgclf.images._loader import TABLE
from skimgclf.images._threads import run_chunks
from skimgclf.images._urls import UrlReader

_NAMES = ("max_pixels", "storage_options", "n_jobs", "verbose")
_TABLE = ParameterTable(
    "check_images",
    {**{name: TABLE.rules[name] for name in _NAMES}, "strict": TRUE_OR_FALSE},
)

_DETAILS = ("reason", "width", "height", "mode", "format", "sha256", "note")
_COLUMNS = ("path", "ok", *_DETAILS[:-1], "duplicate_of", "note")

# Bytes in which a file says how many bits it has.
_HEADER = 2**16

# Up to this size a file is read into memory, so that its hash and its pixels come from
# one reading; larger ones (stacks of pages, of which one is decoded) are read twice.
_READ_AT_ONCE = 64 * 2**20


def check_images(
    paths,
    *,
    max_pixels=DEFAULT_MAX_PIXELS,
    strict=False,
    storage_options=None,
    n_jobs=None,
    verbose=0,
):
    """Decode images and report which can't be read, and why.

    Looking at their first bytes finds only half of the bad files, so each is decoded
    whole, just as `ImageLoader` does. A transformer can't drop rows of y: use the
    report to drop bad or duplicate images before a pipeline sees them.

    Parameters
    ----------
    paths : list, tuple, array, Series or one-column DataFrame
        As in `ImageLoader.transform`.
    max_pixels : int, default=89_478_485
        Images with more pixels are reported and not decoded.
    strict : bool, default=False
        Whether to report also JPEG files, which `ImageLoader` reads, with more or fewer
        data than their pixels need: damage in their middle, mostly, but some programs
        write needless bytes into good files. It takes one or two more decodes.
    storage_options : dict, default=None
        Options of fsspec for URLs, by their names (see `ImageLoader`).
    n_jobs : int, default=None
        How many threads decode. None means 1 unless in a :func:`joblib.parallel_config`
        context; -1 means one per processor.
    verbose : int, default=0
        Above 0, a progress bar is shown on stderr.

    Returns
    -------
    report : DataFrame of shape (n_samples, 10)
        One row an image, in the order given, with the columns

        - path: the path as given (for bytes, PIL images and arrays: a description)
        - ok: whether `ImageLoader` can read it, and `strict` finds nothing
        - reason: if not, why
        - width, height: in pixels, upright (after the EXIF orientation)
        - mode, format: Pillow's names for the kind of pixels and of file
        - sha256: of the file's content, also of unreadable ones
        - duplicate_of: the path of the first image before it with the same content
        - note: of a file that is read, the bits that are lost, "read at 8 of 16 bits"

        Cells that don't apply hold None (NA for width and height).

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value, or `paths` isn't a list of images. Never
        for a bad image.
    ImportError
        If images are URLs, and a package that reads them isn't installed.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from skimgclf.images import check_images
    >>> folder = tempfile.mkdtemp()
    >>> paths = [os.path.join(folder, f"{name}.png") for name in "abc"]
    >>> Image.new("L", (50, 40)).save(paths[0])
    >>> Image.new("L", (50, 40)).save(paths[1])
    >>> report = check_images(paths)
    >>> report[["ok", "reason", "width", "height"]]
          ok                 reason  width  height
    0   True                   None     50      40
    1   True                   None     50      40
    2  False  there is no such file   <NA>    <NA>
    >>> report.duplicate_of[1] == paths[0]
    True
    """
    import pandas as pd

    plain = _TABLE.check(locals())
    url_reader = UrlReader(plain["storage_options"])
    cells = list_cells("check_images", paths)
    reports = [None] * len(cells)

    def check_chunk(chunk):
        for row in chunk:
            reports[row] = probe_image(
                cells[row], plain["max_pixels"], url_reader, strict=plain["strict"]
            )
        return len(chunk)

    run_chunks(
        check_chunk, len(cells), n_jobs=n_jobs, verbose=verbose, description="Checking"
    )
    first = {None: None}  # the path of the first image by its content
    for cell, report in zip(cells, reports, strict=True):
        report["path"], report["ok"] = describe_source(cell), report["reason"] is None
        report["duplicate_of"] = first.get(report["sha256"])
        first.setdefault(report["sha256"], report["path"])
    frame = pd.DataFrame(reports, columns=_COLUMNS, dtype=object)
    return frame.astype({"ok": bool, "width": "Int64", "height": "Int64"})


def probe_image(cell, max_pixels, url_reader, *, strict=False):
    """Decode an image and report on it, instead of returning its pixels.

    Parameters
    ----------
    cell : object
        The image, as the `source` of `read_image`.
    max_pixels : int
        The most pixels that are decoded.
    url_reader : UrlReader
        The reader of URLs.
    strict : bool, default=False
        As in `check_images`.

    Returns
    -------
    report : dict
        With the keys reason (None if the image can be read), width and height (of the
        upright image), mode, format, sha256 (of the file or the bytes) and note.
    """
    report = dict.fromkeys(_DETAILS)

    def load(file):
        stream, report["sha256"] = _hash_stream(file)
        picture = load_stream(stream, max_pixels, strict=strict)
        report["note"] = _note_lost_bits(stream, picture)
        return picture

    try:
        picture = load_source(cell, max_pixels, url_reader, load)
        report |= _describe_picture(picture)
    except Exception as error:
        report["reason"] = explain_error(error)
    return report


def _note_lost_bits(stream, picture):
    stream.seek(0)
    n_bits = picture.n_bits or count_bits(stream.read(_HEADER), picture.format)
    if picture.is_deep or n_bits is None or n_bits <= 8:
        return None
    return f"read at 8 of {n_bits} bits"


def _hash_stream(stream):
    """Hash a stream, and return one on the same bytes."""
    if stream.seek(0, io.SEEK_END) <= _READ_AT_ONCE:
        stream.seek(0)
        stream = io.BytesIO(stream.read())
    stream.seek(0)
    return stream, hashlib.file_digest(stream, "sha256").hexdigest()


def _describe_picture(picture):
    """Describe a loaded image, having tried that its colours can be converted."""
    height, width = picture.image_size
    find_transform(picture.notes, picture.mode)
    if not picture.is_deep:
        convert_eight_bits(picture.image, "rgb", (255, 255, 255))
    return {
        "width": width,
        "height": height,
        "mode": picture.mode,
        "format": picture.format,
    }
