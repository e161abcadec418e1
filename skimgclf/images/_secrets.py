"""Hide the values of storage options in printed text."""


class HiddenValues(dict):
    """A dict that shows its keys, and stars for its values.

    Examples
    --------
    >>> from skimgclf.images._secrets import HiddenValues
    >>> HiddenValues({"anon": False, "s3": {"key": "mine", "secret": "abc"}})
    {'anon': False, 's3': {'key': ***, 'secret': ***}}
    """

    def __repr__(self):
        return f"{{{', '.join(f'{k!r}: {_hide(v)}' for k, v in self.items())}}}"


def _hide(value):
    if isinstance(value, dict):
        return repr(HiddenValues(value))
    return repr(value) if value is None or isinstance(value, bool) else "***"


def hide_values(options):
    """Return equal storage options that can be shown; others as they are."""
    is_shown = not isinstance(options, dict) or isinstance(options, HiddenValues)
    return options if is_shown else HiddenValues(options)


def show_wrong(options):
    """Return the part of invalid storage options that an error shows."""
    return hide_values(options) if isinstance(options, dict) else type(options)
