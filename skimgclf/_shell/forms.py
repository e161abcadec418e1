"""Read and write the values of options: in the shell, in a file, in a message."""

import argparse
import dataclasses
import os
import re
from collections.abc import Callable

from skimgclf._nearest import advise_nearest


@dataclasses.dataclass(frozen=True)
class Form:
    """How a value is written in the shell, in a settings file and in a message.

    Attributes
    ----------
    metavar : str
        The placeholder of the value in the help.
    expected : str
        Valid texts, as the end of the sentence "... is not".
    accepts : callable
        Tells whether a text is valid.
    convert : callable
        Turns a valid text into a value.
    separator : str
        Between the parts of a value that is a tuple.
    choices : tuple of str or None
        All valid texts, where these are few.
    """

    metavar: str
    expected: str
    accepts: Callable
    convert: Callable = str
    separator: str = ","
    choices: tuple | None = None

    def read(self, text):
        """Return the value that a text stands for, as a `type` of argparse."""
        if not self.accepts(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {self._explain(text)}")
        return self.convert(text)

    def write(self, value):
        """Return the text that stands for a value."""
        if value is None:
            return "none"
        if isinstance(value, list | tuple):
            return self.separator.join(map(str, value))
        return str(value)

    @property
    def takes_none(self):
        """Tell whether there is a text for None."""
        return self.accepts("none") and self.convert("none") is None

    def _explain(self, text):
        if self.choices is None:
            return self.expected
        listed = ", ".join(map(repr, self.choices))
        return f"one of {listed}{advise_nearest(text, self.choices)}"


def _form(metavar, pattern, convert, expected, separator=","):
    def accepts(text):
        return re.fullmatch(pattern, text, re.ASCII) is not None

    return Form(metavar, expected, accepts, convert, separator)


def _ints(separator):
    return lambda text: tuple(map(int, text.split(separator))) if text else ()


def _or_none(text):
    return None if text == "none" else text


def names_of(*names):
    metavar = f"{{{','.join(names)}}}"
    return Form(metavar, "", lambda text: text in names, _or_none, choices=names)


def _list_names(text):
    names = text.split(",")
    return None if text == "none" else names if len(names) > 1 else text


def _is_seed(text):
    # The limit of scikit-learn and NumPy.
    return text.isascii() and text.isdecimal() and int(text) < 2**32


_AT_LEAST_1 = r"0*[1-9][0-9]*"
_NUMBER = r"[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?"

TEXT = Form("NAME", "text", bool)
PATH = Form("PATH", "a path", bool, os.path.expanduser)
FLAG = Form("", "true or false", bool)
COUNT = _form("N", _AT_LEAST_1, int, "a number of at least 1")
NUMBER = _form("NUMBER", _NUMBER, float, "a number of at least 0, such as 0.01 or 1e-4")
FRACTION = Form(
    "FRACTION",
    "a fraction of at least 0 and below 1, such as 0.2",
    lambda text: re.fullmatch(_NUMBER, text, re.ASCII) and float(text) < 1,
    float,
)
SEED = Form("INT", f"a number from 0 to {2**32 - 1}", _is_seed, int)
JOBS = _form("N", rf"-1|{_AT_LEAST_1}", int, "-1 (all processors) or at least 1")
LAYERS = _form(
    "LAYERS",
    "all|[0-9]+",
    lambda text: text if text == "all" else int(text),
    "'all' or a number of layers",
)
SIZES = _form(
    "SIZES",
    rf"({_AT_LEAST_1}(,{_AT_LEAST_1})*)?",
    _ints(","),
    "sizes such as 128,64, or '' for none",
)
IMAGE_SIZE = _form(
    "HEIGHTxWIDTH",
    rf"{_AT_LEAST_1}x{_AT_LEAST_1}",
    _ints("x"),
    "a height and a width such as 28x28",
    "x",
)
KERNEL = _form(
    "SIZE",
    rf"{_AT_LEAST_1}(x{_AT_LEAST_1})?",
    lambda text: _ints("x")(text) if "x" in text else int(text),
    "a size such as 3, or a height and a width such as 3x5",
    "x",
)
COLOUR = Form(
    "COLOUR",
    "a colour",
    bool,
    lambda text: _ints(",")(text) if re.fullmatch("[0-9]+(,[0-9]+)+", text) else text,
)
NAMES = Form("NAMES", "names such as flip,crop, or none", bool, _list_names)
FILE_OR_NAME = Form("NAME", "a name or the path of a file", bool)
WEIGHTS = dataclasses.replace(FILE_OR_NAME, convert=_or_none)


def _separator(text):
    return "\t" if text in ("tab", r"\t") else text


SEPARATOR = _form(
    "CHARACTER", r"[^\"\r\n\0]|tab|\\t", _separator, "one character, or 'tab'"
)

# Forms of values that may be paths.
PATHS = (PATH, FILE_OR_NAME, WEIGHTS)
