"""Select training data: ``curate.run`` for a complete configuration, ``curate.select`` for rows in a notebook.

This module imports nothing else: ``python -m curate`` loads it before it can remove the current directory from the
import path.
"""

from curate.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from curate.api import embed, explain, get_published, load, run, select

__all__ = ["__version__", "embed", "explain", "get_published", "load", "run", "select"]


def __getattr__(name: str) -> object:
    """Import the public functions, which need heavy libraries, on first use."""
    if name in __all__:
        from curate import api

        return getattr(api, name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
