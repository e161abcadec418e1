"""save_model and load_model: a classifier or a pipeline in a file without code."""

import datetime
import re

import keras
import numpy as np
import PIL
import sklearn
import tensorflow
from sklearn.pipeline import Pipeline

import skimgclf
from skimgclf._validation import (
    check_bool,
    check_keys,
    parameter_error,
    warn_user,
)
from skimgclf.exceptions import InvalidParameterError, ModelFileError, ModelFileWarning
from skimgclf.images import ImageLoader
from skimgclf.models import ImageEmbedder, KerasImageClassifier
from skimgclf.models._embedder import describe_embedder, restore_embedder
from skimgclf.models._plain_state import describe_classifier, restore_classifier
from skimgclf.saving._archive import read_archive, write_archive
from skimgclf.saving._steps import PASSTHROUGH, is_passthrough, list_steps
from skimgclf.saving._values import decode, encode

_FORMAT = 1
_ENTRIES = ["format", "date", "versions", "pipeline", "steps", "learnt"]
_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
_MAX_MESSAGE = 300

# What stays here of a loader: its folder, and options that may be credentials.
_OF_THIS_MACHINE = {"cache": None, "storage_options": None}


def save_model(model, path, *, include_optimizer=False):
    """Save a trained classifier or pipeline in one file that holds no code.

    The file is a zip of ``model.json`` (parameters, classes, history, versions) and
    ``network.keras``. It appears in one step: a kill, a full disk or Ctrl-C leaves an
    older file of that name as it was.

    Parameters
    ----------
    model : KerasImageClassifier or Pipeline
        Fitted. The steps of a pipeline may be an ImageLoader, an ImageEmbedder,
        "passthrough" and, at the end, a KerasImageClassifier. Of a search, save
        ``best_estimator_``.
    path : str or os.PathLike
        Where to; any name will do.
    include_optimizer : bool, default=False
        Whether to keep what the optimizer has learnt, two thirds of the size for Adam.
        Without it, training a loaded classifier further starts with a new optimizer.

    Raises
    ------
    InvalidParameterError
        If there is something in the model that can't be kept without code.
    sklearn.exceptions.NotFittedError
        If the classifier isn't fitted.
    OSError
        If the file can't be written.

    See Also
    --------
    load_model : Load the file.

    Notes
    -----
    What is kept are the parameters and what `fit` has learnt; other attributes, such as
    the requests of `set_fit_request`, are not. The network's layers and the optimizer
    must be Keras' own, and without `keras.layers.Lambda`; `callbacks` must be None. A
    loader's `cache` is left out, since who loads the file has other folders, and so are
    its `storage_options`, which may hold credentials.

    Of a callable ``architecture`` only the name is kept. The loaded classifier predicts
    and can be trained further; before it can be fitted anew, it needs
    ``set_params(architecture=...)``.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from skimgclf import KerasImageClassifier, load_model, save_model
    >>> X, y = np.eye(4), ["cat", "dog", "cat", "dog"]
    >>> classifier = KerasImageClassifier(epochs=1, random_state=0).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "pets.skimgclf")
    >>> save_model(classifier, path)
    >>> loaded = load_model(path)
    >>> loaded.classes_
    array(['cat', 'dog'], dtype='<U3')
    >>> np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    True
    """
    check_bool("save_model", "include_optimizer", include_optimizer)
    steps = list_steps("save_model", model)
    if type(model) is Pipeline and model.memory is not None:
        raise parameter_error(
            "the Pipeline",
            "memory",
            "None to be saved, since it is a folder of this machine: call "
            "set_params(memory=None)",
            model.memory,
        )
    classifier = steps[-1][1]
    try:
        parameters, learnt, network = describe_classifier(
            classifier, include_optimizer=include_optimizer
        )
    except ValueError as error:
        if isinstance(error, InvalidParameterError | sklearn.exceptions.NotFittedError):
            raise
        raise InvalidParameterError(str(error)) from error
    described = [_describe_step(*step, parameters) for step in steps]
    document = {
        "format": _FORMAT,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _list_versions(),
        "pipeline": _describe_pipeline(model),
        "steps": described,
        "learnt": _encode_all("what fit has learnt", learnt),
    }
    write_archive(path, document, network)


def load_model(path):
    """Load a file of `save_model`, without running code from it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    model : KerasImageClassifier or Pipeline
        Predicts the same probabilities, bit for bit, on a machine of the same kind with
        the same versions.

    Raises
    ------
    ModelFileError
        If the file is damaged, holds anything that `save_model` doesn't write, or was
        written by a version of skimgclf with a newer format.
    OSError
        If it can't be read.

    Warns
    -----
    ModelFileWarning
        If it was saved with another version of Keras.

    See Also
    --------
    save_model : Write the file, with an example.

    Notes
    -----
    A stranger's file can't run code, but it can hold a network that predicts whatever
    its author wants, or one whose layers need more memory than this machine has.

    Examples
    --------
    >>> import os, tempfile
    >>> from skimgclf import load_model
    >>> path = os.path.join(tempfile.mkdtemp(), "model")
    >>> with open(path, "wb") as file:
    ...     n_bytes = file.write(b"no model")
    >>> try:
    ...     load_model(path)
    ... except ValueError as error:
    ...     print(str(error).split("model' ")[1])
    (8 bytes) is damaged, or wasn't written by save_model: it can't be read as a zip
    archive (File is not a zip file).
    """
    document, network, size = read_archive(path)
    versions = _check_versions(path, size, document)
    try:
        model = _restore(document, network)
    # Keras raises errors of every kind of what doesn't fit.
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None):
            raise  # of this machine: no memory, a full disk
        raise ModelFileError(
            path,
            size,
            "holds what save_model doesn't write or what doesn't fit the versions here "
            f"(saved with Keras {versions['keras']}, loaded with {keras.__version__}): "
            f"{_first_line(error)}",
        ) from error
    _warn_of_versions(path, versions)
    return model


def _first_line(error):
    """Return the start of a message, which may quote what a stranger wrote."""
    line = (str(error).splitlines() or [type(error).__name__])[0][:_MAX_MESSAGE]
    # Escaped, since a terminal would obey control characters.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _describe_pipeline(model):
    if type(model) is KerasImageClassifier:
        return None
    # Pipelines have transform_input since scikit-learn 1.6.
    kept = {"transform_input": model.transform_input, "verbose": bool(model.verbose)}
    return _encode_all("the Pipeline", kept)


def _describe_step(name, step, classifier_parameters):
    if is_passthrough(step):
        return {"name": name, "type": PASSTHROUGH, "parameters": {}}
    kind = type(step).__name__
    parameters, learnt = classifier_parameters, {}
    if type(step) is ImageLoader:
        step.fit(None)  # bad values would be refused when the file is loaded
        parameters = {**step.get_params(deep=False), **_OF_THIS_MACHINE}
    elif type(step) is ImageEmbedder:
        parameters, described = describe_embedder(step)
        learnt = {"learnt": _encode_all("what fit has learnt", described)}
    return {
        "name": name,
        "type": kind,
        "parameters": _encode_all(kind, parameters),
        **learnt,
    }


def _encode_all(owner, values):
    encoded = {}
    for name, value in values.items():
        try:
            encoded[name] = encode(value)
        except TypeError as error:
            raise InvalidParameterError(
                f"The {name!r} parameter of {owner} can't be saved without code: "
                f"{error}. Set it to a plain value with set_params, which changes "
                "nothing about what was learnt, or use joblib."
            ) from error
    return encoded


def _list_versions():
    modules = (keras, tensorflow, sklearn, np, PIL)
    names = ("keras", "tensorflow", "scikit-learn", "numpy", "pillow")
    found = {n: m.__version__ for n, m in zip(names, modules, strict=True)}
    return {"skimgclf": skimgclf.__version__, **found}


def _check_versions(path, size, document):
    """Refuse another format, and return the versions that wrote the file."""
    saved_in = document.get("format")
    if type(saved_in) is int and saved_in > _FORMAT:
        raise ModelFileError(
            path,
            size,
            f"has format {saved_in}, and skimgclf {skimgclf.__version__} reads format "
            f"{_FORMAT}: update skimgclf",
        )
    versions = document.get("versions")
    if saved_in != _FORMAT or type(saved_in) is not int:
        reason = f"wasn't written by save_model: its format is {saved_in!r}"
        raise ModelFileError(path, size, reason)
    if not isinstance(versions, dict) or not all(
        isinstance(versions.get(name), str)
        and re.fullmatch(r"\d[\w.+!-]{0,60}", versions[name])
        for name in _list_versions()
    ):
        raise ModelFileError(path, size, "doesn't say which versions wrote it")
    if not re.fullmatch(_DATE, str(document.get("date"))):
        raise ModelFileError(path, size, "doesn't say when it was written")
    return versions


def _warn_of_versions(path, versions):
    saved = versions["keras"].split(".")[:2]
    if saved != keras.__version__.split(".")[:2]:
        warn_user(
            f"{str(path)!r} was saved with Keras {versions['keras']} and loaded with "
            f"Keras {keras.__version__}: predictions may differ in the last digits.",
            ModelFileWarning,
        )


def _restore(document, network):
    check_keys("model.json", document, _ENTRIES)
    steps, learnt = document["steps"], document["learnt"]
    if not isinstance(steps, list) or not steps or not isinstance(learnt, dict):
        raise ValueError("model.json must hold a list of steps and what was learnt")
    learnt = {name: decode(value) for name, value in learnt.items()}
    *first, last = steps
    restored = [_restore_step(step) for step in first]
    name, kind, parameters, _ = _read_step(last)
    if kind != KerasImageClassifier.__name__:
        raise ValueError(f"the last step must be a KerasImageClassifier, not {kind!r}")
    classifier = restore_classifier(parameters, learnt, network)
    if document["pipeline"] is None:
        if restored or name is not None:
            raise ValueError("steps in front of a classifier, but no pipeline")
        return classifier
    check_keys("pipeline", document["pipeline"], ["transform_input", "verbose"])
    kept = {name: decode(value) for name, value in document["pipeline"].items()}
    check_bool("the Pipeline", "verbose", kept["verbose"])
    names = kept["transform_input"]
    if not isinstance(names, list | None) or not all(
        isinstance(name, str) for name in names or ()
    ):
        raise ValueError(f"transform_input must be a list of names, not {names!r}")
    pipeline = Pipeline([*restored, (name, classifier)], **kept)
    pipeline._validate_names([name for name, _ in pipeline.steps])
    return pipeline


def _restore_step(step):
    name, kind, parameters, learnt = _read_step(step)
    if kind == PASSTHROUGH and not parameters:
        return name, PASSTHROUGH
    if kind == ImageEmbedder.__name__:
        return name, restore_embedder(parameters, learnt)
    if kind != ImageLoader.__name__:
        raise ValueError(f"unknown step {name!r} of type {kind!r}")
    if parameters.get("cache") is not None:
        raise ValueError(f"step {name!r} names a folder of this machine as its cache")
    if parameters.get("storage_options") is not None:
        raise ValueError(f"step {name!r} brings options for opening URLs")
    return name, ImageLoader(**parameters).fit(None)


def _read_step(step):
    """Return a step's name, type, parameters, and what an embedder has learnt."""
    with_learnt = isinstance(step, dict) and step.get("type") == ImageEmbedder.__name__
    parts = ["parameters", "learnt"] if with_learnt else ["parameters"]
    check_keys("a step", step, ["name", "type", *parts])
    name, kind = step["name"], step["type"]
    if not isinstance(name, str | None) or not isinstance(kind, str):
        raise ValueError(f"a step must have a name and a type, not {name!r}, {kind!r}")
    decoded = []
    for part in parts:
        if not isinstance(step[part], dict):
            raise ValueError(f"the {part} of step {name!r} is no JSON object")
        decoded.append({key: decode(value) for key, value in step[part].items()})
    parameters, learnt = (*decoded, None)[:2]
    return name, kind, parameters, learnt
