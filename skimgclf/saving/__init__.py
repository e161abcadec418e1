"""Keep a trained model in a file.

- :func:`save_model`, :func:`load_model`: for skimgclf itself, without running code
- :class:`BestEpochCheckpoint`: a callback that saves the best epoch of a long fit
- :func:`read_model_info`: when and by which versions it was saved, and notes
- :func:`export_model`: the network alone, for other programs
"""

from skimgclf.saving._export import export_model
from skimgclf.saving._model_file import load_model, read_model_info, save_model

__all__ = [
    "BestEpochCheckpoint",
    "export_model",
    "load_model",
    "read_model_info",
    "save_model",
]


def __getattr__(name):
    if name != "BestEpochCheckpoint":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # At first use, since its base class is Keras'.
    from skimgclf.saving._checkpoint import BestEpochCheckpoint

    globals()[name] = BestEpochCheckpoint
    return BestEpochCheckpoint


def __dir__():
    return sorted({*globals(), *__all__})
