"""Command-line application: parses the arguments, runs one command, and turns errors into exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated

import typer

from curate import errors, progress
from curate.cli import evaluate_commands, inspect_commands, label_commands, pipeline_commands, plugin_commands
from curate.cli.command_scope import ReportedError
from curate.cli.exit_codes import ERRORS, explain_error
from curate.executors.base import handle_sigterm

app = typer.Typer(
    name="curate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Select the part of a pool of training data that is worth training on.

curate reads a pool of training data and exports a selection, together with a report that explains it. One YAML file
configures all stages:

**embed → cluster → score → select → export**

Create a configuration with `curate init`, preview a run with `curate plan`, and run it with `curate run`.""",
    epilog="Exit codes: 0 success, 1 bug, 2 configuration, 3 input data, 4 plugin, 5 guardrail, 6 hook, "
    "75 locked, 130 interrupted, 143 terminated.",
)


def _print_version(requested: bool) -> None:
    if requested:
        from curate.version import __version__

        typer.echo(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for group in (pipeline_commands, inspect_commands, label_commands, evaluate_commands, plugin_commands):
    app.add_typer(group.commands)


def main() -> None:
    """Run the command line, and exit with the exit code of the result."""
    signal.signal(signal.SIGTERM, handle_sigterm)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before Python started
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that stdout cannot encode is no failure
    os.environ["PYTHONSAFEPATH"] = "1"  # workers must not import from the current directory
    try:
        code = _run_app()
    finally:
        _reset_signals()
    sys.exit(code)


def _reset_signals() -> None:
    """Let signals end the process at once, as handlers that raise during shutdown block it or print a traceback."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _run_app() -> int:
    """Run the application, print any error, and return the exit code."""
    try:
        with errors.convert_panics():
            code = app(standalone_mode=False, prog_name="curate")
    except SystemExit as request:
        if isinstance(request.__context__, BrokenPipeError):  # the reader of the results closed the pipe
            return errors.OK
        raise
    except ReportedError as reported:
        return reported.exit_code
    except ERRORS as error:
        if show := getattr(error, "show", None):  # the command-line parser rejected the arguments
            _suggest_options(error)
            show()
            if hint := _leading_dash_hint(error):
                progress.print_error(hint)
            return errors.CONFIG
        message, code = explain_error(error)
        progress.print_error(message)
        return code
    if code == errors.INTERRUPTED:  # how Typer reports Ctrl-C
        progress.print_error(explain_error(KeyboardInterrupt())[0])
    return int(code or errors.OK)


def _suggest_options(error: BaseException) -> None:
    """Add the options that begin with an unknown one to its error, if the parser has found no similar one."""
    name, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if name and context is not None and not getattr(error, "possibilities", True):
        options = [option for parameter in context.command.params for option in parameter.opts]
        error.possibilities = [option for option in options if option.startswith(name)]  # type: ignore[attr-defined]


def _leading_dash_hint(error: BaseException) -> str:
    """Return a hint if the id of a row was parsed as an option; empty for other errors."""
    command, option = getattr(getattr(error, "ctx", None), "info_name", ""), getattr(error, "option_name", None)
    if command != "explain" or not isinstance(option, str):
        return ""
    name = next((word for word in sys.argv if word.startswith(option)), option)
    return errors.escape_line(f"if {name!r} is the id of a row, write -- before it: curate explain RUN -- {name}")
