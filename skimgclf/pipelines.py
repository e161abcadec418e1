"""Make a ready pipeline by the kind of images: make_image_pipeline."""

from sklearn.pipeline import Pipeline

from skimgclf._validation import ParameterTable, one_of
from skimgclf.images import ImageLoader
from skimgclf.models import ImageEmbedder, KerasImageClassifier

# The training of small residual networks; see docs/accuracy.md for the figures.
_ONE_CYCLE = {"optimizer": "adam", "learning_rate_schedule": "one_cycle"}

# The parameters of each step, where they differ from the step's defaults.
_KINDS = {
    "textbook": {"load": {}, "classify": {}},
    "digits": {
        "load": {"image_size": (28, 28), "color_mode": "grayscale"},
        "classify": {
            **_ONE_CYCLE,
            "architecture": "resnet",
            "learning_rate": 0.01,
            "weight_decay": 0.05,
            "batch_size": 64,
            "epochs": 5,
            "augmentation": "light",
        },
    },
    "photos": {
        "load": {"image_size": (64, 64), "color_mode": "rgb"},
        "classify": {
            **_ONE_CYCLE,
            "architecture": "resnet",
            "learning_rate": 0.02,
            "weight_decay": 0.05,
            "batch_size": 32,
            "epochs": 30,
            "augmentation": ["flip", "crop"],
        },
    },
    "few_photos": {
        "load": {"image_size": (224, 224), "color_mode": "rgb", "resize_mode": "pad"},
        "embed": {"backbone": "EfficientNetLite0"},
        "classify": {
            "hidden_layer_sizes": (),
            "learning_rate": 0.001,
            "epochs": 50,
        },
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
    """Make an unfitted pipeline by the kind of images.

    Parameters
    ----------
    kind : {"textbook", "digits", "photos", "few_photos"}
        TODO
    image_size : tuple of two int, default=None
        Height and width that images are resized to, in pixels; None for that of the
        kind.
    cache : str or os.PathLike, default=None
        A directory in which decoded images, and features of "few_photos", are kept.
    n_jobs : int, default=None
        Number of processes or threads that decode images, as in
        :class:`~skimgclf.ImageLoader`.
    random_state : int, RandomState instance or None, default=None
        Of the classifier.
    verbose : int, default=0
        1 shows the progress of loading and a line for each epoch.
    **classifier_parameters : dict
        Parameters of :class:`~skimgclf.KerasImageClassifier`, in place of the kind's.

    Returns
    -------
    pipeline : sklearn.pipeline.Pipeline
        The steps "load" (:class:`~skimgclf.ImageLoader`), with "few_photos" "embed"
        (:class:`~skimgclf.ImageEmbedder`), and "classify"
        (:class:`~skimgclf.KerasImageClassifier`).

    Raises
    ------
    InvalidParameterError
        If `kind` is none of these.
    TypeError
        If KerasImageClassifier has no parameter of a given name.

    See Also
    --------
    sklearn.pipeline.make_pipeline : Make a pipeline of given steps.

    Examples
    --------
    >>> from skimgclf import make_image_pipeline
    >>> pipeline = make_image_pipeline("photos", epochs=10, random_state=0)
    >>> pipeline
    """
    _TABLE.check({"kind": kind})
    recipe = _KINDS[kind]
    common = {
        "load": {"cache": cache, "n_jobs": n_jobs, "verbose": verbose},
        "embed": {"cache": cache},
        "classify": {"random_state": random_state, "verbose": verbose},
    }
    if image_size is not None:
        common["load"]["image_size"] = image_size
    common["classify"] |= classifier_parameters
    return Pipeline(
        [
            (name, _STEPS[name](**{**parameters, **common[name]}))
            for name, parameters in recipe.items()
        ]
    )
