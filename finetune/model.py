"""Backbone and head as one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frostline.extract.backbones import Backbone
from frostline.finetune.seeds import derived_seed


class Classifier(nn.Module):
    """A backbone with a linear head.

    Parameters
    ----------
    backbone : Backbone
        Its model becomes a part of this module (and is trained in place).
    classes : int
        Number of classes.
    seed : int
        Of the head's first weights; the global random state is left as it is.
    """

    def __init__(self, backbone: Backbone, classes: int, seed: int) -> None:
        super().__init__()
        self.name = backbone.name
        self.compute = backbone.compute
        self.backbone = backbone.model
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(seed, "head"))
            self.head = nn.Linear(backbone.dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images float [n, 3, height, width] to logits float [n, classes]."""
        return self.head(self.compute(self.backbone, images))
