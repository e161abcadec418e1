"""The command skimgclf: Ctrl-C, pipes, and the files that it writes."""

import contextlib
import io
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import time

import pandas as pd
import pytest

from skimgclf import KerasImageClassifier, _atomic, cli
from skimgclf._shell import commands, report
from skimgclf._shell.report import escape_cell, write_csv

pytestmark = pytest.mark.usefixtures("empty_folder")


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


def test_ctrl_c_in_training_writes_nothing(run_command, digit_folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(KerasImageClassifier, "fit", interrupt)
    code, _, err = run_command("fit", f"{digit_folder}/train.csv", "--output", "m")
    assert code == 130
    assert err == "skimgclf: Interrupted: nothing was written.\n"
    assert os.listdir() == []


@pytest.mark.slow
def test_interrupted_training_writes_nothing(digit_folder, pytestconfig):
    arguments = [
        "fit",
        f"{digit_folder}/train.csv",
        "--epochs",
        "100000",
        "--output",
        "m",
    ]
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


def test_interrupted_writing_leaves_the_old_file(
    run_command, digit_folder, digit_model, monkeypatch
):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    pathlib.Path("p.csv").write_text("old")
    monkeypatch.setattr(os, "replace", interrupt)
    table = f"{digit_folder}/test.csv"
    code, _, err = run_command(
        "predict", digit_model, "--csv", table, "--output", "p.csv"
    )
    assert code == 130
    assert err == "skimgclf: Interrupted: nothing was written.\n"
    assert os.listdir() == ["p.csv"]
    assert pathlib.Path("p.csv").read_text() == "old"


@pytest.mark.parametrize("command", ["predict", "check"])
@pytest.mark.parametrize("moment", ["renamed", "synced", "streamed"])
def test_ctrl_c_after_the_output_was_written_says_so(
    run_command, digit_folder, digit_model, monkeypatch, command, moment
):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    def replace_and_interrupt(source, target, replace=os.replace):
        replace(source, target)
        raise KeyboardInterrupt

    pathlib.Path("p.csv").write_text("old")
    said, output = "'p.csv' was written.", "p.csv"
    if moment == "renamed":
        monkeypatch.setattr(os, "replace", replace_and_interrupt)
    elif moment == "synced":
        monkeypatch.setattr(_atomic, "_sync_folder", interrupt)
    else:
        monkeypatch.setattr(report, "_write_in_place", interrupt)
        said, output = "A part of the table may have been written.", "-"
    table = f"{digit_folder}/test.csv"
    given = [table] if command == "check" else [digit_model, "--csv", table]
    code, _, err = run_command(command, *given, "--output", output)
    assert (code, err) == (130, f"skimgclf: Interrupted: {said}\n")
    assert (pathlib.Path("p.csv").read_text() == "old") is (moment == "streamed")


def test_ctrl_c_while_check_prints_says_what_was_written(
    run_command, digit_folder, monkeypatch
):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_print_report", interrupt)
    for options, said in [
        ([], "nothing was written."),
        (["--output", "p.csv"], "'p.csv' was written."),
    ]:
        code, _, err = run_command("check", f"{digit_folder}/test.csv", *options)
        assert (code, err) == (130, f"skimgclf: Interrupted: {said}\n")


def fit_again(run_command, digit_folder, digit_model):
    """Run a fit whose two outputs are there already; return what the command does."""
    for ending in ("", ".toml"):
        shutil.copy(f"{digit_model}{ending}", f"m{ending}")
    sizes = ["--image-size", "8x8", "--hidden-layer-sizes", "4", "--epochs", "1"]
    return run_command("fit", f"{digit_folder}/train.csv", *sizes, "--output", "m")


def is_old(name, digit_model):
    old = pathlib.Path(f"{digit_model}{name[1:]}")
    return pathlib.Path(name).read_bytes() == old.read_bytes()


@pytest.mark.parametrize("n", [0, 1])
def test_a_full_disk_replaces_neither_a_model_nor_its_settings(
    run_command, digit_folder, digit_model, fill_disk, n
):
    fill_disk(n)
    code, _, err = fit_again(run_command, digit_folder, digit_model)
    assert code == 1
    assert err == (
        f"skimgclf: error: {'m' if n else 'm.toml'!r}: No space left on device: delete "
        "files there, or write to another place.\n"
    )
    assert all(is_old(name, digit_model) for name in ("m", "m.toml"))
    assert sorted(os.listdir()) == ["m", "m.toml"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "Interrupted: Only 'm' was written."),
        (OSError(5, "Input/output error"), "error: Input/output error. Only 'm' was"),
    ],
)
def test_a_model_that_was_written_without_its_settings_is_named(
    run_command, digit_folder, digit_model, monkeypatch, error, said
):
    replace, replaced = os.replace, []

    def fail_second(source, target):
        replaced.append(target)
        if len(replaced) == 2:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    code, _, err = fit_again(run_command, digit_folder, digit_model)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert err.startswith(f"skimgclf: {said}")
    assert not is_old("m", digit_model)
    assert is_old("m.toml", digit_model)
    assert sorted(os.listdir()) == ["m", "m.toml"]


def test_an_output_that_is_read_is_never_replaced(
    run_command, digit_folder, digit_model
):
    folder = pathlib.Path("digits")
    for name in "12":
        shutil.copytree(digit_folder / name, folder / name)
    table = pathlib.Path("digits/t.csv")
    table.write_text("id,label\n1/digit_0001,1\n2/digit_0002,2\n")
    image = folder / "1" / "digit_0001.png"
    os.symlink(image, "link")
    os.symlink(digit_model, "model")
    before = {path: path.read_bytes() for path in [table, image]}
    for arguments in [
        ["fit", table, "--output", table],
        ["fit", table, "--output", image],
        ["fit", folder, "--output", image],
        ["fit", folder, "--output", "link"],
        ["predict", digit_model, image, "--output", image],
        ["predict", digit_model, "--csv", table, "--output", table],
        ["predict", digit_model, "--csv", table, "--output", image],
        ["predict", digit_model, image, "--output", "model"],
        ["check", table, "--output", table],
        ["check", table, "--output", image],
        ["check", folder, "--output", image],
    ]:
        code, out, err = run_command(*arguments)
        assert (code, out) == (1, "")
        assert err.endswith("would replace a file that is read.\n")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.filterwarnings("default")
def test_fit_replaces_neither_dropped_images_nor_what_its_network_is_built_from(
    run_command, digit_folder, monkeypatch
):
    def fail(*_):
        raise AssertionError("the output is looked at before the training")

    monkeypatch.setattr(KerasImageClassifier, "fit", fail)
    folder = pathlib.Path("digits")
    for name in "12":
        shutil.copytree(digit_folder / name, folder / name)
    broken, net, weights = folder / "1/broken.png", "net.keras", "net.weights.h5"
    for path in (broken, net, weights):
        pathlib.Path(path).write_bytes(b"old")
    os.link(net, "hard")
    for options, output in [
        ([], broken),
        (["--architecture", net], net),
        (["--architecture", net], "hard"),
        (["--architecture", "MobileNet", "--weights", weights], weights),
        (["--kind", "few_photos", "--backbone", net], net),
    ]:
        code, out, err = run_command(
            *("fit", folder, "--on-bad", "drop", *options, "--output", output)
        )
        assert (code, out) == (1, "")
        assert err.endswith("would replace a file that is read.\n")
    for path in (broken, net, weights):
        assert pathlib.Path(path).read_bytes() == b"old"


def test_an_output_is_compared_with_what_is_read_as_a_file(
    run_command, digit_folder, digit_model, monkeypatch
):
    """However both are written: "~", links to folders, hard links, URLs, the cache."""
    here = os.getcwd()
    monkeypatch.setenv("HOME", here)
    shutil.copy(digit_folder / "1" / "digit_0001.png", "x.png")
    shutil.make_archive("a", "zip", here, "x.png")
    pathlib.Path("t.csv").write_text("id\nx.png\n")
    os.link("t.csv", "hard.csv")
    os.symlink(here, "link")
    time.sleep(0.1)  # the cache keeps no file that has just been written
    run_command("predict", digit_model, "x.png", "--cache", ".", "--output", "p.csv")
    names = ["x.png", "a.zip", "t.csv", "hard.csv", "images-1.sqlite"]
    before = {path: path.read_bytes() for path in map(pathlib.Path, names)}
    for arguments in [
        ["predict", digit_model, "--csv=~/t.csv", "--output", f"{here}/t.csv"],
        ["predict", digit_model, "--csv", "t.csv", "--output=~/t.csv"],
        ["predict", digit_model, "--csv=~/t.csv", "--output=~/x.png"],
        ["predict", digit_model, "--csv", "t.csv", "--output", "link/hard.csv"],
        ["predict", digit_model, f"file://{here}/x.png", "--output", "x.png"],
        ["predict", digit_model, f"local://{here}/x.png", "--output", "x.png"],
        ["predict", digit_model, "zip://x.png::a.zip", "--output", "link/a.zip"],
        [
            *("predict", digit_model, f"zip://x.png::file://{here}/a.zip"),
            *("--output", "a.zip"),
        ],
        [
            *("predict", digit_model, "x.png", "--cache", "."),
            *("--output", "images-1.sqlite"),
        ],
        ["check", "~/t.csv", "--output", f"{here}/t.csv"],
        ["check", f"file://{here}/x.png", "--output", "x.png"],
        ["check", f"simplecache::file:{here}/x.png", "--output", "x.png"],
        ["check", f"dir://x.png::{here}", "--output", "x.png"],
    ]:
        code, out, err = run_command(*arguments)
        assert (code, out) == (1, "")
        assert err.endswith("would replace a file that is read.\n")
    assert {path: path.read_bytes() for path in before} == before
    # A member of an archive is no file of the same name.
    member = ["predict", digit_model, "zip://x.png::a.zip", "--output", "x.png"]
    assert run_command(*member)[0] == 0


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
def test_fit_refuses_a_useless_output_before_it_trains(
    run_command, digit_folder, output, words
):
    code, out, err = run_command("fit", f"{digit_folder}/train.csv", "--output", output)
    assert (code, out) == (1, "")
    assert words in err


def test_an_output_without_permission_is_refused(
    run_command, digit_folder, monkeypatch
):
    pathlib.Path("old.csv").touch()
    # For root everything is allowed, and tests may run as root.
    monkeypatch.setattr(os, "access", lambda path, mode: "old" not in str(path))
    code, _, err = run_command(
        "check", digit_folder / "test.csv", "--output", "old.csv"
    )
    assert code == 1
    assert err == "skimgclf: error: There is no permission to write 'old.csv'.\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_full_stream_changes_no_file(digit_folder, monkeypatch, capsys):
    full = open("/dev/full", "w")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        code = cli.main(["check", f"{digit_folder}/test.csv", "--output", "r.csv"])
    with contextlib.suppress(OSError):  # what it holds can't be written
        full.close()
    said = "skimgclf: error: No space left on device. 'r.csv' was written.\n"
    assert (code, capsys.readouterr().err) == (1, said)
    assert len(pd.read_csv("r.csv")) == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed",
    [
        ">&- 2>&-",
        pytest.param(
            ">/dev/full",
            marks=pytest.mark.skipif(
                not os.path.exists("/dev/full"), reason="only Linux has /dev/full"
            ),
        ),
    ],
)
def test_closed_or_full_streams_change_no_file(digit_folder, closed):
    command = (
        f"{sys.executable} -m skimgclf check {digit_folder}/test.csv --output r.csv"
    )
    done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True)
    assert done.returncode == (1 if "full" in closed else 0)
    assert b"Traceback" not in done.stderr
    assert len(pd.read_csv("r.csv")) == 10


@pytest.fixture
def named_by_bytes(digit_folder, names_of_any_bytes):
    """Write two images, and return their names."""
    content = (digit_folder / "1" / "digit_0001.png").read_bytes()
    names = [b"a\xff.png", "é.png".encode()]
    for name in names:
        pathlib.Path(os.fsdecode(name)).write_bytes(content)
    return names


def test_names_of_any_bytes_go_through_streams_of_ascii(named_by_bytes, monkeypatch):
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
        for name in ("stdout", "stderr")
    }
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    names = [*map(os.fsdecode, named_by_bytes), "no\udcff"]
    assert cli.main(["check", *names, "--output", "-"]) == 1
    out, err = (stream.buffer.getvalue() for stream in streams.values())
    lines = out.splitlines()[1:]
    assert [line.split(b",")[0] for line in lines] == [*named_by_bytes, b"no\xff"]
    assert b"'no\\udcff': there is no such file" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict"},
        # As in a pipe on Windows.
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_names_of_any_bytes_go_through_pipes(named_by_bytes, environment):
    settings = {**os.environ, **environment}
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "skimgclf",
            "check",
            *named_by_bytes,
            "no\udcff",
            "--output",
            "-",
        ],
        capture_output=True,
        env=settings,
    )
    lines = process.stdout.splitlines()[1:]
    assert [line.split(b",")[0] for line in lines] == [*named_by_bytes, b"no\xff"]
    assert b"'no\\udcff': there is no such file" in process.stderr
    assert process.returncode == 1


@pytest.mark.slow
def test_closed_pipe_ends_quietly(digit_folder):
    with start("check", digit_folder / "test.csv", "--output", "-") as process:
        process.stdout.close()  # as by `head`, once it has seen enough
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_output_may_be_a_device_and_keeps_it(run_command, digit_folder, digit_model):
    table = f"{digit_folder}/test.csv"
    arguments = ["predict", digit_model, "--csv", table, "--output", "/dev/null"]
    assert run_command(*arguments) == (0, "", "")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_output_goes_through_a_link_and_has_usual_permissions(
    run_command, digit_folder
):
    os.symlink("real.csv", "link.csv")
    assert (
        run_command("check", digit_folder / "test.csv", "--output", "link.csv")[0] == 0
    )
    assert os.path.islink("link.csv")
    pathlib.Path("usual").touch()
    assert os.stat("real.csv").st_mode == os.stat("usual").st_mode


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cat", "'-cat"),
        ("-", "-"),
        ("@a", "'@a"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/tty")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_table_on_a_terminal_is_escaped_by_whatever_name(is_terminal):
    """As with "--output /dev/stdout"; a pipe gets the text as it is."""
    reader, writer = os.openpty() if is_terminal else os.pipe()
    path = os.ttyname(writer) if is_terminal else f"/dev/fd/{writer}"
    try:
        write_csv(pd.DataFrame({"id": ["bad\x1b[31mX.png"]}), path)
        text = os.read(reader, 1000)
    finally:
        os.close(reader)
        os.close(writer)
    assert (b"\x1b" in text) == (not is_terminal)
    assert b"X.png" in text


def test_write_csv_keeps_names_that_are_not_utf8_and_escapes_columns():
    names = pd.Series(["a\udcff.png", "é,1"], dtype=object)
    frame = pd.DataFrame({"=id": names, "p": [0.5, None]})
    write_csv(frame, "t.csv")
    assert pathlib.Path("t.csv").read_bytes() == (
        b"'=id,p\na\xff.png,0.5\n" + '"é,1",\n'.encode()
    )
