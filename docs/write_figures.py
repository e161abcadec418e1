"""Write figures of other pages, from the measured tables.

``python docs/write_figures.py`` reads docs/accuracy.md and docs/benchmarks.md, which
the scripts in ``examples/benchmarks`` write, and replaces lines between markers: three
sentences in README.md and docs/index.md, and the table of docs/user_guide/choosing.md.
The tests compare them.
"""

import functools
import pathlib
import re
import textwrap

DOCS = pathlib.Path(__file__).parent
_LINES = re.compile(
    r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL
)

_SENTENCES = [
    "**Right with few photos.** Trained on 50 photos of each of the ten classes of "
    "CIFAR-10 (32x32 pixels, medians of three random choices of photos), "
    '`make_image_pipeline("few_photos")` gets '
    "{few_photos:.0f} % of other photos right; without the pretrained network, "
    '`"photos"` gets {photos:.0f} %, and '
    "the network of TensorFlow's tutorial {tutorial:.0f} %. Training takes "
    "{few_seconds:.0f}, {photos_seconds:.0f} and {tutorial_seconds:.0f} CPU seconds "
    "([accuracy]({folder}accuracy.md)).",
    "**Searches decode once.** A search of 6 networks in 5 folds over 1,000 photos of "
    "500x375 pixels takes {small:.0f} % longer than its training alone, and "
    "{large:.0f} % longer with photos of 2048x1536 "
    "([benchmarks]({folder}benchmarks.md#a-search)).",
    "**Quick answers.** A dense network classifies one image in {ours:.2f} ms. "
    "scikit-learn's `MLPClassifier` takes {mlp:.2f} ms, Keras tuned by hand "
    "{tuned:.2f} ms and `keras.Model.predict` {keras:.0f} ms "
    "([benchmarks]({folder}benchmarks.md#fitting-and-predicting)).",
]

# Rows and columns of the table: ways, and numbers of training images.
_WAYS = [
    '"few_photos"',
    '"photos"',
    '"photos", 10 epochs',
    "cnn, defaults",
    "LogisticRegression, pixels",
    '"textbook"',
]
_N_IMAGES = ["500", "5,000"]


def read_cell(text, title, row, column):
    """Read a number from the first table below a title.

    Parameters
    ----------
    text : str
        The page.
    title : str
        Words in the bold line above the table.
    row : str
        The first cell of the row.
    column : str
        The first cell of the column.

    Returns
    -------
    number : float
    """
    below = re.search(
        rf"^\*\*[^\n]*{re.escape(title)}.*", text, re.DOTALL | re.M
    )[0]
    table = re.search(r"(?:^\|[^\n]*\n)+", below, re.M)[0]
    header, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
    ]
    cells = {cells[0]: cells for cells in rows}[row]
    # A median comes before its range.
    return float(cells[header.index(column)].split()[0])


def read_figures():
    """Read all figures of the text, by their names there."""
    accuracy = (DOCS / "accuracy.md").read_text("utf-8")
    benchmarks = (DOCS / "benchmarks.md").read_text("utf-8")
    figures = {}
    for name, way in [
        ("few_photos", '"few_photos"'),
        ("photos", '"photos"'),
        ("tutorial", "Keras' tutorial"),
    ]:
        table = accuracy, ": 500 training images", way
        figures[name] = 100 * read_cell(*table, "accuracy")
        figures[f"{name.split('_')[0]}_seconds"] = read_cell(
            *table, "fit, CPU s"
        )
    for name, title in [
        ("small", "JPEG of 500x375"),
        ("large", "JPEG of 2048x1536"),
    ]:
        with_files, without = (
            read_cell(benchmarks, title, way, "seconds")
            for way in ("skimgclf, cache", "training alone")
        )
        figures[name] = 100 * (with_files / without - 1)
    for name, way in [
        ("ours", "skimgclf"),
        ("keras", "bare Keras, defaults"),
        ("tuned", "bare Keras, tuned"),
        ("mlp", "scikit-learn MLPClassifier"),
    ]:
        figures[name] = read_cell(
            benchmarks, "dense, 10 epochs", way, "one image, ms"
        )
    return figures


def write_sentences(folder):
    """Write the sentences, for a page from which links lead to a folder."""
    figures = read_figures()
    lines = [
        textwrap.fill(
            # A number and its unit stay on one line.
            re.sub(
                r"(?<=\d) (?=%|ms)",
                "\N{NO-BREAK SPACE}",
                f"- {sentence.format(folder=folder, **figures)}",
            ),
            width=88,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for sentence in _SENTENCES
    ]
    return "\n".join(lines)


def write_table():
    """Write the table of some ways, for both numbers of training images."""
    accuracy = (DOCS / "accuracy.md").read_text("utf-8")
    header, rows = ["way"], [[way] for way in _WAYS]
    for n_images in _N_IMAGES:
        header += [f"{n_images} photos", "fit"]
        for row in rows:
            table = accuracy, f": {n_images} training images", row[0]
            right = read_cell(*table, "accuracy")
            seconds = read_cell(*table, "fit, CPU s")
            row += [f"{100 * right:.0f} %", f"{seconds:.0f} s"]
    header.append("predict an image")
    for row in rows:
        table = accuracy, f": {_N_IMAGES[-1]} training images", row[0]
        milliseconds = read_cell(*table, "predict, CPU ms an image")
        row.append(f"{milliseconds:.1f} ms")
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Page -> the function that writes its lines.
PAGES = {
    DOCS.parent / "README.md": functools.partial(write_sentences, "docs/"),
    DOCS / "index.md": functools.partial(write_sentences, ""),
    DOCS / "user_guide" / "choosing.md": write_table,
}


def fill_page(text, write):
    """Return a page with the figures of the tables."""
    return _LINES.sub(lambda _: f"\n{write()}\n\n", text)


if __name__ == "__main__":
    for page, write in PAGES.items():
        filled = fill_page(page.read_text("utf-8"), write)
        page.write_text(filled, encoding="utf-8")
