"""List the paths and labels of images.

Every reader returns a :class:`~sklearn.utils.Bunch`. Its `filenames` and `target` go to
scikit-learn's splitters, and from there to an :class:`~skimgclf.ImageLoader` and its
classifier. Files are listed here and not decoded, except with ``on_bad="raise"`` and
``"drop"``, where :mod:`skimgclf.images` decodes them.

``load_`` reads files on this machine:

- `load_image_folder`: one folder per class
- `load_image_csv`: a csv table and a folder of images; labels are optional
- `load_digit_images`, `load_photo_patches`: real images from scikit-learn's own data

``fetch_`` downloads them first:

- `fetch_image_archive`: a zip or tar file by URL, Google Drive id or path, unpacked

All mistakes of a table or folder are listed in one
:class:`~skimgclf.exceptions.DatasetError`. Things that are only unusual give a
:class:`~skimgclf.exceptions.DatasetWarning` and stand in `report` of the Bunch.
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
