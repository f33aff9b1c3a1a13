"""Several processes under torchrun, one for each GPU: who computes what, and what they exchange.

Without torchrun there is one process, and all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from frostline.cache import InputError

# NCCL gives up after ten minutes, which filling a store may well take.
LONGEST_WAIT = timedelta(days=7)


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    # The others wait while the first decodes or computes what frozen blocks give; one that dies is
    # noticed by torchrun.
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=LONGEST_WAIT)
    yield
    # Not after an error: the others may be waiting, and torchrun ends them once this one has ended.
    dist.destroy_process_group()


def rank() -> int:
    """Give the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """Count the processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Let the first process do what the others then find done."""
    if rank() > 0:
        barrier()
    yield
    if rank() == 0:
        barrier()


def share(count: int) -> Tensor:
    """Give this process's share of `count` things: int64, consecutive, empty if they run out."""
    return torch.arange(count).tensor_split(ranks())[rank()]


def sum_over_ranks(values: Tensor, device: torch.device) -> Tensor:
    """Sum every process's `values`."""
    if ranks() == 1:
        return values
    total = values.to(device)
    dist.all_reduce(total)
    return total.to(values.device)


def least_over_ranks(value: int, device: torch.device) -> int:
    """Give the smallest of every process's numbers."""
    if ranks() == 1:
        return value
    least = torch.tensor(value, device=device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return int(least)


def gather_shares(rows: Tensor, count: int, device: torch.device) -> Tensor:
    """Gather all rows [count, …] from those that each process computed for its `share`."""
    if ranks() == 1:
        return rows
    sizes = [len(part) for part in torch.arange(count).tensor_split(ranks())]
    # All send as many rows.
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    padded[: len(rows)] = rows
    received = [torch.empty_like(padded, device=device) for _ in sizes]
    dist.all_gather(received, padded.to(device))
    parts = [part[:size].to(rows.device) for part, size in zip(received, sizes, strict=True)]
    return torch.cat(parts)


def shared_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Let batch norms that train take their statistics over all processes, in place.

    Raises
    ------
    InputError
        On CPUs, where PyTorch has no such batch norm.
    """
    trained = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and not isinstance(module, nn.SyncBatchNorm)
        and any(parameter.requires_grad for parameter in module.parameters())
    ]
    if ranks() == 1 or not trained:
        return
    if device.type != "cuda":
        raise InputError(
            f"Batch norm ({trained[0]}) cannot be trained by several processes on CPUs: use one "
            "process, GPUs, or a backbone without batch norm."
        )
    from timm.layers.norm_act import convert_sync_batchnorm

    for name in trained:
        parent, _, child = name.rpartition(".")
        holder = model.get_submodule(parent)
        converted = convert_sync_batchnorm(getattr(holder, child))  # type: ignore[no-untyped-call]
        setattr(holder, child, converted)


def data_parallel(model: nn.Module, device: torch.device, unused: bool) -> nn.Module:
    """Wrap a model so that its gradients are averaged over all processes, if there are several.

    Parameters
    ----------
    unused : bool
        Whether some parameters that train have no part in the logits.
    """
    if ranks() == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        find_unused_parameters=unused,
        gradient_as_bucket_view=True,
    )
