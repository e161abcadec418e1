"""Training on several devices: two logical CPUs, in a process of their own."""

CODE = """
import pickle
import tensorflow

cpu = tensorflow.config.list_physical_devices("CPU")[0]
two = [tensorflow.config.LogicalDeviceConfiguration()] * 2
tensorflow.config.set_logical_device_configuration(cpu, two)

import numpy as np
from sklearn.datasets import load_digits
from skimgclf import ImageEmbedder, KerasImageClassifier

X, y = load_digits(return_X_y=True)
X, y = (X[:600] / 16).astype("float32").reshape(-1, 8, 8, 1), y[:600].astype(str)
strategy = tensorflow.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    classifier = KerasImageClassifier(
        "cnn",
        conv_filters=(8,),
        hidden_layer_sizes=(32,),
        learning_rate=0.01,
        epochs=6,
        random_state=0,
    ).fit(X[:500], y[:500])
    features = ImageEmbedder(weights=None).fit_transform(np.zeros((3, 32, 32, 1)))
kernel = classifier.model_.trainable_variables[0]
print(strategy.num_replicas_in_sync, len(kernel.value.values), features.shape)
print(classifier.score(X[500:], y[500:]) > 0.8)
loaded = pickle.loads(pickle.dumps(classifier))
print(np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X)))
"""


def test_fit_under_mirrored_strategy_trains_on_two_devices(run_python):
    printed = run_python(CODE).splitlines()[-3:]
    assert printed == ["2 2 (3, 576)", "True", "True"]
