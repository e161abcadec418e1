"""Load images from files into arrays.

- :class:`~skimgclf.ImageLoader`: a list of image files to one array, as a pipeline's
  first step
- :class:`~skimgclf.LazyImages`: its result when memory doesn't hold the array
- :func:`read_image`: one image to one array
- :func:`~skimgclf.check_images`: every file decoded, a table of the files that can't be
  read and why

Only `_decoding` opens, orients, converts, resizes or scales an image. Nothing here
lists a folder or imports Keras.
"""

from skimgclf.images._check import check_images
from skimgclf.images._decoding.decode import read_image
from skimgclf.images._lazy import LazyImages
from skimgclf.images._loader import ImageLoader

__all__ = ["ImageLoader", "LazyImages", "check_images", "read_image"]
