"""scikit-learn's own suite of checks for estimators."""

import json

import pytest

# It runs in a process of its own: the suite's tolerances are those of float64, which
# Keras takes as a setting of the whole process, and one of its checks wants
# SCIPY_ARRAY_API to be set before scikit-learn is imported.
SUITE = """
import json, sys, warnings
import keras
from sklearn.utils.estimator_checks import check_estimator
from skimgclf import KerasImageClassifier
from skimgclf.models._training import shared_programs

# The checks come back to kinds of networks that they have left.
shared_programs._N_KEPT = 32
warnings.simplefilter("error")
# Keras 3.15's variables have the signature that NumPy 2 deprecates.
warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")

# Parameters with which a network this small learns the suite's toy data; its check
# that weighting equals repeating is exact in full batches.
classifier = KerasImageClassifier(
    hidden_layer_sizes=(16,), epochs=8, batch_size=256, optimizer=sys.argv[1],
    learning_rate=float(sys.argv[2])
)
results = check_estimator(classifier, on_fail=None)
print(json.dumps([
    (result["check_name"], result["status"], repr(result["exception"]))
    for result in results
]))
"""


# Each run takes long, so the one with Adam, the default, is marked slow.
@pytest.mark.parametrize(
    ("optimizer", "learning_rate"),
    [("sgd", 0.5), pytest.param("adam", 0.1, marks=pytest.mark.slow)],
)
def test_check_estimator_passes_every_check(
    run_python, capsys, optimizer, learning_rate
):
    printed = run_python(SUITE, optimizer, learning_rate, SCIPY_ARRAY_API="1")
    results = json.loads(printed.splitlines()[-1])
    not_passed = [result for result in results if result[1] != "passed"]
    with capsys.disabled():
        print(f"\nscikit-learn's checks: {len(results) - len(not_passed)} passed, ")
        print(f"{len(not_passed)} did not, of {len(results)}")
    assert not_passed == []
    # 63 with scikit-learn 1.9 and 1.6; far fewer would mean that its tags have made it
    # skip the checks for classifiers, as they do for scikeras itself (48).
    assert len(results) >= 60
