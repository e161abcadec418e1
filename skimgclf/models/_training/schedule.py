"""Name the schedules of the learning rate, and find that of an optimizer."""

from skimgclf.models._repairs import read_rate

SCHEDULES = ("constant", "one_cycle", "cosine")


def find_schedule(owner):
    """Return the RateSchedule of an optimizer, or None if it has none."""
    # Late, since its base class is Keras'.
    from skimgclf.models._training.rate_schedule import RateSchedule

    rate = read_rate(owner)
    return rate if isinstance(rate, RateSchedule) else None


def list_variables(owner):
    """List the variables of an optimizer and of its RateSchedule."""
    schedule = find_schedule(owner)
    return [*owner.variables, *(schedule.variables if schedule else [])]
