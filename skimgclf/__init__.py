"""Classify images with scikit-learn and Keras, from files to classes.

Data flows one way, through the modules of this package:

- :mod:`skimgclf.datasets`: find the paths and labels of images
- :mod:`skimgclf.images`: load paths into arrays (`ImageLoader`)
- :mod:`skimgclf.models`: turn arrays into classes (`KerasImageClassifier`) or into
  pretrained features (`ImageEmbedder`)
- :mod:`skimgclf.plot`: draw results (`TrainingHistoryDisplay`, `ImageGridDisplay`,
  `SaliencyDisplay`)

`make_image_pipeline` makes a ready pipeline by the kind of images, `predict_frame`
turns paths into a table of predictions, :mod:`skimgclf.saving` keeps a
trained model in a file (`save_model`, `load_model`, `export_model`), and
:mod:`skimgclf.exceptions` defines the errors and warnings.

Importing this package, the loader or the data sets imports neither Keras nor
TensorFlow, and no import brings matplotlib: public names are imported on first use.
"""

import importlib

__version__ = "0.1.0"

# Public names and their modules, imported on first use (PEP 562): TensorFlow takes
# seconds and hundreds of megabytes, which processes that only load images don't need.
_HOMES = {
    "ImageEmbedder": "skimgclf.models",
    "ImageGridDisplay": "skimgclf.plot",
    "ImageLoader": "skimgclf.images",
    "KerasImageClassifier": "skimgclf.models",
    "LazyImages": "skimgclf.images",
    "SaliencyDisplay": "skimgclf.plot",
    "TrainingHistoryDisplay": "skimgclf.plot",
    "check_images": "skimgclf.images",
    "export_model": "skimgclf.saving",
    "load_model": "skimgclf.saving",
    "make_image_pipeline": "skimgclf.pipelines",
    "predict_frame": "skimgclf.prediction",
    "save_model": "skimgclf.saving",
}

__all__ = list(_HOMES)
_ROOMS = ("datasets", "exceptions", "images", "models", "plot", "saving")


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"skimgclf.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'skimgclf' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES, *_ROOMS})
