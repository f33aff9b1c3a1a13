"""The list of backbones with short names."""

from __future__ import annotations

from dataclasses import dataclass

from frostline.extract.backbones.catalog import NAMED
from frostline.extract.backbones.weights.pretrained import weights_at_hand


@dataclass(frozen=True)
class BackboneRow:
    """One line of the list: the attributes of `Entry`, its features, and what is at hand."""

    name: str
    library: str
    model: str
    dim: int
    parameters: int
    features: tuple[str, ...]
    at_hand: bool
    package: str


def list_backbones() -> list[BackboneRow]:
    """List the backbones with short names, and whether their pretrained weights are at hand."""
    return [
        BackboneRow(
            entry.name,
            entry.library,
            entry.model,
            entry.dim,
            entry.parameters,
            ("cls", "mean", "cls+mean", "pre_logits") if entry.is_dinov2 else ("pre_logits",),
            weights_at_hand(entry),
            entry.package,
        )
        for entry in NAMED.values()
    ]
