"""What every test shares: a fixed random seed, and the real data where it lies at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from frostline.console import running

# Tests run in two processes; each computes in one thread. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
# What tests make their inputs with.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

_common = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("fixed", derandomize=True, max_examples=40, **_common)
settings.register_profile("all", max_examples=500, **_common)
# FROSTLINE_TEST_SEEDS=all tries new random cases each time, many of them.
settings.load_profile(os.environ.get("FROSTLINE_TEST_SEEDS", "fixed"))


# How long a command takes is no matter of what it says: in the tests none is slow to start.
running.FIRST = running.EVERY

# Files whose tests take longest: they begin, so that no process ends long after the other.
FIRST = (
    "test_types.py",
    "test_options.py",
    "test_notebooks.py",
    "test_trouble.py",
    "test_docs.py",
    "test_study.py",
    "test_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files of tests, each file's tests as they stand."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else 99)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with chest_xray/, ham10000/, glioma_lgg/; tests that want it are skipped without."""
    folder = Path(os.environ.get("FROSTLINE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").exists():
        pytest.skip("real data not at hand (FROSTLINE_DATA names its folder)")
    return folder
