"""README's code runs as it stands there."""

import pathlib
import re
import shutil

import pandas as pd
import pytest

from skimgclf.datasets import load_digit_images

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def first_block_under(heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```sh\n(.*?)```", section, flags=re.DOTALL).group(1)


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """Lay out train.csv, train/, test.csv and test/ as README's reader has them."""
    digits = load_digit_images(tmp_path / "data")
    rows = pd.DataFrame({"path": digits.filenames, "label": digits.target})[:260]
    rows["id"] = [f"{row:03d}" for row in rows.index]
    for folder, part in (("train", rows[:200]), ("test", rows[200:])):
        (tmp_path / folder).mkdir()
        for path, image_id in zip(part["path"], part["id"], strict=True):
            shutil.copy(path, tmp_path / folder / f"{image_id}.png")
    rows[:200][["id", "label"]].to_csv(tmp_path / "train.csv", index=False)
    rows[200:][["id"]].to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_blocks_run_in_order(working_folder):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})  # each stands alone
    predictions = pd.read_csv("predictions.csv", dtype=str)
    assert predictions["id"].tolist() == [f"{row:03d}" for row in range(200, 260)]
    assert set(predictions["label"]) <= set("0123456789")


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_commands_are_one_line_each(heading):
    assert len(first_block_under(heading).splitlines()) == 1


def test_command_under_try_it_runs_the_quickstart():
    assert first_block_under("Try it").rstrip().endswith("examples/quickstart.py")
