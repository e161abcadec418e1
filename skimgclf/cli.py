"""Run the command ``skimgclf``, and turn errors into sentences and exit codes.

`skimgclf._shell.arguments` parses the options, and `skimgclf._shell.commands` runs the
sub-commands.
Neither ``--help`` nor ``check`` imports TensorFlow.
"""

import io
import os
import sys
import traceback
import warnings

from skimgclf._shell.arguments import parse_arguments
from skimgclf._terminal import print_text


def main(argv=None):
    """Run the command ``skimgclf``.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments after the name of the command; None for those of the process.

    Returns
    -------
    code : int
        0 for success, 1 if the job failed, 130 if Ctrl-C interrupted it.

    Raises
    ------
    SystemExit
        By argparse: code 2 for wrong usage, 0 after ``--help`` and ``--version``.

    Examples
    --------
    >>> import tempfile
    >>> from skimgclf.cli import main
    >>> from skimgclf.datasets import load_digit_images
    >>> main(["check", load_digit_images(tempfile.mkdtemp()).csv])
    1797 images, of which all can be read.
    0
    """
    _prepare_streams()
    options = parse_arguments(sys.argv[1:] if argv is None else argv)
    flags = options.parser.list_flags()

    def print_warning(message, *arguments, **more):
        _print_message(f"warning: {message}", flags)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = print_warning
            from skimgclf._shell.commands import run_command

            code = run_command(options)
            sys.stdout.flush()  # here, where a closed pipe can still be caught
            return code
    except KeyboardInterrupt as interrupt:
        _print_line(f"Interrupted: {_join_notes(interrupt) or 'nothing was written.'}")
        return 130
    except BrokenPipeError:
        # A reader such as `head` closed the pipe. Python would print an error when it
        # flushes at exit (Python's documentation of `signal`, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if options.debug:
            print_text(traceback.format_exc(), file=sys.stderr)
        message = f"error: {_describe_error(error)} {_join_notes(error)}"
        _print_message(message.rstrip(), flags)
        return 1


def _prepare_streams():
    """Prepare stdout and stderr for any file name, and for being closed."""
    for number, name in [(1, "stdout"), (2, "stderr")]:
        stream = getattr(sys, name)
        if stream is None:  # closed by `>&-`: the next open file would get its number
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w", closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            # Names may not be valid text, or not fit the encoding of the terminal.
            stream.reconfigure(errors="backslashreplace")


def _describe_error(error):
    """Describe an error in one sentence, with a list below it at most."""
    if type(error).__module__.startswith("skimgclf."):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{error.filename!r}: "
        return f"{name}{error.strerror}."
    message = str(error).strip()
    if isinstance(error, ValueError) and message:
        return message
    name = type(error).__name__
    return f"{name}: {message or 'no further reason'} (--debug shows where)."


def _join_notes(error):
    """Join the notes of an error, on files that were written before it."""
    return " ".join(getattr(error, "__notes__", []))


def _print_message(message, flags):
    """Print an error or a warning, in which parameters are named as options."""
    from skimgclf._shell.messages import name_options

    _print_line(name_options(message, flags))


def _print_line(text):
    print_text(f"skimgclf: {text}", file=sys.stderr)
