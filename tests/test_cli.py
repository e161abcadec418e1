"""The command skimgclf: what it prints and writes, its exit codes and sentences."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils import Bunch

import skimgclf
from skimgclf import (
    ImageLoader,
    KerasImageClassifier,
    _commands,
    cli,
    load_model,
    save_model,
)
from skimgclf._arguments import EXAMPLES, make_parser
from skimgclf._report import escape_cell, write_csv
from skimgclf.datasets import load_digit_images

README = pathlib.Path(__file__).parent.parent / "README.md"
N_TRAIN = 150
SMALL = ["--image-size", "8x8", "--hidden-layer-sizes", "4", "--epochs", "2"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Write the digits as files, with tables of a part of them."""
    folder = tmp_path_factory.mktemp("images")
    data = load_digit_images(folder)
    data.frame[:N_TRAIN].to_csv(f"{data.root}/train.csv", index=False)
    data.frame[["id"]][N_TRAIN:160].to_csv(f"{data.root}/test.csv", index=False)
    return pathlib.Path(data.root)


@pytest.fixture(scope="module")
def model(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits.model"
    arguments = ["fit", f"{images}/train.csv", *SMALL, "--output", f"{path}"]
    assert cli.main(arguments) == 0
    return os.fspath(path)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Each test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command in this process; return its code, stdout and stderr."""

    def run(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def start(*arguments, options=(), **settings):
    """Start the command in a new process."""
    return subprocess.Popen(
        [sys.executable, *options, "-m", "skimgclf", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it starts in the background ignore Ctrl-C, and so on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **settings,
    )


def test_help_and_version_are_of_every_command(run):
    assert run("--version") == (0, f"skimgclf {skimgclf.__version__}\n", "")
    for command in [[], ["fit"], ["predict"], ["evaluate"], ["check"], ["info"]]:
        code, out, err = run(*command, "--help")
        assert (code, err) == (0, "")
        assert f"example:\n  {' '.join(['skimgclf', *command])}" in out
        assert "exit codes:" in out


def test_examples_of_the_help_are_typed_rightly():
    for command, example in EXAMPLES.items():
        options = make_parser().parse_args(example.split()[1:])
        assert options.command == command


# ---- fit and info --------------------------------------------------------------------


def test_fit_prints_the_split_the_epochs_and_the_scores(run, images):
    code, out, err = run("fit", f"{images}/train.csv", *SMALL, "--output", "m")
    assert (code, err) == (0, "")
    assert out.startswith("150 images of 10 classes: 120 to train on, 30 to test with")
    assert re.findall(r"^Epoch (\d)/2: ", out, re.MULTILINE) == ["1", "2"]
    assert "precision    recall" in out
    assert re.search(r"^Accuracy on 30 images: [01]\.\d{4}$", out, re.MULTILINE)
    assert out.endswith("Saved as m\n")
    assert os.listdir() == ["m"]


def test_fit_saves_what_it_was_asked_for(run, images):
    code, out, _ = run(
        *("fit", f"{images}/train.csv", "--output", "m", "--image-size", "6x4"),
        *("--color-mode", "rgb"),
        *("--architecture", "cnn", "--hidden-layer-sizes", "5,4", "--epochs", "1"),
        *("--seed", "3", "--class-weight", "balanced", "--test-size", "0.2"),
        *("--validation-fraction", "0.25"),
    )
    assert code == 0
    assert "120 to train on, 30 to test with" in out
    assert "val_loss" in out
    loader, classifier = (step for _, step in load_model("m").steps)
    assert (
        loader.get_params()
        == ImageLoader(image_size=(6, 4), color_mode="rgb").get_params()
    )
    expected = KerasImageClassifier(
        "cnn",
        hidden_layer_sizes=(5, 4),
        epochs=1,
        class_weight="balanced",
        early_stopping=True,
        validation_fraction=0.25,
        random_state=3,
    )
    assert classifier.get_params() == expected.get_params()


def test_fit_defaults_are_those_of_the_package():
    options = make_parser().parse_args(["fit", "x", "--output", "m"])
    steps = _commands._make_pipeline(options).named_steps
    classifier = steps["classify"].set_params(random_state=None, verbose=0)
    assert classifier.get_params() == KerasImageClassifier().get_params()
    loader = clone(steps["load"]).set_params(verbose=0)
    assert loader.get_params() == ImageLoader().get_params()


def test_fit_of_a_seed_is_repeatable(run, images, model):
    arguments = ["fit", f"{images}/train.csv", *SMALL, "--output"]
    assert run(*arguments, "again")[0] == run(*arguments, "b", "--seed", "1")[0] == 0
    first, again, other = (
        load_model(path)[-1].model_.get_weights() for path in (model, "again", "b")
    )
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_fit_without_a_test_set_trains_on_all(run, images):
    code, out, _ = run(
        *("fit", f"{images}/train.csv", *SMALL, "--output", "m", "--test-size", 0)
    )
    assert code == 0
    assert "150 to train on, 0 to test with" in out
    assert "Accuracy on" not in out


def test_fit_keeps_copies_on_one_side():
    groups = np.array([*"abcdefgh", *"abcdefgh"], dtype=object)
    target = np.array(["x", "y"] * 8, dtype=object)
    data = Bunch(filenames=groups, groups=groups, target=target)
    train, test = _commands._split(data, 0.25, 0)
    assert not set(groups[train]) & set(groups[test])
    assert sorted([*train, *test]) == list(range(16))
    assert sorted(target[test]) == ["x", "x", "y", "y"]


def test_progress_is_shown_on_a_terminal_and_not_saved(run, images, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, err = run("fit", f"{images}/train.csv", *SMALL, "--output", "m")
    assert code == 0
    assert "Checking: 100%" in err
    assert "Loading: 100%" in err
    assert "Predicting: 100%" in err
    assert [step.verbose for _, step in load_model("m").steps] == [0, 0]


def test_info_says_what_a_model_is(run, model):
    code, out, err = run("info", model)
    assert (code, err) == (0, "")
    assert "ImageLoader(image_size=(8, 8))" in out
    assert "10 classes: '0', '1'" in out
    assert "image shape: 8 x 8 x 1" in out
    assert f"weights: {64 * 4 + 4 + 4 * 10 + 10}" in out
    assert "trained: 2 epochs" in out


# ---- predict -------------------------------------------------------------------------


def test_predict_writes_ids_of_a_table_in_their_order(run, images, model):
    table = f"{images}/test.csv"
    assert run("predict", model, "--csv", table, "--output", "p.csv") == (0, "", "")
    written = pd.read_csv("p.csv", dtype=str)
    assert list(written.columns) == ["id", "label", "probability"]
    ids = pd.read_csv(table, dtype=str)["id"]
    assert written["id"].tolist() == ids.tolist()
    expected = skimgclf.predict_frame(load_model(model), list(f"{images}/" + ids))
    assert written["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(
        written["probability"].astype(float), expected["probability"], rtol=1e-5
    )


def test_predict_takes_options_of_a_table(run, images, model):
    pathlib.Path("t.tsv").write_text("label\tmore\n0/digit_0000\tx\n")
    arguments = ["--csv", "t.tsv", "--sep", "tab", "--id-column", "label"]
    code, out, _ = run("predict", model, *arguments, "--image-dir", images)
    assert code == 0
    assert out.startswith("label,label,probability\n0/digit_0000,")


def test_a_table_may_have_another_encoding(run, images, model):
    shutil.copy(images / "1" / "digit_0001.png", "é.png")
    pathlib.Path("t.csv").write_bytes("id,label\né,1\n".encode("cp1252"))
    code, _, err = run("predict", model, "--csv", "t.csv")
    assert code == 1
    assert "encoding='cp1252'" in err
    code, out, _ = run("predict", model, "--csv", "t.csv", "--encoding", "cp1252")
    assert code == 0
    assert out.startswith("id,label,probability\né,")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_classifier_without_a_loader_is_refused(run, images, model, command):
    save_model(load_model(model)[-1], "bare")
    rows = "1/digit_0001,1\n2/digit_0002,2\n"
    pathlib.Path("t.csv").write_text(f"id,label\n{rows}")
    table = ["t.csv", "--image-dir", images]
    code, _, err = run(command, "bare", *(["--csv"] * (command == "predict")), *table)
    assert code == 1
    assert err == (
        "skimgclf: error: The model 'bare' was saved without an ImageLoader in front, "
        "so it can't read images: save the whole pipeline.\n"
    )


def test_info_escapes_what_a_terminal_would_obey(run, model):
    pipeline = load_model(model)
    pipeline.steps[0] = ("\x1b[2J", pipeline.steps[0][1])
    save_model(pipeline, "odd")
    code, out, _ = run("info", "odd")
    assert code == 0
    assert "\x1b" not in out
    assert "'\\x1b[2J': ImageLoader" in out


def test_predict_prints_paths_as_given(run, images, model, monkeypatch):
    monkeypatch.chdir(images)
    given = ["./7/digit_0007.png", "1/../1/digit_0001.png", "7/digit_0007.png"]
    code, out, err = run("predict", model, *given)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "path,label,probability"
    assert [line.split(",")[0] for line in lines[1:]] == given


def test_predict_top_k_gives_rows_with_a_rank(run, images, model):
    table = f"{images}/test.csv"
    code, out, _ = run("predict", model, "--csv", table, "--top-k", 3)
    lines = [line.split(",") for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["id", "label", "probability", "rank"]
    ids = pd.read_csv(table, dtype=str)["id"]
    assert [line[0] for line in lines[1:]] == np.repeat(ids, 3).tolist()
    assert [line[3] for line in lines[1:]] == ["1", "2", "3"] * 10


@pytest.mark.parametrize(
    "arguments",
    [
        "MODEL --top-k 2 A B",
        "MODEL A --top-k 2 B",
        "--top-k 2 MODEL A B",
        "MODEL A B --top-k 2",
        "MODEL --top-k 2 -- A B",
        "--top-k 2 -- MODEL A B",
    ],
)
def test_predict_takes_options_anywhere(run, images, model, arguments):
    names = {"MODEL": model, "A": images / "1/digit_0001.png"}
    names["B"] = images / "2/digit_0002.png"
    code, out, err = run("predict", *(names.get(a, a) for a in arguments.split()))
    assert (code, err) == (0, "")
    paths = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert paths == [str(names[name]) for name in "AABB"]


@pytest.mark.parametrize("top_k", [1, 2])
def test_predict_fill_leaves_a_bad_image_without_a_label(run, images, model, top_k):
    pathlib.Path("empty.png").touch()
    good = f"{images}/1/digit_0001.png"
    code, out, err = run(
        *("predict", model, good, "empty.png", "no.png", good),
        *("--on-error", "fill", "--top-k", top_k),
    )
    assert code == 0
    assert err == "skimgclf: 2 of 4 images can't be read; see the reasons\n"
    rank = ["1"] if top_k > 1 else []
    lines = [line.split(",") for line in out.splitlines()]
    assert lines[0][-1] == "reason"
    assert ["empty.png", "", "", *rank, "the file is empty"] in lines
    assert ["no.png", "", "", *rank, "there is no such file"] in lines
    assert lines[1 : 1 + top_k] == lines[-top_k:]


def test_predict_escapes_what_a_spreadsheet_runs(run, images, model):
    content = (images / "1" / "digit_0001.png").read_bytes()
    names = ["-1+1.png", "=HYPERLINK().png", "@sum.png", "+a.png", "a-b.png", "-1"]
    for name in names:
        pathlib.Path(name).write_bytes(content)
    code, _, err = run("predict", model, "--output", "p.csv", "--", *names)
    assert (code, err) == (0, "")
    written = pd.read_csv("p.csv", dtype=str)["path"].tolist()
    assert written == [*(f"'{name}" for name in names[:4]), "a-b.png", "-1"]


def test_a_cache_is_of_this_run_and_not_saved(run, images, model):
    fit = ["fit", f"{images}/train.csv", *SMALL, "--cache", "kept", "--output", "m"]
    assert run(*fit)[0] == 0
    assert os.listdir("kept")
    assert load_model("m")["load"].cache is None
    for given in [
        ["evaluate", model, f"{images}/train.csv"],
        ["predict", model, "--csv", f"{images}/train.csv"],
    ]:
        expected = run(*given)
        shutil.rmtree("kept")
        for _ in range(2):  # written, and read
            assert run(*given, "--cache", "kept") == expected
            assert os.listdir("kept")


# ---- evaluate and check --------------------------------------------------------------


@pytest.mark.parametrize("data", [".", "train.csv"])
def test_evaluate_prints_the_scores(run, images, model, data):
    code, out, err = run("evaluate", model, images / data)
    assert (code, err) == (0, "")
    paths, target = (
        skimgclf.datasets.load_image_folder(images, return_X_y=True)
        if data == "."
        else skimgclf.datasets.load_image_csv(images / data, return_X_y=True)
    )
    accuracy = load_model(model).score(paths, target)
    assert out.endswith(f"Accuracy on {len(paths)} images: {accuracy:.4f}\n")


def test_evaluate_counts_unknown_labels_as_wrong(run, images, model):
    rows = ["id,label", "0/digit_0000,0", "1/digit_0001,ten"]
    pathlib.Path("t.csv").write_text("\n".join(rows))
    code, out, err = run("evaluate", model, "t.csv", "--image-dir", images)
    assert code == 0
    assert err == (
        "skimgclf: the model doesn't know the labels 'ten': they count as wrong\n"
    )
    assert out.endswith(("0.5000\n", "0.0000\n"))


def test_check_reports_bad_files_and_copies(run, images):
    good = images / "1" / "digit_0001.png"
    pathlib.Path("empty.png").touch()
    pathlib.Path("copy.png").write_bytes(good.read_bytes())
    code, out, err = run("check", good, "empty.png", "copy.png", "--output", "r.csv")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "'empty.png': the file is empty",
        f"'copy.png' is a copy of '{good}'",
        "3 images, of which 1 can't be read and 1 have the content of an earlier one.",
    ]
    report = skimgclf.check_images([os.fspath(good), "empty.png", "copy.png"])
    written = pd.read_csv("r.csv")
    assert list(written.columns) == list(report.columns)
    assert written["reason"].tolist()[1] == "the file is empty"


@pytest.mark.parametrize("data", [".", "test.csv", "1/digit_0001.png"])
def test_check_takes_folders_tables_and_images(run, images, data):
    code, out, err = run("check", images / data)
    assert (code, err) == (0, "")
    number = {".": 1797, "test.csv": 10}.get(data)
    assert out == (
        f"{number} images, of which all can be read.\n"
        if number
        else "1 image, of which all can be read.\n"
    )


def test_check_writes_the_table_alone_to_standard_output(run, images):
    code, out, err = run("check", images / "test.csv", "--output", "-")
    assert code == 0
    assert len(out.splitlines()) == 11
    assert err == "10 images, of which all can be read.\n"


# ---- mistakes ------------------------------------------------------------------------

FIT = ["fit", "x.csv", "--output", "m"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fti"],
        ["fit"],
        ["fit", "x.csv"],
        ["fit", "--output", "m"],
        ["fit", "x.csv", "y.csv", "--output", "m"],
        ["fit", "x.csv", "--output", "-"],
        ["fit", "x.csv", "--output"],
        [*FIT, "--epoch", "3"],
        [*FIT, "--nonsense"],
        *([*FIT, "--epochs", value] for value in ["0", "-1", "ten", "1.5", "", "²"]),
        *([*FIT, "--hidden-layer-sizes", v] for v in ["1,,2", "a", "0", "8, 8", "8x8"]),
        *([*FIT, "--image-size", v] for v in ["28", "28x", "0x28", "28X28", "1x2x3"]),
        *([*FIT, "--test-size", v] for v in ["1", "2", "-0.1", "half", "nan", "1e-1"]),
        *([*FIT, "--seed", value] for value in ["-1", "x", "4294967296"]),
        [*FIT, "--validation-fraction", "1.0"],
        [*FIT, "--color-mode", "gray"],
        [*FIT, "--architecture", "resnet"],
        [*FIT, "--class-weight", "fair"],
        [*FIT, "--sep", ";;"],
        ["predict"],
        ["predict", "m"],
        ["predict", "m", "a.png", "--csv", "x.csv"],
        ["predict", "m", "a.png", "--image-dir", "."],
        ["predict", "m", "a.png", "--top-k", "0"],
        ["predict", "m", "a.png", "--on-error", "skip"],
        ["evaluate", "m"],
        ["check"],
        ["info"],
        ["info", "m", "n"],
    ],
    ids=" ".join,
)
def test_wrong_usage_gives_one_sentence_and_code_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("skimgclf")
    assert err.count("\n") == 1
    assert "--help')." in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*FIT], "There is no table 'x.csv'."),
        (["fit", "{images}/nothing", "--output", "m"], "There is no table"),
        (["fit", "{images}/test.csv", "--output", "m"], "label"),
        (["fit", "{images}/train.csv", "--id-column", "a", "--output", "m"], "'a'"),
        (["fit", "{images}/train.csv", "--sep", ";", "--output", "m"], "','"),
        (["fit", "{images}/train.csv", "--image-dir", "n", "--output", "m"], "folder"),
        (["fit", "{images}", "--image-dir", ".", "--output", "m"], "is a folder"),
        (["fit", "{images}/train.csv", "--output", "no/m"], "There is no folder"),
        (["fit", "{images}/train.csv", "--output", "."], "must be a file"),
        (["fit", "bad.csv", "--output", "m"], "the file is empty"),
        (["fit", "one.csv", "--output", "m"], "class"),
        (["fit", "few.csv", "--output", "m"], "1 member"),
        (["fit", "missing.csv", "--output", "m"], "line 3"),
        (["fit", "empty.csv", "--output", "m"], "empty.csv"),
        (["fit", "empty", "--output", "m"], "holds no images"),
        (["predict", "none.model", "a.png"], "There is no model 'none.model'."),
        (["predict", "bad.csv", "a.png"], "'bad.csv' ("),
        (["predict", ".", "a.png"], "There is no model '.'."),
        (["predict", "{model}", "--csv", "no.csv"], "There is no table 'no.csv'."),
        (["predict", "{model}", "a.png"], "'a.png' (row 0): there is no such file"),
        (["predict", "{model}", "empty.png", "--top-k", "11"], "from 1 to 10"),
        (["predict", "{model}", "a.png", "--output", "no/p.csv"], "no folder"),
        (["evaluate", "{model}", "one.csv"], "knows none of the labels"),
        (["check", "no.csv"], "There is no table"),
        (["check", "empty"], "holds no images"),
        (["info", "empty.png"], "'empty.png' (0 bytes)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_failed_jobs_give_a_sentence_and_code_1(run, images, model, arguments, words):
    good = images / "1" / "digit_0001.png"
    pathlib.Path("good.png").write_bytes(good.read_bytes())
    pathlib.Path("empty.png").touch()
    pathlib.Path("empty").mkdir()
    rows = {"bad": "empty,b", "one": "good,a", "few": "", "missing": "x,b", "empty": ""}
    for name, row in rows.items():
        pathlib.Path(f"{name}.csv").write_text(f"id,label\ngood,a\n{row}\n")
    pathlib.Path("empty.csv").write_text("")
    other = images / "2" / "digit_0002.png"
    pathlib.Path("other.png").write_bytes(other.read_bytes())
    pathlib.Path("few.csv").write_text("id,label\ngood,a\nother,b\n")
    before = sorted(os.listdir())
    arguments = [part.format(images=images, model=model) for part in arguments]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", skimgclf.exceptions.DatasetWarning)
        code, out, err = run(*arguments)
    assert code == 1
    assert words in err
    assert err.startswith("skimgclf: error: ")
    assert "Traceback" not in err
    assert ".py" not in err
    assert "Accuracy" not in out
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("place", [0, 3])
def test_debug_shows_the_traceback(run, place):
    arguments = ["check", "no.csv"]
    arguments.insert(place, "--debug")
    code, _, err = run(*arguments)
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("skimgclf: error: There is no table 'no.csv'.\n")


def test_unexpected_errors_are_a_sentence_too(run, images, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(_commands, "check_images", fail)
    code, _, err = run("check", images / "test.csv")
    assert code == 1
    assert err == (
        "skimgclf: error: RuntimeError: out of luck (--debug shows where).\n"
    )


@pytest.mark.filterwarnings("default")
def test_warnings_are_a_line_on_stderr(run, images):
    rows = "id,label\n0/digit_0000,0\n0/digit_0000,0\n"
    pathlib.Path("t.csv").write_text(rows)
    code, out, err = run("check", "t.csv", "--image-dir", images)
    assert code == 0
    assert out == "1 image, of which all can be read.\n"
    assert err.startswith("skimgclf: warning: The table 't.csv' names images repeat")
    assert ".py" not in err


# ---- Ctrl-C, pipes and files ---------------------------------------------------------


def test_interrupted_training_writes_nothing(images, pytestconfig):
    arguments = ["fit", f"{images}/train.csv", "--epochs", "100000", "--output", "m"]
    options = ["-u"]
    if not pytestconfig.getoption("pythonwarnings"):  # as with old versions
        # With warnings as errors, even those of imports; what Keras warns of is its
        # own, as said in pyproject.toml.
        options += ["-W", "error", "-W", "ignore:__array__ implementation"]
    process = start(*arguments, options=options)
    for line in process.stdout:
        if line.startswith("Epoch"):
            break
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == "skimgclf: Interrupted: nothing was written.\n"
    assert os.listdir() == []


def test_interrupted_writing_leaves_the_old_file(run, images, model, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    pathlib.Path("p.csv").write_text("old")
    monkeypatch.setattr(os, "replace", interrupt)
    table = f"{images}/test.csv"
    code, _, err = run("predict", model, "--csv", table, "--output", "p.csv")
    assert code == 130
    assert err == "skimgclf: Interrupted: nothing was written.\n"
    assert os.listdir() == ["p.csv"]
    assert pathlib.Path("p.csv").read_text() == "old"


def test_an_output_that_is_read_is_never_replaced(run, images, model):
    folder = pathlib.Path("digits")
    for name in "12":
        shutil.copytree(images / name, folder / name)
    table = pathlib.Path("digits/t.csv")
    table.write_text("id,label\n1/digit_0001,1\n2/digit_0002,2\n")
    image = folder / "1" / "digit_0001.png"
    os.symlink(image, "link")
    os.symlink(model, "model")
    before = {path: path.read_bytes() for path in [table, image]}
    for arguments in [
        ["fit", table, "--output", table],
        ["fit", table, "--output", image],
        ["fit", folder, "--output", image],
        ["fit", folder, "--output", "link"],
        ["predict", model, image, "--output", image],
        ["predict", model, "--csv", table, "--output", table],
        ["predict", model, "--csv", table, "--output", image],
        ["predict", model, image, "--output", "model"],
        ["check", table, "--output", table],
        ["check", table, "--output", image],
        ["check", folder, "--output", image],
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert err.endswith("would replace what is read.\n")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("/dev/null", "isn't a regular file"),
        ("m/", "must be a file"),
        ("", "must be a file"),
        ("m" * 300, "File name too long"),
        ("m\0", "NUL"),
    ],
)
def test_fit_refuses_a_useless_output_before_it_trains(run, images, output, words):
    code, out, err = run("fit", f"{images}/train.csv", "--output", output)
    assert (code, out) == (1, "")
    assert words in err


def test_an_output_without_permission_is_refused(run, images, monkeypatch):
    pathlib.Path("old.csv").touch()
    # For root everything is allowed, and tests may run as root.
    monkeypatch.setattr(os, "access", lambda path, mode: "old" not in str(path))
    code, _, err = run("check", images / "test.csv", "--output", "old.csv")
    assert code == 1
    assert err == "skimgclf: error: There is no permission to write 'old.csv'.\n"


@pytest.mark.parametrize("closed", [">&- 2>&-", ">/dev/full"])
def test_closed_or_full_streams_change_no_file(images, closed):
    command = f"{sys.executable} -m skimgclf check {images}/test.csv --output r.csv"
    done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True)
    assert done.returncode == (1 if "full" in closed else 0)
    assert b"Traceback" not in done.stderr
    assert len(pd.read_csv("r.csv")) == 10


def test_names_of_any_bytes_go_through_pipes(images):
    content = (images / "1" / "digit_0001.png").read_bytes()
    names = [b"a\xff.png", "é.png".encode()]
    for name in names:
        pathlib.Path(os.fsdecode(name)).write_bytes(content)
    settings = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "skimgclf",
            "check",
            *names,
            "no\udcff",
            "--output",
            "-",
        ],
        capture_output=True,
        env=settings,
    )
    lines = process.stdout.splitlines()[1:]
    assert [line.split(b",")[0] for line in lines] == [*names, b"no\xff"]
    assert b"'no\\udcff': there is no such file" in process.stderr
    assert process.returncode == 1


def test_closed_pipe_ends_quietly(images):
    with start("check", images / "test.csv", "--output", "-") as process:
        process.stdout.close()  # as by `head`, once it has seen enough
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_output_may_be_a_device_and_keeps_it(run, images, model):
    table = f"{images}/test.csv"
    arguments = ["predict", model, "--csv", table, "--output", "/dev/null"]
    assert run(*arguments) == (0, "", "")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_output_goes_through_a_link_and_has_usual_permissions(run, images):
    os.symlink("real.csv", "link.csv")
    assert run("check", images / "test.csv", "--output", "link.csv")[0] == 0
    assert os.path.islink("link.csv")
    pathlib.Path("usual").touch()
    assert os.stat("real.csv").st_mode == os.stat("usual").st_mode


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cat", "'-cat"),
        ("@a", "'@a"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("-", "'-"),
        ("--1", "'--1"),
        ("-1", "-1"),
        ("+1.5e-3", "+1.5e-3"),
        ("-1+1", "'-1+1"),
        ("a=b", "a=b"),
        ("", ""),
        (None, None),
        (-1.5, -1.5),
    ],
)
def test_escape_cell_marks_formulas_only(cell, written):
    assert escape_cell(cell) == written


def test_write_csv_keeps_names_that_are_not_utf8_and_escapes_columns():
    frame = pd.DataFrame({"=id": [os.fsdecode(b"a\xff.png"), "é,1"], "p": [0.5, None]})
    write_csv(frame, "t.csv")
    assert pathlib.Path("t.csv").read_bytes() == (
        b"'=id,p\na\xff.png,0.5\n" + '"é,1",\n'.encode()
    )


# ---- README --------------------------------------------------------------------------


def test_readme_shell_lines_run_in_an_empty_folder(run):
    section = README.read_text("utf-8").split("\n## From the shell\n")[1]
    first, *lines = re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1].splitlines()
    program, *arguments = shlex.split(first)
    assert program == "python"
    subprocess.run([sys.executable, *arguments], check=True, timeout=60)
    out = ""
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "skimgclf"
        # In this process: each new one would import TensorFlow.
        code, printed, err = run(*arguments)
        assert (code, err) == (0, "")
        out += printed
    assert "1797 images, of which all can be read." in out
    assert float(re.findall(r"Accuracy on 1797 images: (.*)", out)[0]) > 0.9
    assert len(pd.read_csv("predictions.csv")) == 1797
