"""Preprocessing: how a backbone saw its images in training (protocol `standard`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry, resolve, timm_config
from frostline.extract.backbones.hub_files import (
    PREPROCESSOR,
    PROCESSOR,
    configuration,
    hub_file,
    is_open_clip,
    read_hub_json,
)
from frostline.extract.backbones.weights.known import recalled

Colour = tuple[float, float, float]

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
    resize : str
        "shorter", or "squash" where images are resized to a square, whatever their sides.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    resize_to: int
    interpolation: str
    resize: Literal["shorter", "squash"] = "shorter"

    def geometry(self) -> dict[str, Any]:
        """Give size, shorter side before the crop, their ratio and the interpolation."""
        return {
            "size": self.size,
            "resize_to": self.resize_to,
            "crop_pct": self.size / self.resize_to,
            "interpolation": self.interpolation,
        }


# What most backbones were trained with, where nothing says.
UNKNOWN = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 224, 256, "bilinear")
# Official DINOv2 evaluation at 224 pixels; timm's configuration is for 518.
DINOV2 = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 224, 256, "bicubic")


def own_preprocessing(entry: Entry) -> Preprocessing:
    """Look up what the library says of a backbone; `UNKNOWN` where it says nothing."""
    if entry.is_dinov2:
        return DINOV2
    if entry.library == "hf":
        return _of_hub(entry)
    return _of_timm(entry) if entry.library == "timm" else _of_torchvision(entry)


def remembered_preprocessing(backbone: str, digests: Path | None) -> Preprocessing:
    """Look up `own_preprocessing` of a name, unless it is remembered beside a file of digests."""
    asked = {"backbone": backbone, "what": "preprocessing"}
    found = recalled(digests, asked, lambda: asdict(own_preprocessing(resolve(backbone))))
    mean, std = tuple(found.pop("mean")), tuple(found.pop("std"))
    return Preprocessing(mean, std, **found)


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
        return UNKNOWN
    chosen = (weights[entry.tag] if entry.tag else weights.DEFAULT).transforms()
    return Preprocessing(
        tuple(chosen.mean),
        tuple(chosen.std),
        int(chosen.crop_size[0]),
        int(chosen.resize_size[0]),
        str(chosen.interpolation.value),
    )


# Pillow's numbers for what transformers calls `resample`.
RESAMPLING = {2: "bilinear", 3: "bicubic"}


# Image processors of transformers to whom one number as size is the shorter side, not a square.
SHORTER = ("Bit", "CLIP", "ConvNext")
# ConvNext's processor crops below this size, and takes the whole image from it on.
UNCROPPED = 384


def _of_hub(entry: Entry) -> Preprocessing:
    if is_open_clip(entry.model):
        return _of_open_clip(configuration(entry.model))
    path = hub_file(entry.model, PREPROCESSOR, PROCESSOR)
    said = read_hub_json(path)
    inner = said.get("image_processor")
    said = inner if isinstance(inner, dict) else said
    try:
        mean, std = _hub_statistics(said)
        sides = _sides(said["size"], _processor(said).startswith(SHORTER))
        size, shorter = _side(sides), "shortest_edge" in sides
        resize: Literal["shorter", "squash"] = "shorter" if shorter else "squash"
        interpolation = RESAMPLING[said.get("resample", 2)]
        if "crop_pct" in said and _processor(said).startswith("ConvNext"):
            if size < UNCROPPED:
                to = int(size / said["crop_pct"])
                return Preprocessing(mean, std, size, to, interpolation)
            return Preprocessing(mean, std, size, size, interpolation, "squash")
        crop = said.get("crop_size")
        crops = said.get("do_center_crop", crop is not None) and crop is not None
        side = _side(_sides(crop)) if crops else size
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say in a known way how images are resized and normalised "
            f"({type(error).__name__}: {error}); it needs size, image_mean, image_std, and "
            "resample 2 or 3."
        ) from error
    return Preprocessing(mean, std, side, size, interpolation, resize)


def _processor(said: dict[str, Any]) -> str:
    found = said.get("image_processor_type") or said.get("feature_extractor_type") or ""
    return str(found)


# What open_clip takes where its file does not say.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def _of_open_clip(path: Path) -> Preprocessing:
    said = read_hub_json(path)
    try:
        vision = said.get("model_cfg", said)["vision_cfg"]
        how = said.get("preprocess_cfg") or {}
        size = how.get("size") or vision.get("image_size", 224)
        side = _side(dict(enumerate(size))) if isinstance(size, list) else int(size)
        red, green, blue = (float(value) for value in how.get("mean") or OPENAI_MEAN)
        scales = tuple(float(value) for value in how.get("std") or OPENAI_STD)
        interpolation = how.get("interpolation") or "bicubic"
        resize = {"shortest": "shorter", "squash": "squash"}[how.get("resize_mode") or "shortest"]
        if interpolation not in RESAMPLING.values():
            raise ValueError(f"interpolation {interpolation}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say in a known way how images are resized and normalised "
            f"({type(error).__name__}: {error}); its preprocess_cfg needs mean, std, "
            "interpolation bicubic or bilinear, and resize_mode shortest or squash."
        ) from error
    means, deviations = (red, green, blue), (scales[0], scales[1], scales[2])
    kept: Literal["shorter", "squash"] = "squash" if resize == "squash" else "shorter"
    return Preprocessing(means, deviations, side, side, interpolation, kept)


def _sides(size: Any, shorter: bool = False) -> dict[str, int]:
    # One number alone, as in transformers' first formats, is a square but for some processors.
    if isinstance(size, int):
        return {"shortest_edge": size} if shorter else {"height": size, "width": size}
    return dict(size)


def _side(size: Mapping[Any, int]) -> int:
    sides = set(size.values())
    if len(sides) != 1:
        raise ValueError(f"size {size} is no square")
    return int(sides.pop())


def _hub_statistics(said: dict[str, Any]) -> tuple[Colour, Colour]:
    """Find mean and standard deviation of images in 0 to 1, whatever scale the file's are for."""
    scale = 255 * said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 255.0
    normalises = said.get("do_normalize", True)
    mean = said["image_mean"] if normalises else [0.0] * 3
    std = said["image_std"] if normalises else [1.0] * 3
    red, green, blue = (float(value) / scale for value in mean)
    scaled = tuple(float(value) / scale for value in std)
    return (red, green, blue), (scaled[0], scaled[1], scaled[2])
