"""Take part in scikit-learn's callbacks, such as its `ProgressBar`.

scikit-learn 1.9 brought them. With older versions, estimators have no `set_callbacks`,
and nothing is reported.
"""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:
        """Replace scikit-learn's class by an empty one."""

    def with_callbacks(method):
        """Return the method unchanged."""
        return method


__all__ = ["CallbackSupportMixin", "FitTask", "share_callbacks", "with_callbacks"]

# A callback is called for each part, which may cost as much as a small image.
_MAX_PARTS = 100


class FitTask:
    """Report a fit and its parts to the callbacks of an estimator.

    Parameters
    ----------
    estimator : estimator instance
        The estimator with the method that `with_callbacks` has wrapped.
    X, y : object
        The training data, as the method was given them.
    sample_weight : object, default=None
        Weights of the samples.
    """

    def __init__(self, estimator, X, y=None, sample_weight=None):
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._whole = self._part = None
        self._n_rows = self._n_done = self._n_reported = 0

    def start(self, n_parts):
        """Begin the fit, of so many parts at most."""
        self._n_parts = n_parts
        self._whole = init_context(self._given["estimator"], n_parts)
        if self._whole is not None:
            self._whole.call_on_fit_task_begin(**self._given)

    def begin_part(self, name):
        """Begin a part."""
        if self._whole is not None:
            self._part = self._whole.subcontext(task_name=name)
            self._part.call_on_fit_task_begin(**self._given)

    def end_part(self, describe=None):
        """End a part.

        Parameters
        ----------
        describe : callable, default=None
            Called if a callback wants the estimator as it would be if the fit ended
            here; returns its attributes.

        Returns
        -------
        is_last : bool
            Whether a callback wants the fit to end here.
        """
        return self._part is not None and self._part.call_on_fit_task_end(
            **self._given, reconstruction_attributes=describe
        )

    def end(self):
        """End the fit: the estimator has all that it has learnt."""
        if self._whole is not None:
            self._whole.call_on_fit_task_end(
                **self._given, reconstruction_attributes={}
            )

    def start_rows(self, n_rows):
        """Begin a fit that goes through rows, many of them in one part."""
        self._n_rows = n_rows
        self.start(min(n_rows, _MAX_PARTS))

    def counting(self, function):
        """Return a function of rows that reports them as done after each call."""

        def call(rows):
            result = function(rows)
            self.count_rows(len(rows))
            return result

        return call

    def count_rows(self, n_rows):
        """Report that further rows are done."""
        self._n_done += n_rows
        while self._n_reported < self._n_done * self._n_parts // self._n_rows:
            self._n_reported += 1
            self.begin_part("images")
            self.end_part()


def init_context(estimator, n_parts):
    """Make the context that scikit-learn's callbacks are called with.

    Cause: the method that scikit-learn 1.9 documents for this has a private name.

    Gone: returns None, and nothing is reported, as with older versions.

    Can go: when the method has a public name.

    Parameters
    ----------
    estimator : estimator instance
    n_parts : int
        Largest number of parts of the fit.

    Returns
    -------
    context : sklearn.callback.CallbackContext or None
    """
    init = getattr(estimator, "_init_callback_context", None)
    return None if init is None else init(max_subtasks=n_parts)


def share_callbacks(estimator, cloned):
    """Give a clone the callbacks of an estimator.

    Cause: scikit-learn 1.9 gives them to the clones that it makes, in an attribute that
    is private, and `ImageEmbedder` is cloned by a method of its own.

    Gone: clones have no callbacks.

    Can go: when callbacks can be read, or when the embedder has no such method.

    Parameters
    ----------
    estimator, cloned : ImageEmbedder
    """
    callbacks = vars(estimator).get("_skl_callbacks")
    if callbacks:
        cloned.set_callbacks(*callbacks)
