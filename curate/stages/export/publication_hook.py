"""Actions after a publication: the upload (``export.upload``), and then the command (``export.after``).

The file ``hook.json`` in the export folder records, for each action, the last publication for which it succeeded. It is
written after the success, so a run that is killed in between repeats the action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from curate.stages.base import Context
from curate.stages.export.hook_command import run_command
from curate.stages.export.hub_upload import upload
from curate.store import parquet_io, versions

NAME = "hook.json"


def run_once(context: Context, version: str) -> None:
    """Run the actions for the last publication, except those that have already succeeded for it.

    Raises
    ------
    PublicationHookError
        An action fails; the version stays published, and the next run repeats the action.
    """
    config = context.config.export
    if config.upload is not None and config.upload.dry_run:
        upload(context, version)  # nothing is sent or recorded
    elif config.upload is not None:
        _run_once(context, version, "upload", asdict(config.upload), upload)
    if config.after is not None:
        _run_once(context, version, "after", list(config.after), run_command)


def _run_once(
    context: Context, version: str, name: str, settings: object, action: Callable[[Context, str], None]
) -> None:
    root = context.folder / versions.FOLDER
    publications = len(versions.read_history(root))
    expected = {"version": version, "publications": publications, "settings": settings}
    record = parquet_io.read_json(root / NAME) or {}
    if record.get(name) == expected:
        return
    action(context, version)
    parquet_io.write_json(root / NAME, {**record, name: expected})
