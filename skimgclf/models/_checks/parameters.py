"""Check the parameters of KerasImageClassifier."""

import dataclasses
import functools

import numpy as np
from sklearn.utils import check_random_state

from skimgclf._validation import (
    NONE,
    TRUE_OR_FALSE,
    VERBOSE,
    ParameterTable,
    Rule,
    a_number,
    an_int,
    in_any_case,
    ints,
    one_of,
)
from skimgclf.models._checks.optimizer import (
    OPTIMIZER_RULES,
    list_classes,
    list_wrong_combinations,
)
from skimgclf.models._dense import ACTIVATIONS
from skimgclf.models._networks.architectures import ARCHITECTURES, fill_in_sizes
from skimgclf.models._networks.augmentation import AUGMENTATION
from skimgclf.models._networks.kinds import BACKBONE_NAMES, Kind, kind_of
from skimgclf.models._networks.pretrained import WEIGHTS
from skimgclf.models._start import keras


def _is_file_or_function(value):
    kind = kind_of(value)
    if kind is Kind.FUNCTION:
        # A class or layer is callable, but gives no new model in each call.
        return not (isinstance(value, type) or isinstance(value, keras.layers.Layer))
    return kind is Kind.KERAS_FILE


def _explain_architecture(value):
    if callable(value):
        return "a name or a function that returns a new keras.Model in each call"
    return None


@functools.lru_cache
def _keeps_shape(activation):
    """Tell whether a name is an activation that keeps the shape of its input."""
    if activation in ACTIVATIONS:
        return True
    try:
        # "glu" halves the number of units, so that a layer fails.
        return keras.activations.get(activation)(np.ones((1, 2))).shape == (1, 2)
    except Exception:  # Keras raises errors of every kind for an unknown name
        return False


def _are_class_weights(value):
    return isinstance(value, dict) and all(map(_WEIGHT.accepts, value.values()))


def _are_callbacks(value):
    kinds = list_classes(value)
    return all(issubclass(kind, keras.callbacks.Callback) for kind in kinds)


def _is_random_state(value):
    try:
        check_random_state(value)
    except ValueError:
        return False
    return True


_ALL = Rule("'all'", lambda value: isinstance(value, str) and value == "all", ("some",))
_WEIGHT = a_number("[0, inf)")
_BUILDER_RULES = {
    "hidden_layer_sizes": ints(1, or_int=True, empty=True) | NONE,
    "conv_filters": ints(1) | NONE,
    "kernel_size": ints(1, length=2, or_int=True),
    "activation": Rule(
        "the name of a Keras activation, such as 'relu', 'tanh' or 'gelu'",
        lambda value: isinstance(value, str) and _keeps_shape(value),
        ("rilu", "glu", None, 3),
        names=tuple(ACTIVATIONS),
    ),
    "batch_norm": TRUE_OR_FALSE,
    "dropout": a_number("[0, 1)"),
}
TABLE = ParameterTable(
    "KerasImageClassifier",
    {
        "architecture": in_any_case(*ARCHITECTURES)
        | dataclasses.replace(
            in_any_case(*BACKBONE_NAMES),
            expected="the name of a pretrained network ('EfficientNetLite0' to 2, or "
            "one of keras.applications, such as 'MobileNetV3Small', but not "
            "EfficientNetB0 to B7)",
        )
        | Rule(
            "the path of a .keras file or a callable",
            _is_file_or_function,
            ("resnt50", None, 3, int),
            explain=_explain_architecture,
        ),
        **_BUILDER_RULES,
        "augmentation": AUGMENTATION,
        "mixup": a_number("[0, inf)"),
        "label_smoothing": a_number("[0, 1)"),
        "test_time_augmentation": one_of("flip") | NONE,
        "weights": WEIGHTS,
        "fine_tune": an_int(0) | _ALL,
        "fine_tune_epochs": an_int(1),
        "fine_tune_learning_rate": a_number("(0, inf)"),
        **OPTIMIZER_RULES,
        "epochs": an_int(1),
        "batch_size": an_int(1),
        "early_stopping": TRUE_OR_FALSE,
        "validation_fraction": a_number("(0, 1)"),
        "n_iter_no_change": an_int(1),
        "class_weight": one_of("balanced")
        | Rule(
            "a dict of labels to numbers or None",
            lambda value: value is None or _are_class_weights(value),
            (3, {"a": -1}, {"a": "heavy"}, [1, 2]),
            explain=lambda value: (
                isinstance(value, dict) and "a dict of labels to numbers of at least 0"
            ),
        ),
        "callbacks": Rule(
            "a keras.callbacks.Callback, a subclass of it, a list of them or None",
            _are_callbacks,
            ("early", print, 3, ["early"], [None], dict),
        ),
        "warm_start": TRUE_OR_FALSE,
        "random_state": Rule(
            "an int of 0 to 4294967295, a numpy RandomState or None",
            _is_random_state,
            (-1, "seed", 1.5),
        ),
        "verbose": VERBOSE,
    },
)


def check_parameters(parameters, *, is_partial=False):
    """Refuse invalid values, and normalize the arguments of `build_network`.

    Parameters
    ----------
    parameters : dict
        As ``KerasImageClassifier.get_params`` returns them.
    is_partial : bool, default=False
        Whether the parameters are for `partial_fit`.

    Returns
    -------
    blueprint : dict
        Arguments of `build_network` that don't depend on the data, as plain values:
        "architecture", "augmentation", "weights", "fine_tune" and the builder's own
        "parameters".
    """
    plain = TABLE.check(parameters)
    _refuse_combinations(parameters, is_partial)
    architecture = plain["architecture"]
    named = kind_of(architecture) is Kind.NAMED_BACKBONE
    return {
        "architecture": architecture,
        "augmentation": plain["augmentation"],
        "fine_tune": plain["fine_tune"],
        "parameters": fill_in_sizes(
            architecture, {name: plain[name] for name in _BUILDER_RULES}
        ),
        "weights": parameters["weights"] if named else None,
    }


def check_test_time_augmentation(test_time_augmentation, image_shape):
    """Refuse invalid values, and mirror images of rows of features."""
    if test_time_augmentation is None:
        return
    TABLE.check({"test_time_augmentation": test_time_augmentation})
    if len(image_shape) != 3:
        expected = "None for rows of features, which have no left and right"
        raise TABLE.error("test_time_augmentation", expected, test_time_augmentation)


def check_builder_parameters(parameters):
    """Refuse invalid values of a builder's parameters, and return plain ones."""
    return ParameterTable(TABLE.owner, _BUILDER_RULES).check(parameters)


def _refuse_combinations(parameters, is_partial):
    """Refuse values that are valid alone, but not together."""
    architecture, fine_tune = parameters["architecture"], parameters["fine_tune"]
    class_weight = parameters["class_weight"]
    if parameters["early_stopping"] and is_partial:  # as MLPClassifier
        raise ValueError("partial_fit does not support early_stopping=True.")
    if fine_tune and not kind_of(architecture).is_pretrained:
        expected = f"0 with architecture={architecture!r}, which isn't pretrained"
        raise TABLE.error("fine_tune", expected, fine_tune)
    if fine_tune and is_partial:
        expected = "0 in partial_fit, which doesn't know when the last part has come"
        raise TABLE.error("fine_tune", expected, fine_tune)
    for name, expected in list_wrong_combinations(parameters, is_partial=is_partial):
        raise TABLE.error(name, expected, parameters[name])
    if parameters["mixup"] and parameters["batch_size"] == 1:
        expected = "0 with batch_size=1, where a sample has no other one in its batch"
        raise TABLE.error("mixup", expected, parameters["mixup"])
    if class_weight == "balanced" and is_partial:
        expected = "a dict or None in partial_fit, which sees a part of the data"
        raise TABLE.error("class_weight", expected, class_weight)
