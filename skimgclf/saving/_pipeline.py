"""Turn a classifier or a pipeline into a JSON document and arrays, and back."""

import os

from sklearn.pipeline import Pipeline

from skimgclf._validation import check_bool, check_keys
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.models import ImageEmbedder, KerasImageClassifier
from skimgclf.models._embedder import describe_embedder, restore_embedder
from skimgclf.saving._classifier import describe_classifier, restore_classifier
from skimgclf.saving._steps import PASSTHROUGH, is_passthrough
from skimgclf.saving._values import decode, encode

# Left out of a loader: its folder, and options that may be credentials.
_OF_THIS_MACHINE = {
    "cache": "names a folder of this machine as its cache",
    "storage_options": "brings options for opening URLs",
}


def describe_model(pipeline, steps, *, include_optimizer):
    """Turn a model into what JSON can carry, and arrays.

    Parameters
    ----------
    pipeline : Pipeline or None
        Fitted; None for a classifier alone.
    steps : list of tuple (str or None, estimator or str)
        From `list_steps`.
    include_optimizer : bool
        Whether to keep what the optimizer has learnt.

    Returns
    -------
    document : dict
        Its entries "pipeline" and "steps".
    arrays : dict of str to ndarray
        The weights.
    """
    kept = None
    if pipeline is not None:
        kept = _encode_all(
            "the Pipeline",
            {
                "transform_input": pipeline.transform_input,
                "verbose": bool(pipeline.verbose),
            },
        )
    *first, (name, classifier) = steps
    parameters, learnt, arrays = describe_classifier(
        classifier, include_optimizer=include_optimizer
    )
    described = [_describe_step(*step) for step in first]
    described.append(_write_step(name, classifier, parameters, learnt))
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
    restored = [(name, _restore_step(name, *step)) for name, *step in first]
    name, kind, parameters, learnt = last
    if kind != KerasImageClassifier.__name__:
        raise ValueError(f"the last step must be a KerasImageClassifier, not {kind!r}")
    classifier = restore_classifier(parameters, learnt, arrays, trusted=trusted)
    if document["pipeline"] is None:
        if restored or name is not None:
            raise ValueError("steps in front of a classifier, but no pipeline")
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
    pipeline._validate_names([name for name, _ in pipeline.steps])
    return pipeline


def _describe_step(name, step):
    if is_passthrough(step):
        return {"name": name, "type": PASSTHROUGH, "parameters": {}, "learnt": {}}
    if type(step) is ImageEmbedder:
        return _write_step(name, step, *describe_embedder(step))
    step.fit(None)  # invalid values would be refused when the file is loaded
    parameters = step.get_params(deep=False)
    kept = {**parameters, **dict.fromkeys(_OF_THIS_MACHINE)}
    return _write_step(name, step, kept, {})


def _write_step(name, step, parameters, learnt):
    kind = type(step).__name__
    return {
        "name": name,
        "type": kind,
        "parameters": _encode_all(kind, parameters),
        "learnt": _encode_all("what fit has learnt", learnt),
    }


def _restore_step(name, kind, parameters, learnt):
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
    loader = ImageLoader(**parameters).fit(None)
    if (loader.n_jobs or 0) > (os.cpu_count() or 1):  # of a larger machine, or hostile
        loader.set_params(n_jobs=os.cpu_count() or 1)
    return loader


def _read_step(step):
    """Return a step's name, type, parameters and what it has learnt."""
    check_keys("a step", step, ["name", "type", "parameters", "learnt"])
    name, kind = step["name"], step["type"]
    if not isinstance(name, str | None) or not isinstance(kind, str):
        raise ValueError(f"a step must have a name and a type, not {name!r}, {kind!r}")
    return (
        name,
        kind,
        *(_decode_all(part, step[part]) for part in ("parameters", "learnt")),
    )


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


def _decode_all(part, values):
    if not isinstance(values, dict):
        raise ValueError(f"the {part} is no JSON object")
    return {name: decode(value) for name, value in values.items()}
