"""Let the search of the pages find words where the table of words leads.

Sphinx ranks pages that hold a word by its place in titles alone, so that the page which
explains a parameter comes after those that mention it. The words of the table under
"Words, and where they lead" become entries of the index, which come first.
"""

import pathlib
import posixpath
import re

PAGE = "user_guide/troubleshooting"
_HEADING = "## Words, and where they lead\n"

# A row's words, and its first link to a page.
_ROW = re.compile(
    r"^\| ([^|]+) \|[^|]*?\[[^]|]*\]\(([^)]+)\)", re.MULTILINE
)


def read_words():
    """Read the table of words.

    Returns
    -------
    words : dict of str to tuple of (str, str)
        For each word the page that it leads to, by the name that Sphinx gives it, and
        the anchor on this page, which may be empty.
    """
    folder = pathlib.Path(__file__).parent
    text = (
        folder.joinpath(f"{PAGE}.md").read_text("utf-8").split(_HEADING)[1]
    )
    words = {}
    for names, link in _ROW.findall(text):
        path, _, anchor = link.partition("#")
        page = PAGE
        if path:
            path = posixpath.join(posixpath.dirname(PAGE), path)
            page = posixpath.normpath(path).removesuffix(".md")
        for name in re.split(r"[,:()]", names):
            if name.strip():
                words[name.strip(" `")] = (page, anchor)
    return words


def setup(app):
    """Add the transform that Sphinx runs on each page."""
    from docutils import nodes
    from sphinx import addnodes
    from sphinx.transforms import SphinxTransform

    class AddWords(SphinxTransform):
        """Put the words that lead to a page into the index."""

        default_priority = 400  # before the index is collected

        def apply(self, **arguments):
            """Add an entry below the heading of each word."""
            slugs = getattr(self.document, "myst_slugs", {})
            first = next(self.document.findall(nodes.section), None)
            for word, (page, anchor) in read_words().items():
                if page == self.env.docname and first is not None:
                    name = slugs[anchor][1] if anchor else first["ids"][0]
                    entry = ("single", word, name, "main", None)
                    section = self.document.ids[name]
                    section.insert(1, addnodes.index(entries=[entry]))

    app.add_transform(AddWords)
    return {"parallel_read_safe": True}
