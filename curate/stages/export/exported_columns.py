"""Columns of an export: the input columns that it keeps, followed by the added ones, under their new names."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from curate.config.template_syntax import TextPath
from curate.stages.column_names import PREFIX, annotated_columns
from curate.stages.export.map_strings import text_paths
from curate.store.arrow_values import leaf_types

if TYPE_CHECKING:
    from curate.config.model import ExportConfig, InputConfig, RunConfig

TYPES = {"id": pa.string(), "rank": pa.int32(), "gain": pa.float32(), "weight": pa.float32(), "cluster": pa.int32()}
"""Types of the columns that ``export.add`` adds, except for scores."""

_DATASETS = b"huggingface"
"""Key of the features of the ``datasets`` library in the metadata of a schema."""


def kept_columns(config: ExportConfig, columns: Collection[str]) -> list[str]:
    """Return the input columns to export, in order."""
    return [name for name in (config.columns or columns) if name not in config.drop]


def kept_text_paths(config: ExportConfig, input_config: InputConfig) -> tuple[TextPath, ...]:
    """Return the paths to the strings of the text in the exported columns."""
    paths = text_paths(input_config)
    return tuple(path for path in paths if path[0] in kept_columns(config, [path[0] for path in paths]))


def annotated_text_paths(config: RunConfig) -> tuple[TextPath, ...]:
    """Return the paths to the exported columns with texts that the annotate section adds."""
    columns = annotated_columns(config)
    texts = [name for name, kind in columns.items() if any(map(pa.types.is_string, leaf_types(kind)))]
    return tuple((name,) for name in texts if name in kept_columns(config.export, texts))


def added_columns(config: ExportConfig, scores: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the added columns before they are renamed; ``scores`` are the columns of all scores."""
    added = {PREFIX + name: kind for name, kind in TYPES.items() if name in config.add}
    return added | {PREFIX + name: pa.float32() for name in scores if "scores" in config.add}


def new_names(config: ExportConfig, names: Sequence[str]) -> list[str]:
    """Return the new names of exported columns."""
    renamed = config.rename or {}
    return [renamed.get(name, name) for name in names]


def exported_schema(config: ExportConfig, schema: pa.Schema, scores: Sequence[str]) -> pa.Schema:
    """Return the schema of the export: the names and types of its columns, and the metadata of the input.

    Parameters
    ----------
    config : ExportConfig
        Export section.
    schema : pa.Schema
        Schema of the input.
    scores : Sequence[str]
        Columns of all scores.
    """
    kept, types = kept_columns(config, schema.names), dict(zip(schema.names, schema.types, strict=True))
    columns = {name: types[name] for name in kept} | added_columns(config, scores)
    exported = pa.schema(list(zip(new_names(config, list(columns)), columns.values(), strict=True)))
    changed = config.rename or kept != schema.names
    return exported.with_metadata(_metadata(schema.metadata, config, kept) if changed else schema.metadata)


def _metadata(
    metadata: Mapping[bytes, bytes] | None, config: ExportConfig, kept: Sequence[str]
) -> dict[bytes, bytes] | None:
    """Return the metadata for changed columns: with the features of the kept ones, and without the index of pandas."""
    new = {key: value for key, value in (metadata or {}).items() if key != b"pandas"}
    described = json.loads(new[_DATASETS]) if _DATASETS in new else {}
    if features := described.get("info", {}).get("features"):
        names = zip(kept, new_names(config, kept), strict=True)
        described["info"]["features"] = {name: features[old] for old, name in names if old in features}
        new[_DATASETS] = json.dumps({"info": described["info"]}).encode()
    return new or None
