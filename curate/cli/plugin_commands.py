"""Commands that help to write a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate import errors
from curate.cli import output
from curate.cli.options import Json
from curate.paths import match_files
from curate.plugins.kinds import KINDS

if TYPE_CHECKING:
    from curate.plugins.registry import LocalPlugin, Plugin


commands = typer.Typer()


@commands.command(rich_help_panel="Configuration")
def plugins(
    kind: Annotated[str | None, typer.Argument(help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")] = None,
    name: Annotated[str | None, typer.Argument(help="Name of a plugin, to show its options.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="CONFIG", help="Configuration whose plugin files are listed as well."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the plugins, or show one plugin and its options."""
    from curate.plugins import registry

    local: tuple[LocalPlugin, ...] = ()
    if config is not None:
        from curate.config.loader import load_local_plugins

        local = load_local_plugins(config)
    kind = next((one for one in KINDS if kind == registry.kind_plural(one)), kind)  # the plural is accepted as well
    if kind is not None and kind not in KINDS:
        raise errors.ConfigError(f"unknown kind {kind!r}", hint=f"there are: {', '.join(KINDS)}")
    if kind is not None and name is not None:
        _show_plugin(registry.get(kind, name, local), as_json=as_json)
        return
    listed = [registry.get(k, n, local) for k in KINDS if kind in (None, k) for n in registry.names(k, local)]
    if as_json:
        output.show_json([_as_dict(plugin) for plugin in listed])
    elif kind == "selector":
        titles = ["use", "summary", "scope", "cost", "guarantee", "reference"]
        rows = [[p.name, p.summary(), _scope(p), p.traits.cost, p.traits.guarantee, p.reference()] for p in listed]
        output.show_table(titles, rows)
    else:
        output.show_table(["kind", "use", "summary"], [[p.kind, p.name, p.summary()] for p in listed])


def _scope(plugin: Plugin) -> str:
    """Return the scope of a selector; "" for a plugin of another kind."""
    return plugin.traits.describe_scope() if plugin.kind == "selector" else ""


def _as_dict(plugin: Plugin) -> dict[str, str]:
    """Return a plugin as plain data."""
    traits = {"scope": _scope(plugin), "cost": plugin.traits.cost, "guarantee": plugin.traits.guarantee}
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "about": plugin.summary(),
        **{key: text for key, text in traits.items() if text},
        "reference": plugin.reference(),
        "origin": plugin.origin,
    }


def _show_plugin(plugin: Plugin, *, as_json: bool) -> None:
    from curate.plugins.fields import expand_nested, fields, format_value

    about = plugin.description()
    rows = [
        {
            "name": field.name,
            "value": field.text,
            "default": "required" if field.required else format_value(field.default),
            "meaning": field.doc,
        }
        for field in expand_nested(fields(plugin.cls))
    ]
    if as_json:
        output.show_json({"kind": plugin.kind, "name": plugin.name, "about": about, "fields": rows})
        return
    typer.echo(f"{plugin.kind} {plugin.name} (version {plugin.traits.version}, {plugin.origin})\n\n{about}")
    if rows:
        typer.echo("")
        output.show_table(list(rows[0]), [list(row.values()) for row in rows])


@commands.command(rich_help_panel="Configuration")
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    from curate.config.schema import json_schema

    output.show_json(json_schema())


@commands.command(rich_help_panel="Configuration")
def init(
    path: Annotated[Path, typer.Argument(help="YAML file to write.")] = Path("curate.yaml"),
    files: Annotated[str, typer.Option("--files", help="Path, folder or pattern of the input files.")] = "pool/*.jsonl",
    text: Annotated[str | None, typer.Option("--text", help="Column, or template over columns, of the text.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a starter configuration, with the text, id, label and source columns found in the input files."""
    from curate.config.init_template import render_starter_config
    from curate.stages.ingest.pool_layout import detect_layout
    from curate.store import parquet_io
    from curate.store.input_folders import list_folder

    if path.exists() and not overwrite:
        hint = "choose another name, or add --overwrite"
        raise errors.ConfigError("the file already exists", where=str(path), hint=hint)
    listed = list_folder(files)
    names = listed.files if listed is not None else sorted(match_files(files))
    run = f"runs/{path.stem}"
    if not names:
        parquet_io.write_text(path, render_starter_config(run, files=files, text=text or "text"))
        lines = [f"wrote {path} (no file matches {files!r} yet): set input.files and input.text in it"]
    else:
        layout = detect_layout(names, text)
        roles = {"id": layout.id, "label": layout.label, "source": layout.source}
        header = None if layout.header else False
        parquet_io.write_text(path, render_starter_config(run, files=files, text=layout.text, header=header, **roles))
        lines = [f"wrote {path} for {len(names):,} file{'s' * (len(names) > 1)}", *layout.lines()]
    lines.append(f"next: curate check {path}, then curate run {path}")
    with output.tolerate_output_errors(lines[0]):
        for line in lines:
            output.show_line(line)
