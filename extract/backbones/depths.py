"""Depths of a backbone: where it can be read, block by block, and what the way there costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from frostline.cache import InputError
from frostline.cache.keys import BLOCKS
from frostline.extract.backbones.architectures import build_model, build_outline
from frostline.extract.backbones.blocks import STEM, Block, blocks
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.features import FEATURES, LAYER, TOKENS, default_feature
from frostline.extract.backbones.hub_files import config_digest
from frostline.extract.backbones.own_module import own_copy, own_name
from frostline.extract.backbones.pooling import final_norm, is_poolable, own_pooling, prefix_tokens


class Depth(NamedTuple):
    """The place behind one block of a backbone: read there, or train what lies behind it.

    Attributes
    ----------
    number : int
        0 behind the stem, i behind the i-th block; the last is the backbone's end.
    block : str
        Name of the block (`frostline.extract.backbones.blocks`).
    feature : str or None
        What `--feature` reads here: `layer:…`, and at the end the backbone's own feature. None
        where there is nothing to read: the class token behind the stem is the same of every image,
        and some networks pass on no single tensor.
    behind : int
        How many blocks lie behind it, which `--unfreeze` with this number trains.
    parameters : int
        Of the block.
    macs : int
        Multiplications with additions from the input to here, for one image.
    cost : float
        The same as a share of the whole pass, 0 to 1.
    """

    number: int
    block: str
    feature: str | None
    behind: int
    parameters: int
    macs: int
    cost: float


class _End(NamedTuple):
    """Where a block ends: the module that finished last before the next one began.

    Attributes
    ----------
    module : str
        Its name; "stem" where that stands for what enters the next block.
    output : Tensor or None
        None where it runs several times, or is not what enters the next block.
    macs : int
        The work so far.
    """

    module: str
    output: Tensor | None
    macs: int


def backbone_depths(
    backbone: str | nn.Module,
    image_size: int = 224,
    feature: str = BLOCKS,
    name: str | None = None,
) -> Sequence[Depth]:
    """List the depths of a backbone, by its name or of a module of your own: see `depths`.

    Parameters
    ----------
    name : str, optional
        What a module of your own is called; it stays as it is.
    """
    if isinstance(backbone, nn.Module):
        return depths(own_copy(backbone), own_name(backbone, name), image_size, feature)
    entry = resolve(backbone)
    # A folder's name does not say what is in it.
    configured = config_digest(entry.model) if entry.library == "hf" else ""
    return _named_depths(backbone, image_size, feature, configured)


@lru_cache(maxsize=32)
def _named_depths(name: str, image_size: int, feature: str, configured: str) -> tuple[Depth, ...]:
    entry = resolve(name)
    try:
        outline = build_outline(entry, image_size, layers=True)
        return tuple(depths(outline, name, image_size, feature))
    except RuntimeError:  # something in its forward function needs numbers
        model, _ = build_model(entry, image_size, seed=0)
        return tuple(depths(model, name, image_size, feature))


def depths(
    model: nn.Module, name: str, image_size: int = 224, feature: str = BLOCKS
) -> list[Depth]:
    """List the depths of a model from input to output.

    Parameters
    ----------
    model : nn.Module
        Without its classifier; a forward pass of it in eval mode is traced, which may be one
        without memory (on device `meta`). None of its parameters needs a gradient afterwards.
    name : str
        What the backbone is called, for errors.
    image_size : int
        Side of the images, in pixels.
    feature : str
        `blocks`, pooled as the backbone itself does: the class token or the mean of the patches
        after the final norm where it has one, else the average over positions. Or
        `blocks:POOLING`, POOLING being `cls`, `mean` or `cls+mean`.

    Raises
    ------
    InputError
        If its blocks are not known or do not run one after the other, or there is no such pooling.
    """
    found = blocks(model)
    if len(found) == 1:
        raise InputError(
            f"The blocks of backbone {name!r} are not known: it is read by layer:NAME, and "
            "fine-tuned by --unfreeze none or all."
        )
    ends, total = _trace(model, found, name, image_size)
    pooling = _pooling(model, name, feature, ends)
    own = feature == BLOCKS or pooling == own_pooling(model)
    last = default_feature(model) if own else pooling
    sizes = {key: value.numel() for key, value in model.named_parameters()}
    first = int(found[0].name != STEM)
    features = [_feature(block, end, pooling) for block, end in zip(found, ends, strict=False)]
    work = [end.macs for end in ends]
    return [
        Depth(
            place + first,
            block.name,
            read,
            len(found) - 1 - place,
            sum(sizes[key] for key in block.parameters),
            macs,
            macs / max(total, 1),
        )
        for place, (block, read, macs) in enumerate(
            zip(found, [*features, last], [*work, total], strict=True)
        )
    ]


def _pooling(model: nn.Module, name: str, feature: str, ends: Sequence[_End]) -> str:
    """Find how tokens are pooled; "" for the average over positions."""
    given = feature.removeprefix(BLOCKS).removeprefix(":")
    outputs = [end.output for end in ends if end.output is not None]
    if feature == BLOCKS:
        own = own_pooling(model)
        return own if own and all(_has_tokens(model, one) for one in outputs) else ""
    if given not in TOKENS:
        raise InputError(
            f"There is no feature {feature!r}: choose blocks, or of a vision transformer with a "
            f"class token {', '.join(f'{BLOCKS}:{one}' for one in TOKENS)}."
        )
    if not FEATURES[given].suits(model):
        raise InputError(f"Backbone {name!r} has no class token for {feature!r}: choose blocks.")
    for end in ends:
        if end.output is not None and not _has_tokens(model, end.output):
            raise InputError(
                f"Layer {end.module!r} of backbone {name!r} has no class token: choose blocks."
            )
    return given


def _has_tokens(model: nn.Module, output: Tensor) -> bool:
    """Tell whether an output is what the final norm of a vision transformer takes."""
    if output.ndim != 3 or not prefix_tokens(model, output.shape[1]):
        return False
    width = getattr(final_norm(model), "weight", output[0, 0]).shape[-1]
    return bool(output.shape[-1] == width)


def _feature(block: Block, end: _End, pooling: str) -> str | None:
    """Name what reads the output of a block."""
    if not is_poolable(end.output) or (block.name == STEM and pooling == "cls"):
        return None
    return f"{LAYER}{end.module}" + (f":{pooling}" if pooling else "")


def _trace(
    model: nn.Module, found: Sequence[Block], name: str, image_size: int
) -> tuple[list[_End], int]:
    """Pass an empty image through; find where blocks end but the last, and all of the work."""
    model.eval().requires_grad_(False)
    device = next(model.parameters()).device
    counter, runs = FlopCounterMode(display=False), Counter[str]()
    # `layer:stem` taps what enters the next block, where there is no module of that name.
    alone = found[0].name == STEM and STEM not in dict(model.named_modules())
    begun: list[int] = []
    ended: list[_End] = []
    last: tuple[str, Any] = "", None

    def enter(module: str, block: int | None, given: tuple[Any, ...]) -> None:
        runs[module] += 1
        if block is None or block in begun:
            return
        begun.append(block)
        macs, entering = counter.get_total_flops() // 2, given[0] if given else None
        if block == 1 and alone and module == found[1].first_module:
            ended.append(_End(STEM, entering if _size(entering) else None, macs))
        elif block:
            name, output = last
            same = _size(entering) == _size(output) > 0
            ended.append(_End(name, output if same else None, macs))

    def leave(module: str, output: Any) -> None:
        nonlocal last
        last = module, output

    with _watched(model, found, enter, leave), torch.no_grad(), counter:
        model(torch.zeros((1, 3, image_size, image_size), device=device))
    if begun != [*range(len(found))]:
        raise InputError(
            f"The blocks of backbone {name!r} do not run one after the other: it is read by "
            "layer:NAME."
        )
    ends = [end if runs[end.module] < 2 else end._replace(output=None) for end in ended]
    return ends, counter.get_total_flops() // 2


def _size(value: Any) -> int:
    return value.numel() if isinstance(value, Tensor) else 0


@contextmanager
def _watched(model: nn.Module, found: Sequence[Block], enter: Any, leave: Any) -> Iterator[None]:
    """Call `enter(name, number of its block, inputs)` and `leave(name, output)` as modules run."""
    owner = {name: number for number, block in enumerate(found) for name in block.parameters}
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not name:
                continue
            held = {owner.get(f"{name}.{own}") for own, _ in module.named_parameters()}
            block = held.pop() if len(held) == 1 else None

            def before(module: nn.Module, given: Any, name: str = name, block: Any = block) -> None:
                enter(name, block, given)

            def after(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
                leave(name, output)

            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        yield
