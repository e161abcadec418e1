"""SaliencyDisplay: the map points where the evidence is."""

import re

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from skimgclf import ImageLoader, KerasImageClassifier, SaliencyDisplay
from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.plot import _saliency

pytestmark = pytest.mark.usefixtures("pyplot")


class MeanClassifier:
    """Answers how bright the upper left 4x4 pixels are, and keeps what it was shown."""

    classes_ = np.array(["dark", "bright"])

    def __init__(self):
        self.shown = []

    def predict_proba(self, X):
        self.shown.append(X)
        bright = np.asarray(X, dtype=float)[:, :4, :4].reshape(len(X), -1).mean(axis=1)
        return np.stack([1 - bright, bright], axis=1)


@pytest.fixture
def corner():
    """Make an image of 8x8 pixels, white in its upper left 4x4 pixels."""
    image = np.zeros((8, 8, 1), dtype="float32")
    image[:4, :4] = 1
    return image


def plant(n_images, rng):
    """Make noisy images, the odd ones with a bright patch of 4x4 pixels somewhere."""
    images = rng.uniform(0, 0.4, size=(n_images, 16, 16, 1)).astype("float32")
    places = rng.integers(0, 13, size=(n_images, 2))
    for i in range(1, n_images, 2):
        top, left = places[i]
        images[i, top : top + 4, left : left + 4] += 0.5
    labels = np.where(np.arange(n_images) % 2, "patch", "plain")
    return images, labels, places


def build_detector(image_shape, *, conv_filters):
    inputs = keras.Input(image_shape)
    x = keras.layers.Conv2D(conv_filters[0], 4, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))


@pytest.mark.slow
def test_saliency_points_at_a_planted_patch():
    images, labels, places = plant(300, np.random.default_rng(0))
    classifier = KerasImageClassifier(
        build_detector,
        conv_filters=(4,),
        learning_rate=0.02,
        epochs=12,
        random_state=0,
    ).fit(images[:200], labels[:200])
    assert classifier.score(images[200:], labels[200:]) > 0.95
    for row in range(201, 221, 2):
        display = SaliencyDisplay.from_estimator(
            classifier, images[row], target="patch", patch_size=4, stride=1
        )
        peak = np.unravel_index(display.saliency.argmax(), (16, 16))
        top, left = places[row]
        assert top - 1 <= peak[0] <= top + 4, row
        assert left - 1 <= peak[1] <= left + 4, row


def test_saliency_points_at_the_part_of_a_photo_file_that_counts(tmp_path):
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for i in range(20):
        pixels = rng.integers(0, 80, size=(90, 120, 3), dtype=np.uint8)
        if i % 2:
            pixels[60:, 80:] += 120
        paths.append(tmp_path / f"{i}.png")
        labels.append("lamp" if i % 2 else "none")
        Image.fromarray(pixels).save(paths[-1])
    pipeline = make_pipeline(
        ImageLoader(image_size=(9, 12), flatten=True), LogisticRegression()
    )
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2)
    for estimator in (pipeline.fit(paths, labels), search.fit(paths, labels)):
        display = SaliencyDisplay.from_estimator(estimator, paths[1])
        assert display.target == "lamp"
        assert display.image.shape == (90, 120, 3)
        inside = display.saliency[65:, 85:]
        assert inside.min() > 3 * np.abs(display.saliency[:50, :70]).max()


def test_saliency_is_the_mean_fall_over_the_patches_that_hide_a_pixel(corner):
    display = SaliencyDisplay.from_estimator(
        MeanClassifier(), corner, patch_size=4, stride=2, fill_value=0
    )
    assert (display.target, display.probability) == ("bright", 1.0)
    # Patches start at 0, 2 and 4 of each axis; the shares of the corner that they hide:
    falls = np.outer([1, 0.5, 0], [1, 0.5, 0])
    hides = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])  # per two pixels
    means = hides @ falls @ hides.T / np.outer(hides.sum(axis=1), hides.sum(axis=1))
    np.testing.assert_allclose(display.saliency, np.kron(means, np.ones((2, 2))))


def test_saliency_of_the_other_class_is_the_opposite(corner):
    bright = SaliencyDisplay.from_estimator(MeanClassifier(), corner)
    dark = SaliencyDisplay.from_estimator(MeanClassifier(), corner, target="dark")
    np.testing.assert_allclose(dark.saliency, -bright.saliency)
    assert (dark.target, dark.probability) == ("dark", 0.0)


def test_saliency_covers_images_that_patches_do_not_divide():
    image = np.ones((7, 11, 3))
    classifier = MeanClassifier()
    display = SaliencyDisplay.from_estimator(
        classifier, image, patch_size=(3, 4), stride=(3, 4), fill_value=0
    )
    assert display.saliency.shape == (7, 11)
    hidden = np.concatenate(classifier.shown[1:]) == 0
    assert hidden.any(axis=0).all()
    assert (hidden.sum(axis=(1, 2, 3)) == 3 * 4 * 3).all()
    assert len(hidden) == 9


def test_saliency_hides_with_the_mean_colour_or_the_fill_value():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:, :2] = (200, 100, 7)
    for fill_value, expected in [
        (None, [50, 25, 2]),
        (9, [9, 9, 9]),
        ([1, 2, 3], [1, 2, 3]),
    ]:
        classifier = MeanClassifier()
        SaliencyDisplay.from_estimator(
            classifier, image, target="bright", patch_size=8, fill_value=fill_value
        )
        (hidden,) = classifier.shown[1]
        assert hidden.dtype == np.uint8
        assert hidden[0, 0].tolist() == expected


def test_saliency_leaves_the_given_image_alone(corner):
    before = corner.copy()
    display = SaliencyDisplay.from_estimator(MeanClassifier(), corner)
    np.testing.assert_array_equal(corner, before)
    assert display.image is corner


def test_saliency_is_the_same_in_small_batches(corner, monkeypatch):
    expected = SaliencyDisplay.from_estimator(MeanClassifier(), corner)
    monkeypatch.setattr(_saliency, "_BYTES_AT_ONCE", 3 * corner.nbytes)
    classifier = MeanClassifier()
    display = SaliencyDisplay.from_estimator(classifier, corner)
    np.testing.assert_array_equal(display.saliency, expected.saliency)
    assert max(len(X) for X in classifier.shown) == 3


def test_saliency_reads_large_files_smaller_and_keeps_transparency(tmp_path):
    Image.new("RGB", (2048, 1024)).save(tmp_path / "large.jpg")
    Image.new("RGBA", (10, 8), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    for name, shape in [("large.jpg", (256, 512, 3)), ("clear.png", (8, 10, 4))]:
        classifier = MeanClassifier()
        SaliencyDisplay.from_estimator(
            classifier, tmp_path / name, patch_size=shape[0], target="dark"
        )
        assert classifier.shown[0].shape == (1, *shape)


def test_saliency_of_two_dimensional_images(corner):
    display = SaliencyDisplay.from_estimator(MeanClassifier(), corner[:, :, 0])
    assert display.saliency[0, 0] > display.saliency[7, 7]


def test_saliency_draws_the_map_over_the_image(corner):
    display = SaliencyDisplay.from_estimator(MeanClassifier(), corner, alpha=0.5)
    image, drawn = display.axes_[1].images
    assert image.get_array().tolist() == corner[:, :, 0].tolist()
    assert drawn is display.im_
    strength = np.abs(display.saliency) / max(0.1, np.abs(display.saliency).max())
    np.testing.assert_allclose(drawn.get_alpha(), 0.5 * strength)
    assert drawn.norm.vmin == -drawn.norm.vmax
    assert display.axes_[0].get_title() == "bright (1.00)"
    assert len(display.axes_[1].child_axes) == 1  # the scale


def test_saliency_passes_its_style_on(corner):
    display = SaliencyDisplay.from_estimator(
        MeanClassifier(),
        corner,
        cmap="PiYG",
        colorbar=False,
        im_kw={"interpolation": "bilinear"},
    )
    assert display.im_.get_cmap().name == "PiYG"
    assert display.im_.get_interpolation() == "bilinear"
    assert len(display.axes_[1].child_axes) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.random.default_rng(0).normal(size=(8, 8, 3)),
        np.random.default_rng(0).normal(size=(8, 8)),
        np.full((8, 8, 4), 255, dtype=np.uint8),
    ],
    ids=["standardized colour", "standardized gray", "rgba"],
)
def test_saliency_draws_images_of_any_range(image):
    display = SaliencyDisplay(image, np.zeros((8, 8))).plot()
    display.figure_.canvas.draw()
    shown = display.axes_[0].images[0]
    if image.ndim == 3:
        assert 0 <= shown.get_array().min()
        assert shown.get_array().max() <= 1
    else:
        assert shown.norm.vmin <= image.min()
        assert shown.norm.vmax >= image.max()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 0),
        ("limit", "0.1"),
        ("method", "grad-cam"),
        ("target", "gray"),
        ("target", 1),
        ("patch_size", 0),
        ("patch_size", 9),
        ("patch_size", (2, 9)),
        ("patch_size", 2.0),
        ("patch_size", (1, 2, 3)),
        ("stride", 0),
        ("stride", 5),
        ("stride", "1"),
        ("fill_value", "mean"),
        ("fill_value", [1, 2]),
    ],
)
def test_saliency_wrong_values_give_the_one_error(corner, name, value):
    given = {"patch_size": 4} | {name: value}
    form = (
        rf"^The '{name}' parameter of SaliencyDisplay must be .+\. "
        rf"Got {re.escape(repr(value))} instead\.$"
    )
    with pytest.raises(InvalidParameterError, match=form):
        SaliencyDisplay.from_estimator(MeanClassifier(), corner, **given)


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (np.zeros((1, 8, 8, 1)), r"shape \(1, 8, 8, 1\) instead; .* X\[0\]"),
        (np.zeros(64), r"shape \(64,\) instead"),
        (np.zeros((8, 8, 2)), r"shape \(8, 8, 2\) instead"),
        (np.zeros((0, 8, 1)), r"shape \(0, 8, 1\) instead"),
        ([[0.0]], r"must be one image: .* Got \[\[0.0\]\] instead"),
    ],
)
def test_saliency_refuses_what_is_no_single_image(image, advice):
    with pytest.raises(InvalidParameterError, match=advice):
        SaliencyDisplay.from_estimator(MeanClassifier(), image)


def test_saliency_names_a_file_that_cannot_be_read():
    with pytest.raises(ImageLoadError, match=r"'none\.png' .*there is no such file"):
        SaliencyDisplay.from_estimator(MeanClassifier(), "none.png")


def test_saliency_needs_probabilities(corner):
    classifier = LinearSVC().fit([[0], [1]], [0, 1])
    with pytest.raises(InvalidParameterError, match="LinearSVC doesn't have"):
        SaliencyDisplay.from_estimator(classifier, corner)


def test_saliency_of_small_changes_is_faint(corner):
    weak = np.zeros((8, 8))
    weak[0, 0] = 0.0005
    display = SaliencyDisplay(corner, weak).plot()
    assert display.im_.norm.vmax == 0.1
    assert display.im_.get_alpha().max() < 0.01
    display.plot(limit=0.0005)
    assert display.im_.get_alpha().max() == pytest.approx(0.7)
    strong = SaliencyDisplay(corner, weak * 1000).plot()
    assert strong.im_.norm.vmax == 0.5


def test_saliency_draws_the_bare_image_beside_the_map(corner):
    display = SaliencyDisplay(corner, np.zeros((8, 8))).plot()
    bare, under_map = display.axes_
    assert len(bare.images) == 1
    assert len(under_map.images) == 2
    display.figure_.canvas.draw()
    (scale,) = under_map.child_axes
    found, expected = scale.get_window_extent(), under_map.get_window_extent()
    assert found.height == pytest.approx(expected.height, abs=1)


@pytest.fixture(scope="module")
def network():
    """Train a network to tell images by a bright square on the left or right."""
    rng = np.random.default_rng(0)
    X = rng.random((60, 16, 16, 1), "float32") * 0.1
    y = np.array(["left", "right"] * 30)
    X[::2, 4:12, 1:6] += 0.9
    X[1::2, 4:12, 10:15] += 0.9
    classifier = KerasImageClassifier(
        "cnn",
        conv_filters=(8,),
        hidden_layer_sizes=(),
        epochs=15,
        learning_rate=0.01,
        random_state=0,
    )
    return classifier.fit(X, y), X


def test_saliency_by_grad_cam_points_at_the_same_place(network):
    classifier, X = network
    for image, label, place in [
        (X[0], "left", np.s_[4:12, 1:6]),
        (X[1], "right", np.s_[4:12, 10:15]),
    ]:
        display = SaliencyDisplay.from_estimator(classifier, image, method="grad_cam")
        assert display.target == label
        assert display.saliency.shape == (16, 16)
        assert display.saliency.max() == pytest.approx(1, abs=1e-6)
        inside = display.saliency[place].mean()
        assert inside > 3 * (display.saliency.mean() - inside * 40 / 256)


def test_saliency_by_grad_cam_reads_files_through_the_pipeline(network, tmp_path):
    classifier, X = network
    pixels = (X[0, :, :, 0] * 255).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    pipeline = Pipeline(
        [("load", ImageLoader(image_size=(16, 16))), ("classify", classifier)]
    )
    display = SaliencyDisplay.from_estimator(
        pipeline, tmp_path / "a.png", method="grad_cam", target="left"
    )
    expected = classifier.grad_cam(pixels[None, ..., None], "left")[0]
    np.testing.assert_allclose(display.saliency, expected, atol=1e-5)
    assert display.image.shape == (16, 16, 1)


def test_saliency_by_grad_cam_refuses_what_has_no_feature_maps(network, corner):
    classifier, X = network
    dense = KerasImageClassifier(hidden_layer_sizes=(), optimizer="sgd", epochs=1)
    dense.fit(X[:4], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="Grad-CAM needs a network"):
        SaliencyDisplay.from_estimator(dense, X[0], method="grad_cam")
    with pytest.raises(InvalidParameterError, match="'occlusion' for this model"):
        SaliencyDisplay.from_estimator(MeanClassifier(), corner, method="grad_cam")
    with pytest.raises(InvalidParameterError, match=r"'stride'.*None with method"):
        SaliencyDisplay.from_estimator(classifier, X[0], method="grad_cam", stride=1)
    with pytest.raises(InvalidParameterError, match=r"'label'.*one of"):
        classifier.grad_cam(X, "middle")
