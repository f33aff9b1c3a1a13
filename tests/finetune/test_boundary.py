"""The boundary cache: the same numbers, computed once, or a reason why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finetune_toy import HALF, SIZE, SPEC, fill_workspace, load, make_task
from pretended import pretended_gpu
from safetensors.torch import load_file
from torch import Tensor, nn

from frostline.cache import InputError, Store, Workspace, find_stores, spec_key
from frostline.extract.backbones.backbone import load_backbone
from frostline.finetune import Execution, Recipe, finetune_run
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs import activations
from frostline.finetune.inputs.activations import boundary_spec
from frostline.finetune.inputs.boundary import (
    Boundary,
    NoBoundaryError,
    find_boundary,
    running_from,
)
from frostline.finetune.inputs.pixels import Form
from frostline.finetune.model import Classifier
from frostline.finetune.unfreeze import set_modes, unfreeze
from frostline.report import Predictions, read_predictions

Pixels = Callable[[], Store]
CPU = Conditions(HALF, HALF)


def trained(
    folder: Path,
    backbone: str,
    how: str,
    way: str,
    network: Callable[[], Any] | None = None,
    **changes: Any,
) -> tuple[dict[str, Tensor], Predictions, Workspace]:
    workspace = fill_workspace(folder)
    task = make_task(backbone, unfreeze=how, **changes)
    pixels = workspace.pixels("toy") / spec_key(SPEC)
    run, _ = finetune_run(
        workspace,
        task,
        lambda: Store.open(pixels),
        network or (lambda: load(backbone)),
        Execution(boundary=way),
    )
    state = load_file(workspace.model(run) / "model.safetensors")
    return state, read_predictions(workspace.predictions(run)), workspace


def stores(workspace: Workspace, kind: str) -> list[Store]:
    return [
        Store.open(path)
        for parent in workspace.root.glob(f"{kind}/*/*")
        for path in find_stores(parent)
    ]


@pytest.mark.parametrize(
    ("backbone", "how", "block"),
    [
        ("timm:test_resnet", "1", "layer4"),
        ("timm:test_resnet", "3", "layer2"),
        ("timm:test_vit", "2", "blocks.4"),
        ("timm:test_efficientnet", "2", "blocks.3"),
        ("torchvision:densenet121", "1", "features.denseblock4"),
        pytest.param("torchvision:swin_t", "1", "features.6", marks=pytest.mark.slow),
        pytest.param("torchvision:resnet50", "2", "layer3", marks=pytest.mark.slow),
        pytest.param("torchvision:vgg11", "classifier", "classifier", marks=pytest.mark.slow),
        pytest.param("torchvision:vgg11", "2", "features.16", marks=pytest.mark.slow),
    ],
)
def test_the_same_weights_bit_for_bit_as_without(
    tmp_path: Path, backbone: str, how: str, block: str
) -> None:
    recipe = Recipe(epochs=2, batch_size=8, lr=(1e-3,))
    plain, expected, without = trained(tmp_path / "a", backbone, how, "off", recipe=recipe)
    kept, found, workspace = trained(tmp_path / "b", backbone, how, "on", recipe=recipe)
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    assert expected.table.equals(found.table)
    assert [epoch["train_loss"] for epoch in expected.meta["history"]] == [
        epoch["train_loss"] for epoch in found.meta["history"]
    ]
    (store,) = stores(workspace, "boundaries")
    assert len(store) == 36  # train and validation, not test
    assert store.spec["feature"] == f"block:{block}"
    assert found.meta["boundary"]["key"] == store.key
    assert expected.meta["boundary"] is None
    assert not stores(without, "boundaries")


def test_the_heads_input_is_the_embedding(tmp_path: Path) -> None:
    plain, expected, _ = trained(tmp_path / "a", "timm:test_vit", "none", "off")
    kept, found, workspace = trained(tmp_path / "b", "timm:test_vit", "none", "on")
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    assert expected.table.equals(found.table)
    assert not stores(workspace, "boundaries")
    (store,) = stores(workspace, "embeddings")
    assert (len(store), store.shape) == (48, (64,))
    assert store.spec["feature"] == "pre_logits"


@pytest.mark.parametrize("backbone", ["timm:test_resnet", "timm:test_vit"])
def test_mixed_precision_is_kept_as_it_is(tmp_path: Path, backbone: str) -> None:
    changes = {"precision": "bfloat16", "recipe": Recipe(epochs=2, batch_size=8, lr=(1e-3,))}
    plain, expected, _ = trained(tmp_path / "a", backbone, "2", "off", **changes)
    kept, found, workspace = trained(tmp_path / "b", backbone, "2", "on", **changes)
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    assert expected.table.equals(found.table)
    (store,) = stores(workspace, "boundaries")
    types = {"bfloat16": "int16", "float32": "float32"}
    assert str(store.dtype) == types[store.spec["storage"]]
    assert (store.spec["storage"] == "bfloat16") == (backbone == "timm:test_resnet")


def test_micro_batches_and_several_rates_run_from_there(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=8, lr=(1e-3, 1e-4), micro_batch=3, ema=0.9)
    plain, *_ = trained(tmp_path / "a", "timm:test_vit", "2", "off", recipe=recipe)
    kept, *_ = trained(tmp_path / "b", "timm:test_vit", "2", "on", recipe=recipe)
    for name, value in plain.items():
        torch.testing.assert_close(kept[name], value, msg=name)


def test_dropout_draws_the_same(tmp_path: Path) -> None:
    def with_dropout() -> Any:
        backbone = load("timm:test_vit")
        backbone.model.blocks[5].mlp.drop1.p = 0.5
        return backbone

    plain, *_ = trained(tmp_path / "a", "timm:test_vit", "2", "off", network=with_dropout)
    kept, *_ = trained(tmp_path / "b", "timm:test_vit", "2", "on", network=with_dropout)
    without, *_ = trained(tmp_path / "c", "timm:test_vit", "2", "on")
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    assert not torch.equal(kept["head.weight"], without["head.weight"])


def test_only_what_is_missing_is_computed(
    workspace: Workspace, open_pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.cache.stores.writer.PART_BYTES", 1)
    task = make_task(unfreeze="1")

    def interrupt(done: int, total: int) -> None:
        assert total == 36
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune_run(
            workspace, task, open_pixels, load, Execution(boundary="on", progress=interrupt)
        )
    (store,) = stores(workspace, "boundaries")
    assert len(store) == 16
    before = {part.path for part in store.parts}
    seen: list[tuple[int, int]] = []
    how = Execution(boundary="on", progress=lambda *now: seen.append(now))
    finetune_run(workspace, task, open_pixels, load, how)
    assert seen == [(8, 20), (16, 20), (20, 20)]
    (store,) = stores(workspace, "boundaries")
    assert (len(store), before <= {part.path for part in store.parts}) == (36, True)
    # Another seed trains from the same store.
    finetune_run(workspace, replace(task, seed=1), open_pixels, load, how)
    assert len(seen) == 3
    assert len(stores(workspace, "boundaries")) == 1


def test_a_run_resumed_from_the_boundary_is_the_same(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path
) -> None:
    def interrupt(epoch: Any) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    task = make_task(unfreeze="2")
    with pytest.raises(KeyboardInterrupt):
        finetune_run(
            workspace, task, open_pixels, load, Execution(boundary="on", on_epoch=interrupt)
        )
    run, _ = finetune_run(workspace, task, open_pixels, load, Execution(boundary="on"))
    again = load_file(workspace.model(run) / "model.safetensors")
    undisturbed, *_ = trained(tmp_path / "other", "timm:test_resnet", "2", "on")
    assert all(torch.equal(undisturbed[name], again[name]) for name in again)


COMMON = {
    "pixels": SPEC,
    "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "backbone": "b",
    "weights": "0" * 32,
    "feature": "pre_logits",
    "compute": "float32",
}


def test_the_key_is_of_all_that_changes_the_activations() -> None:
    boundary = Boundary("layer4", "", {}, torch.zeros(1), (8, 2, 2), Form(torch.float32))
    last = replace(boundary, form=Form(torch.float32, channels_last=True))
    half = replace(boundary, form=Form(torch.bfloat16))
    specs = [boundary_spec(one, COMMON) for one in (boundary, last, half)]
    specs.append(boundary_spec(replace(boundary, block="layer3"), COMMON))
    smaller = {**SPEC, "geometry": {**SPEC["geometry"], "crop": 16}}  # type: ignore[dict-item]
    others = {
        "pixels": smaller,
        "normalisation": {"mean": [0.4] * 3, "std": [0.5] * 3},
        "backbone": "c",
        "weights": "1" * 32,
        "compute": "bfloat16",
    }
    specs += [boundary_spec(boundary, {**COMMON, name: value}) for name, value in others.items()]
    assert len({spec_key(spec) for spec in specs}) == 9
    # What the head is given of the backbone does not change what enters a block.
    assert boundary_spec(boundary, {**COMMON, "feature": "mean"}) == specs[0]


class _Skipping(nn.Module):
    """A network in which something goes past the last block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.layer1 = nn.Conv2d(4, 4, 3, padding=1)
        self.layer2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.conv1(images)
        past = stem.mean((2, 3))
        return self.layer2(self.layer1(stem)).mean((2, 3)) + 0.01 * past

    def group_matcher(self, coarse: bool) -> dict[str, str]:
        return {"stem": r"^conv1", "blocks": r"^layer(\d+)"}


class _Pair(_Skipping):
    """A network whose last block takes a list."""

    def forward(self, images: Tensor) -> Tensor:
        return self.layer2([self.layer1(self.conv1(images))])


class _ListConv(nn.Conv2d):
    def forward(self, inputs: Any) -> Tensor:
        return super().forward(inputs[0]).mean((2, 3))


def skipping(kind: type[_Skipping] = _Skipping) -> Any:
    backbone = load_backbone("timm:test_resnet", weights="random", image_size=SIZE)
    model = kind()
    if kind is _Pair:
        model.layer2 = _ListConv(4, 4, 3)
    return replace(backbone, model=model.eval(), dim=4, compute=lambda net, images: net(images))


def test_a_network_that_cannot_be_cut_is_trained_as_a_whole(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    said: list[str] = []
    task = make_task(unfreeze="1")
    run, _ = finetune_run(workspace, task, open_pixels, skipping, Execution(said=said.append))
    reason = (
        "timm:test_resnet gives other numbers when it runs from layer2 alone: "
        "something goes past that block"
    )
    assert said == [f"Frozen blocks are computed in every epoch, because {reason}."]
    meta = read_predictions(workspace.predictions(run)).meta
    assert (meta["boundary"], meta["boundary_reason"]) == (None, reason)
    with pytest.raises(InputError) as caught:
        finetune_run(
            workspace, replace(task, seed=1), open_pixels, skipping, Execution(boundary="on")
        )
    assert str(caught.value) == f"--boundary on is not possible here: {reason}."
    assert not stores(workspace, "boundaries")


@pytest.mark.parametrize(
    ("kind", "how", "reason"),
    [
        (_Skipping, "all", "nothing is frozen before what trains"),
        (_Pair, "1", "layer2 of timm:test_resnet does not take one tensor once a pass"),
    ],
)
def test_where_there_is_no_boundary(kind: type[_Skipping], how: str, reason: str) -> None:
    model = Classifier(skipping(kind), 3, 0)
    blocks = unfreeze(model, how)
    modes = [module.training for module in model.modules()]
    with pytest.raises(NoBoundaryError) as caught:
        find_boundary(model, blocks, SIZE, CPU)
    assert str(caught.value) == reason
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize(
    ("changes", "how", "reason"),
    [
        ({}, "5", "nothing is frozen before what trains"),
        ({"epochs": 1}, "1", "there is only one epoch"),
        (
            {"augmentation": ("horizontal_flip",)},
            "1",
            "augmentation changes the images in every epoch",
        ),
        ({"gaussian_noise": 0.1}, "1", "augmentation changes the images in every epoch"),
        (
            {},
            "1",
            "their output would take 0.0 GB of disk and --boundary auto writes 0.0 GB",
        ),
    ],
)
def test_when_auto_does_not_keep_them(
    workspace: Workspace,
    open_pixels: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    how: str,
    reason: str,
) -> None:
    monkeypatch.setattr(activations, "LIMIT_BYTES", 36 * 3072 - 1)
    recipe = Recipe(**{"epochs": 2, "batch_size": 8, **changes})
    run, _ = finetune_run(workspace, make_task(unfreeze=how, recipe=recipe), open_pixels, load)
    assert read_predictions(workspace.predictions(run)).meta["boundary_reason"] == reason
    assert not stores(workspace, "boundaries")


@pytest.mark.parametrize(
    ("device", "reading", "computing", "reason"),
    [
        ("cpu", 2e-5, 3e-4, ""),
        (
            "cpu",
            321e-6,
            26e-6,
            "reading their output takes longer than computing it (321 and 26 µs an image)",
        ),
        # Read once, and then on the device: three epochs are more than that, with two rates.
        ("cuda", 150e-6, 26e-6, ""),
        (
            "cuda",
            321e-6,
            26e-6,
            "reading their output takes longer than computing it 6 times (321 and 156 µs an image)",
        ),
    ],
)
def test_auto_keeps_what_is_read_faster_than_it_is_computed(
    workspace: Workspace,
    open_pixels: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    reading: float,
    computing: float,
    reason: str,
) -> None:
    found = {"reading": reading, "computing": computing}
    monkeypatch.setattr(activations.Activations, "seconds", lambda *_: found)
    task = make_task(unfreeze="1", recipe=Recipe(epochs=3, batch_size=8, lr=(1e-3, 1e-4)))
    with pretended_gpu() if device == "cuda" else nullcontext():
        run, _ = finetune_run(workspace, task, open_pixels, load, Execution(device))
    meta = read_predictions(workspace.predictions(run)).meta
    assert (meta.get("boundary_reason", ""), len(stores(workspace, "boundaries"))) == (
        reason,
        not reason,
    )


def test_auto_measures_once_and_leaves_the_numbers_as_they_are(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(unfreeze="2")
    run, _ = finetune_run(workspace, task, open_pixels, load)
    noted = (workspace.root / "measured.json").read_text()
    (found,) = json.loads(noted)["entries"].values()
    assert found["reading"] > 0
    assert found["computing"] > 0
    kept = read_predictions(workspace.predictions(run)).meta["boundary"] is not None
    assert kept == (found["reading"] < found["computing"])
    again = load_file(workspace.model(run) / "model.safetensors")
    plain, *_ = trained(tmp_path / "other", "timm:test_resnet", "2", "off")
    assert all(torch.equal(plain[name], again[name]) for name in again)
    monkeypatch.setattr(activations.Activations, "seconds", None)
    finetune_run(workspace, replace(task, seed=1), open_pixels, load)
    assert (workspace.root / "measured.json").read_text() == noted


def test_auto_measures_on_the_gpu_that_trains(workspace: Workspace, open_pixels: Pixels) -> None:
    with pretended_gpu() as seen:
        finetune_run(workspace, make_task(unfreeze="1"), open_pixels, load, Execution("cuda"))
    ((what, found),) = json.loads((workspace.root / "measured.json").read_text())["entries"].items()
    assert (json.loads(what)["device"], json.loads(what)["batch"]) == ("Pretended", 8)
    assert min(found.values()) > 0
    # Twice, to the device, without a wait.
    assert seen.sent["finetune.inputs.activations.seconds"] == 2
    assert not seen.lost


def test_auto_computes_where_memory_does_not_hold_what_it_times(
    workspace: Workspace, open_pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(activations.Activations, "seconds", full)
    with pretended_gpu():
        run, _ = finetune_run(
            workspace, make_task(unfreeze="1"), open_pixels, load, Execution("cuda")
        )
    meta = read_predictions(workspace.predictions(run)).meta
    assert meta["boundary_reason"] == "the device's memory does not hold 8 images at a time"


def test_a_way_that_is_none(workspace: Workspace, open_pixels: Pixels) -> None:
    with pytest.raises(InputError) as caught:
        finetune_run(workspace, make_task(), open_pixels, load, Execution(boundary="maybe"))
    assert str(caught.value) == "--boundary is auto, on or off, not 'maybe'."


@contextmanager
def counted() -> Iterator[list[int]]:
    """Bytes of what autograd keeps for the backward pass."""
    kept: list[int] = []
    storages: dict[int, Any] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if not isinstance(value, nn.Parameter) and storage.data_ptr() not in storages:
            storages[storage.data_ptr()] = value  # so that no address is used again
            kept.append(storage.nbytes())
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        yield kept


def test_nothing_is_kept_for_the_backward_pass_of_frozen_blocks() -> None:
    model = Classifier(load(), 3, 0)
    images = torch.randn(4, 3, SIZE, SIZE)
    bytes_of = {}
    for how in ("none", "1", "2", "3", "4", "all"):
        blocks = unfreeze(model, how)
        set_modes(model)
        with counted() as whole:
            model(images).sum()
        bytes_of[how] = sum(whole)
        if how == "all":
            continue
        boundary = find_boundary(model, blocks, SIZE, CPU)
        with torch.no_grad():
            entering = boundary.enter(model, images)
        set_modes(model)
        with counted() as rest, running_from(model, boundary):
            model(entering).sum()
        # Frozen blocks add nothing to what the blocks behind them need.
        assert sum(whole) == sum(rest)
    sizes = list(bytes_of.values())
    assert sizes == sorted(sizes)
    assert bytes_of["none"] == 4 * 96 * 4  # what the head's weights need: its input
    assert bytes_of["1"] < bytes_of["all"] / 4
