"""Write scikit-learn's real images as files: load_digit_images, load_photo_patches."""

import os

import numpy as np
from PIL import Image
from sklearn.datasets import get_data_home, load_digits, load_sample_images

from skimgclf._atomic import full_disk_explained, replace_atomically
from skimgclf._validation import TRUE_OR_FALSE, ParameterTable, a_path, optional
from skimgclf.datasets._csv import load_image_csv

# In pixels; height and width of both photos, of which incomplete patches are left out.
_PATCH_SIZE = 32
_PHOTO_SIZE = (427, 640)

_RULES = {"data_home": optional(a_path("a folder")), "return_X_y": TRUE_OR_FALSE}


def load_digit_images(data_home=None, *, return_X_y=False):
    """Load scikit-learn's handwritten digits, as image files.

    The 1,797 images of :func:`sklearn.datasets.load_digits` (8x8 pixels) are written
    once, as gray PNG files: one folder per class, and a table ``digits.csv`` with the
    columns id and label, so that every reader can be tried on them. A pixel is the
    original's value times 255 / 16, rounded. Files that are missing or empty are
    written again; several processes may call this at once.

    Parameters
    ----------
    data_home : str or os.PathLike, default=None
        The folder below which they are kept, as ``skimgclf/digits``. By default
        scikit-learn's data home (:func:`sklearn.datasets.get_data_home`).
    return_X_y : bool, default=False
        Whether to return only ``(filenames, target)``.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        As from :func:`load_image_csv`, in the order of scikit-learn's function:
        `target` holds the labels as str ("0" to "9"). In addition

        - root : str: the folder with the class folders, for :func:`load_image_folder`
        - csv : str: the table, for :func:`load_image_csv`

    (filenames, target) : tuple of ndarray of shape (1797,)
        If `return_X_y` is True.

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value.
    OSError
        If the files can't be written.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from skimgclf.datasets import load_digit_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digits = load_digit_images(folder)
    ...     with Image.open(digits.filenames[0]) as image:
    ...         print(image.format, image.mode, image.size)
    PNG L (8, 8)
    >>> digits.filenames.shape, digits.target_names
    ((1797,), ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    """
    plain = ParameterTable("load_digit_images", _RULES).check(locals())
    root = os.path.join(get_data_home(plain["data_home"]), "skimgclf", "digits")
    labels = load_digits().target
    ids = [f"{label}/digit_{row:04d}.png" for row, label in enumerate(labels)]
    return _load_sample(root, "digits.csv", ids, _draw_digits, return_X_y)


def load_photo_patches(data_home=None, *, return_X_y=False):
    """Load pieces of scikit-learn's two colour photos, as image files.

    Both photos of :func:`sklearn.datasets.load_sample_images` (640x427 pixels) are cut
    into 13 rows of 20 patches of 32x32 pixels, which are written once, as JPEG files of
    quality 95: one folder per class, and a table ``photos.csv`` with the columns id and
    label. Files that are missing or empty are written again; several processes may call
    this at once.

    Neighbouring patches show the same wall, sky or petal, so that a random split puts
    near copies of training images among the test images: good for tests and demos of
    colour images, not for any claim on accuracy.

    The photos are under the licence Creative Commons Attribution 2.0;
    ``sklearn.datasets.load_sample_images().DESCR`` names authors and sources.

    Parameters
    ----------
    data_home : str or os.PathLike, default=None
        The folder below which they are kept, as ``skimgclf/photos``. By default
        scikit-learn's data home (:func:`sklearn.datasets.get_data_home`).
    return_X_y : bool, default=False
        Whether to return only ``(filenames, target)``.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        As from :func:`load_image_csv`, photo by photo and row by row: `target` holds
        "china" or "flower", 260 of each. In addition

        - root : str: the folder with the class folders, for :func:`load_image_folder`
        - csv : str: the table, for :func:`load_image_csv`

    (filenames, target) : tuple of ndarray of shape (520,)
        If `return_X_y` is True.

    Raises
    ------
    InvalidParameterError
        If a parameter has an invalid value.
    OSError
        If the files can't be written.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from skimgclf.datasets import load_photo_patches
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     photos = load_photo_patches(folder)
    ...     with Image.open(photos.filenames[-1]) as image:
    ...         print(image.format, image.mode, image.size)
    JPEG RGB (32, 32)
    >>> photos.report["n_per_class"]
    {'china': 260, 'flower': 260}
    """
    plain = ParameterTable("load_photo_patches", _RULES).check(locals())
    root = os.path.join(get_data_home(plain["data_home"]), "skimgclf", "photos")
    rows, columns = _PHOTO_SIZE[0] // _PATCH_SIZE, _PHOTO_SIZE[1] // _PATCH_SIZE
    ids = [
        f"{name}/{name}_{row:02d}_{column:02d}.jpg"
        for name in ("china", "flower")
        for row in range(rows)
        for column in range(columns)
    ]
    return _load_sample(root, "photos.csv", ids, _draw_patches, return_X_y)


def _draw_digits():
    """Yield the digits as 8-bit gray images, in scikit-learn's order."""
    for pixels in load_digits().images:
        # A value counts the set pixels in a 4x4 block of the scan: 0 to 16.
        yield Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8))


def _draw_patches():
    """Yield the patches of both photos, row by row."""
    for photo in load_sample_images().images:
        for top in range(0, _PHOTO_SIZE[0] - _PATCH_SIZE + 1, _PATCH_SIZE):
            for left in range(0, _PHOTO_SIZE[1] - _PATCH_SIZE + 1, _PATCH_SIZE):
                patch = photo[top : top + _PATCH_SIZE, left : left + _PATCH_SIZE]
                yield Image.fromarray(np.ascontiguousarray(patch))


def _load_sample(root, csv_name, ids, draw, return_X_y):
    """Write a sample unless it is there, and read it."""
    csv = os.path.join(root, csv_name)
    if not _is_complete(root, csv_name, ids):
        _write_sample(root, csv_name, ids, draw)
    bunch = load_image_csv(csv)
    bunch.root, bunch.csv = root, csv
    return (bunch.filenames, bunch.target) if return_X_y else bunch


def _is_complete(root, csv_name, ids):
    """Tell whether every file is there and none is empty.

    After a loss of power, a file system may know a name without its content.
    """
    whole = set()
    for folder in ("", *{os.path.dirname(image_id) for image_id in ids}):
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    if entry.is_file() and entry.stat().st_size:
                        whole.add(os.path.join(folder, entry.name))
        except FileNotFoundError:
            return False
    return whole.issuperset([*ids, csv_name])


def _write_sample(root, csv_name, ids, draw):
    """Write all files of a sample; files of others in its folder stay.

    Several processes may do so at once, since they write equal contents.
    """
    with full_disk_explained():
        os.makedirs(os.path.dirname(root), exist_ok=True)
    with replace_atomically(root, folder=True) as folder:
        for image_id, image in zip(ids, draw(), strict=True):
            path = os.path.join(folder, image_id)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            image.save(path, quality=95)
        rows = [f"{image_id},{os.path.dirname(image_id)}\n" for image_id in ids]
        with open(os.path.join(folder, csv_name), "w", encoding="utf-8") as file:
            file.write("".join(["id,label\n", *rows]))
