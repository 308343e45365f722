"""Content of the dataset card, from the results of the stages."""

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


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """Summary of an export."""

    folder: str
    """Folder of the data files; of the first epoch if epochs are planned."""

    schema: pa.Schema
    """Names and types of the exported columns, and the metadata of the schema."""

    masked: MaskedPii | None
    cut: RemovedSpans | None


def render_card(context: Context, done: CompletedStages, exported: ExportSummary) -> str:
    """Return the dataset card, which is deterministic and contains no times.

    Parameters
    ----------
    context, done
        Context of the run, and the completed stages before the export.
    exported : Exported
        Summary of the export.
    """
    suffix = context.config.export.spec.build().suffix
    types = dict(zip(exported.schema.names, exported.schema.types, strict=True))
    export = _describe_export(suffix, exported.folder, types, _described_features(exported.schema))
    export = replace(export, has_index=context.config.export.spec.plugin().traits.index)
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


def _described_features(schema: pa.Schema) -> dict[str, object]:
    """Return the features in the metadata of a schema, by column."""
    metadata = schema.metadata or {}
    data = json.loads(metadata.get(b"huggingface", '{"info": {"features": {}}}'))
    features: dict[str, object] = data["info"]["features"]
    return features


def _describe_export(
    suffix: str, folder: str, types: Mapping[str, pa.DataType], described: Mapping[str, object]
) -> dataset_card.Export:
    """Return the card's description of files and columns; ``described`` are the features of the input."""
    as_json = ".jsonl" in suffix
    columns = tuple((name, "JSON" if is_json(kind) else str(kind)) for name, kind in types.items())
    notes: tuple[str, ...] = ()
    if suffix == ".csv":
        notes = ("CSV has no types, so readers guess them; nested columns are JSON texts.",)
    if as_json and any("uint64" in kind for _, kind in columns):
        notes = ("Most readers of JSON Lines cannot read an integer of 2^63 or more exactly.",)
    try:
        overrides = card_features.column_overrides(described, as_json=as_json)
        features, unreadable = card_features.describe_columns(types, as_json=as_json, known=overrides), ""
        if suffix in (".csv", ".tar", ".mds") or any(
            map(is_json, types.values())
        ):  # no name of this type works in all versions of the library
            features = []
    except card_features.UnknownTypeError as error:
        features, unreadable = [], str(error)
    return dataset_card.Export(
        suffix=suffix, folder=folder, columns=columns, features=features, unreadable=unreadable, notes=notes
    )
