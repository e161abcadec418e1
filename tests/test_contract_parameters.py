"""What holds for all parameters: a rule for each, one error, short ways."""

import ast
import functools
import inspect
import pathlib
import re
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

import skimgclf
from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    KerasImageClassifier,
    check_images,
    export_model,
    predict_frame,
)
from skimgclf.datasets import fetch_image_archive, load_image_csv, load_image_folder
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import _loader, read_image
from skimgclf.models import _embedder, augment_images
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
# Other than the defaults, where these would fetch something or take long.
QUICK = {
    ImageEmbedder: {"backbone": "VGG16", "weights": None},
    KerasImageClassifier: {"optimizer": "sgd", "hidden_layer_sizes": ()},
}
ESTIMATORS = pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.__name__)


# Functions with tables, and their arguments, of which one at a time becomes wrong.
FUNCTIONS = {
    augment_images: {"images": np.zeros((1, 2, 2, 1)), "random_state": None},
    check_images: {"paths": []},
    export_model: {"model": None, "path": "model.onnx"},
    fetch_image_archive: {"source": __file__},
    load_image_csv: {"csv": __file__},
    load_image_folder: {"root": "."},
    predict_frame: {"pipeline": None, "paths": []},
    read_image: {"source": "a.png", "image_size": (2, 2)},
}


def table_of(function):
    return sys.modules[function.__module__]._TABLE


def list_wrong_values(tables):
    return [
        pytest.param(thing, name, value, id=f"{thing.__name__}-{name}-{value!r:.40}")
        for thing, table in tables.items()
        for name, rule in table.rules.items()
        for value in rule.wrong
    ]


def refusal(table, name, value):
    """Write the whole error of a wrong value as a pattern."""
    expected = table.rules[name].describe(value)
    sentence = f"The {name!r} parameter of {table.owner} must be {expected}. "
    return f"^{re.escape(f'{sentence}Got {table.rules[name].show(value)!r} instead.')}$"


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


@pytest.mark.parametrize(("cls", "name", "value"), list_wrong_values(TABLES))
def test_parameters_with_wrong_values_give_the_one_error_in_fit(cls, name, value):
    estimator = cls(**{name: value})  # never in __init__
    estimator.set_params(**{name: value})  # nor here
    with pytest.raises(InvalidParameterError, match=refusal(TABLES[cls], name, value)):
        estimator.fit(*FIT_ON[cls])


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_parameters_of_functions_have_a_rule_or_are_data(function):
    names = {*table_of(function).rules, *FUNCTIONS[function]}
    assert names == set(inspect.signature(function).parameters)
    assert table_of(function).owner == function.__name__


@pytest.mark.parametrize(
    ("function", "name", "value"),
    list_wrong_values({function: table_of(function) for function in FUNCTIONS}),
)
def test_parameters_of_functions_with_wrong_values_give_the_one_error(
    function, name, value
):
    pattern = refusal(table_of(function), name, value)
    with pytest.raises(InvalidParameterError, match=pattern):
        function(**FUNCTIONS[function] | {name: value})


@ESTIMATORS
def test_parameters_are_stored_cloned_and_set_as_given(cls):
    for name, value in cls().get_params().items():
        assert clone(cls(**{name: value})).get_params()[name] == value
        for wrong in TABLES[cls].rules[name].wrong:
            stored = cls().set_params(**{name: wrong})
            assert getattr(stored, name) is wrong


@ESTIMATORS
def test_parameters_are_the_same_after_fit(cls):
    estimator = cls(**QUICK.get(cls, {}))
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


DATA = {"self", "cls", "X", "y", "parameters"}
LIMIT = 3
PACKAGE = pathlib.Path(skimgclf.__file__).parent


def list_parameters(function):
    """List the names of a function's parameters, positional ones first."""
    given = function.args.posonlyargs + function.args.args
    return [argument.arg for argument in given + function.args.kwonlyargs]


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def read_module(path):
    """Return the parameters of a module's callables, and the sources of its imports."""
    signatures, imported = {}, {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("skimgclf"):
            for alias in node.names:
                imported[alias.asname or alias.name] = node.module, alias.name
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if getattr(method, "name", None) == "__init__":
                    signatures[node.name] = list_parameters(method)[1:]
        elif isinstance(node, ast.FunctionDef):
            signatures.setdefault(node.name, list_parameters(node))
    return signatures, imported


def list_steps(modules, name, call):
    """Yield the arguments of a call of another module: its name, parameter, value."""
    home = name, getattr(call.func, "id", None)
    while home[0] in modules and home[1] in modules[home[0]][1]:
        home = modules[home[0]][1][home[1]]  # a room passes on the names of its files
    if home[0] == name or home[0] not in modules:
        return
    signature = modules[home[0]][0].get(home[1], [])
    named = [(keyword.arg, keyword.value) for keyword in call.keywords]
    for parameter, value in [*zip(signature, call.args, strict=False), *named]:
        if parameter in signature:
            yield home[0], parameter, getattr(value, "id", None)


def list_calls(path):
    """Yield the calls in a module, each with the parameters of the function around."""
    for function in ast.walk(tree_of(path)):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    yield {*list_parameters(function)} - DATA, call


def name_module(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def list_travels():
    """List, for each parameter, the most files that are joined by passing it on."""
    paths = {name_module(path): path for path in PACKAGE.rglob("*.py")}
    modules = {name: read_module(path) for name, path in paths.items()}
    edges = {}
    for name, path in paths.items():
        for own, call in list_calls(path):
            for other, parameter, value in list_steps(modules, name, call):
                if parameter in own and parameter == value:
                    edges.setdefault(parameter, set()).add((name, other))
    return {parameter: join_files(pairs) for parameter, pairs in edges.items()}


def join_files(pairs):
    groups = []
    for pair in pairs:
        joined = [group for group in groups if group & {*pair}]
        groups = [group for group in groups if group not in joined]
        groups.append({*pair}.union(*joined))
    return max(groups, key=len)


def test_no_parameter_travels_through_more_than_three_files():
    travels = list_travels()
    assert [files for files in travels.values() if len(files) > LIMIT] == []
    assert max(map(len, travels.values())) == LIMIT  # the count finds something
