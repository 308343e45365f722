"""Garbage collection that waits until a command has imported its modules, which is most of its time if it is short."""

from __future__ import annotations

import gc

_DEFAULT = gc.get_threshold()

_WHILE_IMPORTING = (50_000, *_DEFAULT[1:])
"""Numbers of new objects that start a collection. With the default, imports start hundreds that find no garbage."""


def postpone() -> None:
    """Collect garbage rarely."""
    gc.set_threshold(*_WHILE_IMPORTING)


def resume() -> None:
    """Collect garbage as usual, if that was postponed, but do not search the objects that exist now."""
    if gc.get_threshold() == _WHILE_IMPORTING:
        gc.freeze()
        gc.set_threshold(*_DEFAULT)
