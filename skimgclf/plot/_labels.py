"""Write labels into a picture: break, shorten and check their characters."""

import contextlib
import re

from skimgclf._validation import warn_user

# matplotlib would read `$` in a label as the start of a formula.
LITERAL = {"parse_math": False, "usetex": False}

# Points of 1/72 inch, and inches of a character of a usual font, at most on average.
FONT_SIZE = 9
CHARACTER_WIDTH = 0.62 * FONT_SIZE / 72

# A line may end behind these characters.
_TOKEN = re.compile(r"[^\s_\-/]*[\s_\-/]?")
_MAX_NAMED = 5

# The font of matplotlib that draws a frame for every character.
_PLACEHOLDERS = "Last Resort"


def wrap_label(text, n_characters):
    """Break a text into lines: at spaces, `_`, `-` and `/`, otherwise anywhere.

    Examples
    --------
    >>> from skimgclf.plot._labels import wrap_label
    >>> wrap_label("true: great_grey_owl", 12)
    ['true: great_', 'grey_owl']
    """
    lines = [""]
    for token in _TOKEN.findall(text):
        while token:
            room = n_characters - len(lines[-1])
            if len(token.rstrip()) <= room:
                lines[-1] += token
                break
            if len(token.rstrip()) <= n_characters or not room:
                lines.append("")
                continue
            lines[-1], token = lines[-1] + token[:room], token[room:]
    return [line.rstrip() for line in lines if line.strip()]


def shorten_label(text, n_characters, others=()):
    """Leave out the middle of a label, but not what tells it from other ones.

    Examples
    --------
    >>> from skimgclf.plot._labels import shorten_label
    >>> shorten_label("oriental_shorthair_cat", 11)
    'orien…r_cat'
    >>> shorten_label("class_00017_of_many", 11, ["class_00018_of_many"])
    '…00017_of_…'
    """
    short = _leave_out_middle(text, n_characters)
    alike = [
        other
        for other in others
        if other != text and _leave_out_middle(other, n_characters) == short
    ]
    width = max(1, n_characters - 2)
    for place in sorted({_find_difference(text, other) for other in alike}):
        start = max(0, min(place - width // 2, len(text) - width))
        short = _cut(text, start, width)
        if all(_cut(other, start, width) != short for other in alike):
            break
    return short


def _find_difference(text, other):
    pairs = zip(text, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(other))


def _cut(text, start, width):
    stop = start + width
    return f"{'…' * (start > 0)}{text[start:stop]}{'…' * (stop < len(text))}"


def _leave_out_middle(text, n_characters):
    if len(text) <= n_characters:
        return text
    n_first = n_characters // 2
    n_last = n_characters - n_first - 1
    return f"{text[:n_first]}…{text[len(text) - n_last :]}"


def warn_of_missing_characters(titles):
    """Warn of characters that the font lacks, and name a font that has them.

    Parameters
    ----------
    titles : list of matplotlib.text.Text
        Texts of one font.
    """
    from matplotlib import font_manager

    texts = [title.get_text() for title in titles]
    families = titles[0].get_fontfamily()
    used = [
        font_manager.findfont(font_manager.FontProperties(family=[family]))
        for family in families
    ]
    wanted = {ord(c) for c in "".join(texts) if not c.isspace()}
    missing = _list_missing(wanted, used)
    if not missing:
        return
    fonts = {font.fname: font.name for font in font_manager.fontManager.ttflist}
    found = next(
        (
            name
            for file, name in fonts.items()
            if not name.startswith(_PLACEHOLDERS) and _has(file, missing)
        ),
        None,
    )
    named = ", ".join(repr(chr(code)) for code in missing[:_MAX_NAMED])
    name = found or "name of the font"
    advice = f"matplotlib.rcParams['font.family'] = [{name!r}, {families[0]!r}]"
    if found is None:
        advice = (
            f"install a font that has them, such as one of Noto's, and set {advice}"
        )
    font = font_manager.get_font(used[0]).family_name
    warn_user(f"The font {font!r} lacks characters of labels ({named}): {advice}.")


def _list_missing(codes, files):
    for file in files:
        codes = {code for code in codes if not _has(file, [code])}
    return sorted(codes)


def _has(file, codes):
    from matplotlib import font_manager

    with contextlib.suppress(OSError, RuntimeError):  # a broken font
        font = font_manager.get_font(file)
        return all(font.get_char_index(code) for code in codes)
    return False
