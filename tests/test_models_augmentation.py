"""Augmentation: in training only, seeded, and the same after every round trip."""

import copy
import pickle
import random

import keras
import numpy as np
import pytest
import tensorflow
from saved_models import saved_copy
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_classifiers import quickest, weights_of

from skimgclf import export_model
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models import augment_images, build_dense
from skimgclf.models._networks.augmentation import AUGMENTATION_NAME, PRESETS


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).random((6, 12, 16, 3), dtype="float32")


def noise():
    return keras.layers.GaussianNoise(0.1)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_change_images_and_stay_in_range(photos, preset):
    changed = augment_images(photos, preset, random_state=0)
    assert (changed.shape, changed.dtype) == (photos.shape, np.float32)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not np.array_equal(changed, photos)


def test_flip_swaps_left_and_right_of_some(photos):
    changed = augment_images(photos, "flip", random_state=0)
    kinds = {
        "same" if np.array_equal(after, before) else "flipped"
        for before, after in zip(photos, changed, strict=True)
        if np.array_equal(after, before) or np.array_equal(after, before[:, ::-1])
    }
    assert kinds == {"same", "flipped"}
    assert len(changed) == sum(
        np.array_equal(a, b) or np.array_equal(a, b[:, ::-1])
        for a, b in zip(photos, changed, strict=True)
    )


def list_shifts(image, changed):
    """List the shifts of an image with reflected edges that give the changed one."""
    height, width, _ = image.shape
    rows, columns = height // 8, width // 8
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), "symmetric")
    return [
        (top - rows, left - columns)
        for top in range(2 * rows + 1)
        for left in range(2 * columns + 1)
        if np.array_equal(padded[top : top + height, left : left + width], changed)
    ]


def test_crop_shifts_each_image_by_whole_pixels():
    image = np.random.default_rng(0).random((16, 24, 3), dtype="float32")
    changed = augment_images([image] * 300, "crop", random_state=0)
    shifts = [list_shifts(image, each) for each in changed]
    assert [len(found) for found in shifts] == [1] * 300
    expected = {(row, column) for row in range(-2, 3) for column in range(-3, 4)}
    assert {found[0] for found in shifts} == expected


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 8, 3), (8, 1, 2)])
def test_crop_leaves_short_sides_as_they_are(shape):
    image = np.random.default_rng(0).random(shape, dtype="float32")
    changed = augment_images([image] * 50, "crop", random_state=0)
    assert all(list_shifts(image, each) for each in changed)
    n_different = len({each.tobytes() for each in changed})
    assert n_different == (3 if 8 in shape else 1)


def test_erase_fills_a_rectangle_of_some_images_with_one_colour():
    images = np.full((400, 16, 24, 3), -1.0)
    changed = augment_images(images, "erase", random_state=0)
    is_erased = changed[..., 0] != -1
    erased = is_erased.any(axis=(1, 2))
    assert 0.4 < erased.mean() < 0.6
    heights = is_erased.any(axis=2).sum(axis=1)[erased]
    widths = is_erased.any(axis=1).sum(axis=1)[erased]
    assert (heights * widths == is_erased.sum(axis=(1, 2))[erased]).all()
    assert set(heights) == set(range(2, 9))
    assert set(widths) == set(range(3, 13))
    colours = [
        np.unique(each[mask], axis=0)
        for each, mask in zip(changed[erased], is_erased[erased], strict=True)
    ]
    assert [len(each) for each in colours] == [1] * len(colours)
    assert len(np.unique(colours)) == 3 * len(colours)
    # Up to all borders.
    assert is_erased.any(axis=(0, 2)).all()
    assert is_erased.any(axis=(0, 1)).all()


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 7), (7, 4), (16, 5)])
def test_erase_fills_pixels_of_small_images_as_often(height, width):
    images = np.full((400, height, width, 1), -1.0)
    changed = augment_images(images, "erase", random_state=0)
    is_erased = changed[..., 0] != -1
    assert 0.4 < is_erased.any(axis=(1, 2)).mean() < 0.6
    assert is_erased.any(axis=2).sum(axis=1).max() == height // 2
    assert is_erased.any(axis=1).sum(axis=1).max() == width // 2


def test_presets_of_one_pixel_leave_it(photos):
    pixel = photos[:4, :1, :1]
    changed = augment_images(pixel, ["crop", "erase"], random_state=0)
    np.testing.assert_array_equal(changed, pixel)


@pytest.mark.parametrize("preset", ["crop", "light", "strong"])
def test_other_presets_never_flip(preset):
    # A bar at the left, further out than anything moves, stays at the left.
    images = np.zeros((200, 20, 20, 1), dtype="float32")
    images[:, :, :5] = 1
    changed = augment_images(images, preset, random_state=0)
    brightness = changed.mean(axis=(1, 3))
    assert (brightness[:, :8].mean(axis=1) > brightness[:, 12:].mean(axis=1)).all()
    assert not any("Flip" in name for name, _ in PRESETS[preset])


def test_strong_changes_more_than_light(photos):
    light, strong = (
        np.abs(augment_images(photos, preset, random_state=0) - photos).mean()
        for preset in ("light", "strong")
    )
    assert strong > light


def test_lists_do_all_that_they_name(photos):
    both = augment_images(photos, ["flip", noise()], random_state=0)
    flipped = augment_images(photos, "flip", random_state=0)
    assert 0 < np.abs(both - flipped).mean() < 0.2


def test_augment_images_is_seeded_and_leaves_generators_alone(photos):
    state = random.getstate()
    first, again, other = (
        augment_images(photos, "strong", random_state=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert random.getstate() == state


def test_augment_images_takes_bytes(photos):
    as_bytes = (photos * 255).astype("uint8")
    np.testing.assert_array_equal(
        augment_images(as_bytes, "light", random_state=0),
        augment_images(as_bytes / np.float32(255), "light", random_state=0),
    )
    np.testing.assert_array_equal(
        augment_images(as_bytes, None), as_bytes / np.float32(255)
    )


def test_augmentation_is_in_training_only(digits):
    classifier = quickest(augmentation="flip").fit(*digits)
    np.testing.assert_array_equal(
        classifier.predict_proba(digits[0]), classifier.predict_proba(digits[0])
    )
    plain = quickest().fit(*digits)
    assert not np.array_equal(weights_of(classifier), weights_of(plain))
    # Where nothing is learnt, the networks with and without it predict the same.
    still = quickest(learning_rate=1e-30)
    expected = still.fit(*digits).predict_proba(digits[0])
    still.set_params(augmentation="flip").fit(*digits)
    np.testing.assert_array_equal(still.predict_proba(digits[0]), expected)


# In fast tests, a convolutional network is exported, and a dense one is pickled.
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["cnn", build_dense], ids=["name", "function"])
def test_augmentation_works_with_other_architectures(digits, architecture):
    classifier = quickest(architecture=architecture, augmentation=["light", "crop"])
    classifier.set_params(conv_filters=(2,)).fit(*digits)
    copied = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(
        copied.predict_proba(digits[0]), classifier.predict_proba(digits[0])
    )


def test_augmentation_is_seeded(digits):
    first, again, other = (
        weights_of(quickest(augmentation="flip", random_state=seed).fit(*digits))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_layers_serve_every_fit_and_stay_as_they_are(digits):
    layers = [noise(), "flip"]
    state = np.array(layers[0].seed_generator.state)
    classifier = quickest(augmentation=layers)
    first = weights_of(classifier.fit(*digits))
    np.testing.assert_array_equal(weights_of(clone(classifier).fit(*digits)), first)
    np.testing.assert_array_equal(layers[0].seed_generator.state, state)
    assert classifier.augmentation is layers


_seen = []


class Recorder(keras.layers.Layer):
    """Note what passes through in training."""

    def call(self, inputs, training=False):
        def note(values):
            _seen.append(values.numpy())
            return values

        if not training:
            return inputs
        outputs = tensorflow.py_function(note, [inputs], inputs.dtype)
        outputs.set_shape(inputs.shape)
        return outputs


def test_augmentation_is_different_in_each_epoch(digits):
    def build(image_shape):
        layers = [keras.Input(image_shape), Recorder(), keras.layers.Flatten()]
        return keras.Sequential(layers)

    X, y = np.repeat(digits[0][:1], 4, axis=0), ["a", "b", "a", "b"]
    quickest(architecture=build, augmentation="strong", epochs=3, batch_size=4).fit(
        X, y
    )
    changed = np.concatenate(_seen)
    assert len(changed) == 12
    assert len({image.tobytes() for image in changed}) == 12


@pytest.mark.slow
def test_augmentation_can_be_searched(digits):
    search = GridSearchCV(
        quickest(),
        {"augmentation": [None, "flip", ["flip", noise()]]},
        cv=[(range(200), range(200, 300))],
        refit=False,
        error_score="raise",
    ).fit(*digits)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_augmentation_works_in_sixteen_bits(digits):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        augmentation = ["strong", "crop", "erase"]
        classifier = quickest(architecture="cnn", augmentation=augmentation).fit(
            *digits
        )
    finally:
        keras.config.set_dtype_policy(policy)
    # Within 24 bits, though the layers in between compute in 16.
    np.testing.assert_allclose(
        classifier.predict_proba(digits[0]).sum(axis=1), 1, rtol=1e-5
    )


COPIES = {
    "pickle": lambda estimator, folder: pickle.loads(pickle.dumps(estimator)),
    "save_model": saved_copy,
}


def everything(**parameters):
    """Turn on all that has a state of its own: generators, means, the optimizer."""
    return quickest(
        hidden_layer_sizes=(4,),
        optimizer="adam",
        batch_norm=True,
        dropout=0.4,
        warm_start=True,
        **parameters,
    )


CHANGES = {
    "strong": {"augmentation": "strong"},
    "own": {"augmentation": ["flip", "crop", "erase"]},
    "layers": {"augmentation": ["flip", noise()]},
    "cnn": {
        "augmentation": ["light", "crop", "erase"],
        "architecture": "cnn",
        "conv_filters": (2,),
    },
}


@pytest.fixture(
    scope="module",
    params=[
        "own",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("strong", "layers", "cnn")),
    ],
)
def half_trained(request, digits):
    return everything(**CHANGES[request.param]).fit(*digits)


@pytest.fixture(scope="module")
def whole(half_trained, digits):
    """Train for as long as a half-trained classifier that goes on."""
    classifier = pickle.loads(pickle.dumps(clone(half_trained)))
    return classifier.set_params(epochs=2).fit(*digits)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_has_all_that_is_learnt_and_drawn(
    half_trained, digits, copied, tmp_path
):
    loaded = copied(half_trained, tmp_path)
    np.testing.assert_array_equal(
        loaded.predict_proba(digits[0]), half_trained.predict_proba(digits[0])
    )
    for mine, theirs in zip(
        loaded.model_.variables, half_trained.model_.variables, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


# In fast tests, a copy has all numbers, and one without augmentation goes on training.
@pytest.mark.slow
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_goes_on_training_as_if_it_had_never_stopped(
    half_trained, whole, digits, copied, tmp_path
):
    loaded = copied(half_trained, tmp_path).fit(*digits)
    np.testing.assert_array_equal(weights_of(loaded), weights_of(whole))
    assert loaded.history_ == whole.history_


def test_training_further_with_another_augmentation_is_refused(half_trained, digits):
    other = copy.deepcopy(half_trained).set_params(augmentation=None)
    with pytest.raises(ValueError, match="can't be trained further with augment"):
        other.fit(*digits)


@pytest.fixture(scope="module")
def augmented(digits):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    classifier = quickest(architecture="cnn", conv_filters=(2,), augmentation="flip")
    return classifier.fit(*digits)


@pytest.mark.parametrize(
    "file_format",
    ["keras", *[pytest.param(f, marks=pytest.mark.slow) for f in ("litert", "onnx")]],
)
def test_export_leaves_augmentation_out(augmented, digits, tmp_path, file_format):
    classifier, X = augmented, digits[0][:5]
    path = str(tmp_path / "network")
    export_model(classifier, path, format=file_format)
    expected = classifier.predict_proba(X)
    if file_format == "keras":
        (tmp_path / "network").rename(tmp_path / "network.keras")
        network = keras.saving.load_model(tmp_path / "network.keras", compile=False)
        assert AUGMENTATION_NAME not in [layer.name for layer in network.layers]
        found = np.asarray(network(X, training=True))
    elif file_format == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(path)
        found = session.run(None, {session.get_inputs()[0].name: X})[0]
    else:
        assert (tmp_path / "network").read_bytes()[4:8] == b"TFL3"
        return
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (lambda: keras.layers.RandomBrightness(0.1), r"value_range=\(0, 1\)"),
        (lambda: keras.layers.MixUp(), "mixup mixes labels as well"),
        (lambda: keras.layers.Rescaling(2.0), "in training only"),
        (lambda: keras.layers.RandomCrop(4, 4), "never their shape"),
        (lambda: keras.layers.Flatten(), "never their shape"),
        (lambda: Unregistered(), "register their classes"),
        (
            lambda: keras.layers.RandomFlip(data_format="channels_first"),
            "data_format='channels_last'",
        ),
    ],
)
def test_layers_that_would_go_wrong_are_refused(digits, layer, sentence):
    with pytest.raises(InvalidParameterError, match=sentence):
        quickest(augmentation=[layer()]).fit(*digits)


class Unregistered(keras.layers.Layer):
    """A layer that Keras can't build again."""


def test_rows_are_refused():
    with pytest.raises(ValueError, match=r"rows of 4 features.*augmentation=None"):
        quickest(augmentation="light").fit(np.eye(4), ["a", "b", "a", "b"])


def test_augment_images_refuses_what_is_not_a_batch(photos):
    with pytest.raises(ValueError, match=r"not an array of shape \(12, 16, 3\)"):
        augment_images(photos[0], "light")


def test_repair_refuse_float64_where_keras_can_not_turn_images(digits):
    keras.config.set_floatx("float64")
    try:
        with pytest.raises(ValueError, match="since Keras can't turn such images"):
            quickest(augmentation="light").fit(*digits)
        quickest(augmentation=["flip", "crop", "erase"]).fit(*digits)
    finally:
        keras.config.set_floatx("float32")
