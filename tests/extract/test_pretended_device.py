"""Extraction on a pretended GPU; and that the pretended GPU is as strict as a real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pretended import Seen, pretended_gpu
from torch import Tensor

from frostline import stages
from frostline.cache import Store, Workspace, find_stores, read_manifest
from frostline.extract import forward
from frostline.extract.index import index_dataset

IMAGES, BATCH = 10, 4
BATCHES = 3
PRECISION = {"cpu": "float32", "cuda": "bfloat16"}  # two stores


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = tmp_path / "images" / f"{number % 2}" / f"p{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (70, 64, 3), dtype=np.uint8)).save(path)
    return tmp_path


def rows(
    folder: Path, device: str, backbone: str, feature: str | None, precision: str
) -> dict[str, np.ndarray]:
    """Extract, and give the embeddings of all images by feature."""
    workspace = Workspace(folder / device)
    index_dataset(workspace, "set", roots=[folder / "images"])
    network = stages.Network(backbone, "random", image_size=64)
    machine = stages.Machine(device, precision, BATCH)
    stages.extract_features(workspace, "set", network, [feature], machine=machine)
    keys = read_manifest(workspace.manifest("set")).keys()
    found = {}
    for path in find_stores(workspace.embeddings("set", backbone)):
        store = Store.open(path)
        assert store.spec["compute"] == precision
        found[store.spec["feature"]] = store.read(store.locate(keys))
    return found


@pytest.mark.parametrize(
    ("backbone", "feature", "precision"),
    [
        ("timm:test_resnet", None, "float32"),
        ("timm:test_vit", "blocks", "float32"),
        ("timm:test_vit", None, "bfloat16"),
        ("timm:test_resnet", "blocks", "float16"),
    ],
)
def test_embeddings_are_those_of_the_cpu(
    backbone: str, feature: str | None, precision: str, photographs: Path
) -> None:
    on_cpu = rows(photographs, "cpu", backbone, feature, precision)
    with pretended_gpu() as seen:
        on_card = rows(photographs, "cuda", backbone, feature, precision)
    assert len(on_cpu) == 1 if feature is None else len(on_cpu) > 4
    assert on_card.keys() == on_cpu.keys()
    for name, expected in on_cpu.items():
        np.testing.assert_array_equal(on_card[name], expected)
    waits = {k: n for k, n in seen.waits.items() if not k.endswith("forward.several_forward")}
    # One wait a batch, for its rows of all features.
    assert waits == {
        "copy from pageable memory in extract.forward.constants": 2,
        "copied rows in extract.forward.arrived": BATCHES,
    }
    assert seen.sent == {"extract.embed.begin": BATCHES}
    assert not seen.lost


def test_rows_are_fetched_while_the_next_batch_is_computed(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    begin = forward.to_host

    def noted(rows: Sequence[Tensor]) -> Callable[[], list[np.ndarray]]:
        arrived = begin(rows)
        happened.append("computes")
        return lambda: (happened.append("fetched"), arrived())[1]

    monkeypatch.setattr(forward, "to_host", noted)
    with pretended_gpu():
        rows(photographs, "cuda", "timm:test_resnet", None, "float32")
    assert happened == ["computes", *["computes", "fetched"] * (BATCHES - 1), "fetched"]
    happened.clear()
    rows(photographs, "cpu", "timm:test_resnet", None, "float32")
    assert happened == ["computes", "fetched"] * BATCHES


def test_memory_that_does_not_hold_a_batch_loses_no_pinned_memory(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = forward.several_forward
    passes: list[int] = []

    def small_memory(*about: Any) -> Any:
        compute = make(*about)

        def limited(pixels: Tensor) -> list[Tensor]:
            passes.append(len(pixels))
            if len(pixels) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return compute(pixels)

        return limited

    on_cpu = rows(photographs, "cpu", "timm:test_vit", None, "float32")
    monkeypatch.setattr(forward, "several_forward", small_memory)
    with pretended_gpu() as seen, pytest.warns(UserWarning, match="does not hold 4 images"):
        on_card = rows(photographs, "cuda", "timm:test_vit", None, "float32")
    assert passes == [4, *[2] * 5]
    for name, expected in on_cpu.items():
        np.testing.assert_allclose(on_card[name], expected, atol=1e-6)
    assert not seen.lost
    assert seen.waits["copied rows in extract.forward.arrived"] == 5


def test_a_gpu_takes_larger_batches(photographs: Path) -> None:
    workspace = Workspace(photographs / "ws")
    index_dataset(workspace, "set", roots=[photographs / "images"])
    made = {}
    for name in ("cpu", "cuda"):
        with pretended_gpu() if name == "cuda" else nullcontext():
            network = stages.Network("timm:test_resnet", "random", image_size=32)
            done = stages.extract(
                workspace, "set", network, machine=stages.Machine(name, PRECISION[name])
            )
        folder = workspace.embeddings("set", "timm:test_resnet") / done.key
        made[name] = Store.open(folder).provenance["batch"]
    assert made == {"cpu": 32, "cuda": 256}


@pytest.mark.parametrize(("native", "precision"), [(True, "bfloat16"), (False, "float16")])
def test_a_card_without_bfloat16_computes_in_float16(native: bool, precision: str) -> None:
    with pretended_gpu(bfloat16=native):
        assert stages.Machine().resolve() == ("cuda", precision)


def test_devices_do_not_mix_and_numpy_sees_no_device() -> None:
    with pretended_gpu():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert (there.device.type, there.is_cuda, here.is_cuda) == ("cuda", True, False)
        with pytest.raises(RuntimeError, match="mixes devices: cpu, cuda:0"):
            here + there
        with pytest.raises(RuntimeError, match="mixes devices"):
            torch.nn.Linear(3, 1)(there)
        with pytest.raises(TypeError, match="copy it to the CPU first"):
            there.numpy()
        assert (there * torch.tensor(2.0)).tolist() == [2, 2, 2]  # a single number may come along
        assert (there + 1).device == there.device
        assert there.cpu().numpy().tolist() == [1, 1, 1]


def waits_of(seen: Seen) -> list[str]:
    found = [kind.removesuffix(" in elsewhere") for kind in seen.waits.elements()]
    seen.waits.clear()
    return found


def test_what_waits_for_the_device_is_counted() -> None:
    with pretended_gpu() as seen:
        values = torch.arange(4.0).to("cuda")
        assert waits_of(seen) == ["copy from pageable memory"]
        torch.arange(4.0).to("cuda", non_blocking=True)
        assert waits_of(seen) == ["copy from pageable memory"]
        torch.arange(4.0).pin_memory().to("cuda")
        assert waits_of(seen) == ["copy from pinned memory"]
        torch.tensor([1.0, 2.0], device="cuda")
        assert waits_of(seen) == ["copy from pageable memory"]
        assert float(values[2]) == 2
        assert waits_of(seen) == ["value read"]
        assert len(values[values > 1]) == 2
        assert waits_of(seen) == ["size of a mask"]
        assert values[torch.tensor([3, 1])].cpu().tolist() == [3, 1]
        assert waits_of(seen) == ["indices from the host", "copy to the host"]
        square = torch.ones(6, 6).pin_memory()
        square[:, 1:4].to("cuda", non_blocking=True)
        assert waits_of(seen) == ["copy from pageable memory"]
        square.to("cuda", non_blocking=True)
        values.to("cpu", non_blocking=True)
        (values @ values.view(4, 1)).relu_().clamp(max=1)
        assert waits_of(seen) == []
        assert sum(seen.sent.values()) == 1


def test_backward_passes_and_optimisers_are_seen_too() -> None:
    with pretended_gpu() as seen:
        layer = torch.nn.Linear(3, 1).to("cuda")
        optimiser = torch.optim.Adam(layer.parameters(), fused=True)
        seen.waits.clear()
        layer(torch.ones(2, 3, device="cuda")).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.device.type == "cuda"
        optimiser.step()
        assert not seen.waits
        layer.weight.register_hook(lambda gradient: print(float(gradient.sum())))
        layer(torch.ones(2, 3, device="cuda")).sum().backward()
        assert waits_of(seen) == ["value read"]


def test_pinned_memory_is_lost_where_torch_does_not_know_it() -> None:
    with pretended_gpu() as seen:
        block = torch.zeros(8, 4, pin_memory=True)
        same_memory = torch.from_numpy(block.numpy())
        for kept in (block, block[2:6], same_memory, same_memory[:3]):
            kept.to("cuda", non_blocking=True)
        assert not seen.lost
        same_memory[2:6].to("cuda", non_blocking=True)
        assert sum(seen.lost.values()) == 1
        assert not seen.waits
