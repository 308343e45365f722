"""Command line of curate."""

from curate.cli.app import main

__all__ = ["main"]
