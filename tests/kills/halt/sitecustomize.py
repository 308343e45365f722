"""Makes a run stop at a chosen touch of its folder, so that it can be killed there; with this folder on PYTHONPATH.

``HALT`` in the environment is a JSON object of the arguments of ``watch``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TOUCHES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink")


def watch(
    run: str, *, log: str = "", role: str = "", stage: str = "", nth: int = 0, mark: str = "", freeze: bool = False
) -> None:
    """Watch this process touch the folder ``run``.

    Parameters
    ----------
    log : a file that gets a line for every touch: process, role, stage, reads or writes
    role, stage, nth : the moment: when a driver (or worker) comes to touch number ``nth`` of its own in a stage
    mark : a file that is made then, by the first process that comes there
    freeze : wait then until there is one beside it, with ``.go`` after its name
    """
    mine = "worker" if "--multiprocessing-fork" in sys.orig_argv else "driver"
    seen: Counter[str] = Counter()

    def touched(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in TOUCHES or (where := stage_of(event, arguments, run)) is None:
            return
        seen[where] += 1
        if log:
            reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
            with Path(log).open("a", encoding="ascii") as file:
                file.write(f"{os.getpid()} {mine} {where} {'reads' if reads else 'writes'}\n")
        elif (mine, where, seen[where]) == (role, stage, nth):
            try:
                Path(mark).touch(exist_ok=False)
            except FileExistsError:  # another process was first
                return
            while freeze and not Path(f"{mark}.go").exists():
                time.sleep(0.002)

    sys.addaudithook(touched)


def stage_of(event: str, arguments: tuple[Any, ...], run: str) -> str | None:
    """The first folder of the path within the run, ``run`` for a file in the run folder itself; None for elsewhere."""
    path = arguments[1] if event == "os.symlink" else arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):  # a file that is open already
        return None
    path = Path(os.fsdecode(path))
    if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # a name in an open folder, as shutil.rmtree has it
        path = Path(f"/proc/self/fd/{arguments[1]}").readlink() / path
    path = Path.cwd() / path
    if path.parts[1] == "proc":  # a name of an open file or folder
        path = path.resolve()
    if not path.is_relative_to(run):
        return None
    inside = path.relative_to(run).parts
    return inside[0] if len(inside) > 1 else "run"


if told := os.environ.get("HALT"):
    watch(**json.loads(told))
