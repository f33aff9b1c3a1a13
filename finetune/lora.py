"""Low-rank adapters (LoRA: Hu and others 2022, arXiv:2106.09685) by the package peft.

Which layers get one, and how what was trained becomes part of the frozen weights again. peft is
imported where adapters are made, and nowhere else: a saved run is read without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.cache.tables.words import counted
from frostline.extract.backbones.blocks import Block
from frostline.finetune.model import Adapters, Classifier
from frostline.finetune.recipe import Recipe, check_peft
from frostline.finetune.seeds import derived_seed, random_state

ALL = ("all",)
SHOWN = 12


def add_adapters(model: Classifier, blocks: Sequence[Block], recipe: Recipe, seed: int) -> None:
    """Give layers of some blocks an adapter, in place; of the backbone nothing else trains.

    B is zero at first, so that the network gives what it gave without. A is drawn from the seed.

    Raises
    ------
    InputError
        If peft is not there, or the blocks have no such layers, or such that cannot have one.
    """
    check_peft()
    names = find_targets(model, blocks, recipe.lora_target_modules)
    from peft import LoraConfig, inject_adapter_in_model

    # As a pattern: in a list, a name stands for all that end so.
    exact = "|".join(map(re.escape, names))
    # Its annotation says int, and it divides.
    scale: Any = recipe.lora_alpha
    config = LoraConfig(r=recipe.lora_r, lora_alpha=scale, target_modules=exact)
    with random_state(derived_seed(seed, "lora"), torch.device("cpu")):
        inject_adapter_in_model(config, model.backbone)
    model.adapters = Adapters(recipe.lora_r, recipe.lora_alpha, names)


def find_targets(model: Classifier, blocks: Sequence[Block], asked: Sequence[str]) -> list[str]:
    """Name the layers of some blocks that get an adapter.

    Parameters
    ----------
    asked : sequence of str
        "all", for every linear layer and every convolution without groups; or names or their ends,
        such as `qkv`.

    Raises
    ------
    InputError
        If there are none, or one cannot have an adapter.
    """
    within = {parameter for block in blocks for parameter in block.parameters}
    layers = {
        name: module
        for name, module in model.backbone.named_modules()
        if any(f"{name}.{own}" in within for own, _ in module.named_parameters())
    }
    why_not = {name: _why_not(module) for name, module in layers.items()}
    idle = [name for name in set(layers) - _called(model) if not why_not[name]]
    why_not |= dict.fromkeys(idle, "its matrix is used without its forward function")
    fit = [name for name, reason in why_not.items() if not reason]
    chosen = fit if tuple(asked) == ALL else [n for one in asked for n in _ending(layers, one)]
    if not fit:
        raise InputError(
            f"Backbone {model.name!r} has no layers there that LoRA can adapt (linear ones, and "
            "convolutions without groups): choose another unfreeze."
        )
    missing = [one for one in asked if tuple(asked) != ALL and not _ending(layers, one)]
    refused = [name for name in chosen if why_not[name]]
    if missing or refused:
        wrong = f"has no layer {missing[0]!r} there" if missing else ""
        wrong = wrong or f"cannot have LoRA in layer {refused[0]!r} ({why_not[refused[0]]})"
        raise InputError(
            f"Backbone {model.name!r} {wrong}: lora_target_modules takes all, or some of "
            f"{ends_of(fit)}."
        )
    return [name for name in layers if name in set(chosen)]


def _why_not(layer: nn.Module) -> str:
    """Say why a layer can have no adapter that can be merged; "" if it can."""
    # Exactly these: what others do with their matrix, such as standardising it, an adapter would
    # not follow.
    if type(layer) is nn.Linear:
        return ""
    if type(layer) is not nn.Conv2d:
        return f"a {type(layer).__name__}"
    plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    return "" if plain else "a convolution with groups, dilation or other padding than zeros"


@torch.no_grad()
def _called(model: Classifier) -> set[str]:
    """Name the modules of the backbone whose forward function runs for an image.

    Attention may take a layer's matrix without that (nn.MultiheadAttention, torchvision's Swin,
    timm's EVA): an adapter there would do nothing.
    """
    found: set[str] = set()
    modes = {module: module.training for module in model.backbone.modules()}
    device = next(model.backbone.parameters()).device
    with ExitStack() as stack:
        for name, module in model.backbone.named_modules():
            hook = module.register_forward_pre_hook(lambda *_, name=name: found.add(name))
            stack.callback(hook.remove)
        model.backbone.eval()
        model.embed(torch.zeros((1, 3, model.image_size, model.image_size), device=device))
    for module, training in modes.items():
        module.training = training
    return found


def _ending(names: Mapping[str, nn.Module], end: str) -> list[str]:
    return [name for name in names if name == end or name.endswith(f".{end}")]


def ends_of(names: Sequence[str]) -> str:
    """List the last parts of names, each once; a number with what stands before it."""
    ends = list(dict.fromkeys(re.findall(r"[^.]*[^.0-9][^.]*(?:\.[0-9]+)*$", n)[0] for n in names))
    shown = ends[:SHOWN] + ([f"{len(ends) - SHOWN} more"] if len(ends) > SHOWN else [])
    return ", ".join(shown)


def adapter_sentence(model: Classifier) -> str:
    """Say which layers of a network have an adapter; "" where none has."""
    if model.adapters is None:
        return ""
    names = model.adapters.target_modules
    counts = f"{counted(len(names), 'layer')} ({ends_of(names)})"
    return f"LoRA of rank {model.adapters.r}: adapters in {counts}."


def adapter_names(adapters: Adapters) -> Iterator[tuple[str, str, str]]:
    """Yield, of each layer, the names in a classifier's state of its matrix, its A and its B."""
    for name in adapters.target_modules:
        layer = f"backbone.{name}"
        a, b = (f"{layer}.lora_{letter}.default.weight" for letter in "AB")
        yield f"{layer}.weight", a, b


@torch.no_grad()
def merge_adapters(model: Classifier, adapters: Adapters, state: Mapping[str, Tensor]) -> None:
    """Add trained adapters to the matrices of a network that has none, in place.

    W + lora_alpha / r * B A, added in float64: what the network with adapters gives, up to the
    rounding of W. Of a convolution A is one to r channels, and B one of single pixels.

    Parameters
    ----------
    state : mapping
        Tensors by the names that `adapter_names` gives.
    """
    for weight, a, b in adapter_names(adapters):
        product = torch.einsum("or,r...->o...", state[b].flatten(1).double(), state[a].double())
        matrix = model.get_parameter(weight)
        matrix.copy_(matrix.double() + adapters.lora_alpha / adapters.r * product)
