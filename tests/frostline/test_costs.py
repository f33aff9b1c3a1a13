"""What a dry run says that embedding and training take."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pretended import pretended_gpu
from torch import Tensor

from frostline.cache import InputError, Workspace
from frostline.cache.stores.measured import known_costs, measure_once
from frostline.cli import app
from frostline.finetune.model import Classifier
from frostline.stages import Network
from frostline.study.costs import measure

from .conftest import make_images

STUDY = """
name: small
datasets:
  set: {root: images, group_pattern: '(patient[0-9]+)'}
backbones:
  - {name: 'timm:test_vit', weights: random}
protocols:
  frozen: {unfreeze: none, image_size: 32, epochs: 2}
  whole: {unfreeze: all, image_size: 32, epochs: 1, batch: 24}
  in parts: {unfreeze: 1, image_size: 32, epochs: 1, batch: 24, micro_batch: 6}
replicates: 100
"""


def cell_of(unfreeze: str) -> Any:
    return SimpleNamespace(
        network=lambda: Network("timm:test_vit", "random"),
        entry=SimpleNamespace(unfreeze=unfreeze, recipe="standard", changes=dict),
        backbone=SimpleNamespace(name="timm:test_vit"),
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through the backbone, each time."""
    counts: list[int] = []
    embed = Classifier.embed

    def noted(model: Classifier, images: Tensor) -> Tensor:
        counts.append(len(images))
        return embed(model, images)

    monkeypatch.setattr(Classifier, "embed", noted)
    return counts


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_memory_grows_with_the_images_and_copies_of_weights_do_not(precision: str) -> None:
    few, many = (measure._measure(cell_of("all"), 64, "cpu", precision, n) for n in (4, 16))
    assert few.saved_bytes == many.saved_bytes > 0
    half = precision == "bfloat16"
    # Nearly all weights are of matrices, which autocast copies, in half of their bytes.
    assert few.copied_bytes == many.copied_bytes
    assert few.copied_bytes == pytest.approx(2 * few.parameters * half, rel=0.05)
    assert few.training_bytes(8) - few.training_bytes(7) == few.saved_bytes


@pytest.mark.parametrize(("device", "embedded"), [("cpu", 32), ("cuda", 256)])
def test_a_dry_run_times_the_batch_that_will_run(
    device: str, embedded: int, seen: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "images", 48)
    (tmp_path / "small.yaml").write_text(STUDY)
    with pretended_gpu() if device == "cuda" else nullcontext():
        app(["run", "small.yaml", "--workspace", "ws", "--dry-run"], standalone_mode=False)
    noted = json.loads((tmp_path / "ws" / "measured.json").read_text())["entries"]
    batches = {
        what["unfreeze"]: what["batch"] for what in map(json.loads, noted) if "unfreeze" in what
    }
    assert batches == {"none": embedded, "all": 24, "1": 6}
    assert set(seen) - {measure.FEW} == set(batches.values())
    # Another batch is another measurement.
    seen.clear()
    with pretended_gpu() if device == "cuda" else nullcontext():
        app(
            ["run", "small.yaml", "--workspace", "ws", "--dry-run", "--set", "batch=16"],
            standalone_mode=False,
        )
    assert set(seen) - {measure.FEW} == {16}


def test_a_cpu_that_would_take_long_times_a_few(
    seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "CPU_SECONDS", 0.0)
    cost = measure._measure(cell_of("all"), 32, "cpu", "float32", 32)
    assert (set(seen), cost.training_seconds > 0) == ({measure.FEW}, True)


@pytest.mark.parametrize("unfreeze", ["none", "all"])
def test_what_memory_does_not_hold_is_timed_in_smaller_batches(
    unfreeze: str, seen: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, most = Classifier.embed, 20

    def limited(model: Classifier, images: Tensor) -> Tensor:
        found = noted(model, images)
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(Classifier, "embed", limited)
    what: Any = (Workspace(tmp_path), cell_of(unfreeze), 32, "cuda", "float32", 48)
    with pretended_gpu():
        cost = measure.measure_backbone(*what)
        assert measure.measure_backbone(*what) == cost
    assert seen == [48, 32, 16, 16, *[16, 16] * (unfreeze == "all")]
    assert cost.embedding_seconds > 0
    assert (cost.training_seconds > 0) == (unfreeze == "all")
    most = 0
    with pretended_gpu(), pytest.raises(InputError, match="does not hold the training of one"):
        measure.measure_backbone(*what[:-1], 1)


def test_what_embeds_on_a_cpu_is_what_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what: Any = (Workspace(tmp_path), cell_of("none"), 32, "cpu", "float32", 8)
    by_torch, timed = measure.measure_backbone(*what), []
    by_engine = measure._by_engine

    def noted(*args: Any) -> float:
        timed.append((args[0][0], args[-1]))
        return by_engine(*args)

    monkeypatch.setattr(measure, "_by_engine", noted)
    assert measure.measure_backbone(*what) == by_torch  # remembered
    cost = measure.measure_backbone(*what, "openvino")
    assert (timed, cost.dim) == ([("openvino", 8)], by_torch.dim)
    assert cost.embedding_seconds > 0
    assert measure.measure_backbone(*what, "openvino") == cost
    assert len(timed) == 1


def test_costs_that_are_shown_are_of_the_batch_that_runs(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    what = {"backbone": "b", "unfreeze": "none", "precision": "float32", "device": "cpu"}
    others = ({"batch": 4}, {"batch": 32, "precision": "float16"}, {"batch": 32, "device": "H100"})
    for seconds, own in enumerate([{"batch": 32}, *others, {"batch": 32, "unfreeze": "all"}], 1):
        cost = {"embedding_seconds": float(seconds), "memory": 0}
        measure_once(place, what | own, lambda cost=cost: cost)
    assert known_costs(place, "cpu", "float32", 32) == {"b": {"embedding_seconds": 1.0}}
    assert known_costs(place, "cuda:1", "float32", 32) == {"b": {"embedding_seconds": 4.0}}
    assert known_costs(place, "cpu", "float32", 8) == {}
