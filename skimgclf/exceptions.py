"""Define the errors and warnings of skimgclf.

::

    SkimgclfError
    ├── InvalidParameterError (also a ValueError): a parameter is invalid
    ├── ImageLoadError (also an OSError): images can't be read
    ├── DatasetError (also a ValueError): a csv table or a folder tree is wrong
    └── ModelFileError (also a ValueError): a file holds no model, or is damaged
    SkimgclfWarning (a UserWarning)
    ├── ImageLoadWarning: unreadable images were replaced (``on_error="fill"``)
    ├── ImageCacheWarning: a cache of images can't be used, or only in part
    ├── DatasetWarning: a table or a folder tree holds something unusual
    └── ModelFileWarning: a model was saved with other versions than those here

Each error class also inherits from the built-in exception in brackets, so that code
that catches `ValueError` or `OSError` keeps working.
"""

import os
import re

__all__ = [
    "DatasetError",
    "DatasetWarning",
    "ImageCacheWarning",
    "ImageLoadError",
    "ImageLoadWarning",
    "InvalidParameterError",
    "ModelFileError",
    "ModelFileWarning",
    "SkimgclfError",
    "SkimgclfWarning",
]

# Number of items that a message lists; `.errors` and `.problems` hold all.
_N_LISTED = 10


# What stands before "@" in a URL: a password may hold "@" and quotes, but no "/".
_USER = re.compile(r"://[^/\s]*@")
# The parameters of signed URLs. A quote with a letter behind is a part of the value.
_SECRET = re.compile(
    r"([?&;#](?:[\w.%-]*(?:signature|credential|token|passw(?:or)?d|passphrase|secret|key"
    r"|jwt|hmac|session)(?:[_-]?pair)?[_-]?(?:id)?_*"
    r"|sig|sign|sas|pass|pwd|auth|authorization|hdne[ab]|hdnts)=)"
    r"(?:[^&;#\s'\"]|['\"](?=[\w%+/=~-]))+",
    re.IGNORECASE,
)
# Oracle's "pre-authenticated" addresses hold the secret in their path.
_SECRET_PATH = re.compile(r"(/p/)[^/\s'\"]+(?=/n/[^/\s]+/b/)")


class _Masked:
    """Shows no credentials in its repr; its arguments are kept as they are."""

    def __repr__(self):
        return mask_credentials(super().__repr__())


class SkimgclfError(_Masked, Exception):
    """Base class of the errors that skimgclf raises itself."""


class InvalidParameterError(SkimgclfError, ValueError):
    """A parameter of a class or function has an invalid value.

    The message always has the form ``The 'epochs' parameter of
    KerasImageClassifier must be an int of at least 1. Got 0 instead.``
    """


class ImageLoadError(SkimgclfError, OSError):
    """One or more images can't be read.

    Parameters
    ----------
    errors : list of tuple (int or None, str, str)
        For each bad image its row in the call (from 0; None outside of a batch),
        its path (or a description of an object without one) and the reason in words.

    Attributes
    ----------
    errors : list of tuple (int or None, str, str)
        All bad images of the call, in its order.
    path : str
        The path of the first bad image.
    reason : str
        The reason of the first bad image.

    Examples
    --------
    >>> from skimgclf.exceptions import ImageLoadError
    >>> error = ImageLoadError([(3, "cat.jpg", "the file is empty")])
    >>> print(error)
    'cat.jpg' (row 3): the file is empty
    >>> error.path, error.reason
    ('cat.jpg', 'the file is empty')
    """

    def __init__(self, errors):
        # The list itself is the only argument, so that pickle (and joblib's worker
        # processes) rebuild the exception whole.
        super().__init__(errors)
        self.errors = list(errors)
        _, self.path, self.reason = self.errors[0]

    def __str__(self):
        if len(self.errors) == 1:
            return _describe_image(*self.errors[0])
        return describe_images(f"{len(self.errors)} images can't be read", self.errors)


class DatasetError(SkimgclfError, ValueError):
    """A csv table or a folder tree can't be used as it is.

    Parameters
    ----------
    summary : str
        One sentence: the table or folder, and the mistake.
    problems : sequence of str, default=()
        All problems, each with its line or path.

    Attributes
    ----------
    problems : list of str
        All problems; the message lists the first ten.
    """

    def __init__(self, summary, problems=()):
        super().__init__(summary, problems)
        self.summary = summary
        self.problems = list(problems)

    def __str__(self):
        return describe_list(self.summary, self.problems)


class ModelFileError(SkimgclfError, ValueError):
    """A file isn't a model that can be loaded.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    size : int
        Its size in bytes.
    reason : str
        The defect, as the end of a sentence that begins with the file.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its size in bytes.
    reason : str
        The defect.
    """

    def __init__(self, path, size, reason):
        super().__init__(path, size, reason)
        self.path, self.size, self.reason = os.fspath(path), size, reason

    def __str__(self):
        return f"{self.path!r} ({self.size:,} bytes) {self.reason}."


class SkimgclfWarning(_Masked, UserWarning):
    """Base class of the warnings that skimgclf gives itself."""


class ImageLoadWarning(SkimgclfWarning):
    """Images couldn't be read and were replaced, as ``on_error="fill"`` asks for.

    Parameters
    ----------
    errors : list of tuple (int or None, str, str)
        As in :class:`ImageLoadError`.

    Attributes
    ----------
    errors : list of tuple (int or None, str, str)
        All replaced images of the call.
    """

    def __init__(self, errors):
        super().__init__(errors)
        self.errors = list(errors)

    def __str__(self):
        count = len(self.errors)
        what = "1 image was" if count == 1 else f"{count} images were"
        return describe_images(
            f"{what} replaced by the background colour, since unreadable", self.errors
        )


class ImageCacheWarning(SkimgclfWarning):
    """A cache of images can't be used, or only in part: images are decoded again."""


class DatasetWarning(SkimgclfWarning):
    """A csv table or a folder tree holds something that may be a mistake."""


class ModelFileWarning(SkimgclfWarning):
    """A model was saved with versions that differ from those that load it."""


def mask_credentials(text):
    """Write stars for passwords, signatures and tokens in the URLs of a text.

    Examples
    --------
    >>> from skimgclf.exceptions import mask_credentials
    >>> mask_credentials("'ftp://me:secret@host/a.png' and http://h/b?token=1&size=2")
    "'ftp://***@host/a.png' and http://h/b?token=***&size=2"
    """
    text = _SECRET_PATH.sub(r"\1***", _USER.sub("://***@", text))
    return _SECRET.sub(r"\1***", text)


def first_line(error):
    """Return the first line of an error, or its class if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def describe_list(summary, items):
    """Write a summary and its first ten items, one a line."""
    lines = [str(summary), *(f"  {item}" for item in items[:_N_LISTED])]
    if len(items) > _N_LISTED:
        lines.append(f"  ... and {len(items) - _N_LISTED} more")
    return mask_credentials("\n".join(lines))


def describe_images(summary, errors):
    """Write a summary and the first ten bad images, one a line."""
    return describe_list(f"{summary}:", [_describe_image(*error) for error in errors])


def _describe_image(row, path, reason):
    where = "" if row is None else f" (row {row})"
    return mask_credentials(f"{path!r}{where}: {reason}")
