"""What the benchmarks print: where and when they ran, and a table in Markdown."""

import datetime
import importlib.metadata
import itertools
import os
import platform
import re

# Colours that people who don't tell red from green tell apart (Okabe and Ito, 2008).
_COLOURS = ["#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#999999"]

# How far above a point its name may stand, in points, the best first.
_HEIGHTS = [0, 7, -7, 14, -14, 21, -21]


def describe_run(*packages):
    """Describe the machine, the versions and the date in one line.

    Parameters
    ----------
    *packages : str
        Names of distributions; those that aren't installed are left out.

    Returns
    -------
    line : str
    """
    versions = []
    for package in ("skimgclf", *packages):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = f"Python {platform.python_version()}"
    return "; ".join(
        [f"{datetime.date.today()}", machine, ", ".join([python, *versions])]
    )


def describe_machine():
    """Describe the processor, its cores, the memory and the system in one line."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
        name = found.group(1) if found else name
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{name}, {os.cpu_count()} cores, {n_bytes / 2**30:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}"
    )


def print_table(header, rows):
    """Print a Markdown table.

    Parameters
    ----------
    header : sequence of str
        The names of the columns.
    rows : iterable of sequence of str
        The cells; the first of each row is its name.
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(f"| {' | '.join(padded)} |")


def save_bars(path, values, label):
    """Draw bars as an SVG file, a panel for each group of them.

    Parameters
    ----------
    path : pathlib.Path
    values : dict of str to dict of str to float
        Panel -> bar -> how long it is.
    label : str
        What the length of a bar means.
    """
    plt = _import_pyplot()
    n_bars = [len(bars) for bars in values.values()]
    fig, axes = plt.subplots(
        len(values),
        squeeze=False,
        figsize=(7, 0.7 * len(values) + 0.25 * sum(n_bars)),
        height_ratios=n_bars,
        layout="constrained",
    )
    for ax, (title, bars) in zip(axes[:, 0], values.items(), strict=True):
        names = list(bars)[::-1]
        lengths = [bars[name] for name in names]
        colours = ["#0072B2" if "skimgclf" in name else "#BBBBBB" for name in names]
        drawn = ax.barh(names, lengths, color=colours)
        ax.bar_label(drawn, fmt=_format_length, padding=3, fontsize=8)
        ax.margins(x=0.12)
        ax.tick_params(labelsize=8)
        ax.set_title(title, fontsize=9, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel(label, fontsize=9)
    _save(fig, path)


def _format_length(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def save_lines(path, panels):
    """Draw lines as an SVG file, two panels a row.

    Parameters
    ----------
    path : pathlib.Path
    panels : list of dict
        With the keys title, x, y (labels of the axes), log (bool) and lines: dict of
        str to list of tuple (x, y). Without "log" the y axis begins at "bottom", by
        default 0; None for the lowest point.
    """
    plt = _import_pyplot()
    n_rows = -(-len(panels) // 2)
    fig, axes = plt.subplots(
        n_rows, 2, squeeze=False, figsize=(8, 2.7 * n_rows), layout="constrained"
    )
    for ax, panel in zip(axes.flat, panels, strict=False):
        for (name, points), colour in zip(
            panel["lines"].items(), _COLOURS, strict=False
        ):
            ax.plot(*zip(*points, strict=True), "o-", ms=3, label=name, color=colour)
        if panel["log"]:
            ax.set_xscale("log")
            ax.set_yscale("log")
        else:
            ax.set_ylim(bottom=panel.get("bottom", 0))
        ax.set_title(panel["title"], fontsize=9, loc="left")
        ax.set_xlabel(panel["x"], fontsize=8)
        ax.set_ylabel(panel["y"], fontsize=8)
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    _save(fig, path)


def save_points(path, panels, x, y):
    """Draw named points, a panel below the other; x in logarithmic scale.

    Parameters
    ----------
    path : pathlib.Path
    panels : list of dict
        With the keys title and points: list of tuple (name, x, y, bool), the last for
        whether it is this package's own.
    x, y : str
        Labels of the axes.
    """
    plt = _import_pyplot()
    fig, axes = plt.subplots(
        len(panels), squeeze=False, figsize=(8, 5 * len(panels)), layout="constrained"
    )
    for ax, panel in zip(axes[:, 0], panels, strict=True):
        for is_ours, colour, marker in [
            (True, "#0072B2", "o"),
            (False, "#999999", "s"),
        ]:
            points = [point for point in panel["points"] if point[3] == is_ours]
            label = "skimgclf" if is_ours else "others"
            places = [point[1] for point in points], [point[2] for point in points]
            ax.scatter(*places, c=colour, marker=marker, s=30, label=label)
        ax.set_xscale("log")
        ax.margins(x=0.15, y=0.1)
        ax.grid(alpha=0.3)
        ax.set_title(panel["title"], fontsize=10, loc="left")
        ax.set_xlabel(x, fontsize=9)
        ax.set_ylabel(y, fontsize=9)
        ax.tick_params(labelsize=8)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.legend(fontsize=8, loc="upper left")
        ax.spines[["top", "right"]].set_visible(False)
    fig.canvas.draw()
    for ax, panel in zip(axes[:, 0], panels, strict=True):
        name_points(ax, panel["points"])
    _save(fig, path)


def name_points(ax, points):
    """Write names beside points, each where it covers neither point nor other name.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Drawn once, so that places in pixels are known.
    points : list of tuple (str, float, float, bool)

    Returns
    -------
    texts : list of matplotlib.text.Annotation
    """
    taken = [_surround(ax, point, 4) for point in points]
    taken += [ax.get_legend().get_window_extent()] if ax.get_legend() else []
    sides = [(7, "left"), (-7, "right")]
    texts = []
    for name, x, y, is_ours in points:
        text = ax.annotate(
            name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=8
        )
        text.set(color="black" if is_ours else "#555555", va="center")
        text.set_in_layout(False)
        for up, (aside, alignment) in itertools.product(_HEIGHTS, sides):
            text.set(position=(aside, up), ha=alignment)
            box = text.get_window_extent()
            is_inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
            if is_inside and not any(map(box.overlaps, taken)):
                break
        taken.append(box)
        texts.append(text)
    return texts


def _surround(ax, point, radius):
    from matplotlib.transforms import Bbox

    x, y = ax.transData.transform(point[1:3])
    return Bbox([[x - radius, y - radius], [x + radius, y + radius]])


def _import_pyplot():
    import matplotlib

    matplotlib.use("agg")
    # Text as text, and the same file for the same numbers.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "skimgclf"})
    import matplotlib.pyplot as plt

    return plt


def _save(fig, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=150, metadata={"Date": None})
