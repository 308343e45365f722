"""Command line of curate."""

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit with the exit code of the result."""
    import gc

    from curate.cli import garbage

    garbage.postpone()
    from curate.cli import app

    try:
        app.main()
    finally:
        gc.freeze()  # otherwise Python would search all imported modules for garbage at the exit
