"""Make the README of the package from README.md: relative links lead nowhere there."""

import pathlib
import re

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^]]*)\]\(([^)\s]+)\)")
_CAPTION = re.compile(r"^<sub>.*?</sub>$", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r'<img src="(?!https:)([^"]+)"([^>]*)> ?')


class ReadmeHook(MetadataHookInterface):
    """Give the package a README with absolute links."""

    def update(self, metadata):
        """Set "readme", for hatchling."""
        root = pathlib.Path(self.root)
        version = re.search(
            '^__version__ = "(.+)"$',
            (root / "skimgclf/__init__.py").read_text("utf-8"),
            re.MULTILINE,
        )[1]
        text = convert_links(
            (root / "README.md").read_text("utf-8"),
            metadata.get("urls", {}).get("Source"),
            f"v{version}",
        )
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def convert_links(text, source, tag):
    """Make relative links of a Markdown text absolute.

    Parameters
    ----------
    text : str
        The text; blocks of code stay as they are.
    source : str or None
        The repository's address, as "Source" among the URLs of pyproject.toml. Without
        one, links become their text, and pictures are left out with their captions.
    tag : str
        The tag of the version in the repository.

    Returns
    -------
    text : str
    """

    def convert(match):
        mark, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        if source is None:
            return "" if mark else words
        place = "raw" if mark else "blob"
        return f"{mark}[{words}]({source.rstrip('/')}/{place}/{tag}/{target})"

    def convert_picture(match):
        if source is None:
            return ""
        address = f"{source.rstrip('/')}/raw/{tag}/{match[1]}"
        return match[0].replace(match[1], address)

    if source is None:  # no caption without its picture
        text = _CAPTION.sub("", text)
    parts = _FENCED.split(text)  # every other part is a block of code
    parts[::2] = [
        _LINK.sub(convert, _PICTURE.sub(convert_picture, part)) for part in parts[::2]
    ]
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))
