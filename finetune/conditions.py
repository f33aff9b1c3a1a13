"""Where and how to compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from frostline.extract.forward import COMPUTE


@dataclass(frozen=True)
class Conditions:
    """Where and how to compute.

    Attributes
    ----------
    mean, std : (float, float, float)
        Statistics of images in 0 to 1, by which they are normalised.
    device : str
    precision : str
        "float32", or "bfloat16" or "float16" for mixed precision.
    crop : int, optional
        Side of what the network sees, in pixels, if images at rest are larger.
    compiled : bool
        Whether training runs through `torch.compile`.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: str = "cpu"
    precision: str = "float32"
    crop: int | None = None
    compiled: bool = False

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """Mean and std as lists."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def autocast(self) -> torch.autocast:
        """Give a context of mixed precision, or of nothing for float32."""
        mixed = self.precision != "float32"
        return torch.autocast(torch.device(self.device).type, COMPUTE[self.precision], mixed)
