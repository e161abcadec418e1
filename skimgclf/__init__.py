"""Image classification for people who know scikit-learn.

Data flows one way, through the rooms of this package:

- :mod:`skimgclf.datasets`: where the image paths and labels come from
- :mod:`skimgclf.images`: paths to arrays (`ImageLoader`)
- :mod:`skimgclf.models`: arrays to classes (`KerasImageClassifier`), or to pretrained
  features (`ImageEmbedder`)
- :mod:`skimgclf.plot`: looking at it (`TrainingHistoryDisplay`, `ImageGridDisplay`,
  `SaliencyDisplay`)

`predict_frame` goes through all of them, :mod:`skimgclf.saving` keeps a trained model
in a file (`save_model`, `load_model`, `export_model`), and :mod:`skimgclf.exceptions`
holds what they raise.

Importing this package, the loader or the data sets imports neither Keras nor
TensorFlow, and no import brings matplotlib: the names below are fetched on first use.
"""

import importlib

__version__ = "0.1.0"

__all__ = [
    "ImageEmbedder",
    "ImageGridDisplay",
    "ImageLoader",
    "KerasImageClassifier",
    "LazyImages",
    "SaliencyDisplay",
    "TrainingHistoryDisplay",
    "check_images",
    "export_model",
    "load_model",
    "predict_frame",
    "save_model",
]

# Public name -> the room that has it (PEP 562). TensorFlow takes seconds and hundreds
# of megabytes to import, which a process that only loads images should not pay.
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
    "predict_frame": "skimgclf.prediction",
    "save_model": "skimgclf.saving",
}

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
