"""Commands that evaluate and compare selections."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.cli import garbage, output
from curate.cli.command_scope import report_progress
from curate.cli.options import (
    ExecutorName,
    ExecutorOption,
    Json,
    Log,
    LogStyle,
    Overrides,
    RayAddress,
    RunFolder,
    Seeds,
    Test,
    Workers,
    load_run_settings,
    resolve_run_directory,
)

commands = typer.Typer()

Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="Time limit in seconds, or a time such as 10m or 2h; if the estimated time exceeds it, nothing is run.",
    ),
]


@commands.command(rich_help_panel="Results")
def evaluate(
    run: RunFolder,
    test: Test = None,
    seeds: Seeds = None,
    budget: Budget = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    as_json: Json = False,
) -> None:
    """Compare the selection of a run with random baselines, per metric and per slice."""
    from curate import pipeline
    from curate.cli.option_values import parse_duration
    from curate.evaluation.evaluate import as_dict
    from curate.evaluation.evaluate import evaluate as run_evaluation
    from curate.report import evaluation_text

    limit = None if budget is None else parse_duration(budget)
    garbage.resume()
    with report_progress(log) as progress, pipeline.open_executor(executor.value, workers, ray_address) as runner:
        result = run_evaluation(
            resolve_run_directory(run), runner, progress, files=test or (), seeds=seeds, budget=limit
        )
    if as_json:
        output.show_json(as_dict(result))
    else:
        output.show_tables(evaluation_text.tables(result), evaluation_text.lines(result))


@commands.command(rich_help_panel="Results")
def compare(
    config: RunFolder,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="NAMES",
            help="Selectors to compare, separated by commas: names of entries in the select section, names of plugins, "
            "or entries such as `{use: ccs, by: el2n}` (default: the last entry of the section). Can be repeated.",
        ),
    ] = None,
    prune_rate: Annotated[
        str, typer.Option("--prune-rate", metavar="RATES", help="Shares of the rows to drop, separated by commas.")
    ] = ".5,.7,.9",
    seeds: Seeds = None,
    test: Test = None,
    budget: Budget = None,
    overrides: Overrides = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    as_json: Json = False,
) -> None:
    """Compare selectors with random baselines over prune rates and seeds, and recommend one."""
    from curate import pipeline
    from curate.cli.option_values import parse_duration, parse_names, parse_rates
    from curate.evaluation import verdict
    from curate.evaluation.compare import compare as run_comparison

    settings = load_run_settings(config, overrides or ())
    names, rates = parse_names(select or ()), parse_rates(prune_rate)
    limit = None if budget is None else parse_duration(budget)
    garbage.resume()
    with report_progress(log) as progress, pipeline.open_executor(executor.value, workers, ray_address) as runner:
        result = run_comparison(
            settings, runner, progress, select=names, prune_rates=rates, files=test or (), seeds=seeds, budget=limit
        )
    if as_json:
        output.show_json(verdict.as_dict(result))
    else:
        output.show_tables(verdict.tables(result), verdict.lines(result))
