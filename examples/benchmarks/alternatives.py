"""What skimgclf does that the alternatives don't, each claim carried out.

Prints tables. A row is a claim, a column a way to get there without skimgclf, and a
cell what came of a small check on real files, run just now; a dash means that there is
no such thing to check.

- reading tables and folders: pandas, scikit-learn's `load_files`, Keras'
  `image_dataset_from_directory`
- reading images: Pillow's open, convert and resize; Keras' `load_img`; embetter's
  `ImageLoader`, whose images are resized with Pillow
- classifying them: scikeras' `KerasClassifier` and Keras' `SKLearnClassifier`, with the
  same network, epochs and batch size (but one epoch in searches with the latter, whose
  clones forget them)

embetter is optional (``pip install embetter``) and left out if it isn't installed; all
others are dependencies of skimgclf. Takes about two minutes on two cores.

Run it with ``python examples/benchmarks/alternatives.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path

from _report import describe_run, print_table


def run_check(check, tool):
    """Run a check on a tool and say in a word or two what came of it.

    An error is a no, but for NotImplementedError: what isn't there can't be checked.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            result = check(tool, Path(folder))
        except NotImplementedError:
            return "-"
        except Exception as error:
            result = False, type(error).__name__
    holds, detail = result if isinstance(result, tuple) else (result, None)
    return ("yes" if holds else "no") + (f" ({detail})" if detail else "")


def compare(title, checks, tools):
    """Run all checks on all tools and print a table."""
    rows = []
    for claim, check in checks.items():
        print(f"{title}: {claim} ...", file=sys.stderr, flush=True)
        rows.append([claim, *(run_check(check, tool) for tool in tools.values())])
    print()
    print_table([title, *tools], rows)


def main():
    """Print the tables."""
    # Imported here: processes that multiprocessing spawns import this module, and they
    # should start fast.
    import _classifier_checks
    import _data_checks
    import _image_checks

    packages = ["pillow", "pandas", "scikit-learn", "scikeras", "keras", "tensorflow"]
    print(describe_run(*packages, "embetter"))
    if "embetter ImageLoader" not in _image_checks.READERS:
        print("embetter isn't installed and is left out (pip install embetter).")
    compare("tables", _data_checks.TABLE_CHECKS, _data_checks.TABLE_READERS)
    compare("folders", _data_checks.FOLDER_CHECKS, _data_checks.FOLDER_READERS)
    compare("images", _image_checks.CHECKS, _image_checks.READERS)
    compare("classifiers", _classifier_checks.CHECKS, _classifier_checks.CLASSIFIERS)


if __name__ == "__main__":
    main()
