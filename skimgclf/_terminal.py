"""Print text with control characters escaped, and progress bars.

All printing of the package goes through here.

A terminal obeys control characters. Names of files and folders, labels, and whatever a
saved model holds may have some.
"""

import contextlib
import contextvars
import sys

from skimgclf.exceptions import mask_credentials

# Whether bars are hidden in this context, whatever an estimator's `verbose` says.
_hides_bars = contextvars.ContextVar("hides_bars", default=False)


def escape_line(text):
    r"""Escape all characters of a line that don't show, also line breaks.

    Parameters
    ----------
    text : str

    Returns
    -------
    line : str

    Examples
    --------
    >>> from skimgclf._terminal import escape_line
    >>> print(escape_line("cat\n\x1b[2Jdog"))
    cat\n\x1b[2Jdog
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_text(text, *, file=None):
    """Print lines at once; control characters are escaped, credentials of URLs masked.

    Parameters
    ----------
    text : str
        Parts that a stranger wrote must have gone through `escape_line` or `repr`
        before, since a line break of theirs looks like one of ours here.
    file : text stream, default=None
        Standard output by default.
    """
    lines = "\n".join(map(escape_line, mask_credentials(text).split("\n")))
    print(lines, file=file or sys.stdout, flush=True)


class _NoBar:
    """Stand in the place of a bar that isn't shown."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Let errors pass."""

    def update(self, n=1):
        """Do nothing."""

    def reset(self, total=None):
        """Do nothing."""


def make_bar(description, unit, *, shown, total=None):
    """Make a progress bar, on stderr or below the cell of a notebook.

    Parameters
    ----------
    description : str
        Text before the bar.
    unit : str
        The noun for the things counted, such as "images".
    shown : bool or int
        Whether to show it.
    total : int, default=None
        Number at which the bar is full; None if it isn't known yet.

    Returns
    -------
    bar : context manager
        With the methods `update` and `reset` of tqdm.
    """
    if not shown or _hides_bars.get():
        return _NoBar()
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=description, unit=f" {unit}")


@contextlib.contextmanager
def hidden_bars():
    """Hide the bars of functions called, such as predictions that a display makes."""
    token = _hides_bars.set(True)
    try:
        yield
    finally:
        _hides_bars.reset(token)
