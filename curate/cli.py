"""The command line: parses, calls one function, turns an error into an exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate import errors, progress
from curate.executors.base import Terminated, on_sigterm
from curate.paths import matching, place
from curate.plugins.kinds import KINDS

if TYPE_CHECKING:
    from curate.config.model import RunConfig
    from curate.pipeline import Stage, Summary
    from curate.plugins.registry import Plugin
    from curate.progress import Teller

app = typer.Typer(
    name="curate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Choose what to train on.

A pool of training data goes in; the part worth training on comes out, with a report that says why. One YAML file holds
every decision:

**embed → cluster → score → select → export**

Start with `curate init`, look with `curate plan`, go with `curate run`.""",
    epilog="Exit codes: 0 done, 1 bug, 2 configuration, 3 input data, 4 plugin, 5 guardrail, "
    "75 locked, 130 interrupted, 143 terminated.",
)


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


def _load(config: Path, overrides: list[str] | None) -> RunConfig:
    from curate.config.loader import load

    return load(config, overrides or ())


def _run(
    until: Stage,
    config: Path,
    overrides: list[str] | None,
    executor: ExecutorName,
    workers: int | None,
    ray_address: str | None,
    log: LogStyle,
    metrics_file: Path | None,
    overwrite: bool,
    verify: bool,
) -> Summary:
    with _telling(log) as told:
        with _measured(told, metrics_file, overwrite=overwrite) as run_is:
            from curate import pipeline

            settings = _load(config, overrides)
            run_is(settings.run)
            with pipeline.executor_named(executor.value, workers, ray_address) as runner:
                summary = pipeline.run(settings, runner, told, until=until, overwrite=overwrite, verify=verify)
        told.end(errors.OK, summary.sentence(), summary=summary.as_dict())
    return summary


def _stage(until: Stage, about: str) -> None:
    def command(
        config: Config,
        overrides: Overrides = None,
        executor: ExecutorOption = ExecutorName.processes,
        workers: Workers = None,
        ray_address: RayAddress = None,
        log: Log = LogStyle.auto,
        metrics_file: MetricsFile = None,
        overwrite: Overwrite = False,
        verify: Verify = False,
        as_json: Json = False,
    ) -> None:
        done = _run(until, config, overrides, executor, workers, ray_address, log, metrics_file, overwrite, verify)
        _tell(done, as_json=as_json)

    command.__doc__ = about
    app.command(name=until, rich_help_panel="One stage")(command)


@app.command(rich_help_panel="The pipeline")
def run(
    config: Config,
    overrides: Overrides = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    metrics_file: MetricsFile = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline: every stage whose inputs changed, and no other."""
    done = _run("export", config, overrides, executor, workers, ray_address, log, metrics_file, overwrite, verify)
    _tell(done, as_json=as_json)


_stage("embed", "Read the pool and embed its rows.")
_stage("cluster", "Embed if need be, then group similar rows.")
_stage("score", "Cluster if need be, then score every row.")
_stage("select", "Score if need be, then decide which rows to keep.")
_stage("export", "Select if need be, then write the chosen rows and the report.")


@app.command(rich_help_panel="The pipeline")
def plan(
    config: Config,
    overrides: Overrides = None,
    verify: Verify = False,
    as_json: Json = False,
    log: Log = LogStyle.auto,
) -> None:
    """Say what a run would do and why, with rows, time, memory and disk of each step; change nothing."""
    from curate import pipeline
    from curate.executors.serial import Serial

    with _telling(log) as told:
        steps = pipeline.plan(_load(config, overrides), Serial(), told, verify=verify)
    if as_json:
        progress.show_json([{name: getattr(step, name) for name in step.__dataclass_fields__} for step in steps])
        return
    mebibyte = 2**20
    rows = [
        [
            step.stage,
            step.name,
            step.state,
            _about(step.rows) + (f" in each of {step.epochs:,} epochs" if step.epochs > 1 else ""),
            _about(step.seconds),
            _about(step.memory, mebibyte),
            _about(step.disk, mebibyte),
            step.why,
        ]
        for step in steps
    ]
    progress.show_table(["stage", "entry", "state", "rows out", "~s", "~MiB", "~MiB disk", "why"], rows)
    if notes := [step.note for step in steps if step.note]:
        progress.show_line("")
    for note in notes:
        progress.show_line(note)


def _about(number: float | None, unit: int = 1) -> str:
    if number is None:
        return "?"
    value = number / unit
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


@app.command(rich_help_panel="The pipeline")
def check(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check a configuration and report everything that is wrong with it at once."""
    settings = _load(config, overrides)
    if as_json:
        progress.show_json(settings.resolved)
    else:
        progress.show_line(f"{config}: fine; {len(settings.select)} selectors, results go to {settings.run}")


@app.command(rich_help_panel="Looking at results")
def report(config: Config, overrides: Overrides = None, as_json: Json = False, log: Log = LogStyle.auto) -> None:
    """Write the report of a finished run again, and say where it is."""
    from curate import pipeline

    with _telling(log) as told:
        path, summary = pipeline.report(_load(config, overrides), told)
    if as_json:
        progress.show_json(summary)
    else:
        progress.show_line(path)


RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run: what `run:` says.", show_default=False, parser=place),
]


@app.command(rich_help_panel="Looking at results")
def explain(
    run: RunFolder,
    row: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The id of a row. Write `--` before an id that begins with a dash: `curate explain RUN -- -5`.",
            show_default=False,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say where a row came from, what became of it, and why."""
    from curate.store import explain as stories

    story = stories.explain(run, row)
    if as_json:
        progress.show_json(story.as_dict())
        return
    for line in story.lines():
        progress.show_line(line)


@app.command(rich_help_panel="Looking at results")
def diff(
    run: RunFolder,
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_B",
            help="The folder of another run to compare the first with.",
            show_default=False,
            parser=place,
        ),
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="Rows to show, added and removed each.")] = 5,
    as_json: Json = False,
) -> None:
    """Say which rows the published export added and removed, and why; with two runs, the second's selection."""
    from curate.store import diff as differences

    found = differences.last(run, examples) if other is None else differences.diff(run, other, examples)
    if as_json:
        progress.show_json(found.as_dict())
        return
    progress.show_line(found.sentence())
    for header, rows in found.tables():
        typer.echo("")
        progress.show_table(header, rows)
    if found.examples:
        typer.echo("")
    for line in found.lines():
        progress.show_line(line)


Test = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="FILES", help="Rows to test on, with the input's columns. May be repeated."),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="How often what is random is repeated; default: as the configuration says."),
]


@app.command(rich_help_panel="Looking at results")
def evaluate(
    run: RunFolder,
    test: Test = None,
    seeds: Seeds = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    as_json: Json = False,
) -> None:
    """Say whether a run's selection is better than chance, metric by metric, and who loses by it."""
    from curate import pipeline
    from curate.evaluation.evaluate import as_dict
    from curate.evaluation.evaluate import evaluate as evaluated
    from curate.report import evaluation_text

    with _telling(log) as told, pipeline.executor_named(executor.value, workers, ray_address) as runner:
        found = evaluated(run, runner, told, files=test or (), seeds=seeds)
    if as_json:
        progress.show_json(as_dict(found))
    else:
        progress.show_tables(evaluation_text.tables(found), evaluation_text.lines(found))


@app.command(rich_help_panel="Looking at results")
def compare(
    config: Config,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="NAMES",
            help="Selectors, separated by commas: entries of the select section, plugins, or `{use: ccs, by: el2n}`; "
            "default: the section's last entry. May be repeated.",
        ),
    ] = None,
    prune_rate: Annotated[
        str, typer.Option("--prune-rate", metavar="RATES", help="Shares of the rows to drop, separated by commas.")
    ] = ".5,.7,.9",
    seeds: Seeds = None,
    test: Test = None,
    overrides: Overrides = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    as_json: Json = False,
) -> None:
    """Compare selectors × prune rates × seeds with chance, and say in one sentence which to use."""
    from curate import pipeline
    from curate.config.csv_option import names, rates
    from curate.evaluation import verdict
    from curate.evaluation.compare import compare as compared

    settings, chosen, shares = _load(config, overrides), names(select or ()), rates(prune_rate)
    with _telling(log) as told, pipeline.executor_named(executor.value, workers, ray_address) as runner:
        found = compared(settings, runner, told, select=chosen, prune_rates=shares, files=test or (), seeds=seeds)
    if as_json:
        progress.show_json(verdict.as_dict(found))
    else:
        progress.show_tables(verdict.tables(found), verdict.lines(found))


@app.command(rich_help_panel="The pipeline")
def rollback(
    run: RunFolder,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="The one to publish; the one before, unless said.")
    ] = None,
    as_json: Json = False,
    log: Log = LogStyle.auto,
) -> None:
    """Publish an earlier export again, at once; the next run publishes what its configuration and input give."""
    from curate.store import versions

    with _telling(log) as told:
        done = versions.rollback(run, version, told.note)
    if as_json:
        progress.show_json(done.as_dict())
        return
    progress.show_line(done)
    progress.show_line(
        f"the next curate run of {run} publishes again: mend what was wrong with the input or the configuration"
    )


@app.command(rich_help_panel="Writing configurations")
def plugins(
    kind: Annotated[str | None, typer.Argument(help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")] = None,
    name: Annotated[str | None, typer.Argument(help="One plugin, to see its fields.")] = None,
    as_json: Json = False,
) -> None:
    """List the plugins, or show one with its fields."""
    from curate.plugins import registry

    kind = next((one for one in KINDS if kind == registry.folder(one)), kind)  # the plural does too
    if kind is not None and kind not in KINDS:
        raise errors.ConfigError(f"unknown kind {kind!r}", hint=f"there are: {', '.join(KINDS)}")
    if kind is not None and name is not None:
        _show_plugin(registry.get(kind, name), as_json=as_json)
        return
    found = [registry.get(k, n) for k in KINDS if kind in (None, k) for n in registry.names(k)]
    if as_json:
        progress.show_json([_told(plugin) for plugin in found])
    elif kind == "selector":
        titles = ["use", "what it does", "cost", "guarantee", "reference"]
        rows = [[p.name, p.summary(), p.traits.cost, p.traits.guarantee, p.reference()] for p in found]
        progress.show_table(titles, rows)
    else:
        progress.show_table(["kind", "use", "what it does"], [[p.kind, p.name, p.summary()] for p in found])


def _told(plugin: Plugin) -> dict[str, str]:
    """A plugin in a list of them, for programs."""
    traits = {"cost": plugin.traits.cost, "guarantee": plugin.traits.guarantee}
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "about": plugin.summary(),
        **{key: text for key, text in traits.items() if text},
        "reference": plugin.reference(),
        "origin": plugin.origin,
    }


def _show_plugin(plugin: Plugin, *, as_json: bool) -> None:
    from curate.plugins.fields import fields, show, with_nested

    about = plugin.about()
    rows = [
        {
            "name": field.name,
            "value": field.text,
            "default": "required" if field.required else show(field.default),
            "meaning": field.doc,
        }
        for field in with_nested(fields(plugin.cls))
    ]
    if as_json:
        progress.show_json({"kind": plugin.kind, "name": plugin.name, "about": about, "fields": rows})
        return
    typer.echo(f"{plugin.kind} {plugin.name} (version {plugin.traits.version}, {plugin.origin})\n\n{about}")
    if rows:
        typer.echo("")
        progress.show_table(list(rows[0]), [list(row.values()) for row in rows])


@app.command(rich_help_panel="Writing configurations")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from curate.config.schema import json_schema

    progress.show_json(json_schema())


@app.command(rich_help_panel="Writing configurations")
def init(
    path: Annotated[Path, typer.Argument(help="The YAML file to write.")] = Path("curate.yaml"),
    files: Annotated[str, typer.Option("--files", help="The pool: a path or a pattern.")] = "pool/*.jsonl",
    text: Annotated[str | None, typer.Option("--text", help="The column (or template) that holds the text.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Write a configuration to start from, with the columns of your own files if they are there."""
    from curate.config.init_template import starter
    from curate.store import parquet_io
    from curate.store.readers import column_names

    if path.exists() and not overwrite:
        raise errors.ConfigError("the file exists already", where=str(path), hint="name another, or say --overwrite")
    found = sorted(matching(files))
    columns = column_names(place(found[0])) if found else []
    parquet_io.write_text(path, starter(files, columns, text, f"runs/{path.stem}"))
    pool = f"{len(found)} files with the columns {', '.join(columns)}" if found else f"no file matches {files!r} yet"
    progress.show_line(f"wrote {path} ({pool}); look at it, then: curate run {path}")


def _version(asked: bool) -> None:
    if asked:
        from curate.version import __version__

        typer.echo(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# ---------------------------------------------------------------- results


def _tell(summary: Summary, *, as_json: bool) -> None:
    """Print what a run did: a table and one line, or JSON."""
    from curate.store import manifest

    if as_json:
        progress.show_json(summary.as_dict())
        return
    rows = []
    for line in manifest.lines(summary.records):
        count = line.count
        numbers = [f"{number:,}" for number in (count.rows_in, count.kept, count.dropped, count.quarantined)]
        rows.append([line.stage, line.name, *numbers, f"{line.seconds:.1f}", f"{line.peak_memory / 2**20:,.0f}"])
    progress.show_table(["stage", "entry", "in", "kept", "dropped", "quarantined", "s", "MiB"], rows)
    progress.show_line(summary.sentence())


# ---------------------------------------------------------------- the log and the metrics


class _Told(Exception):  # noqa: N818 - what went wrong is its cause
    """The command failed, and that was told."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


@contextmanager
def _telling(log: LogStyle) -> Iterator[Teller]:
    """What hears of the progress, and how the block ended: an error is told in the style of the log."""
    with progress.teller(log.value) as told:
        try:
            with errors.catching_panics():
                yield told
        except _ERRORS as error:
            message, code = _explained(error)
            told.end(code, message)
            raise _Told(code) from error


@contextmanager
def _measured(told: Teller, path: Path | None, *, overwrite: bool) -> Iterator[Callable[[str], None]]:
    """Write the metrics of the run in the block, however it ends; what is given wants to know the run's folder."""
    names: list[str] = []
    if path is None:
        yield names.append
        return
    from curate.stages.report import prometheus

    prometheus.check(path, overwrite=overwrite)
    begun = time.monotonic()

    def write(code: int, error: str = "") -> None:
        run, took = names[0] if names else None, time.monotonic() - begun
        place = {"stage": told.stage, "entry": told.entry}
        prometheus.write(
            path, prometheus.Ending(run=run, seconds=took, exit_code=code, steps=told.steps, error=error, **place)
        )

    try:
        with errors.catching_panics():
            yield names.append
    except _ERRORS as error:
        try:
            write(_exit_code(error), type(error).__name__)
        except errors.CurateError as unwritten:  # what the run failed of is more telling
            told.warn(f"the metrics are not written: {unwritten}")
        raise
    try:
        write(errors.OK)
    except errors.CurateError as unwritten:  # what was published stays published
        told.warn(f"the metrics are not written: {unwritten}")


# ---------------------------------------------------------------- errors


def main() -> None:
    """Run the command line and exit with the code that says how it went."""
    signal.signal(signal.SIGTERM, on_sigterm)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a result that stdout has no letters for is no failure
    os.environ["PYTHONSAFEPATH"] = "1"  # no worker imports what happens to lie in the current folder
    try:
        code = _code()
    finally:
        _end_by_signals()
    sys.exit(code)


def _end_by_signals() -> None:
    """Let a signal end the process at once: handlers that raise while Python shuts down hang it, or are shown."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _code() -> int:
    try:
        with errors.catching_panics():
            code = app(standalone_mode=False, prog_name="curate")
    except SystemExit as asked:
        if isinstance(asked.__context__, BrokenPipeError):  # the reader of our results has had enough
            return errors.OK
        raise
    except _Told as told:
        return told.exit_code
    except _ERRORS as error:
        if show := getattr(error, "show", None):  # the command-line parser refused the arguments
            show()
            if hint := _hint_of_dash(error):
                progress.complain(hint)
            return errors.CONFIG
        message, code = _explained(error)
        progress.complain(message)
        return code
    if code == errors.INTERRUPTED:  # what Typer makes of Ctrl-C
        progress.complain(_explained(KeyboardInterrupt())[0])
    return int(code or errors.OK)


def _hint_of_dash(error: BaseException) -> str:
    """Return what to do if the id of a row was taken for an option; empty if it was not."""
    command, option = getattr(getattr(error, "ctx", None), "info_name", ""), getattr(error, "option_name", None)
    if command != "explain" or not isinstance(option, str):
        return ""
    name = next((word for word in sys.argv if word.startswith(option)), option)
    return errors.visible(f"if {name!r} is the id of a row, write -- before it: curate explain RUN -- {name}")


_RESUMABLE = "the same command goes on where this one stopped"

_ENVIRONMENT = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EMFILE,
)
"""What is the machine's doing, or the user's, and no bug: a full disk, a folder that may not be written to, …"""


_ERRORS = (Exception, KeyboardInterrupt, Terminated)


def _exit_code(error: BaseException) -> int:
    match error:
        case KeyboardInterrupt():
            return errors.INTERRUPTED
        case Terminated():
            return errors.TERMINATED
        case errors.CurateError():
            return error.exit_code
        case OSError() if error.errno in _ENVIRONMENT:
            return errors.DATA
    return errors.BUG


def _explained(error: BaseException) -> tuple[str, int]:
    """What to tell of an error, and the exit code."""
    code = _exit_code(error)
    match error:
        case KeyboardInterrupt():
            return f"interrupted; {_RESUMABLE}", code
        case Terminated():
            return f"terminated; {_RESUMABLE}", code
        case errors.PluginFailedError():
            return f"{error}\nthe traceback is in {_log(error)}", code
        case errors.CurateError():
            return str(error), code
        case OSError() if code == errors.DATA:
            return errors.visible(f"{error.filename or 'output'}: {error.strerror}"), code
    told = errors.visible(f"this is a bug: {type(error).__name__}: {error}")
    return f"{told}\nnothing that was published has changed; please report it with {_log(error)}", code


def _log(error: BaseException) -> str:
    """Save what a bug report needs, and say where."""
    import platform
    import tempfile
    import traceback
    from importlib import metadata

    from curate.version import __version__

    packages = ("numpy", "polars", "pyarrow", "scikit-learn", "pydantic", "typer")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    text = (
        f"curate {__version__}, Python {platform.python_version()}, {platform.platform()}\n{versions}\n"
        f"command: {sys.argv}\n\n{''.join(traceback.format_exception(error))}"
    )
    with tempfile.NamedTemporaryFile("w", prefix="curate-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(text)
    return file.name
