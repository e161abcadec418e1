"""Draw training curves, images with their labels, and maps of evidence.

- :class:`~skimgclf.TrainingHistoryDisplay`: loss and metrics by epoch
- :class:`~skimgclf.ImageGridDisplay`: images with labels, the worst errors first
- :class:`~skimgclf.SaliencyDisplay`: which places in an image speak for a class

They follow scikit-learn's displays: `from_estimator` and `from_predictions` compute and
draw, `plot` draws again, `ax_` and `figure_` are the objects of matplotlib. They read
only public attributes and methods, so that they work with other classifiers too.
matplotlib, which ``pip install "skimgclf[plot]"`` installs, is imported when a display
is drawn.
"""

from skimgclf.plot._grid import ImageGridDisplay
from skimgclf.plot._history import TrainingHistoryDisplay
from skimgclf.plot._saliency import SaliencyDisplay

__all__ = ["ImageGridDisplay", "SaliencyDisplay", "TrainingHistoryDisplay"]
