"""The Python blocks of README.md and docs/ run, page by page, on real images."""

import re
import shutil
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from skimgclf.datasets import load_digit_images, load_photo_patches

ROOT = Path(__file__).parents[1]
N_TRAIN, N_TEST = 80, 20

# An opening fence, the code, and a closing fence of the same indentation.
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def find_pages():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages = [page for page in pages if "_build" not in page.parts]
    return [page for page in pages if PYTHON_BLOCK.search(page.read_text("utf-8"))]


def read_blocks(page):
    """Return code and line number of each Python block of a page."""
    text = page.read_text("utf-8")
    return [
        (match[1], text.count("\n", 0, match.start(1)))
        for match in PYTHON_BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Make what pages take for granted: train.csv, train/, test.csv, test/, photos/."""
    folder = tmp_path_factory.mktemp("docs")
    digits = load_digit_images(folder / "home")
    for name, rows in {
        "train": range(N_TRAIN),
        "test": range(N_TRAIN, N_TRAIN + N_TEST),
    }.items():
        (folder / name).mkdir()
        lines = ["id,label" if name == "train" else "id"]
        for i, row in enumerate(rows):
            shutil.copy(digits.filenames[row], folder / name / f"{i:03}.png")
            label = f",{digits.target[row]}" if name == "train" else ""
            lines.append(f"{i:03}{label}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    shutil.move(load_photo_patches(folder / "home").root, folder / "photos")
    shutil.rmtree(folder / "home")
    yield folder
    get_reusable_executor().shutdown()


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=str(page.relative_to(ROOT))) for page in find_pages()],
)
def test_docs_python_blocks_run(page, images, tmp_path, monkeypatch, pyplot):
    folder = shutil.copytree(images, tmp_path / "page")
    monkeypatch.chdir(folder)
    namespace = {"__name__": "page"}
    for code, line in read_blocks(page):
        # Newlines in front, so that a traceback names the line of the page.
        exec(compile("\n" * line + code, page, "exec"), namespace)


def test_docs_pages_have_python_blocks():
    assert len(find_pages()) >= 7
