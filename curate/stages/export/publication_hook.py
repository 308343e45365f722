"""Command that runs once after each publication (``export.after``).

The file ``hook.json`` in the export folder records the last publication for which the command succeeded. It is written
after the success, so a run that is killed in between repeats the command.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections import deque
from collections.abc import Sequence

from curate import paths
from curate.errors import PublicationHookError
from curate.stages.base import Context
from curate.store import parquet_io, versions

NAME = "hook.json"

_LAST_LINES = 5
_GRACE = 10.0
"""Seconds between the request to end and the end of the command, when the run is interrupted."""


def run_once(context: Context, version: str) -> None:
    """Run the command for the last publication, unless it has already succeeded for it.

    Raises
    ------
    PublicationHookError
        The command cannot be started, or fails; the version stays published, and the next run repeats the command.
    """
    command = context.config.export.after
    if command is None:
        return
    root = context.folder / versions.FOLDER
    publications = versions.read_history(root)
    expected = {"version": version, "publications": len(publications), "command": list(command)}
    if parquet_io.read_json(root / NAME) == expected:
        return
    folder = root if paths.is_object(root) else root.resolve()
    variables = {"CURATE_RUN": context.config.run, "CURATE_VERSION": version, "CURATE_PATH": str(folder / version)}
    context.progress.note(f"export.after: {shlex.join(command)}")
    _run(context, command, variables)
    parquet_io.write_json(root / NAME, expected)


def _run(context: Context, command: Sequence[str], variables: dict[str, str]) -> None:
    last: deque[str] = deque(maxlen=_LAST_LINES)
    repeat = "the version is published; fix the command and run again, which repeats it"
    try:
        process = subprocess.Popen(  # noqa: S603 - the configuration is trusted, see docs/explanation/security.md
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **variables},
            start_new_session=True,  # the run decides when it ends
        )
    except (OSError, ValueError) as error:
        message = f"export.after: cannot start {command[0]!r}: {getattr(error, 'strerror', None) or error}"
        raise PublicationHookError(message, where=context.config.source, hint=repeat) from error
    with process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                context.progress.note(f"export.after: {line.rstrip()}")
            status = process.wait()
        except BaseException:  # also an interrupt
            _stop(process)
            raise
    if status:
        ended = f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
        output = f"; its last lines: {' | '.join(last)}" if last else ""
        message = f"export.after: {shlex.join(command)} failed with {ended}{output}"
        raise PublicationHookError(message, where=context.config.source, hint=repeat)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the command and its children to end, and kill them if they do not."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sent)
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                continue
            return
