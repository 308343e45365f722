"""Fills the dataset card from what the stages left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from curate.config import yaml_positions
from curate.kernels.text.json_values import is_json
from curate.report import card_features, dataset_card
from curate.report.report_data import MaskedPii, RemovedSpans
from curate.stages.base import CompletedStages, Context
from curate.stages.report import outline
from curate.store.inputs import Inputs


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was exported."""

    folder: str
    """Folder of the data files; of the first epoch where epochs are planned."""

    columns: Mapping[str, pa.DataType]
    masked: MaskedPii | None
    cut: RemovedSpans | None


def render_card(context: Context, done: CompletedStages, exported: ExportSummary) -> str:
    """Return the dataset card, which is deterministic and has no times in it.

    Parameters
    ----------
    context, done
        The run, and the results of the stages before the export.
    exported : Exported
        What was exported.
    """
    suffix = context.config.export.spec.build().suffix
    export = _exported(suffix, exported.folder, exported.columns, _described(done.pool.inputs))
    name, recipe = Path(context.config.source).stem, yaml_positions.dump_yaml(context.recipe)
    contents = replace(
        outline.build_outline(context, done),
        run=name,
        masked=exported.masked,
        cut=exported.cut,
        config=recipe,
        reproduce=(),
    )
    return dataset_card.card(contents, export)


def _described(inputs: Inputs) -> dict[str, object]:
    """Return the features that the input's files have in the metadata of their schemas, by column."""
    metadata = inputs.schema.metadata or {}
    data = json.loads(metadata.get(b"huggingface", '{"info": {"features": {}}}'))
    found: dict[str, object] = data["info"]["features"]
    return found


def _exported(
    suffix: str, folder: str, types: Mapping[str, pa.DataType], described: Mapping[str, object]
) -> dataset_card.Export:
    """Return what the card says of the files and their columns; ``described`` are the input's own features."""
    as_json = ".jsonl" in suffix
    named = tuple((name, "JSON" if is_json(kind) else str(kind)) for name, kind in types.items())
    notes: tuple[str, ...] = ()
    if as_json and any("uint64" in kind for _, kind in named):
        notes = ("Most readers of JSON Lines cannot read an integer of 2^63 or more exactly.",)
    try:
        known = card_features.column_overrides(described, as_json=as_json)
        found, unreadable = card_features.describe_columns(types, as_json=as_json, known=known), ""
        if any(map(is_json, types.values())):  # the library has no name of these that all of its versions know
            found = []
    except card_features.UnknownTypeError as error:
        found, unreadable = [], str(error)
    return dataset_card.Export(
        suffix=suffix, folder=folder, columns=named, features=found, unreadable=unreadable, notes=notes
    )
