"""What the test modules share."""

import os

# TensorFlow's C++ side reports its CPU features on stderr at import: not for tests.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# scikit-learn's displays are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import gc
import pathlib
import re
import stat
import subprocess
import sys

import pytest
from sklearn.datasets import load_digits

from skimgclf import cli
from skimgclf.datasets import load_digit_images
from skimgclf.images import _load_many


def pytest_collection_finish():
    """Leave the modules and tests that are there out of garbage collections.

    Python would go through all objects of TensorFlow many times while it traces.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems():
    """Keep more traced programs than users do, since the modules take turns."""
    # Looked up, since tests without networks needn't wait for TensorFlow.
    programs = sys.modules.get("skimgclf.models._training.shared_programs")
    if programs is not None:
        programs._N_KEPT = 32


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Skip a test by what only POSIX has, such as `os.mkfifo`, on Windows."""
    try:
        return (yield)
    except (AttributeError, ModuleNotFoundError, ValueError) as error:
        lacks = (
            r"module '(os|signal|select|time)' has no|preexec_fn is not supported"
            r"|No module named '(fcntl|resource)'"
        )
        if os.name == "nt" and re.match(lacks, str(error)):
            pytest.skip(f"not on Windows: {error}")
        raise


@pytest.fixture(scope="session")
def digits():
    """300 real handwritten digits: images (300, 8, 8, 1) in [0, 1], labels as str."""
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype("float32").reshape(-1, 8, 8, 1), y[:300].astype(str)


@pytest.fixture(scope="session")
def names_of_any_bytes(tmp_path_factory):
    """Skip a test where the names of files must be text, as on macOS and Windows."""
    folder = os.fsencode(tmp_path_factory.mktemp("names"))
    try:
        open(os.path.join(folder, b"\xff"), "wb").close()
    except (OSError, ValueError) as error:
        pytest.skip(f"the name of a file must be text here: {error}")


@pytest.fixture
def pyplot():
    """Import matplotlib.pyplot, and close the figures of this test and of others."""
    import matplotlib.pyplot as plt

    plt.close("all")
    yield plt
    plt.close("all")


@pytest.fixture(scope="session")
def run_python():
    """Run code in a fresh process and return what it printed."""

    def run(code, *arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def decodes(monkeypatch):
    """List the sources that `ImageLoader` decodes, in their order."""
    sources = []
    decode = _load_many.decode_pixels

    def note(source, options):
        sources.append(source)
        return decode(source, options)

    monkeypatch.setattr(_load_many, "decode_pixels", note)
    return sources


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory):
    """Write the digits as files, with tables of 150 and of 10 of them."""
    data = load_digit_images(tmp_path_factory.mktemp("images"))
    data.frame[:150].to_csv(f"{data.root}/train.csv", index=False)
    data.frame[["id"]][150:160].to_csv(f"{data.root}/test.csv", index=False)
    return pathlib.Path(data.root)


@pytest.fixture(scope="session")
def digit_model(digit_folder, tmp_path_factory):
    """Train a small network by the command, and return the path of its file."""
    path = tmp_path_factory.mktemp("model") / "digits.model"
    sizes = ["--image-size", "8x8", "--hidden-layer-sizes", "4", "--epochs", "2"]
    assert (
        cli.main(["fit", f"{digit_folder}/train.csv", *sizes, "--output", f"{path}"])
        == 0
    )
    return os.fspath(path)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Run a test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_command(capsys):
    """Run a command in this process; return its code, stdout and stderr."""

    def run(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def fill_disk(monkeypatch):
    """Return a function that makes the disk full once `n` files are brought to it."""
    sync, synced = os.fsync, []

    def fill(n):
        def fail_after(descriptor):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                synced.append(descriptor)
                if len(synced) > n:
                    raise OSError(28, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fail_after)

    return fill
