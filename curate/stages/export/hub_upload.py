"""Upload of a published version to a dataset repository of the Hugging Face Hub (``export.upload``).

The token is read by the library ``huggingface_hub``: from the environment, or from its own login.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from curate import paths
from curate.errors import ConfigError, CurateError, PublicationHookError, missing_extra_error
from curate.stages.base import Context
from curate.store import manifest, versions

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from curate.config.model import UploadConfig

_REPO_TYPE = "dataset"
_MAX_CAUSE = 500
_REPEAT = "the version is published; {}run again, which repeats the upload"


def check(config: UploadConfig, folder: Path) -> list[str]:
    """Return notes about the upload from a run directory; nothing is sent.

    Raises
    ------
    CurateError
        The upload is certain to fail: a package or the token is missing, the name of the repository is invalid, or the
        run directory is in an object store.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise missing_extra_error("huggingface_hub", "hf", "the upload")
    if paths.is_object(folder):
        message = "a version in an object store cannot be uploaded"
        raise ConfigError(message, hint="set run to a directory on a disk, or remove the key")
    from huggingface_hub import get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(config.repo)
    except HFValidationError as error:
        raise ConfigError(f"repo: {error}", hint="choose another name") from error
    if config.dry_run:
        return [f"dry run: nothing is uploaded to {config.repo}"]
    if get_token() is None:
        hint = f"set the environment variable HF_TOKEN to a token with write access to {config.repo}"
        raise ConfigError("there is no token for the Hugging Face Hub", hint=hint)
    return [f"each publication is uploaded to {config.repo} (branch {config.branch})"]


def upload(context: Context, version: str) -> None:
    """Upload a published version in one commit, and delete the other files below ``data/`` in the repository.

    With ``dry_run``, only log the size of the upload.

    Raises
    ------
    PublicationHookError
        The upload fails, or the version is damaged.
    """
    config, root = context.config.export.upload, context.folder / versions.FOLDER
    if config is None:
        return
    try:
        check(config, context.folder)
    except CurateError as error:
        raise _failure(context, config, error.message, error.hint or "") from error
    if problem := versions.find_damage(root, version, read=True):
        raise _failure(context, config, f"the version is damaged: {problem}", "run curate run --verify")
    files = _files(root / version)
    size = sum(paths.file_size(path) for path in files.values())
    about = f"version {version} ({len(files):,} files, {size:,} bytes) to {config.repo}, branch {config.branch}"
    if config.dry_run:
        context.progress.note(f"export.upload: dry run: would upload {about}")
        return
    context.progress.note(f"export.upload: uploading {about}")
    try:
        with _quiet_library():
            address = _commit(config, files, version)
    except Exception as error:
        cause = paths.hide_secrets(" ".join(str(error).split()))[:_MAX_CAUSE] or type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", None)
        remedy = "set HF_TOKEN to a token with write access to the repository" if status in (401, 403) else ""
        failure = _failure(context, config, cause, remedy)
        raise failure from (None if paths.has_secret(str(error)) else error)
    context.progress.note(f"export.upload: {address}")


def _failure(context: Context, config: UploadConfig, cause: str, remedy: str) -> PublicationHookError:
    hint = _REPEAT.format(f"{remedy}, and " if remedy else "")
    message = f"export.upload: cannot upload to {config.repo}: {cause}"
    return PublicationHookError(message, where=context.config.source, hint=hint)


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a version by their paths in the repository; other files in the folder are not uploaded."""
    contents = versions.read_contents(folder) or {"files": []}
    names = [versions.CARD, manifest.NAME, *(file["file"] for file in contents["files"])]
    return {name: folder / name for name in names}


def _commit(config: UploadConfig, files: Mapping[str, Path], version: str) -> str:
    """Commit the files, to a new repository or branch if there is none, and return the address of the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, get_token

    api = HfApi(token=get_token())
    api.create_repo(config.repo, repo_type=_REPO_TYPE, private=config.private, exist_ok=True)
    if config.branch != "main":
        api.create_branch(config.repo, repo_type=_REPO_TYPE, branch=config.branch, exist_ok=True)
    present = _list_files(api, config)
    stale = sorted(name for name in present - {*files} if name.startswith(f"{versions.DATA}/"))
    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        *(CommitOperationDelete(name, is_folder=False) for name in stale),
        *(CommitOperationAdd(name, path) for name, path in files.items()),
    ]
    commit = api.create_commit(
        config.repo,
        operations,
        commit_message=f"Upload version {version}",
        repo_type=_REPO_TYPE,
        revision=config.branch,
    )
    if missing := sorted({*files} - _list_files(api, config)):
        raise OSError(f"{missing[0]} is missing after the upload; does a .gitignore in the repository exclude it?")
    return commit.commit_url


def _list_files(api: HfApi, config: UploadConfig) -> set[str]:
    return {*api.list_repo_files(config.repo, repo_type=_REPO_TYPE, revision=config.branch)}


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Turn off the progress bars and the warnings of the library during the block."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    were_disabled, verbosity = are_progress_bars_disabled(), logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disable_progress_bars()
        logging.set_verbosity(logging.ERROR)
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if not were_disabled:
                enable_progress_bars()
