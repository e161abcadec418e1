"""What holds for all parameters: a rule for each, one error, short ways."""

import ast
import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

import skimgclf
from skimgclf import ImageEmbedder, ImageLoader, KerasImageClassifier
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import _loader
from skimgclf.models import _embedder
from skimgclf.models._checks import parameters as _classifier_parameters

TABLES = {
    ImageEmbedder: _embedder.TABLE,
    ImageLoader: _loader.TABLE,
    KerasImageClassifier: _classifier_parameters.TABLE,
}
FIT_ON = {
    ImageEmbedder: (np.zeros((2, 32, 32, 3)),),
    ImageLoader: (["a.png"],),
    KerasImageClassifier: (np.eye(4), ["a", "b", "a", "b"]),
}
# Other than the defaults, where these would fetch something.
OFFLINE = {ImageEmbedder: {"weights": None}}
ESTIMATORS = pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.__name__)


def list_wrong_values():
    for cls, table in TABLES.items():
        for name, rule in table.rules.items():
            for value in rule.wrong:
                label = f"{cls.__name__}-{name}-{value!r:.40}"
                yield pytest.param(cls, name, value, id=label)


def test_every_public_estimator_is_in_these_tests():
    estimators = {
        thing
        for thing in map(skimgclf.__getattr__, skimgclf.__all__)
        if inspect.isclass(thing) and issubclass(thing, BaseEstimator)
    }
    assert estimators == set(TABLES)


@ESTIMATORS
def test_parameters_all_have_a_rule_with_wrong_values(cls):
    table = TABLES[cls]
    assert set(table.rules) == set(inspect.signature(cls).parameters)
    assert table.owner == cls.__name__
    assert min(len(rule.wrong) for rule in table.rules.values()) > 1


@ESTIMATORS
def test_parameters_by_default_are_valid(cls):
    defaults = cls().get_params()
    assert set(TABLES[cls].check(defaults)) == set(defaults)


@pytest.mark.parametrize(("cls", "name", "value"), [*list_wrong_values()])
def test_parameters_with_wrong_values_give_the_one_error_in_fit(cls, name, value):
    estimator = cls(**{name: value})  # never in __init__
    estimator.set_params(**{name: value})  # nor here
    expected = TABLES[cls].rules[name].describe(value)
    with pytest.raises(InvalidParameterError) as caught:
        estimator.fit(*FIT_ON[cls])
    assert str(caught.value) == (
        f"The {name!r} parameter of {cls.__name__} must be {expected}. "
        f"Got {value!r} instead."
    )


@ESTIMATORS
def test_parameters_are_stored_cloned_and_set_as_given(cls):
    for name, value in cls().get_params().items():
        assert clone(cls(**{name: value})).get_params()[name] == value
        for wrong in TABLES[cls].rules[name].wrong:
            stored = cls().set_params(**{name: wrong})
            assert getattr(stored, name) is wrong


@ESTIMATORS
def test_parameters_are_the_same_after_fit(cls):
    estimator = cls(**OFFLINE.get(cls, {}))
    before = estimator.get_params()
    estimator.fit(*FIT_ON[cls])
    assert estimator.get_params() == before


@ESTIMATORS
def test_parameters_are_assigned_in_init_only(cls):
    tree = ast.parse(inspect.getsource(cls))
    names = set(cls().get_params())
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or function.name == "__init__":
            continue
        for node in ast.walk(function):
            stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            assert not (stored and node.attr in names), (function.name, node.attr)
