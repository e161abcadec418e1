"""The command skimgclf: what it prints and what its results are."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.utils import Bunch

import skimgclf
from skimgclf import (
    ImageLoader,
    KerasImageClassifier,
    load_model,
    save_model,
)
from skimgclf._shell import commands, inputs, training
from skimgclf._shell.arguments import EXAMPLES, make_parser, parse_arguments
from skimgclf.saving._classifier import SavedArchitecture

README = pathlib.Path(__file__).parent.parent / "README.md"
SMALL = ["--image-size", "8x8", "--hidden-layer-sizes", "4", "--epochs", "2"]

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_help_and_version_are_of_every_command(run_command):
    assert run_command("--version") == (0, f"skimgclf {skimgclf.__version__}\n", "")
    for command in [[], ["fit"], ["predict"], ["evaluate"], ["check"], ["info"]]:
        code, out, err = run_command(*command, "--help")
        assert (code, err) == (0, "")
        assert f"example:\n  {' '.join(['skimgclf', *command])}" in out
        assert "exit codes:" in out


def test_examples_of_the_help_are_typed_rightly():
    for command, example in EXAMPLES.items():
        options = make_parser().parse_args(example.split()[1:])
        assert options.command == command


def test_fit_prints_the_split_the_epochs_and_the_scores(run_command, digit_folder):
    code, out, err = run_command(
        "fit", f"{digit_folder}/train.csv", *SMALL, "--output", "m"
    )
    assert (code, err) == (0, "")
    assert out.startswith("150 images of 10 classes: 120 to train on, 30 to test with")
    assert re.findall(r"^Epoch (\d)/2: ", out, re.MULTILINE) == ["1", "2"]
    assert "precision    recall" in out
    assert re.search(r"^Accuracy on 30 images: [01]\.\d{4}$", out, re.MULTILINE)
    assert out.endswith("Saved as m\n")
    assert sorted(os.listdir()) == ["m", "m.toml"]


def test_fit_saves_what_it_was_asked_for(run_command, digit_folder):
    code, out, _ = run_command(
        *("fit", f"{digit_folder}/train.csv", "--output", "m", "--image-size", "6x4"),
        *("--color-mode", "rgb"),
        *("--architecture", "DENSE", "--hidden-layer-sizes", "5,4", "--epochs", "1"),
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
        "DENSE",
        hidden_layer_sizes=(5, 4),
        epochs=1,
        class_weight="balanced",
        early_stopping=True,
        validation_fraction=0.25,
        random_state=3,
    )
    assert classifier.get_params() == expected.get_params()


def test_fit_defaults_are_those_of_the_package():
    options = parse_arguments(["fit", "x", "--output", "m"])
    steps = training.make_pipeline(options).named_steps
    classifier = steps["classify"].set_params(random_state=None, verbose=0)
    assert classifier.get_params() == KerasImageClassifier().get_params()
    loader = clone(steps["load"]).set_params(verbose=0)
    assert loader.get_params() == ImageLoader().get_params()


@pytest.mark.parametrize(("layers", "expected"), [("all", "all"), ("12", 12)])
def test_fit_fine_tunes_the_network_of_few_photos(layers, expected):
    arguments = ["fit", "x", "--output", "m", "--kind", "few_photos"]
    options = parse_arguments([*arguments, "--fine-tune", layers])
    pipeline = training.make_pipeline(options)
    assert list(pipeline.named_steps) == ["load", "classify"]
    assert pipeline["classify"].fine_tune == expected


def test_fit_of_another_seed_gives_other_weights(
    run_command, digit_folder, digit_model
):
    arguments = ["fit", f"{digit_folder}/train.csv", *SMALL, "--output", "m"]
    # That the same seed gives the same ones is tried with a settings file.
    assert parse_arguments(arguments).seed == 0
    assert run_command(*arguments, "--seed", "1")[0] == 0
    first, other = (
        load_model(path)[-1].model_.get_weights() for path in (digit_model, "m")
    )
    assert not all(map(np.array_equal, first, other))


def test_fit_without_a_test_set_trains_on_all(run_command, digit_folder):
    code, out, _ = run_command(
        *("fit", f"{digit_folder}/train.csv", *SMALL, "--output", "m", "--test-size", 0)
    )
    assert code == 0
    assert "150 to train on, 0 to test with" in out
    assert "Accuracy on" not in out


def test_fit_keeps_copies_on_one_side():
    groups = np.array([*"abcdefgh", *"abcdefgh"], dtype=object)
    target = np.array(["x", "y"] * 8, dtype=object)
    data = Bunch(filenames=groups, groups=groups, target=target)
    train, test = training.split(data, 0.25, 0)
    assert not set(groups[train]) & set(groups[test])
    assert sorted([*train, *test]) == list(range(16))
    assert sorted(target[test]) == ["x", "x", "y", "y"]


def test_progress_is_shown_on_a_terminal_and_not_saved(
    run_command, digit_folder, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, err = run_command(
        "fit", f"{digit_folder}/train.csv", *SMALL, "--output", "m"
    )
    assert code == 0
    assert "Checking: 100%" in err
    assert "Loading: 100%" in err
    assert "Predicting: 100%" in err
    assert [step.verbose for _, step in load_model("m").steps] == [0, 0]


def test_info_says_what_a_model_is(run_command, digit_model):
    code, out, err = run_command("info", digit_model)
    assert (code, err) == (0, "")
    assert "ImageLoader(image_size=(8, 8))" in out
    assert "10 classes: '0', '1'" in out
    assert "image shape: 8 x 8 x 1" in out
    assert f"weights: {64 * 4 + 4 + 4 * 10 + 10}" in out
    assert "trained: 2 epochs" in out


def test_predict_writes_ids_of_a_table_in_their_order(
    run_command, digit_folder, digit_model
):
    table = f"{digit_folder}/test.csv"
    assert run_command("predict", digit_model, "--csv", table, "--output", "p.csv") == (
        0,
        "",
        "",
    )
    written = pd.read_csv("p.csv", dtype=str)
    assert list(written.columns) == ["id", "label", "probability"]
    ids = pd.read_csv(table, dtype=str)["id"]
    assert written["id"].tolist() == ids.tolist()
    expected = skimgclf.predict_frame(
        load_model(digit_model), list(f"{digit_folder}/" + ids)
    )
    assert written["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(
        written["probability"].astype(float), expected["probability"], rtol=1e-5
    )


def test_predict_takes_options_of_a_table(run_command, digit_folder, digit_model):
    pathlib.Path("t.tsv").write_text("label\tmore\n0/digit_0000\tx\n")
    arguments = ["--csv", "t.tsv", "--sep", "tab", "--id-column", "label"]
    code, out, _ = run_command(
        "predict", digit_model, *arguments, "--image-dir", digit_folder
    )
    assert code == 0
    assert out.startswith("label,label,probability\n0/digit_0000,")


def test_a_table_may_have_another_encoding(run_command, digit_folder, digit_model):
    shutil.copy(digit_folder / "1" / "digit_0001.png", "é.png")
    pathlib.Path("t.csv").write_bytes("id,label\né,1\n".encode("cp1252"))
    code, _, err = run_command("predict", digit_model, "--csv", "t.csv")
    assert code == 1
    assert err.endswith("; try --encoding cp1252.\n")
    code, out, _ = run_command(
        "predict", digit_model, "--csv", "t.csv", "--encoding", "cp1252"
    )
    assert code == 0
    assert out.startswith("id,label,probability\né,")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_classifier_without_a_loader_is_refused(
    run_command, digit_folder, digit_model, command
):
    save_model(load_model(digit_model)[-1], "bare")
    rows = "1/digit_0001,1\n2/digit_0002,2\n"
    pathlib.Path("t.csv").write_text(f"id,label\n{rows}")
    table = ["t.csv", "--image-dir", digit_folder]
    code, _, err = run_command(
        command, "bare", *(["--csv"] * (command == "predict")), *table
    )
    assert code == 1
    assert err == (
        "skimgclf: error: The model 'bare' was saved without an ImageLoader in front, "
        "so it can't read images: save the whole pipeline.\n"
    )


def test_info_escapes_what_a_terminal_would_obey(run_command, digit_model):
    pipeline = load_model(digit_model)
    pipeline.steps[0] = ("\x1b[2J", pipeline.steps[0][1])
    save_model(pipeline, "odd")
    code, out, _ = run_command("info", "odd")
    assert code == 0
    assert "\x1b" not in out
    assert "'\\x1b[2J': ImageLoader" in out


EVIL = "\x1b[2J\nAccuracy: 1.0\r\x9b\u202e"


def test_nothing_that_is_printed_changes_a_terminal(
    run_command, digit_folder, digit_model, monkeypatch
):
    """Class folders, labels, history, functions, steps, files and options."""
    for row in range(8):
        name = ("1", f"a{EVIL}")[row % 2]
        pathlib.Path("data", name).mkdir(parents=True, exist_ok=True)
        source = digit_folder / "1" / "digit_0001.png"
        image = Image.open(source).point(lambda value, row=row: value + row)
        image.save(f"data/{name}/{row}{EVIL}.png")
    broken = pathlib.Path(f"bad{EVIL}.png")
    broken.write_bytes(b"no image")
    model = f"model{EVIL}"
    pipeline = load_model(digit_model)
    pipeline.steps[0] = (EVIL, pipeline.steps[0][1])
    classifier = pipeline[-1]
    classifier.architecture = SavedArchitecture(EVIL)
    classifier.history_ = {EVIL: [0.5], **classifier.history_}
    image = sorted(map(str, pathlib.Path("data").rglob("0*.png")))[0]
    monkeypatch.setattr(commands, "load_model", lambda options: pipeline)
    monkeypatch.setattr(inputs, "load_model", lambda options: pipeline)
    save_model(load_model(digit_model), model, notes={EVIL: EVIL, "settings": EVIL})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    codes = []
    for arguments in [
        ["fit", "data", *SMALL, "--output", f"new{EVIL}"],
        ["evaluate", model, "data"],
        ["info", model],
        ["predict", model, image, "--top-k", "2"],
        ["predict", model, broken],
        ["predict", model, broken, "--on-error", "fill"],
        ["predict", f"none{EVIL}", image],
        ["check", broken],
        ["check", broken, image, image],
        ["info", model, f"--none{EVIL}"],
        ["fit", EVIL, "--debug", "--output", "m"],
    ]:
        code, out, err = run_command(*arguments)
        codes.append(code)
        assert (out + err).replace("\n", "").isprintable(), arguments
        assert "\nAccuracy: 1.0" not in out + err, arguments
    assert codes == [0, 0, 0, 0, 1, 0, 0, 1, 1, 2, 1]


def test_predict_prints_paths_as_given(
    run_command, digit_folder, digit_model, monkeypatch
):
    monkeypatch.chdir(digit_folder)
    given = ["./7/digit_0007.png", "1/../1/digit_0001.png", "7/digit_0007.png"]
    code, out, err = run_command("predict", digit_model, *given)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "path,label,probability"
    assert [line.split(",")[0] for line in lines[1:]] == given


def test_predict_top_k_gives_rows_with_a_rank(run_command, digit_folder, digit_model):
    table = f"{digit_folder}/test.csv"
    code, out, _ = run_command("predict", digit_model, "--csv", table, "--top-k", 3)
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
def test_predict_takes_options_anywhere(
    run_command, digit_folder, digit_model, arguments
):
    names = {"MODEL": digit_model, "A": digit_folder / "1/digit_0001.png"}
    names["B"] = digit_folder / "2/digit_0002.png"
    code, out, err = run_command(
        "predict", *(names.get(a, a) for a in arguments.split())
    )
    assert (code, err) == (0, "")
    paths = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert paths == [str(names[name]) for name in "AABB"]


@pytest.mark.parametrize("top_k", [1, 2])
def test_predict_fill_leaves_a_bad_image_without_a_label(
    run_command, digit_folder, digit_model, top_k
):
    pathlib.Path("empty.png").touch()
    good = f"{digit_folder}/1/digit_0001.png"
    code, out, err = run_command(
        *("predict", digit_model, good, "empty.png", "no.png", good),
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


def test_predict_escapes_what_a_spreadsheet_runs(
    run_command, digit_folder, digit_model
):
    content = (digit_folder / "1" / "digit_0001.png").read_bytes()
    names = ["-1+1.png", "=HYPERLINK().png", "@sum.png", "+a.png", "a-b.png", "-1"]
    for name in names:
        pathlib.Path(name).write_bytes(content)
    code, _, err = run_command(
        "predict", digit_model, "--output", "p.csv", "--", *names
    )
    assert (code, err) == (0, "")
    written = pd.read_csv("p.csv", dtype=str)["path"].tolist()
    assert written == [*(f"'{name}" for name in names[:4]), "a-b.png", "-1"]


def test_a_cache_is_of_this_run_and_not_saved(run_command, digit_folder, digit_model):
    fit = [
        "fit",
        f"{digit_folder}/train.csv",
        *SMALL,
        "--cache",
        "kept",
        "--output",
        "m",
    ]
    assert run_command(*fit)[0] == 0
    assert os.listdir("kept")
    assert load_model("m")["load"].cache is None
    for given in [
        ["evaluate", digit_model, f"{digit_folder}/train.csv"],
        ["predict", digit_model, "--csv", f"{digit_folder}/train.csv"],
    ]:
        expected = run_command(*given)
        shutil.rmtree("kept")
        for _ in range(2):  # written, and read
            assert run_command(*given, "--cache", "kept") == expected
            assert os.listdir("kept")


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_evaluate_prints_the_scores(run_command, digit_folder, digit_model, kind):
    if kind == "folder":
        for name in ("1/digit_0001.png", "1/digit_0011.png", "2/digit_0002.png"):
            path = pathlib.Path("data", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(digit_folder / name, path)
        data, load = "data", skimgclf.datasets.load_image_folder
    else:
        data, load = digit_folder / "train.csv", skimgclf.datasets.load_image_csv
    code, out, err = run_command("evaluate", digit_model, data)
    assert (code, err) == (0, "")
    paths, target = load(data, return_X_y=True)
    accuracy = load_model(digit_model).score(paths, target)
    assert out.endswith(f"Accuracy on {len(paths)} images: {accuracy:.4f}\n")


def test_evaluate_counts_unknown_labels_as_wrong(
    run_command, digit_folder, digit_model
):
    rows = ["id,label", "0/digit_0000,0", "1/digit_0001,ten"]
    pathlib.Path("t.csv").write_text("\n".join(rows))
    code, out, err = run_command(
        "evaluate", digit_model, "t.csv", "--image-dir", digit_folder
    )
    assert code == 0
    assert err == (
        "skimgclf: the model doesn't know the labels 'ten': they count as wrong\n"
    )
    assert out.endswith(("0.5000\n", "0.0000\n"))


def test_check_reports_bad_files_and_copies(run_command, digit_folder):
    good = digit_folder / "1" / "digit_0001.png"
    pathlib.Path("empty.png").touch()
    pathlib.Path("copy.png").write_bytes(good.read_bytes())
    code, out, err = run_command(
        "check", good, "empty.png", "copy.png", "--output", "r.csv"
    )
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "'empty.png': the file is empty",
        f"'copy.png' is a copy of '{good}'",
        "3 images, of which 1 can't be read and 1 has the content of an earlier one.",
    ]
    report = skimgclf.check_images([os.fspath(good), "empty.png", "copy.png"])
    written = pd.read_csv("r.csv")
    assert list(written.columns) == list(report.columns)
    assert written["reason"].tolist()[1] == "the file is empty"


@pytest.mark.parametrize("data", [".", "test.csv", "1/digit_0001.png"])
def test_check_takes_folders_tables_and_images(run_command, digit_folder, data):
    code, out, err = run_command("check", digit_folder / data)
    assert (code, err) == (0, "")
    number = {".": 1797, "test.csv": 10}.get(data)
    assert out == (
        f"{number} images, of which all can be read.\n"
        if number
        else "1 image, of which all can be read.\n"
    )


def test_check_writes_the_table_alone_to_standard_output(run_command, digit_folder):
    code, out, err = run_command("check", digit_folder / "test.csv", "--output", "-")
    assert code == 0
    assert len(out.splitlines()) == 11
    assert err == "10 images, of which all can be read.\n"


@pytest.mark.slow
def test_readme_shell_lines_run_in_an_empty_folder(run_command):
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
        code, printed, err = run_command(*arguments)
        assert (code, err) == (0, "")
        out += printed
    assert "1797 images, of which all can be read." in out
    # Of the fifth that was held out.
    assert float(re.findall(r"Accuracy on 360 images: (.*)", out)[0]) > 0.9
    assert len(pd.read_csv("predictions.csv")) == 1797
