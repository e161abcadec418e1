"""Name options instead of parameters in the messages that the shell shows."""

import ast
import re

from skimgclf._shell.options import FIT, name_flag

# Messages quote names of files by repr, and what is in quotes stays as it is.
_TEXT = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_QUOTED = rf"(?<!\w)(?P<quoted>{_TEXT})(?!\w)"
_OWNED = r"The '(?P<owned>\w+)' parameter of \w+(?: Pipeline)?"
_VALUE = rf"{_TEXT}|\([^()\n]*\)|\[[^][\n]*\]|[-+]?\w+(?:\.\w+)*"
_GIVEN = rf"(?<![\w.])(?P<given>[a-z_]+)=(?P<value>{_VALUE})"
_BARE = r"(?<![\w.])(?P<bare>[a-z]+(?:_[a-z]+)+)(?:=(?=\s)|(?![\w(=]|\.\w))"
_PARTS = re.compile("|".join([_OWNED, _GIVEN, _QUOTED, _BARE]))

# The shell has neither a loader to call nor tables without labels to train on.
_CALL = re.compile(rf"ImageLoader\(((?:[a-z_]+=(?:{_VALUE})(?:, )?)+)\)")
_UNLABELLED = ", or label_column=None for an unlabelled table"

_OPTIONS = {option.name: option for option in FIT}
_OPTIONS["random_state"] = _OPTIONS["seed"]


def name_options(message, flags):
    """Write a message of Python's parameters in words of the shell.

    Parameters
    ----------
    message : str
        Of an error or a warning.
    flags : container of str
        The options of the command. Another option is called one of `fit`.

    Returns
    -------
    message : str

    Examples
    --------
    >>> from skimgclf._shell.messages import name_options
    >>> name_options("The 'top_k' parameter of predict_frame must be 1", ["--top-k"])
    '--top-k must be 1'
    >>> name_options("'a=1.csv': try encoding='cp1252'", ["--encoding"])
    "'a=1.csv': try --encoding cp1252"
    """
    message = message.replace(_UNLABELLED, "")
    message = _CALL.sub(lambda call: re.sub(", (?=[a-z_]+=)", " ", call[1]), message)
    return _PARTS.sub(lambda match: _translate(match, flags), message)


def _translate(match, flags):
    name = match["owned"] or match["given"] or match["bare"]
    if name is None:
        return match[0]
    if match["owned"] in ("csv", "root"):
        return "--csv" if "--csv" in flags else "DATA"
    known = _OPTIONS.get(name)
    flag = name_flag(name) if known is None else known.flag
    if known is None and flag not in flags:
        return match[0]
    text = flag
    if match["given"]:
        try:
            value = ast.literal_eval(match["value"])
        except (ValueError, SyntaxError):
            return match[0]
        if known is not None:
            text = known.describe(value)
        elif value is not True:
            text = f"{flag} {value}"
    return text if flag in flags else f"fit {text}"
