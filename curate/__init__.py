"""Choose what to train on: ``curate.run`` for a whole configuration, ``curate.select`` for arrays in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.version import __version__

if TYPE_CHECKING:
    from curate.api import run, select

__all__ = ["__version__", "run", "select"]


def __getattr__(name: str) -> Any:
    """Import what is heavy only when it is used."""
    if name in ("run", "select"):
        from curate import api

        return getattr(api, name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")
