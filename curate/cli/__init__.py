"""The command line."""

from curate.cli.app import main

__all__ = ["main"]
