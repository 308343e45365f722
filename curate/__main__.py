"""``python -m curate`` is ``curate``; nothing is imported from the current folder."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - as Python has put it there
    del sys.path[0]

from curate.cli import main

if __name__ == "__main__":
    main()
