"""Check parameters by rules, make parameter errors, and warn users."""

import dataclasses
import math
import numbers
import os
import sys
import warnings
from collections.abc import Callable

import numpy as np
import sklearn

from skimgclf._nearest import advise_nearest
from skimgclf.exceptions import InvalidParameterError, mask_credentials


def parameter_error(owner, name, expected, value):
    """Make the error on an invalid value of a parameter, with the valid values.

    Parameters
    ----------
    owner : str
        The class or function that has the parameter.
    name : str
        The parameter.
    expected : str
        Valid values, as the end of the sentence "The parameter must be ...".
    value : object
        The invalid value.

    Returns
    -------
    error : InvalidParameterError
        The error, for the caller to raise.

    Examples
    --------
    >>> from skimgclf._validation import parameter_error
    >>> print(parameter_error("ImageLoader", "verbose", "an int of at least 0", -1))
    The 'verbose' parameter of ImageLoader must be an int of at least 0. Got -1 instead.
    """
    message = (
        f"The {name!r} parameter of {owner} must be {expected}. Got {value!r} instead."
    )
    return InvalidParameterError(mask_credentials(message))


def _keep(value):
    return value


@dataclasses.dataclass(frozen=True)
class Rule:
    """Tell valid values of a parameter from invalid ones.

    ``rule | other`` accepts the values of both.

    Parameters
    ----------
    expected : str
        The valid values, as the end of the sentence "The parameter must be ...".
    accepts : callable
        Tells whether a value is valid.
    wrong : tuple
        Invalid values, which the tests try.
    convert : callable
        Turns a valid value into a plain one; by default, it stays as it is.
    explain : callable, default=None
        Returns, for one invalid value, an end of the sentence that says more than
        `expected`, or None.
    names : tuple of str, default=()
        Valid values of which an error tells the nearest one.
    show : callable
        Returns the form in which an error shows an invalid value.
    """

    expected: str
    accepts: Callable
    wrong: tuple
    convert: Callable = _keep
    explain: Callable | None = None
    names: tuple = ()
    show: Callable = _keep

    def __or__(self, other):
        def accepts(value):
            return self.accepts(value) or other.accepts(value)

        def convert(value):
            return (self if self.accepts(value) else other).convert(value)

        wrong = [value for value in self.wrong if not other.accepts(value)]
        wrong += [value for value in other.wrong if not self.accepts(value)]
        expected = f"{self.expected} or {other.expected}"
        explain = self.explain or other.explain
        names = self.names + other.names
        return Rule(expected, accepts, tuple(wrong), convert, explain, names)

    def describe(self, value):
        """Return the end of the sentence on an invalid value."""
        expected = (self.explain and self.explain(value)) or self.expected
        return f"{expected}{advise_nearest(value, self.names)}"


@dataclasses.dataclass(frozen=True)
class ParameterTable:
    """Check the parameters of a class or function by their rules.

    Parameters
    ----------
    owner : str
        The name of the class or function, for errors.
    rules : dict of str to Rule
        One for each parameter, in the order in which they are checked.

    Examples
    --------
    >>> from skimgclf._validation import ParameterTable, an_int
    >>> table = ParameterTable("read_image", {"max_pixels": an_int(1)})
    >>> table.check({"max_pixels": 0})
    Traceback (most recent call last):
        ...
    skimgclf.exceptions.InvalidParameterError: The 'max_pixels' parameter of read_image
    must be an int of at least 1. Got 0 instead.
    """

    owner: str
    rules: dict

    def read(self, estimator):
        """Return the parameters of an estimator, also of a subclass, by their names."""
        return {name: getattr(estimator, name) for name in self.rules}

    def check(self, values):
        """Refuse invalid values, and return plain ones.

        Parameters
        ----------
        values : dict of str to object
            Some or all of the parameters. Names without a rule are left out.

        Returns
        -------
        plain : dict of str to object

        Raises
        ------
        InvalidParameterError
            If a value is invalid.
        """
        plain = {}
        for name, rule in self.rules.items():
            if name in values:
                if not rule.accepts(values[name]):
                    raise self.error(name, rule.describe(values[name]), values[name])
                plain[name] = rule.convert(values[name])
        return plain

    def error(self, name, expected, value):
        """Make the error on a parameter, as `parameter_error` does."""
        show = self.rules[name].show if name in self.rules else _keep
        return parameter_error(self.owner, name, expected, show(value))


def pick_fields(cls, plain, **more):
    """Make a dataclass of those checked parameters that it has fields for."""
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**more, **{name: plain[name] for name in names & plain.keys()})


def one_of(*choices):
    """Make the rule that a value is one of some strings."""

    def accepts(value):
        return isinstance(value, str) and value in choices

    expected = f"one of {', '.join(map(repr, choices))}"
    wrong = ("no such choice", choices[0].upper(), 3, None)
    return Rule(expected, accepts, wrong, names=choices)


def in_any_case(*choices):
    """Make the rule that a value is one of some names, in upper or lower case."""
    spellings = {name.casefold(): name for name in choices}
    return dataclasses.replace(
        one_of(*choices),
        accepts=lambda value: isinstance(value, str) and value.casefold() in spellings,
        wrong=("no such choice", f"{choices[0]} ", 3, None),
        convert=lambda value: spellings[value.casefold()],
    )


def is_int(value, *, minimum):
    """Tell whether a value is an int (no bool) of at least `minimum`."""
    return _is_number(value, numbers.Integral) and value >= minimum


def an_int(minimum):
    """Make the rule that a value is an int of at least `minimum`."""
    return Rule(
        f"an int of at least {minimum}",
        lambda value: is_int(value, minimum=minimum),
        (minimum - 1, minimum + 0.5, "two", None, True),
        int,
    )


def a_number(interval):
    """Make the rule that a value is a number in an interval, such as "[0, 1)"."""
    low, high = map(float, interval[1:-1].split(","))

    def accepts(value):
        try:
            number = float(value) if _is_number(value, numbers.Real) else math.nan
        except OverflowError:  # an int that is too large
            return False
        return (
            low < number < high
            or (number == low and interval[0] == "[")
            or (number == high and interval[-1] == "]")
        )

    expected = "above 0" if interval == "(0, inf)" else f"in {interval}"
    wrong = [low - 1, high + 1, 10**400, np.nan, "half", None, True]
    wrong += [low] if interval[0] == "(" else []
    wrong += [high] if interval[-1] == ")" else []
    return Rule(f"a number {expected}", accepts, tuple(wrong), float)


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def ints(minimum, *, length=None, or_int=False, empty=False):
    """Make the rule that a value is a tuple or list of ints.

    Parameters
    ----------
    minimum : int
        The smallest value allowed for each.
    length : int, default=None
        Number of ints; None for any number.
    or_int : bool, default=False
        Whether a single int is allowed, which stands for `length` equal ints.
    empty : bool, default=False
        Whether an empty tuple is allowed.

    Returns
    -------
    rule : Rule
        Valid values are converted to tuples.
    """

    def spread(value):
        is_single = or_int and is_int(value, minimum=0)
        return (value,) * (length or 1) if is_single else value

    def accepts(value):
        value = spread(value)
        is_array = isinstance(value, np.ndarray) and value.ndim > 0
        if not is_array and not isinstance(value, tuple | list):
            return False
        fits = (len(value) or empty) and length in (None, len(value))
        return bool(fits) and all(is_int(item, minimum=minimum) for item in value)

    single = "an int or " if or_int else ""
    how_many = "" if length is None else f"{length} "
    n = length or 1
    wrong = [(minimum - 1,) * n, (minimum + 0.5,) * n, (True,) * n, [[minimum]] * n]
    wrong += [minimum - 1, "40", np.array(minimum), None]
    wrong += [(minimum,) * (n + 1)] if length else []
    wrong += [] if empty else [()]
    return Rule(
        f"{single}a tuple of {how_many}ints of at least {minimum}",
        accepts,
        tuple(wrong),
        lambda value: tuple(map(int, spread(value))),
    )


def is_path(value):
    """Tell whether a value is a path that files may have, as str or os.PathLike."""
    if not isinstance(value, str | os.PathLike):
        return False
    try:
        name = os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return isinstance(os.fspath(value), str) and name != b"" and b"\0" not in name


def expand_path(value):
    """Return a path as str; a leading ``~`` becomes the home folder."""
    # NumPy's str is made Python's: joined to others, it would make them NumPy's, too.
    return os.path.expanduser(str(os.fspath(value)))


def a_path(kind):
    """Make the rule that a value is a path, which `expand_path` expands."""
    return Rule(
        f"the path of {kind}, as str or os.PathLike",
        is_path,
        (3, True, "", b"bytes", ["a"], "a\0b", "\udfff\ud800"),
        expand_path,
    )


def is_bool(value):
    """Tell whether a value is True or False, also of NumPy."""
    return isinstance(value, bool | np.bool_)


NONE = Rule("None", lambda value: value is None, ())
TRUE_OR_FALSE = Rule("True or False", is_bool, ("yes", 1, None), bool)
VERBOSE = Rule(
    "True, False or an int of at least 0",
    lambda value: is_bool(value) or is_int(value, minimum=0),
    (-1, "loud", None),
)


def optional(rule):
    """Make a rule that accepts None too, but doesn't mention None in errors."""
    return dataclasses.replace(rule | NONE, expected=rule.expected)


def check_bool(owner, name, value):
    """Refuse anything but True and False."""
    ParameterTable(owner, {name: TRUE_OR_FALSE}).check({name: value})


def check_keys(what, mapping, names):
    """Refuse anything but a dict with exactly these keys."""
    if not isinstance(mapping, dict):
        raise ValueError(f"{what} is a {type(mapping).__name__}, not a dict")
    if set(mapping) != set(names):
        wrong = sorted(map(str, set(mapping) ^ set(names)))
        raise ValueError(f"{what} has missing or unknown entries: {', '.join(wrong)}")


def warn_user(message, category=UserWarning):
    """Warn, with the line of the user's code that led here.

    Frames of this package and, in a pipeline or a search, of scikit-learn are skipped.
    """
    if isinstance(message, str):
        message = mask_credentials(message)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_OURS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep
    for file in (__file__, sklearn.__file__)
)
