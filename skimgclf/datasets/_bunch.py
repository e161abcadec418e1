"""Make the Bunch that every reader returns, from file names and labels."""

import unicodedata
from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.utils import Bunch

from skimgclf._validation import TRUE_OR_FALSE, VERBOSE, an_int, one_of, warn_user
from skimgclf.datasets._duplicates import decode_all, find_duplicates, hash_all
from skimgclf.exceptions import (
    DatasetError,
    DatasetWarning,
    describe_list,
    mask_credentials,
)
from skimgclf.images._urls import STORAGE_OPTIONS, UrlReader


@dataclass(frozen=True)
class Reading:
    """How a reader of a folder or table treats the files, in checked parameters.

    Attributes
    ----------
    source : str
        The table or folder, in words for sentences.
    hash_files : bool
        Whether every file is hashed.
    on_bad : {"ignore", "raise", "drop"}
        How files that can't be decoded are treated.
    max_pixels : int
        Images with more pixels can't be decoded.
    storage_options : dict
        Options of fsspec for URLs.
    verbose : int
        Above 0, a progress bar is shown on stderr.
    """

    source: str
    hash_files: bool
    on_bad: str
    max_pixels: int
    storage_options: dict
    verbose: int

    @property
    def url_reader(self):
        """UrlReader : Reads URLs with these options."""
        return UrlReader(self.storage_options)


# The rules of the parameters that the readers share.
READER_RULES = {
    "hash_files": TRUE_OR_FALSE,
    "on_bad": one_of("ignore", "raise", "drop"),
    "max_pixels": an_int(1),
    "allow_outside": TRUE_OR_FALSE,
    "storage_options": STORAGE_OPTIONS,
    "return_X_y": TRUE_OR_FALSE,
    "verbose": VERBOSE,
}


def describe_count(number, singular, plural=None):
    """Write a number with its noun.

    Examples
    --------
    >>> from skimgclf.datasets._bunch import describe_count
    >>> describe_count(1, "class", "classes"), describe_count(3, "image")
    ('1 class', '3 images')
    """
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def make_bunch(filenames, labels, frame, report, reading):
    """Decode and hash the files where that is asked for, and collect the result.

    Parameters
    ----------
    filenames : list of str
        The images, at least one.
    labels : list of str or None
        Their labels.
    frame : DataFrame of shape (n_images, n_columns)
        A row of text for each image.
    report : dict
        The entries of this reader; those that all readers share are added.
    reading : Reading
        How the files are read.

    Returns
    -------
    bunch : Bunch
        As the readers return it.
    notes : list of str
        The warnings to give once everything has gone well.
    """
    # NumPy's own text type would cut a longer text that is assigned to it.
    filenames, source = np.array(filenames, dtype=object), reading.source
    labels = None if labels is None else np.array(labels, dtype=object)
    notes, hashes, dropped = [], None, []
    if reading.on_bad != "ignore":
        keep, hashes, dropped = decode_all(filenames, reading)
        notes += _drop_notes(dropped, labels, keep, source)
        filenames, hashes = filenames[keep], np.array(hashes, dtype=object)[keep]
        frame = frame[keep].reset_index(drop=True)
        labels = None if labels is None else labels[keep]
    elif reading.hash_files:
        hashes = np.array(hash_all(filenames, reading), dtype=object)
    duplicates, conflicts = find_duplicates(filenames, labels, hashes)
    notes += _conflict_notes(conflicts, source, reading.on_bad)
    counts = None if labels is None else _count_labels(labels)
    report.update(
        n_images=len(filenames),
        n_per_class=counts,
        dropped=dropped,
        duplicates=duplicates,
        conflicts=conflicts,
    )
    bunch = Bunch(
        filenames=filenames,
        target=labels,
        target_names=None if labels is None else list(counts),
        frame=frame,
        groups=hashes if reading.hash_files else None,
        report=report,
        DESCR=_describe(source, len(filenames), counts),
    )
    return bunch, notes


def warn_all(notes):
    """Give the warnings of a reader, as from the line that called it."""
    for note in notes:
        warn_user(note[0].upper() + note[1:], DatasetWarning)


def alike_notes(counts, source):
    """Warn of classes that look the same.

    Parameters
    ----------
    counts : dict of str to int
        The images per class.
    source : str
        The table or folder, for sentences.

    Returns
    -------
    notes : list of str
        One warning, or none.
    """
    alike = {}
    for label in counts:
        alike.setdefault(_appearance(label), []).append(label)
    alike = [labels for labels in alike.values() if len(labels) > 1]
    if not alike:
        return []
    return [
        describe_list(
            f"{source} has classes that differ only by case, space or Unicode form; "
            f"each is a separate class, which may be a mistake:",
            # Escaped: in another Unicode form they would look the same here, too.
            [", ".join(map(ascii, labels)) for labels in alike],
        )
    ]


def one_class_notes(counts, source, advice=""):
    """Warn of a data set with one class, as `alike_notes` does."""
    if len(counts) != 1:
        return []
    label = next(iter(counts))
    return [f"{source} has only one class, {label!r}; a classifier needs two{advice}"]


def _drop_notes(dropped, labels, keep, source):
    if not dropped:
        return []
    were = "was" if len(dropped) == 1 else "were"
    summary = (
        f"{describe_count(len(dropped), 'image')} of {source} can't be read and {were} "
        f"dropped"
    )
    if labels is not None:
        lost = sorted(set(labels) - set(labels[keep]))
        if lost:
            summary += f" (the classes {lost!r} have no image left)"
    items = [f"{path!r}: {reason}" for path, reason in dropped]
    return [describe_list(f"{summary}:", items)]


def _conflict_notes(conflicts, source, on_bad):
    """Refuse equal images under different labels, or warn of them."""
    if not conflicts:
        return []
    summary = f"{source} has equal images under different labels"
    items = [
        ", ".join(f"{path!r} as {label!r}" for path, label in same)
        for same in conflicts
    ]
    if on_bad == "raise":
        raise DatasetError(f"{summary}:", items)
    return [describe_list(f"{summary} (on_bad='raise' refuses them):", items)]


def _count_labels(labels):
    return dict(sorted(Counter(labels).items()))


def _appearance(label):
    """Return a label without case, space and Unicode form."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    # "Cf" are characters without a width, such as the zero-width space.
    return "".join(
        character
        for character in folded
        if not character.isspace() and unicodedata.category(character) != "Cf"
    )


def _describe(source, n_images, counts):
    """Write the summary of a data set in words."""
    images = describe_count(n_images, "image")
    if counts is None:
        return mask_credentials(f"{images} without labels, from {source}.")
    classes = describe_count(len(counts), "class", "classes")
    per_class = [f"  {label!r}: {count}" for label, count in counts.items()]
    lines = [f"{images} in {classes}, from {source}:", *per_class]
    return mask_credentials("\n".join(lines))
