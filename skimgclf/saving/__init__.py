"""Keeping a trained model in a file.

- :func:`save_model`, :func:`load_model`: for skimgclf itself, without running code
- :func:`export_model`: the network alone, for other programs
"""

import skimgclf.models  # noqa: F401 - imports TensorFlow, without its lines
from skimgclf.saving._export import export_model
from skimgclf.saving._model_file import load_model, save_model

__all__ = ["export_model", "load_model", "save_model"]
