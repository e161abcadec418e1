"""docs/check_site.py finds dead links, pictures without texts and wide code."""

import doctest
import importlib
import inspect
import pathlib
import re
import runpy

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGE = '<h1 id="top">Title</h1><a href="other.html#there">x</a><pre>code</pre>'


@pytest.fixture(scope="module")
def check_site():
    return runpy.run_path(DOCS / "check_site.py")["check_site"]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "other.html").write_text('<p id="there"></p><img src="a.png" alt="a">')
    (tmp_path / "a.png").touch()
    return tmp_path


def test_check_site_finds_nothing_wrong_with_a_good_site(site, check_site):
    assert check_site(site) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="gone.html">x</a>', "the link 'gone.html' leads nowhere"),
        ('<a href="other.html#gone">x</a>', "'other.html#gone' leads nowhere"),
        ('<a href="#gone">x</a>', "the link '#gone' leads nowhere"),
        ('<img src="gone.png" alt="a">', "the link 'gone.png' leads nowhere"),
        ('<img src="a.png">', "the picture 'a.png' has no alt text"),
        ('<img src="a.png" alt="">', "the picture 'a.png' has no alt text"),
        ('<img src="a.png" alt="a.png">', "the picture 'a.png' has no alt text"),
        (f"<pre>short\n<b>{'x' * 70}</b>1234567</pre>", "a line of code has 77"),
    ],
)
def test_check_site_names_page_and_problem(html, problem, site, check_site):
    (site / "page.html").write_text(PAGE + html)
    (found,) = check_site(site)
    assert found.startswith("page.html: ")
    assert problem in found


def test_check_site_leaves_other_sites_outputs_and_sources_alone(site, check_site):
    (site / "page.html").write_text('<a href="https://a.b/c#d">x</a><a href="#">y</a>')
    text = f'<div class="highlight-text"><pre>{"x" * 90}</pre></div>'
    (site / "other.html").write_text(f'<p id="there"></p>{text}')
    (site / "_modules").mkdir()
    (site / "_modules" / "a.html").write_text(f"<pre>{'x' * 90}</pre>")
    assert check_site(site) == []


def list_public_objects():
    """List the classes, methods and functions that the pages of the API show."""
    for room in ("", ".datasets", ".images", ".models", ".saving", ".exceptions"):
        module = importlib.import_module(f"skimgclf{room}")
        for name in module.__all__:
            shown = getattr(module, name)
            yield shown
            members = vars(shown).values() if isinstance(shown, type) else ()
            yield from (each for each in members if callable(each))


def test_examples_in_docstrings_fit_a_page(check_site):
    widest = check_site.__globals__["MAX_WIDTH"]
    finder = doctest.DocTestParser()
    examples = [
        example
        for shown in list_public_objects()
        for example in finder.get_examples(inspect.getdoc(shown) or "")
    ]
    assert len(examples) > 100
    lines = [
        line
        for example in examples
        for line in (*example.want.splitlines(), *f">>> {example.source}".splitlines())
    ]
    assert [line for line in lines if len(line) > widest] == []


@pytest.mark.parametrize(
    "words",
    [
        *("overfitting", "transfer learning", "flask", "docker", "deploy", "kaggle"),
        *("heatmap", "grad-cam", "license", "out of memory", "proxy", "apple silicon"),
        *("imagedatagenerator", "torchvision", "fastai", "scikeras", "onnx"),
        *("fastapi", "gpu", "cuda", "imbalanced", "class weight", "confusion matrix"),
        *("learning curve", "augmentation", "resume training", "checkpoint"),
        *("tensorboard", "early stopping", "batch size", "multi-label", "regression"),
        *("object detection", "video", "embeddings", "similarity search", "duplicates"),
        *("label noise", "active learning", "cross validation", "groups", "seed"),
        *("reproducible", "hyperparameter", "mixed precision", "unfreeze", "jupyter"),
    ],
)
def test_guide_has_the_words_that_people_search_for(words):
    pages = (DOCS / "user_guide").glob("*.md")
    assert any(words in page.read_text("utf-8").lower() for page in pages)


def list_anchors(page):
    """List the anchors of a page's headings, as MyST makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {"", *(heading.replace(" ", "-") for heading in plain)}


@pytest.fixture(scope="module")
def words():
    return runpy.run_path(DOCS / "search_words.py")["read_words"]()


def test_words_of_the_search_lead_to_pages_and_headings(words):
    assert len(words) > 90
    for word, (page, anchor) in words.items():
        if page.startswith("auto_examples/"):
            assert DOCS.parent.joinpath("examples", f"{page[14:]}.py").exists(), word
        else:
            assert anchor in list_anchors(DOCS / f"{page}.md"), word


@pytest.mark.parametrize(
    ("word", "page"),
    [
        *(("overfitting", "troubleshooting"), ("transfer learning", "pretrained")),
        *(("Flask", "serving"), ("deploy", "serving"), ("heatmap", "displays")),
        *(("Grad-CAM", "displays"), ("cache", "larger_than_memory")),
        *(("image_size", "images"), ("class weight", "classifier")),
        *(("early_stopping", "classifier"), ("offline", "troubleshooting")),
    ],
)
def test_the_search_finds_a_word_where_it_is_explained(word, page, words):
    assert words[word][0] == f"user_guide/{page}"


@pytest.mark.parametrize(
    ("word", "page"), [("kaggle", "user_guide/troubleshooting"), ("license", "license")]
)
def test_the_search_finds_a_word_in_a_heading(word, page):
    assert any(word in anchor for anchor in list_anchors(DOCS / f"{page}.md"))


def test_examples_import_the_classifier_before_keras():
    # TensorFlow would print its start otherwise.
    texts = [page.read_text() for page in DOCS.parent.glob("examples/plot_*.py")]
    shown = [text for text in texts if "\nimport keras\n" in text]
    assert shown
    for text in shown:
        before = text.partition("\nimport keras\n")[0]
        assert "    KerasImageClassifier,\n" in before


def test_code_of_other_libraries_in_the_guide_is_python():
    page = (DOCS / "user_guide" / "coming_from.md").read_text("utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        compile(block, "coming_from.md", "exec")
