"""Import Keras and TensorFlow when they are first used, and start them silently."""

import contextlib
import ctypes
import functools
import os
import re
import sys
import tempfile
import threading

from skimgclf._platform import end_with_parent
from skimgclf.models._training.interrupt import holding_interrupts

# Known lines of a start: each is printed by every process on some machine where
# TensorFlow works as it should. 303 means that there is no driver, and 100 no GPU.
_SENTENCES = (
    "Could not find cuda drivers on your machine, GPU will not be used",
    "This TensorFlow binary is optimized to use available CPU instructions",
    "oneDNN custom operations are on",
    r"failed call to cuInit: .*(UNKNOWN ERROR \(303\)|CUDA_ERROR_NO_DEVICE)",
    "Unable to register cu(FFT|DNN|BLAS) factory",
    "computation placer already registered",
    "TF-TRT Warning: Could not find TensorRT",
    r"Created device /job:localhost/replica:0/task:0/device:GPU:\d+ with ",
    "successful NUMA node read from SysFS had negative value",
    "could not open file to read NUMA node",
)
_HEAD = r"([IWE]\d{4} [\d:.]+ +\d+ |[\d-]{10} [\d:.]+: [IWE] )[\w./-]+\.cc:\d+\] "
_KNOWN_LINE = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\) is called"
    "|To enable the following instructions: .* with the appropriate compiler flags"
    f"|{_HEAD}({'|'.join(_SENTENCES)})"
)

_lock = threading.Lock()


@contextlib.contextmanager
def without_start_lines():
    """Leave out the lines that TensorFlow prints on stderr when it starts.

    Cause: TensorFlow 2.21 prints up to ten lines, most of them before it reads
    TF_CPP_MIN_LOG_LEVEL. All that is printed meanwhile, by any thread, goes to a file,
    and from there to stderr, but for the known lines of a start; all of it after an
    error. With TF_CPP_MIN_LOG_LEVEL from 0 to 2 the user wants to see them.

    Gone: where the text is another one, the lines appear again.

    Can go: when TensorFlow starts silently with TF_CPP_MIN_LOG_LEVEL=3.
    """
    with _lock:
        caught = _open_file()
        if caught is None:
            yield
            return
        stderr = os.dup(2)
        _flush()
        os.dup2(caught.fileno(), 2)
        is_printed = _is_unknown
        try:
            yield
        except BaseException:
            is_printed = bool
            raise
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            with caught:
                caught.seek(0)
                _print_lines(filter(is_printed, caught.readlines()))


def _open_file():
    """Open a temporary file; None where lines are wanted or can't be caught."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return None
    try:
        os.fstat(2)  # closed by `2>&-`
        return tempfile.TemporaryFile()
    except OSError:  # or there is no place for a file
        return None


def _flush():
    # None in a process without a terminal, and closed by some programs.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


def _is_unknown(line):
    return not _KNOWN_LINE.match(line.decode("utf-8", "replace"))


def _print_lines(lines):
    with (
        contextlib.suppress(OSError),  # nobody reads stderr any more
        open(2, "wb", closefd=False) as stderr,
    ):
        stderr.writelines(lines)


def _has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@functools.cache
def import_keras():
    """Import Keras and TensorFlow, without the lines of TensorFlow's start."""
    end_with_parent()
    # A module of which only a part was run would fail at its next import.
    with holding_interrupts(), without_start_lines():
        import tensorflow

        # Where there is a driver, a process that asks it can't be forked any more.
        if not _has_driver():
            tensorflow.config.list_physical_devices()
        import keras
    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            f"skimgclf trains with Keras on TensorFlow, but Keras uses "
            f"{keras.backend.backend()!r} here: set KERAS_BACKEND=tensorflow."
        )


class _LateModule:
    """Stand for a module that is imported when it is first used.

    Keras and TensorFlow take seconds and hundreds of megabytes, which a process that
    only predicts with a dense network doesn't need.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        import_keras()
        return getattr(sys.modules[self._name], attribute)


keras = _LateModule("keras")
tensorflow = _LateModule("tensorflow")


def read_floatx():
    """Return Keras' float type, or "float32" where Keras isn't imported.

    Without Keras, networks of float32 are computed only.
    """
    return keras.config.floatx() if "keras" in sys.modules else "float32"


def start_devices():
    """Let TensorFlow find the devices of this machine and take them into use."""
    import_keras()
    with without_start_lines():
        tensorflow.config.list_logical_devices()
