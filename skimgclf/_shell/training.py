"""Train a model and score it: the commands fit and evaluate."""

import importlib
import os

import numpy as np
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import train_test_split

from skimgclf._atomic import bring_to_disk, replace_atomically
from skimgclf._nearest import advise_nearest
from skimgclf._shell.inputs import (
    count_images,
    is_watched,
    list_read,
    load_data,
    load_pipeline,
    note,
    shorten,
    take_reading,
)
from skimgclf._shell.messages import name_options
from skimgclf._shell.options import FIT, PARAMETERS
from skimgclf._shell.report import check_not_read, check_output, named_if_written
from skimgclf._shell.settings import (
    check_settings_output,
    name_settings,
    write_settings,
)
from skimgclf._terminal import escape_line, print_text
from skimgclf.exceptions import SkimgclfError
from skimgclf.prediction import predict_frame


def fit(options):
    """Train a pipeline, print its scores on held-out images, and save it."""
    settings_path = name_settings(options.output)
    for path in (options.output, settings_path):
        check_output(path, device=False)
    check_settings_output(settings_path)
    pipeline = check_parameters(options)
    # All files are decoded first, so that an unreadable image isn't found only after
    # an hour of training.
    data = load_data(options, hash_files=True, verbose=is_watched())
    dropped = [path for path, _ in data.report["dropped"]]
    built_from = _list_sources(pipeline) if pipeline else []
    named = [options.data, options.config, *data.filenames, *dropped, *built_from]
    read = list_read(options, *named)
    for path in (options.output, settings_path):
        check_not_read(path, read)
    if len(data.target_names) < 2:
        raise SkimgclfError(
            f"{options.data!r} has only one class, {data.target_names[0]!r}; a "
            "classifier needs two."
        )
    train, test = split(data, options.test_size, options.seed)
    print_text(
        f"{count_images(data.filenames)} of {len(data.target_names)} classes: "
        f"{len(train)} to train on, {len(test)} to test with"
    )
    pipeline = pipeline or make_pipeline(options)
    pipeline.fit(data.filenames[train], data.target[train])
    notes = {"trained on": count_images(train), "held out": count_images(test)}
    if len(test):
        accuracy = _print_scores(pipeline, data.filenames[test], data.target[test])
        notes["held-out accuracy"] = round(accuracy, 4)
    _save(pipeline, options, notes)
    return 0


def _list_sources(pipeline):
    """List the files of networks and weights that a pipeline is built from."""
    steps = importlib.import_module("skimgclf.saving._steps")
    return steps.list_built_from(pipeline.steps)


def _save(pipeline, options, notes):
    """Save a model, and its settings beside it."""
    settings = _list_settings(pipeline, options)
    # A loaded model shouldn't print progress because this command did.
    pipeline.set_params(load__verbose=0, classify__verbose=0)
    # Without the folders of this machine, since models are sent to others.
    notes = {**notes, "settings": write_settings(settings)}
    saving = importlib.import_module("skimgclf.saving")
    path = name_settings(options.output)
    text = write_settings(settings, folder=os.path.dirname(os.path.realpath(path)))
    with named_if_written(options.output, path):
        with replace_atomically(path) as file:
            file.write(text.encode())
            # Both are on disk before one is renamed: a full disk changes neither.
            bring_to_disk(file)
            saving.save_model(pipeline, options.output, notes=notes)
        print_text(f"Saved as {escape_line(options.output)}")


def _list_settings(pipeline, options):
    """List the options that would repeat this run, those of the kind among them."""
    settings = {"data": options.data} | {
        option.name: getattr(options, option.name) for option in FIT if not option.steps
    }
    for option in PARAMETERS:
        step = next((s for s in option.steps if s in pipeline.named_steps), None)
        if step is not None:
            settings[option.name] = getattr(pipeline[step], option.name)
    return settings


def evaluate(options):
    """Print the scores of a saved model."""
    data = load_data(options)
    _print_scores(load_pipeline(options), data.filenames, data.target)
    return 0


def check_parameters(options):
    """Refuse wrong options before any work; return the pipeline if some are given.

    By default the pipeline is right, and made later, so that a wrong table is found
    before Keras is imported.
    """
    if not any(_take_given(options, step) for step in ("load", "embed", "classify")):
        return None
    checks = importlib.import_module("skimgclf.models._checks.parameters")
    try:
        pipeline = make_pipeline(options)
        for _, step in pipeline.steps[:-1]:
            step._check_parameters()
        checks.check_parameters(pipeline["classify"].get_params())
    except ValueError as error:
        options.parser.error(name_options(str(error), options.parser.list_flags()))
    for path in _list_sources(pipeline):
        if not os.path.isfile(os.path.expanduser(path)):
            advice = advise_nearest(path, ["imagenet"])
            options.parser.error(f"there is no file {path!r}{advice}")
    return pipeline


def make_pipeline(options):
    """Make the pipeline of a kind, with the options that are given."""
    pipeline = importlib.import_module("skimgclf.pipelines").make_image_pipeline(
        options.kind,
        cache=options.cache,
        random_state=options.seed,
        **_take_given(options, "classify"),
    )
    for name, step in pipeline.named_steps.items():
        if name != "classify":
            step.set_params(**_take_given(options, name))
    pipeline["load"].set_params(**take_reading(options))
    return pipeline.set_params(load__verbose=is_watched(), classify__verbose=1)


def _take_given(options, step):
    """Return the parameters of a step that are given as options."""
    given = {
        option.name: getattr(options, option.name)
        for option in PARAMETERS
        if step in option.steps and hasattr(options, option.name)
    }
    # Only early stopping uses these parameters, so that each of them switches it on.
    if given.keys() & {"validation_fraction", "n_iter_no_change"}:
        given.setdefault("early_stopping", True)
    return given


def split(data, test_size, seed):
    """Split rows into training and test rows, stratified by label.

    Files of equal content stay together, since a copy of a training image is no test.
    """
    rows = np.arange(len(data.filenames))
    if not test_size:
        return rows, rows[:0]
    first = {}
    for row, content in enumerate(data.groups):
        first.setdefault(content, row)
    originals = np.array(list(first.values()))
    _, test = train_test_split(
        originals,
        test_size=test_size,
        random_state=seed,
        stratify=data.target[originals],
    )
    contents = set(data.groups[test])
    is_test = np.array([content in contents for content in data.groups])
    return rows[~is_test], rows[is_test]


def _print_scores(pipeline, paths, target):
    """Print the accuracy and a report on each class."""
    # Labels of tables and folders are text; a model saved from Python may have numbers.
    known = {str(label) for label in getattr(pipeline, "classes_", ())}
    unknown = sorted(set(target) - known)
    if known and len(unknown) == len(set(target)):
        raise SkimgclfError(
            f"The model knows none of the labels {shorten(unknown)}, only "
            f"{shorten(sorted(known))}."
        )
    predicted = predict_frame(pipeline, paths)["label"].map(str)
    if unknown:
        labels = shorten(unknown)
        note(f"the model doesn't know the labels {labels}: they count as wrong")
    labels = sorted({*target, *predicted})
    names = [escape_line(label) for label in labels]
    print_text(
        classification_report(
            target,
            predicted,
            labels=labels,
            target_names=names,
            digits=3,
            zero_division=0,
        )
    )
    accuracy = accuracy_score(target, predicted)
    print_text(f"Accuracy on {count_images(paths)}: {accuracy:.4f}")
    return accuracy
