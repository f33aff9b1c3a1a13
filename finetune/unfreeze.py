"""Unfreezing: none of the backbone, its last N blocks, or all."""

from __future__ import annotations

from torch import nn

from frostline.cache import InputError
from frostline.extract.backbones.blocks import Block, blocks
from frostline.finetune.model import Classifier


def unfreeze(model: Classifier, how: str | int) -> list[str]:
    """Mark what trains: the head always, of the backbone as much as `how` says.

    Parameters
    ----------
    how : str or int
        "none", "all", a number of blocks counted from the output, or "classifier" (VGG: its
        hidden linear layers).

    Returns
    -------
    list of str
        Names of the blocks that train, from input to output.

    Raises
    ------
    InputError
        If the backbone has no such blocks.
    """
    found = blocks(model.backbone)
    chosen = _chosen(found, str(how), model.name)
    trained = {name for block in chosen for name in block.parameters}
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(name in trained)
    model.head.requires_grad_(True)
    return [block.name for block in chosen]


def _chosen(found: list[Block], how: str, backbone: str) -> list[Block]:
    if how == "none":
        return []
    if how == "all":
        return found
    if how == "classifier" and found[-1].name == "classifier":
        return found[-1:]
    if how.isdecimal() and 1 <= int(how) <= len(found) > 1:
        return found[-int(how) :]
    if len(found) == 1:
        raise InputError(
            f"Unfreeze must be none or all for backbone {backbone!r}, whose blocks are not known, "
            f"not {how!r}."
        )
    names = ", ".join(block.name for block in found)
    raise InputError(
        f"Unfreeze must be none, all, or a number from 1 to {len(found)} for backbone "
        f"{backbone!r}, not {how!r} (its blocks: {names})."
    )


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
