"""Run the command ``skimgclf`` as ``python -m skimgclf``."""

import sys

from skimgclf.cli import main

if __name__ == "__main__":
    sys.exit(main())
