"""Save the best epoch of a training while it goes on: BestEpochCheckpoint."""

import math

from skimgclf._validation import ParameterTable, one_of, optional
from skimgclf.models._training.callbacks import ClassifierCallback
from skimgclf.saving._model_file import save_model

_TABLE = ParameterTable(
    "BestEpochCheckpoint",
    {"monitor": optional(one_of("loss", "accuracy", "val_loss", "val_accuracy"))},
)


class BestEpochCheckpoint(ClassifierCallback):
    """Save the classifier after each epoch that is better than all before.

    So a long fit that is interrupted (Ctrl-C) or killed isn't lost: :func:`load_model`
    gives the fitted classifier of the best epoch, and with ``warm_start=True`` its
    `fit` goes on from there.

    Parameters
    ----------
    path : str or os.PathLike
        The file, which :func:`save_model` writes in one step, optimizer included. Each
        fit needs its own, so in a search this callback is of no use.
    monitor : {"loss", "accuracy", "val_loss", "val_accuracy"}, default=None
        The value that decides on the best epoch. None for "val_loss" where there are
        validation data, otherwise "loss".

    See Also
    --------
    skimgclf.KerasImageClassifier : Takes it as one of `callbacks`.

    Notes
    -----
    Of a pipeline, the file holds the classifier alone. The pipeline itself predicts
    with it after ``pipeline.set_params(classify=load_model(path))``, if its other steps
    were fitted or need no fit, as `ImageLoader`.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from skimgclf import KerasImageClassifier, load_model
    >>> from skimgclf.saving import BestEpochCheckpoint
    >>> path = os.path.join(tempfile.mkdtemp(), "best.model")
    >>> X, y = np.eye(4), ["cat", "dog", "cat", "dog"]
    >>> classifier = KerasImageClassifier(
    ...     hidden_layer_sizes=(),
    ...     optimizer="sgd",
    ...     epochs=2,
    ...     callbacks=BestEpochCheckpoint(path),
    ... )
    >>> classifier = classifier.fit(X, y)  # Ctrl-C may end it
    >>> best = load_model(path)
    >>> best.n_iter_
    2
    >>> best.set_params(warm_start=True, epochs=3).fit(X, y).n_iter_
    5
    """

    def __init__(self, path, *, monitor=None):
        super().__init__()
        self.path = path
        self.monitor = monitor

    def on_train_begin(self, logs=None):
        """Check the parameters."""
        _TABLE.check({"monitor": self.monitor})
        if self._show is None:
            raise ValueError(
                "BestEpochCheckpoint saves a KerasImageClassifier: give it as one of "
                "callbacks to that, not to a keras.Model."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Save the classifier, if the epoch is the best one."""
        super().on_epoch_end(epoch, logs)
        monitor = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if monitor not in logs:
            raise _TABLE.error("monitor", "measured: give validation data", monitor)
        sign = -1 if monitor.endswith("loss") else 1
        *before, last = [sign * value for value in self._history[monitor]]
        if last > max((value for value in before if value == value), default=-math.inf):
            classifier = self.make_classifier(self.model)
            save_model(classifier, self.path, include_optimizer=True)
