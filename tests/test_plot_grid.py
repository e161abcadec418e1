"""ImageGridDisplay: which images it chooses, and what one sees of them."""

import itertools

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skimgclf import ImageGridDisplay, ImageLoader
from skimgclf.exceptions import ImageLoadError, InvalidParameterError

pytestmark = pytest.mark.usefixtures("pyplot")

LONG_NAMES = ["n02095314-wire-haired_fox_terrier", "Common European viper " * 6]

# Six predictions of three classes: rows 1 and 4 are wrong, row 4 with more certainty.
CLASSES = ["cat", "dog", "owl"]
Y_TRUE = ["cat", "cat", "dog", "owl", "owl", "dog"]
Y_PRED = ["cat", "dog", "dog", "owl", "dog", "dog"]
PROBA = np.array(
    [
        [0.90, 0.05, 0.05],
        [0.40, 0.45, 0.15],
        [0.20, 0.70, 0.10],
        [0.30, 0.29, 0.41],
        [0.05, 0.85, 0.10],
        [0.01, 0.98, 0.01],
    ]
)


@pytest.fixture
def paths(tmp_path):
    """Six gray files of 8x10 pixels, each of one gray."""
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for i, path in enumerate(paths):
        Image.new("L", (10, 8), i * 40).save(path)
    return paths


def titles_of(display):
    return [ax.get_title() for ax in display.axes_]


def pixels_of(ax):
    return ax.images[0].get_array()


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("worst", [4, 1, 3, 2, 0, 5]),
        ("best", [5, 0, 2, 3, 1, 4]),
        ("uncertain", [1, 3, 2, 4, 0, 5]),
    ],
)
def test_grid_orders_images_by_probability(paths, which, expected):
    display = ImageGridDisplay.from_predictions(
        paths, Y_TRUE, Y_PRED, PROBA, which=which
    )
    assert display.indices.tolist() == expected
    assert display.images == [paths[row] for row in expected]
    assert display.y_true.tolist() == [Y_TRUE[row] for row in expected]
    assert display.y_pred.tolist() == [Y_PRED[row] for row in expected]
    assert display.probability.tolist() == PROBA.max(axis=1)[expected].tolist()


@pytest.mark.parametrize(
    ("which", "expected"),
    [("worst", [1, 4, 0, 2, 3, 5]), ("best", [0, 2, 3, 5, 1, 4])],
)
def test_grid_without_probabilities_keeps_the_order(paths, which, expected):
    display = ImageGridDisplay.from_predictions(paths, Y_TRUE, Y_PRED, which=which)
    assert display.indices.tolist() == expected
    assert display.probability is None


def test_grid_of_random_images_is_decided_by_random_state(paths):
    def draw(random_state):
        return ImageGridDisplay.from_predictions(
            paths, Y_TRUE, Y_PRED, which="random", random_state=random_state
        ).indices.tolist()

    first = draw(0)
    assert sorted(first) == list(range(6))
    assert draw(0) == first
    assert draw(1) != first


def test_grid_draws_n_images_at_most(paths):
    for n_images, expected in [(1, 1), (6, 6), (100, 6)]:
        display = ImageGridDisplay.from_predictions(
            paths, Y_TRUE, Y_PRED, n_images=n_images
        )
        assert len(display.axes_) == len(display.indices) == expected


def test_grid_finds_columns_of_probabilities_by_classes(paths):
    order = [2, 0, 1]
    display = ImageGridDisplay.from_predictions(
        paths,
        Y_TRUE,
        Y_PRED,
        PROBA[:, order],
        classes=[CLASSES[column] for column in order],
    )
    assert display.indices.tolist() == [4, 1, 3, 2, 0, 5]


def test_grid_takes_a_label_that_was_never_learnt_for_the_worst(paths):
    y_true = [*Y_TRUE[:2], "emu", *Y_TRUE[3:]]
    display = ImageGridDisplay.from_predictions(
        paths, y_true, Y_PRED, PROBA, classes=CLASSES
    )
    assert display.indices[0] == 2


def test_grid_reads_only_the_images_it_draws(paths):
    wrong_only = [f"missing-{i}.png" for i in range(6)]
    wrong_only[1], wrong_only[4] = paths[1], paths[4]
    display = ImageGridDisplay.from_predictions(wrong_only, Y_TRUE, Y_PRED, n_images=2)
    assert display.indices.tolist() == [1, 4]


def test_grid_names_all_unreadable_images_with_their_rows(paths):
    paths = [*paths[:3], "no.png", "none.png", *paths[5:]]
    with pytest.raises(ImageLoadError) as caught:
        ImageGridDisplay.from_predictions(paths, Y_TRUE, Y_PRED, PROBA, n_images=3)
    assert [error[:2] for error in caught.value.errors] == [
        (4, "none.png"),
        (3, "no.png"),
    ]


def test_grid_of_an_estimator_is_that_of_its_predictions(paths):
    y = np.array(["dark", "dark", "mid", "mid", "bright", "bright"])
    pipeline = make_pipeline(
        ImageLoader(image_size=(2, 2), flatten=True),
        DecisionTreeClassifier(max_depth=1, random_state=0),
    ).fit(paths, y)
    options = {"which": "uncertain", "n_images": 4}
    display = ImageGridDisplay.from_estimator(pipeline, paths, y, **options)
    expected = ImageGridDisplay.from_predictions(
        paths,
        y,
        pipeline.predict(paths),
        pipeline.predict_proba(paths),
        classes=pipeline.classes_,
        **options,
    )
    assert display.indices.tolist() == expected.indices.tolist()
    assert titles_of(display) == titles_of(expected)
    assert any("0.50" in title for title in titles_of(display))


def test_grid_of_an_estimator_without_probabilities(paths):
    y = ["dark"] * 3 + ["bright"] * 3
    pipeline = make_pipeline(ImageLoader(image_size=(2, 2), flatten=True), LinearSVC())
    pipeline.fit(paths, y)
    display = ImageGridDisplay.from_estimator(pipeline, paths, y[::-1])
    assert titles_of(display)[0] == "true: bright\npredicted: dark"


def test_grid_of_an_estimator_of_arrays(paths):
    X = ImageLoader(image_size=(4, 4)).transform(paths)

    class Brightness:
        classes_ = np.array([0, 1])

        def predict(self, X):
            return (X.mean(axis=(1, 2, 3)) > 0.5).astype(int)

        def predict_proba(self, X):
            bright = X.mean(axis=(1, 2, 3))
            return np.stack([1 - bright, bright], axis=1)

    display = ImageGridDisplay.from_estimator(Brightness(), X, [1] * 6, n_images=1)
    assert display.indices.tolist() == [0]
    assert titles_of(display) == ["true: 1\npredicted: 0 (1.00)"]


def test_grid_shows_small_images_pixel_by_pixel(paths):
    display = ImageGridDisplay(paths).plot()
    for i, ax in enumerate(display.axes_):
        assert pixels_of(ax).tolist() == np.full((8, 10, 3), i * 40).tolist()


def test_grid_shrinks_large_images_in_their_proportions():
    display = ImageGridDisplay([np.zeros((1000, 500)), np.zeros((3, 2000))]).plot()
    assert [pixels_of(ax).shape for ax in display.axes_] == [(256, 128, 3), (1, 256, 3)]


def test_grid_shows_gray_colour_and_transparent_images_of_any_kind(tmp_path):
    clear_red = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear_red.save(tmp_path / "clear.png")
    images = [
        Image.new("L", (4, 4), 128),
        Image.new("RGB", (4, 4), (0, 0, 255)),
        tmp_path / "clear.png",
        (tmp_path / "clear.png").read_bytes(),
        np.full((4, 4, 1), 0.2),
    ]
    display = ImageGridDisplay(images).plot()
    corners = [pixels_of(ax)[0, 0].tolist() for ax in display.axes_]
    white = [255, 255, 255]
    assert corners == [[128] * 3, [0, 0, 255], white, white, [51] * 3]


@pytest.mark.parametrize(
    ("n_images", "n_columns", "expected"),
    [
        *((2, None, 2), (3, None, 2), (16, None, 4), (11, 10, 10), (2, 9, 2)),
        pytest.param(30, None, 6, marks=pytest.mark.slow),
    ],
)
def test_grid_places_images_in_rows(n_images, n_columns, expected):
    images = np.zeros((n_images, 8, 8, 1))
    display = ImageGridDisplay(images).plot(n_columns=n_columns)
    display.figure_.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in display.axes_]
    first_row = [box for box in boxes if abs(box.y1 - boxes[0].y1) < 1]
    assert len(first_row) == expected
    assert [box.x0 for box in first_row] == sorted(box.x0 for box in first_row)
    assert boxes[-1].y1 <= boxes[0].y1


@pytest.mark.parametrize(
    # In one row and in several.
    "n_images",
    [2, 5, pytest.param(30, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    ("names", "shape"),
    [
        pytest.param(["7", "1"], (8, 8), id="short"),
        pytest.param(LONG_NAMES, (8, 8), id="long"),
        pytest.param(LONG_NAMES, (40, 90, 3), id="long-wide"),
        pytest.param(LONG_NAMES, (90, 40, 3), id="long-high"),
        # Short names take less room than long ones beside the same images.
        pytest.param(["7", "1"], (40, 90, 3), id="wide", marks=pytest.mark.slow),
        pytest.param(["7", "1"], (90, 40, 3), id="high", marks=pytest.mark.slow),
    ],
)
def test_grid_titles_cover_nothing(n_images, shape, names):
    y_true = [names[i % 2] for i in range(n_images)]
    display = ImageGridDisplay(
        np.zeros((n_images, *shape)),
        y_true,
        y_pred=y_true[::-1],
        probability=np.linspace(0, 1, n_images),
    ).plot()
    display.figure_.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in display.axes_]
    boxes += [ax.title.get_window_extent() for ax in display.axes_]
    page = display.figure_.bbox
    for box in boxes:
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))


def test_grid_titles_name_true_and_predicted_label_and_probability(paths):
    display = ImageGridDisplay.from_predictions(
        paths, Y_TRUE, Y_PRED, PROBA, n_images=3
    )
    assert titles_of(display) == [
        "true: owl\npredicted: dog (0.85)",
        "true: cat\npredicted: dog (0.45)",
        "true: owl\npredicted: owl (0.41)",
    ]
    red = matplotlib.colors.to_rgb("tab:red")
    is_red = [
        matplotlib.colors.to_rgb(ax.title.get_color()) == red for ax in display.axes_
    ]
    assert is_red == [True, True, False]


def test_grid_titles_say_only_what_is_known(paths):
    assert titles_of(ImageGridDisplay(paths[:2]).plot()) == ["", ""]
    labels = ImageGridDisplay(paths[:2], [3, True])
    assert titles_of(labels.plot()) == ["3", "True"]
    predicted = ImageGridDisplay(paths[:1], y_pred=["cat"], probability=[0.5])
    assert titles_of(predicted.plot()) == ["predicted: cat (0.50)"]
    empty = ImageGridDisplay(paths[:2], ["", "x"], y_pred=["", ""])
    assert [title.split() for title in titles_of(empty.plot())] == [
        ["true:", "predicted:"],
        ["true:", "x", "predicted:"],
    ]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_grid_gives_missing_labels_no_title(paths, missing):
    display = ImageGridDisplay(paths[:2], ["a", missing], y_pred=["b", "c"]).plot()
    assert titles_of(display) == ["true: a\npredicted: b", "predicted: c"]


def test_grid_titles_cut_long_names_but_not_the_probability(paths):
    display = ImageGridDisplay(
        paths[:1], ["cat"], y_pred=["x" * 1000], probability=[0.5]
    ).plot()
    title = titles_of(display)[0]
    assert "…" in title
    assert title.endswith("(0.50)")
    assert len(title.splitlines()) == 4


def test_grid_passes_keywords_on(paths):
    display = ImageGridDisplay(paths[:1], ["cat"]).plot(
        im_kw={"alpha": 0.5}, title_kw={"fontsize": 20}
    )
    (ax,) = display.axes_
    assert ax.images[0].get_alpha() == 0.5
    assert ax.title.get_fontsize() == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("which", "wrong"),
        ("which", None),
        ("n_images", 0),
        ("n_images", 1.5),
        ("n_images", None),
        ("n_columns", 0),
        ("n_columns", "two"),
        ("proba", [0.1] * 6),
        ("proba", [[1.0]] * 6),
        ("classes", ["cat", "dog"]),
        ("classes", ["cat", "cow", "owl"]),
    ],
)
def test_grid_wrong_values_give_the_one_error(paths, name, value):
    given = {"proba": PROBA} | {name: value}
    form = rf"(?s)^The '{name}' parameter of ImageGridDisplay must be .+\. Got .+"
    with pytest.raises(InvalidParameterError, match=form):
        ImageGridDisplay.from_predictions(paths, Y_TRUE, Y_PRED, **given)


def test_grid_refuses_a_column_without_its_label(paths):
    y_true = y_pred = ["cat"] * 3 + ["dog"] * 3
    with pytest.raises(InvalidParameterError, match="classes_ of the estimator"):
        ImageGridDisplay.from_predictions(paths, y_true, y_pred, PROBA)


def test_grid_refuses_uncertain_without_probabilities(paths):
    with pytest.raises(InvalidParameterError, match="without proba"):
        ImageGridDisplay.from_predictions(paths, Y_TRUE, Y_PRED, which="uncertain")


def test_grid_refuses_to_compare_numbers_with_text(paths):
    with pytest.raises(ValueError, match="Mix of label input types"):
        ImageGridDisplay.from_predictions(paths, [0] * 6, ["0"] * 6)


def test_grid_refuses_lists_of_different_lengths(paths):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ImageGridDisplay.from_predictions(paths, Y_TRUE[:5], Y_PRED[:5])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ImageGridDisplay(paths, Y_TRUE[:5]).plot()


def test_grid_refuses_no_images():
    with pytest.raises(InvalidParameterError, match="at least one image"):
        ImageGridDisplay([]).plot()
    with pytest.raises(InvalidParameterError, match="at least one image"):
        ImageGridDisplay.from_predictions([], [], [])


def test_grid_refuses_tables_of_several_columns():
    with pytest.raises(InvalidParameterError, match="ImageGridDisplay reads one image"):
        ImageGridDisplay(np.zeros((3, 64))).plot()


SIMILAR = [f"golden_retriever_of_the_northern_highlands_{i}_long" for i in (17, 18)]


@pytest.mark.parametrize(
    "figsize", [(4, 3), (6, 2.5), pytest.param((3, 3), marks=pytest.mark.slow)]
)
def test_grid_titles_cover_nothing_in_given_axes(figsize, pyplot):
    _, ax = pyplot.subplots(figsize=figsize)
    display = ImageGridDisplay(
        np.zeros((16, 8, 8, 3)),
        SIMILAR * 8,
        y_pred=SIMILAR[::-1] * 8,
        probability=np.linspace(0, 1, 16),
    ).plot(ax=ax)
    display.figure_.draw_without_rendering()
    pictures = [tile.get_window_extent() for tile in display.axes_]
    titles = [tile.title.get_window_extent() for tile in display.axes_]
    for one, other in itertools.product(titles, pictures):
        assert not one.padded(-1).overlaps(other.padded(-1))
    for title in titles_of(display):
        true, predicted = title.splitlines()
        assert true not in predicted
        assert predicted.endswith(")")
    assert min(picture.height for picture in pictures) > 15


def test_grid_titles_of_wrong_predictions_are_never_equal(paths):
    display = ImageGridDisplay(paths[:1], SIMILAR[:1], y_pred=SIMILAR[1:]).plot()
    text = titles_of(display)[0].replace("\n", "")
    assert "_17_" in text
    assert "_18_" in text


@pytest.mark.parametrize("figsize", [(4, 3), (2, 2)])
def test_different_names_in_different_tiles_never_look_equal(figsize, pyplot):
    names = [f"class_{i:05d}_of_very_many_classes" for i in (17, 18, 27, 1017)]
    _, ax = pyplot.subplots(figsize=figsize)
    display = ImageGridDisplay(np.zeros((4, 8, 8, 3)), names).plot(ax=ax)
    assert len(set(titles_of(display))) == len(names)


def test_grid_titles_are_readable_on_a_dark_style(paths, pyplot):
    with pyplot.style.context("dark_background"):
        display = ImageGridDisplay(paths[:1], ["cat"]).plot()
        assert matplotlib.colors.to_hex(display.axes_[0].title.get_color()) == "#ffffff"


def test_grid_saves_the_last_row_whole(paths):
    display = ImageGridDisplay(paths[:4]).plot()
    display.figure_.draw_without_rendering()
    page = display.figure_.bbox
    for tile in display.axes_:
        assert tile.get_window_extent().y0 > page.y0 + 1
