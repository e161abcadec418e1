"""Find the valid name that is nearest to a misspelt name."""

import difflib


def advise_nearest(value, names):
    """Write the end of a sentence on a misspelt name: the nearest valid name, if any.

    Parameters
    ----------
    value : object
        The misspelt name; anything but str is like no name.
    names : iterable of str
        The right names.

    Returns
    -------
    advice : str

    Examples
    --------
    >>> from skimgclf._nearest import advise_nearest
    >>> advise_nearest("Resnt", ["dense", "resnet"]), advise_nearest("x", ["dense"])
    ("; the nearest name is 'resnet'", '')
    """
    if not isinstance(value, str):
        return ""
    spellings = {name.casefold(): name for name in sorted(names)}
    near = difflib.get_close_matches(value.casefold(), spellings, n=1)
    return f"; the nearest name is {spellings[near[0]]!r}" if near else ""
