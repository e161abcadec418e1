"""Run the benchmarks of speed, one after the other, and write docs/benchmarks.md.

Each script runs in a process of its own; what it prints becomes a section of the page,
with the plot that it draws, below the machine, the versions, the date and how busy the
machine was. The other scripts of this folder, which prove claims rather than measure
speed, have their own commands.

Needs the extra packages of ``pip install "skimgclf[benchmark]"``. Takes about three
quarters of an hour on two cores that nothing else uses; three minutes with ``--quick``,
which only tries that all of it runs. Names choose some of the scripts: the page then
holds these alone.

Run it with ``python examples/benchmarks/run_all.py``.
"""

import argparse
import ast
import os
import pathlib
import subprocess
import sys
import time

from _report import describe_machine

FOLDER = pathlib.Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "benchmarks.md"

# Script -> heading, and what its plot shows (None: it draws none).
SECTIONS = {
    "loading": ("Loading", "Images loaded in a second, by each way and kind of file."),
    "cache_hits": ("The cache", None),
    "search": ("A search", "Seconds of a search, by each way and kind of file."),
    "networks": ("Fitting and predicting", "Seconds of one fit, by each way."),
    "fit_overhead": ("What a fit costs beside the training", None),
    "growth": (
        "Growth",
        "Seconds and megabytes by number of images, number of classes and size.",
    ),
}

INTRODUCTION = """# Benchmarks

What loading, searching, training and predicting cost beside the alternatives, measured
side by side on one machine. This page is written by a command, which anybody can run:

```console
$ pip install "skimgclf[benchmark]"
$ python examples/benchmarks/run_all.py
```

At the end of most sections stands what was to be reached, and whether it was.
"""


def read_description(script):
    """Return the paragraphs of a script's docstring that say what it measures.

    Parameters
    ----------
    script : pathlib.Path

    Returns
    -------
    description : str
        Without the first line, and without how to run it.
    """
    docstring = ast.get_docstring(ast.parse(script.read_text("utf-8")))
    paragraphs = docstring.split("\n\n")[1:]
    commands = ("Takes", "Needs", "Run it with")
    return "\n\n".join(text for text in paragraphs if not text.startswith(commands))


def run_script(name, plots, is_quick):
    """Run one script.

    Returns
    -------
    section : str
        What it measures, what it printed and its plot, in Markdown.
    is_complete : bool
        Whether it ended well.
    """
    script = FOLDER / f"{name}.py"
    heading, caption = SECTIONS[name]
    command = [sys.executable, str(script)]
    command += ["--quick"] if is_quick else []
    command += ["--plots", str(plots)] if caption is not None else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = [f"## {heading}", read_description(script), done.stdout.strip()]
    plot = plots / f"{name}.svg"
    if caption is not None and plot.exists():
        lines.append(f"![{caption}]({plot.relative_to(plots.parents[1])})")
    if done.returncode:
        lines.append(f"The script failed with exit status {done.returncode}.")
    return "\n\n".join(lines), done.returncode == 0


def main(names, page, is_quick):
    """Run the scripts and write the page.

    Returns
    -------
    is_complete : bool
        Whether all scripts ended well.
    """
    load = os.getloadavg()[0]
    plots = page.parent / "_static" / "benchmarks"
    page.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    sections, outcomes = [], []
    for name in names:
        print(f"{name}.py", file=sys.stderr, flush=True)
        section, is_complete = run_script(name, plots, is_quick)
        sections.append(section)
        outcomes.append(is_complete)
        minutes = (time.perf_counter() - started) / 60
        # After each script: what is measured isn't lost if the next one is stopped.
        head = write_head(minutes, load, is_quick)
        page.write_text("\n\n".join([*head, *sections]) + "\n", encoding="utf-8")
    return all(outcomes)


def write_head(minutes, load, is_quick):
    """Write the paragraphs above the sections."""
    head = [INTRODUCTION.strip()]
    if is_quick:
        head.append(
            "**These figures come from `--quick`, which only tries that everything "
            "runs: they say nothing about speed.**"
        )
    head.append(
        f"{describe_machine()}. All of it took {minutes:.0f} minutes; before it began, "
        f"{load:.1f} other processes were running on average."
    )
    return head


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    existing = [name for name in SECTIONS if (FOLDER / f"{name}.py").exists()]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(existing))
    parser.add_argument(
        "--quick", action="store_true", help="only try that it runs: few and small"
    )
    parser.add_argument(
        "--page", type=pathlib.Path, default=PAGE, help="where to write the page"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(existing):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    names = arguments.names or existing
    sys.exit(not main(names, arguments.page.resolve(), arguments.quick))
