"""Run the code of a page, and write into the page what the code prints and draws.

``python docs/run_pages.py docs/getting_started.md`` runs the Python blocks of the page
from top to bottom in a folder with the images that pages take for granted. A block
``text`` that follows a block is replaced by what this one printed, and pictures that
follow are drawn anew. A block ``sh`` runs if a block ``text`` follows it. The tests run
every page, and compare.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import re
import shlex
import shutil
import tempfile

# A fence with code; below it, if at all, a fence with its output, and pictures.
_BLOCK = re.compile(
    r"^```(?P<language>python|sh)\n(?P<code>.*?)^```$"
    r"(?:\n\n```text\n(?P<output>.*?)^```$)?"
    r"(?P<pictures>(?:\n\n!\[[^\]]*\]\([^)]*\))*)",
    re.DOTALL | re.MULTILINE,
)
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]*)\)")

# In place of a comparison: the outputs come from other images than the tests have.
_MEASURED = re.compile(r"<!-- outputs of the code ([0-9a-f]{12}) -->")

_DECIMAL = re.compile(r"\d*\.\d+")
# What an epoch took.
_SECONDS = re.compile(r"\(\d+\.\d s\)")

# By how much a figure may differ on another machine.
_TOLERANCE = 0.05

# Rows of digits in both tables, and columns of patches of each photo.
_ROWS = {"train": range(80), "test": range(80, 100)}
_N_COLUMNS = 4


@dataclasses.dataclass(frozen=True)
class Block:
    """A piece of code on a page.

    Attributes
    ----------
    language : {"python", "sh"}
    code : str
    line : int
        The number of lines above the code.
    output : str or None
        The output that the page shows; None if it shows none.
    span : tuple of two int or None
        Where in the page the output begins and ends.
    pictures : list of str
        The pictures that the page shows below, by their paths from the page.
    """

    language: str
    code: str
    line: int
    output: str | None
    span: tuple | None
    pictures: list


def make_images(folder):
    """Make what pages take for granted: train.csv, train/, test.csv, test/, photos/.

    Parameters
    ----------
    folder : pathlib.Path
    """
    from skimgclf.datasets import load_digit_images, load_photo_patches

    digits = load_digit_images(folder / "home")
    for name, rows in _ROWS.items():
        (folder / name).mkdir()
        lines = ["id,label" if name == "train" else "id"]
        for i, row in enumerate(rows):
            shutil.copy(
                digits.filenames[row], folder / name / f"{i:03}.png"
            )
            label = f",{digits.target[row]}" if name == "train" else ""
            lines.append(f"{i:03}{label}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    patches = load_photo_patches(folder / "home")
    columns = patches.frame["id"].str[-6:-4].astype(int)
    kept = patches.frame[columns < _N_COLUMNS]
    for name in kept["id"]:
        copy = folder / "photos" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pathlib.Path(patches.root, name), copy)
    kept.to_csv(folder / "photos" / "photos.csv", index=False)
    shutil.rmtree(folder / "home")


def read_blocks(text):
    """List the blocks of a page that can be run.

    Parameters
    ----------
    text : str
        The page, in Markdown.

    Returns
    -------
    blocks : list of Block
        The Python blocks, and those for the shell that have an output.
    """
    blocks = []
    for match in _BLOCK.finditer(text):
        if match["language"] == "python" or match["output"] is not None:
            blocks.append(
                Block(
                    match["language"],
                    match["code"],
                    text.count("\n", 0, match.start("code")),
                    match["output"],
                    None
                    if match["output"] is None
                    else match.span("output"),
                    _PICTURE.findall(match["pictures"]),
                )
            )
    return blocks


def run_page(page):
    """Run the blocks of a page in the current folder.

    Parameters
    ----------
    page : pathlib.Path

    Yields
    ------
    block : Block
    printed : str
        Standard output.
    figures : list of matplotlib Figure
        They are closed before the next block runs.
    """
    import matplotlib.pyplot as plt

    namespace = {"__name__": "page"}
    for block in read_blocks(page.read_text("utf-8")):
        plt.close("all")
        printed = io.TextIOWrapper(
            io.BytesIO(), "utf-8", write_through=True
        )
        with contextlib.redirect_stdout(printed):
            if block.language == "python":
                # Newlines in front, so that a traceback names the line of the page.
                code = compile("\n" * block.line + block.code, page, "exec")
                exec(code, namespace)
            else:
                run_commands(block.code)
        figures = [plt.figure(number) for number in plt.get_fignums()]
        if block.pictures and len(block.pictures) != len(figures):
            raise ValueError(
                f"{page.name} shows {len(block.pictures)} pictures below line "
                f"{block.line}, where {len(figures)} are drawn."
            )
        yield block, printed.buffer.getvalue().decode(), figures
    plt.close("all")


def run_commands(code):
    """Run lines of a shell that begin with ``skimgclf``, in this process."""
    from skimgclf import cli

    for line in code.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        if program != "skimgclf" or cli.main(arguments) != 0:
            raise ValueError(f"This line can't be run, or fails: {line}")


def is_alike(expected, printed):
    """Tell whether an output differs from the page's only in decimal places.

    Examples
    --------
    >>> is_alike("accuracy: 0.97 of 360", "accuracy: 0.96 of 360")
    True
    >>> is_alike("accuracy: 0.97 of 360", "accuracy: 0.97 of 361")
    False
    """
    expected, printed = (
        _SECONDS.sub("", expected),
        _SECONDS.sub("", printed),
    )
    if (
        _DECIMAL.sub("#", expected).split()
        != _DECIMAL.sub("#", printed).split()
    ):
        return False
    pairs = zip(
        _DECIMAL.findall(expected), _DECIMAL.findall(printed), strict=True
    )
    return all(abs(float(a) - float(b)) <= _TOLERANCE for a, b in pairs)


def compute_digest(text):
    """Compute the digest of all code of a page, and read the one that it names.

    Returns
    -------
    digest : str
    named : str or None
        None for a page whose outputs the tests can compare.
    """
    code = "".join(block.code for block in read_blocks(text))
    named = _MEASURED.search(text)
    return hashlib.sha256(code.encode()).hexdigest()[:12], named and named[
        1
    ]


def save_picture(figure, path):
    """Save a figure as a PNG file of 256 colours, a third of the size of more."""
    from PIL import Image

    figure.savefig(path, dpi=100, bbox_inches="tight")
    with Image.open(path) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)


def write_page(page, folder):
    """Run a page, and replace its outputs and pictures.

    Parameters
    ----------
    page : pathlib.Path
    folder : str or os.PathLike
        Where to run it.
    """
    import matplotlib

    matplotlib.use("agg")
    text = page.read_text("utf-8")
    pieces, end = [], 0
    with contextlib.chdir(folder):
        for block, printed, figures in run_page(page):
            if block.output is not None:
                pieces += [
                    text[end : block.span[0]],
                    printed.rstrip("\n") + "\n",
                ]
                end = block.span[1]
            for path, figure in zip(block.pictures, figures, strict=False):
                picture = page.parent / path
                picture.parent.mkdir(parents=True, exist_ok=True)
                save_picture(figure, picture)
    text = "".join([*pieces, text[end:]])
    digest, _ = compute_digest(text)
    text = _MEASURED.sub(f"<!-- outputs of the code {digest} -->", text)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pages", nargs="+", type=pathlib.Path, metavar="PAGE"
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for page in parser.parse_args().pages:
        with tempfile.TemporaryDirectory() as folder:
            make_images(pathlib.Path(folder))
            write_page(page.resolve(), folder)
