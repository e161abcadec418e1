"""Change an estimator in one step, or not at all.

A fit that fails or is interrupted leaves the estimator as it was, and threads that
predict meanwhile see the old network or the new one.
"""

import contextlib

from skimgclf.models._training.interrupt import hear_interrupt
from skimgclf.models._training.loss import METRICS


def detach(estimator):
    """Return a second estimator with the same attributes, to be trained."""
    learner = type(estimator).__new__(type(estimator))
    vars(learner).update(vars(estimator))
    return learner


def adopt(estimator, learner):
    """Take over all attributes of the trained estimator, and return the first one."""
    # In one step: another thread sees all old attributes or all new ones.
    estimator.__dict__ = vars(learner)
    return estimator


@contextlib.contextmanager
def adopted(estimator, learner):
    """Take over all attributes of the trained estimator, unless the context fails.

    Callbacks of scikit-learn see the fitted estimator at the end of a fit, and may
    raise an error then.
    """
    before = vars(estimator)
    adopt(estimator, learner)
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise


@contextlib.contextmanager
def restored_on_failure(network):
    """Restore the variables and the optimizer of a network when training fails.

    Yields the list of (variable, value), to which the optimizer's can be added.
    """
    saved = copy_values(network.variables)
    # A network that was loaded has no optimizer before it is trained further.
    optimizer, loss = getattr(network, "optimizer", None), network.loss
    try:
        yield saved
        hear_interrupt()
    except BaseException:
        for variable, value in saved:
            variable.assign(value)
        network.compile(optimizer, loss, metrics=METRICS)
        raise


def copy_values(variables):
    return [(variable, variable.numpy()) for variable in variables]
