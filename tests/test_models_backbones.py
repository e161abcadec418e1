"""What each family of backbones takes, and what is said where none can be had."""

import inspect

import keras
import numpy as np
import pytest

from skimgclf.models._networks.applications import (
    BACKBONES,
    FAMILIES,
    prepare_pixels,
)
from skimgclf.models._networks.pretrained import (
    BackboneSource,
    build_backbone,
    find_inner_model,
    load_backbone,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_what_the_family_takes(family):
    images = np.random.default_rng(0).random((2, 4, 5, 3), dtype="float32")
    inputs = keras.Input((4, 5, 3))
    prepare = keras.Model(inputs, prepare_pixels(inputs, FAMILIES[family].pixels))
    module = getattr(keras.applications, family)
    expected = module.preprocess_input(images * 255)
    np.testing.assert_allclose(np.asarray(prepare(images)), expected, atol=1e-4)


@pytest.mark.parametrize(
    "family", [name for name, f in FAMILIES.items() if f.pixels == "0 to 255"]
)
def test_families_that_take_bytes_begin_with_layers_for_them(family):
    name = next(name for name, of in BACKBONES.items() if of == family)
    build = getattr(keras.applications, name)
    assert inspect.signature(build).parameters["include_preprocessing"].default is True


def test_backbones_are_all_of_keras_but_the_first_efficientnets():
    known = {
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value)
    }
    assert known - set(BACKBONES) == {f"EfficientNetB{i}" for i in range(8)}
    assert set(BACKBONES) <= known
    assert set(BACKBONES.values()) == set(FAMILIES)
    for name, family in BACKBONES.items():
        assert getattr(keras.applications, name).__module__.endswith(f".{family}")
        assert hasattr(keras.applications, family)


@pytest.mark.parametrize(
    ("name", "size"), [("Xception", 71), ("InceptionV3", 75), ("VGG16", 32)]
)
def test_minimal_sizes_are_those_of_keras(name, size):
    assert FAMILIES[BACKBONES[name]].min_size == size
    build = getattr(keras.applications, name)
    with pytest.raises(ValueError, match=rf"at least {size}x{size}"):
        build(include_top=False, weights=None, input_shape=(size - 1, size, 3))


def build(name, image_shape=(32, 32, 3)):
    return build_backbone(BackboneSource(name, None, image_shape))


@pytest.mark.parametrize(
    ("name", "n_features"),
    [
        ("MobileNet", 1024),
        pytest.param("MobileNetV2", 1280, marks=pytest.mark.slow),
        pytest.param("DenseNet121", 1024, marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", 1280, marks=pytest.mark.slow),
        pytest.param("NASNetMobile", 1056, marks=pytest.mark.slow),
        pytest.param("ResNet50V2", 2048, marks=pytest.mark.slow),
    ],
)
def test_backbone_computes_what_keras_computes(name, n_features):
    network = build(name)
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype="float32")
    features = np.asarray(network(images))
    assert features.shape == (2, n_features)
    module = getattr(keras.applications, BACKBONES[name])
    model = find_inner_model(network)
    maps = model(module.preprocess_input(images * 255), training=False)
    expected = np.asarray(maps).mean(axis=(1, 2))
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)


def test_backbone_is_channels_last_whatever_keras_setting_says():
    keras.config.set_image_data_format("channels_first")
    try:
        assert build("MobileNet").output_shape == (None, 1024)
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")


def test_a_process_keeps_the_last_four_backbones():
    def load(height):
        return load_backbone(BackboneSource(model, None, (height, 8, 3)))

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    first = load(8)
    assert load(8) is first
    for height in (9, 10, 11):
        load(height)
    assert load(8) is first
    for height in (12, 13, 14, 15):
        load(height)
    assert load(8) is not first
