"""Keeping a trained model in a file.

- :func:`save_model`, :func:`load_model`: for skimgclf itself, without running code
- :class:`BestEpochCheckpoint`: a callback that saves the best epoch of a long fit
- :func:`read_model_info`: when and by which versions it was saved, and notes
- :func:`export_model`: the network alone, for other programs
"""

import skimgclf.models  # noqa: F401 - imports TensorFlow, without its lines
from skimgclf.saving._checkpoint import BestEpochCheckpoint
from skimgclf.saving._export import export_model
from skimgclf.saving._model_file import load_model, read_model_info, save_model

__all__ = [
    "BestEpochCheckpoint",
    "export_model",
    "load_model",
    "read_model_info",
    "save_model",
]
