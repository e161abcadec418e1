"""Saved models come back bit for bit, or are refused by name."""

import json
import os
import pickle

import keras
import numpy as np
import pytest
from PIL import Image
from saved_models import read_parts, save_and_load
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from skimgclf import ImageLoader, KerasImageClassifier, load_model, save_model
from skimgclf.exceptions import InvalidParameterError, ModelFileError
from skimgclf.models import build_dense
from skimgclf.saving._file_layout import write_model_file
from skimgclf.saving._values import decode, encode

# Its training program is traced quickly.
SMALL = {"hidden_layer_sizes": (), "optimizer": "sgd", "epochs": 1, "random_state": 0}


# Dropout draws from a generator, and Adam learns numbers of its own.
STATEFUL = {"hidden_layer_sizes": (4,), "dropout": 0.3, "optimizer": "adam"}


def fit(X, y, **parameters):
    return KerasImageClassifier(**SMALL | parameters).fit(X, y)


@pytest.fixture(scope="module")
def epoch_by_epoch(digits):
    """Train for one epoch and for two; the second fit shares the program of both."""
    return [fit(*digits, **STATEFUL, epochs=n_epochs) for n_epochs in (1, 2)]


@pytest.fixture(scope="module")
def fitted(epoch_by_epoch):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    return epoch_by_epoch[0]


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


def narrow(image_shape, dropout):
    return build_dense(image_shape, hidden_layer_sizes=(5,), dropout=dropout)


OF_FUNCTION = {
    "architecture": narrow,
    "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
}


@pytest.fixture(scope="module")
def fitted_of_function(digits):
    """Careful: shared by the module; don't fit it again or set its parameters."""
    return fit(*digits, **OF_FUNCTION)


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "dropout": 0.3,
            "hidden_layer_sizes": (4,),
            "batch_norm": True,
            "class_weight": {"3": 2.0},
            "learning_rate": np.float32(0.01),
            "optimizer": keras.optimizers.SGD,
        },
        {"architecture": "cnn", "conv_filters": [2], "batch_norm": True},
        OF_FUNCTION,
        {
            "learning_rate": keras.optimizers.schedules.CosineDecay(0.01, 100),
            "verbose": False,
        },
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_a_loaded_classifier_is_the_same(
    digits, fitted_of_function, tmp_path, parameters
):
    is_built_by_function = parameters is OF_FUNCTION
    classifier = (
        fitted_of_function if is_built_by_function else fit(*digits, **parameters)
    )
    loaded = save_and_load(classifier, tmp_path, trusted=is_built_by_function)
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
        {
            **{"dtype": "uint8", "color_mode": "rgb", "background": (1, 2, 3)},
            "image_size": [np.int64(8), 9],
        },
        {"flatten": True, "image_size": [np.int64(8), 9]},
    ],
    ids=["uint8", "flatten"],
)
def test_a_pipeline_keeps_its_steps(paths, digits, tmp_path, options):
    pipeline = Pipeline(
        [
            ("load", ImageLoader(**options)),
            ("nothing", "passthrough"),
            ("classify", KerasImageClassifier(**SMALL)),
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
    classifier = KerasImageClassifier(**SMALL)
    pipeline = make_pipeline(loader, classifier).fit(paths, digits[1][:40])
    loaded = save_and_load(pipeline, tmp_path)
    expected = {**loader.get_params(), "storage_options": None}
    assert loaded["imageloader"].get_params() == expected
    document, arrays = read_parts(tmp_path / "saved")
    assert "hush" not in json.dumps(document)
    document["steps"][0]["parameters"]["storage_options"] = encode({"proxy": "evil"})
    write_model_file(tmp_path / "saved", document, arrays)
    with pytest.raises(ModelFileError, match="brings options for opening URLs"):
        load_model(tmp_path / "saved")


def test_a_cache_stays_where_it_is(paths, digits, tmp_path):
    loader = ImageLoader(cache=tmp_path / "kept", cache_limit=10**6)
    classifier = KerasImageClassifier(**SMALL)
    pipeline = make_pipeline(loader, classifier).fit(paths, digits[1][:40])
    loaded = save_and_load(pipeline, tmp_path)
    expected = {**loader.get_params(), "cache": None}
    assert loaded["imageloader"].get_params() == expected
    document, arrays = read_parts(tmp_path / "saved")
    assert os.fspath(tmp_path) not in json.dumps(document)
    document["steps"][0]["parameters"]["cache"] = os.fspath(tmp_path / "evil")
    write_model_file(tmp_path / "saved", document, arrays)
    with pytest.raises(ModelFileError, match="names a folder of this machine"):
        load_model(tmp_path / "saved")
    assert not (tmp_path / "evil").exists()


# In the same process, `test_a_loaded_classifier_is_the_same` and others compare them.
@pytest.mark.slow
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


def test_training_goes_on_as_if_it_had_not_been_saved(
    digits, saved, epoch_by_epoch, tmp_path
):
    once, twice = epoch_by_epoch
    loaded = save_and_load(once, tmp_path, include_optimizer=True)
    assert saved.stat().st_size < (tmp_path / "saved").stat().st_size
    np.testing.assert_array_equal(
        loaded.partial_fit(*digits).predict_proba(digits[0]),
        twice.predict_proba(digits[0]),
    )


@pytest.mark.slow
def test_training_goes_on_with_the_schedule_of_the_learning_rate(digits, tmp_path):
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    classifier = fit(*digits, optimizer=keras.optimizers.SGD(decay))
    loaded = save_and_load(classifier, tmp_path, include_optimizer=True)
    np.testing.assert_array_equal(
        loaded.partial_fit(*digits).predict_proba(digits[0]),
        classifier.partial_fit(*digits).predict_proba(digits[0]),
    )


def test_a_loaded_classifier_can_be_pickled_saved_and_trained(digits, saved, tmp_path):
    loaded = load_model(saved)
    again = pickle.loads(pickle.dumps(save_and_load(loaded, tmp_path)))
    np.testing.assert_array_equal(
        again.predict_proba(digits[0]), loaded.predict_proba(digits[0])
    )
    with pytest.raises(InvalidParameterError, match="has no optimizer"):
        save_model(loaded, tmp_path / "saved", include_optimizer=True)
    assert loaded.partial_fit(*digits).n_iter_ == 2


def test_of_a_callable_architecture_the_name_is_kept(
    digits, fitted_of_function, tmp_path
):
    loaded = save_and_load(fitted_of_function, tmp_path, trusted=True)
    assert repr(loaded.architecture).endswith("test_saving.narrow, not saved>")
    assert loaded.partial_fit(*digits).n_iter_ == 2
    with pytest.raises(ValueError, match=r"narrow.*isn't in the file.*set_params"):
        loaded.fit(*digits)
    again = pickle.loads(pickle.dumps(save_and_load(loaded, tmp_path, trusted=True)))
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
    "make_layer",
    [
        lambda: keras.layers.Lambda(lambda x: x * 2),
        pytest.param(
            lambda: keras.layers.Dense(3, activation=lambda x: x * 2),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["Lambda", "function"],
)
def test_a_network_with_code_is_refused_by_name(digits, tmp_path, make_layer):
    classifier = fit(*digits, architecture=with_layer(make_layer))
    with pytest.raises(InvalidParameterError, match=r"(?s)can't be saved.*[lL]ambda"):
        save_model(classifier, tmp_path / "saved")
    assert os.listdir(tmp_path) == []


def test_a_registered_layer_of_a_function_is_kept(digits, tmp_path):
    classifier = fit(*digits, architecture=with_layer(Doubled))
    loaded = save_and_load(classifier, tmp_path, trusted=True)
    np.testing.assert_array_equal(
        loaded.predict_proba(digits[0]), classifier.predict_proba(digits[0])
    )


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
        (make_pipeline(MinMaxScaler(), fitted), "'minmaxscaler' is a MinMaxScaler"),
        (make_pipeline(ImageLoader(), SVC()), "'svc', is a SVC"),
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


def test_a_loaded_model_starts_no_more_threads_than_there_are_processors(
    fitted, tmp_path
):
    for n_jobs, expected in [(10**9, os.cpu_count()), (1, 1), (-1, -1), (None, None)]:
        loader = ImageLoader(n_jobs=n_jobs)
        pipeline = Pipeline([("load", loader), ("classify", fitted)])
        save_model(pipeline, tmp_path / "model")
        assert load_model(tmp_path / "model")[0].n_jobs == expected
        X, y = np.eye(4), [0, 1, 0, 1]
        regression = LogisticRegression().fit(X, y).set_params(n_jobs=n_jobs)
        save_model(make_pipeline(ImageLoader(), regression), tmp_path / "model")
        assert load_model(tmp_path / "model")[-1].n_jobs == expected
