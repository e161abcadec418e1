"""Imports of a fresh process: heavy packages come only when they are used."""

import json

import pytest
from PIL import Image

# One process for all, in this order: the parts come before the whole, and drawing,
# which alone imports something heavy (matplotlib), comes last.
STEPS = """
import json, os, sys

before = dict(os.environ)
HEAVY = {"cv2", "keras", "matplotlib", "scikeras", "tensorflow", "tqdm"}
found = {}


def note(step, names=HEAVY):
    found[step] = sorted(names & set(sys.modules))


import skimgclf
note("the package")
dir(skimgclf), skimgclf.images.ImageLoader
note("a name of a submodule")
from skimgclf import ImageLoader, predict_frame
note("the loader and predictions")
from skimgclf.datasets import load_digit_images, load_image_csv
note("data sets")
from skimgclf.plot import ImageGridDisplay, SaliencyDisplay, TrainingHistoryDisplay
note("displays")
import pickle
pickle.dumps(ImageLoader())
note("a pickled loader")
import numpy as np
ImageLoader().transform([np.zeros((2, 2), "uint8")])
note("a loader without URLs", {"fsspec"})
found["environment"] = before == dict(os.environ)

from skimgclf.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
found["status"] = main(["check", sys.argv[1]])
note("--help and check", {"keras", "tensorflow"})

from sklearn.dummy import DummyClassifier
X = np.random.default_rng(0).random((4, 8, 8))
classifier = DummyClassifier().fit(X.reshape(4, -1), [0, 1, 0, 1])
ImageGridDisplay.from_estimator(classifier, X, [0, 1, 0, 1])
SaliencyDisplay.from_estimator(classifier, X[0])
note("displays of other classifiers", {"keras", "tensorflow"})
note("seen at the end")
print(json.dumps(found))
"""

# What is heavy is found as soon as it is imported, here by the classifier.
HEAVY_STEPS = """
import json, sys
import skimgclf

found = {"name": skimgclf.KerasImageClassifier.__name__}
found["heavy"] = sorted({"keras", "tensorflow"} & set(sys.modules))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(run_python, tmp_path_factory):
    """Return which heavy modules were imported after each step."""
    image = tmp_path_factory.mktemp("images") / "a.png"
    Image.new("L", (4, 4)).save(image)
    return json.loads(run_python(STEPS, image).splitlines()[-1])


@pytest.mark.parametrize(
    "step",
    [
        "the package",
        "a name of a submodule",
        "the loader and predictions",
        "data sets",
        "displays",
        "a pickled loader",
        "a loader without URLs",
        "--help and check",
        "displays of other classifiers",
    ],
)
def test_import_is_light(found, step):
    assert found[step] == []


def test_import_sets_no_environment_variable(found):
    assert found["environment"]


def test_check_works_without_tensorflow(found):
    assert found["status"] == 0


def test_a_heavy_module_is_found_once_it_is_imported(found):
    assert "matplotlib" in found["seen at the end"]


@pytest.mark.slow
def test_import_of_the_classifier_works_from_the_top(run_python):
    found = json.loads(run_python(HEAVY_STEPS).splitlines()[-1])
    assert found == {"name": "KerasImageClassifier", "heavy": ["keras", "tensorflow"]}
