"""How Sphinx builds these pages."""

import concurrent.futures
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

# TensorFlow's C++ side reports its CPU features on stderr unless told otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import skimgclf

project = "skimgclf"
author = "The skimgclf developers"
copyright = f"2026, {author}"
version = release = skimgclf.__version__

sys.path.insert(0, str(Path(__file__).parent))  # where search_words.py lies

extensions = [
    "search_words",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# Files that begin with an underscore are parts of other pages.
exclude_patterns = ["_build", "user_guide/_*.md"]
templates_path = ["_templates"]

# The pages of other projects, and where their lists of names are.
_SITES = {
    "sklearn": "https://scikit-learn.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
}
_SECONDS = 5


def _fetch_inventory(site):
    """Return the list of names of a site, or None where it doesn't answer."""
    try:
        with urllib.request.urlopen(
            f"{site}objects.inv", timeout=_SECONDS
        ) as answer:
            content = answer.read()
    except OSError:
        return None
    return content if content.startswith(b"# Sphinx inventory") else None


def _find_inventories(folder):
    """Return the sites that answer, each with a copy of its list of names.

    Sphinx warns of each site that it can't reach, and a warning is an error in
    ``.ci/docs``. So only copies are given to it: a build without a network has plain
    names in place of links.
    """
    with concurrent.futures.ThreadPoolExecutor(len(_SITES)) as threads:
        contents = threads.map(_fetch_inventory, _SITES.values())
    found = {}
    for (name, site), content in zip(_SITES.items(), contents, strict=True):
        if content is not None:
            path = Path(folder, f"{name}.inv")
            path.write_bytes(content)
            found[name] = (site, str(path))
    return found


_folder = tempfile.TemporaryDirectory()  # kept until the build ends
intersphinx_mapping = _find_inventories(_folder.name)

# A link to a name that doesn't exist here is an error; names of other projects are
# links only where their inventory was found.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(sklearn|joblib|keras|matplotlib)\..*")]

autosummary_generate = True
# autodoc writes a class's methods below it; numpydoc's own tables would repeat them.
numpydoc_show_class_members = False
autodoc_default_options = {
    "members": True,
    # scikit-learn generates them, for metadata routing.
    "exclude-members": "set_fit_request, set_partial_fit_request, set_score_request",
}
add_module_names = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Prompts and outputs aren't copied.
copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # The numbers in their names are the order in which to read them.
    "within_subsection_order": "FileNameSortKey",
    # Both are run by the tests. The gallery page of the first is plot_1_quickstart.py,
    # and the user guide shows the second.
    "ignore_pattern": r"^(quickstart|search_on_dask)\.py$",
    # The pages of the API list the examples that use a name.
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skimgclf",),
    # Figures and what is printed, not the names of objects.
    "capture_repr": (),
    "first_notebook_cell": '# %pip install "skimgclf[plot,pretrained]" scikit-image',
    "show_signature": False,
    "write_computation_times": False,
}

html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme = "pydata_sphinx_theme"
html_title = f"skimgclf {version}"
html_logo = "_static/logo.svg"
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
# The address that the pages will have, for the pictures of social cards.
html_baseurl = os.environ.get("DOCS_URL", "")
# Sphinx gives pages no html_baseurl.
html_context = {"site_url": html_baseurl}
# Pages without others below them: their column on the left would be empty.
html_sidebars = {"*": [], "api": ["sidebar-nav-bs"]}
html_theme_options = {
    "logo": {"text": html_title, "alt_text": "The logo of skimgclf"},
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}
