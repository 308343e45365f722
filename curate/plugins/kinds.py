"""The kinds of plugins, apart from what each must do, so that the command line can name them at no cost."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["embedder", "clusterer", "proxy", "scorer", "selector", "exporter", "metric"]
KINDS: tuple[Kind, ...] = get_args(Kind)
