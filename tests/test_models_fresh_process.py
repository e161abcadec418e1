"""What holds in a new process: equal bits, and settings that stay as they were."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from skimgclf import ImageEmbedder, KerasImageClassifier

# All in one process, since an import of TensorFlow takes seconds. What depends on the
# names and numbers that a process has given out comes first.
STEPS = """
import io, json, logging, os, tempfile, threading
import numpy as np

os.environ.pop("TF_CPP_MIN_LOG_LEVEL")  # of the tests
stderr, printed, is_over = os.dup(2), tempfile.TemporaryFile(), threading.Event()
os.dup2(printed.fileno(), 2)
found = {"spoken": []}
rows, classes = np.eye(20), np.repeat([0, 1], 10)


def speak():
    while not is_over.wait(0.02):
        found["spoken"].append(f"line {len(found['spoken'])} of another thread")
        os.write(2, f"{found['spoken'][-1]}\\n".encode())


def build(image_shape):
    layers = [keras.Input(image_shape), keras.layers.Dense(2, name="dense")]
    return keras.Sequential(layers)


thread = threading.Thread(target=speak)
thread.start()
try:
    from skimgclf import load_model, ImageEmbedder, KerasImageClassifier
    import keras

    network = KerasImageClassifier(build, epochs=1).fit(rows, classes).model_
finally:
    is_over.set()
    thread.join()
    os.dup2(stderr, 2)
    printed.seek(0)
    found["printed"] = printed.read().decode().splitlines()

import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.python.framework import config

messages = io.StringIO()
tf.get_logger().addHandler(logging.StreamHandler(messages))
found["layers"] = [layer.name for layer in network.layers]
found["shape"] = network.output_shape

X, y = load_digits(return_X_y=True)
X = (X[:300] / 16).astype("float32").reshape(-1, 8, 8, 1)
classifier = KerasImageClassifier(hidden_layer_sizes=(4,), epochs=1, random_state=0)
streams = []
for epochs in (0, 1):
    tf.random.set_seed(1)
    stream = [float(tf.random.uniform([]))]
    if epochs:
        classifier.fit(X, y[:300].astype(str))
    streams.append([*stream, float(tf.random.uniform([]))])
found["streams"] = streams
weights = classifier.model_.get_weights()
found["weights"] = b"".join(w.tobytes() for w in weights).hex()

# scikeras leaves it on, after which unseeded networks can't be trained any more.
found["determinism"] = config.is_op_determinism_enabled()

try:
    ImageEmbedder("MobileNet").fit(np.zeros((1, 32, 32, 3)))
except ValueError as error:
    found["error"] = [type(error).__name__, str(error)]

for n in range(1, 7):
    classifier = KerasImageClassifier(
        hidden_layer_sizes=(), optimizer="sgd", epochs=1, batch_size=n + 5
    ).fit(rows, classes)
    classifier.predict(rows[:n])
    classifier.predict(rows[: 2 * n])
found["messages"] = messages.getvalue()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def found(run_python, home):
    """Return what the process has found."""
    # Nothing listens on port 9, so that nothing is ever fetched, network or not.
    offline = {"https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    printed = run_python(STEPS, KERAS_HOME=str(home), **offline)
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
def test_repair_start_lines_are_left_out_and_no_other_line(found):
    # What is printed meanwhile appears after what is printed right afterwards.
    assert sorted(found["printed"]) == sorted(found["spoken"])
    assert len(found["spoken"]) > 10


@pytest.mark.slow
def test_workers_of_a_search_print_nothing():
    code = """
import numpy as np
from sklearn.model_selection import cross_val_score
from skimgclf import KerasImageClassifier
X, y = np.zeros((40, 4, 4, 1), "float32"), [0, 1] * 20
classifier = KerasImageClassifier(hidden_layer_sizes=(), epochs=1, random_state=0)
cross_val_score(classifier, X, y, cv=2, n_jobs=2, error_score="raise")
"""
    kept = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=kept, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_layer_called_dense_stands_beside_ours(found):
    assert "dense" in found["layers"]
    assert found["shape"] == [None, 2]


def test_fit_leaves_tensorflows_random_stream_alone(found):
    without, with_fit = found["streams"]
    assert with_fit == without


def test_fit_leaves_tensorflows_determinism_alone(found):
    assert found["determinism"] is False


def test_random_state_gives_equal_weights_in_another_process(found, digits):
    classifier = KerasImageClassifier(hidden_layer_sizes=(4,), epochs=1, random_state=0)
    weights = classifier.fit(*digits).model_.get_weights()
    assert found["weights"] == b"".join(w.tobytes() for w in weights).hex()


@pytest.mark.slow
def test_embedders_random_weights_are_the_same_in_every_process(run_python):
    code = """
import numpy as np
from skimgclf import ImageEmbedder
images = np.random.default_rng(0).random((5, 32, 40, 3), dtype="float32")
embedder = ImageEmbedder(weights=None).fit(images)
print(embedder.weights_hash_, embedder.transform(images).tobytes().hex())
"""
    images = np.random.default_rng(0).random((5, 32, 40, 3), dtype="float32")
    here = ImageEmbedder(weights=None).fit(images)
    features = here.transform(images).tobytes().hex()
    printed = run_python(code).splitlines()[-1]
    assert printed == f"{here.weights_hash_} {features}"


def test_without_network_the_sentence_names_the_file(found, home):
    name = "mobilenet_1_0_224_tf_no_top.h5"
    kind, sentence = found["error"]
    assert kind == "InvalidParameterError"
    assert sentence.startswith(
        "The 'weights' parameter of ImageEmbedder must be the path of the file "
        f"{name} here, since Keras can't fetch it ("
    )
    assert f"{home}/models" in sentence
    assert sentence.endswith("Got 'imagenet' instead.")


def test_many_fits_and_batch_sizes_log_no_retracing(found):
    assert found["messages"] == ""
