"""What every test module shares."""

import os

# TensorFlow's C++ side reports its CPU features on stderr at import: not for tests.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
