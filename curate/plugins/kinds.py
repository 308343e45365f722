"""Kinds of plugins, in a separate module so that the command line can list them without heavy imports."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["annotator", "model", "embedder", "clusterer", "proxy", "scorer", "selector", "exporter", "metric"]
KINDS: tuple[Kind, ...] = get_args(Kind)
