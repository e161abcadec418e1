"""examples/quickstart.py does what README says of it."""

import pathlib
import re
import subprocess
import sys

import pandas as pd

QUICKSTART = pathlib.Path(__file__).parent.parent / "examples" / "quickstart.py"


def test_quickstart_reaches_97_percent_and_writes_predictions(tmp_path):
    done = subprocess.run(
        [sys.executable, QUICKSTART],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"best on the 360 test images: (\S+)", done.stdout).group(1)
    assert float(accuracy) >= 0.97
    assert "the labels are equal" in done.stdout
    predictions = pd.read_csv(
        tmp_path / "skimgclf-quickstart" / "predictions.csv", dtype={"label": str}
    )
    assert predictions.columns.tolist() == ["id", "label", "probability"]
    right = predictions["id"].str.split("/").str[0] == predictions["label"]
    assert abs(right.mean() - float(accuracy)) < 1e-3
