"""Predict images into a table of labels and probabilities: predict_frame."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skimgclf._snapshot import freeze
from skimgclf._terminal import make_bar
from skimgclf._validation import ParameterTable, an_int, one_of
from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.images._decoding.reasons import describe_source
from skimgclf.images._input_forms import list_images

_OWNER = "predict_frame"
_TABLE = ParameterTable(
    _OWNER, {"top_k": an_int(1), "on_error": one_of("raise", "fill")}
)

# Images in memory at once: 150 MB at 224x224 pixels in colour.
_N_AT_ONCE = 256


def predict_frame(pipeline, paths, *, top_k=1, on_error="raise"):
    """Predict images, and return a table with the label of each.

    The images are loaded and predicted a few hundred at a time, so that memory doesn't
    grow with their pixels.

    Parameters
    ----------
    pipeline : :class:`~sklearn.pipeline.Pipeline`
        A fitted pipeline that begins with an :class:`~skimgclf.ImageLoader` and ends
        with a classifier that has `predict_proba`. `on_error` of the loader is ignored.
        If `verbose` of the loader is above 0, a progress bar appears on stderr.
    paths : list, tuple, array, Series or one-column DataFrame
        Images in any form that `ImageLoader.transform` takes.
    top_k : int, default=1
        Number of classes for each image, the most probable first; at most the number
        of classes of the pipeline.
    on_error : {"raise", "fill"}, default="raise"
        Whether images that can't be read raise one `ImageLoadError` that lists all of
        them, or get a row with the reason and no label. Unreadable images are never
        predicted, and don't change other rows.

    Returns
    -------
    frame : DataFrame of shape (n_samples, 4), or more rows and 5 columns with `top_k`
        In the order given, with the columns

        - path: the path as given (for bytes, PIL images and arrays: a description)
        - label: the most probable of the pipeline's `classes_`; None if unreadable
        - probability: float in [0, 1]; NaN if unreadable
        - rank: only with `top_k` above 1: from 1, the most probable class, to `top_k`,
          one row for each; ``frame[frame["rank"] == 1]`` has one row for each image.
          An unreadable image has one row, of rank 1.
        - reason: why the image can't be read; None if it can

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value, or `paths` isn't a list of images.
    sklearn.exceptions.NotFittedError
        If the pipeline isn't fitted.
    ImageLoadError
        If images can't be read and `on_error` is "raise".

    See Also
    --------
    skimgclf.check_images : Find the images that can't be read, without a pipeline.

    Notes
    -----
    The label is the class with the highest probability. `predict` of nearly every
    classifier returns the same; that of ``SVC(probability=True)`` and of classifiers
    with a tuned threshold may differ.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skimgclf import ImageLoader, predict_frame
    >>> folder = tempfile.mkdtemp()
    >>> paths = [os.path.join(folder, f"{i}.png") for i in range(3)]
    >>> dark, bright, missing = paths
    >>> Image.new("L", (8, 8), "black").save(dark)
    >>> Image.new("L", (8, 8), "white").save(bright)
    >>> loader = ImageLoader(image_size=(2, 2), flatten=True)
    >>> pipeline = make_pipeline(loader, LogisticRegression())
    >>> pipeline = pipeline.fit([dark, bright], ["night", "day"])
    >>> frame = predict_frame(pipeline, [bright, missing], on_error="fill")
    >>> frame[["label", "probability", "reason"]].round(2)
      label  probability                 reason
    0   day         0.66                   None
    1  None          NaN  there is no such file
    >>> frame = predict_frame(pipeline, [dark], top_k=2)
    >>> frame[["label", "probability", "rank"]].round(2)
       label  probability  rank
    0  night         0.66     1
    1    day         0.34     2
    """
    _TABLE.check(locals())
    loader, classifier = _split_pipeline(freeze(pipeline))
    classes = np.asarray(classifier.classes_).tolist()
    if top_k > len(classes):
        expected = f"an int from 1 to {len(classes)}, the number of classes"
        raise _TABLE.error("top_k", expected, top_k)
    cells = list_images(_OWNER, paths)
    probabilities, errors = _predict_cells(
        loader, classifier, cells, len(classes), stop_at_errors=on_error == "raise"
    )
    if errors and on_error == "raise":
        raise ImageLoadError(errors)
    names = [describe_source(cell) for cell in cells]
    reasons = {row: reason for row, _, reason in errors}
    return _make_frame(names, probabilities, reasons, classes, top_k)


def _split_pipeline(pipeline):
    """Check a pipeline, and return a loader that raises errors and the other steps."""
    expected = f"{_OWNER} needs a fitted Pipeline whose first step is an ImageLoader"
    if not isinstance(pipeline, Pipeline):
        advice = ""
        if isinstance(getattr(pipeline, "best_estimator_", None), Pipeline):
            advice = " Give it the search's best_estimator_."
        raise InvalidParameterError(
            f"{expected}. Got a {type(pipeline).__name__} instead.{advice}"
        )
    loader = pipeline.steps[0][1]
    if not isinstance(loader, ImageLoader):
        name = loader if isinstance(loader, str) else type(loader).__name__
        raise InvalidParameterError(f"{expected}. Its first step is {name!r}.")
    if len(pipeline) == 1:
        raise InvalidParameterError(f"{expected}. This one has no classifier after it.")
    if not hasattr(pipeline, "predict_proba"):
        last = type(pipeline.steps[-1][1]).__name__
        raise InvalidParameterError(
            f"{_OWNER} needs a classifier with predict_proba as the last step, which "
            f"{last!r} doesn't have; sklearn.calibration.CalibratedClassifierCV adds "
            "it to a classifier."
        )
    check_is_fitted(pipeline)
    # With "fill", the background would be predicted like a good image; a lazy loader
    # would find unreadable images only while the classifier predicts.
    return clone(loader).set_params(on_error="raise", lazy=False), pipeline[1:]


def _predict_cells(loader, classifier, cells, n_classes, *, stop_at_errors):
    """Load and predict images, a few hundred at a time.

    Parameters
    ----------
    loader : ImageLoader
        With ``on_error="raise"``.
    classifier : Pipeline
        The fitted steps after the loader.
    cells : list
        One image in each cell.
    n_classes : int
        Number of classes.
    stop_at_errors : bool
        Whether to stop predicting at the first unreadable image. All images are still
        read, since the error lists all unreadable ones.

    Returns
    -------
    probabilities : ndarray of shape (n_samples, n_classes)
        NaN in rows that aren't predicted.
    errors : list of tuple (int, str, str)
        Unreadable images as in `ImageLoadError`, in the order of rows.
    """
    probabilities = np.full((len(cells), n_classes), np.nan)
    errors = []
    # One progress bar for all images, instead of the loader's bar for each part.
    bar = make_bar("Predicting", "images", shown=loader.verbose, total=len(cells))
    loader.set_params(verbose=0)
    with bar:
        for start in range(0, len(cells), _N_AT_ONCE):
            part = range(start, min(start + _N_AT_ONCE, len(cells)))
            images, rows, new_errors = _load_readable(loader, cells, list(part))
            errors += new_errors
            if rows and not (errors and stop_at_errors):
                probabilities[rows] = classifier.predict_proba(images)
            # The bar isn't full before an error.
            bar.update(len(rows) if stop_at_errors else len(part))
    return probabilities, errors


def _load_readable(loader, cells, rows):
    """Load the rows that can be read.

    Returns
    -------
    images : ndarray or None
        The loaded images; None if no row can be read.
    rows : list of int
        The rows of the loaded images.
    errors : list of tuple (int, str, str)
        Unreadable rows, as in `ImageLoadError`.
    """
    errors = []
    # Repeat without unreadable rows; a file may also change between two readings.
    while rows:
        try:
            return loader.transform([cells[row] for row in rows]), rows, sorted(errors)
        except ImageLoadError as error:
            bad = [(rows[place], path, why) for place, path, why in error.errors]
        errors += bad
        unreadable = {row for row, _, _ in bad}
        rows = [row for row in rows if row not in unreadable]
    return None, [], sorted(errors)


def _make_frame(names, probabilities, reasons, classes, top_k):
    import pandas as pd

    # Stable, so that of equal probabilities the first class wins, as in argmax.
    order = np.argsort(-probabilities, axis=1, kind="stable")
    columns = {"path": [], "label": [], "probability": [], "rank": [], "reason": []}
    for row, name in enumerate(names):
        reason = reasons.get(row)
        for rank in range(top_k if reason is None else 1):
            code = order[row, rank]
            columns["path"].append(name)
            columns["label"].append(classes[code] if reason is None else None)
            columns["probability"].append(probabilities[row, code])
            columns["rank"].append(rank + 1)
            columns["reason"].append(reason)
    if top_k == 1:
        del columns["rank"]
    dtypes = {"probability": float, "rank": int}
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=dtypes.get(name, object))
            for name, values in columns.items()
        }
    )
