"""Make cache keys for decoded images, and keep their pixels in a store."""

import contextlib
import dataclasses
import hashlib
import os

import numpy as np
import PIL

import skimgclf
from skimgclf._file_identity import identify_file
from skimgclf._store import open_store
from skimgclf._validation import NONE, a_path, an_int, expand_path, warn_user
from skimgclf.exceptions import ImageCacheWarning
from skimgclf.images._decoding.colour import N_CHANNELS
from skimgclf.images._decoding.open import find_file
from skimgclf.images._urls import UrlReader

# 10 GiB: a million images of 100 x 100 pixels in gray.
DEFAULT_CACHE_LIMIT = 10 * 2**30


def _make_absolute(directory):
    if directory is None:
        return None
    directory = expand_path(directory)
    # In a working directory that was deleted, the store says what is missing.
    with contextlib.suppress(OSError):
        directory = os.path.abspath(directory)
    return directory


CACHE_RULES = {
    "cache": dataclasses.replace(a_path("a directory") | NONE, convert=_make_absolute),
    "cache_limit": dataclasses.replace(
        an_int(1), expected="a number of bytes, an int of at least 1"
    ),
}


class PixelCache:
    """The decoded pixels of images, for one set of options.

    Parameters
    ----------
    directory : str
        Absolute path of the store.
    limit : int
        Bytes to keep in all.
    options : DecodeOptions
        How images are decoded. Their dtype doesn't matter, since pixels are cached
        before they are converted to it.
    """

    def __init__(self, directory, limit, options):
        self._store = open_store(directory)
        self._limit = limit
        self._url_reader = UrlReader(options.storage_options)
        self._shape = (*options.image_size, N_CHANNELS[options.color_mode])
        # Another version of Pillow or of this package may decode another way.
        versions = (PIL.__version__, skimgclf.__version__)
        decides = dataclasses.replace(options, dtype=None), versions
        self._start = hashlib.blake2b(repr(decides).encode(), digest_size=24)

    def key_of(self, cell):
        """Return the key of a cell, or None for a source that isn't cached.

        The key of a file is made of its path, size, times, inode and device; the key of
        a URL, of the URL and its fingerprint. Bytes are hashed themselves. PIL images
        and arrays have no key.
        """
        key = self._start.copy()
        if isinstance(cell, bytes):
            key.update(b"bytes")
            key.update(cell)
            return key.digest()
        if not isinstance(cell, str | os.PathLike):
            return None
        try:
            path = find_file(cell)
            if path is None:
                return self._key_of_url(key, cell)
            path = os.fsencode(path)
            # As it was given: "link/../a" is another file than "a", and "a/" is none.
            identity = identify_file(path)
        except Exception:  # the decoder raises it again, with the name of the file
            return None
        if identity is None:
            return None
        key.update(repr((*identity, os.path.abspath(path))).encode())
        return key.digest()

    def _key_of_url(self, key, url):
        fingerprint = self._url_reader.read_fingerprint(url)
        if fingerprint is None:
            return None
        key.update(f"{url} {fingerprint}".encode())
        return key.digest()

    def load(self, keys):
        """Find pixels.

        Parameters
        ----------
        keys : list of bytes

        Returns
        -------
        pixels : dict of bytes to ndarray of shape (height, width, n_channels)
            uint8 or float32, as they were decoded.
        damaged : set of bytes
            The keys of pixels with a wrong checksum.
        """
        values, damaged = self._store.load(keys)
        n_values = int(np.prod(self._shape))
        dtypes = {n_values: np.uint8, 4 * n_values: np.float32}
        pixels = {
            key: np.frombuffer(value, dtypes[len(value)]).reshape(self._shape)
            for key, value in values.items()
            if len(value) in dtypes
        }
        return pixels, damaged

    def store(self, pixels, damaged):
        """Keep pixels by their keys, in place of `damaged` ones."""
        values = {key: image.tobytes() for key, image in pixels.items()}
        self._store.store(values, damaged, self._limit)

    def take_problem(self):
        """Return a sentence on the first failure, once; then None."""
        return self._store.take_problem()


def warn_of_problem(cache):
    """Warn of the first failure of a cache, once."""
    problem = cache.take_problem()
    if problem is not None:
        message = f"{problem}. Without it, results are computed again each time."
        warn_user(message, ImageCacheWarning)
