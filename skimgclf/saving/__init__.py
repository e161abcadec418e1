"""Keeping a trained model in a file, and getting it back without running code."""

from skimgclf.saving._model_file import load_model, save_model

__all__ = ["load_model", "save_model"]
