"""Arguments and options shared by several commands."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.errors import ConfigError
from curate.paths import is_object, parse_path

if TYPE_CHECKING:
    from curate.config.model import RunConfig


class ExecutorName(StrEnum):
    """Name of an executor."""

    serial = "serial"
    processes = "processes"
    ray = "ray"


class LogStyle(StrEnum):
    """Log format on stderr."""

    auto = "auto"
    plain = "plain"
    json = "json"
    quiet = "quiet"


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file with the configuration.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key: `--set select.2.prune_rate=0.9`. Can be repeated."
    ),
]
ExecutorOption = Annotated[
    ExecutorName, typer.Option("--executor", help="Where tasks run; does not change results.", show_default=True)
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Number of parallel tasks (default: one per core); does not change results."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="Ray cluster that `--executor ray` joins: auto, HOST:PORT or ray://HOST:PORT (default: the address in "
        "RAY_ADDRESS, else a new cluster on this machine for the duration of the run).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Log = Annotated[
    LogStyle,
    typer.Option(
        "--log-format", help="Log format on stderr; auto shows progress bars on a terminal, and plain lines otherwise."
    ),
]

MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        metavar="PATH",
        help="Write metrics for Prometheus (the textfile collector of node_exporter) to this file at the end, even if "
        "the run fails.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Use a run directory or a metrics file that contains something else, and replace conflicting files.",
    ),
]

Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Hash every input file again, even if its size, times and inode are unchanged.",
    ),
]

NoReport = Annotated[
    bool,
    typer.Option(
        "--no-report",
        help="Do not write the report, and delete one that is out of date; `curate report` writes it later.",
    ),
]

RUN_HELP = "Run directory, its URL, or a configuration file whose key `run` sets it."
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP, show_default=False, parser=parse_path)]

Test = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="FILES", help="File of test rows, with the columns of the input. Can be repeated."),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="Number of random seeds (default: from the configuration)."),
]


# ---------------------------------------------------------------- RUN, in every command that reads a run


def resolve_run_directory(name: Path) -> Path:
    """Return the run directory for an argument RUN, which is a run directory or a configuration file.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if _is_directory(name):
        return name
    from curate.config.loader import read_run_directory

    try:
        return parse_path(read_run_directory(_file(name)))
    except ConfigError as error:
        raise error if _is_yaml(name) else _not_a_run(name) from error


def load_run_settings(name: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the configuration of the run for an argument RUN.

    Raises
    ------
    ConfigError
        If the argument is neither a run directory nor a configuration, or the configuration is wrong.
    """
    from curate.config.loader import load_config, load_run_config

    if not _is_directory(name):
        if not _is_yaml(name):
            resolve_run_directory(name)  # raises an error unless it is a configuration
        return load_config(_file(name), overrides)
    from dataclasses import replace

    from curate import no_follow

    with no_follow.protect(name):
        config = load_run_config(name, overrides)
    return config if any(one.startswith("run=") for one in overrides) else replace(config, run=str(name))


def _is_directory(name: Path) -> bool:
    """Return whether an argument is a run directory; in a store, everything but a YAML file may be one."""
    if is_object(name):
        return not _is_yaml(name)
    return name.is_dir() and any(
        (name / entry).exists() for entry in ("input", "export", "config.yaml", ".curate.lock")
    )


def _is_yaml(name: Path) -> bool:
    return name.suffix in (".yaml", ".yml")


def _file(name: Path) -> Path:
    if is_object(name) or name.is_file():
        return name
    raise _not_a_run(name)


def _not_a_run(name: Path) -> ConfigError:
    if name.exists():
        message = "this is neither a run directory nor a configuration file"
    else:
        message = "there is no run directory or configuration file with this name"
    return ConfigError(message, where=str(name), hint=_hint(name))


_MAX_COMPARED = 1_000  # directory entries


def _hint(name: Path) -> str:
    """Return a hint with the runs and configurations near a path that have similar names."""
    if is_object(name):
        return ""
    folders = dict.fromkeys([name if name.is_dir() else name.parent, Path(), Path("runs"), Path("configs")])
    entries = [entry for one in folders if one.is_dir() for entry in islice(one.iterdir(), _MAX_COMPARED)]
    known = [entry for entry in entries if _is_yaml(entry) or (entry / "config.yaml").is_file()]
    similar = difflib.get_close_matches(name.stem, [entry.stem for entry in known], n=3, cutoff=0.7)
    near = [str(entry) for entry in sorted(known) if entry.stem in similar or (name.is_dir() and entry.parent == name)]
    return f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""
