"""The command line: parses, calls one function, turns an error into an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated

import typer

from curate import errors, progress
from curate.cli import evaluate_commands, inspect_commands, pipeline_commands, plugin_commands
from curate.cli.command_scope import ReportedError
from curate.cli.exit_codes import ERRORS, explain_error
from curate.executors.base import handle_sigterm

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


for group in (pipeline_commands, inspect_commands, evaluate_commands, plugin_commands):
    app.add_typer(group.commands)


def main() -> None:
    """Run the command line and exit with the code that says how it went."""
    signal.signal(signal.SIGTERM, handle_sigterm)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before Python began: nobody reads
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
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
        with errors.convert_panics():
            code = app(standalone_mode=False, prog_name="curate")
    except SystemExit as asked:
        if isinstance(asked.__context__, BrokenPipeError):  # the reader of our results has had enough
            return errors.OK
        raise
    except ReportedError as told:
        return told.exit_code
    except ERRORS as error:
        if show := getattr(error, "show", None):  # the command-line parser refused the arguments
            show()
            if hint := _hint_of_dash(error):
                progress.print_error(hint)
            return errors.CONFIG
        message, code = explain_error(error)
        progress.print_error(message)
        return code
    if code == errors.INTERRUPTED:  # what Typer makes of Ctrl-C
        progress.print_error(explain_error(KeyboardInterrupt())[0])
    return int(code or errors.OK)


def _hint_of_dash(error: BaseException) -> str:
    """Return what to do if the id of a row was taken for an option; empty if it was not."""
    command, option = getattr(getattr(error, "ctx", None), "info_name", ""), getattr(error, "option_name", None)
    if command != "explain" or not isinstance(option, str):
        return ""
    name = next((word for word in sys.argv if word.startswith(option)), option)
    return errors.escape_line(f"if {name!r} is the id of a row, write -- before it: curate explain RUN -- {name}")
