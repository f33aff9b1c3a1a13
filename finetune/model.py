"""Backbone and head as one module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from frostline.extract.backbones.backbone import Backbone
from frostline.finetune.inputs.boundary import Boundary
from frostline.probe.solver.stacked_adam import first_layers


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
        self.boundary: Boundary | None = None
        self.name = backbone.name
        self.compute = backbone.compute
        self.backbone = backbone.model
        weight, bias = first_layers([backbone.dim, classes], seed)
        self.head = nn.Linear(backbone.dim, classes, device="meta").to_empty(device="cpu")
        self.head.load_state_dict({"weight": weight.T, "bias": bias[0]})

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images float [n, 3, height, width] to logits float [n, classes].

        Inside `from_boundary` it takes the activations of images instead.
        """
        if self.boundary is not None:
            return self.boundary.leave(self, images)
        return self.head(self.embed(images))

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images float [n, 3, height, width] to what the head sees, float [n, dim]."""
        return self.compute(self.backbone, images)

    @contextmanager
    def from_boundary(self, boundary: Boundary | None) -> Iterator[None]:
        """Run from kept activations meanwhile, if there is a boundary."""
        self.boundary = boundary
        try:
            yield
        finally:
            self.boundary = None
