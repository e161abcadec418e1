"""Training on several devices: two logical CPUs, in a process of their own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CODE = """
import contextlib
import gc
import logging
import pickle
import signal
import weakref
import keras
import tensorflow

cpu = tensorflow.config.list_physical_devices("CPU")[0]
two = [tensorflow.config.LogicalDeviceConfiguration()] * 2
tensorflow.config.set_logical_device_configuration(cpu, two)

import numpy as np
from sklearn.datasets import load_digits
from skimgclf import ImageEmbedder, KerasImageClassifier
from skimgclf.models._training import shared_programs

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
tensorflow.get_logger().addHandler(handler)

X, y = load_digits(return_X_y=True)
X, y = (X[:600] / 16).astype("float32").reshape(-1, 8, 8, 1), y[:600].astype(str)
strategy = tensorflow.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    classifier = KerasImageClassifier(
        "cnn",
        conv_filters=(8,),
        hidden_layer_sizes=(32,),
        learning_rate=0.01,
        learning_rate_schedule="cosine",
        weight_decay=0.001,
        warm_start=True,
        epochs=6,
        random_state=0,
    ).fit(X[:500], y[:500])
    layers = keras.Input((None, None, 3)), keras.layers.Conv2D(5, 3)
    embedder = ImageEmbedder(keras.Sequential(layers))
    features = embedder.fit_transform(np.zeros((3, 8, 8, 1)))
    mixed = KerasImageClassifier(
        "cnn",
        conv_filters=(8,),
        mixup=0.2,
        label_smoothing=0.1,
        augmentation="crop",
        epochs=2,
        random_state=0,
    ).fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:])
    part = X[:500].copy()
    held = weakref.ref(part)
    KerasImageClassifier(epochs=1).fit(part, y[:500])
    del part
    gc.collect()
    # TensorFlow warns where five of ten calls are traced.
    for _ in range(6):
        KerasImageClassifier(epochs=1, batch_size=60).fit(X[:60], y[:60])
kernel = classifier.model_.trainable_variables[0]
print(strategy.num_replicas_in_sync, len(kernel.value.values), features.shape)
print(classifier.score(X[500:], y[500:]) > 0.7)
found = mixed.history_["val_accuracy"][-1]
print(abs(found - mixed.score(X[500:], y[500:])) < 1e-6)
loaded = pickle.loads(pickle.dumps(classifier))
print(np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X)))
for device in ("CPU:0", "CPU:1"):
    with tensorflow.device(device):
        classifier = KerasImageClassifier(epochs=1, random_state=0).fit(X, y)
print(len(shared_programs._stand_ins))

fits = []
one = tensorflow.distribute.MirroredStrategy(["CPU:0"])
for scope in (contextlib.nullcontext(), one.scope()):
    with scope:
        classifier = KerasImageClassifier(
            learning_rate_schedule="one_cycle",
            weight_decay=0.1,
            mixup=0.2,
            epochs=2,
            random_state=0,
            warm_start=True,
        )
        # The second fit goes on with the order of samples after the first.
        fits.append(classifier.fit(X, y).fit(X, y))
weights = [each.model_.get_weights() for each in fits]
print(all(map(np.array_equal, *weights)), fits[0].history_ == fits[1].history_)
print(held())
print(sum("retracing" in message for message in messages))

signal.signal(signal.SIGINT, signal.default_int_handler)
reached = []

class Press(keras.callbacks.Callback):
    def on_test_begin(self, logs=None):
        reached.append("validation")
        signal.raise_signal(signal.SIGINT)

    def on_test_end(self, logs=None):
        reached.append("end")

with strategy.scope():
    try:
        KerasImageClassifier(callbacks=Press).fit(X, y, X_val=X, y_val=y)
    except KeyboardInterrupt:
        print(reached)
"""


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-9:]


def test_repair_fit_under_mirrored_strategy_trains_on_two_devices(printed):
    assert printed[:4] == ["2 2 (3, 5)", "True", "True", "True"]


def test_each_device_has_a_program_of_its_own(printed):
    assert printed[4] == "2"


def test_a_strategy_of_one_device_changes_no_bit(printed):
    assert printed[5] == "True True"


def test_repair_close_lets_samples_go_after_a_fit(printed):
    """Or a search would hold those of all its folds."""
    assert printed[6] == "None"


def test_repair_quiet_about_retracing_drops_the_message(printed):
    assert printed[7] == "0"


def test_an_interrupt_on_two_devices_is_heard_after_a_batch(printed):
    """Of the validation data, too."""
    assert printed[8] == "['validation']"
