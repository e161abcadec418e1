"""Run the benchmarks, one after the other, and write docs/benchmarks.md.

Each script runs in a process of its own; what it prints becomes a section of the page,
with the plot that it draws, the versions, the date, the machine and how busy that was.
The other scripts of this folder, which prove claims rather than measure speed, have
their own commands.

Needs the extra packages of ``pip install "skimgclf[benchmark]"``. Takes about an
hour on two cores that nothing else uses; three minutes with ``--quick``,
which only tries that all of it runs. Names choose some of the scripts: the page keeps
its other sections.

``--accuracy "PHOTOS ..."`` runs accuracy.py instead, with these arguments, and writes
what it measures into the page docs/accuracy.md, of which the rest is written by hand.

Run it with ``python examples/benchmarks/run_all.py``.
"""

import argparse
import ast
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

from _report import describe_machine

FOLDER = pathlib.Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "benchmarks.md"
ACCURACY_PAGE = PAGE.with_name("accuracy.md")

# Script -> heading, and what its plot shows (None: it draws none).
SECTIONS = {
    "loading": ("Loading", "Images loaded in a second, by each way and kind of file."),
    "cache_hits": ("The cache", None),
    "search": ("A search", "Seconds of a search, by each way and kind of file."),
    "networks": ("Fitting and predicting", "Seconds of one fit, by each way."),
    "fit_overhead": ("What a fit costs beside the training", None),
    "starting": ("Starting", None),
    "growth": (
        "Growth",
        "Seconds and megabytes by number of images, number of classes and size.",
    ),
}

ACCURACY = ("Measured", "Accuracy by CPU seconds of fit; a point for each way.")

INTRODUCTION = """# Benchmarks

What loading, searching, training and predicting cost beside the alternatives, measured
side by side on one machine. This page is written by a command, which anybody can run:

```console
$ pip install "skimgclf[benchmark]"
$ python examples/benchmarks/run_all.py
```

At the end of most sections stands what was to be reached, and whether it was. A ratio
below 1 means that skimgclf is faster.
"""

# A script's own summary of its figures, in one line.
SUMMARY = re.compile(r"^In short: (.*)$", re.MULTILINE)


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


def measure_others(seconds=5):
    """Measure how many cores other processes keep busy; None where Linux can't say.

    Parameters
    ----------
    seconds : float, default=5
        How long to look.

    Returns
    -------
    n_cores : float or None
    """

    def count_ticks():
        with open("/proc/stat") as file:
            ticks = list(map(int, file.readline().split()[1:9]))
        return sum(ticks), ticks[3] + ticks[4]  # all; idle and waiting for disks

    if not os.path.exists("/proc/stat"):
        return None
    before, before_idle = count_ticks()
    time.sleep(seconds)
    after, after_idle = count_ticks()
    idle = (after_idle - before_idle) / max(after - before, 1)
    return os.cpu_count() * (1 - idle)


def run_script(name, section, plot, options, is_quick):
    """Run one script.

    Parameters
    ----------
    name : str
    section : tuple of str and (str or None)
        The heading, and what the plot shows, None without a plot.
    plot : pathlib.Path
        The plot that the script draws, in a folder of the page's.
    options : list of str
        What to hand to the script.
    is_quick : bool

    Returns
    -------
    text : str
        What it measures, what it printed and its plot, in Markdown.
    is_complete : bool
        Whether it ended well.
    """
    script = FOLDER / f"{name}.py"
    heading, caption = section
    options = [*options, *(["--quick"] if is_quick else [])]
    others = None if is_quick else measure_others()
    started = time.perf_counter()
    command = [sys.executable, str(script), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    minutes = (time.perf_counter() - started) / 60
    lines = [f"## {heading}", read_description(script), done.stdout.strip()]
    if caption is not None and plot.exists():
        folder = next(path for path in plot.parents if path.name == "_static")
        lines.append(f"![{caption}]({plot.relative_to(folder.parent)})")
    lines.append(describe_conditions(minutes, others, is_quick))
    if done.returncode:
        lines.append(f"The script failed with exit status {done.returncode}.")
    return "\n\n".join(lines), done.returncode == 0


def describe_conditions(minutes, others, is_quick):
    """Say how long a script took, where, and what else went on there."""
    if is_quick:
        return (
            "**These figures come from `--quick`, which only tries that everything "
            "runs: they say nothing about speed.**"
        )
    text = f"Measured in {minutes:.0f} min on {describe_machine()}"
    if others is not None:
        text += f"; just before, other processes kept {others:.1f} cores busy"
    return f"{text}."


def read_sections(page):
    """Return the sections that a page has, by heading."""
    if not page.exists():
        return {}
    sections = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {text.partition("\n")[0]: f"## {text.strip()}" for text in sections}


def main(names, page, is_quick):
    """Run the scripts and write the page.

    Returns
    -------
    is_complete : bool
        Whether all scripts ended well.
    """
    plots = page.parent / "_static" / "benchmarks"
    page.parent.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in names:
        print(f"{name}.py", file=sys.stderr, flush=True)
        options = [] if SECTIONS[name][1] is None else ["--plots", str(plots)]
        plot = plots / f"{name}.svg"
        section, is_complete = run_script(name, SECTIONS[name], plot, options, is_quick)
        outcomes.append(is_complete)
        # After each script: what is measured isn't lost if the next one is stopped.
        sections = {**read_sections(page), SECTIONS[name][0]: section}
        ordered = [sections[h] for h, _ in SECTIONS.values() if h in sections]
        summary = "\n".join(
            f"- {sentence}" for text in ordered for sentence in SUMMARY.findall(text)
        )
        text = "\n\n".join(filter(None, [INTRODUCTION.strip(), summary, *ordered]))
        page.write_text(f"{text}\n", encoding="utf-8")
    return all(outcomes)


def write_accuracy(arguments, page, is_quick):
    """Run accuracy.py and replace the section of the page that holds its figures.

    Parameters
    ----------
    arguments : list of str
        What to hand to the script.
    page : pathlib.Path
        Must exist and have this section: the rest of it stays.
    is_quick : bool

    Returns
    -------
    is_complete : bool
        Whether the script ended well.
    """
    parts = re.split(r"^(?=## )", page.read_text("utf-8"), flags=re.MULTILINE)
    row = [part.partition("\n")[0] for part in parts].index(f"## {ACCURACY[0]}")
    plot = page.parent / "_static" / "accuracy.png"
    options = [*arguments, "--output", str(plot)]
    section, is_complete = run_script("accuracy", ACCURACY, plot, options, is_quick)
    parts[row] = f"{section}\n\n"
    page.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")
    return is_complete


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    existing = [name for name in SECTIONS if (FOLDER / f"{name}.py").exists()]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(existing))
    parser.add_argument(
        "--quick", action="store_true", help="only try that it runs: few and small"
    )
    parser.add_argument(
        "--accuracy", metavar="ARGUMENTS", help="run accuracy.py instead, with these"
    )
    parser.add_argument(
        "--page",
        type=pathlib.Path,
        help="where to write the page; with --accuracy it must exist",
    )
    arguments = parser.parse_args()
    if arguments.accuracy is not None:
        page = (arguments.page or ACCURACY_PAGE).resolve()
        options = shlex.split(arguments.accuracy)
        sys.exit(not write_accuracy(options, page, arguments.quick))
    if unknown := set(arguments.names) - set(existing):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    names = arguments.names or existing
    sys.exit(not main(names, (arguments.page or PAGE).resolve(), arguments.quick))
