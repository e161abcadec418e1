"""predict_frame: what is in the table, and which pipelines it takes."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skimgclf import ImageLoader, KerasImageClassifier, predict_frame, prediction
from skimgclf.exceptions import ImageLoadError, InvalidParameterError

N_IMAGES = 30


def make_loader(**parameters):
    return ImageLoader(image_size=(8, 8), flatten=True, **parameters)


@pytest.fixture(scope="module")
def paths(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    names = [os.fspath(folder / f"{row:03}.png") for row in range(N_IMAGES)]
    for name, image in zip(names, digits[0], strict=False):
        Image.fromarray((image[..., 0] * 255).astype("uint8")).save(name)
    return names


@pytest.fixture(scope="module")
def pipeline(paths, digits):
    pipeline = make_pipeline(make_loader(), StandardScaler(), LogisticRegression())
    return pipeline.fit(paths, digits[1][:N_IMAGES])


@pytest.fixture
def bad_paths(paths, tmp_path):
    """Ten paths; of the rows 2, 5 and 9 nothing can be read."""
    given = paths[:10]
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(pathlib.Path(paths[5]).read_bytes()[:60])
    given[2] = os.fspath(tmp_path / "empty.png")
    given[5] = os.fspath(tmp_path / "cut.png")
    given[9] = os.fspath(tmp_path / "missing.png")
    return given


def test_predict_frame_gives_a_row_an_image_in_order(pipeline, paths):
    given = paths[::-1]
    frame = predict_frame(pipeline, given)
    assert list(frame.columns) == ["path", "label", "probability", "reason"]
    assert frame["path"].tolist() == given
    assert frame["label"].tolist() == pipeline.predict(given).tolist()
    np.testing.assert_allclose(
        frame["probability"], pipeline.predict_proba(given).max(axis=1)
    )
    assert frame["reason"].isna().all()
    assert frame.index.equals(pd.RangeIndex(N_IMAGES))


def test_predict_frame_takes_a_network(paths, digits):
    pipeline = make_pipeline(
        ImageLoader(image_size=(8, 8)),
        KerasImageClassifier(hidden_layer_sizes=(), epochs=1, random_state=0),
    ).fit(paths, digits[1][:N_IMAGES])
    frame = predict_frame(pipeline, paths)
    assert frame["label"].tolist() == pipeline.predict(paths).tolist()
    assert frame["probability"].tolist() == pytest.approx(
        pipeline.predict_proba(paths).max(axis=1)
    )


@pytest.mark.parametrize("wrap", [list, tuple, np.array, pd.Series, pd.DataFrame])
def test_predict_frame_takes_what_the_loader_takes(pipeline, paths, wrap):
    frame = predict_frame(pipeline, wrap(paths[:3]))
    assert frame["path"].tolist() == paths[:3]


def test_predict_frame_names_what_has_no_path(pipeline, paths):
    cells = [pathlib.Path(paths[0]), pathlib.Path(paths[1]).read_bytes()]
    frame = predict_frame(pipeline, cells)
    assert frame["path"][0] == paths[0]
    assert frame["path"][1].endswith(" bytes>")
    expected = predict_frame(pipeline, paths[:2])
    assert frame["probability"].equals(expected["probability"])


def test_predict_frame_top_k_ranks_classes(pipeline, paths):
    frame = predict_frame(pipeline, paths[:4], top_k=3)
    assert list(frame.columns) == ["path", "label", "probability", "rank", "reason"]
    assert frame["path"].tolist() == np.repeat(paths[:4], 3).tolist()
    assert frame["rank"].tolist() == [1, 2, 3] * 4
    probabilities = pipeline.predict_proba(paths[:4])
    np.testing.assert_allclose(
        frame["probability"].to_numpy().reshape(4, 3),
        np.sort(probabilities)[:, :-4:-1],
    )
    codes = np.argsort(probabilities)[:, :-4:-1]
    assert frame["label"].tolist() == pipeline.classes_[codes].ravel().tolist()
    first = frame[frame["rank"] == 1].drop(columns="rank").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, predict_frame(pipeline, paths[:4]))


def test_predict_frame_top_k_of_all_classes_sums_to_one(pipeline, paths):
    frame = predict_frame(pipeline, paths[:4], top_k=10)
    sums = frame.groupby("path")["probability"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-6)  # of float32


def test_predict_frame_of_equal_probabilities_answers_like_predict(paths):
    labels = ["b", "a"] * (N_IMAGES // 2)
    pipeline = make_pipeline(make_loader(), DummyClassifier(strategy="prior"))
    pipeline.fit(paths, labels)
    assert predict_frame(pipeline, paths[:1], top_k=2)["label"].tolist() == ["a", "b"]


@pytest.mark.parametrize("labels", [[3, 7], [True, False], [1.5, -1.0]])
def test_predict_frame_keeps_labels_as_they_are(paths, labels):
    pipeline = make_pipeline(make_loader(), DummyClassifier(strategy="prior"))
    pipeline.fit(paths[:3], [labels[0], labels[0], labels[1]])
    label = predict_frame(pipeline, paths[:1])["label"][0]
    assert label == labels[0]
    assert type(label) is type(labels[0])


@pytest.mark.parametrize("n_at_once", [1, 3, 256])
@pytest.mark.parametrize("loader_does", ["raise", "fill"])
def test_predict_frame_fill_leaves_the_other_rows_as_they_are(
    pipeline, paths, bad_paths, monkeypatch, n_at_once, loader_does
):
    monkeypatch.setattr(prediction, "_N_AT_ONCE", n_at_once)
    pipeline = make_pipeline(make_loader(on_error=loader_does), *pipeline[1:])
    frame = predict_frame(pipeline, bad_paths, on_error="fill")
    assert frame["path"].tolist() == bad_paths
    bad = [2, 5, 9]
    assert frame["label"][bad].tolist() == [None] * 3
    assert frame["probability"][bad].isna().all()
    assert frame["reason"][2] == "the file is empty"
    assert frame["reason"][9] == "there is no such file"
    good = [row for row in range(10) if row not in bad]
    expected = predict_frame(pipeline, paths[:10])
    pd.testing.assert_frame_equal(frame.loc[good], expected.loc[good])


def test_predict_frame_fill_gives_a_bad_image_one_row_of_rank_1(pipeline, bad_paths):
    frame = predict_frame(pipeline, bad_paths, on_error="fill", top_k=4)
    assert len(frame) == 7 * 4 + 3
    assert frame.loc[frame["rank"] == 1, "path"].tolist() == bad_paths
    assert frame.loc[frame["label"].isna(), "rank"].tolist() == [1, 1, 1]


def test_predict_frame_fill_works_where_no_image_can_be_read(pipeline, tmp_path):
    missing = [os.fspath(tmp_path / name) for name in "ab"]
    frame = predict_frame(pipeline, missing, on_error="fill")
    assert frame["label"].tolist() == [None, None]


@pytest.mark.parametrize("n_at_once", [1, 3, 256])
@pytest.mark.parametrize("loader_does", ["raise", "fill"])
def test_predict_frame_raise_lists_all_bad_images(
    pipeline, bad_paths, monkeypatch, n_at_once, loader_does
):
    monkeypatch.setattr(prediction, "_N_AT_ONCE", n_at_once)
    pipeline = make_pipeline(make_loader(on_error=loader_does), *pipeline[1:])
    with pytest.raises(ImageLoadError) as caught:
        predict_frame(pipeline, bad_paths)
    assert [(row, path) for row, path, _ in caught.value.errors] == [
        (row, bad_paths[row]) for row in (2, 5, 9)
    ]


def test_predict_frame_leaves_the_pipeline_as_it_is(pipeline, bad_paths):
    before = {name: repr(value) for name, value in pipeline.get_params().items()}
    predict_frame(pipeline, bad_paths, on_error="fill")
    after = {name: repr(value) for name, value in pipeline.get_params().items()}
    assert after == before


def test_predict_frame_shows_one_bar_if_the_loader_is_verbose(pipeline, paths, capsys):
    predict_frame(pipeline, paths)
    assert capsys.readouterr().err == ""
    verbose = make_pipeline(make_loader(verbose=1), *pipeline[1:])
    predict_frame(verbose, paths)
    printed = capsys.readouterr().err
    assert "Predicting" in printed
    assert "Loading" not in printed


@pytest.mark.parametrize("top_k", [0, -1, 1.0, "2", None, True, 11])
def test_predict_frame_refuses_a_wrong_top_k(pipeline, paths, top_k):
    with pytest.raises(InvalidParameterError, match="The 'top_k' parameter of predict"):
        predict_frame(pipeline, paths, top_k=top_k)


@pytest.mark.parametrize("on_error", ["ignore", None, True])
def test_predict_frame_refuses_a_wrong_on_error(pipeline, paths, on_error):
    with pytest.raises(InvalidParameterError, match="The 'on_error' parameter"):
        predict_frame(pipeline, paths, on_error=on_error)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (None, "Got a NoneType instead"),
        (LogisticRegression(), "Got a LogisticRegression instead"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "is 'StandardScaler'"),
        (make_pipeline("passthrough", LogisticRegression()), "is 'passthrough'"),
        (make_pipeline(make_loader()), "has no classifier after it"),
        (make_pipeline(make_loader(), LinearSVC()), "CalibratedClassifierCV"),
        (make_pipeline(make_loader(), StandardScaler()), "with predict_proba"),
    ],
)
def test_predict_frame_refuses_other_pipelines_in_a_sentence(paths, wrong, sentence):
    with pytest.raises(InvalidParameterError, match=sentence) as caught:
        predict_frame(wrong, paths)
    assert "\n" not in str(caught.value)


def test_predict_frame_of_a_search_asks_for_its_best_estimator(pipeline, paths, digits):
    search = GridSearchCV(
        make_pipeline(make_loader(), DummyClassifier()),
        {"dummyclassifier__strategy": ["prior"]},
        cv=2,
    ).fit(paths[:4], ["a", "b"] * 2)
    with pytest.raises(InvalidParameterError, match="best_estimator_"):
        predict_frame(search, paths)
    assert len(predict_frame(search.best_estimator_, paths)) == N_IMAGES


def test_predict_frame_refuses_a_pipeline_that_is_not_fitted(paths):
    with pytest.raises(NotFittedError):
        predict_frame(make_pipeline(make_loader(), LogisticRegression()), paths)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [([], "at least one image. Got an empty list"), ("a.png", "wrap the single one")],
)
def test_predict_frame_refuses_what_is_no_list_of_images(pipeline, given, sentence):
    with pytest.raises(InvalidParameterError, match=sentence):
        predict_frame(pipeline, given)
