"""The code of README.md and docs/ runs, page by page, and prints what pages show."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from skimgclf import pipelines
from skimgclf._shell.arguments import parse_arguments

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import run_pages  # noqa: E402
import write_figures  # noqa: E402

# Pages that train or start processes for more than some seconds.
LONG_PAGES = {
    *("choosing", "classifier", "cluster", "coming_from", "datasets", "displays"),
    *(
        "getting_started",
        "index",
        "larger_than_memory",
        "parallel",
        "pipelines",
        "pretrained",
    ),
    *("progress", "saving", "shell", "your_photos"),
    *("README", "scikit_learn", "serving", "troubleshooting"),
}


def find_pages():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages = [page for page in pages if "_build" not in page.parts]
    return [page for page in pages if run_pages.read_blocks(page.read_text("utf-8"))]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Make the images that pages take for granted."""
    folder = tmp_path_factory.mktemp("docs")
    run_pages.make_images(folder)
    yield folder
    get_reusable_executor().shutdown()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=pytest.mark.slow if page.stem in LONG_PAGES else (),
        )
        for page in find_pages()
    ],
)
def test_docs_code_runs_and_prints_what_the_page_shows(
    page, images, tmp_path, monkeypatch, pyplot
):
    folder = shutil.copytree(images, tmp_path / "page")
    monkeypatch.chdir(folder)
    digest, named = run_pages.compute_digest(page.read_text("utf-8"))
    assert named in (None, digest), "write the outputs of this page anew"
    for block, printed, _ in run_pages.run_page(page):
        if block.output is not None and named is None:
            assert run_pages.is_alike(block.output, printed), printed
        for picture in block.pictures:
            assert (page.parent / picture).exists()


@pytest.fixture
def small_networks(tmp_path, monkeypatch):
    """Let the kinds of pipelines train one layer, for one epoch."""
    layers = [keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential(layers).save(tmp_path / "small.keras")
    for steps in pipelines._KINDS.values():
        # TensorFlow traces this optimizer quickly.
        small = {"hidden_layer_sizes": (), "optimizer": "sgd", "epochs": 1}
        monkeypatch.setitem(steps, "classify", small)
        monkeypatch.setitem(steps, "load", {**steps["load"], "image_size": (32, 32)})
        if "embed" in steps:
            backbone = {"backbone": tmp_path / "small.keras"}
            monkeypatch.setitem(steps, "embed", backbone)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        pytest.param("docs/user_guide/troubleshooting.md", marks=pytest.mark.slow),
    ],
)
def test_docs_code_of_long_pages_runs_with_small_networks(
    name, images, tmp_path, small_networks, monkeypatch, pyplot
):
    monkeypatch.chdir(shutil.copytree(images, tmp_path / "page"))
    blocks = [block for block, _, _ in run_pages.run_page(ROOT / name)]
    assert len(blocks) >= 2


@pytest.mark.slow
# What Keras warns of in its own code is none of ours.
@pytest.mark.filterwarnings("ignore")
def test_docs_code_of_keras_and_scikeras_before_runs(images, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "user_guide" / "coming_from.md").read_text("utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    folder = shutil.copytree(images, tmp_path / "page")
    # Keras' readers take a table for an image.
    (folder / "photos" / "photos.csv").unlink()
    monkeypatch.chdir(folder)
    namespace = {"X": np.eye(8).reshape(8, 8, 1), "y": np.arange(8) % 2}
    for block in blocks[:3]:
        exec(compile(block, "coming_from.md", "exec"), namespace)
    assert namespace["test"].samples == 20
    assert namespace["classifier"].predict(namespace["X"]).shape == (8,)


def test_docs_pages_have_code():
    assert len(find_pages()) >= 7
    assert {page.stem for page in find_pages()} > LONG_PAGES


def test_docs_outputs_and_pictures_belong_to_the_block_above():
    text = (
        "```python\nprint(1)\n```\n\n```text\n1\n```\n\n![a](b.png)\n\n![c](d.png)\n\n"
        "```sh\nskimgclf --help\n```\n\n```python\npass\n```\n\nText.\n\n![e](f.png)\n"
    )
    first, second = run_pages.read_blocks(text)
    assert (first.code, first.output, first.line) == ("print(1)\n", "1\n", 1)
    assert first.pictures == ["b.png", "d.png"]
    assert text[slice(*first.span)] == "1\n"
    assert (second.code, second.output, second.pictures) == ("pass\n", None, [])


@pytest.mark.parametrize(
    ("expected", "printed", "is_alike"),
    [
        ("accuracy: 0.97\n", "accuracy:  0.93", True),
        ("accuracy: 0.97\n", "accuracy: 0.91", False),
        ("360 images", "361 images", False),
        ("0.9 right", "0.9 wrong", False),
        ("Epoch 1/2: loss 0.5100 (0.3 s)", "Epoch 1/2: loss 0.5200 (41.9 s)", True),
    ],
)
def test_docs_outputs_may_differ_in_decimals_only(expected, printed, is_alike):
    assert run_pages.is_alike(expected, printed) == is_alike


def test_docs_outputs_and_pictures_are_written(tmp_path, pyplot):
    page = tmp_path / "page.md"
    text = (
        "<!-- outputs of the code 000000000000 -->\n\n"
        "```python\nimport matplotlib.pyplot as plt\n\n"
        "figure = plt.figure(figsize=(2, 1))\nprint('new')\n```\n\n"
        "```text\nold\n```\n\n![A picture](pictures/one.png)\n\nText.\n"
    )
    page.write_text(text)
    run_pages.write_page(page, tmp_path)
    written = page.read_text()
    digest, named = run_pages.compute_digest(text)
    assert (written != text, named) == (True, "0" * 12)
    assert run_pages.compute_digest(written) == (digest, digest)
    assert written == text.replace("old", "new").replace("0" * 12, digest)
    assert (tmp_path / "pictures" / "one.png").read_bytes().startswith(b"\x89PNG")
    page.write_text(text.replace("figure = ", "# "))
    with pytest.raises(ValueError, match="shows 1 pictures below line 3, where 0 are"):
        run_pages.write_page(page, tmp_path)


def test_docs_commands_of_the_shell_must_succeed(capsys):
    with pytest.raises(ValueError, match="fails: skimgclf info"):
        run_pages.run_commands("skimgclf info \\\n none.model\n")
    with pytest.raises(ValueError, match="can't be run"):
        run_pages.run_commands("rm -r photos\n")


def list_commands(text):
    """List the arguments of the commands `skimgclf` in the blocks of a page."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(part) for line in lines for part in line.split("|")]
    return [words[1:] for words in commands if words[:1] == ["skimgclf"]]


@pytest.mark.parametrize("page", ["README.md", "user_guide/shell.md"])
def test_docs_commands_of_the_shell_have_known_options(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits.model.toml").write_text('data = "train.csv"\nkind = "digits"\n')
    text = (ROOT if page == "README.md" else ROOT / "docs").joinpath(page).read_text()
    commands = list_commands(text)
    assert len(commands) >= 5
    for arguments in commands:
        options = parse_arguments(arguments)
        # Ids of a table are looked up beside it, and standard input lies nowhere.
        if getattr(options, "csv", None) == "-":
            assert options.image_dir


@pytest.mark.parametrize(("page", "write"), write_figures.PAGES.items())
def test_docs_figures_are_those_of_the_tables(page, write):
    text = page.read_text("utf-8")
    assert write_figures.fill_page(text, write) == text
    assert write_figures.fill_page(text, lambda: "no figures") != text


def test_docs_figures_say_what_the_sentences_claim():
    figures = write_figures.read_figures()
    assert figures["few_photos"] > figures["photos"] > figures["tutorial"]
    assert figures["large"] > figures["small"] > 0
    assert figures["ours"] < figures["keras"]


def test_docs_choosing_claims_what_was_measured():
    """Pretrained far ahead with 50 photos a class, nearly caught up with 500."""
    rows = [row.split(" | ") for row in write_figures.write_table().splitlines()[2:]]
    few, photos, *others = [[int(row[i].split()[0]) for i in (1, 3)] for row in rows]
    assert few[0] >= photos[0] + 15
    assert few[1] <= photos[1] + 5
    assert max(other[0] for other in others) <= photos[0]
    milliseconds = [float(row[-1].split()[0]) for row in rows]
    assert milliseconds[0] >= 10 * milliseconds[1]


def test_the_layout_asks_for_what_pages_are_given():
    # Sphinx drops what it doesn't know silently, and the picture of the card with it.
    layout = (ROOT / "docs/_templates/layout.html").read_text("utf-8")
    asked = set(re.findall(r"{%-? if (\w+)", layout))
    assert asked
    conf = (ROOT / "docs/conf.py").read_text("utf-8")
    given = re.search(r"^html_context = ({.*})", conf, re.MULTILINE)[1]
    assert asked == set(re.findall(r'"(\w+)":', given))
