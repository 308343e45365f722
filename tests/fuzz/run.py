"""Fuzzes one of the properties in this folder, led by coverage: `python tests/fuzz/run.py readers -max_total_time=600`.

The first argument says which: a test file, or one test of it (`configurations::test_any_override…`); those after it are
libFuzzer's. Each property is a Hypothesis test; what atheris gives it are the bytes that its examples are drawn from. A
failure is kept in `.hypothesis`, so that `pytest tests/fuzz` fails with it, in its smallest form, until it is mended.
Needs atheris: `pip install atheris`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import atheris


def properties(asked: str) -> list:
    """The Hypothesis tests that the argument names."""
    name, _, one = asked.partition("::")
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"test_{name}.py"))
    if spec is None or spec.loader is None:
        raise SystemExit(f"no test file: {name}")
    module = importlib.util.module_from_spec(spec)
    with atheris.instrument_imports(include=["curate", "yaml"]):
        spec.loader.exec_module(module)
    return [
        test for key, test in vars(module).items() if hasattr(test, "hypothesis") and key.startswith(one or "test_")
    ]


def main() -> None:
    fuzzers = [test.hypothesis.fuzz_one_input for test in properties(sys.argv[1])]

    def one_input(data: bytes) -> None:
        if data:
            fuzzers[data[0] % len(fuzzers)](data[1:])

    limits = ["-len_control=0", "-max_len=4096", "-timeout=20", "-rss_limit_mb=3000"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[2:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
