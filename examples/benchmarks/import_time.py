"""How long importing the loader takes.

Shows that ``from skimgclf import ImageLoader`` costs little more than the libraries
that it can't do without (scikit-learn, Pillow, joblib), and far less than Keras:
worker processes that only load images stay small and start fast.

Each import is timed in fresh processes, in turn, so that whatever else the machine does
meets all of them alike; the ratio of medians is what counts. Needs nothing beyond
skimgclf's own dependencies. Takes about a minute on two cores.

Run it with ``python examples/benchmarks/import_time.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import subprocess
import sys

from _report import describe_run, print_table

BASELINE = "import sklearn.pipeline, PIL.Image, joblib"
# Statement -> in every how many rounds it runs: Keras' import needs no precision.
STATEMENTS = {BASELINE: 1, "from skimgclf import ImageLoader": 1, "import keras": 5}
N_ROUNDS = 15

# Prints the seconds that a statement took and the peak memory of the process in MB.
TIMER = """
import resource, sys, time
started = time.perf_counter()
exec(sys.argv[1])
seconds = time.perf_counter() - started
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(statement):
    """Run a statement in a fresh process and return its seconds and megabytes."""
    command = [sys.executable, "-c", TIMER, statement]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def main(n_rounds=N_ROUNDS):
    """Time the statements in turn and print a table; return the loader's ratio."""
    for statement in STATEMENTS:
        measure(statement)  # to fill the file system's cache and __pycache__
    runs = {statement: [] for statement in STATEMENTS}
    for i in range(n_rounds):
        for statement, every in STATEMENTS.items():
            if i % every == 0:
                runs[statement].append(measure(statement))
    medians = {
        statement: [statistics.median(values) for values in zip(*pairs, strict=True)]
        for statement, pairs in runs.items()
    }
    rows = [
        [
            f"`{statement}`",
            f"{seconds:.2f} s",
            f"{seconds / medians[BASELINE][0]:.2f}",
            f"{megabytes:.0f} MB",
            len(runs[statement]),
        ]
        for statement, (seconds, megabytes) in medians.items()
    ]
    print(describe_run("scikit-learn", "pillow", "joblib", "keras", "tensorflow"))
    print_table(["import", "median", "ratio", "peak memory", "processes"], rows)


if __name__ == "__main__":
    main()
