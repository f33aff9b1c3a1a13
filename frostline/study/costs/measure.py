"""Costs of backbones and of decoding, measured on a few images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache import Workspace, read_manifest
from frostline.cache.keys import is_blocks
from frostline.cache.stores.measured import measure_once
from frostline.cache.tables.unfreezing import is_lora
from frostline.extract.engine import Engine, choose_engines, engine_version

if TYPE_CHECKING:
    from torch import Tensor

    from frostline.extract.backbones.backbone import Backbone
    from frostline.finetune.model import Classifier
    from frostline.stages import Machine
    from frostline.study.plan import Cell, Step

# A CPU's rate depends on the batch, too: 4 images took 0.7 (effnet-lite0) to 1.3 (a ViT) times as
# long each as 32 did, and 1.5 times in training. Where a whole batch would take long, the few that
# can be timed say enough.
FEW = 4
CPU_SECONDS = 5.0  # that a pass may take there
DECODED = 16  # images from their files
TIMED_CLASSES = 10  # of a head that is timed: it costs next to nothing


@dataclass(frozen=True)
class Cost:
    """Cost of one backbone at one size, on one machine.

    Attributes
    ----------
    parameters, trained : int
        Of the backbone and the head; of these, those that train.
    dim : int
        Length of the embedding.
    embedding_seconds, training_seconds : float
        An image: forward; forward and backward.
    saved_bytes : int
        Kept for the backward pass, an image.
    copied_bytes : int
        Of that, copies of weights in the precision of computing, however many images there are.
    memory : int
        Most bytes that embedding took on a GPU; 0 on a CPU, where nothing tells.
    """

    parameters: int
    trained: int
    dim: int
    embedding_seconds: float
    memory: int
    training_seconds: float = 0.0
    saved_bytes: int = 0
    copied_bytes: int = 0

    def training_bytes(self, batch: int) -> int:
        """Memory of training: weights, gradients and Adam's two moments in float32, activations."""
        state = 4 * (self.parameters + 3 * self.trained)
        return state + self.copied_bytes + batch * self.saved_bytes


def measure_backbone(
    workspace: Workspace,
    cell: Cell,
    size: int,
    device: str,
    precision: str,
    batch: int,
    engine: Engine = "torch",
) -> Cost:
    """Measure a cell's backbone on images of noise, unless the workspace remembers it.

    The network has its real size and random weights, which cost what others do.

    Parameters
    ----------
    batch : int
        Images at a time when it runs. So many are timed: fewer on a GPU whose memory does not hold
        them (the largest power of two that it does), and on a CPU that takes too long for them.
    engine : {"torch", "auto", "onnx", "openvino"}
        What embeds.

    Raises
    ------
    InputError
        If not even one image fits.
    """
    import torch

    from frostline.extract.forward import device_name

    engines = choose_engines(engine, device, precision, math.inf)
    what = {
        "batch": batch,
        "engine": ", ".join(map(engine_version, engines)),
        "backbone": cell.backbone.name,
        "feature": _feature(cell),
        "unfreeze": str(cell.entry.unfreeze),
        "size": size,
        "precision": precision,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if is_lora(cell.entry.unfreeze):
        what |= {"lora": [cell.entry.lora_r, *(cell.entry.lora_target_modules or ())]}
    found = measure_once(
        workspace, what, lambda: asdict(_measure(cell, size, device, precision, batch, engines))
    )
    return Cost(**found)


def measure_costs(workspace: Workspace, cells: Sequence[Cell], machine: Machine) -> None:
    """Measure the backbones of frozen runs at the size of their images, unless that is known."""
    device, precision = machine.resolve()
    for cell in {(cell.backbone.name, cell.entry.image_size): cell for cell in cells}.values():
        if cell.entry.unfreeze == "none":
            manifest = read_manifest(workspace.manifest(cell.dataset))
            size = cell.network().inputs(workspace, manifest).geometry.crop
            batch = machine.batch_on(device)
            measure_backbone(workspace, cell, size, device, precision, batch, machine.engine)


def measure_decoding(workspace: Workspace, step: Step) -> float:
    """Measure the seconds to decode an image of a data set on one core, from a few of its files."""
    from dataclasses import replace

    import numpy as np
    import pandas as pd

    from frostline.extract.images.decode import decode
    from frostline.extract.pixels import distinct_images, manifest_channels

    manifest = read_manifest(workspace.manifest(step.cell.dataset))
    geometry = step.cell.network().inputs(workspace, manifest).geometry
    geometry = replace(geometry, crop=step.inputs["pixels"]["geometry"]["crop"])
    what = {"decoding": step.key, "images": len(manifest.table)}

    def timed() -> dict[str, Any]:
        images = distinct_images(manifest)
        rows = images.iloc[np.linspace(0, len(images) - 1, min(DECODED, len(images)), dtype=int)]
        channels, start = manifest_channels(manifest), time.perf_counter()
        for _, row in rows.iterrows():
            frame = None if pd.isna(row["frame"]) else int(row["frame"])
            decode(Path(row["file"]), frame, geometry, channels, row["file_key"])
        return {"seconds": (time.perf_counter() - start) / max(len(rows), 1)}

    return float(measure_once(workspace, what, timed)["seconds"])


def _measure(
    cell: Cell,
    size: int,
    device: str,
    precision: str,
    batch: int,
    engines: Sequence[str] = ("torch",),
) -> Cost:
    import torch

    from frostline.extract.backbones.backbone import load_backbone
    from frostline.finetune.memory import largest_that_fits
    from frostline.finetune.model import Classifier
    from frostline.finetune.recipe import make_recipe
    from frostline.finetune.unfreeze import unfreeze

    network = cell.network()
    backbone = load_backbone(
        network.backbone,
        weights="random" if isinstance(network.backbone, str) else network.weights,
        feature=_feature(cell),
        image_size=size,
        name=network.name,
    )
    model = Classifier(backbone, TIMED_CLASSES, 0)
    recipe = make_recipe(cell.entry.recipe, **cell.entry.changes())
    unfreeze(model, cell.entry.unfreeze, recipe)
    model.to(device).to(memory_format=torch.channels_last)
    found: dict[str, Any] = {}

    def fits(count: int) -> bool:
        try:
            images = torch.randn(count, 3, size, size, device=device)
            images = images.contiguous(memory_format=torch.channels_last)
            found.update(_embedding(model, images, device, precision))
            if cell.entry.unfreeze != "none":
                found.update(_training(model, images, device, precision))
        except torch.OutOfMemoryError:
            model.zero_grad()
            return False
        return True

    if not device.startswith("cuda"):
        fits(min(batch, FEW))
        each = found["embedding_seconds"] + found.get("training_seconds", 0.0)
        batch = min(batch, int(CPU_SECONDS / each))
    if device.startswith("cuda") or batch > FEW:
        largest_that_fits(fits, batch)
    if engines[0] != "torch":
        found["embedding_seconds"] = _by_engine(engines, backbone, size, max(batch, 1))
    everything = list(model.parameters())
    return Cost(
        parameters=sum(each.numel() for each in everything),
        trained=sum(each.numel() for each in everything if each.requires_grad),
        dim=backbone.dim,
        **found,
    )


def _by_engine(engines: Sequence[str], backbone: Backbone, size: int, batch: int) -> float:
    """Time forward passes on a CPU by the fastest engine; seconds an image."""
    import torch

    from frostline.extract.engine import make_features
    from frostline.extract.forward import computing

    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    with computing("cpu", "float32"):
        _, compute = make_features(engines, backbone, [backbone.find(backbone.feature)], images)
        return _timed(lambda: compute(images), "cpu") / batch


def _embedding(model: Classifier, images: Tensor, device: str, precision: str) -> dict[str, Any]:
    """Time forward passes; the fields of `Cost` for them."""
    import torch

    from frostline.extract.forward import computing

    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    model.eval()
    with computing(device, precision):
        seconds = _timed(lambda: model.embed(images), device) / len(images)
    memory = torch.cuda.max_memory_allocated(device) if on_gpu else 0
    return {"embedding_seconds": seconds, "memory": memory}


def _training(model: Classifier, images: Tensor, device: str, precision: str) -> dict[str, Any]:
    """Time forward and backward passes; the fields of `Cost` for them."""
    from frostline.extract.forward import whole_float32
    from frostline.finetune.unfreeze import set_modes

    set_modes(model)
    saved: list[tuple[int, int]] = []
    with whole_float32(device):
        seconds = _timed(lambda: _step(model, images, device, precision, saved), device)
    kept, copies = max(saved)
    return {
        "training_seconds": seconds / len(images),
        "saved_bytes": kept // len(images),
        "copied_bytes": copies,
    }


def _feature(cell: Cell) -> str | None:
    """Give the feature to time: that of all depths costs what one does (docs/depth.md)."""
    feature = cell.network().feature
    return None if is_blocks(feature) else feature


def _step(
    model: Classifier, images: Tensor, device: str, precision: str, saved: list[tuple[int, int]]
) -> None:
    """Forward and backward once; note how many bytes were kept between, weights left out.

    Autocast's copies of weights, which do not grow with the images, are counted for themselves.
    """
    import torch

    from frostline.extract.forward import COMPUTE

    known = {each.data_ptr() for each in model.parameters()}
    shapes = {tuple(sorted(each.shape)) for each in model.parameters() if each.ndim > 1}
    kept: dict[int, int] = {}
    copies: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        if tensor.data_ptr() not in known:
            # As it is, or transposed.
            is_copy = tensor.dtype != torch.float32 and tuple(sorted(tensor.shape)) in shapes
            of = copies if is_copy else kept
            of[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    mixed = torch.autocast(
        torch.device(device).type, COMPUTE[precision], enabled=precision != "float32"
    )
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), mixed:
        loss = model(images).float().square().mean()
    loss.backward()
    model.zero_grad()
    saved.append((sum(kept.values()), sum(copies.values())))


def _timed(work: Callable[[], object], device: str) -> float:
    """Seconds, the second time: the first one pays for starting."""
    import torch

    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    return seconds
