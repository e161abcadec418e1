"""Damaged files: every truncation is found, and nothing worse than an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from campaign_counts import show_counts
from PIL import ImageFile
from sample_images import HEIGHT, WIDTH, make_corpus

from skimgclf.exceptions import ImageLoadError
from skimgclf.images import read_image

TESTS = Path(__file__).parent
READABLE = [sample for sample in make_corpus() if sample.gray is not None]


def cut_points(sample):
    """Choose where to cut a file: in its header, its middle and its last bytes."""
    length = len(sample.content)
    points = {4, 20, 80, length // 4, length // 2, length * 3 // 4, length - 40}
    # The numbers of a plain PNM file are text: cut in its digits, the last one is
    # another number, which nobody can tell.
    if not sample.name.startswith("plain"):
        points |= {length - 12, length - 4, length - 1}
    return sorted(point for point in points if 0 < point < length)


@pytest.mark.parametrize(
    "load_truncated", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_truncations_are_never_silent(monkeypatch, load_truncated):
    """A cut file is refused, or lost nothing that its pixels depend on."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", load_truncated)
    options = {"image_size": (HEIGHT, WIDTH), "color_mode": "rgba"}
    n_cuts = n_refused = 0
    for sample in READABLE:
        whole = read_image(sample.content, **options)
        for point in cut_points(sample):
            n_cuts += 1
            try:
                image = read_image(sample.content[:point], **options)
            except ImageLoadError:
                n_refused += 1
            else:
                assert np.array_equal(image, whole), (sample.name, point)
    assert n_cuts >= 400
    assert n_refused >= 0.8 * n_cuts


def read_mutations(folder, n_files, n_processes=2):
    """Read mutated files in child processes, and return their reports."""
    command = [sys.executable, "-W", "error", str(TESTS / "mutation_worker.py")]
    places = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    children = [
        subprocess.Popen(
            [*command, str(seed), str(n_files // n_processes), str(folder)],
            stdout=subprocess.PIPE,
            # libtiff writes its remarks there, past Python.
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        for seed in range(n_processes)
    ]
    outputs = [child.communicate(timeout=600)[0] for child in children]
    assert [child.returncode for child in children] == [0] * n_processes
    return [json.loads(output) for output in outputs]


def check_mutations(reports, n_files):
    """Hold the reports of `read_mutations` against what is promised."""
    assert sum(report["read"] + report["refused"] for report in reports) == n_files
    assert sum(report["refused"] for report in reports) > 0.3 * n_files
    for report in reports:
        assert report["escaped"] == report["nameless"] == report["disagreed"] == []
        assert report["heavy"] == []
        assert report["slowest"] < 10
        assert report["peak_mb"] < 512


@pytest.mark.slow
def test_mutations_raise_only_errors_that_name_the_file(tmp_path):
    """Of 5,000 mutated files none crashes, hangs, eats memory or fails namelessly."""
    check_mutations(read_mutations(tmp_path, 5000), 5000)


@pytest.mark.slow
@pytest.mark.campaign
def test_thirty_thousand_mutations(tmp_path):
    """The same with 30,000 files."""
    reports = read_mutations(tmp_path, 30_000)
    counts = {
        name: sum(len(report[name]) for report in reports)
        for name in ("escaped", "nameless", "heavy")
    }
    for name in ("read", "refused"):
        counts[name] = sum(report[name] for report in reports)
    counts["slowest, in s"] = round(max(report["slowest"] for report in reports), 1)
    show_counts("mutated image files", files=30_000, **counts)
    check_mutations(reports, 30_000)
