"""Entry point of ``python -m curate``, which imports nothing from the current directory."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - the string that Python itself puts there
    del sys.path[0]

from curate.cli import main

if __name__ == "__main__":
    main()
