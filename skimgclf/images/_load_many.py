"""Load many images into one array, from the cache or decoded, by threads."""

import dataclasses

import numpy as np

from skimgclf.exceptions import ImageLoadError
from skimgclf.images._cache import PixelCache, warn_of_problem
from skimgclf.images._decoding.decode import decode_pixels
from skimgclf.images._decoding.options import DecodeOptions
from skimgclf.images._decoding.scale import make_background, write_pixels
from skimgclf.images._threads import run_chunks


@dataclasses.dataclass(frozen=True)
class LoadPlan:
    """Keep the checked parameters of `ImageLoader` that decide how images are loaded.

    Parameters
    ----------
    options : DecodeOptions
    on_error : {"raise", "fill"}
    cache : str or None
        Absolute path.
    cache_limit, n_jobs, verbose
        As in `ImageLoader`.
    """

    options: DecodeOptions
    on_error: str
    cache: str | None
    cache_limit: int
    n_jobs: int | None
    verbose: int


# Bytes of pixels that a thread holds until they are written to the cache.
_MAX_CHUNK_BYTES = 2**24


def load_images(cells, plan, rows=None, *, on_done=None):
    """Load all cells, and collect those that can't be read.

    Parameters
    ----------
    cells : list
        Sources of one image each, as `list_cells` returns them.
    plan : LoadPlan
    rows : sequence of int, default=None
        The numbers of the cells in errors; None for 0, 1, ... n_samples - 1.
    on_done : callable, default=None
        Called with the number of further cells that are done.

    Returns
    -------
    images : ndarray of shape (n_samples, height, width, n_channels)
        Background in the rows that can't be read.
    errors : list of tuple (int, str, str)
        As in `ImageLoadError`, in the order of rows.

    Raises
    ------
    ImageLoadError
        If there are errors and the plan's on_error is "raise".
    """
    options = plan.options
    background = make_background(options)
    images = np.empty((len(cells), *background.shape), dtype=background.dtype)
    failures = {}
    cache = None
    if plan.cache is not None:
        cache = PixelCache(plan.cache, plan.cache_limit, options)

    def load_chunk(chunk):
        found = _read_cells([cells[place] for place in chunk], options, cache)
        n_done = len(chunk)
        for place, pixels in zip(chunk, found, strict=True):
            if isinstance(pixels, ImageLoadError):
                failures[place] = pixels
                pixels = background
                n_done -= plan.on_error == "raise"  # no full bar before an error
            write_pixels(pixels, images[place])
        return n_done

    run_chunks(
        load_chunk,
        len(cells),
        max_size=max(1, _MAX_CHUNK_BYTES // background.nbytes),
        n_jobs=plan.n_jobs,
        verbose=plan.verbose,
        description="Loading",
        on_done=on_done,
    )
    if cache is not None:
        warn_of_problem(cache)
    errors = [
        (place if rows is None else int(rows[place]), error.path, error.reason)
        for place, error in sorted(failures.items())
    ]
    if errors and plan.on_error == "raise":
        raise ImageLoadError(errors) from failures[min(failures)].__cause__
    return images, errors


def _read_cells(cells, options, cache):
    """Yield the pixels of each cell, or its ImageLoadError."""
    if cache is None:
        for cell in cells:
            yield _decode(cell, options)
        return
    keys = [cache.key_of(cell) for cell in cells]
    pixels, damaged = cache.load([key for key in keys if key is not None])
    new = {}
    for cell, key in zip(cells, keys, strict=True):
        if key is None or key not in pixels:
            decoded = _decode(cell, options)
            is_good = not isinstance(decoded, ImageLoadError)
            # A symbolic link may lead to another file since the key was made.
            if key is not None and is_good and cache.key_of(cell) == key:
                pixels[key] = new[key] = decoded
            yield decoded
        else:
            yield pixels[key]
    cache.store(new, damaged)


def _decode(cell, options):
    try:
        return decode_pixels(cell, options)
    except ImageLoadError as error:
        return _forget_frames(error)


def _forget_frames(error):
    """Remove the tracebacks of an error: their frames keep decoded pixels alive."""
    part = error
    while part is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error
