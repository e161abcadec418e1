"""Check the parameters of KerasImageClassifier."""

import functools
import numbers

import keras
import numpy as np
from sklearn.utils import check_random_state

from skimgclf._validation import (
    check_bool,
    check_choice,
    check_int,
    check_int_sequence,
    check_verbose,
    is_int,
    parameter_error,
)
from skimgclf.models._checks.optimizer import check_optimizer
from skimgclf.models._networks.architectures import ARCHITECTURES
from skimgclf.models._networks.augmentation import plan_augmentation
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.pretrained import check_weights_source

_OWNER = "KerasImageClassifier"


def check_parameters(parameters, *, is_partial=False):
    """Refuse values that can't be meant, and normalize those of the builder.

    Parameters
    ----------
    parameters : dict
        As ``KerasImageClassifier.get_params`` returns them.
    is_partial : bool, default=False
        Whether they are for `partial_fit`.

    Returns
    -------
    blueprint : dict
        Those arguments of `build_network` that the data don't decide, as plain values:
        "architecture", "augmentation", "weights", "fine_tune" and the builder's own
        "parameters".
    """
    architecture = parameters["architecture"]
    _check_architecture(architecture)
    check_weights_source(_OWNER, parameters["weights"])
    _check_fine_tune(parameters, is_partial)
    named = kind_of(architecture) is Kind.APPLICATION
    blueprint = {
        "architecture": architecture,
        "augmentation": plan_augmentation(_OWNER, parameters["augmentation"]),
        "fine_tune": parameters["fine_tune"],
        "parameters": check_builder_parameters(parameters),
        "weights": parameters["weights"] if named else None,
    }
    check_optimizer(parameters["optimizer"], parameters["learning_rate"])
    check_int(_OWNER, "epochs", parameters["epochs"], minimum=1)
    check_int(_OWNER, "batch_size", parameters["batch_size"], minimum=1)
    _check_class_weight(parameters["class_weight"], is_partial)
    _check_early_stopping(parameters)
    _check_callbacks(parameters["callbacks"])
    check_bool(_OWNER, "warm_start", parameters["warm_start"])
    _check_random_state(parameters["random_state"])
    check_verbose(_OWNER, parameters["verbose"])
    return blueprint


def _check_architecture(architecture):
    if isinstance(architecture, type | keras.layers.Layer):
        expected = "a name or a function that returns a new keras.Model in each call"
        raise parameter_error(_OWNER, "architecture", expected, architecture)
    if kind_of(architecture) in (Kind.BUILT_IN, None):
        otherwise = (
            "the name of a network of keras.applications (such as 'MobileNetV3Small'; "
            "not EfficientNetB0 to B7), the path of a .keras file, or a callable"
        )
        check_choice(
            _OWNER, "architecture", architecture, ARCHITECTURES, otherwise=otherwise
        )


def _check_fine_tune(parameters, is_partial):
    fine_tune = parameters["fine_tune"]
    is_all = isinstance(fine_tune, str) and fine_tune == "all"
    if not is_all and not is_int(fine_tune, minimum=0):
        expected = "an int of at least 0 or 'all'"
        raise parameter_error(_OWNER, "fine_tune", expected, fine_tune)
    check_int(_OWNER, "fine_tune_epochs", parameters["fine_tune_epochs"], minimum=1)
    rate = parameters["fine_tune_learning_rate"]
    if not _is_number(rate) or not 0 < rate < np.inf:
        expected = "a number above 0"
        raise parameter_error(_OWNER, "fine_tune_learning_rate", expected, rate)
    if fine_tune and not kind_of(parameters["architecture"]).is_pretrained:
        expected = (
            f"0 with architecture={parameters['architecture']!r}, which isn't "
            "pretrained"
        )
        raise parameter_error(_OWNER, "fine_tune", expected, fine_tune)
    if fine_tune and is_partial:
        expected = "0 in partial_fit, which doesn't know when the last part has come"
        raise parameter_error(_OWNER, "fine_tune", expected, fine_tune)


def check_builder_parameters(parameters):
    """Refuse bad values of a builder's parameters, and return them normalized."""
    dropout = parameters["dropout"]
    if not _is_number(dropout) or not 0 <= dropout < 1:
        raise parameter_error(_OWNER, "dropout", "a number in [0, 1)", dropout)
    check_bool(_OWNER, "batch_norm", parameters["batch_norm"])
    _check_activation(parameters["activation"])
    check = functools.partial(check_int_sequence, _OWNER, minimum=1)
    return {
        "hidden_layer_sizes": check(
            "hidden_layer_sizes",
            parameters["hidden_layer_sizes"],
            empty=True,
            or_int=True,
        ),
        "conv_filters": check("conv_filters", parameters["conv_filters"]),
        "kernel_size": check(
            "kernel_size", parameters["kernel_size"], length=2, or_int=True
        ),
        "activation": parameters["activation"],
        "batch_norm": bool(parameters["batch_norm"]),
        "dropout": float(dropout),
    }


def _check_activation(activation):
    expected = "the name of a Keras activation, such as 'relu', 'tanh' or 'gelu'"
    if not isinstance(activation, str) or not _keeps_shape(activation):
        raise parameter_error(_OWNER, "activation", expected, activation)


@functools.lru_cache
def _keeps_shape(activation):
    """Tell whether a name is that of an activation that works unit by unit."""
    try:
        # "glu", for one, halves the number of units, and fails within a layer.
        return keras.activations.get(activation)(np.ones((1, 2))).shape == (1, 2)
    except Exception:  # whatever Keras raises of a name that isn't one
        return False


def _check_class_weight(class_weight, is_partial):
    if class_weight is None or isinstance(class_weight, dict):
        for weight in (class_weight or {}).values():
            if not _is_number(weight) or not 0 <= weight < np.inf:
                expected = "a dict of labels to numbers of at least 0"
                raise parameter_error(_OWNER, "class_weight", expected, class_weight)
        return
    check_choice(
        _OWNER,
        "class_weight",
        class_weight,
        ["balanced"],
        otherwise="a dict of labels to numbers or None",
    )
    if is_partial:
        expected = "a dict or None in partial_fit, which sees a part of the data"
        raise parameter_error(_OWNER, "class_weight", expected, class_weight)


def _check_early_stopping(parameters):
    check_bool(_OWNER, "early_stopping", parameters["early_stopping"])
    fraction = parameters["validation_fraction"]
    if not _is_number(fraction) or not 0 < fraction < 1:
        raise parameter_error(
            _OWNER, "validation_fraction", "a number in (0, 1)", fraction
        )
    check_int(_OWNER, "n_iter_no_change", parameters["n_iter_no_change"], minimum=1)


def _check_callbacks(callbacks):
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    for callback in listed:
        kind = callback if isinstance(callback, type) else type(callback)
        if callbacks is not None and not issubclass(kind, keras.callbacks.Callback):
            expected = (
                "a keras.callbacks.Callback, a subclass of it, a list of them or None"
            )
            raise parameter_error(_OWNER, "callbacks", expected, callbacks)


def _check_random_state(random_state):
    try:
        check_random_state(random_state)
    except ValueError:
        expected = "an int of 0 to 4294967295, a numpy RandomState or None"
        raise parameter_error(_OWNER, "random_state", expected, random_state) from None


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
