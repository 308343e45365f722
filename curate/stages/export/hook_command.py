"""Command that runs after a publication (``export.after``)."""

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
from curate.store import versions

_LAST_LINES = 5
_GRACE = 10.0
"""Seconds between the request to end and the end of the command, when the run is interrupted."""


def run_command(context: Context, version: str) -> None:
    """Run the command for a published version.

    Raises
    ------
    PublicationHookError
        The command cannot be started, or fails.
    """
    command, root = context.config.export.after or (), context.folder / versions.FOLDER
    folder = root if paths.is_object(root) else root.resolve()
    variables = {"CURATE_RUN": context.config.run, "CURATE_VERSION": version, "CURATE_PATH": str(folder / version)}
    context.progress.note(f"export.after: {shlex.join(command)}")
    _run(context, command, variables)


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
