"""What a dry run says that training takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from frostline.stages import Network
from frostline.study.costs import measure


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_memory_grows_with_the_images_and_copies_of_weights_do_not(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    cell: Any = SimpleNamespace(
        network=lambda: Network("timm:test_vit", "random"), entry=SimpleNamespace(unfreeze="all")
    )
    costs = []
    for images in (4, 16):
        monkeypatch.setattr(measure, "TIMED_IMAGES", images)
        costs.append(measure._measure(cell, 64, "cpu", precision))
    few, many = costs
    assert few.saved_bytes == many.saved_bytes > 0
    half = precision == "bfloat16"
    # Nearly all weights are of matrices, which autocast copies, in half of their bytes.
    assert few.copied_bytes == many.copied_bytes
    assert few.copied_bytes == pytest.approx(2 * few.parameters * half, rel=0.05)
    assert few.training_bytes(8) - few.training_bytes(7) == few.saved_bytes
