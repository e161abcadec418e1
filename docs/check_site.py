"""Check the built pages: links within the site, texts for pictures, widths of code.

``python docs/check_site.py docs/_build/html`` lists what is wrong, and exits with 1 if
anything is: a link to a page or a heading that isn't there, a picture without an alt
text, a line of code that is wider than a page shows. ``.ci/docs`` runs it.
"""

import html.parser
import pathlib
import sys
import urllib.parse

# Characters that a line of code may have: more would have to be scrolled.
MAX_WIDTH = 76

# Pages that Sphinx makes by itself: the source code, the index and the search.
_GENERATED = (
    "_modules",
    "genindex.html",
    "py-modindex.html",
    "search.html",
)


class Page(html.parser.HTMLParser):
    """Collect what a page holds.

    Parameters
    ----------
    text : str
        The page, in HTML.

    Attributes
    ----------
    ids : set of str
        The places that links may lead to.
    links : list of str
        Where its links and pictures lead to.
    pictures : list of str
        Pictures without an alt text, by their addresses.
    lines : list of str
        The lines of its code; texts that programs print are wrapped on the page.
    """

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.pictures, self.lines = set(), [], [], []
        self._code, self._is_text = None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note an id, a link or a picture, and where code begins."""
        attributes = dict(attrs)
        self.ids.update(
            attributes[name]
            for name in ("id", "name")
            if name in attributes
        )
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.append(attributes[name])
        if tag == "img" and not self._has_text(attributes):
            self.pictures.append(attributes.get("src", "?"))
        if tag == "div" and "highlight-" in attributes.get("class", ""):
            self._is_text = "highlight-text" in attributes["class"]
        if tag == "pre" and not self._is_text:
            self._code = ""

    @staticmethod
    def _has_text(attributes):
        src, alt = attributes.get("src", ""), attributes.get("alt")
        # Sphinx takes the address where there is no text, and the gallery shows
        # titles below its thumbnails.
        return alt != src if alt else "_thumb." in src

    def handle_data(self, data):
        """Note the text of code."""
        if self._code is not None:
            self._code += data

    def handle_endtag(self, tag):
        """Note where code ends."""
        if tag == "pre" and self._code is not None:
            self.lines += self._code.splitlines()
            self._code = None


def check_site(folder):
    """List what is wrong with a built site.

    Parameters
    ----------
    folder : str or os.PathLike

    Returns
    -------
    problems : list of str
        Each with the page that it is on.
    """
    folder = pathlib.Path(folder).resolve()
    pages = {
        path: Page(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts
    }
    problems = []
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        found = [
            f"the link {link!r} leads nowhere"
            for link in page.links
            if not leads_somewhere(link, path, pages)
        ]
        if not name.startswith(_GENERATED):
            found += [
                f"the picture {src!r} has no alt text"
                for src in page.pictures
            ]
            found += [
                f"a line of code has {len(line)} characters: {line}"
                for line in page.lines
                if len(line) > MAX_WIDTH
            ]
        problems += [
            f"{name}: {problem}" for problem in dict.fromkeys(found)
        ]
    return problems


def leads_somewhere(link, path, pages):
    """Tell whether a link leads to another site, a file or a place on a page.

    Parameters
    ----------
    link : str
    path : pathlib.Path
        The page that it is on.
    pages : dict of pathlib.Path to Page

    Returns
    -------
    exists : bool
    """
    parts = urllib.parse.urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = path
    if parts.path:
        target = path.parent.joinpath(
            urllib.parse.unquote(parts.path)
        ).resolve()
    place = urllib.parse.unquote(parts.fragment)
    if place in ("", "#") or target not in pages:
        return target.exists()
    return place in pages[target].ids


def main(folder):
    """Print what is wrong, and return how many things are."""
    problems = check_site(folder)
    print("\n".join(problems), file=sys.stderr)
    return len(problems)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
