"""examples/quickstart.py does what README says of it."""

import pathlib
import re
import runpy
import subprocess
import sys
import types

import pandas as pd
import pytest

QUICKSTART = pathlib.Path(__file__).parent.parent / "examples" / "quickstart.py"


def check_output(printed, folder, smallest_accuracy):
    """Check what quickstart has printed, and written into a folder."""
    accuracy = re.search(r"best on the 360 test images: (\S+)", printed).group(1)
    assert float(accuracy) >= smallest_accuracy
    assert "the labels are equal" in printed
    predictions = pd.read_csv(folder / "predictions.csv", dtype={"label": str})
    assert predictions.columns.tolist() == ["id", "label", "probability"]
    right = predictions["id"].str.split("/").str[0] == predictions["label"]
    assert abs(right.mean() - float(accuracy)) < 1e-3


def predict_here(command, check):
    """Run the code of a new process in this one, since a start takes seconds."""
    assert command[:2] == [sys.executable, "-c"]
    assert check
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command[1:2] + command[3:])
        exec(command[2], {})


def test_quickstart_searches_scores_and_writes_predictions(tmp_path, capsys):
    quickstart = runpy.run_path(str(QUICKSTART))
    # In this module only, since other packages start processes as well.
    names = quickstart["main"].__globals__
    names["subprocess"] = types.SimpleNamespace(run=predict_here)
    small = {"classify__architecture": ["dense"]}
    small["classify__hidden_layer_sizes"] = [(40, 20, 10)]
    quickstart["GRID"][:] = [small]
    accuracy = quickstart["main"](tmp_path)
    assert 0.9 < accuracy <= 1
    check_output(capsys.readouterr().out, tmp_path, 0.9)


@pytest.mark.slow
def test_quickstart_reaches_97_percent(tmp_path):
    done = subprocess.run(
        [sys.executable, QUICKSTART],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    check_output(done.stdout, tmp_path / "skimgclf-quickstart", 0.97)
