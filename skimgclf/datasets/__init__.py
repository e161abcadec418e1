"""Where the image paths and labels come from.

Every reader returns a :class:`~sklearn.utils.Bunch` whose `filenames` and `target` go
to scikit-learn's splitters, and from there to an
:class:`~skimgclf.ImageLoader` and its classifier. Files are listed here, never decoded
(but for ``on_bad="raise"`` and ``"drop"``, which ask :mod:`skimgclf.images`).

``load_`` reads what is on this machine:

- `load_image_folder`: one folder per class
- `load_image_csv`: a csv table and a folder of images; labels are optional
- `load_digit_images`, `load_photo_patches`: real images from scikit-learn's own data

``fetch_`` brings it here first:

- `fetch_image_archive`: a zip or tar file by URL, Google Drive id or path, unpacked

What is wrong with a table or folder is one
:class:`~skimgclf.exceptions.DatasetError` that lists everything; what is only unusual
is a :class:`~skimgclf.exceptions.DatasetWarning`, and `report` of the Bunch has it all.
"""

from skimgclf.datasets._archive import fetch_image_archive
from skimgclf.datasets._csv import load_image_csv
from skimgclf.datasets._folder import load_image_folder
from skimgclf.datasets._samples import load_digit_images, load_photo_patches

__all__ = [
    "fetch_image_archive",
    "load_digit_images",
    "load_image_csv",
    "load_image_folder",
    "load_photo_patches",
]
