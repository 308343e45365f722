"""Arguments and options that several commands share."""

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
    """Where tasks run."""

    serial = "serial"
    processes = "processes"
    ray = "ray"


class LogStyle(StrEnum):
    """How progress is told."""

    auto = "auto"
    plain = "plain"
    json = "json"
    quiet = "quiet"


Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The YAML file that says what to do.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one key: `--set select.2.prune_rate=0.9`. May be repeated."
    ),
]
ExecutorOption = Annotated[
    ExecutorName, typer.Option("--executor", help="Where tasks run. Never changes a result.", show_default=True)
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Tasks at once; default: one a core. Never changes a result."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="The Ray cluster that `--executor ray` joins: auto, HOST:PORT or ray://HOST:PORT; default: RAY_ADDRESS, "
        "else one on this machine for as long as the run takes.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Log = Annotated[
    LogStyle, typer.Option("--log-format", help="How progress is told on stderr; auto: bars on a terminal.")
]

MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        metavar="PATH",
        help="At the end, also of a run that fails, write metrics there for Prometheus (node_exporter's textfile "
        "collector).",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Also use a run folder or a metrics file that holds something else; what is in the way is replaced.",
    ),
]

Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Hash every input file again, also those whose size, times and inode say that they did not change.",
    ),
]

NoReport = Annotated[
    bool,
    typer.Option(
        "--no-report",
        help="Do not write the report; one that would be out of date is deleted. `curate report` writes it later.",
    ),
]

RUN_HELP = "A run directory, its URL, or the YAML of a configuration, whose `run:` is taken."
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP, show_default=False, parser=parse_path)]

Test = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="FILES", help="Rows to test on, with the input's columns. May be repeated."),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="How often what is random is repeated; default: as the configuration says."),
]


# ---------------------------------------------------------------- RUN, in every command that reads a run


def resolve_run_directory(name: Path) -> Path:
    """Return the run directory that an argument RUN names, itself or in a configuration.

    Raises
    ------
    ConfigError : it is neither
    """
    if _is_directory(name):
        return name
    from curate.config.loader import read_run_directory

    try:
        return parse_path(read_run_directory(_file(name)))
    except ConfigError as error:
        raise error if _is_yaml(name) else _neither(name) from error


def load_run_settings(name: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the configuration of the run that an argument RUN names.

    Raises
    ------
    ConfigError : it is neither a run directory nor a configuration, or the configuration is wrong
    """
    from curate.config.loader import load_config, load_run_config

    if not _is_directory(name):
        if not _is_yaml(name):
            resolve_run_directory(name)  # which refuses what is no configuration
        return load_config(_file(name), overrides)
    from dataclasses import replace

    from curate import no_follow

    with no_follow.protect(name):
        config = load_run_config(name, overrides)
    return config if any(one.startswith("run=") for one in overrides) else replace(config, run=str(name))


def _is_directory(name: Path) -> bool:
    """Return whether an argument is a run directory; in a store, anything but a YAML file may be one."""
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
    raise _neither(name)


def _neither(name: Path) -> ConfigError:
    kinds = "neither a run directory nor the YAML of a configuration"
    there = "this is" if name.exists() else "there is"
    return ConfigError(f"{there} {kinds}", where=str(name), hint=_hint(name))


_MOST_COMPARED = 1_000  # entries of a folder


def _hint(name: Path) -> str:
    """Return the runs and configurations near a path whose names are like it, as a hint."""
    if is_object(name):
        return ""
    folders = dict.fromkeys([name if name.is_dir() else name.parent, Path(), Path("runs"), Path("configs")])
    entries = [entry for one in folders if one.is_dir() for entry in islice(one.iterdir(), _MOST_COMPARED)]
    known = [entry for entry in entries if _is_yaml(entry) or (entry / "config.yaml").is_file()]
    alike = difflib.get_close_matches(name.stem, [entry.stem for entry in known], n=3, cutoff=0.7)
    near = [str(entry) for entry in sorted(known) if entry.stem in alike or (name.is_dir() and entry.parent == name)]
    return f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""
