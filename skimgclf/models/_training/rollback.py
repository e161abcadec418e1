"""Change an estimator in one step, or not at all.

A fit that fails or is interrupted leaves the estimator as it was, and threads that
predict meanwhile see the old network or the new one.
"""

import contextlib

from skimgclf.models._training.interrupt import hear_interrupt
from skimgclf.models._training.loss import METRICS
from skimgclf.models._training.schedule import list_variables
from skimgclf.models._training.seeds import alone


@contextlib.contextmanager
def undone_on_failure(estimator, *, is_further=False):
    """Undo all changes of an estimator when the context fails or is interrupted.

    Callbacks of scikit-learn see the fitted estimator at the end of a fit, and may
    raise an error then.

    Parameters
    ----------
    estimator : KerasImageClassifier or ImageEmbedder
        Learns something in the context.
    is_further : bool, default=False
        Whether the network that it has, if any, is trained further. Other threads
        predict with the network as it was, and wait with a further training.

    Yields
    ------
    adopt : callable
        Takes the trained estimator, of which the estimator takes over all attributes.
    """
    adopted, is_whole, restore, held = [], False, _do_nothing, contextlib.nullcontext

    def adopt(learner):
        # In one step: another thread sees all old attributes or all new ones.
        estimator.__dict__ = vars(learner)
        adopted.append(vars(learner))

    def is_adopted():
        # Another thread may have fitted it meanwhile.
        return bool(adopted) and vars(estimator) is adopted[0]

    try:
        with contextlib.ExitStack() as stack:
            if is_further:
                stack.enter_context(alone())
            before = vars(estimator)
            if is_further and "_training" in before:
                held = before["_predictor"].held
                stack.enter_context(held())
                restore = _remember(before["_training"].network)
            try:
                yield adopt
                hear_interrupt()
                is_whole = True
            except BaseException:
                if is_adopted():
                    estimator.__dict__ = before
                restore()
                raise
    except KeyboardInterrupt:
        # Pressed while the context ended, which takes milliseconds.
        with alone():
            if is_whole and is_adopted():
                with held():
                    estimator.__dict__ = before
                    restore()
        raise


def _do_nothing():
    pass


def _remember(network):
    """Return the function that restores all variables and the optimizer."""
    before = optimizer, _ = _read_compiled(network)
    # A network that was loaded has no optimizer before it is trained further.
    learnt = [] if optimizer is None else list_variables(optimizer)
    saved = [(each, each.numpy()) for each in [*network.variables, *learnt]]

    def restore():
        for variable, value in saved:
            variable.assign(value)
        if _read_compiled(network) != before:
            network.compile(*before, metrics=METRICS)

    return restore


def _read_compiled(network):
    return getattr(network, "optimizer", None), network.loss
