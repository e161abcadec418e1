"""Decode or hash all files of a data set, and find equal files."""

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

from skimgclf.datasets._paths import read_bytes
from skimgclf.exceptions import DatasetError, ImageLoadError
from skimgclf.images import check_images
from skimgclf.images._urls import is_url


def decode_all(filenames, reading):
    """Decode every file.

    Parameters
    ----------
    filenames : ndarray of shape (n_images,)
        The images.
    reading : Reading
        How the images are read; its `on_bad` is "raise" or "drop".

    Returns
    -------
    keep : ndarray of bool of shape (n_images,)
        True for the good ones.
    hashes : list of str
        The SHA-256 of every file's bytes; meaningless for a bad one.
    dropped : list of tuple (str, str)
        Path and reason of the bad ones.

    Raises
    ------
    ImageLoadError
        For ``on_bad="raise"``, naming all bad files.
    DatasetError
        If no image is good.
    """
    checked = check_images(
        list(filenames),
        max_pixels=reading.max_pixels,
        storage_options=reading.storage_options,
        verbose=reading.verbose,
    )
    keep = checked["ok"].to_numpy(dtype=bool)
    bad = [
        (filenames[row], checked["reason"].iloc[row]) for row in (~keep).nonzero()[0]
    ]
    if bad and reading.on_bad == "raise":
        raise ImageLoadError([(None, path, reason) for path, reason in bad])
    if not keep.any():
        raise DatasetError(
            f"None of the images of {reading.source} can be read:",
            [f"{path!r}: {reason}" for path, reason in bad],
        )
    return keep, checked["sha256"].tolist(), bad


def hash_all(filenames, reading):
    """Hash every file, in threads, since neither disks nor hashlib hold the GIL.

    Parameters
    ----------
    filenames : ndarray of shape (n_images,)
        The images.
    reading : Reading
        How the images are read.

    Returns
    -------
    hashes : list of str
        The SHA-256 of every file's bytes.

    Raises
    ------
    DatasetError
        If files can't be read, naming all of them.
    """
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        hash_file = functools.partial(_hash_file, url_reader=reading.url_reader)
        hashes = list(pool.map(hash_file, filenames))
    problems = [
        f"{path!r}: {outcome.strerror}"
        for path, outcome in zip(filenames, hashes, strict=True)
        if isinstance(outcome, OSError)
    ]
    if problems:
        raise DatasetError(f"Files of {reading.source} can't be read:", problems)
    return hashes


def find_duplicates(filenames, labels, hashes):
    """Find the images with equal content.

    Parameters
    ----------
    filenames : ndarray of shape (n_images,)
        The images.
    labels : ndarray of shape (n_images,) or None
        Their labels.
    hashes : ndarray of shape (n_images,) or None
        Their contents' hashes.

    Returns
    -------
    duplicates : list of list of str or None
        The files with equal content; None without hashes.
    conflicts : list of list of tuple (str, str) or None
        File and label of those of them that have different labels; None without hashes.
    """
    if hashes is None:
        return None, None
    rows_of = {}
    for row, content in enumerate(hashes):
        rows_of.setdefault(content, []).append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    conflicts = []
    if labels is not None:
        conflicts = [
            [(filenames[row], labels[row]) for row in rows]
            for rows in repeated
            if len({labels[row] for row in rows}) > 1
        ]
    return [[filenames[row] for row in rows] for rows in repeated], conflicts


def _hash_file(path, url_reader):
    """Return the hash, or the error: one bad file must not hide the others."""
    try:
        if is_url(path):
            content = read_bytes(path, url_reader)
            return hashlib.sha256(content).hexdigest()
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return error
