"""The command skimgclf: its sentences and exit codes after mistakes."""

import io
import os
import pathlib
import warnings

import pytest
from PIL import Image

import skimgclf
from skimgclf._shell import commands

pytestmark = pytest.mark.usefixtures("empty_folder")

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
        *([*FIT, "--test-size", v] for v in ["1", "2", "-0.1", "half", "nan", "1e0"]),
        *([*FIT, "--seed", value] for value in ["-1", "x", "4294967296"]),
        [*FIT, "--validation-fraction", "1.0"],
        [*FIT, "--color-mode", "gray"],
        [*FIT, "--architecture", "vgg"],
        [*FIT, "--fine-tune", "all"],
        *([*FIT, "--kind", "few_photos", "--fine-tune", v] for v in ["-1", "some"]),
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
def test_wrong_usage_gives_one_sentence_and_code_2(run_command, arguments):
    code, out, err = run_command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("skimgclf")
    assert err.count("\n") == 1
    assert "--help')." in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*FIT], "There is no table 'x.csv'."),
        (["fit", "{digit_folder}/nothing", "--output", "m"], "There is no table"),
        (["fit", "{digit_folder}/test.csv", "--output", "m"], "label"),
        (
            ["fit", "{digit_folder}/train.csv", "--id-column", "a", "--output", "m"],
            "'a'",
        ),
        (["fit", "{digit_folder}/train.csv", "--sep", ";", "--output", "m"], "','"),
        (
            ["fit", "{digit_folder}/train.csv", "--image-dir", "n", "--output", "m"],
            "folder",
        ),
        (["fit", "{digit_folder}", "--image-dir", ".", "--output", "m"], "is a folder"),
        (["fit", "{digit_folder}/train.csv", "--output", "no/m"], "There is no folder"),
        (["fit", "{digit_folder}/train.csv", "--output", "."], "must be a file"),
        (["fit", "bad.csv", "--output", "m"], "the file is empty"),
        (["fit", "one.csv", "--output", "m"], "class"),
        (["fit", "few.csv", "--output", "m"], "1 member"),
        (["fit", "missing.csv", "--output", "m"], "line 3"),
        (["fit", "empty.csv", "--output", "m"], "empty.csv"),
        (["fit", "empty", "--output", "m"], "holds no images"),
        (["predict", "none.model", "a.png"], "There is no model 'none.model'."),
        (["predict", "bad.csv", "a.png"], "'bad.csv' ("),
        (["predict", ".", "a.png"], "There is no model '.'."),
        (["predict", "{digit_model}", "bad.csv"], "give it as --csv 'bad.csv'"),
        (["predict", "{digit_model}", "--csv", "empty"], "give it without --csv"),
        (
            ["predict", "{digit_model}", "--csv", "no.csv"],
            "There is no table 'no.csv'.",
        ),
        (
            ["predict", "{digit_model}", "a.png"],
            "'a.png' (row 0): there is no such file",
        ),
        (["predict", "{digit_model}", "empty.png", "--top-k", "11"], "from 1 to 10"),
        (["predict", "{digit_model}", "a.png", "--output", "no/p.csv"], "no folder"),
        (["evaluate", "{digit_model}", "one.csv"], "knows none of the labels"),
        (["check", "no.csv"], "There is no table"),
        (["check", "empty"], "holds no images"),
        (["info", "empty.png"], "'empty.png' (0 bytes)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_failed_jobs_give_a_sentence_and_code_1(
    run_command, digit_folder, digit_model, arguments, words
):
    good = digit_folder / "1" / "digit_0001.png"
    pathlib.Path("good.png").write_bytes(good.read_bytes())
    pathlib.Path("empty.png").touch()
    pathlib.Path("empty").mkdir()
    rows = {"bad": "empty,b", "one": "good,a", "few": "", "missing": "x,b", "empty": ""}
    for name, row in rows.items():
        pathlib.Path(f"{name}.csv").write_text(f"id,label\ngood,a\n{row}\n")
    pathlib.Path("empty.csv").write_text("")
    other = digit_folder / "2" / "digit_0002.png"
    pathlib.Path("other.png").write_bytes(other.read_bytes())
    pathlib.Path("few.csv").write_text("id,label\ngood,a\nother,b\n")
    before = sorted(os.listdir())
    arguments = [
        part.format(digit_folder=digit_folder, digit_model=digit_model)
        for part in arguments
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", skimgclf.exceptions.DatasetWarning)
        code, out, err = run_command(*arguments)
    assert code == 1
    assert words in err
    assert err.startswith("skimgclf: error: ")
    assert "Traceback" not in err
    assert ".py" not in err
    assert "Accuracy" not in out
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--verison"], "no option '--verison'; the nearest name is '--version'"),
        (["--debug=1", "check", "x"], "ignored explicit argument '1'"),
        (["--debgu", "check", "x"], "the nearest name is '--debug'"),
        (["infi", "x"], "no command 'infi'; the nearest name is 'info'"),
        ([*FIT, "--optimizer", "adm"], "the nearest name is 'adam'"),
        ([*FIT, "--activation", "rleu"], "the nearest name is 'relu'"),
        ([*FIT, "--augmentation", "flop"], "the nearest name is 'flip'"),
        (["predict", "m", "a.png", "--on-error", "fil"], "the nearest name is 'fill'"),
    ],
)
def test_what_is_misspelt_is_named_with_the_nearest_name(run_command, arguments, words):
    code, out, err = run_command(*arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_max_pixels_counts_for_the_reading_before_a_training(run_command, digit_folder):
    given = [digit_folder / "train.csv", "--max-pixels", "3", "--output", "x"]
    code, out, err = run_command("fit", *given)
    assert (code, out) == (1, "")
    assert "has 64 pixels, more than --max-pixels 3 allows" in err


@pytest.mark.parametrize("place", [0, 3])
def test_debug_shows_the_traceback(run_command, place):
    arguments = ["check", "no.csv"]
    arguments.insert(place, "--debug")
    code, _, err = run_command(*arguments)
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("skimgclf: error: There is no table 'no.csv'.\n")


def test_unexpected_errors_are_a_sentence_too(run_command, digit_folder, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(commands, "check_images", fail)
    code, _, err = run_command("check", digit_folder / "test.csv")
    assert code == 1
    assert err == (
        "skimgclf: error: RuntimeError: out of luck (--debug shows where).\n"
    )


@pytest.mark.filterwarnings("default")
def test_warnings_are_a_line_on_stderr(run_command, digit_folder):
    rows = "id,label\n0/digit_0000,0\n0/digit_0000,0\n"
    pathlib.Path("t.csv").write_text(rows)
    code, out, err = run_command("check", "t.csv", "--image-dir", digit_folder)
    assert code == 0
    assert out == "1 image, of which all can be read.\n"
    assert err.startswith("skimgclf: warning: The table 't.csv' names images repeat")
    assert ".py" not in err


@pytest.mark.filterwarnings("default")
def test_nothing_that_is_printed_holds_credentials(run_command):
    fsspec = pytest.importorskip("fsspec")
    memory, root = fsspec.filesystem("memory"), "memory://me:s@cret@h/train"
    for name in ("1.png", "2.png"):
        stream = io.BytesIO()
        Image.new("L", (4, 4)).save(stream, "PNG")
        memory.pipe_file(f"/me:s@cret@h/train/cat/{name}", stream.getvalue())
    images = [f"{root}/cat/{name}" for name in ("1.png", "2.png", "none.png")]
    for arguments, expected, words in [
        (["check", *images], 1, "is a copy of 'memory://***@h/train/cat/1.png'"),
        (["check", images[2]], 1, "'memory://***@h/train/cat/none.png': there is no"),
        (["check", images[2], "--debug", "--output", "no/r.csv"], 1, "no folder"),
        (["fit", root, "--output", "m"], 1, "'memory://***@h/train' has only one"),
        (["fit", root, root, "--output", "m"], 2, "no use for 'memory://***@h/train'"),
        ([*FIT, "--epochs", root], 2, "'memory://***@h/train' is not"),
    ]:
        code, out, err = run_command(*arguments)
        assert code == expected
        assert words in out + err
        assert "cret" not in out + err
    assert os.listdir() == []
