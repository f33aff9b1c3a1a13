"""Backbone and head as one module."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import skip_init

from frostline.extract.backbones import Backbone
from frostline.probe.stacked import first_layers


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
        self.name = backbone.name
        self.compute = backbone.compute
        self.backbone = backbone.model
        weight, bias = first_layers([backbone.dim, classes], seed)
        self.head = skip_init(nn.Linear, backbone.dim, classes)
        self.head.load_state_dict({"weight": weight.T, "bias": bias[0]})

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images float [n, 3, height, width] to logits float [n, classes]."""
        return self.head(self.compute(self.backbone, images))
