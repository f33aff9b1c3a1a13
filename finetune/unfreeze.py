"""Unfreezing: how much of the backbone trains (docs/finetuning.md, "How much trains")."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from frostline.cache import InputError
from frostline.cache.tables.unfreezing import Unfreezing, is_lora, parse_unfreezing
from frostline.extract.backbones.blocks import STEM, Block, blocks
from frostline.finetune.lora import add_adapters
from frostline.finetune.model import Classifier
from frostline.finetune.recipe import PAPER, Recipe, check_peft


def check_unfreeze(how: str) -> None:
    """Check what needs no network: that the package peft is there where it is needed."""
    if is_lora(how):
        check_peft()


def unfreeze(model: Classifier, how: str | int, recipe: Recipe = PAPER, seed: int = 0) -> list[str]:
    """Mark what trains: the head always, of the backbone as much as `how` says.

    Parameters
    ----------
    model : Classifier
        Of "lora" it gets adapters, in place.
    how : str or int
        "none", "all", a number of blocks counted from the output, "first:N" (the stem and N blocks
        behind it), "norm" (norms, and biases of all else), "lora" or "lora:N" (adapters in all
        blocks behind the stem, or in the last N), or "classifier" (VGG: its hidden linear layers).
    recipe : Recipe
        Its fields `lora_…` say what adapters are.
    seed : int
        Of the adapters' first weights.

    Returns
    -------
    list of str
        Names of the blocks in which something trains, from input to output.

    Raises
    ------
    InputError
        If the backbone has no such blocks or layers, or peft is needed and not there.
    """
    found = blocks(model.backbone)
    asked = parse_unfreezing(how)
    # A rank is for metadata alone: the recipe has it.
    chosen = None if asked is None or asked.rank else _chosen(found, asked)
    if asked is None or chosen is None:
        raise _refused(found, str(how), model.name)
    model.backbone.requires_grad_(False)
    model.head.requires_grad_(True)
    if asked.way == "lora":
        add_adapters(model, chosen, recipe, seed)
    elif asked.way == "norm":
        _unfreeze_norms(model)
    else:
        trained = {name for block in chosen for name in block.parameters}
        for name, parameter in model.backbone.named_parameters():
            parameter.requires_grad_(name in trained)
    return [block.name for block in trained_blocks(model)]


def trained_blocks(model: Classifier) -> list[Block]:
    """List the blocks of the backbone in which something trains, from input to output."""
    trains = {name for name, one in model.backbone.named_parameters() if one.requires_grad}
    return [block for block in blocks(model.backbone) if trains & set(block.parameters)]


def _chosen(found: list[Block], asked: Unfreezing) -> list[Block] | None:
    """Give the blocks that are meant; None where there are no such."""
    behind = found[1:] if found[0].name == STEM else found
    if asked.way == "none":
        return []
    if asked.way in ("all", "norm"):
        return found
    if asked.way == "classifier":
        return found[-1:] if found[-1].name == "classifier" else None
    if asked == Unfreezing("lora"):
        return behind or found
    if len(found) == 1:
        return None
    if asked.way == "first":
        stem = len(found) - len(behind)
        return found[: stem + asked.blocks] if asked.blocks <= len(behind) else None
    there = behind if asked.way == "lora" else found
    return there[-asked.blocks :] if asked.blocks <= len(there) else None


def _refused(found: list[Block], how: str, backbone: str) -> InputError:
    if len(found) == 1:
        return InputError(
            f"Unfreeze must be none, all, norm or lora for backbone {backbone!r}, whose blocks are "
            f"not known, not {how!r}."
        )
    names = ", ".join(block.name for block in found)
    behind = len(found) - (found[0].name == STEM)
    return InputError(
        f"Unfreeze must be none, all, or a number from 1 to {len(found)}, or norm, lora, or lora:N "
        f"or first:N with N to {behind}, for backbone {backbone!r}, not {how!r} (its blocks: "
        f"{names})."
    )


def _unfreeze_norms(model: Classifier) -> None:
    """Let norms train, and what is called a bias: BitFit (Ben Zaken and others 2022) with norms."""
    for parameter in _norms_and_biases(model.backbone):
        parameter.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.backbone.parameters()):
        raise InputError(
            f"Backbone {model.name!r} has neither norms nor biases: choose another unfreeze."
        )


def _norms_and_biases(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of norms, and vectors called `bias` or `…_bias`."""
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False))
        # timm's, torchvision's and transformers' norms have no class in common, and all are so
        # called.
        norm = "norm" in type(module).__name__.lower()
        norm = norm and all(parameter.ndim <= 1 for parameter in own.values())
        for name, parameter in own.items():
            if norm or (parameter.ndim <= 1 and f"_{name}".endswith("_bias")):
                yield parameter


def set_modes(model: Classifier) -> None:
    """Put what trains into train mode and what is frozen into eval mode, batch norms included.

    Modules without parameters (dropout) follow what stands before them: they act behind the first
    module that trains, and not in or before frozen parts.
    """
    _set_mode(model.backbone, behind_trained=False)
    model.head.train()


def _set_mode(module: nn.Module, behind_trained: bool) -> bool:
    """Set the mode of a module and of all in it; say whether anything trains up to its end."""
    trains = {parameter.requires_grad for parameter in module.parameters()}
    if not trains:
        module.train(behind_trained)
        return behind_trained
    if len(trains) == 1:
        module.train(trains.pop())
        return behind_trained or module.training
    module.training = False
    # Such as a bias whose matrix is frozen.
    own = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    behind_trained = behind_trained or own
    for child in module.children():
        behind_trained = _set_mode(child, behind_trained)
    return behind_trained


def trained_state(model: nn.Module) -> list[str]:
    """Give the names in `state_dict` of everything that training changes.

    That is the parameters that train, and the buffers of modules that hold such (batch norm's
    running statistics); all else is as it was loaded.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for prefix, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and all(parameter.requires_grad for parameter in own):
            buffers = [name for name, _ in module.named_buffers(recurse=False)]
            names += [f"{prefix}.{name}" for name in buffers]
    state = model.state_dict().keys()
    return sorted(name for name in names if name in state)
