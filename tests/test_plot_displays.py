"""What the three displays share: scikit-learn's form, and a life without matplotlib."""

import ast
import inspect
import pathlib
import sys

import matplotlib
import matplotlib.figure
import numpy as np
import pytest
from numpydoc.docscrape import FunctionDoc
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

import skimgclf.plot
from skimgclf import (
    ImageGridDisplay,
    ImageLoader,
    SaliencyDisplay,
    TrainingHistoryDisplay,
)

IMAGES = np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8, 1)
HISTORY = {"loss": [0.9, 0.5], "accuracy": [0.5, 0.8]}

# How each is made: from its own parameters, and by its class methods.
MADE = {
    "history": lambda: TrainingHistoryDisplay(HISTORY, best_iter=2),
    "grid": lambda: ImageGridDisplay(list(IMAGES), ["a", "b", "a"]),
    "saliency": lambda: SaliencyDisplay(IMAGES[0], IMAGES[0, :, :, 0], target="a"),
}


class Answerer(DummyClassifier):
    """A classifier with a history, that answers the same to all images."""

    history_ = HISTORY


@pytest.fixture(scope="module")
def answerer():
    return Answerer().fit(IMAGES.reshape(3, -1), ["a", "b", "a"])


def draw_all_ways(answerer, ax=None):
    plots = {
        f"{name}.plot": (lambda made=made: made().plot(ax=ax))
        for name, made in MADE.items()
    }
    return plots | {
        "history": lambda: TrainingHistoryDisplay.from_estimator(answerer, ax=ax),
        "grid": lambda: ImageGridDisplay.from_estimator(
            answerer, IMAGES, ["a", "b", "a"], ax=ax
        ),
        "predictions": lambda: ImageGridDisplay.from_predictions(
            IMAGES, ["a", "b", "a"], ["a"] * 3, ax=ax
        ),
        "saliency": lambda: SaliencyDisplay.from_estimator(answerer, IMAGES[0], ax=ax),
    }


WAYS = list(draw_all_ways(None))


@pytest.fixture(autouse=True)
def _few_pixels():
    """Draw small files, since most of a drawing is its pixels."""
    with matplotlib.rc_context({"figure.dpi": 20, "savefig.dpi": 20}):
        yield


@pytest.mark.parametrize("way", WAYS)
def test_displays_draw_into_a_figure_of_their_own(way, answerer, pyplot):
    display = draw_all_ways(answerer)[way]()
    assert pyplot.get_fignums() == [display.figure_.number]
    assert display.ax_.figure is display.figure_
    display.figure_.canvas.draw()


@pytest.mark.parametrize("is_open", [True, False])
def test_displays_in_a_subfigure_are_shown_with_the_whole_figure(pyplot, is_open):
    figure = pyplot.figure()
    left, _ = figure.subfigures(1, 2)
    display = ImageGridDisplay(IMAGES[:1]).plot(ax=left.subplots())
    if is_open:
        assert display._repr_png_() is None  # a notebook shows open figures itself
    else:
        pyplot.close(figure)
        assert display._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("way", WAYS)
def test_displays_draw_on_given_axes_only(way, answerer, pyplot):
    figure, (left, right) = pyplot.subplots(1, 2)
    display = draw_all_ways(answerer, ax=right)[way]()
    assert display.ax_ is right
    assert display.figure_ is figure
    assert pyplot.get_fignums() == [figure.number]
    assert not left.has_data()


@pytest.mark.parametrize("way", WAYS)
def test_displays_say_how_to_install_matplotlib(way, answerer, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match='pip install "matplotlib>=') as caught:
        draw_all_ways(answerer)[way]()
    assert "Display." in str(caught.value)


@pytest.mark.parametrize("name", MADE)
def test_displays_without_latex_say_so_or_do_without(name, pyplot, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda command: None)
    with matplotlib.rc_context({"text.usetex": True}):
        if name == "grid":  # has no numbers, and its labels are drawn as they are
            MADE[name]().plot().figure_.canvas.draw()
            return
        with pytest.raises(RuntimeError, match=r"there is no command latex: install"):
            MADE[name]().plot()
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_displays_store_their_parameters_and_plot_leaves_them(made, pyplot):
    display = made()
    before = dict(vars(display))
    assert set(before) == set(inspect.signature(type(display)).parameters)
    assert display.plot() is display
    for name, value in before.items():
        assert getattr(display, name) is value
    drawn = set(vars(display)) - set(before)
    assert {"ax_", "figure_"} <= drawn
    assert all(name.endswith("_") for name in drawn)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_displays_can_be_drawn_again(made, pyplot):
    display = made()
    first = display.plot().figure_
    assert display.plot().figure_ is not first


@pytest.mark.parametrize("name", skimgclf.plot.__all__)
def test_docstrings_of_displays_list_parameters_and_result(name):
    cls = getattr(skimgclf.plot, name)
    methods = [method for method in vars(cls) if not method.startswith("_")]
    assert "plot" in methods
    for method in methods:
        doc = FunctionDoc(getattr(cls, method))
        documented = [
            part.strip()
            for entry in doc["Parameters"]
            for part in entry.name.split(",")
        ]
        parameters = list(inspect.signature(getattr(cls, method)).parameters)
        assert documented == [part for part in parameters if part != "self"]
        assert doc["Returns"]


def test_displays_read_public_names_only():
    files = sorted(pathlib.Path(skimgclf.plot.__file__).parent.glob("*.py"))
    assert len(files) > 3
    private = [
        f"{file.name}: {node.attr}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and node.attr != "__name__"
    ]
    assert private == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "saliency" else pytest.mark.slow)
        for name in MADE
    ],
)
def test_displays_show_themselves_in_a_notebook_once(name, pyplot):
    display = MADE[name]()
    shown = display._repr_png_()
    assert shown.startswith(b"\x89PNG")
    assert pyplot.get_fignums() == []  # the notebook shows open figures itself
    assert display._repr_png_().startswith(b"\x89PNG")
    assert display.plot()._repr_png_() is None
    figure = matplotlib.figure.Figure()
    display.plot(ax=figure.subplots())
    assert display._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "sign",
    [
        "$100 & $ a_b % #1 {x}",
        *[
            pytest.param(sign, marks=pytest.mark.slow)
            for sign in ("$100 & $", "a_b$c", "100 % #1 {x}")
        ],
    ],
)
def test_displays_draw_labels_as_they_are(sign, pyplot):
    for display in (
        ImageGridDisplay(IMAGES[:1], [sign], y_pred=["x"]),
        SaliencyDisplay(IMAGES[0], IMAGES[0, :, :, 0], target=sign),
        TrainingHistoryDisplay({"loss": [1.0], sign: [1.0]}),
    ):
        display.plot().figure_.canvas.draw()


def test_displays_name_the_font_that_lacks_a_character(pyplot):
    display = ImageGridDisplay(IMAGES[:2], ["\u65e5\u672c", "b"])
    with pytest.warns(UserWarning, match=r"'DejaVu Sans' lacks .*'\u65e5'.*font\.fam"):
        display.plot()
    # The font of the titles counts, whatever that of other texts is.
    with pytest.warns(UserWarning, match=r"'STIXGeneral' lacks"):
        display.plot(title_kw={"fontfamily": ["STIXGeneral"]})


@pytest.mark.parametrize("way", ["grid", "saliency"])
def test_displays_hide_the_bars_of_predictions_within(way, tmp_path, capsys, pyplot):
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for i, path in enumerate(paths):
        Image.new("L", (8, 8), 200 * i).save(path)
    loader = ImageLoader(image_size=(8, 8), flatten=True, verbose=1)
    pipeline = make_pipeline(loader, DummyClassifier()).fit(paths, ["a", "b"])
    capsys.readouterr()
    if way == "grid":
        ImageGridDisplay.from_estimator(pipeline, paths, ["a", "b"])
    else:
        SaliencyDisplay.from_estimator(pipeline, paths[0])
    assert capsys.readouterr().err.count("Loading: 100%") == (way == "grid")
