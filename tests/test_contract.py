"""What holds for the whole house: layers, names, docstrings."""

import ast
import functools
import graphlib
import importlib
import importlib.machinery
import inspect
import pathlib
import pkgutil
import re
import sys
import types

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc

import skimgclf
import skimgclf.datasets
import skimgclf.exceptions
import skimgclf.images
import skimgclf.models
import skimgclf.plot
import skimgclf.saving
from skimgclf import ImageEmbedder, ImageLoader, KerasImageClassifier
from skimgclf.exceptions import SkimgclfError, SkimgclfWarning

PACKAGE = pathlib.Path(skimgclf.__file__).parent
PUBLIC_MODULES = [
    skimgclf,
    skimgclf.datasets,
    skimgclf.exceptions,
    skimgclf.images,
    skimgclf.models,
    skimgclf.plot,
    skimgclf.saving,
]

# A room may use itself and the rooms to its left.
LAYERS = [
    "_nearest",
    "_snapshot",
    "_extras",
    "exceptions",
    "_platform",
    "_terminal",
    "_callbacks",
    "_validation",
    "_atomic",
    "_file_identity",
    "_store_file",
    "_store",
    "images",
    "datasets",
    "models",
    "pipelines",
    "plot",
    "saving",
    "prediction",
    "_shell",
    "cli",
]
STRANGERS = {
    ("models", "datasets"),
    ("plot", "datasets"),
    ("plot", "models"),
}


def source_files():
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def imports_in(path):
    return list(imports_of(tree_of(path)))


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            # `from skimgclf import images` names the room behind the import.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def public_objects():
    return [
        pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")
        for module in PUBLIC_MODULES
        for name in module.__all__
    ]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        skimgclf.nope  # noqa: B018 - the access is the test


def test_import_layers_go_one_way():
    wrong = []
    for path in source_files():
        room = room_of(path)
        if room in ("__init__", "__main__"):
            continue
        for name in imports_in(path):
            if not name.startswith("skimgclf."):
                continue
            other = name.split(".")[1]
            upward = LAYERS.index(other) > LAYERS.index(room)
            if upward or (room, other) in STRANGERS:
                wrong.append(f"{path.name} imports {name}")
    assert wrong == []


def test_import_cycles_do_not_exist():
    modules = {}
    for path in source_files():
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        modules[name] = set(imports_in(path))
    # Raises CycleError, which holds the names.
    graphlib.TopologicalSorter(modules).prepare()


def test_scikeras_is_imported_by_its_seam_only():
    importers = [
        path.name
        for path in source_files()
        if any(name.split(".")[0] == "scikeras" for name in imports_in(path))
    ]
    assert importers == ["scikeras_adapter.py"]


def test_pandas_is_imported_inside_functions_only():
    for path in source_files():
        for node in tree_of(path).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "pandas" not in list(imports_of(node)), path


@pytest.mark.parametrize("module", PUBLIC_MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_true(module):
    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))


def test_every_module_imports():
    for module in pkgutil.walk_packages([str(PACKAGE)], "skimgclf."):
        importlib.import_module(module.name)


def count_lines(path):
    """Count the lines of a module without its docstrings."""
    n_lines = len(path.read_text().splitlines())
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if ast.get_docstring(node) is not None:
                n_lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return n_lines


def test_no_module_is_large_or_named_for_nothing():
    for path in source_files():
        assert count_lines(path) <= 360, path
        forbidden = {"utils", "helpers", "misc", "common", "base"}
        assert path.stem.strip("_") not in forbidden, path


def test_one_module_prints():
    """So that no terminal obeys what a stranger has written."""
    printing = {
        path.relative_to(PACKAGE).as_posix()
        for path in source_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert printing == {"_terminal.py"}


def test_every_error_and_warning_belongs_to_the_family():
    for name in skimgclf.exceptions.__all__:
        family = SkimgclfWarning if name.endswith("Warning") else SkimgclfError
        assert issubclass(getattr(skimgclf.exceptions, name), family)
        assert name in skimgclf.exceptions.__doc__


@pytest.mark.parametrize("thing", public_objects())
def test_docstring_lists_the_signatures_parameters(thing):
    if not callable(thing):
        return
    doc = ClassDoc(thing) if inspect.isclass(thing) else FunctionDoc(thing)
    documented = [
        name.strip(" *")
        for parameter in doc["Parameters"]
        for name in parameter.name.split(",")
    ]
    own_init = inspect.isfunction(getattr(thing, "__init__", None))
    if inspect.isclass(thing) and not own_init:
        assert documented == []
        return
    assert documented == list(inspect.signature(thing).parameters)


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(method, id=f"{cls.__name__}.{name}")
        for cls in (ImageEmbedder, ImageLoader, KerasImageClassifier)
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and not name.startswith("_")
    ],
)
def test_docstring_of_a_method_lists_its_parameters_and_result(thing):
    doc = FunctionDoc(thing)
    documented = [parameter.name for parameter in doc["Parameters"]]
    assert documented == list(inspect.signature(thing).parameters)[1:]
    assert doc["Returns"]


@pytest.mark.parametrize(
    "cls",
    [ImageEmbedder, ImageLoader, KerasImageClassifier],
    ids=lambda cls: cls.__name__,
)
def test_docstring_states_every_default(cls):
    text = {p.name: p.type for p in ClassDoc(cls)["Parameters"]}
    for name, parameter in inspect.signature(cls).parameters.items():
        stated = re.search(r"default=(.+)$", text[name]).group(1)
        assert ast.literal_eval(stated) == parameter.default, name


def test_docstrings_of_public_callables_have_an_example():
    for module in PUBLIC_MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            bare = inspect.isclass(thing) and issubclass(thing, Exception)
            if callable(thing) and not bare:
                assert ">>>" in inspect.getdoc(thing), name


def test_the_mistakes_of_the_mutation_tests_can_be_made(monkeypatch):
    """A mutant whose text has gone would not be tried any more."""
    path = str(PACKAGE.parent / ".ci/mutants")
    loader = importlib.machinery.SourceFileLoader("mutants", path)
    script = types.ModuleType("mutants")
    script.__file__ = path
    exec(loader.get_code("mutants"), vars(script))
    # It looks into each file for each mutant.
    read_text = functools.cache(pathlib.Path.read_text)
    monkeypatch.setattr(pathlib.Path, "read_text", read_text)
    monkeypatch.setattr(sys, "argv", [path, "--apply"])
    assert script.main() == 0
