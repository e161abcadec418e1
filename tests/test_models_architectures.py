"""The networks that the builders make."""

import functools
import pathlib
import re

import keras
import numpy as np
import pytest

from skimgclf import KerasImageClassifier, load_model, save_model
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models import build_cnn, build_dense, build_resnet
from skimgclf.models._networks.architectures import (
    ARCHITECTURES,
    build_network,
    count_halvings,
    fill_in_sizes,
)
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.sizes import count_weights

PARAMETERS = {
    "hidden_layer_sizes": (5, 3),
    "conv_filters": (4,),
    "kernel_size": (3, 3),
    "activation": "relu",
    "batch_norm": False,
    "dropout": 0.0,
}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("cnn", Kind.BUILT_IN),
        ("nothing", Kind.BUILT_IN),
        ("MobileNetV2", Kind.NAMED_BACKBONE),
        ("models/a.keras", Kind.KERAS_FILE),
        (pathlib.Path("a.keras"), Kind.KERAS_FILE),
        (build_dense, Kind.FUNCTION),
        (functools.partial(build_dense, dropout=0.1), Kind.FUNCTION),
        (3, None),
        (pathlib.Path("a.png"), None),
    ],
)
def test_kind_of_tells_each_kind(value, kind):
    assert kind_of(value) is kind
    assert kind_of(build_dense((4,))) is Kind.MODEL


def layers_of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def test_dense_has_the_layers_asked_for():
    # The textbook's network: 784 -> 40 -> 20 -> 10.
    network = build_dense((28, 28, 1))
    assert [layer.units for layer in layers_of(network, keras.layers.Dense)] == [
        40,
        20,
        10,
    ]
    assert network.count_params() == 784 * 40 + 40 + 40 * 20 + 20 + 20 * 10 + 10


@pytest.mark.parametrize(("sizes", "n_outputs"), [((3,), 3), ((), 7)])
def test_dense_takes_rows_as_they_are(sizes, n_outputs):
    network = build_dense((7,), hidden_layer_sizes=sizes)
    assert network.output_shape == (None, n_outputs)


def test_dense_without_hidden_layers_is_linear():
    network = build_network(
        "dense", (4, 4, 1), 3, {**PARAMETERS, "hidden_layer_sizes": ()}
    )
    assert network.count_params() == 16 * 3 + 3


def test_cnn_blocks_halve_the_image():
    network = build_cnn((28, 28, 3), conv_filters=(8, 16), hidden_layer_sizes=())
    pooled = [
        layer.output.shape[1:3]
        for layer in layers_of(network, keras.layers.MaxPooling2D)
    ]
    assert pooled == [(14, 14), (7, 7)]
    assert network.output_shape == (None, 7 * 7 * 16)


def test_cnn_takes_images_smaller_than_its_pooling():
    assert build_cnn((1, 2, 1), conv_filters=(2, 2, 2)).output_shape == (None, 128)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batch_norm_stands_before_each_activation(name):
    parameters = {**PARAMETERS, "hidden_layer_sizes": (), "batch_norm": True}
    if name == "dense":
        parameters["hidden_layer_sizes"] = (5, 3)
    network = build_network(name, (8, 8, 1), 2, parameters)
    kinds = [type(layer).__name__ for layer in network.layers]
    normalized = [i for i, kind in enumerate(kinds) if kind == "BatchNormalization"]
    assert normalized
    assert all(kinds[i + 1] == "Activation" for i in normalized)
    assert kinds.count("Activation") == len(normalized)


@pytest.mark.parametrize("build", [build_dense, build_cnn])
def test_dropout_follows_each_dense_layer(build):
    network = build((8, 8, 1), hidden_layer_sizes=(4, 4), dropout=0.25)
    dropped = layers_of(network, keras.layers.Dropout)
    assert [layer.rate for layer in dropped] == [0.25, 0.25]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_activation_is_the_one_named(name):
    parameters = {**PARAMETERS, "activation": "tanh"}
    network = build_network(name, (8, 8, 1), 2, parameters)
    activations = layers_of(network, keras.layers.Activation)
    assert {layer.activation.__name__ for layer in activations} == {"tanh"}


@pytest.mark.parametrize(
    ("shape", "first_stage"),
    [
        ((8, 8, 3), (8, 8)),
        ((28, 28, 3), (28, 28)),
        ((63, 63, 3), (63, 63)),
        ((64, 64, 3), (32, 32)),
        ((96, 96, 3), (48, 48)),
        ((224, 224, 3), (56, 56)),
        ((512, 512, 3), (32, 32)),
        # Long images are halved by their area.
        ((8, 511, 1), (8, 511)),
        ((8, 512, 1), (4, 256)),
        ((40, 300, 3), (20, 150)),
    ],
)
def test_halvings_are_counted_by_the_area_of_images(shape, first_stage):
    halved = 2 ** count_halvings(shape)
    assert (shape[0] // halved, shape[1] // halved) == first_stage


def test_resnet_halves_large_images_before_its_stages():
    network = build_resnet((224, 256, 3), conv_filters=(2, 2))
    pooled = layers_of(network, keras.layers.MaxPooling2D)
    assert pooled[0].input.shape[1:3] == (56, 64)


@pytest.mark.parametrize(
    ("shape", "stages"),
    [
        ((15, 9, 1), [(8, 5), (4, 3), (2, 2)]),
        ((3, 40, 1), [(2, 20), (2, 10), (2, 5)]),
        ((1, 2, 1), [(1, 2), (1, 2), (1, 2)]),
    ],
)
def test_resnet_halves_sides_of_more_than_two_pixels(shape, stages):
    network = build_resnet(shape, conv_filters=(2, 2, 2, 2))
    added = layers_of(network, keras.layers.Add)
    assert [layer.output.shape[1:3] for layer in added] == stages


def test_resnet_tells_images_of_eight_pixels_apart_in_batches_of_one(digits):
    network = build_resnet((8, 8, 1), conv_filters=(2, 4, 6, 8))
    features = [network(image[None], training=True) for image in digits[0][:2]]
    assert not np.allclose(*features)


# 33 images make a batch of 32 and one of a single image.
FITS = {
    "small": ((8, 8, 1), 33, {}),
    "odd": ((9, 13, 3), 24, {"class_weight": "balanced", "early_stopping": True}),
    "large": ((70, 67, 4), 12, {}),
}


# In fast tests, a pipeline for photos trains such a network, and others are kept.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "n_images", "parameters"),
    [pytest.param(*fit, id=name) for name, fit in FITS.items()],
)
def test_resnet_fits_predicts_and_is_kept(shape, n_images, parameters, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.random((n_images, *shape), dtype="float32")
    y = np.array(["a", "b", "b"])[np.arange(n_images) % 3]
    X[y == "a"] /= 4
    classifier = KerasImageClassifier(
        "resnet", conv_filters=(2, 4), epochs=1, random_state=0, **parameters
    ).fit(X, y)
    probabilities = classifier.predict_proba(X)
    assert np.isfinite(probabilities).all()
    assert set(classifier.predict(X)) <= {"a", "b"}
    assert ("val_loss" in classifier.history_) == ("early_stopping" in parameters)
    save_model(classifier, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), probabilities)


def test_resnet_takes_images_of_any_shape():
    for shape in [(1, 1, 1), (8, 300, 4)]:
        assert build_resnet(shape, conv_filters=(2, 4)).output_shape == (None, 8)


def test_resnet_adds_each_stage_to_its_residual():
    network = build_resnet((32, 32, 3), conv_filters=(4, 8, 16))
    added = layers_of(network, keras.layers.Add)
    assert [layer.output.shape[1:] for layer in added] == [(16, 16, 8), (8, 8, 16)]


def test_resnet_drops_pooled_features_and_dense_units():
    sizes = {"conv_filters": (2, 3), "hidden_layer_sizes": (4,)}
    network = build_resnet((8, 8, 1), **sizes, dropout=0.25)
    dropped = layers_of(network, keras.layers.Dropout)
    assert [layer.input.shape[1] for layer in dropped] == [6, 4]
    assert [layer.rate for layer in dropped] == [0.25, 0.25]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    ("batch_norm", "sizes"), [(False, ()), (False, (5, 3)), (True, (5, 3))]
)
def test_weights_are_counted_as_they_are_built(name, batch_norm, sizes):
    parameters = {
        **PARAMETERS,
        "conv_filters": (4, 6),
        "batch_norm": batch_norm,
        "hidden_layer_sizes": sizes,
    }
    blueprint = {
        "architecture": name,
        "image_shape": (70, 67, 3),
        "n_classes": 5,
        "parameters": parameters,
    }
    assert count_weights(blueprint) == build_network(**blueprint).count_params()


@pytest.mark.parametrize(
    ("name", "sizes", "filters"),
    [
        ("dense", (40, 20, 10), None),
        ("cnn", (128,), (32, 64)),
        ("resnet", (), (16, 48, 64, 96)),
    ],
)
def test_none_means_the_sizes_of_the_architecture(name, sizes, filters):
    given = {**PARAMETERS, "hidden_layer_sizes": None, "conv_filters": None}
    filled = fill_in_sizes(name, given)
    assert filled["hidden_layer_sizes"] == sizes
    assert filled["conv_filters"] == filters
    assert fill_in_sizes(name, PARAMETERS) == PARAMETERS


def test_none_leaves_a_callable_its_own_sizes():
    def build(image_shape, *, conv_filters=(3,), hidden_layer_sizes=(6,)):
        return build_cnn(
            image_shape,
            conv_filters=conv_filters,
            hidden_layer_sizes=hidden_layer_sizes,
        )

    given = {**PARAMETERS, "hidden_layer_sizes": None, "conv_filters": None}
    network = build_network(build, (8, 8, 1), 2, fill_in_sizes(build, given))
    assert layers_of(network, keras.layers.Conv2D)[0].filters == 3
    assert layers_of(network, keras.layers.Dense)[0].units == 6


def test_none_for_a_callable_without_sizes_of_its_own_is_refused():
    def build(image_shape, *, conv_filters):
        return build_cnn(image_shape, conv_filters=conv_filters)

    given = {**PARAMETERS, "conv_filters": None}
    with pytest.raises(InvalidParameterError, match="names conv_filters without a"):
        build_network(build, (8, 8, 1), 2, given)


def test_kernel_size_is_height_and_width():
    network = build_cnn((8, 8, 1), conv_filters=(2,), kernel_size=(3, 5))
    (convolution,) = layers_of(network, keras.layers.Conv2D)
    assert convolution.kernel.shape == (3, 5, 1, 2)


def test_network_ends_in_a_softmax_over_the_classes():
    network = build_network("cnn", (8, 8, 1), 7, PARAMETERS)
    assert network.output_shape == (None, 7)
    assert network.layers[-1].activation.__name__ == "softmax"


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_convolutions_refuse_rows_in_words(name):
    with pytest.raises(ValueError, match=r"needs images .* rows of 64 features"):
        build_network(name, (64,), 2, PARAMETERS)
    with pytest.raises(ValueError, match=r"needs images .* rows of 64 features"):
        ARCHITECTURES[name]((64,))


def test_callable_gets_the_parameters_that_it_names():
    seen = {}

    def build(image_shape, *, conv_filters, dropout):
        seen.update(image_shape=image_shape, conv_filters=conv_filters, dropout=dropout)
        return build_dense(image_shape)

    build_network(build, (8, 8, 1), 2, PARAMETERS)
    assert seen == {"image_shape": (8, 8, 1), "conv_filters": (4,), "dropout": 0.0}


def test_callable_with_keywords_gets_all_parameters():
    seen = {}

    def build(image_shape, **parameters):
        seen.update(parameters)
        return build_dense(image_shape)

    build_network(build, (8, 8, 1), 2, PARAMETERS)
    assert seen == PARAMETERS


def test_callable_may_return_any_kind_of_keras_model():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten = keras.layers.Flatten()

        def call(self, inputs):
            return self.flatten(inputs)

    unbuilt = keras.Sequential([keras.layers.Flatten()])
    for features in (Subclassed(), unbuilt, build_dense((8, 8, 1))):
        network = build_network(lambda image_shape, f=features: f, (8, 8, 1), 2, {})
        assert network.output_shape == (None, 2)


def test_callable_keeps_what_partial_has_bound():
    build = functools.partial(build_dense, activation="tanh", hidden_layer_sizes=(7,))
    network = build_network(build, (8, 8, 1), 2, PARAMETERS)
    (activation,) = layers_of(network, keras.layers.Activation)
    assert activation.activation.__name__ == "tanh"
    assert layers_of(network, keras.layers.Dense)[0].units == 7


def _with_two_outputs(image_shape):
    inputs = keras.Input(image_shape)
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, {"b": flat, "a": keras.layers.Dense(2)(flat)})


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (_with_two_outputs, "one input and one output; its model has 1 and 2"),
        (lambda image_shape: "no model", "returns a keras.Model"),
        (lambda image_shape: build_dense((9, 9, 1)), r"its model takes \(9, 9, 1\)"),
        (
            lambda image_shape: keras.Sequential(
                [keras.Input(image_shape), keras.layers.Conv2D(2, 3)]
            ),
            r"returns \(None, 6, 6, 2\): add keras.layers.Flatten",
        ),
    ],
)
def test_callable_that_returns_no_features_is_refused(build, reason):
    with pytest.raises(InvalidParameterError, match=reason):
        build_network(build, (8, 8, 1), 2, PARAMETERS)


@pytest.mark.parametrize("name", ["Dense", pytest.param("CNN", marks=pytest.mark.slow)])
def test_names_of_architectures_may_be_in_any_case(name, digits, tmp_path):
    X, y = digits
    settings = {"hidden_layer_sizes": (4,), "epochs": 1, "random_state": 0}
    settings |= {"conv_filters": (2,), "optimizer": "sgd"}
    plain = KerasImageClassifier(name.lower(), **settings).fit(X[:50], y[:50])
    fitted = KerasImageClassifier(name, **settings).fit(X[:50], y[:50])
    assert fitted.get_params()["architecture"] == name
    save_model(fitted, tmp_path / "model")
    for again in [fitted, load_model(tmp_path / "model")]:
        np.testing.assert_array_equal(again.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnt", "resnet"),
        ("dens", "dense"),
        ("EFFICIENTNETLIT0", "EfficientNetLite0"),
        ("mobilenet_v3_small", "MobileNetV3Small"),
    ],
)
def test_the_error_on_a_name_tells_the_nearest_one(name, nearest, digits):
    pattern = f"; the nearest name is '{nearest}'. Got '{name}' instead."
    with pytest.raises(InvalidParameterError, match=re.escape(pattern)):
        KerasImageClassifier(name).fit(*digits)


def test_the_error_on_a_name_like_no_other_tells_no_nearest_one(digits):
    with pytest.raises(InvalidParameterError, match=r"callable\. Got 'xyzzy' instead"):
        KerasImageClassifier("xyzzy").fit(*digits)
