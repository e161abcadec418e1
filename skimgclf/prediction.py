"""predict_frame: image files in, a table of labels and probabilities out."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skimgclf._validation import ParameterTable, an_int, one_of
from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.images._decoding.reasons import describe_source
from skimgclf.images._input_forms import list_images

_OWNER = "predict_frame"
_TABLE = ParameterTable(
    _OWNER, {"top_k": an_int(1), "on_error": one_of("raise", "fill")}
)

# Images in memory at once: 150 MB of them at 224x224 pixels in colour.
_N_AT_ONCE = 256


def predict_frame(pipeline, paths, *, top_k=1, on_error="raise"):
    """Predict images, and return a table that names each with its label.

    The images are loaded and predicted a few hundred at a time, so that memory doesn't
    grow with their pixels.

    Parameters
    ----------
    pipeline : :class:`~sklearn.pipeline.Pipeline`
        A fitted pipeline whose first step is an :class:`~skimgclf.ImageLoader` and
        whose last is any classifier with `predict_proba`. The `on_error` of its loader
        doesn't count here, the one below does. With a loader whose `verbose` is above
        0, a progress bar is shown on stderr.
    paths : list, tuple, array, Series or one-column DataFrame
        What `ImageLoader.transform` takes.
    top_k : int, default=1
        How many classes to give for each image, the most probable first; at most as
        many as there are.
    on_error : {"raise", "fill"}, default="raise"
        Whether images that can't be read raise one `ImageLoadError` that lists them
        all, or have a row without a label that says why. They are never predicted, and
        the other rows are the same with and without them.

    Returns
    -------
    frame : DataFrame of shape (n_samples, 4), or more rows and 5 columns with `top_k`
        In the order given, with the columns

        - path: the path as given (for bytes, PIL images and arrays: what they are)
        - label: the most probable of the pipeline's `classes_`; None if unreadable
        - probability: float in [0, 1]; NaN if unreadable
        - rank: only with `top_k` above 1: from 1, the most probable, to `top_k`, each
          in a row of its own. So the columns don't depend on `top_k`, and
          ``frame[frame["rank"] == 1]`` has one row an image. An unreadable image has
          one row, of rank 1.
        - reason: why the image can't be read; None if it can

    Raises
    ------
    InvalidParameterError
        If a parameter has a bad value, or `paths` isn't a list of images.
    sklearn.exceptions.NotFittedError
        If the pipeline isn't fitted.
    ImageLoadError
        If images can't be read rightly and `on_error` is "raise".

    See Also
    --------
    skimgclf.check_images : Find the images that can't be read, without a pipeline.

    Notes
    -----
    The label is the class with the highest probability. That is what `predict` of
    nearly every classifier gives; ``SVC(probability=True)`` and classifiers with a
    threshold of their own may answer something else.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skimgclf import ImageLoader, predict_frame
    >>> folder = tempfile.mkdtemp()
    >>> dark, bright, missing = [os.path.join(folder, f"{i}.png") for i in range(3)]
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
    loader, classifier = _split_pipeline(pipeline)
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
    """Check a pipeline; return its loader, which raises, and the other steps."""
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
    # A loader that fills would have its background predicted like a good image, and a
    # lazy one tells too late what can't be read.
    return clone(loader).set_params(on_error="raise", lazy=False), pipeline[1:]


def _predict_cells(loader, classifier, cells, n_classes, *, stop_at_errors):
    """Load and predict cells, some at a time.

    Parameters
    ----------
    loader : ImageLoader
        With ``on_error="raise"``.
    classifier : Pipeline
        The fitted steps after the loader.
    cells : list
        One image each.
    n_classes : int
        How many classes there are.
    stop_at_errors : bool
        Whether to predict nothing more once an image can't be read. The others are
        still read, since an error lists all bad files.

    Returns
    -------
    probabilities : ndarray of shape (n_samples, n_classes)
        NaN in rows that aren't predicted.
    errors : list of tuple (int, str, str)
        As in `ImageLoadError`, in the order of rows.
    """
    probabilities = np.full((len(cells), n_classes), np.nan)
    errors = []
    # One bar over all, instead of the loader's own for each part.
    bar = _make_bar(len(cells), loader.verbose)
    loader.set_params(verbose=0)
    with bar:
        for start in range(0, len(cells), _N_AT_ONCE):
            part = range(start, min(start + _N_AT_ONCE, len(cells)))
            images, rows, new_errors = _load_readable(loader, cells, list(part))
            errors += new_errors
            if rows and not (errors and stop_at_errors):
                probabilities[rows] = classifier.predict_proba(images)
            bar.update(len(part))
    return probabilities, errors


def _make_bar(n_rows, verbose):
    from tqdm import tqdm

    return tqdm(total=n_rows, desc="Predicting", unit=" images", disable=not verbose)


def _load_readable(loader, cells, rows):
    """Load those rows that can be read.

    Returns
    -------
    images : ndarray or None
        What the loader makes of them; None if there are none.
    rows : list of int
        Which they are.
    errors : list of tuple (int, str, str)
        The other rows, as in `ImageLoadError`.
    """
    errors = []
    # Again after an error, and once more should a file break between two readings.
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
