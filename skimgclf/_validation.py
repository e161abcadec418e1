"""Checks of parameters, the one form of a parameter error, and where warnings point."""

import numbers
import os
import sys
import warnings

import numpy as np
import sklearn

from skimgclf.exceptions import InvalidParameterError


def parameter_error(owner, name, expected, value):
    """Make the error that says what a parameter must be and what it was.

    Parameters
    ----------
    owner : str
        The class or function whose parameter it is.
    name : str
        The parameter.
    expected : str
        What it must be, as the end of the sentence "The parameter must be ...".
    value : object
        What was given.

    Returns
    -------
    error : InvalidParameterError
        Not raised here, so that the caller's ``raise`` stands where it happens.

    Examples
    --------
    >>> from skimgclf._validation import parameter_error
    >>> print(parameter_error("ImageLoader", "verbose", "an int of at least 0", -1))
    The 'verbose' parameter of ImageLoader must be an int of at least 0. Got -1 instead.
    """
    return InvalidParameterError(
        f"The {name!r} parameter of {owner} must be {expected}. Got {value!r} instead."
    )


def check_choice(owner, name, value, choices, *, otherwise=None):
    """Refuse a value that isn't one of the given strings.

    Parameters
    ----------
    owner, name, value
        As in `parameter_error`.
    choices : iterable of str
        The allowed strings.
    otherwise : str, default=None
        What else the caller accepts (and has checked before), for the sentence.
    """
    if not isinstance(value, str) or value not in choices:
        options = " or ".join(
            [", ".join(repr(choice) for choice in choices), *filter(None, [otherwise])]
        )
        raise parameter_error(owner, name, f"one of {options}", value)


def check_bool(owner, name, value):
    """Refuse anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise parameter_error(owner, name, "True or False", value)


def is_int(value, *, minimum):
    """Tell whether a value is an int (no bool) of at least `minimum`."""
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool | np.bool_)
        and value >= minimum
    )


def check_int(owner, name, value, *, minimum, none_means=None):
    """Refuse anything but an int of at least `minimum`.

    Parameters
    ----------
    owner, name, value
        As in `parameter_error`.
    minimum : int
        The smallest value allowed.
    none_means : str, default=None
        What None stands for; without it None is refused.
    """
    if value is None and none_means is not None:
        return
    if not is_int(value, minimum=minimum):
        none = f" or None ({none_means})" if none_means else ""
        raise parameter_error(owner, name, f"an int of at least {minimum}{none}", value)


def check_int_sequence(
    owner, name, value, *, minimum, length=None, empty=False, or_int=False
):
    """Refuse anything but a tuple or list of ints, and return it as a tuple.

    Parameters
    ----------
    owner, name, value
        As in `parameter_error`.
    minimum : int
        The smallest value allowed for each.
    length : int, default=None
        How many there must be; None for any number.
    empty : bool, default=False
        Whether an empty one is allowed.
    or_int : bool, default=False
        Whether a single int is allowed, which stands for `length` equal ones.

    Returns
    -------
    values : tuple of int
    """
    how_many = "" if length is None else f"{length} "
    single = "an int or " if or_int else ""
    error = parameter_error(
        owner, name, f"{single}a tuple of {how_many}ints of at least {minimum}", value
    )
    values = (value,) * (length or 1) if or_int and is_int(value, minimum=0) else value
    if not isinstance(values, tuple | list | np.ndarray):
        raise error
    if (length is not None and len(values) != length) or not (len(values) or empty):
        raise error
    if not all(is_int(item, minimum=minimum) for item in values):
        raise error
    return tuple(int(item) for item in values)


def check_verbose(owner, verbose):
    """Refuse anything but a bool and an int of at least 0."""
    if not isinstance(verbose, bool | np.bool_) and not is_int(verbose, minimum=0):
        raise parameter_error(
            owner, "verbose", "True, False or an int of at least 0", verbose
        )


def check_keys(what, mapping, names):
    """Refuse what isn't a dict with exactly these keys."""
    if not isinstance(mapping, dict):
        raise ValueError(f"{what} is a {type(mapping).__name__}, not a dict")
    if set(mapping) != set(names):
        wrong = sorted(map(str, set(mapping) ^ set(names)))
        raise ValueError(f"{what} has missing or unknown entries: {', '.join(wrong)}")


def warn_user(message, category=UserWarning):
    """Warn, pointing at the line of the user's that led here.

    Between it and the warning stand frames of this package and, in a pipeline or a
    search, of scikit-learn.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_OURS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep
    for file in (__file__, sklearn.__file__)
)
