"""Looking at what a network learns, sees and gets wrong.

- :class:`~skimgclf.TrainingHistoryDisplay`: loss and metrics by epoch
- :class:`~skimgclf.ImageGridDisplay`: images with labels, the worst errors first
- :class:`~skimgclf.SaliencyDisplay`: where in an image the evidence for a class lies

They have the form of scikit-learn's displays: `from_estimator` and `from_predictions`
compute and draw, `plot` draws again, `ax_` and `figure_` hold what was drawn. They read
public attributes and methods only, so they work with other classifiers as well.
matplotlib, which ``pip install "skimgclf[plot]"`` installs, is imported when something
is drawn.
"""

from skimgclf.plot._grid import ImageGridDisplay
from skimgclf.plot._history import TrainingHistoryDisplay
from skimgclf.plot._saliency import SaliencyDisplay

__all__ = ["ImageGridDisplay", "SaliencyDisplay", "TrainingHistoryDisplay"]
