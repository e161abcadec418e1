"""Run the sub-commands of ``skimgclf`` by public functions of this package.

Keras is imported only by commands that need it, after arguments and tables are checked.
"""

import importlib
import os
import sys

import numpy as np
from joblib import parallel_config
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skimgclf._report import check_not_read, check_output, write_csv
from skimgclf._store import list_files
from skimgclf._terminal import escape_line, print_text
from skimgclf.datasets import load_image_csv, load_image_folder
from skimgclf.exceptions import SkimgclfError
from skimgclf.images import ImageLoader, check_images
from skimgclf.prediction import predict_frame

_TABLE_EXTENSIONS = (".csv", ".tsv", ".txt")


def run_command(options):
    """Run one sub-command.

    Parameters
    ----------
    options : argparse.Namespace
        The parsed arguments; `command` is the name of the sub-command.

    Returns
    -------
    code : int
        0, or 1 if `check` found images that can't be read.
    """
    commands = {
        "fit": _fit,
        "predict": _predict,
        "evaluate": _evaluate,
        "check": _check,
        "info": _info,
    }
    # Images are decoded by all processors, unless the loader's `n_jobs` is set.
    with parallel_config(backend="threading", n_jobs=-1):
        return commands[options.command](options)


def _fit(options):
    check_output(options.output, device=False)
    # All files are decoded first, so that an unreadable image isn't found only after
    # an hour of training.
    data = _load_data(options, hash_files=True, on_bad="raise", verbose=_is_watched())
    check_not_read(
        options.output, [options.data, *data.filenames, *list_files(options.cache)]
    )
    if len(data.target_names) < 2:
        raise SkimgclfError(
            f"{options.data!r} has only one class, {data.target_names[0]!r}; a "
            "classifier needs two."
        )
    train, test = _split(data, options.test_size, options.seed)
    print_text(
        f"{_count_images(data.filenames)} of {len(data.target_names)} classes: "
        f"{len(train)} to train on, {len(test)} to test with"
    )
    pipeline = _make_pipeline(options)
    pipeline.fit(data.filenames[train], data.target[train])
    if len(test):
        _print_scores(pipeline, data.filenames[test], data.target[test])
    # A loaded model shouldn't print progress because this command did.
    pipeline.set_params(load__verbose=0, classify__verbose=0)
    importlib.import_module("skimgclf.saving").save_model(pipeline, options.output)
    print_text(f"Saved as {escape_line(options.output)}")
    return 0


def _evaluate(options):
    data = _load_data(options)
    _print_scores(_load_pipeline(options), data.filenames, data.target)
    return 0


def _make_pipeline(options):
    names = (
        "architecture",
        "hidden_layer_sizes",
        "epochs",
        "fine_tune",
        "class_weight",
    )
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if options.validation_fraction:
        given["early_stopping"] = True
        given["validation_fraction"] = options.validation_fraction
    pipeline = importlib.import_module("skimgclf.pipelines").make_image_pipeline(
        options.kind,
        image_size=options.image_size,
        cache=options.cache,
        random_state=options.seed,
        **given,
    )
    pipeline.set_params(load__verbose=_is_watched(), classify__verbose=1)
    if options.color_mode is not None:
        pipeline.set_params(load__color_mode=options.color_mode)
    return pipeline


def _split(data, test_size, seed):
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
            f"The model knows none of the labels {_shorten(unknown)}, only "
            f"{_shorten(sorted(known))}."
        )
    predicted = predict_frame(pipeline, paths)["label"].map(str)
    if unknown:
        labels = _shorten(unknown)
        _note(f"the model doesn't know the labels {labels}: they count as wrong")
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
    print_text(f"Accuracy on {_count_images(paths)}: {accuracy:.4f}")


def _predict(options):
    check_output(options.output)
    if options.csv:
        data = _load_table(options, options.csv, label_column=None)
        name = options.id_column.strip()
        given, paths = data.frame[name].to_numpy(), data.filenames
    else:
        name, given, paths = (
            "path",
            np.array(options.images, dtype=object),
            options.images,
        )
    read = [options.model, options.csv, *paths, *list_files(options.cache)]
    check_not_read(options.output, read)
    frame = predict_frame(
        _load_pipeline(options),
        list(paths),
        top_k=options.top_k,
        on_error=options.on_error,
    )
    # Every image has one row of rank 1.
    is_first = frame["rank"] == 1 if "rank" in frame else np.ones(len(frame), bool)
    frame["path"] = given[np.cumsum(is_first) - 1]
    if options.on_error == "raise":
        del frame["reason"]
    else:
        n_bad = frame["label"].isna().sum()
        if n_bad:
            _note(f"{n_bad} of {_count_images(paths)} can't be read; see the reasons")
    frame.columns = [name, *frame.columns[1:]]
    write_csv(frame, options.output)
    return 0


def _check(options):
    paths = _list_images(options)
    if options.output:
        check_output(options.output)
        check_not_read(options.output, [*options.data, *paths])
    report = check_images(paths, verbose=_is_watched())
    if options.output:
        write_csv(report, options.output)
    bad = report[~report["ok"]]
    lines = [
        f"{path!r}: {escape_line(reason)}"
        for path, reason in zip(bad["path"], bad["reason"], strict=True)
    ]
    copies = report[report["duplicate_of"].notna()]
    lines += [
        f"{path!r} is a copy of {original!r}"
        for path, original in zip(copies["path"], copies["duplicate_of"], strict=True)
    ]
    which = f"{len(bad)} can't be read" if len(bad) else "all can be read"
    summary = f"{_count_images(report)}, of which {which}"
    if len(copies):
        summary += f" and {len(copies)} have the content of an earlier one"
    lines.append(f"{summary}.")
    # With --output -, standard output holds the table and nothing else.
    file = sys.stderr if options.output == "-" else sys.stdout
    print_text("\n".join(lines), file=file)
    return 1 if len(bad) else 0


def _list_images(options):
    """List the images of a table, a folder or the command line."""
    first = options.data[0]
    if len(options.data) > 1:
        return options.data
    if os.path.isdir(first):
        return load_image_folder(first).filenames
    if first.lower().endswith(_TABLE_EXTENSIONS):
        return _load_table(options, first, label_column=None).filenames
    return options.data


def _info(options):
    model = _load_model(options.model)
    size = os.path.getsize(options.model)
    print_text(f"{escape_line(options.model)} ({size:,} bytes)")
    steps = model.steps if isinstance(model, Pipeline) else [("classify", model)]
    for name, step in steps:
        shown = name if name.isprintable() else ascii(name)
        print_text(f"{shown}: {' '.join(repr(step).split())}")
    last = steps[-1][1]
    classes = np.asarray(getattr(last, "classes_", ())).tolist()
    print_text(f"{len(classes)} classes: {', '.join(map(repr, classes))}")
    if hasattr(last, "image_shape_"):
        print_text(f"image shape: {' x '.join(map(str, last.image_shape_))}")
        print_text(f"weights: {last.model_.count_params():,}")
        values = [
            f"{escape_line(name)} {part[-1]:.4f}"
            for name, part in last.history_.items()
        ]
        print_text(f"trained: {last.n_iter_} epochs; at the end {', '.join(values)}")
    return 0


def _load_data(options, **arguments):
    """Load the labelled images of a table or of class folders."""
    if os.path.isdir(options.data):
        if options.image_dir is not None:
            raise SkimgclfError(
                f"--image-dir goes with a table, and {options.data!r} is a folder."
            )
        return load_image_folder(options.data, **arguments)
    return _load_table(
        options, options.data, label_column=options.label_column, **arguments
    )


def _load_table(options, csv, **arguments):
    for path, exists, kind in [
        (csv, os.path.isfile, "table"),
        (options.image_dir, os.path.isdir, "folder"),
    ]:
        if path is not None and not exists(os.path.expanduser(path)):
            raise SkimgclfError(f"There is no {kind} {path!r}.")
    return load_image_csv(
        csv,
        image_dir=options.image_dir,
        id_column=options.id_column,
        sep=options.sep,
        encoding=options.encoding,
        **arguments,
    )


def _load_pipeline(options):
    pipeline = _load_model(options.model)
    loader = pipeline.steps[0][1] if isinstance(pipeline, Pipeline) else None
    if not isinstance(loader, ImageLoader):
        raise SkimgclfError(
            f"The model {options.model!r} was saved without an ImageLoader in front, "
            "so it can't read images: save the whole pipeline."
        )
    loader.set_params(verbose=_is_watched(), cache=options.cache)
    return pipeline


def _load_model(path):
    if not os.path.isfile(path):
        raise SkimgclfError(f"There is no model {path!r}.")
    return importlib.import_module("skimgclf.saving").load_model(path)


def _is_watched():
    """Return the `verbose` of a loader: 1 if stderr is a terminal, otherwise 0."""
    return int(sys.stderr.isatty())


def _note(text):
    print_text(f"skimgclf: {text}", file=sys.stderr)


def _count_images(images):
    return "1 image" if len(images) == 1 else f"{len(images)} images"


def _shorten(labels):
    listed = ", ".join(map(repr, labels[:10]))
    return f"{listed} and {len(labels) - 10} more" if len(labels) > 10 else listed
