"""How each backbone was shown its images in training, as its library says (protocol `standard`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frostline.extract.catalog import Entry, timm_config

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Statistics of images in 0 to 1, and geometry in pixels.

    Attributes
    ----------
    mean, std : (float, float, float)
        Of red, green and blue.
    size : int
        Side of the centre crop.
    resize_to : int
        The shorter side before the crop.
    interpolation : str
        "bilinear" or "bicubic".
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    resize_to: int
    interpolation: str

    def geometry(self) -> dict[str, Any]:
        """Size, shorter side before the crop, their ratio and the interpolation."""
        return {
            "size": self.size,
            "resize_to": self.resize_to,
            "crop_pct": self.size / self.resize_to,
            "interpolation": self.interpolation,
        }


# Official DINOv2 evaluation at 224 pixels; timm's configuration is for 518.
DINOV2 = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 224, 256, "bicubic")


def own_preprocessing(entry: Entry) -> Preprocessing:
    """What the library says of a backbone; torchvision models without weights get ImageNet's."""
    if entry.is_dinov2:
        return DINOV2
    return _of_timm(entry) if entry.library == "timm" else _of_torchvision(entry)


def _of_timm(entry: Entry) -> Preprocessing:
    config = timm_config(entry)
    size = int(config.input_size[-1])
    interpolation = config.interpolation if config.interpolation == "bilinear" else "bicubic"
    return Preprocessing(
        tuple(config.mean), tuple(config.std), size, int(size / config.crop_pct), interpolation
    )


def _of_torchvision(entry: Entry) -> Preprocessing:
    import torchvision

    weights: Any = torchvision.models.get_model_weights(entry.model)
    if not len(weights):
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 224, 256, "bilinear")
    chosen = (weights[entry.tag] if entry.tag else weights.DEFAULT).transforms()
    return Preprocessing(
        tuple(chosen.mean),
        tuple(chosen.std),
        int(chosen.crop_size[0]),
        int(chosen.resize_size[0]),
        str(chosen.interpolation.value),
    )
