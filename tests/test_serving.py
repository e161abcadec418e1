"""The web services of examples/serving, as the guide's page on serving shows them."""

import concurrent.futures
import importlib
import pathlib
import re
import sys

import pytest
from fastapi.testclient import TestClient

from skimgclf import export_model, load_model

FOLDER = pathlib.Path(__file__).parents[1] / "examples" / "serving"
APPS = ["app", "onnx_app"]


@pytest.fixture(autouse=True)
def _import_from_serving(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture(scope="module")
def models(digit_model, tmp_path_factory):
    """Return the path of a model for each application."""
    path = tmp_path_factory.mktemp("serving") / "digits.onnx"
    export_model(load_model(digit_model), path)
    return dict(zip(APPS, [digit_model, str(path)], strict=True))


@pytest.fixture
def uploads(digit_folder):
    """List digits as files of a form, the last of which can't be read."""
    paths = sorted(digit_folder.glob("*/*.png"))[::100]
    files = [(path.name, path.read_bytes()) for path in paths]
    return [("files", file) for file in [*files, ("page.jpg", b"<html></html>")]]


@pytest.fixture
def start(models, monkeypatch):
    """Start an application with its model."""

    def start(name):
        monkeypatch.setenv("MODEL", models[name])
        return TestClient(importlib.import_module(name).app)

    return start


@pytest.mark.parametrize("name", APPS)
def test_app_answers_in_threads_as_the_pipeline_predicts(
    name, start, uploads, digit_model
):
    def post(files):
        answer = client.post("/predict", files=files)
        assert answer.status_code == 200
        return answer.json()

    with start(name) as client, concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert client.get("/health").status_code == 200
        at_once = post(uploads)
        singly = threads.map(post, [[upload] for upload in uploads])
        singly = [answer for answers in singly for answer in answers]
    pipeline = load_model(digit_model)
    contents = [content for _, (_, content) in uploads[:-1]]
    probabilities = pipeline.predict_proba(contents)
    for answers in at_once, singly:
        *read, bad = answers
        assert [answer["file"] for answer in answers] == [f for _, (f, _) in uploads]
        assert "HTML page" in bad["error"]
        assert [answer["label"] for answer in read] == list(pipeline.predict(contents))
        assert [answer["probability"] for answer in read] == pytest.approx(
            probabilities.max(axis=1), abs=1e-5
        )


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize(("limit", "value"), [("MAX_FILES", 1), ("MAX_BYTES", 50)])
def test_app_refuses_more_than_its_limits(
    name, limit, value, start, uploads, monkeypatch
):
    with start(name) as client:
        monkeypatch.setattr(importlib.import_module(name), limit, value)
        answer = client.post("/predict", files=uploads[:2])
    assert answer.status_code == 413


@pytest.mark.parametrize("name", APPS)
def test_app_refuses_an_image_with_too_many_pixels(name, start, uploads, monkeypatch):
    monkeypatch.setattr(importlib.import_module(name), "MAX_PIXELS", 63)
    with start(name) as client:
        (answer,) = client.post("/predict", files=uploads[:1]).json()
    assert "64" in answer["error"]


def list_modules(*packages):
    """List the imported modules of packages."""
    return [name for name in sys.modules if name.partition(".")[0] in packages]


# What an application of an ONNX model can do without.
ABSENT = ["tensorflow", "keras", "scikeras", "pandas"]


def test_onnx_app_needs_neither_tensorflow_nor_keras(models, uploads, monkeypatch):
    classes = load_model(models["app"]).classes_
    # As in a process that has imported nothing yet, and where these aren't installed.
    for name in list_modules("onnx_app", "skimgclf", *ABSENT):
        monkeypatch.delitem(sys.modules, name)
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, None)
    try:
        model = importlib.import_module("onnx_app").Model(models["onnx_app"])
        assert model.predict(uploads[0][1][1])["label"] in classes
    finally:
        for name in list_modules("onnx_app", "skimgclf"):
            del sys.modules[name]


@pytest.mark.slow
def test_onnx_app_needs_neither_in_a_new_process(models, uploads, run_python):
    """Nor do the packages under it, which are imported here for the first time."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))  # as if they weren't installed
sys.path.insert(0, {str(FOLDER)!r})
from onnx_app import Model
print(Model(sys.argv[1]).predict(bytes.fromhex(sys.argv[2]))["label"])
"""
    content = uploads[0][1][1]
    label = run_python(code, models["onnx_app"], content.hex())
    assert label in load_model(models["app"]).classes_


def test_container_copies_files_that_are_there_and_runs_applications():
    text = (FOLDER / "Dockerfile").read_text("utf-8")
    copied = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
    started = re.findall(r'^CMD \["uvicorn", "(\w+):app"', text, re.MULTILINE)
    assert copied == ["onnx_app.py", "app.py"]
    assert [f"{name}.py" for name in started] == copied
    assert all((FOLDER / name).is_file() for name in copied)
