"""Write the options of a fit as a TOML file beside the model, and read them again."""

import argparse
import json
import os
import re
import tomllib

import skimgclf
from skimgclf._nearest import advise_nearest
from skimgclf._shell.forms import FLAG, PATH
from skimgclf._shell.options import FIT, Option
from skimgclf.exceptions import SkimgclfError, mask_credentials
from skimgclf.images._urls import is_url

_HEADER = "# The options of `skimgclf fit"

# The arguments of fit that aren't in FIT, and that a settings file may hold as well.
_DATA, _OUTPUT = Option("data", PATH, ""), Option("output", PATH, "")
_OPTIONS = {option.name: option for option in [_DATA, *FIT]}
_READ = _OPTIONS | {"output": _OUTPUT}


class SettingsError(SkimgclfError, ValueError):
    """A settings file can't be used."""


def name_settings(output):
    """Return the path of the settings that belong to a model."""
    return f"{output}.toml"


def check_settings_output(path):
    """Refuse to replace a file that `fit` hasn't written.

    Parameters
    ----------
    path : str
        From `name_settings`.

    Raises
    ------
    SkimgclfError
        If there is such a file.
    """
    if not os.path.lexists(path):
        return
    start = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            start = file.read(len(_HEADER))
    if start != _HEADER.encode():
        raise SkimgclfError(
            f"The settings of this run would replace {path!r}, which 'skimgclf fit' "
            "hasn't written: give the model another name by --output."
        )


def write_settings(settings, *, folder=None):
    """Write the options of a run as TOML.

    Parameters
    ----------
    settings : dict of str to object
        Values by the names of options; those that are None are left out where no text
        stands for None.
    folder : str, default=None
        The folder of the file, from which paths start; None to leave paths out.

    Returns
    -------
    text : str
    """
    lines = [
        f"{_HEADER} --config FILE`, written by skimgclf {skimgclf.__version__}.",
        "# Paths start from the folder of this file.",
    ]
    for name, value in settings.items():
        option = _OPTIONS[name]
        if option.is_path and isinstance(value, str):
            value = _move(value, option, folder)
        elif value is None and option.form.takes_none:
            value = "none"
        if value is not None:
            lines.append(f"{name.replace('_', '-')} = {_write_value(value)}")
    return "\n".join(lines) + "\n"


def read_settings(path):
    """Read a settings file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    settings : dict of str to object
        Values by the names of options.

    Raises
    ------
    SettingsError
        If it can't be read, or an option or its value is invalid.
    """
    try:
        # Editors of Windows write a mark of UTF-8 at the start.
        with open(path, encoding="utf-8-sig", newline="") as file:
            given = tomllib.loads(file.read())
    except OSError as error:
        reason = f"can't be read: {error.strerror}"
    except (ValueError, RecursionError) as error:  # also of text that isn't UTF-8
        reason = f"isn't TOML: {error}"
    else:
        settings = {}
        for key, value in given.items():
            name, value = _read_entry(path, key, value)
            if name in settings:
                raise SettingsError(
                    f"The settings file {path!r} has {key!r} twice, once with dashes "
                    "and once with underscores: remove one of them."
                )
            settings[name] = value
        return settings
    raise SettingsError(f"The settings file {path!r} {reason}")


def _read_entry(path, key, value):
    name = key.replace("-", "_")
    if name not in _READ:
        names = [each.replace("_", "-") for each in _READ]
        advice = advise_nearest(key, names)
        if name == "random_state":
            advice = "; the option is called 'seed'"
        raise SettingsError(
            f"The settings file {path!r} has {key!r}, which is no option of fit{advice}"
        )
    option = _READ[name]
    try:
        if option.form is FLAG:
            if not isinstance(value, bool):
                raise argparse.ArgumentTypeError(f"{value!r} is not true or false")
            return name, value
        value = option.form.read(option.form.write(value))
    except argparse.ArgumentTypeError as error:
        raise SettingsError(
            f"The settings file {path!r} has an invalid {key!r}: {error}"
        ) from None
    if option.is_path and isinstance(value, str) and not is_url(value):
        moved = os.path.join(os.path.dirname(path), value)
        value = moved if option.form is PATH or os.path.isfile(moved) else value
    return name, value


def _move(value, option, folder):
    """Return a path as it is written from a folder, or None if it can't be."""
    if is_url(value):
        return mask_credentials(value)
    if option.form is not PATH and not os.path.isfile(value):
        return value  # a name
    if folder is None or value == "-":
        return None
    try:
        path = os.path.relpath(os.path.expanduser(value), folder)
        path.encode()
    except ValueError:  # on another drive of Windows, or bytes that TOML can't hold
        return None
    return path


def _write_value(value):
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_write_value, value))}]"
    if isinstance(value, bool | int | float):
        return repr(value).lower()
    # JSON's strings are TOML's, but for one control character.
    text = json.dumps(str(value), ensure_ascii=False)
    return re.sub("\x7f", r"\\u007f", text)
