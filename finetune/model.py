"""Backbone and head as one module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from frostline.extract.backbones.backbone import Backbone
from frostline.probe.solver.stacked_adam import first_layers


class Adapters(NamedTuple):
    """Low-rank adapters of a network (LoRA: Hu and others 2022), with the names of peft.

    A layer with one computes W x + lora_alpha / r * B A x, where W is frozen.

    Attributes
    ----------
    r : int
        Rank: rows of A and columns of B.
    lora_alpha : float
    target_modules : list of str
        Names in the backbone of the layers that have one.
    """

    r: int
    lora_alpha: float
    target_modules: list[str]

    def about(self) -> dict[str, Any]:
        """Give them as JSON has them."""
        return self._asdict()


class Classifier(nn.Module):
    """A backbone with a linear head.

    Parameters
    ----------
    backbone : Backbone
        Its model becomes a part of this module (and is trained in place).
    classes : int
        Number of classes.
    seed : int
        Of the head's first weights, which are those of a probe with this seed; the global random
        state is left as it is.
    """

    def __init__(self, backbone: Backbone, classes: int, seed: int) -> None:
        super().__init__()
        # From other inputs than images to logits, where training begins behind frozen blocks.
        self.shortcut: Callable[[Tensor], Tensor] | None = None
        self.adapters: Adapters | None = None
        self.image_size = backbone.image_size
        self.name = backbone.name
        self.compute = backbone.compute
        self.backbone = backbone.model
        weight, bias = first_layers([backbone.dim, classes], seed)
        self.head = nn.Linear(backbone.dim, classes, device="meta").to_empty(device="cpu")
        self.head.load_state_dict({"weight": weight.T, "bias": bias[0]})

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images: float [n, 3, height, width] to logits float [n, classes].

        With a `shortcut` it takes what that takes, such as the activations of frozen blocks.
        """
        if self.shortcut is not None:
            return self.shortcut(images)
        return self.head(self.embed(images))

    def embed(self, images: Tensor) -> Tensor:
        """Embed normalised images: float [n, 3, height, width] to float [n, dim]."""
        return self.compute(self.backbone, images)
