"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from curate.paths import place


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
Log = Annotated[LogStyle, typer.Option("--log", help="How progress is told on stderr; auto: bars on a terminal.")]

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

RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run: what `run:` says.", show_default=False, parser=place),
]

Test = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="FILES", help="Rows to test on, with the input's columns. May be repeated."),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="How often what is random is repeated; default: as the configuration says."),
]
