"""TensorFlow starts without its own lines on stderr, and loses no other line."""

import os
import tempfile
import threading

import pytest

from skimgclf.models._start import without_start_lines

HEAD = "I0000 00:00:1795805723.240590   19344"
START_LINES = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to "
    "STDERR",
    f"{HEAD} cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will "
    "not be used.",
    "2026-11-27 18:55:55.123456: I tensorflow/core/platform/cpu_feature_guard.cc:227] "
    "This TensorFlow binary is optimized to use available CPU instructions in "
    "performance-critical operations.",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild "
    "TensorFlow with the appropriate compiler flags.",
    "E0000 00:00:1795805736.776154   19344 cuda_platform.cc:52] failed call to cuInit: "
    "INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
]
OTHER_LINES = [
    "E0000 00:00:1795805736.776154   19344 cuda_platform.cc:52] failed call to cuInit: "
    "INTERNAL: CUDA error: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)",
    f"{HEAD} gpu_device.cc:2431] Cannot dlopen some GPU libraries.",
    "a line of another thread that says Could not find cuda drivers on your machine, "
    "GPU will not be used.",
    "",
]


@pytest.fixture(autouse=True)
def without_level(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)


def write(lines):
    os.write(2, "".join(f"{line}\n" for line in lines).encode())


def test_known_start_lines_are_left_out(capfd):
    with without_start_lines():
        write(START_LINES)
    assert capfd.readouterr().err == ""


def test_other_lines_are_printed_in_their_order(capfd):
    with without_start_lines():
        write([OTHER_LINES[0], *START_LINES, *OTHER_LINES[1:]])
        os.write(2, b"bytes \xff and no end of line")
    lines = capfd.readouterr().err
    assert lines == "\n".join([*OTHER_LINES, "bytes \ufffd and no end of line"])


def start_without_library():
    with without_start_lines():
        write(START_LINES)
        raise ImportError("no library")


def test_all_lines_are_printed_after_an_error(capfd):
    with pytest.raises(ImportError, match="no library"):
        start_without_library()
    assert capfd.readouterr().err.splitlines() == START_LINES


@pytest.mark.parametrize(
    ("level", "is_quiet"), [("0", False), ("2", False), ("3", True)]
)
def test_a_log_level_of_the_user_shows_start_lines(level, is_quiet, monkeypatch, capfd):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    with without_start_lines():
        write(START_LINES[:1])
    assert (capfd.readouterr().err == "") is is_quiet


def test_lines_of_another_thread_are_not_lost(capfd):
    with without_start_lines():
        thread = threading.Thread(target=write, args=[["another thread"]])
        thread.start()
        thread.join()
    assert capfd.readouterr().err == "another thread\n"


def test_two_threads_wait_for_each_other(capfd):
    threads = [threading.Thread(target=start_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write(["heard"])
    assert capfd.readouterr().err.splitlines() == [*["started"] * 8, "heard"]


def start_once():
    with without_start_lines():
        write([START_LINES[0], "started"])


def test_a_closed_stderr_stays_closed():
    stderr = os.dup(2)
    os.close(2)
    try:
        with without_start_lines():
            pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(2)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def test_without_a_place_for_a_file_all_lines_are_printed(monkeypatch, capfd):
    def refuse():
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with without_start_lines():
        write(START_LINES)
    assert capfd.readouterr().err.splitlines() == START_LINES
