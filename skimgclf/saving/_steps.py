"""List the steps of a model, and refuse models that can't be saved or exported."""

import os

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skimgclf._atomic import find_replaced
from skimgclf._store_file import list_files
from skimgclf._validation import parameter_error
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.models._classifier import KerasImageClassifier
from skimgclf.models._embedder import ImageEmbedder
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.pretrained import IMAGENET

PASSTHROUGH = "passthrough"
_TRANSFORMERS = (ImageLoader, ImageEmbedder, StandardScaler)
_CLASSIFIERS = (KerasImageClassifier, LogisticRegression)


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
    if type(last) not in _CLASSIFIERS:
        raise _refuse(owner, f"Its last step, {name!r}, is {_name_type(last)}")
    return model.steps


def check_not_read(owner, steps, paths):
    """Refuse to write over a file that a model was built from, or over its cache.

    Parameters
    ----------
    owner : str
        The function that writes, for sentences.
    steps : list of tuple (str or None, estimator or str)
        From `list_steps`.
    paths : list of (str or os.PathLike)
        The files to write.

    Raises
    ------
    InvalidParameterError
        If one of `paths` is a ``.keras`` file, a file of weights or a cache of a step.
    """
    sources = list_sources(steps)
    for path in paths:
        source = find_replaced(path, sources)
        if source is not None:
            is_cache = source in _list_caches(steps)
            role = "is a cache of the model" if is_cache else "the model was built from"
            expected = f"another file than {source!r}, which {role}"
            raise parameter_error(owner, "path", expected, path)


def list_sources(steps):
    """List the ``.keras`` files, files of weights and caches of steps.

    Parameters
    ----------
    steps : list of tuple (str or None, estimator or str)
        Of a pipeline.

    Returns
    -------
    paths : list of (str or os.PathLike)
    """
    return list_built_from(steps) + _list_caches(steps)


def list_built_from(steps):
    """List the ``.keras`` files and files of weights of steps."""
    return [source for _, step in steps for source in _list_sources(step)]


def _list_caches(steps):
    folders = [getattr(step, "cache", None) for _, step in steps]
    return [path for folder in folders for path in list_files(folder)]


def _list_sources(step):
    networks = [getattr(step, name, None) for name in ("architecture", "backbone")]
    weights = getattr(step, "weights", None)
    sources = [each for each in networks if kind_of(each) is Kind.KERAS_FILE]
    is_file = isinstance(weights, str | os.PathLike) and weights != IMAGENET
    return [*sources, weights] if is_file else sources


def is_passthrough(step):
    """Tell whether a step is the word that scikit-learn has for none."""
    return isinstance(step, str) and step == PASSTHROUGH


def _name_type(step):
    return repr(step) if isinstance(step, str) else f"a {type(step).__name__}"


def _refuse(owner, but):
    return InvalidParameterError(
        f"The 'model' parameter of {owner} must be a KerasImageClassifier, or a "
        "Pipeline of ImageLoader, ImageEmbedder, StandardScaler and 'passthrough', "
        "with a KerasImageClassifier or a LogisticRegression at the end. "
        f"{but}; use joblib or skops for others."
    )
