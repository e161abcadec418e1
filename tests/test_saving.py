"""Saved models come back bit for bit, and a file from a stranger runs nothing."""

import io
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import joblib
import keras
import numpy as np
import pytest
from keras.src.backend.common.global_state import set_global_attribute
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skimgclf
from skimgclf import ImageLoader, KerasImageClassifier, load_model, save_model
from skimgclf._atomic import replace_atomically
from skimgclf.exceptions import InvalidParameterError, ModelFileError, ModelFileWarning
from skimgclf.models import build_dense
from skimgclf.models._keras_file import list_generators, read_network
from skimgclf.saving._archive import read_archive, write_archive
from skimgclf.saving._values import decode, encode


def fit(X, y, **parameters):
    small = {"hidden_layer_sizes": (4,), "epochs": 1, "random_state": 0}
    return KerasImageClassifier(**small | parameters).fit(X, y)


def save_and_load(model, folder, **options):
    save_model(model, folder / "saved", **options)
    return load_model(folder / "saved")


@pytest.fixture(scope="module")
def fitted(digits):
    return fit(*digits, dropout=0.3)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "digits.skimgclf"
    save_model(fitted, path)
    return path


@pytest.fixture(scope="module")
def paths(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    names = [str(folder / f"{i}.png") for i in range(40)]
    for name, image in zip(names, digits[0], strict=False):
        Image.fromarray((image[..., 0] * 255).astype("uint8")).save(name)
    return names


# ---- round trips ---------------------------------------------------------------------


def narrow(image_shape, dropout):
    return build_dense(image_shape, hidden_layer_sizes=(5,), dropout=dropout)


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "dropout": 0.3,
            "batch_norm": True,
            "class_weight": {"3": 2.0},
            "learning_rate": np.float32(0.01),
            "optimizer": keras.optimizers.RMSprop,
        },
        {"architecture": "cnn", "conv_filters": [2], "batch_norm": True},
        {"architecture": narrow, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)},
        {
            "learning_rate": keras.optimizers.schedules.CosineDecay(0.01, 100),
            "verbose": False,
        },
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_a_loaded_classifier_is_the_same(digits, tmp_path, parameters):
    classifier = fit(*digits, **parameters)
    loaded = save_and_load(classifier, tmp_path)
    np.testing.assert_array_equal(
        loaded.predict_proba(digits[0]), classifier.predict_proba(digits[0])
    )
    assert loaded.history_ == classifier.history_
    assert (loaded.n_iter_, loaded.best_iter_) == (1, 1)
    for mine, theirs in zip(
        loaded.model_.variables, classifier.model_.variables, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))
    for name, value in classifier.get_params().items():
        kept = loaded.get_params()[name]
        if hasattr(value, "get_config") and not isinstance(value, type):
            assert (type(kept), kept.get_config()) == (type(value), value.get_config())
        elif value is not narrow:
            assert kept == value
            assert isinstance(kept, tuple) == isinstance(value, tuple)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["night", "day"]),
        np.array(["night", "day"], dtype="<U30"),
        np.array(["night", "dä\udc80y"], dtype=object),
        np.array([True, False]),
        np.array([7, -1]),
        np.array([7, 1], dtype=">i4"),
        np.array([1.0, 2.0], dtype="float32"),
    ],
    ids=lambda labels: f"{labels.dtype}-{labels.tolist()[0]}",
)
def test_classes_keep_values_and_type(labels, tmp_path):
    classifier = fit(np.eye(4), np.tile(labels, 2), hidden_layer_sizes=())
    classes = save_and_load(classifier, tmp_path).classes_
    np.testing.assert_array_equal(classes, classifier.classes_)
    assert classes.dtype.newbyteorder("=") == classifier.classes_.dtype.newbyteorder(
        "="
    )
    assert list(map(type, classes.tolist())) == list(
        map(type, classifier.classes_.tolist())
    )


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "uint8", "color_mode": "rgb", "background": (1, 2, 3)},
        {"flatten": True, "image_size": [np.int64(8), 9]},
    ],
    ids=["uint8", "flatten"],
)
def test_a_pipeline_keeps_its_steps(paths, digits, tmp_path, options):
    pipeline = Pipeline(
        [
            ("load", ImageLoader(**options)),
            ("nothing", "passthrough"),
            ("classify", KerasImageClassifier(hidden_layer_sizes=(), epochs=1)),
        ]
    ).fit(paths, digits[1][:40])
    loaded = save_and_load(pipeline, tmp_path)
    assert loaded.predict_proba(paths).tobytes() == (
        pipeline.predict_proba(paths).tobytes()
    )
    assert [name for name, _ in loaded.steps] == ["load", "nothing", "classify"]
    assert loaded["load"].get_params() == pipeline["load"].get_params()


def test_options_for_urls_are_neither_saved_nor_loaded(paths, digits, tmp_path):
    """They may be credentials, or send a reader to a server of a stranger's."""
    loader = ImageLoader(storage_options={"secret": "hush"})
    classifier = KerasImageClassifier(hidden_layer_sizes=(), epochs=1)
    pipeline = make_pipeline(loader, classifier).fit(paths, digits[1][:40])
    loaded = save_and_load(pipeline, tmp_path)
    expected = {**loader.get_params(), "storage_options": None}
    assert loaded["imageloader"].get_params() == expected
    document, network = read_parts(tmp_path / "saved")
    assert "hush" not in json.dumps(document)
    document["steps"][0]["parameters"]["storage_options"] = encode({"proxy": "evil"})
    write_parts(tmp_path / "saved", document, network)
    with pytest.raises(ModelFileError, match="brings options for opening URLs"):
        load_model(tmp_path / "saved")


def test_a_cache_stays_where_it_is(paths, digits, tmp_path):
    loader = ImageLoader(cache=tmp_path / "kept", cache_limit=10**6)
    classifier = KerasImageClassifier(hidden_layer_sizes=(), epochs=1)
    pipeline = make_pipeline(loader, classifier).fit(paths, digits[1][:40])
    loaded = save_and_load(pipeline, tmp_path)
    expected = {**loader.get_params(), "cache": None}
    assert loaded["imageloader"].get_params() == expected
    document, network = read_parts(tmp_path / "saved")
    assert os.fspath(tmp_path) not in json.dumps(document)
    document["steps"][0]["parameters"]["cache"] = os.fspath(tmp_path / "evil")
    write_parts(tmp_path / "saved", document, network)
    with pytest.raises(ModelFileError, match="names a folder of this machine"):
        load_model(tmp_path / "saved")
    assert not (tmp_path / "evil").exists()


def test_predictions_are_bit_equal_in_a_new_process(
    fitted, paths, digits, tmp_path, run_python
):
    classifier = KerasImageClassifier(hidden_layer_sizes=(4,), epochs=1)
    search = GridSearchCV(
        make_pipeline(ImageLoader(image_size=(8, 8)), classifier),
        {"kerasimageclassifier__batch_norm": [True]},
        cv=[(range(30), range(30, 40))],
        error_score="raise",
    ).fit(paths, digits[1][:40].astype(int) % 2)
    save_model(search.best_estimator_, tmp_path / "search")
    save_model(fitted, tmp_path / "bare")
    np.save(tmp_path / "X.npy", digits[0])
    printed = run_python(
        "import sys, numpy as np\nfrom skimgclf import load_model\n"
        "folder, *paths = sys.argv[1:]\n"
        "print(load_model(folder + '/search').predict_proba(paths).tobytes().hex())\n"
        "X = np.load(folder + '/X.npy')\n"
        "print(load_model(folder + '/bare').predict_proba(X).tobytes().hex())",
        tmp_path,
        *paths,
    ).splitlines()
    assert printed == [
        search.predict_proba(paths).tobytes().hex(),
        fitted.predict_proba(digits[0]).tobytes().hex(),
    ]


def test_feature_names_are_kept(tmp_path):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.eye(4), columns=list("abcd"))
    classifier = fit(X, [0, 1, 0, 1])
    loaded = save_and_load(classifier, tmp_path)
    assert loaded.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.3},
        {
            "optimizer": keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
            )
        },
    ],
    ids=["adam", "sgd-schedule"],
)
def test_training_goes_on_as_if_it_had_not_been_saved(digits, tmp_path, parameters):
    classifier = fit(*digits, **parameters)
    loaded = save_and_load(classifier, tmp_path, include_optimizer=True)
    with_optimizer = (tmp_path / "saved").stat().st_size
    np.testing.assert_array_equal(
        loaded.partial_fit(*digits).predict_proba(digits[0]),
        classifier.partial_fit(*digits).predict_proba(digits[0]),
    )
    if "dropout" in parameters:
        save_model(classifier, tmp_path / "saved")
        assert (tmp_path / "saved").stat().st_size < with_optimizer


def test_a_loaded_classifier_can_be_pickled_saved_and_trained(digits, saved, tmp_path):
    loaded = load_model(saved)
    again = pickle.loads(pickle.dumps(save_and_load(loaded, tmp_path)))
    np.testing.assert_array_equal(
        again.predict_proba(digits[0]), loaded.predict_proba(digits[0])
    )
    with pytest.raises(InvalidParameterError, match="has no optimizer"):
        save_model(loaded, tmp_path / "saved", include_optimizer=True)
    assert loaded.partial_fit(*digits).n_iter_ == 2


def test_of_a_callable_architecture_the_name_is_kept(digits, tmp_path):
    loaded = save_and_load(fit(*digits, architecture=narrow), tmp_path)
    assert repr(loaded.architecture).endswith("test_saving.narrow, not saved>")
    assert loaded.partial_fit(*digits).n_iter_ == 2
    with pytest.raises(ValueError, match=r"narrow.*isn't in the file.*set_params"):
        loaded.fit(*digits)
    again = pickle.loads(pickle.dumps(save_and_load(loaded, tmp_path)))
    assert again.architecture == loaded.architecture


def test_parameters_set_after_fit_are_kept_beside_the_network(digits, saved, tmp_path):
    classifier = load_model(saved)
    expected = classifier.predict_proba(digits[0])
    classifier.set_params(architecture="cnn", hidden_layer_sizes=(3,), optimizer="sgd")
    loaded = save_and_load(classifier, tmp_path)
    assert loaded.get_params() == classifier.get_params()
    np.testing.assert_array_equal(loaded.predict_proba(digits[0]), expected)
    joblib_copy = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_array_equal(joblib_copy.predict_proba(digits[0]), expected)


@pytest.mark.parametrize(
    "value",
    [
        None, True, -(2**100), 0.1, 1e300, float("inf"), "\ud800ä", (), (1, [2, (3,)]),
        {}, {1: {"a": (True,)}, "1": None}, {"tuple": [1]}, [{"dict": []}],
    ],
)  # fmt: skip
def test_values_survive_json_exactly(value):
    kept = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert kept == value
    assert repr(kept) == repr(value)


# ---- what can't be kept without code -------------------------------------------------


@keras.saving.register_keras_serializable("test_saving")
class Doubled(keras.layers.Layer):
    """A layer that isn't Keras' own."""

    def call(self, inputs):
        return inputs * 2


class OwnAdam(keras.optimizers.Adam):
    pass


class OwnClassifier(KerasImageClassifier):
    pass


def with_layer(make_layer):
    def build(image_shape):
        layers = [keras.Input(image_shape), keras.layers.Flatten(), make_layer()]
        return keras.Sequential(layers)

    return build


@pytest.mark.parametrize(
    ("make_layer", "name"),
    [
        (Doubled, "test_saving>Doubled"),
        (lambda: keras.layers.Lambda(lambda x: x * 2), "'Lambda'"),
        (
            lambda: keras.layers.Dense(3, activation=lambda x: x * 2),
            "(__lambda__|lambda|holds a function)",
        ),
    ],
    ids=["custom", "Lambda", "function"],
)
def test_a_network_with_code_is_refused_by_name(digits, tmp_path, make_layer, name):
    classifier = fit(*digits, architecture=with_layer(make_layer))
    with pytest.raises(InvalidParameterError, match=f"(?s)without code.*{name}"):
        save_model(classifier, tmp_path / "saved")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"callbacks": [keras.callbacks.TerminateOnNaN]}, "'callbacks'.*=None"),
        ({"optimizer": OwnAdam}, "'optimizer'.*one of Keras' own"),
        ({"optimizer": OwnAdam()}, "'optimizer'.*one of Keras' own"),
        ({"random_state": np.random.RandomState(0)}, "'random_state'.*RandomState"),
        ({"dropout": 7}, "'dropout'.*Got 7"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_a_parameter_that_holds_code_is_refused_by_name(
    saved, tmp_path, parameters, match
):
    classifier = load_model(saved).set_params(**parameters)
    with pytest.raises(InvalidParameterError, match=match):
        save_model(classifier, tmp_path / "saved")
    assert os.listdir(tmp_path) == []


def test_other_models_and_steps_are_refused_by_name(fitted, tmp_path):
    search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2)
    search.fit(np.eye(4), [0, 0, 1, 1])
    for model, match in [
        (search, r"can't be a GridSearchCV: .*search\.best_estimator_"),
        (LogisticRegression(), r"Got a LogisticRegression .*use joblib or skops"),
        (OwnClassifier(), "Got a OwnClassifier"),
        (None, "Got a NoneType"),
        (make_pipeline(StandardScaler(), fitted), "'standardscaler' is a StandardSc"),
        (make_pipeline(ImageLoader(), LogisticRegression()), "'logisticregression'"),
        (make_pipeline(fitted, "passthrough"), "'kerasimageclassifier' is a Keras"),
        (make_pipeline(ImageLoader()), "last step, 'imageloader'"),
        (make_pipeline(ImageLoader(), fitted, memory="cache"), "'memory'.*'cache'"),
        (make_pipeline(ImageLoader(dtype="int"), fitted), "'dtype' parameter of Image"),
    ]:
        with pytest.raises(InvalidParameterError, match=match):
            save_model(model, tmp_path / "saved")
    with pytest.raises(NotFittedError, match="Call fit before it is saved"):
        save_model(make_pipeline(ImageLoader(), KerasImageClassifier()), tmp_path / "a")
    with pytest.raises(InvalidParameterError, match="'include_optimizer'"):
        save_model(fitted, tmp_path / "saved", include_optimizer="yes")
    assert os.listdir(tmp_path) == []


# ---- files that were damaged, or made by hand ----------------------------------------


def read_parts(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("model.json")), archive.read("network.keras")


def write_parts(path, document, network):
    """Write a file whose checksums are right, as somebody who means harm would."""
    write_archive(path, {k: v for k, v in document.items() if k != "sha256"}, network)


def test_the_document_says_what_is_in_the_file(saved, fitted):
    document, _ = read_parts(saved)
    assert document["format"] == 1
    assert document["date"].endswith("+00:00")
    assert set(document["versions"]) == {
        "skimgclf", "keras", "tensorflow", "scikit-learn", "numpy", "pillow"
    }  # fmt: skip
    assert document["versions"]["skimgclf"] == skimgclf.__version__
    assert set(document["steps"][0]["parameters"]) == set(fitted.get_params())
    assert decode(document["learnt"]["image_shape"]) == (8, 8, 1)


def test_no_flipped_bit_changes_predictions_silently(saved, fitted, digits, tmp_path):
    path, content, good = tmp_path / "flipped", saved.read_bytes(), read_archive(saved)
    rng = np.random.default_rng(0)
    # Everywhere, and densely where zip keeps its own records, outside of checksums.
    records = [content.index(b"network.keras", 100) + i for i in range(-30, 13)]
    records += range(len(content) - 170, len(content))
    places = np.concatenate([rng.integers(len(content), size=600), records])
    n_refused, harmless = 0, None
    for place in map(int, places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            parts = read_archive(path)  # all that load_model reads of the file
        except ModelFileError:
            n_refused += 1
        else:  # a date or a flag that says nothing about the members
            assert parts == good
            harmless = flipped
    assert n_refused >= 600
    path.write_bytes(harmless)
    np.testing.assert_array_equal(
        load_model(path).predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_a_cut_file_is_called_damaged_with_path_and_size(saved, tmp_path, share):
    content = saved.read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
    size = f"{int(share * len(content)):,}"
    with pytest.raises(ModelFileError, match=rf"cut' \({size} bytes\) is damaged"):
        load_model(tmp_path / "cut")


def test_the_error_pickles(saved):
    error = pickle.loads(pickle.dumps(ModelFileError("a", 1, "is damaged")))
    assert str(error) == "'a' (1 bytes) is damaged."


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="isn't a regular file"):
        load_model(tmp_path / "pipe")


def test_a_newer_format_and_other_versions_are_said(saved, fitted, digits, tmp_path):
    document, network = read_parts(saved)
    path = tmp_path / "other"
    write_parts(path, {**document, "format": 2}, network)
    with pytest.raises(ModelFileError, match=r"has format 2.*update skimgclf"):
        load_model(path)
    older = {**document["versions"], "keras": "3.0.1"}
    write_parts(path, {**document, "versions": older}, network)
    with pytest.warns(ModelFileWarning, match=r"Keras 3\.0\.1") as caught:
        loaded = load_model(path)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(
        loaded.predict_proba(digits[0]), fitted.predict_proba(digits[0])
    )


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("a-pickle-ran",)


def test_pickles_are_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(pickle.dumps(Bomb()))
    joblib.dump(Bomb(), tmp_path / "b", compress=1)
    for name in "ab":
        with pytest.raises(ModelFileError, match="looks like a pickle or a joblib"):
            load_model(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def members_of(saved):
    with zipfile.ZipFile(saved) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.mark.parametrize(
    "change",
    [
        lambda members: [*members, ("../../evil.py", b"1")],
        lambda members: [*members, ("/tmp/evil.py", b"1")],
        lambda members: [*members, ("extra.pkl", pickle.dumps(Bomb()))],
        lambda members: [("../model.json", members[0][1]), members[1]],
        lambda members: [members[0], ("network.pkl", members[1][1])],
        lambda members: members[:1],
        lambda members: members[::-1],
        lambda members: [members[0], members[0]],
        lambda members: [],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")  # one is made on purpose
def test_archives_with_other_members_are_refused(saved, tmp_path, change):
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(members_of(saved)):
            archive.writestr(name, content)
    with pytest.raises(
        ModelFileError, match=r"must hold model\.json and network\.keras"
    ):
        load_model(path)
    assert os.listdir(tmp_path) == ["archive"]


def test_a_large_file_that_is_no_archive_is_not_read(tmp_path):
    with open(tmp_path / "film", "wb") as file:
        file.truncate(1 << 42)  # more than memory; on disk it takes nothing
    with pytest.raises(ModelFileError, match=r"\(4,398,046,511,104 bytes\) is damaged"):
        load_model(tmp_path / "film")


def test_bombs_are_refused_before_they_are_unpacked(saved, tmp_path):
    path = tmp_path / "bomb"
    (_, document), (_, network) = members_of(saved)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", document)
        archive.writestr("network.keras", bytes(1 << 26))
    with pytest.raises(ModelFileError, match="members are compressed"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", document)
        archive.writestr("network.keras", network)
    content = path.read_bytes()
    for front, match in [(b"PK", "something stands in front"), (b"#!", "zip archive")]:
        path.write_bytes(front + content)
        with pytest.raises(ModelFileError, match=match):
            load_model(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b'{"format": 1e999}', "1e999 is not JSON"),
        (b'{"format": 1, "format": 1}', "'format' stands twice"),
        (b"\xff\xfe", "no JSON"),
        (b"9" * 5000, "no JSON"),
        (b"{}", "checksum"),
    ],
)
def test_what_is_no_document_is_refused(saved, tmp_path, text, match):
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", text)
        archive.writestr("network.keras", members_of(saved)[1][1])
    with pytest.raises(ModelFileError, match=match):
        load_model(path)


def classes(dtype, values):
    return {"array": [dtype, values]}


TEN = [str(i) for i in range(10)]
CHANGES = [
    (["format"], "1"),
    (["format"], True),
    (["versions"], None),
    (["versions", "keras"], 3),
    (["versions", "keras"], "3\n"),
    (["extra"], 1),
    (["steps"], []),
    (["steps"], {}),
    (["steps", 0], []),
    (["steps", 0, "type"], "subprocess.Popen"),
    (["steps", 0, "type"], "Pipeline"),
    (["steps", 0, "type"], "passthrough"),
    (["steps", 0, "type"], ["KerasImageClassifier"]),
    (["steps", 0, "name"], "classify"),
    (["steps", 0, "module"], "os"),
    (["steps", 0, "parameters"], []),
    (["steps", 0, "parameters", "evil"], 1),
    (["steps", 0, "parameters", "image_shape"], 1),
    (["steps", 0, "parameters", "epochs"], "ten"),
    (["steps", 0, "parameters", "epochs"], {"call": ["os.system", "ls"]}),
    (["steps", 0, "parameters", "epochs"], {"tuple": 3}),
    (["steps", 0, "parameters", "epochs"], {"dict": [[1]]}),
    (["steps", 0, "parameters", "epochs"], {"dict": [[{"tuple": []}, 1]]}),
    (["steps", 0, "parameters", "epochs"], {"float": "1"}),
    (["steps", 0, "parameters", "optimizer"], "os.system"),
    (["steps", 0, "parameters", "optimizer"], {"dict": [["class", "os"]]}),
    (["steps", 0, "parameters", "optimizer"], {"dict": [["class", "get"]]}),
    (
        ["steps", 0, "parameters", "optimizer"],
        encode({"object": keras.saving.serialize_keras_object(keras.layers.Dense(1))}),
    ),
    (
        ["steps", 0, "parameters", "optimizer"],
        encode(
            {
                "object": {
                    "module": "keras.optimizers",
                    "class_name": "Adam",
                    "config": {"x": {"class_name": "__lambda__", "config": {}}},
                }
            }
        ),
    ),
    (["steps", 0, "parameters", "architecture"], {"dict": [["code", "x"]]}),
    (["steps", 0, "parameters", "callbacks"], ["os"]),
    (["date"], None),
    (["date"], "yesterday"),
    (["date"], "2026-01-01T00:00:00" * 10_000),
    (["pipeline"], {"memory": "/tmp", "verbose": False}),
    (["pipeline"], {"transform_input": None, "verbose": False}),
    (["pipeline"], "Pipeline"),
    (["learnt"], []),
    (["learnt", "evil"], 1),
    (["learnt", "classes"], TEN),
    (["learnt", "classes"], classes("<U1", TEN[::-1])),
    (["learnt", "classes"], classes("<U1", [*TEN[:9], "8"])),
    (["learnt", "classes"], classes("<U1", TEN[:9])),
    (["learnt", "classes"], classes("<U1", list(range(10)))),
    (["learnt", "classes"], classes("|u1", [*range(9), 256])),
    (["learnt", "classes"], classes("|O", [*TEN[:9], None])),
    (["learnt", "classes"], classes("<M8[s]", list(range(10)))),
    (["learnt", "classes"], classes("<U999999", TEN * 100)),
    (["learnt", "classes"], {"array": "x"}),
    (["learnt", "image_shape"], {"tuple": [8, 8]}),
    (["learnt", "image_shape"], {"tuple": [4, 16, 1]}),
    (["learnt", "image_shape"], {"tuple": [8, 8, -1]}),
    (["learnt", "history"], 3),
    (["learnt", "history"], {"dict": [["loss", [1.0]]]}),
    (["learnt", "best_iter"], 0),
    (["learnt", "best_iter"], 2),
    (["learnt", "generators"], []),
    (["learnt", "generators"], None),
    (["learnt", "order"], None),
    (["learnt", "order"], {"dict": [["bit_generator", "MT19937"]]}),
    (["learnt", "order"], {"dict": [["bit_generator", "PCG64"]]}),
    (["learnt", "feature_names"], "x"),
    (["learnt", "blueprint"], None),
    (["learnt", "blueprint", "dict", 0, 1], "evil"),
    (["learnt", "blueprint"], {"dict": [["architecture", "dense"]]}),
]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        pytest.param(*change, id=f"{change[0][-1]}-{str(change[1])[:30]}")
        for change in CHANGES
    ],
)
def test_a_changed_document_is_refused(saved, tmp_path, keys, value):
    document, network = read_parts(saved)
    owner = document
    for key in keys[:-1]:
        owner = owner[key]
    owner[keys[-1]] = value
    write_parts(tmp_path / "changed", document, network)
    with pytest.raises(ModelFileError, match=r"bytes\) (holds|wasn't|doesn't) .*\."):
        load_model(tmp_path / "changed")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("verbose", None),
        ("verbose", 1),
        ("transform_input", "X_val"),
        ("transform_input", {"tuple": ["X_val"]}),
        ("transform_input", [1]),
    ],
)
def test_a_changed_pipeline_is_refused(saved, tmp_path, entry, value):
    pipeline = Pipeline([("load", ImageLoader()), ("classify", load_model(saved))])
    save_model(pipeline, tmp_path / "changed")
    document, network = read_parts(tmp_path / "changed")
    document["pipeline"][entry] = value
    write_parts(tmp_path / "changed", document, network)
    with pytest.raises(ModelFileError, match=entry):
        load_model(tmp_path / "changed")


def change_config(network, change):
    """Rewrite the configuration within a .keras file."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(network)) as source,
        zipfile.ZipFile(target, "w") as archive,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config)
            archive.writestr(name, content)
    return target.getvalue()


def layer(module, name, config, **more):
    return {"module": module, "class_name": name, "config": config, **more}


CODE = layer("builtins", "__lambda__", {"value": ["x", None, None]})
EVIL_OBJECTS = [
    layer("keras.layers", "Lambda", {"name": "x", "function": CODE}),
    layer("keras.src.layers.core.lambda_layer", "Lambda", {"function": CODE}),
    layer("keras.layers", "TFSMLayer", {"filepath": "/tmp/x"}),
    layer("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
    layer("os", "system", {"command": "ls"}),
    layer("keras.utils", "get_file", {"fname": "x"}),
    layer("keras.src.utils.file_utils", "File", {}),
    layer(None, "Doubled", {}, registered_name="test_saving>Doubled"),
    layer("keras.layers", "Dense", {}, registered_name="test_saving>Doubled"),
    layer("builtins", "function", "exec", registered_name="function"),
    layer("keras.utils", "function", "get_file"),
    layer("tensorflow", "__typespec__", []),
    layer("keras.models", "load_model", {}),  # functions, that a layer would call
    layer("keras.layers", "deserialize", {}),
    layer("keras.src.ops.core", "map", {}),
    layer("keras.src.ops.numpy", "np", {}),
    layer("builtins", "__numpy__", {"value": 0, "dtype": "V9000000000"}),
    layer("builtins", "__tensor__", {"value": 0, "dtype": ["O"]}),
    layer("keras.layers", ["Dense"], {}),
    CODE,
]


@pytest.mark.parametrize("evil", EVIL_OBJECTS, ids=lambda e: str(e["class_name"]))
@pytest.mark.parametrize("unsafe", [False, True], ids=["safe", "unsafe"])
def test_networks_with_code_are_refused_before_keras_sees_them(saved, evil, unsafe):
    _, network = read_parts(saved)
    network = change_config(network, lambda c: c["config"]["layers"].append(evil))
    if unsafe:
        keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(
            ValueError, match=r"is refused|isn't one of|is no (name|dtype)"
        ):
            read_network(network, [])
    finally:
        set_global_attribute("safe_mode_saving", None)  # as before it was ever set


def test_a_file_with_a_lambda_layer_is_refused(saved, tmp_path):
    document, network = read_parts(saved)
    evil = change_config(
        network, lambda c: c["config"]["layers"].append(EVIL_OBJECTS[0])
    )
    write_parts(tmp_path / "evil", document, evil)
    with pytest.raises(ModelFileError, match="'Lambda' is refused"):
        load_model(tmp_path / "evil")


@keras.saving.register_keras_serializable("test_saving")
class Spying(keras.initializers.Zeros):
    """A class of the user's, that no file may reach."""

    calls = 0

    def __init__(self, **parameters):
        Spying.calls += 1


def find_dense(config):
    layers = config["config"]["layers"]
    return next(item for item in layers if item["class_name"] == "Dense")["config"]


@pytest.mark.parametrize(
    "change",
    [
        {"kernel_initializer": "test_saving>Spying"},
        {"kernel_initializer": layer(None, "x", {}) | {"class_name": "Spying"}},
        {"quantization_config": {"any": ["test_saving>Spying"]}},
    ],
    ids=["text", "class", "anywhere"],
)
def test_what_the_user_has_registered_is_out_of_a_files_reach(saved, change):
    _, network = read_parts(saved)
    network = change_config(network, lambda c: find_dense(c).update(change))
    with pytest.raises(ValueError, match="Spying' isn't one of Keras' own"):
        read_network(network, [])
    assert Spying.calls == 0


def test_a_network_larger_than_its_weights_is_refused_before_it_is_built(saved):
    _, network = read_parts(saved)

    def enlarge(config):
        find_dense(config)["units"] = 10**12  # 256 terabytes
        for item in config["config"]["layers"]:
            item.pop("build_config", None)

    network = change_config(network, enlarge)
    with pytest.raises(
        ValueError, match=r"has 7\d,\d{3},.* weights, and model\.weights"
    ):
        read_network(network, [])


def link_outside(file):
    file["layers/outside"] = h5py.ExternalLink("/etc/passwd", "/")


def link_softly(file):
    file["layers/soft"] = h5py.SoftLink("/layers")


def store_outside(file):
    file.create_dataset("x", (8,), "u1", external=[("/etc/passwd", 0, 8)])


def hide_a_bomb(file):
    file.create_dataset("x", (1 << 40,), "u1", chunks=(1 << 20,), compression="gzip")


def break_weights(file):
    def break_dataset(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            item[...] = np.nan  # whose argmax would be the first class

    file.visititems(break_dataset)


@pytest.mark.parametrize(
    "change", [link_outside, link_softly, store_outside, hide_a_bomb, break_weights]
)
def test_weights_with_links_bombs_or_nans_are_refused(saved, fitted, change):
    _, network = read_parts(saved)
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(network)) as source,
        zipfile.ZipFile(target, "w") as archive,
    ):
        for name in source.namelist():
            content = io.BytesIO(source.read(name))
            if name == "model.weights.h5":
                with h5py.File(content, "r+") as file:
                    change(file)
            archive.writestr(name, content.getvalue())
    states = [np.array(state) for state in list_generators(fitted.model_)]
    with pytest.raises(ValueError, match=r"is a link, or larger than it|aren't finite"):
        read_network(target.getvalue(), states)


def test_a_keras_file_that_is_compressed_or_holds_more_is_refused(saved):
    _, network = read_parts(saved)
    for compression, extra, match in [
        (zipfile.ZIP_DEFLATED, [], "compressed"),
        (zipfile.ZIP_STORED, ["assets/evil.py"], r"must not hold.*evil\.py"),
    ]:
        target = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(network)) as source,
            zipfile.ZipFile(target, "w", compression) as archive,
        ):
            for name in source.namelist():
                archive.writestr(name, source.read(name))
            for name in extra:
                archive.writestr(name, b"1")
        with pytest.raises(ValueError, match=match):
            read_network(target.getvalue(), [])


# ---- replacing a file in one step ----------------------------------------------------

OLD, NEW = b"old" * 1000, b"new" * 2000


def make_old(folder):
    path = folder / "model"
    path.write_bytes(OLD)
    return path


def replace(path, content=NEW):
    with replace_atomically(path) as file:
        for start in range(0, len(content), 1000):
            file.write(content[start : start + 1000])


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["open", "fchmod", "fsync", "replace"])
def test_the_old_file_is_whole_when_a_step_fails(tmp_path, monkeypatch, step, error):
    path = make_old(tmp_path)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(f"{'builtins' if step == 'open' else 'os'}.{step}", fail)
        with pytest.raises(type(error)):
            replace(path)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    path, sync, calls = make_old(tmp_path), os.fsync, []

    def fail_second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_second)
    replace(path)
    assert len(calls) == 2
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("n", range(6))
def test_the_old_file_is_whole_when_the_nth_write_fails(tmp_path, n):
    path = make_old(tmp_path)

    def write_until_interrupted():
        with replace_atomically(path) as file:
            for _ in range(n):
                file.write(bytes(1000))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted()
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_the_old_file_is_whole_when_the_disk_is_full(saved, fitted, digits, tmp_path):
    path = tmp_path / "model"
    shutil.copy(saved, path)
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for share in np.linspace(0, 0.99, 20):
            limit = int(share * len(content))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(OSError, match="File too large"):
                replace(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["model"]


SAVER = """
import sys
from skimgclf._atomic import replace_atomically
assert "keras" not in sys.modules
path = sys.argv[1]
print("ready", flush=True)
for i in range(10**9):
    with replace_atomically(path) as file:
        for _ in range(50):
            file.write(bytes([i % 256]) * 20_000)
    print(i, flush=True)
"""


def kill_savers(folder, n_kills):
    """Kill savers at random moments, and return how often one had a stray file."""
    rng, path = np.random.default_rng(0), folder / "model"
    n_strays = 0
    for _ in range(n_kills):
        path.write_bytes(bytes(1_000_000))
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE
        )
        assert saver.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.03))
        saver.kill()
        printed, _ = saver.communicate()
        last = int((printed.split(b"\n")[:-1] or [b"0"])[-1])
        content = path.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1, "torn"
        # What was reported as saved isn't lost; the save after it may be there too.
        assert content[0] in (last % 256, (last + 1) % 256)
        n_strays += len(os.listdir(folder)) - 1
        replace(path)
        assert os.listdir(folder) == ["model"]
        assert path.read_bytes() == NEW
    return n_strays


def test_twenty_kills_tear_lose_and_leave_nothing(tmp_path):
    assert kill_savers(tmp_path, 20) > 0, "no kill came in the middle of a save"


@pytest.mark.slow
def test_two_hundred_kills_tear_lose_and_leave_nothing(tmp_path):
    assert kill_savers(tmp_path, 200) > 20


def test_only_strays_of_dead_processes_of_this_machine_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with replace_atomically(tmp_path / "model"):
        (mine,) = os.listdir(tmp_path)
    _, host, process, token = mine.split("-")
    assert int(process) == os.getpid()

    def stray(host, process, suffix=""):
        name = f".skimgclf-{host}-{process}-{token}{suffix}"
        (tmp_path / name).write_bytes(b"")
        return name

    stray(host, dead.pid)
    stray(host, os.getpid())  # of one with our number, before a container restarted
    kept = [
        stray(host, os.getppid()),
        stray("00000000", dead.pid),
        stray(host, dead.pid, ".mine"),
        stray(host, 10**30),
    ]
    with replace_atomically(tmp_path / "model"):
        # A second save of this process, at the same time.
        replace(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "model", "other"])


def test_links_and_permissions_of_the_old_file_stay(tmp_path):
    path = make_old(tmp_path)
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    replace(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o640
    replace(tmp_path / "fresh")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o666 & ~umask


def test_targets_that_are_no_files_are_refused(fitted, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="isn't a regular file"):
        save_model(fitted, tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save_model(fitted, tmp_path)
    with pytest.raises(FileNotFoundError):
        save_model(fitted, tmp_path / "missing" / "model")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_write_protected_file_is_not_replaced(tmp_path):
    path = make_old(tmp_path)
    path.chmod(0o400)
    with pytest.raises(PermissionError, match="write-protected"):
        replace(path)
    assert path.read_bytes() == OLD


def test_the_writer_imports_no_keras(run_python):
    printed = run_python("import sys, skimgclf._atomic; print('keras' in sys.modules)")
    assert printed == "False"
