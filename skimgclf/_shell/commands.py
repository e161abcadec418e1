"""Run the sub-commands of ``skimgclf``.

Keras is imported only by commands that need it, after arguments and tables are checked.
"""

import importlib
import os
import sys

import numpy as np
from joblib import parallel_config
from sklearn.pipeline import Pipeline

from skimgclf._shell.inputs import (
    count_images,
    expand_folders,
    is_table,
    is_watched,
    list_checked,
    list_read,
    load_model,
    load_pipeline,
    load_table,
    note,
    read_standard_input,
    take_reading,
)
from skimgclf._shell.report import (
    check_not_read,
    check_output,
    named_if_written,
    write_csv,
)
from skimgclf._shell.training import evaluate, fit
from skimgclf._terminal import escape_line, print_text
from skimgclf.exceptions import SkimgclfError
from skimgclf.images import check_images
from skimgclf.prediction import predict_frame


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
        "fit": fit,
        "predict": _predict,
        "evaluate": evaluate,
        "check": _check,
        "info": _info,
    }
    # Images are decoded by all processors, unless the loader's `n_jobs` is set.
    with parallel_config(backend="threading", n_jobs=-1):
        return commands[options.command](options)


def _predict(options):
    check_output(options.output)
    if options.csv:
        data = load_table(options, options.csv, label_column=None)
        name = options.id_column.strip()
        given, paths = data.frame[name].to_numpy(), list(data.filenames)
    else:
        table = next(filter(is_table, options.images), None)
        if table is not None:
            raise SkimgclfError(f"{table!r} is a table: give it as --csv {table!r}.")
        name, paths = "path", expand_folders(options, options.images)
        given = np.array(paths, dtype=object)
    check_not_read(options.output, list_read(options, options.csv, *paths))
    frame = predict_frame(
        load_pipeline(options),
        read_standard_input(paths),
        top_k=options.top_k,
        on_error=options.on_error,
    )
    # Every image has one row of rank 1.
    is_first = frame["rank"] == 1 if "rank" in frame else np.ones(len(frame), bool)
    frame.loc[:, "path"] = given[np.cumsum(is_first) - 1]
    if options.on_error == "raise":
        del frame["reason"]
    else:
        n_bad = frame["label"].isna().sum()
        if n_bad:
            note(f"{n_bad} of {count_images(paths)} can't be read; see the reasons")
    frame.columns = [name, *frame.columns[1:]]
    with named_if_written(options.output):
        write_csv(frame, options.output)
    return 0


def _check(options):
    paths = list_checked(options)
    if options.output:
        check_output(options.output)
        check_not_read(options.output, list_read(options, *options.data, *paths))
    report = check_images(
        read_standard_input(paths),
        strict=options.strict,
        verbose=is_watched(),
        **take_reading(options),
    )
    report.loc[:, "path"] = paths
    with named_if_written(options.output):
        if options.output:
            write_csv(report, options.output)
        _print_report(options, report)
    return 0 if report["ok"].all() else 1


def _print_report(options, report):
    """Print the reasons of unreadable images, the copies, and a summary."""
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
    summary = f"{count_images(report)}, of which {which}"
    if len(copies):
        have = "has" if len(copies) == 1 else "have"
        summary += f" and {len(copies)} {have} the content of an earlier one"
    lines.append(f"{summary}.")
    # With --output -, standard output holds the table and nothing else.
    file = sys.stderr if options.output == "-" else sys.stdout
    print_text("\n".join(lines), file=file)


def _info(options):
    model = load_model(options)
    info = importlib.import_module("skimgclf.saving").read_model_info(options.model)
    size, notes = os.path.getsize(options.model), dict(info.notes)
    print_text(f"{escape_line(options.model)} ({size:,} bytes)")
    print_text(f"saved: {info.date}, by {_list_pairs(info.versions)}")
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
    settings = str(notes.pop("settings", ""))
    for name, value in notes.items():
        print_text(f"{escape_line(name)}: {escape_line(str(value))}")
    for line in settings.splitlines():
        print_text(f"  {escape_line(line)}")
    return 0


def _list_pairs(versions):
    pairs = (f"{name} {version}" for name, version in versions.items())
    return ", ".join(map(escape_line, pairs))
