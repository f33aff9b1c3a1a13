"""A pretended CUDA device: tensors on the CPU under CUDA's rules, and a count of what waits for it.

Tensors "on the device" are wrappers of CPU tensors, whose operations are seen one by one, those of
the backward pass and of the optimiser too, and computed by the CPU's kernels. So numbers are the
CPU's, mixing devices is an error as on a GPU, and what would make Python wait for a GPU is counted:

- a value that is read (`item`, `bool`) or a size that depends on values (`nonzero`, masks);
- a copy to the host, unless it is asynchronous;
- a copy to the device that is not asynchronous, or that is from memory that is not pinned, or that
  is of elements that do not lie together in it.

Pinned memory is modelled by how torch's host allocator finds the block of an asynchronous copy
(`CachingHostAllocatorImpl::record_event` in ATen/core/CachingHostAllocator.h): by the storage that
it gave out, else by the address where a block begins. A copy from inside of a block through another
storage is `lost`: the allocator gives out its memory again before the copy is done.

It shows nothing of streams, of CUDA's kernels and their rounding, of what autocast casts there
(lists of the CPU's are taken), of memory and of NCCL.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
MEMORY = 80 << 30
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
WAITING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
# What a thread is within: a call of torch with tensors on the device, a copy to the host.
here = threading.local()


@dataclass
class Seen:
    """What was done on the device.

    Attributes
    ----------
    waits, lost : Counter of str
        Waits for the device, and asynchronous copies whose pinned memory is not kept from use:
        by kind and function, such as "copy to the host in finetune.training.epochs._pass".
    sent : Counter of str
        Asynchronous copies to the device.
    pinned : list of UntypedStorage
        All that was allocated; none is freed, so that no address has two meanings.
    """

    waits: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    pinned: list[torch.UntypedStorage] = field(default_factory=list)

    def wait(self, kind: str) -> None:
        self.waits[f"{kind} in {caller()}"] += 1

    def pin(self, values: Tensor) -> Tensor:
        self.pinned.append(values.untyped_storage())
        return values

    def block(self, values: Tensor) -> torch.UntypedStorage | None:
        """Find the pinned block in which values lie."""
        address = values.data_ptr()
        for storage in self.pinned:
            if storage.data_ptr() <= address < storage.data_ptr() + storage.nbytes():
                return storage
        return None

    def to_card(self, source: Tensor, asynchronous: bool, dtype: torch.dtype) -> None:
        """Count a copy from the host to the device."""
        block = self.block(source)
        # Anything else is put together in fresh memory first.
        together = torch.empty_like(source).stride() == source.stride() and dtype == source.dtype
        if not asynchronous or block is None or not together:
            kind = "pinned" if block is not None and together else "pageable"
            self.wait(f"copy from {kind} memory")
            return
        self.sent[caller()] += 1
        known = source.untyped_storage()._cdata == block._cdata
        if not known and source.data_ptr() != block.data_ptr():
            self.lost[caller()] += 1


class OnCard(Tensor):
    """A tensor on the pretended device."""

    inner: Tensor
    device = property(lambda self: CARD)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnCard:
        # A view of a tensor from before must not be one of inference mode, where it is made there.
        with torch.inference_mode(False):
            made: OnCard = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                inner.shape,
                strides=inner.stride(),
                storage_offset=inner.storage_offset(),
                dtype=inner.dtype,
                device="cpu",
            )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func}: the device is no longer pretended, or not in this thread.")

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, asynchronous, layout = torch._C._nn._parse_to(*args, **kwargs)
        layout = torch.preserve_format if layout is None else layout
        if device is None or device.type == "cuda":
            dtype = self.dtype if dtype is None else dtype
            return Tensor.to(self, dtype=dtype, memory_format=layout, copy=copy)
        with within(leaving=True):
            return aten._to_copy(
                self, device=CPU, dtype=dtype, non_blocking=asynchronous, memory_format=layout
            )

    def cpu(self) -> Tensor:  # type: ignore[override]
        return self.to(CPU)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("A tensor on the device has no memory for NumPy: copy it to the CPU first.")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().cpu().__reduce_ex__(protocol)

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.inner})"


@contextmanager
def within(**what: bool) -> Iterator[None]:
    before = {name: getattr(here, name, False) for name in what}
    here.__dict__.update(what)
    try:
        yield
    finally:
        here.__dict__.update(before)


class Calls(TorchFunctionMode):
    """What Python calls: gives `cuda` its number, and notes when tensors on the device take part.

    Within such a call "the CPU" is what C++ calls the device of a wrapper.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.pin_memory:
            return self.seen.pin(args[0].clone())
        if func is Tensor.is_pinned:
            return self.seen.block(args[0]) is not None
        if func is Tensor.cuda:
            return args[0].to(CARD)
        if func in (torch.tensor, torch.as_tensor):
            device = kwargs.pop("device", None)
            made = func(*args, **kwargs)
            return made if device is None else made.to(_numbered(device))
        if func is Tensor.to and not isinstance(args[0], OnCard):
            args = (args[0], *map(_numbered, args[1:]))
            kwargs = {name: _numbered(value) for name, value in kwargs.items()}
        takes_part = any(isinstance(one, OnCard) for one in tree_leaves((args, kwargs)))
        with within(call=True) if takes_part else nullcontext():
            return func(*args, **kwargs)


def _numbered(value: Any) -> Any:
    if isinstance(value, OnCard):
        return CARD
    named = isinstance(value, str) and value.startswith("cuda")
    return CARD if named or (isinstance(value, torch.device) and value.type == "cuda") else value


class Operations(TorchDispatchMode):
    """What is computed, operation by operation."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        with self:  # In inference mode operations come here that are made up of others.
            found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        leaves = tree_leaves((args, kwargs))
        on_card = [leaf for leaf in leaves if isinstance(leaf, OnCard)]
        device = self._device(kwargs, bool(on_card))
        pinned = kwargs.pop("pin_memory", None)
        if kwargs.get("device") is not None and kwargs["device"].type == "cuda":
            kwargs["device"] = CPU
        self._count(func, args, kwargs, device, leaves)
        found = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        if pinned:
            return self.seen.pin(found)
        if device != CARD:
            return found
        # What an operation changes in place is the tensor that it was given.
        wrapped = {id(one.inner): one for one in on_card}
        return tree_map(lambda one: _outer(one, wrapped), found)

    def _device(self, kwargs: Mapping[str, Any], on_card: bool) -> torch.device:
        """Say where the result is."""
        given = kwargs.get("device")
        if getattr(here, "leaving", False):
            return CPU
        if given is not None and given.type != "cpu":
            return CARD if given.type == "cuda" else given
        return CARD if on_card or (given is not None and getattr(here, "call", False)) else CPU

    def _count(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        device: torch.device,
        leaves: list[Any],
    ) -> None:
        """Count what waits, and refuse what mixes devices."""
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        on_card = [isinstance(one, OnCard) for one in given]
        if func in COPIES:
            self._copied(func, args, kwargs, device)
        elif func in INDEXED and any(on_card):
            which = [one for one in args[1] if one is not None]
            if not all(isinstance(one, OnCard) for one in which):
                self.seen.wait("indices from the host")
            elif any(one.dtype in (torch.bool, torch.uint8) for one in which):
                self.seen.wait("size of a mask")
        elif any(on_card) and WAITING & set(func.tags):
            self.seen.wait("value read")
        elif any(on_card) and any(
            one.ndim or torch.Tag.pointwise not in func.tags
            for one, there in zip(given, on_card, strict=True)
            if not there
        ):
            devices = ", ".join(str(one.device) for one in given)
            raise RuntimeError(f"{func} in {caller()} mixes devices: {devices}.")

    def _copied(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], device: torch.device
    ) -> None:
        if func is aten.copy_.default:
            into, source = args[0], args[1]
            asynchronous = bool(args[2]) if len(args) > 2 else kwargs.get("non_blocking", False)
            device, dtype = into.device, into.dtype
            landing = isinstance(into, OnCard) or self.seen.block(into) is not None
        else:
            source, asynchronous = args[0], kwargs.get("non_blocking", False)
            dtype = kwargs.get("dtype") or source.dtype
            landing = True  # torch takes pinned memory for it
        if device == CARD and not isinstance(source, OnCard):
            self.seen.to_card(source, asynchronous, dtype)
        elif device == CPU and isinstance(source, OnCard) and not (asynchronous and landing):
            self.seen.wait("copy to the host")


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, OnCard) else value


def _outer(value: Any, wrapped: Mapping[int, OnCard]) -> Any:
    if not isinstance(value, Tensor):
        return value
    return wrapped[id(value)] if id(value) in wrapped else OnCard(value)


def caller() -> str:
    """Name the innermost function of Frostline that is running: "folder.module.function"."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        # A comprehension has a frame of its own in Python 3.11 alone.
        if module.startswith("frostline.") and not function.startswith("<"):
            return f"{module.removeprefix('frostline.')}.{function}"
        frame = frame.f_back
    return "elsewhere"


@contextmanager
def pretended_gpu(*, free: int = MEMORY, bfloat16: bool = True) -> Iterator[Seen]:
    """Pretend a GPU while the block runs, in threads that begin in it too.

    Parameters
    ----------
    free : int
        Bytes of its memory that are free.
    bfloat16 : bool
        Whether it computes in bfloat16.
    """
    from frostline.extract.forward import constants

    seen, run = Seen(), threading.Thread.run

    def pretending(thread: threading.Thread) -> None:
        with Operations(seen), Calls(seen):
            run(thread)

    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwritten)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        for name, value in _answers(seen, free, bfloat16).items():
            stack.enter_context(mock.patch(name, value))
        for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
            if hasattr(torch.optim.Optimizer, name):  # by the version of torch
                stack.enter_context(mock.patch.object(torch.optim.Optimizer, name))
        stack.enter_context(mock.patch.object(threading.Thread, "run", pretending))
        stack.callback(constants.cache_clear)
        stack.enter_context(Operations(seen))
        stack.enter_context(Calls(seen))
        yield seen


def _answers(seen: Seen, free: int, bfloat16: bool) -> dict[str, Callable[..., Any]]:
    """Give what torch says of a GPU."""
    state = torch.zeros(1, dtype=torch.uint8)
    grouped = torch._C._group_tensors_by_device_and_dtype  # type: ignore[attr-defined]
    start = torch.autocast.__init__

    def by_device(lists: Any, with_indices: bool = False) -> Any:
        return {
            (next(one for one in kept[0][0] if one is not None).device, dtype): kept
            for (_, dtype), kept in grouped(lists, with_indices).items()
        }

    def autocast(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        start(self, "cpu", *args, **kwargs)

    event = SimpleNamespace(record=lambda _: None, synchronize=lambda: seen.wait("copied rows"))
    properties = SimpleNamespace(name="Pretended", total_memory=MEMORY, major=9, minor=0)
    return {
        "torch._C._group_tensors_by_device_and_dtype": by_device,
        "torch.amp.autocast_mode.autocast.__init__": autocast,
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.current_stream": lambda _: None,
        "torch.cuda.Event": lambda: event,
        "torch.cuda.device": lambda _: nullcontext(),
        "torch.cuda.get_device_name": lambda *_: properties.name,
        "torch.cuda.get_device_properties": lambda *_: properties,
        "torch.cuda.is_bf16_supported": lambda *_, **__: bfloat16,
        "torch.cuda.mem_get_info": lambda *_: (free, MEMORY),
        "torch.cuda.max_memory_allocated": lambda *_: 0,
        "torch.cuda.reset_peak_memory_stats": lambda *_: None,
        "torch.cuda.synchronize": lambda *_: None,
        "torch.cuda.empty_cache": lambda: None,
        "torch.cuda.set_device": lambda _: None,
        "torch.cuda.manual_seed": lambda _: None,
        "torch.cuda.get_rng_state": lambda *_: state,
        "torch.cuda.set_rng_state": lambda *_: None,
    }
