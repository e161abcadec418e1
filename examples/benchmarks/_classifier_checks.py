"""Ways to make a classifier of a Keras network, and checks of what they do.

A function that makes one takes parameters of its constructor. A check takes such a
function and an empty folder, and returns whether the claim holds, or that and what came
instead, or True and something worth showing.
"""

import concurrent.futures
import multiprocessing

import keras
import numpy as np
from keras.wrappers import SKLearnClassifier
from scikeras.wrappers import KerasClassifier
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.ensemble import VotingClassifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score

from skimgclf import KerasImageClassifier

EPOCHS, N_UNITS = 15, 64


def make_skimgclf(**parameters):
    """Make skimgclf's classifier."""
    parameters = {"epochs": EPOCHS, **parameters}
    return KerasImageClassifier(hidden_layer_sizes=(N_UNITS,), **parameters)


def make_scikeras(**parameters):
    """Make scikeras' classifier."""
    parameters = {"epochs": EPOCHS, "optimizer": "adam", **parameters}
    return KerasClassifier(build_for_scikeras, verbose=0, **parameters)


def build_for_scikeras(meta, compile_kwargs):
    """Build the network from what scikeras knows of the data."""
    network = build_network(meta["X_shape_"][1:], meta["n_classes_"])
    loss = "sparse_categorical_crossentropy"
    network.compile(compile_kwargs["optimizer"], loss)
    return network


def make_keras(**parameters):
    """Make Keras' own wrapper."""
    if not parameters.keys().isdisjoint({"class_weight", "optimizer", "random_state"}):
        raise NotImplementedError("it has no such parameter")
    fit_kwargs = {"epochs": EPOCHS, "verbose": 0}
    return SKLearnClassifier(build_for_keras, fit_kwargs=fit_kwargs, **parameters)


def build_for_keras(X, y):
    """Build the network from data as Keras' wrapper hands it on."""
    network = build_network(X.shape[1:], y.shape[1])
    network.compile("adam", "categorical_crossentropy")
    return network


def build_network(image_shape, n_classes):
    """Build the network that skimgclf's classifier builds."""
    inputs = keras.Input(image_shape)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(N_UNITS, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(n_classes, "softmax")(x))


CLASSIFIERS = {
    "skimgclf KerasImageClassifier": make_skimgclf,
    "scikeras KerasClassifier": make_scikeras,
    "keras SKLearnClassifier": make_keras,
}


def load_rows():
    """Return 600 handwritten digits as rows in [0, 1], and their labels."""
    X, y = load_digits(return_X_y=True)
    return (X[:600] / 16).astype("float32"), y[:600]


def load_images():
    """Return them as images (600, 8, 8, 1)."""
    X, y = load_rows()
    return X.reshape(-1, 8, 8, 1), y


def check_is_classifier(make, folder):
    """Check that scikit-learn recognises a classifier."""
    return is_classifier(make())


def check_sorted_labels(make, folder):
    """Check that cross-validation stratifies: the order of samples doesn't matter."""
    X, y = load_rows()
    orders = [np.argsort(y), np.random.default_rng(0).permutation(len(y))]
    by_label, shuffled = (
        cross_val_score(make(), X[order], y[order], cv=3, error_score="raise").mean()
        for order in orders
    )
    return by_label > shuffled - 0.1, f"{by_label:.2f}; shuffled {shuffled:.2f}"


def check_images_are_taken(make, folder):
    """Check that X may be four-dimensional."""
    X, y = load_images()
    return make().fit(X, y).predict(X).shape == y.shape


def check_string_labels(make, folder):
    """Check that labels may be strings, and come back as such."""
    X, y = load_rows()
    predicted = make().fit(X, y.astype(str)).predict(X)
    return set(predicted) <= set(y.astype(str))


def check_one_image(make, folder):
    """Check that the probabilities of a single image are one row."""
    X, y = load_rows()
    shape = make().fit(X, y).predict_proba(X[:1]).shape
    return shape == (1, 10) or (False, f"shape {shape}")


def check_misspelt_parameter(make, folder):
    """Check that a parameter that doesn't exist is refused."""
    try:
        make(epohcs=3)
    except TypeError:
        return True
    return False


def check_clone_keeps_parameters(make, folder):
    """Check that a clone, such as each candidate of a search, has all parameters."""
    before = make()
    after = clone(before).get_params(deep=False)
    lost = [
        name
        for name, value in before.get_params(deep=False).items()
        if after[name] != value
    ]
    return not lost or (False, f"loses {', '.join(lost)}")


def check_voting(make, folder):
    """Check that soft voting takes it."""
    X, y = load_rows()
    voting = VotingClassifier([("only", make())], voting="soft")
    return voting.fit(X, y).predict(X).shape == y.shape


def check_roc_auc(make, folder):
    """Check that a binary problem can be scored by the area under the ROC curve."""
    X, y = load_rows()
    X, y = X[y < 2], y[y < 2]
    return get_scorer("roc_auc")(make().fit(X, y), X, y) > 0.9


def check_other_float_type(make, folder):
    """Check that what was fitted on float32 predicts float64."""
    X, y = load_rows()
    return len(make().fit(X, y).predict(X.astype("float64"))) == len(y)


def check_weights_are_untouched(make, folder):
    """Check that the caller's sample_weight stays what it was."""
    X, y = load_rows()
    weights = np.ones(len(y))
    make(class_weight="balanced").fit(X, y, sample_weight=weights)
    return bool((weights == 1).all()) or (False, "overwritten")


def check_random_states_differ(make, folder):
    """Check that two generators with different seeds give different networks."""
    X, y = load_rows()
    probabilities = [
        make(random_state=np.random.RandomState(seed)).fit(X, y).predict_proba(X)
        for seed in (5, 6)
    ]
    return not np.array_equal(*probabilities) or (False, "equal")


def check_optimizer_instance_refits(make, folder):
    """Check that an estimator with an optimizer instance can be fitted twice."""
    X, y = load_rows()
    make(optimizer=keras.optimizers.Adam()).fit(X, y).fit(X, y)
    return True


def check_seeded_fit_is_local(make, folder):
    """Check that after a seeded fit other Keras code in the process still works."""
    # In a process of its own, where nothing was fitted before.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(fit_twice, make).result()  # raises what is raised there
    return True


def fit_twice(make):
    """Fit a classifier with a seed, then a network of Keras' own without one."""
    X, y = load_rows()
    make(random_state=0).fit(X, y)
    network = build_network(X.shape[1:], 10)
    dropout = keras.Sequential([network, keras.layers.Dropout(0.5)])
    dropout.compile("adam", "sparse_categorical_crossentropy")
    dropout.fit(X, y, verbose=0)


CHECKS = {
    "`is_classifier` is True": check_is_classifier,
    "searches stratify: accuracy on class-sorted labels": check_sorted_labels,
    "takes images (4-D)": check_images_are_taken,
    "takes string labels": check_string_labels,
    "`predict_proba` of one image is 2-D": check_one_image,
    "a misspelt parameter is refused": check_misspelt_parameter,
    "`clone` keeps all parameters": check_clone_keeps_parameters,
    "`VotingClassifier` takes it": check_voting,
    '`scoring="roc_auc"` works': check_roc_auc,
    "fitted on float32, predicts float64": check_other_float_type,
    "leaves the caller's `sample_weight` as it was": check_weights_are_untouched,
    "different `RandomState`s differ": check_random_states_differ,
    "an optimizer instance can be fitted twice": check_optimizer_instance_refits,
    "a seeded fit leaves Keras' settings alone": check_seeded_fit_is_local,
}
