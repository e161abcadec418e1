"""Save a model in a file that holds no code, and load it."""

import datetime
import importlib.metadata
import math
import re

import sklearn
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

import skimgclf
from skimgclf._terminal import escape_line
from skimgclf._validation import check_bool, check_keys, parameter_error, warn_user
from skimgclf.exceptions import (
    InvalidParameterError,
    ModelFileError,
    ModelFileWarning,
    first_line,
)
from skimgclf.models._fork_guard import ForkedProcessError
from skimgclf.models._training.seeds import without_training
from skimgclf.saving._classifier import UntrustedNetworkError
from skimgclf.saving._file_layout import read_model_file, write_model_file
from skimgclf.saving._pipeline import describe_model, restore_model
from skimgclf.saving._steps import check_not_read, list_steps

_FORMAT = 2
_ENTRIES = ["format", "date", "versions", "notes", "pipeline", "steps"]
_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
_MAX_MESSAGE = 300


def save_model(model, path, *, include_optimizer=False, notes=None):
    """Save a trained classifier or pipeline in one file that holds no code.

    The file holds parameters, classes, history and versions as JSON, and the weights as
    safetensors. It appears in one step: a kill, a full disk or Ctrl-C leaves an older
    file of that name as it was.

    Parameters
    ----------
    model : KerasImageClassifier or Pipeline
        Fitted. The steps of a pipeline may be an ImageLoader, an ImageEmbedder, a
        StandardScaler, "passthrough" and, at the end, a KerasImageClassifier or a
        LogisticRegression of scikit-learn. Of a search, save ``best_estimator_``.
    path : str or os.PathLike
        Where to; any name will do.
    include_optimizer : bool, default=False
        Whether to keep the optimizer's state, two thirds of the size for Adam.
        Without it, training a loaded classifier further starts with a new optimizer.
    notes : dict of str to (str, int, float or bool), default=None
        Values to keep with the model, such as ``{"accuracy": 0.93}``, for
        `read_model_info`.

    Raises
    ------
    InvalidParameterError
        If there is something in the model that can't be kept without code, or `path` is
        a file that the network was built from.
    sklearn.exceptions.NotFittedError
        If the classifier isn't fitted.
    OSError
        If the file can't be written.

    See Also
    --------
    load_model : Load the file.
    read_model_info : Read the date, the versions and the notes of the file.

    Notes
    -----
    The file keeps the parameters, what `fit` has learnt and what `set_output` was
    given; other attributes, such as the requests of `set_fit_request`, are left out.
    The optimizer and the layers of `augmentation` must be Keras' own; `callbacks` must
    be None. A loader's `cache` is left out, since who loads the file has other folders,
    and so are its `storage_options`, which may hold credentials.

    The network of a callable ``architecture``, or of a ``.keras`` file, is kept in
    Keras' own configuration, so that `load_model` needs ``trusted=True``. It must not
    have a `keras.layers.Lambda`, and its other classes must be registered with
    `keras.saving.register_keras_serializable`. Of the callable itself only the name is
    kept. The loaded classifier predicts and can be trained further; before it can be
    fitted anew, it needs ``set_params(architecture=...)``.

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
    if notes is not None and not _are_notes(notes):
        expected = "a dict of str to str, int, float or bool, or None"
        raise parameter_error("save_model", "notes", expected, notes)
    steps = list_steps("save_model", model)
    check_not_read("save_model", steps, [path])
    pipeline = model if type(model) is Pipeline else None
    if pipeline is not None and pipeline.memory is not None:
        raise parameter_error(
            "the Pipeline",
            "memory",
            "None to be saved, since it is a folder of this machine: call "
            "set_params(memory=None)",
            pipeline.memory,
        )
    try:
        with without_training():
            described, arrays = describe_model(
                pipeline, steps, include_optimizer=include_optimizer
            )
    except ValueError as error:
        if isinstance(error, InvalidParameterError | sklearn.exceptions.NotFittedError):
            raise
        raise InvalidParameterError(str(error)) from error
    document = {
        "format": _FORMAT,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _list_versions(),
        "notes": notes or {},
        **described,
    }
    write_model_file(path, document, arrays)


def load_model(path, *, trusted=False):
    """Load a file of `save_model`, without running code from it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    trusted : bool, default=False
        Whether the file comes from somebody you trust. A network of a callable or of a
        ``.keras`` file is loaded only then: Keras builds it from the configuration in
        the file, in its safe mode, which refuses `keras.layers.Lambda`, but may build
        any class of Keras or of yours that is registered at Keras.

    Returns
    -------
    model : KerasImageClassifier or Pipeline
        Predicts the same probabilities, bit for bit, on a machine of the same kind with
        the same versions.

    Raises
    ------
    ModelFileError
        If the file is damaged, holds anything that `save_model` doesn't write, was
        written by a version of skimgclf with a newer or an older format, or needs
        ``trusted=True``.
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
    its author wants. A network with more weights than the file holds is refused before
    it is built.

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
    (8 bytes) is damaged, or wasn't written by save_model: it isn't a
    safetensors file, or was cut off.
    """
    check_bool("load_model", "trusted", trusted)
    document, arrays, size = read_model_file(path)
    versions = _check_head(path, size, document)
    try:
        check_keys("the document", document, _ENTRIES)
        model = restore_model(document, arrays, trusted=trusted)
    except UntrustedNetworkError as error:
        raise ModelFileError(
            path,
            size,
            f"holds a network that was built by {_quote(error)}, in Keras' own "
            "configuration. If the file comes from somebody you trust, load it with "
            "trusted=True",
        ) from None
    # Keras raises errors of every kind for values that don't fit.
    except Exception as error:
        is_of_process = isinstance(error, MemoryError | ForkedProcessError)
        if is_of_process or getattr(error, "errno", None):
            raise  # of this machine: no memory, a full disk, a fork
        raise ModelFileError(
            path,
            size,
            "holds values that save_model doesn't write or that don't fit the versions "
            f"here (saved with Keras {versions['keras']} and scikit-learn "
            f"{versions['scikit-learn']}, loaded with {_find_version('keras')} and "
            f"{sklearn.__version__}): "
            f"{_quote(error)}",
        ) from error
    _warn_of_versions(path, versions)
    return model


def read_model_info(path):
    """Read when and by which versions a file of `save_model` was written.

    No network is built, so that this also works for a file that isn't trusted.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    info : :class:`~sklearn.utils.Bunch`
        With the attributes

        - date : str: in UTC, as of ISO 8601
        - versions : dict of str to str: of skimgclf, Keras and others, by their names
        - notes : dict: those that `save_model` was given

    Raises
    ------
    ModelFileError
        If the file is damaged, or wasn't written by `save_model`.
    OSError
        If it can't be read.

    See Also
    --------
    load_model : Load the model itself.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from skimgclf import KerasImageClassifier, save_model
    >>> from skimgclf.saving import read_model_info
    >>> X, y = np.eye(4), ["cat", "dog", "cat", "dog"]
    >>> classifier = KerasImageClassifier(epochs=1, random_state=0).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "pets.skimgclf")
    >>> save_model(classifier, path, notes={"accuracy": 0.5})
    >>> read_model_info(path).notes
    {'accuracy': 0.5}
    """
    document, _, size = read_model_file(path)
    versions = _check_head(path, size, document)
    return Bunch(date=document["date"], versions=versions, notes=document["notes"])


def _are_notes(value):
    return isinstance(value, dict) and all(
        isinstance(name, str) and _is_note(note) for name, note in value.items()
    )


def _is_note(value):
    is_number = isinstance(value, float) and math.isfinite(value)
    return is_number or isinstance(value, str | int)


def _quote(error):
    """Return the start of a message, which may quote what a stranger wrote."""
    return escape_line(first_line(error)[:_MAX_MESSAGE])


def _list_versions():
    names = ("keras", "tensorflow", "scikit-learn", "numpy", "pillow")
    return {"skimgclf": skimgclf.__version__, **{n: _find_version(n) for n in names}}


def _find_version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # as tensorflow-cpu, for example
        return importlib.import_module(name).__version__


def _check_head(path, size, document):
    """Check the format, date and notes; return the versions that wrote the file."""
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
    if not _are_versions(versions):
        raise ModelFileError(path, size, "doesn't say which versions wrote it")
    if not re.fullmatch(_DATE, str(document.get("date"))):
        raise ModelFileError(path, size, "doesn't say when it was written")
    # Files of versions before 0.1.0 have none.
    if not _are_notes(document.setdefault("notes", {})):
        raise ModelFileError(path, size, "holds notes of another form")
    return versions


def _are_versions(value):
    # Other names than the known ones may hold whatever a stranger wants to be read.
    return (
        isinstance(value, dict)
        and value.keys() == _list_versions().keys()
        and all(isinstance(each, str) for each in value.values())
        and all(re.fullmatch(r"\d[\w.+!-]{0,60}", each) for each in value.values())
    )


def _warn_of_versions(path, versions):
    saved, here = versions["keras"], _find_version("keras")
    if saved.split(".")[:2] != here.split(".")[:2]:
        warn_user(
            f"{str(path)!r} was saved with Keras {saved} and loaded with Keras {here}: "
            "predictions may differ in the last digits.",
            ModelFileWarning,
        )
