"""What the tests of fine-tuning share: one thread, and a workspace with a tiny data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from frostline.cache import Store, Workspace, spec_key

# Tests are imported by path, so a module beside them is found only with its folder named.
sys.path.insert(0, str(Path(__file__).parent))

from finetune_toy import SPEC, fill_workspace


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return fill_workspace(tmp_path / "workspace")


@pytest.fixture
def open_pixels(workspace: Workspace) -> Callable[[], Store]:
    return lambda: Store.open(workspace.pixels("toy") / spec_key(SPEC))
