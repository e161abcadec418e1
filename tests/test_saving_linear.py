"""Pipelines that end in scikit-learn's own models are saved, exported and used."""

import json
import os

import keras
import numpy as np
import onnxruntime
import pytest
from PIL import Image
from saved_models import save_and_load
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    KerasImageClassifier,
    export_model,
    load_model,
    save_model,
)
from skimgclf.exceptions import InvalidParameterError, ModelFileError
from skimgclf.saving import _scikit_learn
from skimgclf.saving._file_layout import read_model_file, write_model_file
from skimgclf.saving._values import encode


@pytest.fixture(scope="module")
def photos(digits, tmp_path_factory):
    """Write 60 digits as files, and a small network that embeds them."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [str(folder / f"{i}.png") for i in range(60)]
    for path, image in zip(paths, digits[0], strict=False):
        Image.fromarray((image[..., 0] * 255).astype("uint8")).save(path)
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(6, 3, activation="relu"),
        keras.layers.MaxPooling2D(3),
        keras.layers.Flatten(),
    ]
    keras.Sequential(layers).save(folder / "backbone.keras")
    return paths, digits[1][:60], os.fspath(folder / "backbone.keras")


def make_regression(backbone, *, scaler=None, **parameters):
    return Pipeline(
        [
            ("load", ImageLoader(image_size=(8, 8))),
            ("embed", ImageEmbedder(backbone)),
            ("scale", StandardScaler() if scaler is None else scaler),
            ("classify", LogisticRegression(**parameters)),
        ]
    )


@pytest.fixture(scope="module")
def fitted(photos):
    paths, y, backbone = photos
    return make_regression(backbone, C=0.5, class_weight="balanced").fit(paths, y)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "photos.skimgclf"
    save_model(fitted, path)
    return path


def make_flat(n_classes, scaler="passthrough", **parameters):
    """Make a pipeline for `n_classes` that has no network."""
    loader = ImageLoader(image_size=(8, 8), flatten=True)
    return make_pipeline(loader, scaler, LogisticRegression(**parameters))


def fit_flat(photos, n_classes, *arguments, **parameters):
    paths, y, _ = photos
    y = np.where(y.astype(int) < n_classes - 1, y, "z") if n_classes < 10 else y
    return make_flat(n_classes, *arguments, **parameters).fit(paths, y)


def assert_same(loaded, fitted, paths):
    np.testing.assert_array_equal(
        loaded.predict_proba(paths), fitted.predict_proba(paths)
    )
    for mine, theirs in zip(loaded, fitted, strict=True):
        if isinstance(theirs, StandardScaler | LogisticRegression):
            assert mine.get_params() == theirs.get_params()
            assert vars(mine).keys() == vars(theirs).keys()
            for name, value in vars(theirs).items():
                np.testing.assert_array_equal(getattr(mine, name), value)
                assert getattr(getattr(mine, name), "dtype", None) == getattr(
                    value, "dtype", None
                )


def test_a_loaded_regression_on_an_embedder_is_the_same(photos, fitted, saved):
    assert_same(load_model(saved), fitted, photos[0])


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("scaled", [True, False])
def test_a_loaded_regression_on_pixels_is_the_same(photos, tmp_path, n_classes, scaled):
    scaler = StandardScaler() if scaled else "passthrough"
    fitted = fit_flat(photos, n_classes, scaler)
    assert_same(save_and_load(fitted, tmp_path), fitted, photos[0])


@pytest.mark.parametrize(
    ("scaler", "parameters"),
    [
        (StandardScaler(with_mean=False), {"fit_intercept": False}),
        (StandardScaler(with_std=False), {"solver": "newton-cg"}),
        (StandardScaler(with_mean=False, with_std=False), {"solver": "liblinear"}),
    ],
    ids=["mean", "std", "both"],
)
def test_parameters_that_are_not_the_defaults_are_kept(
    photos, tmp_path, scaler, parameters
):
    fitted = fit_flat(photos, 2, scaler, **parameters)
    loaded = save_and_load(fitted, tmp_path)
    assert_same(loaded, fitted, photos[0])
    for name, value in parameters.items():
        assert loaded[-1].get_params()[name] == value


@pytest.mark.parametrize("embeds", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_scaler_stands_in_front_of_a_network_too(photos, tmp_path, embeds):
    paths, y, backbone = photos
    network = KerasImageClassifier(hidden_layer_sizes=(), epochs=1, random_state=0)
    if embeds:
        fitted = make_regression(backbone).set_params(classify=network)
    else:
        fitted = make_flat(10, StandardScaler())
        fitted.set_params(logisticregression=network)
    fitted.fit(paths, y)
    assert_same(save_and_load(fitted, tmp_path), fitted, paths)
    check_export(fitted, paths, tmp_path)


def test_columns_with_names_are_kept(tmp_path):
    import pandas as pd

    X = pd.DataFrame(np.random.default_rng(0).random((6, 2)), columns=["a", "b"])
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, [0, 1] * 3)
    loaded = save_and_load(fitted, tmp_path)
    assert loaded.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("scaled", [True, False])
def test_repair_read_output_keeps_the_container_of_each_step(photos, tmp_path, scaled):
    """A step that has learnt names would warn of arrays without them."""
    paths, y, _ = photos
    fitted = make_flat(10, StandardScaler() if scaled else "passthrough")
    fitted.set_output(transform="pandas").fit(paths, y)
    loaded = save_and_load(fitted, tmp_path)
    np.testing.assert_array_equal(
        loaded.predict_proba(paths), fitted.predict_proba(paths)
    )
    assert loaded[:-1].transform(paths).equals(fitted[:-1].transform(paths))


class OwnRegression(LogisticRegression):
    pass


@pytest.mark.parametrize(
    ("steps", "match"),
    [
        ([MinMaxScaler(), LogisticRegression()], "'minmaxscaler' is a MinMaxScaler"),
        ([StandardScaler(), SGDClassifier()], "'sgdclassifier', is a SGDClassifier"),
        ([OwnRegression()], "'ownregression', is a OwnRegression"),
        ([LogisticRegression(), StandardScaler()], "'logisticregression' is a Log"),
    ],
)
def test_others_are_refused_by_name(tmp_path, steps, match):
    for write in (save_model, export_model):
        with pytest.raises(InvalidParameterError, match=match + r".*use joblib"):
            write(make_pipeline(ImageLoader(flatten=True), *steps), tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_what_can_not_be_kept_is_refused(photos, tmp_path):
    unfitted = make_flat(2)
    for write in (save_model, export_model):
        with pytest.raises(NotFittedError, match="LogisticRegression"):
            write(unfitted, tmp_path / "model")
    with pytest.raises(InvalidParameterError, match="LogisticRegression has no optim"):
        save_model(unfitted, tmp_path / "model", include_optimizer=True)
    fitted = fit_flat(photos, 2, random_state=np.random.RandomState(0))
    with pytest.raises(InvalidParameterError, match=r"'random_state'.*RandomState"):
        save_model(fitted, tmp_path / "model")
    sparse = fit_flat(photos, 2)
    sparse[-1].sparsify()
    with pytest.raises(InvalidParameterError, match=r"coef_ .*densify"):
        save_model(sparse, tmp_path / "model")
    assert os.listdir(tmp_path) == []


SCALE, CLASSIFY = ["steps", 2], ["steps", 3]


@pytest.mark.parametrize(
    ("keys", "value", "match"),
    [
        ([*SCALE, "type"], "MinMaxScaler", "unknown step|has arrays"),
        ([*SCALE, "type"], "LogisticRegression", "unknown step|has arrays"),
        ([*CLASSIFY, "type"], "StandardScaler", "the last step"),
        ([*CLASSIFY, "type"], "subprocess.Popen", "the last step"),
        ([*SCALE, "parameters", "evil"], 1, "no 'evil'"),
        ([*SCALE, "parameters", "with_mean"], "yes", "'with_mean' parameter"),
        ([*CLASSIFY, "parameters", "solver"], "os.system", "'solver' parameter"),
        ([*CLASSIFY, "parameters", "C"], -1.0, "'C' parameter"),
        ([*CLASSIFY, "parameters", "max_iter"], {"call": "ls"}, "'max_iter' parameter"),
        ([*SCALE, "learnt", "evil"], 1, "unknown entries: evil"),
        ([*SCALE, "learnt", "n_features"], 10**9, "don't fit its 1,000,000,000"),
        ([*SCALE, "learnt", "n_features"], True, "n_features"),
        ([*SCALE, "learnt", "feature_names"], "x", "feature_names"),
        ([*CLASSIFY, "learnt", "feature_names"], ["x"], "feature_names"),
        ([*CLASSIFY, "learnt", "n_features"], 3, "don't fit its 3 features"),
        ([*CLASSIFY, "learnt", "order"], "K", "order"),
        ([*CLASSIFY, "learnt", "classes"], ["0", "1"], "classes"),
        (
            [*CLASSIFY, "learnt", "classes"],
            encode(np.array(["1", "0"])),
            "sorted",
        ),
        ([*CLASSIFY, "learnt", "classes"], encode(np.array(["0", "1"])), "don't fit"),
        (["pipeline"], None, "no pipeline"),
        ([*SCALE, "output"], "os.system", "unknown output 'os.system' of a step"),
        (["steps", 0, "output"], "pandas", "has no attribute 'set_output'"),
    ],
)
def test_a_changed_document_is_refused(saved, tmp_path, keys, value, match):
    document, arrays, _ = read_model_file(saved)
    owner = document
    for key in keys[:-1]:
        owner = owner[key]
    owner[keys[-1]] = value
    write_model_file(tmp_path / "changed", document, arrays)
    with pytest.raises(ModelFileError, match=match):
        load_model(tmp_path / "changed")


def test_a_regression_without_a_pipeline_is_refused(saved, tmp_path):
    document, arrays, _ = read_model_file(saved)
    document |= {"steps": [{**document["steps"][3], "name": None}], "pipeline": None}
    arrays = {
        f"steps/0/{name}": arrays[f"steps/3/{name}"]
        for name in ("coef_", "intercept_", "n_iter_")
    }
    write_model_file(tmp_path / "changed", document, arrays)
    with pytest.raises(ModelFileError, match="no pipeline"):
        load_model(tmp_path / "changed")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("steps/2/mean_", None),
        ("steps/2/scale_", None),
        ("steps/3/coef_", None),
        ("steps/3/n_iter_", None),
        ("steps/2/mean_", lambda array: array[1:]),
        ("steps/2/mean_", lambda array: array * np.nan),
        ("steps/2/mean_", lambda array: array > 0),
        ("steps/2/scale_", lambda array: array * 0),
        ("steps/2/scale_", lambda array: -array),
        ("steps/2/n_samples_seen_", lambda array: np.zeros(3)),
        ("steps/3/coef_", lambda array: array.T),
        ("steps/3/coef_", lambda array: array[:1]),
        ("steps/3/intercept_", lambda array: array[:1]),
        ("steps/2/evil", lambda array: np.zeros(1)),
        ("steps/9/evil", lambda array: np.zeros(1)),
        ("steps/1/evil", lambda array: np.zeros(1)),
        ("network/0", lambda array: np.zeros(1)),
        ("evil", lambda array: np.zeros(1)),
    ],
)
def test_changed_arrays_are_refused(saved, tmp_path, name, change):
    document, arrays, _ = read_model_file(saved)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays.get(name))
    write_model_file(tmp_path / "changed", document, arrays)
    with pytest.raises(ModelFileError, match=r"values that save_model doesn't write"):
        load_model(tmp_path / "changed")


def test_arrays_of_no_step_are_refused_beside_a_network(tmp_path):
    small = KerasImageClassifier(hidden_layer_sizes=(), epochs=1)
    # Rows of as many features and classes as in another test, for its program.
    small.fit(np.zeros((10, 64), dtype="float32"), np.arange(10))
    save_model(small, tmp_path / "model")
    document, arrays, _ = read_model_file(tmp_path / "model")
    write_model_file(tmp_path / "changed", document, {**arrays, "e": np.zeros(1)})
    with pytest.raises(ModelFileError, match="arrays of no step: e"):
        load_model(tmp_path / "changed")


def test_repair_check_parameters_refuses_invalid_ones_before_a_fit():
    with pytest.raises(ValueError, match="'C' parameter"):
        _scikit_learn.check_parameters(LogisticRegression(C=-1.0))


def check_export(fitted, paths, folder):
    export_model(fitted, folder / "model.onnx")
    description = json.loads((folder / "model.onnx.json").read_text())
    images = fitted[0].transform(paths)
    assert description["input"]["shape"] == [None, *images.shape[1:]]
    assert description["classes"] == fitted.classes_.tolist()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    found = session.run(None, {session.get_inputs()[0].name: images})[0]
    np.testing.assert_allclose(found, fitted.predict_proba(paths), atol=1e-4)


def test_export_makes_one_network_of_all_steps(photos, fitted, tmp_path):
    check_export(fitted, photos[0], tmp_path)


@pytest.mark.parametrize("with_mean", [True, False])
def test_export_takes_pixels_and_two_classes(photos, tmp_path, with_mean):
    fitted = fit_flat(photos, 2, StandardScaler(with_mean=with_mean))
    fitted[-1].sparsify()
    check_export(fitted, photos[0], tmp_path)


def test_export_refuses_probabilities_that_are_no_softmax(
    photos, tmp_path, monkeypatch
):
    fitted = fit_flat(photos, 3)
    monkeypatch.setattr(
        LogisticRegression, "predict_proba", lambda self, X: np.full((len(X), 3), 1 / 3)
    )
    with pytest.raises(InvalidParameterError, match="can't be exported"):
        export_model(fitted, tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_the_shell_uses_it(photos, saved, run_command, tmp_path):
    paths, y, _ = photos
    code, out, err = run_command("predict", saved, *paths[:2], "--output", "-")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 3
    code, out, _ = run_command("info", saved)
    assert code == 0
    assert "scale: StandardScaler()" in out
    assert "10 classes" in out
    folder, names = os.path.dirname(paths[0]), map(os.path.basename, paths)
    lines = [f"{name},{label}" for name, label in zip(names, y, strict=True)]
    (tmp_path / "all.csv").write_text("\n".join(["id,label", *lines]))
    options = ["--image-dir", folder]
    code, out, _ = run_command("evaluate", saved, tmp_path / "all.csv", *options)
    assert code == 0
    assert "Accuracy on 60 images" in out
