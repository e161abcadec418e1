"""How the benchmarks measure: in turn, in processes of their own, and with goals."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from _report import print_table


def read_arguments(description):
    """Read the arguments that the benchmarks of speed share.

    Parameters
    ----------
    description : str
        The script's docstring, of which the first line is shown.

    Returns
    -------
    arguments : argparse.Namespace
        With the bool `quick` and the folder for plots, `plots`, a Path or None.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="only try that it runs: few and small"
    )
    parser.add_argument(
        "--plots", type=pathlib.Path, metavar="DIR", help="draw plots into a folder"
    )
    return parser.parse_args()


def time_in_turn(functions, n_rounds):
    """Time functions in turn, so that what else the machine does meets all alike.

    Parameters
    ----------
    functions : dict of str to callable
    n_rounds : int
        How often each is called, after one call that isn't timed. Every round starts
        with another one.

    Returns
    -------
    seconds : dict of str to list of float
        One value a round.
    """
    for function in functions.values():
        function()
    names = list(functions)
    seconds = {name: [] for name in names}
    for i in range(n_rounds):
        start = i % len(names)
        for name in names[start:] + names[:start]:
            started = time.perf_counter()
            functions[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def divide_pairs(values, baseline):
    """Return the median of the ratios of two measurements, round by round."""
    return statistics.median(a / b for a, b in zip(values, baseline, strict=True))


def run_alone(script, *arguments, environment=None):
    """Run a benchmark script in a process of its own.

    Parameters
    ----------
    script : str
        The path of the script, whose last line of output must be JSON.
    *arguments : object
        What to hand to it, each as JSON.
    environment : dict of str to str, default=None
        Variables to set in addition.

    Returns
    -------
    result : object
        What it printed; `{"error": str}` if it failed.
    """
    command = [sys.executable, script, "--alone", *map(json.dumps, arguments)]
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last_line = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return {"error": last_line[0]}
    return json.loads(done.stdout.splitlines()[-1])


def answer_alone(functions):
    """In a process that `run_alone` started: call a function and print its result.

    Parameters
    ----------
    functions : dict of str to callable
        By the first argument of `run_alone`; the others become its arguments.

    Returns
    -------
    is_alone : bool
        Whether this is such a process.
    """
    if sys.argv[1:2] != ["--alone"]:
        return False
    name, *arguments = map(json.loads, sys.argv[2:])
    print(json.dumps(functions[name](*arguments)))
    return True


def peak_megabytes():
    """Return the most memory that this process has held, in MB."""
    # Linux' own figure first: a process that subprocess starts inherits ru_maxrss.
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status") as file:
            status = dict(line.split(":", 1) for line in file)
        if "VmHWM" in status:
            return int(status["VmHWM"].split()[0]) * 1024 / 1e6
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def report_progress(text):
    """Say on stderr what is being measured."""
    print(f"{pathlib.Path(sys.argv[0]).name}: {text} ...", file=sys.stderr, flush=True)


def print_goals(goals):
    """Print what was to be reached beside what was reached.

    Parameters
    ----------
    goals : list of tuple (str, str, float, float)
        What is measured; "at least" or "at most"; the goal; what was reached, None if
        it couldn't be measured.
    """
    rows = []
    for name, direction, goal, reached in goals:
        if reached is None:
            rows.append([name, f"{direction} {goal:g}", "-", "not measured"])
            continue
        is_met = reached >= goal if direction == "at least" else reached <= goal
        rows.append(
            [name, f"{direction} {goal:g}", f"{reached:.3g}", "yes" if is_met else "no"]
        )
    print()
    print_table(["goal", "wanted", "reached", "met"], rows)


def print_summary(sentence):
    """Print the sentence that `run_all.py` takes to the top of the page.

    Parameters
    ----------
    sentence : str
        With figures, beside the best of the others.
    """
    print(f"\nIn short: {sentence}")
