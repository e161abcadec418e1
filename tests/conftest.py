"""What the test modules share."""

import os

# TensorFlow's C++ side reports its CPU features on stderr at import: not for tests.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# scikit-learn's displays are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import subprocess
import sys

import pytest
from sklearn.datasets import load_digits

from skimgclf.images import _load_many


@pytest.fixture(scope="session")
def digits():
    """300 real handwritten digits: images (300, 8, 8, 1) in [0, 1], labels as str."""
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype("float32").reshape(-1, 8, 8, 1), y[:300].astype(str)


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
