"""Find the inputs of a command: models, tables, folders, images, standard input."""

import importlib
import os
import sys

from sklearn.pipeline import Pipeline

from skimgclf._shell.options import FOLDER, READING
from skimgclf._store_file import list_files
from skimgclf._terminal import print_text
from skimgclf.datasets import load_image_csv, load_image_folder
from skimgclf.datasets._folder import list_images
from skimgclf.exceptions import SkimgclfError
from skimgclf.images import ImageLoader
from skimgclf.images._urls import is_url

_TABLE_EXTENSIONS = (".csv", ".tsv", ".txt")


def load_data(options, **arguments):
    """Load the labelled images of a table or of class folders."""
    if options.max_pixels is not None:
        arguments["max_pixels"] = options.max_pixels
    if not is_folder(options.data):
        arguments |= {"label_column": options.label_column, "on_bad": options.on_bad}
        return load_table(options, options.data, **arguments)
    if options.image_dir is not None:
        raise SkimgclfError(
            f"--image-dir goes with a table, and {options.data!r} is a folder."
        )
    folder = {option.name: getattr(options, option.name) for option in FOLDER}
    return load_image_folder(options.data, on_bad=options.on_bad, **folder, **arguments)


def is_folder(path):
    """Tell whether DATA is a folder, or a URL that doesn't end like a table."""
    if is_url(path):
        return not path.split("::")[0].lower().endswith(_TABLE_EXTENSIONS)
    return os.path.isdir(os.path.expanduser(path))


def load_table(options, csv, **arguments):
    """Load the images of a table; "-" is standard input."""
    for path, exists, kind in [
        (csv, os.path.isfile, "table"),
        (options.image_dir, os.path.isdir, "folder"),
    ]:
        is_there = path in (None, "-") or is_url(path)
        if not is_there and not exists(os.path.expanduser(path)):
            advice = ""
            if kind == "table" and os.path.isdir(os.path.expanduser(path)):
                advice = " It is a folder: give it without --csv."
            raise SkimgclfError(f"There is no {kind} {path!r}.{advice}")
    return load_image_csv(
        sys.stdin.buffer if csv == "-" else csv,
        image_dir=options.image_dir,
        id_column=options.id_column,
        sep=options.sep,
        encoding=options.encoding,
        allow_outside=options.allow_outside,
        **arguments,
    )


def load_pipeline(options):
    """Load a model that reads images."""
    pipeline = load_model(options)
    loader = pipeline.steps[0][1] if isinstance(pipeline, Pipeline) else None
    if not isinstance(loader, ImageLoader):
        raise SkimgclfError(
            f"The model {options.model!r} was saved without an ImageLoader in front, "
            "so it can't read images: save the whole pipeline."
        )
    loader.set_params(verbose=is_watched(), **take_reading(options))
    return pipeline


def load_model(options):
    """Load a model."""
    path = options.model
    if not os.path.isfile(path):
        raise SkimgclfError(f"There is no model {path!r}.")
    saving = importlib.import_module("skimgclf.saving")
    return saving.load_model(path, trusted=options.trusted)


def list_checked(options):
    """List the images of a table, or of folders and the command line."""
    first, *others = options.data
    if is_table(first) and not others:
        return load_table(options, first, label_column=None).filenames
    return expand_folders(options, options.data)


def is_table(path):
    """Tell whether an argument has the name of a table, and isn't a folder."""
    return path.lower().endswith(_TABLE_EXTENSIONS) and not is_folder(path)


def expand_folders(options, given):
    """Put the images of folders in the place of the folders."""
    listed = []
    for path in given:
        folder = os.path.expanduser(path)
        if os.path.isdir(folder):
            listed += list_images(
                folder,
                follow_links=options.follow_links,
                allow_outside=options.allow_outside,
            )
        else:
            listed.append(path)
    return listed


def read_standard_input(paths):
    """Put the image on standard input in the place of "-"."""
    return [sys.stdin.buffer.read() if path == "-" else path for path in paths]


def list_read(options, *paths):
    """List the files that a command reads: its arguments, and those of the cache."""
    model, cache = getattr(options, "model", None), getattr(options, "cache", None)
    # Where the system has a name for it, standard input may be a file, too.
    named = ["/dev/stdin" if path == "-" else path for path in paths]
    return [model, *named, *list_files(cache)]


def take_reading(options):
    """Return the parameters of a loader that no saved model keeps."""
    given = {option.name: getattr(options, option.name, None) for option in READING}
    return {name: value for name, value in given.items() if value is not None}


def is_watched():
    """Return the `verbose` of a loader: 1 if stderr is a terminal, otherwise 0."""
    return int(sys.stderr.isatty())


def note(text):
    """Print a remark on stderr."""
    print_text(f"skimgclf: {text}", file=sys.stderr)


def count_images(images):
    """Write the number of images."""
    return "1 image" if len(images) == 1 else f"{len(images)} images"


def shorten(labels):
    """Write the first ten labels."""
    listed = ", ".join(map(repr, labels[:10]))
    return f"{listed} and {len(labels) - 10} more" if len(labels) > 10 else listed
