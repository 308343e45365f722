"""Choose what to train on: ``curate.run`` for a whole configuration, ``curate.select`` for arrays in a notebook.

Nothing is imported here: ``python -m curate`` comes here before it can leave the current folder out of the search path.
"""

from curate.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from curate.api import get_published, run, select

__all__ = ["__version__", "get_published", "run", "select"]


def __getattr__(name: str) -> object:
    """Import what is heavy only when it is used."""
    if name in ("get_published", "run", "select"):
        from curate import api

        return getattr(api, name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")
