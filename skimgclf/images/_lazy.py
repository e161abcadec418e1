"""Decode images of an array-like only when they are needed: LazyImages."""

import dataclasses
import operator

import numpy as np

from skimgclf._validation import warn_user
from skimgclf.exceptions import ImageLoadWarning, SkimgclfWarning
from skimgclf.images._decoding.colour import N_CHANNELS
from skimgclf.images._load_many import load_images
from skimgclf.images._threads import count_threads

# Bytes of one array of all images above which a warning is given.
_LARGE = 2**30


class LazyImages:
    """Images that stand on disk until they are needed.

    :class:`~skimgclf.ImageLoader` returns it with ``lazy=True``. It has the
    shape and dtype of the array of all images, but holds only where they come from.
    :class:`~skimgclf.KerasImageClassifier` reads it batch by batch, so that memory
    doesn't grow with the number of images.

    Indexing with an int decodes one image. Indexing with a slice, an array of ints or a
    mask selects images without decoding them, and ``np.asarray(X)`` decodes all.

    Parameters
    ----------
    cells : list of length n_samples
        Where each image comes from.
    plan : LoadPlan
        How they are loaded.
    rows : ndarray of int of shape (n_samples,), default=None
        The numbers of the images in errors: by default 0, 1, ... n_samples - 1.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, height, width, n_channels).
    ndim : int
        4.
    dtype : dtype
        float32 (values in [0, 1]) or uint8 (values in [0, 255]).
    nbytes : int
        Bytes of all images as one array.

    See Also
    --------
    skimgclf.ImageLoader : Makes it.

    Notes
    -----
    An image that can't be read is found when it is decoded: `ImageLoadError` then lists
    the bad files among those read at once. :func:`skimgclf.check_images` finds all of
    them beforehand.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skimgclf import ImageLoader
    >>> folder = tempfile.mkdtemp()
    >>> paths = [os.path.join(folder, f"{gray}.png") for gray in [0, 51, 255]]
    >>> for path, gray in zip(paths, [0, 51, 255]):
    ...     Image.new("L", (50, 40), gray).save(path)
    >>> X = ImageLoader(image_size=(2, 3), lazy=True).transform(paths)
    >>> X
    LazyImages(shape=(3, 2, 3, 1), dtype=float32)
    >>> X[1:]
    LazyImages(shape=(2, 2, 3, 1), dtype=float32)
    >>> X[1].shape
    (2, 3, 1)
    >>> np.asarray(X)[:, 0, 0, 0]
    array([0. , 0.2, 1. ], dtype=float32)
    """

    def __init__(self, cells, plan, rows=None):
        self._cells = cells
        self._plan = plan
        self._rows = np.arange(len(cells)) if rows is None else rows

    @property
    def shape(self):
        options = self._plan.options
        return len(self), *options.image_size, N_CHANNELS[options.color_mode]

    @property
    def ndim(self):
        return 4

    @property
    def dtype(self):
        return np.dtype(self._plan.options.dtype)

    @property
    def nbytes(self):
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    @property
    def n_threads(self):
        """How many threads the loader's `n_jobs` means here."""
        return count_threads(self._plan.n_jobs)

    def __len__(self):
        return len(self._cells)

    def __repr__(self):
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, key):
        key = _find_image_key(key)
        if isinstance(key, slice):
            return self._select(self._cells[key], self._rows[key])
        if isinstance(key, int):
            rows = self._rows[[key]]  # first: NumPy names an index out of bounds
            return self._select([self._cells[key]], rows)._load()[0]
        rows = self._rows[key]
        places = np.flatnonzero(key) if key.dtype.kind == "b" else key
        return self._select([self._cells[place] for place in places.tolist()], rows)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("LazyImages can't become an array without decoding.")
        if self.nbytes > _LARGE:
            warn_user(
                f"All {len(self)} images are decoded into one array of "
                f"{self.nbytes / 2**30:.1f} GiB. KerasImageClassifier takes LazyImages "
                "as they are, batch by batch.",
                SkimgclfWarning,
            )
        return self._load().astype(self.dtype if dtype is None else dtype, copy=False)

    def read(self, key):
        """Decode a part of the images in this thread.

        Parameters
        ----------
        key : slice or array of int
            The rows.

        Returns
        -------
        images : ndarray of shape (n_selected, height, width, n_channels)
        errors : list of tuple (int, str, str)
            The images that were replaced by background, with ``on_error="fill"``: row,
            path and reason.

        Raises
        ------
        ImageLoadError
            If images can't be read, and the loader's `on_error` is "raise".
        """
        part = self[key]
        plan = dataclasses.replace(self._plan, n_jobs=1, verbose=0)
        return load_images(part._cells, plan, part._rows)

    def _load(self):
        images, errors = load_images(self._cells, self._plan, self._rows)
        if errors:
            warn_user(ImageLoadWarning(errors))
        return images

    def _select(self, cells, rows):
        return type(self)(cells, self._plan, rows)


def _find_image_key(key):
    """Return the part of a key that selects images; there may be no other."""
    if isinstance(key, tuple):
        first, *others = key or (slice(None),)
        if any(not (part is Ellipsis or part == slice(None)) for part in others):
            raise IndexError(
                "LazyImages are selected by the first axis only. To select pixels, "
                "decode first: np.asarray(X[rows])[:, ...]."
            )
        key = first
    if key is Ellipsis:
        return slice(None)
    if isinstance(key, slice):
        return key
    if not isinstance(key, bool | np.bool_):
        try:
            return operator.index(key)
        except TypeError:
            pass
    key = np.asarray(key)
    if key.size == 0 and key.dtype == float:  # an empty list
        key = key.astype(int)
    if key.ndim != 1 or key.dtype.kind not in "biu":
        raise IndexError(
            "LazyImages are indexed by an int, a slice, a 1-D array of ints or a mask."
        )
    return key
