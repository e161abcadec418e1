"""``python -m skimgclf`` is the command ``skimgclf``."""

import sys

from skimgclf.cli import main

if __name__ == "__main__":
    sys.exit(main())
