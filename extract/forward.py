"""The forward pass: from pixels as they are stored to embeddings, in one precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from frostline.extract.engine import Features, make_features
from frostline.extract.prefetch import Memory, reused_memory

if TYPE_CHECKING:
    from frostline.extract.backbones.backbone import Backbone

COMPUTE = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def forward_function(
    backbone: Backbone, normalisation: dict[str, list[float]], device: str, compute: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Make uint8 pixels [n, h, w(, 3)] → float32 embeddings [n, dim], with one precision."""
    forward = several_forward(backbone, [backbone.feature], normalisation, device, compute)
    return lambda pixels: to_host(forward(torch.from_numpy(pixels)))()[0]


def several_forward(
    backbone: Backbone,
    features: Sequence[str],
    normalisation: dict[str, list[float]],
    device: str,
    compute: str,
    engines: Sequence[str] = ("torch",),
    chosen: Callable[[str], object] = str,
) -> Callable[[Tensor], list[Tensor]]:
    """Make uint8 pixels [n, h, w(, 3)] → float32 [n, dim] on the device, for each feature.

    Float32 is IEEE's on a GPU too: TF32, which PyTorch lets convolutions use there, keeps 10 of its
    23 bits.

    Parameters
    ----------
    engines : sequence of str
        What `choose_engines` gives. Other engines than PyTorch want all batches to be of the size
        of the first.
    chosen : callable
        Is told which of them computes, with the first batch.
    """
    backbone.model.eval().to(memory_format=torch.channels_last).to(device)
    found = [backbone.find(feature) for feature in features]
    run: list[Features] = []

    def forward(pixels: Tensor) -> list[Tensor]:
        with computing(device, compute):
            images = to_input(pixels, normalisation, device)
            if not run:
                engine, compute_features = make_features(engines, backbone, found, images)
                chosen(engine)
                run.append(compute_features)
            return [row.float() for row in run[0](images)]

    return forward


@contextmanager
def computing(device: str, compute: str) -> Iterator[None]:
    """Compute in one precision, and no gradients, for a while.

    Around a loop of forward passes, too, it casts weights once and not in each of them; in
    inference mode, autocast would do so in each.
    """
    dtype = COMPUTE[compute]
    mixed = torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32)
    with torch.no_grad(), whole_float32(device), mixed:
        yield


def batch_memory(device: str) -> Memory:
    """Give memory for batches of pixels: on a GPU's host pinned, else used again.

    Pinned memory is used again by torch, once the copy to the device is done.
    """
    if torch.device(device).type != "cuda":
        return reused_memory()

    def pinned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return torch.empty(shape, dtype=kind, pin_memory=True).numpy()

    return pinned


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Give values on the device, without waiting until it has done what it was asked for before."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def to_host(rows: Sequence[Tensor]) -> Callable[[], list[np.ndarray]]:
    """Begin to copy rows to the host; what is given waits for the copies, and gives them."""
    device = rows[0].device
    if device.type != "cuda":
        return lambda: [row.numpy() for row in rows]
    copies = [torch.empty(row.shape, dtype=row.dtype, pin_memory=True) for row in rows]
    for copy, row in zip(copies, rows, strict=True):
        copy.copy_(row, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(device))

    def arrived() -> list[np.ndarray]:
        done.synchronize()
        return [copy.numpy() for copy in copies]

    return arrived


@contextmanager
def whole_float32(device: str | torch.device) -> Iterator[None]:
    """Keep convolutions and matrix products on a GPU from TF32, for a while.

    PyTorch's two settings for it, `allow_tf32` and (since 2.9) `fp32_precision`, are then what they
    were before; it refuses to read the first where the second has said something else.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    places: list[Any] = [cudnn.conv, cudnn.rnn, cublas] if hasattr(cudnn, "conv") else []
    before = [place.fp32_precision for place in places]
    # Where it refuses: what a fresh process has.
    convolutions = _readable(lambda: cudnn.allow_tf32, True)
    products = _readable(torch.get_float32_matmul_precision, "highest")
    try:
        cudnn.allow_tf32 = cublas.allow_tf32 = False
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        cudnn.allow_tf32 = convolutions
        cublas.allow_tf32 = products != "highest"
        if products == "medium":
            torch.set_float32_matmul_precision(products)
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was


def _readable(read: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return read()
    except RuntimeError:
        return otherwise


def to_input(
    pixels: Tensor, normalisation: dict[str, list[float]], device: str | torch.device
) -> Tensor:
    """Normalise pixels: uint8 [n, h, w] or [n, h, w, 3] to float32 [n, 3, h, w], channels last.

    Floats [n, 3, h, w] are what a user's own transform made, and stay as they are.
    """
    images = pixels.to(device, non_blocking=True)
    if images.is_floating_point():
        return images.contiguous(memory_format=torch.channels_last)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    mean, std = tuple(normalisation["mean"]), tuple(normalisation["std"])
    factor, term = constants(mean, std, str(device))
    # Grey becomes colour here.
    return (images.float() * factor - term).contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=16)
def constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Give what normalises pixels, (x / 255 - mean) / std, as a factor and a term to subtract.

    float32 [1, 3, 1, 1]; they stay on the device, because it is waited for to send them.
    """
    with torch.inference_mode(False):
        middle, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        return (1 / (255 * spread)).to(device), (middle / spread).to(device)


def pad(values: Tensor, size: int) -> Tensor:
    """Fill a short batch with zeros, so that a row's numbers never depend on its neighbours."""
    short = size - len(values)
    return torch.cat([values, values.new_zeros(short, *values.shape[1:])]) if short else values


def device_name(device: str) -> str:
    """Give the name of a GPU, or `cpu`."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(device)
