"""How Sphinx builds these pages."""

import os

# TensorFlow's C++ side reports its CPU features on stderr unless told otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import skimgclf

project = "skimgclf"
author = "The skimgclf developers"
copyright = f"2026, {author}"
version = release = skimgclf.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
# _scale.md is a part of cluster.md.
exclude_patterns = ["_build", "user_guide/_scale.md"]
templates_path = ["_templates"]

# A link to a name that doesn't exist here is an error; other projects' pages aren't
# looked up, so that the build needs no network.
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
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # The numbers in their names are the order in which to read them.
    "within_subsection_order": "FileNameSortKey",
    # Both are run by the tests. The gallery page of the first is plot_1_quickstart.py,
    # and the user guide shows the second.
    "ignore_pattern": r"^(quickstart|search_on_dask)\.py$",
    # Figures and what is printed, not the names of objects.
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_static_path = ["_static"]
html_theme = "pydata_sphinx_theme"
html_title = f"skimgclf {version}"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}
