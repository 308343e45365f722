import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from curate.report.report_data import Report


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    return _load(Path(__file__).with_name("sample.py"))


@pytest.fixture(scope="session")
def rich(sample: ModuleType) -> Report:
    """Return a report that has every part."""
    return sample.report()
