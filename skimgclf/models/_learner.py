"""Learning beside the estimator, so that it changes in one step or not at all.

A fit that fails or is interrupted leaves the estimator as it was, and threads that
predict meanwhile never see the half of what was learnt.
"""


def detach(estimator):
    """Return a second estimator with the same attributes, to learn in its place."""
    learner = type(estimator).__new__(type(estimator))
    vars(learner).update(vars(estimator))
    return learner


def adopt(estimator, learner):
    """Take over all attributes of the one that has learnt, and return the estimator."""
    for name in vars(estimator).keys() - vars(learner).keys():
        delattr(estimator, name)
    vars(estimator).update(vars(learner))
    return estimator
