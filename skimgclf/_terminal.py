"""Print text that strangers may have a part in: the only place that prints.

A terminal obeys control characters. Names of files and folders, labels, and whatever a
saved model holds may have some.
"""

import sys


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
    """Print lines, with all other control characters escaped, at once.

    Parameters
    ----------
    text : str
        What a stranger wrote in it must have gone through `escape_line` or `repr`
        before, since a line break of theirs looks like one of ours here.
    file : text stream, default=None
        Standard output by default.
    """
    lines = "\n".join(map(escape_line, text.split("\n")))
    print(lines, file=file or sys.stdout, flush=True)
