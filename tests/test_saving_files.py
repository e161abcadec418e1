"""Files that were damaged or made by hand: refused by name, and nothing runs."""

import copy
import functools
import json
import os
import pickle
import tracemalloc
import zipfile

import joblib
import keras
import numpy as np
import pytest
from saved_models import read_parts
from sklearn.pipeline import Pipeline

import skimgclf
from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    KerasImageClassifier,
    export_model,
    load_model,
    save_model,
)
from skimgclf.exceptions import InvalidParameterError, ModelFileError, ModelFileWarning
from skimgclf.models import _classifier, _fork_guard
from skimgclf.saving._file_layout import read_model_file, write_model_file
from skimgclf.saving._values import decode, encode


def fit(X, y, **parameters):
    # TensorFlow traces its training program quickly.
    small = {"hidden_layer_sizes": (4,), "optimizer": "sgd", "epochs": 1}
    return KerasImageClassifier(**small | {"random_state": 0} | parameters).fit(X, y)


@pytest.fixture(scope="module")
def fitted(digits):
    return fit(*digits, dropout=0.3)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "digits.skimgclf"
    save_model(fitted, path)
    return path


def test_the_document_says_what_is_in_the_file(saved, fitted):
    document, _ = read_parts(saved)
    assert document["format"] == 2
    assert document["date"].endswith("+00:00")
    assert set(document["versions"]) == {
        "skimgclf", "keras", "tensorflow", "scikit-learn", "numpy", "pillow"
    }  # fmt: skip
    assert document["versions"]["skimgclf"] == skimgclf.__version__
    assert set(document["steps"][0]["parameters"]) == set(fitted.get_params())
    assert decode(document["steps"][0]["learnt"]["image_shape"]) == (8, 8, 1)


def test_every_flipped_bit_is_found(saved, tmp_path):
    path, content = tmp_path / "flipped", saved.read_bytes()
    rng = np.random.default_rng(0)
    # Densely where the lengths and the checksum stand.
    places = [*range(16), *rng.integers(len(content), size=600)]
    places += [content.index(b'"sha256"') + i for i in range(80)]
    for place in map(int, places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(ModelFileError):
            read_model_file(path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_a_cut_file_is_called_damaged_with_path_and_size(saved, tmp_path, share):
    content = saved.read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
    size = f"{int(share * len(content)):,}"
    with pytest.raises(ModelFileError, match=rf"cut' \({size} bytes\) is damaged"):
        load_model(tmp_path / "cut")


def test_a_fork_is_no_fault_of_a_file(saved, monkeypatch):
    """Of a network that TensorFlow computes, it can be predicted with elsewhere."""
    monkeypatch.setattr(_fork_guard._process, "is_forked_from_user", True)
    monkeypatch.setattr(_classifier, "is_dense", lambda *_: False)
    with pytest.raises(RuntimeError, match="forked from one that had used TensorFlow"):
        load_model(saved)


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
    document, arrays = read_parts(saved)
    path = tmp_path / "other"
    write_model_file(path, {**document, "format": 3}, arrays)
    with pytest.raises(ModelFileError, match=r"has format 3.*update skimgclf"):
        load_model(path)
    older = {**document["versions"], "keras": "3.0.1"}
    write_model_file(path, {**document, "versions": older}, arrays)
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


def test_a_large_file_that_is_no_archive_is_not_read(tmp_path):
    with open(tmp_path / "film", "wb") as file:
        file.truncate(1 << 42)  # more than memory; on disk it takes nothing
    with pytest.raises(ModelFileError, match=r"\(4,398,046,511,104 bytes\) is damaged"):
        load_model(tmp_path / "film")


def make_header(text, n_bytes=0):
    """Write a safetensors file without a checksum, by hand."""
    return len(text).to_bytes(8, "little") + text + bytes(n_bytes)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (make_header(b"[" * 100_000), "JSON can't be read"),
        (make_header(b"[1]"), "is no object"),
        (make_header(b'{"a": NaN}'), "NaN is not JSON"),
        (make_header(b'{"a": 1e999}'), "1e999 is not JSON"),
        (make_header(b'{"a": 1, "a": 1}'), "'a' stands twice"),
        (make_header(b"\xff\xfe"), "JSON can't be read"),
        (make_header(b"9" * 5000), "JSON can't be read"),
        (make_header(b"{}"), "without a model of skimgclf"),
        (make_header(b'{"__metadata__": {"format": "pt"}}'), "without a model"),
        (
            make_header(b'{"__metadata__": {"model": "{}", "sha256": "0"}}'),
            "checksum is wrong",
        ),
        (
            make_header(
                b'{"__metadata__": {"model": "{}", "sha256": "0"}, "a": '
                b'{"dtype": "U8", "shape": [9], "data_offsets": [0, 9000000000]}}'
            ),
            r"should have 9,000,000,\d{3} bytes",
        ),
        ((1 << 60).to_bytes(8, "little"), "cut off"),
        (b"#!/bin/sh", "isn't a safetensors file"),
    ],
)
def test_content_that_is_no_model_is_refused(tmp_path, content, match):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ModelFileError, match=match):
        load_model(tmp_path / "file")


def classes(dtype, values):
    return {"array": [dtype, values]}


def without_decay_of(names):
    described = keras.saving.serialize_keras_object(keras.optimizers.SGD())
    return {"object": encode(described), "no_weight_decay": names}


DECAY = encode(
    keras.saving.serialize_keras_object(
        keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
    )
)
TEN = [str(i) for i in range(10)]
CHANGES = [
    (["format"], "1"),
    (["format"], True),
    (["versions"], None),
    (["versions", "keras"], 3),
    (["versions", "keras"], "3\n"),
    (["versions", "x\nAccuracy on 1000 images: 0.9990\ny"], "1"),
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
    (["steps", 0, "parameters", "optimizer"], without_decay_of("(b+)+$")),
    (["steps", 0, "parameters", "optimizer"], without_decay_of(3)),
    (["steps", 0, "parameters", "optimizer"], without_decay_of("")),
    (["steps", 0, "parameters", "optimizer"], encode({"no_weight_decay": "bias"})),
    (
        ["steps", 0, "parameters", "learning_rate"],
        {"object": DECAY, "no_weight_decay": "bias"},
    ),
    (["steps", 0, "learnt", "settings"], None),
    (["steps", 0, "learnt", "settings", "learning_rate_schedule"], "sine"),
    (["steps", 0, "learnt", "settings", "weight_decay"], -1.0),
    (["steps", 0, "learnt", "settings", "evil"], 1),
    (["steps", 0, "parameters", "architecture"], {"dict": [["code", "x"]]}),
    (["steps", 0, "parameters", "callbacks"], ["os"]),
    (["date"], None),
    (["date"], "yesterday"),
    (["date"], "2026-01-01T00:00:00" * 10_000),
    (["pipeline"], {"memory": "/tmp", "verbose": False}),
    (["pipeline"], {"transform_input": None, "verbose": False}),
    (["pipeline"], "Pipeline"),
    (["steps", 0, "learnt"], []),
    (["steps", 0, "learnt", "evil"], 1),
    (["steps", 0, "learnt", "classes"], TEN),
    (["steps", 0, "learnt", "classes"], classes("<U1", TEN[::-1])),
    (["steps", 0, "learnt", "classes"], classes("<U1", [*TEN[:9], "8"])),
    (["steps", 0, "learnt", "classes"], classes("<U1", TEN[:9])),
    (["steps", 0, "learnt", "classes"], classes("<U1", list(range(10)))),
    (["steps", 0, "learnt", "classes"], classes("|u1", [*range(9), 256])),
    (["steps", 0, "learnt", "classes"], classes("|O", [*TEN[:9], None])),
    (["steps", 0, "learnt", "classes"], classes("<M8[s]", list(range(10)))),
    (["steps", 0, "learnt", "classes"], classes("<U999999", TEN * 100)),
    (["steps", 0, "learnt", "classes"], {"array": "x"}),
    (["steps", 0, "learnt", "image_shape"], {"tuple": [8, 8]}),
    (["steps", 0, "learnt", "image_shape"], {"tuple": [4, 16, 1]}),
    (["steps", 0, "learnt", "image_shape"], {"tuple": [8, 8, -1]}),
    (["steps", 0, "learnt", "history"], 3),
    (["steps", 0, "learnt", "history"], {"dict": [["loss", [1.0]]]}),
    (["steps", 0, "learnt", "best_iter"], 0),
    (["steps", 0, "learnt", "best_iter"], 2),
    (["steps", 0, "learnt", "order"], None),
    (["steps", 0, "learnt", "order"], {"dict": [["bit_generator", "MT19937"]]}),
    (["steps", 0, "learnt", "order"], {"dict": [["bit_generator", "PCG64"]]}),
    (["steps", 0, "learnt", "feature_names"], "x"),
    (["steps", 0, "learnt", "blueprint"], None),
    (["steps", 0, "learnt", "blueprint", "architecture"], "evil"),
    (["steps", 0, "learnt", "blueprint"], {"architecture": "dense"}),
    (["steps", 0, "learnt", "network"], None),
    (["steps", 0, "learnt", "network", "format"], 1),
    (["steps", 0, "learnt", "network", "config"], "{}"),
    (["steps", 0, "learnt", "network", "dtype_policy"], "evil"),
]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        pytest.param(*change, id=f"{change[0][-1]}-{str(change[1])[:30]}")
        for change in CHANGES
    ],
)
def test_a_changed_document_is_refused(saved, tmp_path, keys, value):
    document, arrays = read_parts(saved)
    owner = document
    for key in keys[:-1]:
        owner = owner[key]
    owner[keys[-1]] = value
    write_model_file(tmp_path / "changed", document, arrays)
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
    document, arrays = read_parts(tmp_path / "changed")
    document["pipeline"][entry] = value
    write_model_file(tmp_path / "changed", document, arrays)
    with pytest.raises(ModelFileError, match=entry):
        load_model(tmp_path / "changed")


@pytest.mark.parametrize("name", ["classify", "load__image", "memory", None])
def test_names_of_steps_that_no_pipeline_can_have_are_refused(saved, tmp_path, name):
    pipeline = Pipeline([("load", ImageLoader()), ("classify", load_model(saved))])
    save_model(pipeline, tmp_path / "changed")
    document, arrays = read_parts(tmp_path / "changed")
    document["steps"][0]["name"] = name
    write_model_file(tmp_path / "changed", document, arrays)
    with pytest.raises(ModelFileError, match="values that save_model doesn't write"):
        load_model(tmp_path / "changed")


def test_targets_that_are_no_files_are_refused(fitted, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="isn't a regular file"):
        save_model(fitted, tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save_model(fitted, tmp_path)
    with pytest.raises(FileNotFoundError):
        save_model(fitted, tmp_path / "missing" / "model")


@pytest.mark.parametrize("name", ["architecture", "weights"])
def test_no_file_that_the_network_was_built_from_is_replaced(
    fitted, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    source, old = tmp_path / "net.keras", b"what the network was built from"
    source.write_bytes(old)
    os.link(source, "link")
    os.link(source, "new.json")
    model = copy.copy(fitted).set_params(**{name: str(source)})
    pipeline = Pipeline([("load", ImageLoader()), ("classify", model)])
    for write, path in [
        (save_model, source),
        (save_model, "link"),
        (functools.partial(export_model, format="keras"), "net.keras"),
        (functools.partial(export_model, format="keras"), "new"),
    ]:
        with pytest.raises(InvalidParameterError, match="was built from"):
            write(pipeline, path)
    assert sorted(os.listdir()) == ["link", "net.keras", "new.json"]
    assert source.read_bytes() == old


@pytest.mark.parametrize("name", ["load", "embed"])
@pytest.mark.parametrize("spelling", ["{0}", "~", ".", "{0}/link", "{0}/link/.."])
def test_no_cache_of_a_step_is_replaced(fitted, tmp_path, monkeypatch, name, spelling):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path if spelling == "{0}/link" else "deeper")
    (tmp_path / "deeper").mkdir()
    steps = {"load": ImageLoader(), "embed": ImageEmbedder(), "classify": fitted}
    pipeline = Pipeline(list(steps.items()))
    pipeline.set_params(**{f"{name}__cache": spelling.format(tmp_path)})
    path = tmp_path / "images-1.sqlite"
    path.write_bytes(b"old")
    for write in (save_model, export_model):
        with pytest.raises(InvalidParameterError, match="a cache of the model"):
            write(pipeline, path)
    assert path.read_bytes() == b"old"


def test_a_file_with_the_name_of_an_architecture_is_replaced(
    fitted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        save_model(fitted, "dense")
    assert load_model("dense").architecture == "dense"


def change_learnt(saved, path, change):
    """Rewrite the blueprint and the arrays of a file."""
    document, arrays = read_parts(saved)
    learnt = document["steps"][-1]["learnt"]
    change(learnt, arrays)
    write_model_file(path, document, arrays)


def set_size(name, value):
    def change(learnt, arrays):
        learnt["blueprint"]["parameters"][name] = encode(value)

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_size("hidden_layer_sizes", (10**9,)), r"75,000,\d{3},\d{3} weights"),
        (set_size("hidden_layer_sizes", (2,) * 1000), "1,000 layers"),
        (set_size("hidden_layer_sizes", None), "weights"),
    ],
    ids=["units", "layers", "none"],
)
def test_a_network_larger_than_its_file_is_refused_before_it_is_built(
    saved, tmp_path, change, match
):
    change_learnt(saved, tmp_path / "changed", change)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=match):
            load_model(tmp_path / "changed")
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def change_cnn(parameter, value):
    def change(learnt, arrays):
        learnt["blueprint"]["architecture"] = "cnn"
        learnt["blueprint"]["parameters"][parameter] = encode(value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        change_cnn("conv_filters", (10**9, 1)),
        change_cnn("kernel_size", (10**6, 10**6)),
        change_cnn("batch_norm", True),
    ],
    ids=["filters", "kernel", "norm"],
)
def test_a_convolutional_network_larger_than_its_file_is_refused(
    saved, tmp_path, change
):
    change_learnt(saved, tmp_path / "changed", change)
    with pytest.raises(ModelFileError, match=r"weights, and the file [\d,]+ numbers"):
        load_model(tmp_path / "changed")


def test_the_classes_of_a_file_decide_on_no_memory(saved, tmp_path):
    def change(learnt, arrays):
        learnt["image_shape"] = learnt["blueprint"]["image_shape"] = encode((10**9,))

    change_learnt(saved, tmp_path / "changed", change)
    with pytest.raises(ModelFileError, match=r"4,000,\d{3},\d{3} weights"):
        load_model(tmp_path / "changed")


def drop_array(learnt, arrays):
    del arrays["network/1"]


def transpose_array(learnt, arrays):
    arrays["network/0"] = arrays["network/0"].T


def narrow_array(learnt, arrays):
    arrays["network/0"] = arrays["network/0"].astype("float16")


def add_array(learnt, arrays):
    arrays["network/99"] = np.zeros(3, "float32")


def break_array(learnt, arrays):
    arrays["network/0"] = np.full_like(arrays["network/0"], np.nan)


@pytest.mark.parametrize(
    "change", [drop_array, transpose_array, narrow_array, add_array, break_array]
)
def test_arrays_that_do_not_fit_the_network_are_refused(saved, tmp_path, change):
    change_learnt(saved, tmp_path / "changed", change)
    with pytest.raises(ModelFileError, match=r"don't fit|aren't finite|numbers"):
        load_model(tmp_path / "changed")


def test_a_transposed_array_is_stored_as_it_reads(tmp_path):
    """Safetensors' functions for NumPy store memory, whatever its order."""
    array = np.arange(6, dtype="float32").reshape(2, 3).T
    write_model_file(tmp_path / "file", {}, {"a": array, "b": np.asfortranarray(array)})
    _, arrays, _ = read_model_file(tmp_path / "file")
    for name in "ab":
        np.testing.assert_array_equal(arrays[name], array)


def flatten_twice(image_shape):
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten()])


@pytest.fixture(scope="module")
def built_by_a_function(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "function.skimgclf"
    save_model(fit(*digits, architecture=flatten_twice), path)
    return path


def test_a_network_of_a_function_needs_trust(built_by_a_function):
    with pytest.raises(ModelFileError, match=r"flatten_twice.*trusted=True"):
        load_model(built_by_a_function)
    with pytest.raises(InvalidParameterError, match=r"'trusted'.*load_model"):
        load_model(built_by_a_function, trusted="yes")
    assert load_model(built_by_a_function, trusted=True).classes_.shape == (10,)


@pytest.mark.parametrize(
    "evil",
    [
        {"module": "keras.layers", "class_name": "Lambda"},
        {"module": "os", "class_name": "system"},
        {"module": "keras.utils", "class_name": "get_file"},
        {"module": "builtins", "class_name": "exec"},
    ],
    ids=lambda evil: evil["class_name"],
)
def test_a_network_with_code_is_refused_although_trusted(
    built_by_a_function, tmp_path, evil
):
    def change(learnt, arrays):
        config = json.loads(learnt["network"]["config"])
        config["config"]["layers"].append(
            {**evil, "config": {"name": "x", "function": "x"}, "registered_name": None}
        )
        learnt["network"]["config"] = json.dumps(config)

    change_learnt(built_by_a_function, tmp_path / "evil", change)
    with pytest.raises(ModelFileError, match="values that save_model doesn't write"):
        load_model(tmp_path / "evil", trusted=True)


def test_a_file_of_the_earlier_form_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "old", "w") as archive:
        archive.writestr("model.json", "{}")
        archive.writestr("network.keras", b"")
    with pytest.raises(ModelFileError, match="saved by an earlier version"):
        load_model(tmp_path / "old")
