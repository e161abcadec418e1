"""Paths to arrays.

- :class:`~skimgclf.ImageLoader`: a list of image files to one array, as a pipeline's
  first step
- :class:`~skimgclf.LazyImages`: what that returns when memory doesn't hold the array
- :func:`read_image`: one image to one array
- :func:`~skimgclf.check_images`: every file decoded, a table of what can't be read and
  why

Behind them, `_decode` is the only place that opens, orients, converts, resizes or
scales an image; nothing here lists a folder or imports Keras.
"""

from skimgclf.images._check import check_images
from skimgclf.images._decoding.decode import read_image
from skimgclf.images._lazy import LazyImages
from skimgclf.images._loader import ImageLoader

__all__ = ["ImageLoader", "LazyImages", "check_images", "read_image"]
