"""Turn a classifier or a pipeline into a JSON document and arrays, and back."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skimgclf._validation import check_bool, check_keys
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.models._classifier import KerasImageClassifier
from skimgclf.models._embedder import ImageEmbedder, describe_embedder, restore_embedder
from skimgclf.saving._classifier import describe_classifier, restore_classifier
from skimgclf.saving._learnt import limit_jobs
from skimgclf.saving._scikit_learn import (
    ESTIMATORS,
    describe_estimator,
    read_output,
    restore_estimator,
    set_output,
)
from skimgclf.saving._steps import PASSTHROUGH, is_passthrough
from skimgclf.saving._values import decode, encode

# The advice on a parameter that JSON can't carry.
_SET_PLAIN = (
    "Set it to a plain value with set_params, which changes nothing about what was "
    "learnt, or use joblib."
)

# How the names of a classifier's arrays begin.
_OF_NETWORK = ("network/", "optimizer/")

# Left out of a loader: its folder, and options that may be credentials.
_OF_THIS_MACHINE = {
    "cache": "names a folder of this machine as its cache",
    "storage_options": "brings options for opening URLs",
}


def describe_model(pipeline, steps, *, include_optimizer):
    """Turn a model into a JSON document and arrays.

    Parameters
    ----------
    pipeline : Pipeline or None
        Fitted; None for a classifier alone.
    steps : list of tuple (str or None, estimator or str)
        From `list_steps`.
    include_optimizer : bool
        Whether to keep the state of the optimizer.

    Returns
    -------
    document : dict
        Its entries "pipeline" and "steps".
    arrays : dict of str to ndarray
        The weights, and what scikit-learn's steps have learnt.
    """
    kept = None
    if pipeline is not None:
        kept = _encode_all(
            {
                "transform_input": pipeline.transform_input,
                "verbose": bool(pipeline.verbose),
            },
            "The {!r} parameter of the Pipeline",
        )
    last = steps[-1][1]
    if include_optimizer and not isinstance(last, KerasImageClassifier):
        raise ValueError(
            f"include_optimizer=True, but a {type(last).__name__} has no optimizer."
        )
    described, arrays = [], {}
    for place, (name, step) in enumerate(steps):
        if isinstance(step, KerasImageClassifier):
            *values, found = describe_classifier(
                step, include_optimizer=include_optimizer
            )
        elif isinstance(step, ESTIMATORS):
            *values, found = describe_estimator(step)
            found = {f"{_prefix(place)}{key}": each for key, each in found.items()}
        else:
            values, found = _describe_step(step), {}
        described.append(_write_step(name, step, *values))
        arrays |= found
    return {"pipeline": kept, "steps": described}, arrays


def restore_model(document, arrays, *, trusted):
    """Turn a document and arrays, perhaps a stranger's, back into a model.

    Parameters
    ----------
    document, arrays
        As `describe_model` returned them.
    trusted : bool
        Whether Keras may build the network from its own configuration.

    Returns
    -------
    model : KerasImageClassifier or Pipeline
    """
    steps = document["steps"]
    if not isinstance(steps, list) or not steps:
        raise ValueError("the document must hold a list of steps")
    *first, last = map(_read_step, steps)
    arrays = dict(arrays)
    restored = [
        (name, set_output(_restore_step(name, *step, _take(arrays, place)), output))
        for place, (name, *step, output) in enumerate(first)
    ]
    name, kind, parameters, learnt, _ = last
    if kind == KerasImageClassifier.__name__:
        classifier = restore_classifier(parameters, learnt, arrays, trusted=trusted)
        arrays = {key for key in arrays if not key.startswith(_OF_NETWORK)}
    elif kind == LogisticRegression.__name__:
        own = _take(arrays, len(first))
        classifier = restore_estimator(kind, parameters, learnt, own)
    else:
        raise ValueError(f"the last step can't be a {kind!r}")
    if arrays:
        raise ValueError(f"arrays of no step: {', '.join(sorted(arrays))}")
    if document["pipeline"] is None:
        if restored or name is not None or kind != KerasImageClassifier.__name__:
            raise ValueError("steps of a pipeline, but no pipeline")
        return classifier
    kept = _decode_all("pipeline", document["pipeline"])
    check_keys("pipeline", kept, ["transform_input", "verbose"])
    check_bool("the Pipeline", "verbose", kept["verbose"])
    names = kept["transform_input"]
    if not isinstance(names, list | None) or not all(
        isinstance(name, str) for name in names or ()
    ):
        raise ValueError(f"transform_input must be a list of names, not {names!r}")
    pipeline = Pipeline([*restored, (name, classifier)], **kept)
    _refuse_names([name for name, _ in pipeline.steps], pipeline)
    return pipeline


def _refuse_names(names, pipeline):
    """Refuse names of steps that scikit-learn refuses when a pipeline is fitted."""
    taken = pipeline.get_params(deep=False)
    is_wrong = any("__" in name or name in taken for name in names)
    if is_wrong or len(set(names)) < len(names):
        raise ValueError(f"steps can't have the names {names!r}")


def _describe_step(step):
    """Return the parameters and the learnt values of a step without arrays."""
    if is_passthrough(step):
        return {}, {}
    if isinstance(step, ImageEmbedder):
        return describe_embedder(step)
    step.fit(None)  # invalid values would be refused when the file is loaded
    parameters = step.get_params(deep=False)
    return {**parameters, **dict.fromkeys(_OF_THIS_MACHINE)}, {}


def _write_step(name, step, parameters, learnt):
    kind = PASSTHROUGH if is_passthrough(step) else type(step).__name__
    output = read_output(step)
    return {
        "name": name,
        "type": kind,
        "parameters": _encode_all(parameters, f"The {{!r}} parameter of {kind}"),
        "learnt": _encode_all(learnt, f"The {{!r}} learnt by {kind}", "Use joblib."),
        **({} if output is None else {"output": output}),
    }


def _prefix(place):
    """Return the start of the names of the arrays of one of scikit-learn's steps."""
    return f"steps/{place}/"


def _take(arrays, place):
    """Remove the arrays of one step from all arrays, and return them."""
    prefix = _prefix(place)
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def _restore_step(name, kind, parameters, learnt, arrays):
    if kind == StandardScaler.__name__:
        return restore_estimator(kind, parameters, learnt, arrays)
    if arrays:
        raise ValueError(f"step {name!r} of type {kind!r} has arrays")
    if kind == ImageEmbedder.__name__:
        return restore_embedder(parameters, learnt)
    if learnt:
        raise ValueError(f"step {name!r} has learnt {', '.join(learnt)}")
    if kind == PASSTHROUGH and not parameters:
        return PASSTHROUGH
    if kind != ImageLoader.__name__:
        raise ValueError(f"unknown step {name!r} of type {kind!r}")
    for parameter, reason in _OF_THIS_MACHINE.items():
        if parameters.get(parameter) is not None:
            raise ValueError(f"step {name!r} {reason}")
    return limit_jobs(ImageLoader(**parameters).fit(None))


def _read_step(step):
    """Return a step's name, type, parameters, learnt values and output."""
    # Only a step whose output was chosen has that entry.
    step = {"output": None, **step} if isinstance(step, dict) else step
    check_keys("a step", step, ["name", "type", "parameters", "learnt", "output"])
    name, kind = step["name"], step["type"]
    if not isinstance(name, str | None) or not isinstance(kind, str):
        raise ValueError(f"a step must have a name and a type, not {name!r}, {kind!r}")
    return (
        name,
        kind,
        *(_decode_all(part, step[part]) for part in ("parameters", "learnt")),
        step["output"],
    )


def _encode_all(values, title, advice=_SET_PLAIN):
    encoded = {}
    for name, value in values.items():
        try:
            encoded[name] = encode(value)
        except TypeError as error:
            raise InvalidParameterError(
                f"{title.format(name)} can't be saved without code: {error}. {advice}"
            ) from error
    return encoded


def _decode_all(part, values):
    if not isinstance(values, dict):
        raise ValueError(f"the {part} is no JSON object")
    return {name: decode(value) for name, value in values.items()}
