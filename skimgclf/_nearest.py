"""Find the name that a misspelt one is most like."""

import difflib


def find_nearest(value, names):
    """Find the name that a misspelt one is most like; None if it is like no name.

    Parameters
    ----------
    value : object
        The misspelt name; anything but str is like no name.
    names : iterable of str

    Returns
    -------
    near : str or None

    Examples
    --------
    >>> from skimgclf._nearest import find_nearest
    >>> find_nearest("Resnt", ["dense", "resnet"]), find_nearest("x", ["dense"])
    ('resnet', None)
    """
    if not isinstance(value, str):
        return None
    spellings = {name.casefold(): name for name in sorted(names)}
    near = difflib.get_close_matches(value.casefold(), spellings, n=1)
    return spellings[near[0]] if near else None


def advise_nearest(value, names):
    """Write the end of a sentence on a misspelt name: the nearest one, or nothing."""
    near = find_nearest(value, names)
    return f"; the nearest name is {near!r}" if near else ""
