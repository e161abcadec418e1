"""make_image_pipeline, and what can be done with its pipelines."""

import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skimgclf import (
    ImageLoader,
    KerasImageClassifier,
    export_model,
    load_model,
    make_image_pipeline,
    predict_frame,
    save_model,
)
from skimgclf._shell.arguments import make_parser
from skimgclf.exceptions import InvalidParameterError
from skimgclf.models._checks.parameters import check_parameters
from skimgclf.pipelines import _KINDS

QUICK = {"epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Write 24 small photos of two classes, green and red with noise."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for row in range(24):
        pixels = rng.integers(0, 80, (40, 50, 3), dtype=np.uint8)
        pixels[..., row % 2] += 150
        paths.append(str(folder / f"{row}.png"))
        labels.append(["red", "green"][row % 2])
        Image.fromarray(pixels).save(paths[-1])
    return np.array(paths, dtype=object), np.array(labels)


def test_textbook_has_the_defaults_of_its_steps():
    pipeline = make_image_pipeline("textbook")
    assert pipeline["load"].get_params() == ImageLoader().get_params()
    assert pipeline["classify"].get_params() == KerasImageClassifier().get_params()


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("textbook", {}),
        pytest.param("photos", {}, marks=pytest.mark.slow),
        pytest.param("digits", {}, marks=pytest.mark.slow),
        pytest.param("few_photos", {}, marks=pytest.mark.slow),
        pytest.param(
            "few_photos",
            {"fine_tune": 1, "fine_tune_epochs": 1},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_every_kind_fits_predicts_and_is_kept(kind, parameters, photos, tmp_path):
    paths, labels = photos
    pipeline = make_image_pipeline(kind, image_size=(32, 32), **parameters, **QUICK)
    probabilities = pipeline.fit(paths, labels).predict_proba(paths)
    assert next(iter(pipeline.named_steps)) == "load"
    assert list(pipeline.named_steps)[-1] == "classify"
    save_model(pipeline, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(paths), probabilities)
    assert predict_frame(loaded, paths)["label"].tolist() == list(loaded.predict(paths))
    # Fast tests export to ONNX elsewhere.
    for file_format in ("keras",) if kind == "textbook" else ("keras", "onnx"):
        export_model(pipeline, tmp_path / "exported", format=file_format)


def test_photos_fits_with_small_parameters(photos):
    paths, labels = photos
    small = {"image_size": (8, 8), "conv_filters": (2,), "epochs": 1}
    pipeline = make_image_pipeline("photos", **small, random_state=0)
    probabilities = pipeline.fit(paths, labels).predict_proba(paths)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_classifier_parameters_come_before_those_of_the_kind():
    pipeline = make_image_pipeline("photos", epochs=3, augmentation=None)
    assert pipeline["classify"].epochs == 3
    assert pipeline["classify"].augmentation is None
    assert pipeline["classify"].architecture == "resnet"


def test_other_parameters_reach_their_steps(tmp_path):
    pipeline = make_image_pipeline(
        "few_photos",
        image_size=(96, 64),
        cache=tmp_path,
        n_jobs=2,
        random_state=3,
        verbose=1,
    )
    loader = pipeline["load"]
    assert loader.image_size == (96, 64)
    assert (loader.cache, loader.n_jobs, loader.verbose) == (tmp_path, 2, 1)
    assert pipeline["embed"].cache == tmp_path
    assert (pipeline["classify"].random_state, pipeline["classify"].verbose) == (3, 1)


def test_few_photos_with_fine_tuning_trains_the_network_itself():
    frozen = make_image_pipeline("few_photos", fine_tune=0)
    tuned = make_image_pipeline("few_photos", cache="c", fine_tune="all", epochs=3)
    assert list(frozen.named_steps) == ["load", "embed", "classify"]
    assert list(tuned.named_steps) == ["load", "classify"]
    classifier = tuned["classify"]
    assert classifier.architecture == frozen["embed"].backbone
    assert classifier.learning_rate_schedule == "one_cycle"
    assert (classifier.fine_tune, classifier.epochs) == ("all", 3)
    same = {**tuned["load"].get_params(), "cache": None}
    assert same == frozen["load"].get_params()


@pytest.mark.slow
def test_a_pipeline_can_be_cloned_and_searched(photos):
    pipeline = make_image_pipeline("digits", image_size=(12, 12), **QUICK)
    grid = {"classify__learning_rate": [0.01, 0.001], "load__image_size": [(8, 8)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*photos)
    assert len(search.cv_results_["params"]) == 2
    assert clone(pipeline)["classify"].get_params() == pipeline["classify"].get_params()


def test_each_pipeline_has_values_of_its_own():
    first, second = (make_image_pipeline("photos") for _ in range(2))
    first.set_params(load__image_size=(8, 8), classify__epochs=1)
    assert second["load"].image_size == (64, 64)
    assert second["classify"].epochs == 22


@pytest.mark.parametrize(
    ("parameters", "mixup"),
    [({}, 0.2), ({"epochs": 20}, 0.2), ({"epochs": 19}, 0), ({"batch_size": 1}, 0)],
)
def test_photos_are_mixed_in_long_trainings(parameters, mixup):
    assert make_image_pipeline("photos", **parameters)["classify"].mixup == mixup
    parameters = {**parameters, "mixup": 0.5}
    assert make_image_pipeline("photos", **parameters)["classify"].mixup == 0.5


@pytest.mark.parametrize(
    ("augmentation", "expected"),
    [("flip", "flip"), (["light", "flip"], "flip"), ("crop", None), (None, None)],
)
def test_photos_are_mirrored_at_predict_as_in_training(augmentation, expected):
    assert make_image_pipeline("photos")[1].test_time_augmentation == "flip"
    classifier = make_image_pipeline("photos", augmentation=augmentation)["classify"]
    assert classifier.test_time_augmentation == expected


DECAY = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
PLATEAU = keras.callbacks.ReduceLROnPlateau
TRAINED = {"photos": {}, "digits": {}, "few_photos": {}, "tuned": {"fine_tune": "all"}}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        (
            {"optimizer": keras.optimizers.Adam(0.01, clipnorm=1.0)},
            {"learning_rate", "weight_decay"},
        ),
        (
            {"optimizer": keras.optimizers.SGD(DECAY)},
            {"learning_rate", "weight_decay", "learning_rate_schedule"},
        ),
        (
            {"optimizer": keras.optimizers.SGD(lambda: 0.1)},
            {"learning_rate", "weight_decay", "learning_rate_schedule"},
        ),
        ({"learning_rate": DECAY}, {"learning_rate_schedule"}),
        ({"callbacks": PLATEAU}, {"learning_rate_schedule"}),
        ({"callbacks": [PLATEAU("loss")]}, {"learning_rate_schedule"}),
        ({"optimizer": "sgd", "callbacks": keras.callbacks.History}, set()),
    ],
    ids=["optimizer", "schedule in it", "function", "rate", "class", "list", "none"],
)
def test_a_kind_leaves_out_what_clashes_with_a_given_value(name, given, left_out):
    kind = "few_photos" if name == "tuned" else name
    of_kind = make_image_pipeline(kind, **TRAINED[name])["classify"].get_params()
    defaults = KerasImageClassifier().get_params()
    expected = of_kind | {each: defaults[each] for each in left_out} | given
    pipeline = make_image_pipeline(kind, **TRAINED[name], **given)
    assert pipeline["classify"].get_params() == expected
    check_parameters(expected)  # raises an error otherwise


def test_given_values_that_clash_are_an_error_of_fit():
    given = {"optimizer": keras.optimizers.SGD(), "learning_rate": 0.1}
    parameters = make_image_pipeline("photos", **given)["classify"].get_params()
    with pytest.raises(InvalidParameterError, match="must be None with an optimizer"):
        check_parameters(parameters)
    given = {"callbacks": PLATEAU, "learning_rate_schedule": "cosine"}
    parameters = make_image_pipeline("photos", **given)["classify"].get_params()
    with pytest.raises(InvalidParameterError, match="must be 'constant' with callba"):
        check_parameters(parameters)


@pytest.mark.parametrize("kind", ["photos", "few_photos"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("optimizer", None),
        ("callbacks", 3),
        *[(n, np.array([1, 2])) for n in ("epochs", "batch_size", "fine_tune")],
    ],
)
def test_wrong_values_are_an_error_of_fit(kind, name, wrong):
    parameters = make_image_pipeline(kind, **{name: wrong})["classify"].get_params()
    with pytest.raises(InvalidParameterError, match=f"'{name}' param"):
        check_parameters(parameters)


def test_weights_of_few_photos_are_those_of_the_pretrained_network():
    frozen = make_image_pipeline("few_photos", weights=None, batch_size=8)
    assert (frozen["embed"].weights, frozen["classify"].weights) == (None, "imagenet")
    assert (frozen["embed"].batch_size, frozen["classify"].batch_size) == (32, 8)
    tuned = make_image_pipeline("few_photos", weights=None, fine_tune=1)
    assert tuned["classify"].weights is None
    assert make_image_pipeline("few_photos")["embed"].weights == "imagenet"


@pytest.mark.parametrize("kind", ["photo", None, 3, ["photos"]])
def test_other_kinds_are_refused_with_the_list_of_kinds(kind):
    with pytest.raises(
        InvalidParameterError,
        match=r"'kind' parameter .*'textbook', 'digits', 'photos', 'few_photos'.* Got",
    ):
        make_image_pipeline(kind)


def test_misspelt_parameters_are_refused():
    with pytest.raises(TypeError, match="epoch"):
        make_image_pipeline("photos", epoch=3)


@pytest.mark.parametrize(
    "name",
    ["load__background", "load__color_mode", "embed__backbone", "embed__pooling"],
)
def test_parameters_of_other_steps_are_refused_with_the_place_to_set_them(name):
    with pytest.raises(TypeError, match=rf"set_params\({name}=\.\.\.\) on the pipe"):
        make_image_pipeline("few_photos", **{name.partition("__")[2]: "max"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("architecture", "cnn", "'dense' or a callable"),
        ("architecture", "VGG16", "'dense' or a callable"),
        ("augmentation", "flip", "None"),
        ("test_time_augmentation", "flip", "None"),
    ],
)
def test_parameters_for_images_are_refused_for_features(name, value, words):
    match = f"'{name}'.* must be {words}.*features.*Got '{value}'"
    with pytest.raises(InvalidParameterError, match=match):
        make_image_pipeline("few_photos", **{name: value})
    make_image_pipeline("few_photos", fine_tune=1, **{name: value})
    make_image_pipeline("few_photos", architecture="Dense", augmentation=None)


def test_the_shell_has_the_same_kinds():
    for kind in _KINDS:
        options = ["fit", "x", "--kind", kind, "--output", "m"]
        assert make_parser().parse_args(options).kind == kind


@pytest.mark.slow
def test_few_photos_reads_textures_from_five_patches(tmp_path):
    """Patches of the lower halves of three photos, after five of the upper halves."""
    train, test = {}, {}
    for name in ("brick", "grass", "gravel"):
        photo = getattr(skimage.data, name)()
        for half, patches in ((photo[:256], train), (photo[256:], test)):
            n_patches = 5 if patches is train else 12
            rng = np.random.default_rng(0)
            for row in range(n_patches):
                top, left = rng.integers(0, 256 - 96), rng.integers(0, 512 - 96)
                path = str(tmp_path / f"{name}_{n_patches}_{row}.png")
                Image.fromarray(half[top : top + 96, left : left + 96]).save(path)
                patches[path] = name
    pipeline = make_image_pipeline("few_photos", image_size=(96, 96), random_state=0)
    pipeline.fit(list(train), list(train.values()))
    assert pipeline.score(list(test), list(test.values())) >= 0.97
