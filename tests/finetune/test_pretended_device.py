"""Fine-tuning on a pretended GPU: nothing mixes devices, numbers are the CPU's, no step waits.

Of an epoch's three steps none waits: what is counted below is once an epoch or once a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finetune_toy import SIZE, SPEC, fill_workspace, load, make_task
from pretended import MEMORY, Seen, pretended_gpu

from frostline.cache import Store, Workspace, spec_key
from frostline.extract.augmentation.settings import AUGMENTATIONS
from frostline.finetune import Recipe, Task
from frostline.finetune.inputs.boundary import Boundary
from frostline.finetune.inputs.pixels import HeldPixels, Part, StorePixels, held
from frostline.finetune.model import Classifier
from frostline.finetune.run import finetune_run
from frostline.finetune.task import Execution
from frostline.finetune.training import optim
from frostline.finetune.training.epochs import Epoch

RESNET, VIT = "timm:test_resnet", "timm:test_vit"
EPOCHS = 1
NO_SPACE = 1  # bytes: pixels and activations come from their stores
# What moves whole states, once an epoch or seldomer, and the check of a boundary.
SELDOM = (
    "finetune.run.fit",
    "finetune.saved_model.save_model",
    "finetune.saved_model.saved_state",
    "finetune.training.checkpoint._write",
    "finetune.training.epochs.copied_state",
    "finetune.training.epochs.load_partly",
    "finetune.training.optim.state",
    "finetune.inputs.boundary._check",
    "finetune.inputs.boundary._close",
    "finetune.training.step._fits",
)
EVERY_RUN = {
    "copy from pageable memory in extract.forward.constants": 2,
    "copy to the host in finetune.training.epochs._check_finite": EPOCHS,
    "copy to the host in finetune.training.epochs._pass": EPOCHS,
    "copy to the host in finetune.training.evaluate.predict": EPOCHS + 2,
}
HELD = {"copy from pageable memory in finetune.inputs.pixels.held": 2}
WEIGHTED = {"copy from pageable memory in finetune.training.step.__init__": 1}
SCALED = {"value read in finetune.training.epochs.checkpoint": 2 * EPOCHS}


def filled(batches: int) -> dict[str, int]:
    """Activations that go to their store, a batch at a time, and those of the check."""
    return {"copy to the host in finetune.inputs.pixels.at_rest": batches + 1}


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": EPOCHS, "batch_size": 8, "lr": (1e-3,), **changes})


EVERYTHING = {
    "class_weights": "balanced",
    "clip_grad_norm": 1.0,
    "ema": 0.9,
    "label_smoothing": 0.1,
    "layer_decay": 0.8,
    "optimizer": "adamw",
    "weight_decay": 0.05,
}
FLIPS = ("random_crop", "horizontal_flip", "vertical_flip")
CROP = {"crop": SIZE - 4}
AUGMENTED = {
    "augmentation": tuple(name for name in AUGMENTATIONS if name != "random_crop"),
    "degrees": 15,
    "translate": 0.1,
    "scale": (0.9, 1.2),
    "shear": 5,
    "gaussian_noise": 0.03,
}
# Of 48 images 24 train and 12 validate, which are the ones whose activations are kept.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], int, dict[str, int]]] = {
    "pixels on the device": (RESNET, {}, {}, MEMORY, HELD),
    "pixels from the store": (VIT, {}, {}, NO_SPACE, {}),
    "micro-batches from the store": (VIT, {"micro_batch": 3}, {}, NO_SPACE, {}),
    "micro-batches that fit": (RESNET, {"micro_batch": "auto"}, {}, MEMORY, HELD),
    "activations on the device": (
        *(RESNET, {}, {"boundary": "on", "unfreeze": "1"}),
        *(MEMORY, HELD | filled(5)),
    ),
    "activations from the store": (
        *(VIT, {"micro_batch": 3}, {"boundary": "on", "unfreeze": "2"}),
        *(NO_SPACE, filled(12)),
    ),
    "a head on embeddings": (
        *(RESNET, {}, {"boundary": "on", "unfreeze": "none"}),
        *(MEMORY, HELD | filled(6)),
    ),
    "crops and flips": (RESNET, {"augmentation": FLIPS}, CROP, NO_SPACE, {}),
    "resized crops": (RESNET, {"augmentation": ("random_resized_crop",)}, CROP, MEMORY, HELD),
    "every augmentation": (RESNET, AUGMENTED, CROP, NO_SPACE, {}),
    "every augmentation of parts": (RESNET, {**AUGMENTED, "micro_batch": 3}, CROP, MEMORY, HELD),
    "weights, average, clipping": (RESNET, EVERYTHING, {}, MEMORY, HELD | WEIGHTED),
    "bfloat16": (VIT, {}, {"precision": "bfloat16"}, MEMORY, HELD),
    "bfloat16 from activations": (
        *(VIT, {}, {"precision": "bfloat16", "boundary": "on", "unfreeze": "2"}),
        *(NO_SPACE, filled(5)),
    ),
    "adapters on the device": (
        *(RESNET, EVERYTHING, {"boundary": "on", "unfreeze": "lora:1"}),
        *(MEMORY, HELD | WEIGHTED | filled(5)),
    ),
    "adapters from activations": (
        *(VIT, {"micro_batch": 3}, {"boundary": "on", "unfreeze": "lora:2"}),
        *(NO_SPACE, filled(12)),
    ),
    "float16, scaled and clipped": (
        *(VIT, {"clip_grad_norm": 1.0}, {"precision": "float16"}),
        *(MEMORY, HELD | SCALED),
    ),
}


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU add up as a GPU's optimiser does: then numbers are equal."""
    for name, kind in optim.OPTIMIZERS.items():
        monkeypatch.setitem(optim.OPTIMIZERS, name, partial(_fused, kind))


def _fused(kind: Any, groups: Any, *, lr: float, fused: bool) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = kind(groups, lr=lr, fused=True)
    return optimizer


def train(
    folder: Path,
    task: Task,
    device: str,
    on_epoch: Callable[[Epoch], None] | None = None,
    **how: Any,
) -> np.ndarray:
    """Probabilities of the validation and test images after training."""
    workspace = Workspace(folder) if folder.exists() else fill_workspace(folder)
    pixels = workspace.pixels("toy") / spec_key(SPEC)
    execution = Execution(device, on_epoch=on_epoch, **{"boundary": "off", **how})
    run, _ = finetune_run(
        workspace, task, lambda: Store.open(pixels), lambda: load(task.backbone), execution
    )
    table = pd.read_parquet(workspace.predictions(run))
    return table.filter(regex="^prob_").to_numpy()


def waits(seen: Seen) -> Counter[str]:
    """All waits but those of whole states."""
    return Counter({k: n for k, n in seen.waits.items() if not k.endswith(SELDOM)})


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_and_numbers_are_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    backbone, changes, options, free, expected = CASES[name]
    how = {"boundary": options.get("boundary", "off")}
    given = {key: value for key, value in options.items() if key != "boundary"}
    task = make_task(backbone, recipe=recipe(**changes), **given)
    on_cpu = train(tmp_path / "cpu", task, "cpu", **how)
    with pretended_gpu(free=free) as seen:
        on_card = train(tmp_path / "card", task, "cuda", **how)
    np.testing.assert_array_equal(on_card, on_cpu)
    assert waits(seen) == EVERY_RUN | expected
    assert not seen.lost
    assert sum(seen.sent.values()) > 0


def test_a_boundary_is_kept_in_batches_that_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(RESNET, recipe=recipe(), unfreeze="1")
    on_cpu = train(tmp_path / "cpu", task, "cpu", boundary="on")
    whole, sizes = Boundary.enter, []

    def enter(boundary: Boundary, model: Classifier, images: torch.Tensor) -> torch.Tensor:
        if images.device.type == "cuda" and len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(images))
        return whole(boundary, model, images)

    monkeypatch.setattr(Boundary, "enter", enter)
    with pretended_gpu():
        on_card = train(tmp_path / "card", task, "cuda", boundary="on")
    np.testing.assert_allclose(on_card, on_cpu, atol=1e-6)
    assert set(sizes) == {4}  # the power of two below 8, the size of a batch


def test_pixels_go_to_the_device_in_pieces(tmp_path: Path) -> None:
    store = Store.open(fill_workspace(tmp_path / "w").pixels("toy") / spec_key(SPEC))
    rows = np.random.default_rng(0).permutation(len(store))
    part = Part(StorePixels(store, rows), torch.zeros(len(rows)), [])
    with pretended_gpu() as seen:
        kept = held(part, torch.device("cuda", 0), step=20).pixels
        assert isinstance(kept, HeldPixels)
        assert np.array_equal(kept.values.cpu().numpy(), store.read(rows))
    assert waits(seen)["copy from pageable memory in finetune.inputs.pixels.held"] == 3


class StoppedError(Exception):
    """Training is stopped after an epoch."""


def stop(epoch: Epoch) -> None:
    raise StoppedError


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("begun_on", ["cpu", "cuda"])
def test_training_goes_on_on_another_device(begun_on: str, precision: str, tmp_path: Path) -> None:
    task = make_task(VIT, recipe=recipe(epochs=2), precision=precision)
    whole = train(tmp_path / "whole", task, "cpu")
    with pretended_gpu() as first, pytest.raises(StoppedError):
        train(tmp_path / "card", task, begun_on, stop)
    assert bool(first.waits) == (begun_on == "cuda")
    with pretended_gpu() as second:
        other = train(tmp_path / "card", task, {"cpu": "cuda", "cuda": "cpu"}[begun_on])
    assert bool(second.waits) == (begun_on == "cpu")
    # A GPU's optimiser adds up in another order.
    np.testing.assert_allclose(other, whole, atol=1e-5 if precision == "float32" else 1e-2)
    assert not [name for name in second.waits if "training.step" in name]
