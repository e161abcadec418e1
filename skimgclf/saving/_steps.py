"""Taking a model apart: which models and steps can be saved and exported."""

from sklearn.pipeline import Pipeline

from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.models import ImageEmbedder, KerasImageClassifier

PASSTHROUGH = "passthrough"
_TRANSFORMERS = (ImageLoader, ImageEmbedder)


def list_steps(owner, model):
    """List the steps of a model, the classifier as the last.

    Parameters
    ----------
    owner : str
        The function that was given the model, for sentences.
    model : object
        Whatever it was given.

    Returns
    -------
    steps : list of tuple (str or None, estimator or str)
        Name and step; None is the name of a classifier without a pipeline.

    Raises
    ------
    InvalidParameterError
        If it is another model, or one of its steps is; not a subclass either, which
        may do anything.
    """
    if type(model) is KerasImageClassifier:
        return [(None, model)]
    if hasattr(model, "best_estimator_"):
        raise InvalidParameterError(
            f"The 'model' parameter of {owner} can't be a {type(model).__name__}: give "
            "it search.best_estimator_ instead."
        )
    if type(model) is not Pipeline:
        raise _refuse(owner, f"Got a {type(model).__name__} instead")
    for name, step in model.steps[:-1]:
        if type(step) not in _TRANSFORMERS and not is_passthrough(step):
            raise _refuse(owner, f"Its step {name!r} is {_name_type(step)}")
    name, last = model.steps[-1]
    if type(last) is not KerasImageClassifier:
        raise _refuse(owner, f"Its last step, {name!r}, is {_name_type(last)}")
    return model.steps


def is_passthrough(step):
    """Tell whether a step is the word that scikit-learn has for none."""
    return isinstance(step, str) and step == PASSTHROUGH


def _name_type(step):
    return repr(step) if isinstance(step, str) else f"a {type(step).__name__}"


def _refuse(owner, but):
    return InvalidParameterError(
        f"The 'model' parameter of {owner} must be a KerasImageClassifier, or a "
        "Pipeline of ImageLoader, ImageEmbedder, 'passthrough' and a "
        "KerasImageClassifier at the end. "
        f"{but}; use joblib or skops for others."
    )
