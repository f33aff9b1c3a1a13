"""Optimisers with their groups of parameters, and the moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from frostline.extract.backbones.blocks import blocks
from frostline.finetune.model import Classifier
from frostline.finetune.recipe import Recipe

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def make_optimizer(
    model: Classifier, recipe: Recipe, device: torch.device
) -> torch.optim.Optimizer:
    """Make the recipe's optimiser of everything in the model that trains."""
    (lr,) = recipe.lr
    kind: Any = OPTIMIZERS[recipe.optimizer]
    optimizer: torch.optim.Optimizer = kind(
        parameter_groups(model, recipe), lr=lr, fused=device.type == "cuda"
    )
    return optimizer


def parameter_groups(model: Classifier, recipe: Recipe) -> list[dict[str, Any]]:
    """Group parameters by weight decay, and by `lr_scale` of the learning rate.

    Biases and norms are vectors: weight decay is for matrices.
    """
    scales = layer_scales(model, recipe.layer_decay) if recipe.layer_decay < 1 else {}
    by_scale: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_scale.setdefault(scales.get(name, 1.0), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for scale, trained in by_scale.items():
        matrices = [p for p in trained if p.ndim > 1]
        vectors = [p for p in trained if p.ndim <= 1]
        for params, decay in ((matrices, recipe.weight_decay), (vectors, 0.0)):
            groups.append({"params": params, "weight_decay": decay, "lr_scale": scale})
    return groups


def layer_scales(model: Classifier, decay: float) -> dict[str, float]:
    """Give the factor of each parameter's learning rate: decay ** depth, 1 in the head."""
    # timm's `param_groups_layer_decay` counts finer layers, begins at 1 in the last block of a
    # network without its head, and gives torchvision's networks one layer: other numbers.
    found = blocks(model.backbone)
    return {
        f"backbone.{name}": decay**depth
        for depth, block in enumerate(reversed(found), 1)
        for name in block.parameters
    }


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


class WeightAverage:
    """An exponential moving average of some tensors of a model.

    timm's `ModelEmaV3` copies the whole model, frozen blocks too, and has no such warm-up, nor a
    way to put the average into the model: with these it would be longer.

    Parameters
    ----------
    model : nn.Module
        On its device; its tensors are followed in place.
    names : sequence of str
        Of tensors in its `state_dict`.
    decay : float
    """

    def __init__(self, model: nn.Module, names: Sequence[str], decay: float) -> None:
        state = model.state_dict()
        self.decay = decay
        self.live = {name: state[name] for name in names}
        self.values = {name: value.clone() for name, value in self.live.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Move towards the weights as they are after so many steps.

        The decay begins low and grows to its value, as in TensorFlow's ExponentialMovingAverage
        with `num_updates`, so that the average forgets how training began.
        """
        decay = min(self.decay, (1 + steps) / (10 + steps))
        floating = [name for name, value in self.live.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.values[name] for name in floating],
            [self.live[name] for name in floating],
            1 - decay,
        )
        for name in self.live.keys() - set(floating):
            self.values[name].copy_(self.live[name])

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Put the average into the model while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self.live.items():
            kept = live.clone()
            live.copy_(self.values[name])
            self.values[name].copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """Give its values as a checkpoint has them."""
        return {name: value.cpu().clone().contiguous() for name, value in self.values.items()}

    def load(self, values: dict[str, Tensor]) -> None:
        """Take the values of a checkpoint."""
        for name, value in values.items():
            self.values[name].copy_(value)
