"""The command skimgclf: its options, its settings files, and what it reads."""

import io
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest

import skimgclf
from skimgclf import (
    ImageEmbedder,
    ImageLoader,
    KerasImageClassifier,
    load_model,
    save_model,
)
from skimgclf._shell import training
from skimgclf._shell.arguments import parse_arguments
from skimgclf._shell.forms import FLAG
from skimgclf._shell.messages import name_options
from skimgclf._shell.options import FIT, PARAMETERS, READING
from skimgclf._shell.settings import SettingsError, read_settings, write_settings
from skimgclf.saving import read_model_info

pytestmark = pytest.mark.usefixtures("empty_folder")

STEPS = {"load": ImageLoader, "embed": ImageEmbedder, "classify": KerasImageClassifier}
FIT_X = ["fit", "x.csv", "--output", "m"]

# Why parameters have no option.
NO_OPTIONS = {
    "dtype": "the classifier takes both alike",
    "flatten": "for other estimators",
    "on_error": "training stops at a bad image; predict has an option of its own",
    "storage_options": "credentials don't belong on a command line",
    "callbacks": "code",
    "warm_start": "a command fits once",
    "random_state": "--seed",
    "verbose": "the shell shows progress on a terminal",
}


def make_pipeline(*arguments):
    return training.make_pipeline(parse_arguments([*FIT_X, *arguments]))


def test_every_parameter_is_an_option_or_has_a_reason_not_to_be():
    flags = {option.name for option in [*PARAMETERS, *READING]}
    for step, cls in STEPS.items():
        parameters = set(cls().get_params())
        assert parameters <= flags | set(NO_OPTIONS), cls
        named = {option.name for option in PARAMETERS if step in option.steps}
        assert named <= parameters, cls
    assert not flags & set(NO_OPTIONS)


def test_options_read_what_they_write():
    """The defaults of all estimators, and the values of all kinds of pipelines."""
    pipelines = [make_pipeline("--kind", kind) for kind in ["photos", "few_photos"]]
    steps = [cls() for cls in STEPS.values()]
    steps += [step for pipeline in pipelines for step in pipeline.named_steps.values()]
    seen = set()
    for option in PARAMETERS:
        for step in steps:
            value = step.get_params().get(option.name)
            if option.form is not FLAG and (
                value is not None or option.form.takes_none
            ):
                read = option.form.read(option.form.write(value))
                assert read == (list(value) if isinstance(read, list) else value)
                seen.add(option.name)
    assert len(seen) > 20


EVERY_FORM = {
    "--image-size 6x4": ("load__image_size", (6, 4)),
    "--resize-mode pad": ("load__resize_mode", "pad"),
    "--interpolation box": ("load__interpolation", "box"),
    "--background 255,128,0": ("load__background", (255, 128, 0)),
    "--background #ff8000": ("load__background", "#ff8000"),
    "--no-color-management": ("load__color_management", False),
    "--lazy": ("load__lazy", True),
    "--max-pixels 99": ("load__max_pixels", 99),
    "--n-jobs -1": ("load__n_jobs", -1),
    "--cache here": ("load__cache", "here"),
    "--cache-limit 9": ("load__cache_limit", 9),
    "--architecture ResNet": ("classify__architecture", "ResNet"),
    "--architecture EfficientNetLite0": ("classify__architecture", "EfficientNetLite0"),
    "--weights none": ("classify__weights", None),
    "--conv-filters 3": ("classify__conv_filters", (3,)),
    "--hidden-layer-sizes 8,4": ("classify__hidden_layer_sizes", (8, 4)),
    "--hidden-layer-sizes=": ("classify__hidden_layer_sizes", ()),
    "--kernel-size 3": ("classify__kernel_size", 3),
    "--kernel-size 3x5": ("classify__kernel_size", (3, 5)),
    "--activation gelu": ("classify__activation", "gelu"),
    "--batch-norm": ("classify__batch_norm", True),
    "--dropout .5": ("classify__dropout", 0.5),
    "--augmentation flip,crop": ("classify__augmentation", ["flip", "crop"]),
    "--augmentation light": ("classify__augmentation", "light"),
    "--kind photos --augmentation none": ("classify__augmentation", None),
    "--mixup 0.2": ("classify__mixup", 0.2),
    "--label-smoothing 1e-1": ("classify__label_smoothing", 0.1),
    "--test-time-augmentation flip": ("classify__test_time_augmentation", "flip"),
    "--kind photos --test-time-augmentation none": (
        "classify__test_time_augmentation",
        None,
    ),
    "--batch-size 7": ("classify__batch_size", 7),
    "--optimizer sgd": ("classify__optimizer", "sgd"),
    "--learning-rate 3e-4": ("classify__learning_rate", 0.0003),
    "--learning-rate-schedule cosine": ("classify__learning_rate_schedule", "cosine"),
    "--weight-decay 0": ("classify__weight_decay", 0.0),
    "--early-stopping": ("classify__early_stopping", True),
    "--validation-fraction 0.3": ("classify__early_stopping", True),
    "--n-iter-no-change 2": ("classify__early_stopping", True),
    "--no-early-stopping --n-iter-no-change 2": ("classify__early_stopping", False),
    "--fine-tune-epochs 3": ("classify__fine_tune_epochs", 3),
    "--fine-tune-learning-rate 1e-5": ("classify__fine_tune_learning_rate", 1e-5),
    "--kind few_photos --backbone EfficientNetLite1": (
        "embed__backbone",
        "EfficientNetLite1",
    ),
    "--kind few_photos --weights none": ("embed__weights", None),
    "--kind few_photos --pooling max": ("embed__pooling", "max"),
    "--kind few_photos --cache here": ("embed__cache", "here"),
}


@pytest.mark.parametrize("typed", EVERY_FORM)
def test_options_reach_the_step_that_has_the_parameter(typed):
    name, value = EVERY_FORM[typed]
    assert make_pipeline(*typed.split()).get_params()[name] == value


@pytest.mark.parametrize(
    ("command", "default"), [("fit", "raise"), ("evaluate", "ignore")]
)
def test_help_says_what_on_bad_does_and_its_default(run_command, command, default):
    _, out, _ = run_command(command, "--help")
    told = " ".join(out.split("--on-bad ")[-1].split())
    assert "ignore ends the job when one is reached" in told
    assert told.index(f"(default: {default})") > told.index("drop leaves them out")


def test_help_lists_every_option(run_command):
    _, out, _ = run_command("fit", "--help")
    assert [each.flag for each in FIT if each.flag not in out] == []


@pytest.mark.parametrize("name", ["DENSE", "ReSNet", "efficientnetlite0"])
def test_names_of_architectures_are_of_any_case(name):
    options = parse_arguments([*FIT_X, "--architecture", name])
    training.check_parameters(options)  # exits otherwise


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--epoch 3", "There is no option '--epoch'; the nearest name is '--epochs'"),
        ("--epoch=3", "There is no option '--epoch'; the nearest name is '--epochs'"),
        ("--image_size 8x8", "the nearest name is '--image-size'"),
        ("--resize-mode pads", "the nearest name is 'pad'"),
        ("--kind photo", "the nearest name is 'photos'"),
        ("--architecture resnt", "--architecture must be"),
        ("--architecture resnt", "the nearest name is 'resnet'"),
        ("--activation rilu", "--activation must be the name of a Keras activation"),
        ("--dropout 1.5", "--dropout must be a number in [0, 1). Got 1.5 instead"),
        ("--learning-rate 0", "--learning-rate must be a number above 0"),
        ("--background nocolour", "--background must be a colour name"),
        ("--augmentation flop", "--augmentation must be"),
        ("--fine-tune all", "--fine-tune must be 0 with --architecture dense"),
        ("--mixup 1 --batch-size 1", "--mixup must be 0 with --batch-size 1"),
        ("--backbone MobileNet", "--backbone goes with --kind few_photos"),
        ("--kind few_photos --architecture cnn", "choose that by --backbone"),
        ("--architecture none.keras", "There is no file 'none.keras'"),
        ("--kind few_photos --backbone none.keras", "There is no file 'none.keras'"),
        ("--kind few_photos --weights imagnet", "the nearest name is 'imagenet'"),
        ("--learning-rate -1", "'-1' is not a number of at least 0"),
        ("--kind few_photos --augmentation flip", "--augmentation must be None with"),
    ],
)
def test_wrong_options_are_named_before_any_work(run_command, arguments, words):
    code, out, err = run_command(*FIT_X, *arguments.split())
    assert (code, out, os.listdir()) == (2, "", [])
    assert words in err
    assert err.endswith(" (try 'skimgclf fit --help').\n")
    assert err.count("\n") == 1
    assert "KerasImageClassifier" not in err


def test_a_misspelt_command_gets_the_nearest_one(run_command):
    code, _, err = run_command("evaluat", "m", "x.csv")
    assert code == 2
    assert "There is no command 'evaluat'; the nearest name is 'evaluate'" in err


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("pass sep=';'", "pass --sep ';'"),
        ("pass sep='\\t'", "pass --sep tab"),
        ("image_size=(8, 8)", "--image-size 8x8"),
        ("batch_norm=False", "--no-batch-norm"),
        (
            "batch_norm=True, or augmentation=None",
            "--batch-norm, or --augmentation none",
        ),
        ("another column than id_column", "another column than --id-column"),
        ("pass id_column= with the name", "pass --id-column with the name"),
        ("The 'random_state' parameter of A must be", "--seed must be"),
        ("The 'csv' parameter of load_image_csv must be", "DATA must be"),
        ("'epochs=3.png' isn't there", "'epochs=3.png' isn't there"),
        ('"it\'s epochs=3.png"', '"it\'s epochs=3.png"'),
        (
            "the classes and the epochs of n_images",
            "the classes and the epochs of n_images",
        ),
        ("epochs=<object>", "epochs=<object>"),
        (
            'Load them with ImageLoader(image_size=(32, 32), color_mode="rgb").',
            "Load them with --image-size 32x32 --color-mode rgb.",
        ),
        (
            "must be another column than id_column.",
            "must be another column than --id-column.",
        ),
        (
            "pass label_column= with one of them, or label_column=None for an "
            "unlabelled table.",
            "pass --label-column with one of them.",
        ),
        ("see a_b.c_d and e_f.txt", "see a_b.c_d and e_f.txt"),
    ],
)
def test_messages_name_options(message, expected):
    fit = parse_arguments(FIT_X).parser.list_flags()
    assert name_options(message, fit) == expected


def test_messages_of_other_commands_say_which_options_are_those_of_fit():
    flags = parse_arguments(["predict", "m", "a.png"]).parser.list_flags()
    message = "use color_management=False and max_pixels=9"
    expected = "use fit --no-color-management and --max-pixels 9"
    assert name_options(message, flags) == expected


@pytest.mark.parametrize(
    ("rows", "arguments", "words"),
    [
        ("id,label\n/x.png,1\n", [], "(--allow-outside accepts it)"),
        ("name,label\nx,1\n", ["--id-column", "x"], "--id-column"),
        ("id;label\nx;1\n", [], "pass --sep ';'"),
        ("id,label\nx,1\n", ["--label-column", "id"], "--label-column must be another"),
    ],
)
def test_mistakes_of_a_table_are_told_by_options(run_command, rows, arguments, words):
    pathlib.Path("t.csv").write_text(rows)
    code, _, err = run_command("fit", "t.csv", *arguments, "--output", "m")
    assert code == 1
    assert words in err


@pytest.mark.filterwarnings("default")
def test_warnings_of_a_folder_name_options(run_command, digit_folder):
    os.mkdir("data")
    os.symlink(digit_folder / "1", "data/one")
    code, _, err = run_command("check", "data", digit_folder / "2/digit_0002.png")
    assert code == 1
    assert "holds no images.\n" in err
    assert "--follow-links would enter" in err
    shutil.copy(digit_folder / "2/digit_0002.png", "data")
    code, _, err = run_command("check", "data")
    assert code == 0
    assert "--follow-links would enter" in err
    code, out, err = run_command("check", "data", "--follow-links", "--allow-outside")
    assert (code, err) == (0, "")
    assert out.startswith("183 images")


SMALL = ["--image-size", "8x8", "--hidden-layer-sizes", "4", "--epochs", "1"]


@pytest.fixture(scope="module")
def run_with_settings(digit_folder, tmp_path_factory):
    """Train by the command in a folder of its own; return the path of the model."""
    folder = tmp_path_factory.mktemp("run")
    model = folder / "digits.model"
    more = ["--class-weight", "balanced", "--seed", "3", "--augmentation", "none"]
    data = os.path.relpath(digit_folder / "train.csv")
    assert skimgclf.cli.main(["fit", data, *SMALL, *more, "--output", f"{model}"]) == 0
    return model


def test_settings_repeat_a_run(run_command, run_with_settings):
    path = f"{run_with_settings}.toml"
    assert run_command("fit", "--config", path, "--output", "again")[0] == 0
    first, again = (load_model(each)[-1] for each in [run_with_settings, "again"])
    assert again.get_params() == first.get_params()
    weights = first.model_.get_weights(), again.model_.get_weights()
    assert all(map(np.array_equal, *weights))
    settings = tomllib.loads(pathlib.Path(path).read_text())
    assert settings["hidden-layer-sizes"] == [4]
    assert (settings["kind"], settings["augmentation"]) == ("textbook", "none")
    assert "output" not in settings
    assert not os.path.isabs(settings["data"])


def test_the_command_line_counts_more_than_settings(run_with_settings):
    written = pathlib.Path(f"{run_with_settings}.toml").read_text()
    assert "batch-norm = false" in written
    path = run_with_settings.with_name("with_batch_norm.toml")
    path.write_text(written.replace("batch-norm = false", "batch-norm = true"))
    config = ["fit", "--config", f"{path}", "--output", "m"]
    options = parse_arguments(
        [*config, "--epochs", "7", "other.csv", "--no-batch-norm"]
    )
    assert (options.epochs, options.data, options.batch_norm) == (7, "other.csv", False)
    assert options.hidden_layer_sizes == (4,)
    repeated = parse_arguments(config)
    assert repeated.batch_norm
    assert os.path.isfile(repeated.data)


def test_fine_tuning_that_is_typed_counts_more_than_settings_of_features():
    few = ["--kind", "few_photos", "--backbone", "EfficientNetLite1"]
    options = parse_arguments([*FIT_X, *few, "--pooling", "max"])
    settings = training._list_settings(training.make_pipeline(options), options)
    assert settings["backbone"] == "EfficientNetLite1"
    pathlib.Path("few.model.toml").write_text(write_settings(settings, folder="."))
    again = ["fit", "--config", "few.model.toml", "--output", "m"]
    assert training.make_pipeline(parse_arguments(again))["embed"].pooling == "max"
    tuned = training.check_parameters(parse_arguments([*again, "--fine-tune", "all"]))
    assert list(tuned.named_steps) == ["load", "classify"]
    assert tuned["classify"].architecture == "EfficientNetLite1"
    assert tuned["classify"].fine_tune == "all"


def test_options_of_features_that_are_typed_are_refused_with_fine_tuning(run_command):
    pathlib.Path("a.toml").write_text('data = "x.csv"\nkind = "few_photos"')
    typed = ["--fine-tune", "2", "--pooling", "max", "--output", "m"]
    code, _, err = run_command("fit", "--config", "a.toml", *typed)
    assert code == 2
    assert "--pooling goes with --kind few_photos without --fine-tune" in err


def test_settings_never_replace_what_is_read_or_not_theirs(
    run_command, run_with_settings
):
    shutil.copy(f"{run_with_settings}.toml", "mine.toml")
    pathlib.Path("other.toml").write_text("[tool]\n")
    data = read_settings(f"{run_with_settings}.toml")["data"]
    for output, words in [("mine", "a file that is read"), ("other", "hasn't")]:
        arguments = ["--config", "mine.toml", "--output", output]
        code, _, err = run_command("fit", data, *arguments)
        assert code == 1
        assert words in err
    assert sorted(os.listdir()) == ["mine.toml", "other.toml"]


def test_settings_written_by_hand_take_both_spellings():
    os.mkdir("runs")
    pathlib.Path("runs/net.keras").touch()
    text = """
        data = "train.csv"
        output = "digits.model"
        image_size = [6, 4]
        conv-filters = [8, 16]
        hidden_layer_sizes = []
        kernel-size = "3x5"
        learning-rate = 1e-3
        batch_norm = true
        architecture = "net.keras"
        sep = "\\t"
    """
    # Editors of Windows write a mark of UTF-8 at the start.
    pathlib.Path("runs/a.toml").write_text(text, "utf-8-sig")
    assert read_settings("runs/a.toml") == {
        "data": "runs/train.csv",
        "output": "runs/digits.model",
        "image_size": (6, 4),
        "conv_filters": (8, 16),
        "hidden_layer_sizes": (),
        "kernel_size": (3, 5),
        "learning_rate": 0.001,
        "batch_norm": True,
        "architecture": "runs/net.keras",
        "sep": "\t",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "epoch = 3",
            "'epoch', which is no option of fit; the nearest name is 'epochs'",
        ),
        ("epochs = 0", "invalid 'epochs': '0' is not a number of at least 1"),
        ("epochs = true", "invalid 'epochs': 'True' is not"),
        ("image-size = 28", "invalid 'image-size'"),
        ("lazy = 1", "invalid 'lazy': 1 is not true or false"),
        ("kind = 'photo'", "the nearest name is 'photos'"),
        ("config = 'b.toml'", "is no option of fit"),
        ("random_state = 3", "no option of fit; the option is called 'seed'"),
        ("image-size = [8, 8]\nimage_size = [9, 9]", "has 'image_size' twice"),
        ("epochs =", "isn't TOML"),
        ("[epochs]", "invalid 'epochs'"),
        ("\udcff", "isn't TOML"),
        (None, "can't be read: No such file or directory"),
    ],
)
def test_wrong_settings_are_told(run_command, text, words):
    if text is not None:
        pathlib.Path("a.toml").write_bytes(os.fsencode(text))
    code, out, err = run_command("fit", "--config", "a.toml", "x.csv", "--output", "m")
    assert (code, out) == (2, "")
    assert err.startswith("skimgclf fit: The settings file 'a.toml' ")
    assert words in err


def test_settings_leave_out_paths_that_toml_cannot_hold_and_credentials():
    text = write_settings({"data": "a\udcff.csv", "image_dir": "é"}, folder=".")
    assert tomllib.loads(text) == {"image-dir": "é"}
    text = write_settings({"data": "s3://me:secret@b/t.csv"}, folder=".")
    assert tomllib.loads(text) == {"data": "s3://***@b/t.csv"}
    assert tomllib.loads(write_settings({"data": "t.csv"})) == {}
    odd = 'a"\\\x7f\t\n\x01.csv'
    assert tomllib.loads(write_settings({"data": odd}, folder=".")) == {"data": odd}
    with pytest.raises(SettingsError, match="can't be read"):
        read_settings(".")


def test_info_shows_date_versions_held_out_score_and_settings(
    run_command, run_with_settings
):
    code, out, err = run_command("info", run_with_settings)
    assert (code, err) == (0, "")
    info = read_model_info(run_with_settings)
    assert f"saved: {info.date}, by skimgclf {skimgclf.__version__}, keras" in out
    assert "held out: 30 images" in out
    assert f"held-out accuracy: {info.notes['held-out accuracy']}" in out
    assert "  hidden-layer-sizes = [4]\n" in out
    # A model that is sent to others tells nothing of this machine.
    assert "train.csv" not in out


def test_predict_and_check_take_folders_without_classes(
    run_command, digit_folder, digit_model
):
    for path in ["a/b/2.png", "a/1.png", "a/.hidden/0.png", "c/3.PNG"]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(digit_folder / "1" / "digit_0001.png", path)
    pathlib.Path("a/notes.txt").write_text("no image")
    code, out, err = run_command("predict", digit_model, "c/3.PNG", "a")
    assert (code, err) == (0, "")
    listed = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert listed == ["c/3.PNG", "a/1.png", "a/b/2.png"]
    code, out, err = run_command("check", "a")
    assert (code, err) == (0, "")
    assert out.endswith(
        "2 images, of which all can be read and 1 has the content of an earlier one.\n"
    )
    os.mkdir("empty")
    code, _, err = run_command("predict", digit_model, "a", "empty")
    assert code == 1
    assert "The folder 'empty' holds no images." in err


def feed(monkeypatch, content):
    stream = io.BytesIO(content)
    stream.name = "<stdin>"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))


def test_a_table_comes_from_standard_input(
    run_command, digit_folder, digit_model, monkeypatch
):
    monkeypatch.chdir(digit_folder)
    table = (digit_folder / "test.csv").read_bytes()
    expected = run_command("predict", digit_model, "--csv", "test.csv")
    feed(monkeypatch, table)
    assert run_command("predict", digit_model, "--csv", "-") == expected
    feed(monkeypatch, (digit_folder / "train.csv").read_bytes())
    code, out, _ = run_command("evaluate", digit_model, "-")
    assert code == 0
    assert "Accuracy on 150 images" in out
    feed(monkeypatch, b"name\nx\n")
    code, _, err = run_command("predict", digit_model, "--csv", "-")
    assert code == 1
    assert "The table '<stdin>'" in err


def test_an_image_comes_from_standard_input(
    run_command, digit_folder, digit_model, monkeypatch
):
    image = digit_folder / "1" / "digit_0001.png"
    expected = run_command("predict", digit_model, image)[1].splitlines()[1]
    feed(monkeypatch, image.read_bytes())
    code, out, err = run_command("predict", digit_model, "-", "--top-k", "1")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split(",") == ["-", *expected.split(",")[1:]]
    feed(monkeypatch, b"no image")
    code, out, err = run_command("check", "-")
    assert code == 1
    assert out.startswith("'-': ")
    assert run_command("check", "-", "-")[0] == 2


@pytest.fixture
def stdin_of_table(digit_folder, monkeypatch):
    """Let the process' standard input be a file t.csv."""
    shutil.copy(digit_folder / "test.csv", "t.csv")
    kept = os.dup(0)
    with open("t.csv", "rb") as file:
        os.dup2(file.fileno(), 0)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        yield
    os.dup2(kept, 0)
    os.close(kept)


def test_standard_input_is_never_replaced(
    run_command, stdin_of_table, digit_folder, digit_model
):
    table = ["--csv", "-", "--image-dir", digit_folder, "--output", "t.csv"]
    code, _, err = run_command("predict", digit_model, *table)
    assert code == 1
    assert err.endswith("would replace a file that is read.\n")
    assert os.path.getsize("t.csv") == os.path.getsize(digit_folder / "test.csv")


@pytest.mark.filterwarnings("default")
def test_bad_images_can_be_left_out_of_a_fit(run_command, digit_folder):
    rows = (digit_folder / "train.csv").read_text().splitlines()[:40]
    for row in rows[1:]:
        path = row.split(",")[0]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(digit_folder / path, path)
    path = rows[1].split(",")[0]
    pathlib.Path(path).write_bytes(b"")
    pathlib.Path("t.csv").write_text("\n".join(rows))
    fit = ["fit", "t.csv", *SMALL, "--test-size", "0", "--output", "m"]
    code, _, err = run_command(*fit)
    assert code == 1
    assert path in err
    code, out, err = run_command(*fit, "--on-bad", "drop")
    assert code == 0
    assert out.startswith("38 images")
    assert f"{path}" in err


def test_a_network_that_needs_trust_is_loaded_by_an_option(
    run_command, digit_folder, digit_model
):
    def build(image_shape):
        import keras

        layers = [keras.Input(image_shape), keras.layers.Flatten()]
        return keras.Sequential(layers)

    pipeline = load_model(digit_model)
    images = np.zeros((4, 8, 8, 1), dtype="float32")
    classifier = KerasImageClassifier(build, optimizer="sgd", epochs=1)
    classifier.fit(images, ["a", "b", "a", "b"])
    pipeline.steps[-1] = ("classify", classifier)
    save_model(pipeline, "m")
    image = digit_folder / "1" / "digit_0001.png"
    code, _, err = run_command("predict", "m", image)
    assert code == 1
    assert err.endswith("load it with --trusted.\n")
    assert run_command("predict", "m", image, "--trusted")[0] == 0


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("skimgclf pre", ["predict"]),
        ("skimgclf fit x.csv --kind ", ["textbook", "digits", "photos", "few_photos"]),
        ("skimgclf fit x.csv --test-time-augmentation ", ["flip", "none"]),
    ],
)
def test_the_shell_completes_what_is_typed(typed, expected):
    pytest.importorskip("argcomplete")
    settings = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": "completed",
        "COMP_TYPE": "9",
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    command = [sys.executable, "-m", "skimgclf"]
    subprocess.run(command, env={**os.environ, **settings}, check=True)
    assert pathlib.Path("completed").read_text().split("\n") == expected
