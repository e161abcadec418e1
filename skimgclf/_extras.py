"""Import packages of an extra, or say how to install them."""

import contextlib
import importlib
import importlib.metadata
import pathlib
import re
import tomllib


def how_to_install(extra):
    """Return the command that installs the packages of an extra.

    The packages are named, since ``pip install "skimgclf[...]"`` would look for a copy
    of skimgclf in an index, and may find another one than that in use.

    Parameters
    ----------
    extra : str
        Its name in ``pyproject.toml``.

    Returns
    -------
    command : str

    Examples
    --------
    >>> from skimgclf._extras import how_to_install
    >>> how_to_install("plot")
    'pip install "matplotlib>=3.9"'
    """
    found = _list_packages(extra) or [f"skimgclf[{extra}]"]
    packages = " ".join(f'"{name}"' for name in found)
    return f"pip install {packages}"


def _list_packages(extra):
    """List the packages of an extra, as pip takes them."""
    try:
        lines = importlib.metadata.requires("skimgclf") or []
    except importlib.metadata.PackageNotFoundError:  # a copy that isn't installed
        project = pathlib.Path(__file__).parents[1] / "pyproject.toml"
        with contextlib.suppress(OSError, ValueError, KeyError):
            given = tomllib.loads(project.read_text("utf-8"))["project"]
            return given["optional-dependencies"][extra]
        return []
    marked = re.compile(rf"(.*?)\s*;\s*extra == ['\"]{extra}['\"]")
    return [match[1] for match in map(marked.fullmatch, lines) if match]


def import_extra(module, extra, sentence, kind=ImportError):
    """Import a module of an extra, or say how to install it.

    Parameters
    ----------
    module : str
        Its name.
    extra : str
        The extra whose packages have it.
    sentence : str
        The start of the error, which says what for the module is needed.
    kind : type, default=ImportError
        The class of the error.

    Returns
    -------
    module : module
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise kind(f"{sentence}: {how_to_install(extra)}.") from error
