"""Load image files into one array, as a scikit-learn transformer: ImageLoader."""

import math

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if

from skimgclf._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from skimgclf._validation import (
    TRUE_OR_FALSE,
    VERBOSE,
    ParameterTable,
    one_of,
    pick_fields,
    warn_user,
)
from skimgclf.exceptions import ImageLoadWarning
from skimgclf.images._cache import CACHE_RULES, DEFAULT_CACHE_LIMIT
from skimgclf.images._decoding.colour import N_CHANNELS
from skimgclf.images._decoding.options import (
    DECODE_RULES,
    DEFAULT_MAX_PIXELS,
    DecodeOptions,
)
from skimgclf.images._input_forms import list_images
from skimgclf.images._lazy import LazyImages
from skimgclf.images._load_many import LoadPlan, load_images
from skimgclf.images._secrets import hide_values
from skimgclf.images._threads import N_JOBS

TABLE = ParameterTable(
    "ImageLoader",
    {
        **DECODE_RULES,
        "flatten": TRUE_OR_FALSE,
        "on_error": one_of("raise", "fill"),
        **CACHE_RULES,
        "lazy": TRUE_OR_FALSE,
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    },
)


class ImageLoader(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Load images from files into one array, as the first step of a pipeline.

    Row i of the result is image i, always: nothing is skipped, and an image that can't
    be read correctly is an error that names its file. The result of one image never
    depends on the others, nor on `n_jobs`.

    The loader is stateless: `transform` works without `fit`.

    Parameters
    ----------
    image_size : tuple of two int, default=(28, 28)
        Height and width to resize to.
    color_mode : {"grayscale", "rgb", "rgba"}, default="grayscale"
        The channels of the result: 1, 3 or 4. For "grayscale" and "rgb", transparent
        images are put on `background` before they are resized; "rgba" keeps
        transparency, and opaque images get an alpha of 1.
    resize_mode : {"stretch", "crop", "pad"}, default="stretch"
        How images of another aspect ratio are treated: "stretch" changes it, "crop"
        cuts off both ends of the longer side alike, "pad" fills the rest with
        `background`.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}, \
default="bilinear"
        Pillow's filters by Keras' names, antialiased except for "nearest".
    background : str or tuple of three int, default="white"
        A colour name or hexadecimal colour as Pillow knows them, or red, green and blue
        in [0, 255]: behind transparent pixels, around padded images, and in place of
        unreadable ones with ``on_error="fill"``.
    dtype : {"float32", "uint8"}, default="float32"
        "float32" gives values in [0, 1], "uint8" in [0, 255].
    flatten : bool, default=False
        Whether to give one row of numbers an image, (n_samples, height * width *
        n_channels), as other estimators than networks expect. For float32 only.
    on_error : {"raise", "fill"}, default="raise"
        Whether images that can't be read raise one `ImageLoadError` that lists them
        all, or become `background` with one `ImageLoadWarning` that lists them.
    max_pixels : int, default=89_478_485
        Images with more pixels are refused before they are decoded.
    color_management : bool, default=True
        Whether to convert colours to sRGB where the file says that they are others (by
        an ICC profile, as iPhones and cameras write them, or in the way of their
        format, such as chunks of PNG).
        False gives the numbers as they are stored.
    storage_options : dict, default=None
        Options of fsspec for URLs, by their names, as ``fsspec.open`` takes them:
        ``{"endpoint_url": ...}``, or for a chain of protocols
        ``{"s3": {"endpoint_url": ...}}``. Their values are never shown, but they are
        pickled with the loader: leave credentials to the environment, where services
        look for them.
    cache : str or os.PathLike, default=None
        A directory on a local disk in which decoded images are kept, so that each file
        is decoded once, for all folds, candidates and processes of a search and for
        later runs. It is made if its parent exists; delete it to clear it. None for no
        cache.
    cache_limit : int, default=10_737_418_240
        Bytes that the cache may take (10 GiB): the images that weren't used for longest
        leave first.
    lazy : bool, default=False
        Whether to return :class:`~skimgclf.LazyImages`, which
        `KerasImageClassifier` decodes batch by batch, instead of an array: for more
        images than memory holds. Without `cache`, they are decoded in each epoch.
    n_jobs : int, default=None
        How many threads decode. None means 1 unless in a :func:`joblib.parallel_config`
        context; -1 means one per processor. Images that are read within 0.3 ms stay in
        one thread, which is faster then.
    verbose : int, default=0
        Above 0, a progress bar is shown on stderr.

    See Also
    --------
    skimgclf.check_images : Find the images that can't be read beforehand.
    skimgclf.images.read_image : Read one image.

    Notes
    -----
    In searches, set ``error_score="raise"``: scikit-learn's default turns a bad image
    into NaN scores.

    A string with ``://`` or ``::`` that is no file on disk is a URL, which fsspec reads
    (``pip install "skimgclf[remote]"``): ``https://host/cat.png``,
    ``zip://cat.png::train.zip``, ``s3://bucket/cat.png`` and so on. A file is read
    whole, of up to 1 GiB.

    The cache knows a file by its absolute path, size, times of change and inode, and
    keeps images for each set of options and each version of Pillow and of this package.
    It can't see that a file was rewritten with all of these the same. Files that
    changed within the last 20 ms aren't kept. It knows a URL by the mark of the content
    that its file system gives (ETag, MD5 or CRC), and doesn't keep it without one. A
    cache that is damaged, full or can't be written costs time and an
    `ImageCacheWarning`, but never an error or wrong pixels.
    The cache isn't for network mounts, where locks of files may lock nothing.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from skimgclf.images import ImageLoader
    >>> folder = tempfile.mkdtemp()
    >>> paths = [os.path.join(folder, f"{name}.png") for name in (0, 255)]
    >>> for path, level in zip(paths, [0, 255]):
    ...     Image.new("L", (50, 40), level).save(path)
    >>> X = ImageLoader(image_size=(2, 3)).transform(paths)
    >>> X.shape
    (2, 2, 3, 1)
    >>> X[:, 0, 0, 0]
    array([0., 1.], dtype=float32)
    """

    def __init__(
        self,
        *,
        image_size=(28, 28),
        color_mode="grayscale",
        resize_mode="stretch",
        interpolation="bilinear",
        background="white",
        dtype="float32",
        flatten=False,
        on_error="raise",
        max_pixels=DEFAULT_MAX_PIXELS,
        color_management=True,
        storage_options=None,
        cache=None,
        cache_limit=DEFAULT_CACHE_LIMIT,
        lazy=False,
        n_jobs=None,
        verbose=0,
    ):
        self.image_size = image_size
        self.color_mode = color_mode
        self.resize_mode = resize_mode
        self.interpolation = interpolation
        self.background = background
        self.dtype = dtype
        self.flatten = flatten
        self.on_error = on_error
        self.max_pixels = max_pixels
        self.color_management = color_management
        self.storage_options = storage_options
        self.cache = cache
        self.cache_limit = cache_limit
        self.lazy = lazy
        self.n_jobs = n_jobs
        self.verbose = verbose

    @with_callbacks
    def fit(self, X, y=None):
        """Check the parameters; nothing is learnt and no image is read.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Ignored.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : ImageLoader

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value.
        """
        self._check_parameters()
        task = FitTask(self, X, y)
        task.start(0)
        task.end()
        return self

    @with_callbacks
    def fit_transform(self, X, y=None):
        """Load images, as `transform` does, and report the progress to callbacks.

        Parameters
        ----------
        X : list, tuple, array, Series or one-column DataFrame of length n_samples
            Images, as in `transform`.
        y : object, default=None
            Ignored.

        Returns
        -------
        images : ndarray or LazyImages
            As in `transform`.
        """
        task = FitTask(self, X, y)
        images = self._load(X, task)
        task.end()
        return images

    def transform(self, X):
        """Load images.

        Parameters
        ----------
        X : list, tuple, array, Series or one-column DataFrame of length n_samples
            Of NumPy, pandas, polars or pyarrow.
            One image a cell (an array may have the shape (n_samples, 1)). A cell is a
            path (str or os.PathLike; ``~`` is the home folder), a URL, the bytes of an
            image file, a binary file that is open, ``{"bytes": ..., "path": ...}`` of
            Hugging Face's, a PIL image, or an array of shape (height, width) or
            (height, width, 1, 3 or 4), uint8 or float in [0, 1]. An array of shape
            (n_samples, height, width[, n_channels]) is n_samples decoded images.

        Returns
        -------
        images : ndarray or LazyImages
            Of shape (n_samples, height, width, n_channels), channels last, or
            (n_samples, height * width * n_channels) with `flatten`; float32 in [0, 1]
            or uint8 in [0, 255], in C order.

        Raises
        ------
        InvalidParameterError
            If a parameter has an invalid value, or if X isn't a list of images.
        ImageLoadError
            If images can't be read correctly and `on_error` is "raise"; all are listed.
        ImportError
            If images are URLs, and a package that reads them isn't installed.

        Warns
        -----
        ImageLoadWarning
            If images can't be read correctly and `on_error` is "fill".
        ImageCacheWarning
            If the cache can't be used, once for each directory and process.
        """
        return self._load(X)

    def _load(self, X, task=None):
        plan = self._check_parameters()
        cells = list_images(type(self).__name__, X)
        if task is not None:
            task.start_rows(0 if self.lazy else len(cells))
        if self.lazy:
            return LazyImages(cells, plan)
        on_done = None if task is None else task.count_rows
        images, errors = load_images(cells, plan, on_done=on_done)
        if errors:
            warn_user(ImageLoadWarning(errors))
        return images.reshape(len(images), -1) if self.flatten else images

    def get_params(self, deep=True):
        """Return the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Ignored: no parameter has parameters of its own.

        Returns
        -------
        params : dict of str to object
            By their names. Where `storage_options` are printed, as by scikit-learn for
            this loader and for whatever holds it, their values don't appear.
        """
        parameters = super().get_params(deep)
        if "storage_options" in parameters:  # a subclass may have others
            options = hide_values(parameters["storage_options"])
            parameters["storage_options"] = options
        return parameters

    @available_if(lambda loader: loader.flatten)
    def get_feature_names_out(self, input_features=None):
        """Name the columns of the output, with `flatten`.

        Without `flatten`, images aren't columns, and there is no such method.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Ignored.

        Returns
        -------
        names : ndarray of shape (height * width * n_channels,), object
            "imageloader0", "imageloader1" and so on.
        """
        options = self._check_parameters().options
        n_columns = math.prod(options.image_size) * N_CHANNELS[options.color_mode]
        name = type(self).__name__.lower()
        return np.array([f"{name}{n}" for n in range(n_columns)], dtype=object)

    def _check_parameters(self):
        """Check all parameters, and return how to load."""
        plain = TABLE.check(TABLE.read(self))
        if plain["flatten"] and plain["dtype"] != "float32":
            raise TABLE.error(
                "dtype",
                "'float32' with flatten=True, since other estimators take rows of "
                "floats",
                self.dtype,
            )
        if plain["flatten"] and plain["lazy"]:
            raise TABLE.error(
                "lazy",
                "False with flatten=True, since other estimators take all rows at once",
                self.lazy,
            )
        return pick_fields(LoadPlan, plain, options=pick_fields(DecodeOptions, plain))

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
