"""Where a backbone's pretrained weights come from: network, data and licence, with their sources.

Licences: torchvision's weights carry none of their own (its model page refers to the terms of the
data set); Meta's DINOv2 weights are Apache 2.0 (its repository, since August 2023); of timm's the
field `license` of the model's `pretrained_cfg`; TensorFlow's EfficientNet-Lite is Apache 2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry, pretrained_tags, resolve, timm_config

IMAGENET = "ImageNet-1k (1.28 million photographs, 1,000 classes)"
IMAGENET_TERMS = "none of their own; ImageNet's terms, research only"
# What timm's tags begin or end with, from the longest on.
DATA = {
    "lvd142m": "LVD-142M (142 million images, no labels)",
    "lvd1689m": "LVD-1689M (1,689 million images, no labels)",
    "in22k": "ImageNet-22k",
    "in21k": "ImageNet-21k",
    "in12k": "ImageNet-12k",
    "in1k": IMAGENET,
    "laion2b": "LAION-2B (pairs of image and text)",
    "webli": "WebLI (pairs of image and text)",
    "openai": "OpenAI's pairs of image and text",
}
# Key of the work in the bibliography of reports.
WORKS = {
    "vgg": "simonyan2015",
    "resnet": "he2016",
    "densenet": "huang2017",
    "tf_efficientnet": "tan2019",
    "efficientnet": "tan2019",
}


@dataclass(frozen=True)
class Origin:
    """What is known of pretrained weights; "" where nothing is.

    Attributes
    ----------
    network : str
        The library and its name for the network and its weights.
    pretrained_on : str
    licence : str
        Of the weights.
    source : str
        Key of the work that describes them.
    """

    network: str
    pretrained_on: str = ""
    licence: str = ""
    source: str = ""


def origin(entry: Entry) -> Origin:
    """Look up where the pretrained weights of a backbone come from."""
    source = next((work for start, work in WORKS.items() if entry.model.startswith(start)), "")
    if entry.library == "hf":
        return Origin(f"Hugging Face {entry.model}")
    tag = entry.tag or next(iter(pretrained_tags(entry)), "")
    network = f"{entry.library} {entry.model}" + (f", {tag}" if tag else "")
    if entry.library == "torchvision":
        on = IMAGENET if tag.startswith("IMAGENET1K") else ""
        return Origin(network, on, IMAGENET_TERMS if on else "", source)
    if "dinov2" in entry.model:
        source = "oquab2024"
    on = " and then ".join(DATA[part] for part in _data_of(tag))
    licence = timm_config(entry).license or ""
    return Origin(network, on, licence.replace("apache-2.0", "Apache 2.0"), source)


def known_origin(backbone: str) -> dict[str, str]:
    """Give what is known of a backbone's weights as a mapping; of one's own module nothing."""
    try:
        found = origin(resolve(backbone))
    except InputError:
        return {}
    return {name: value for name, value in vars(found).items() if value}


def _data_of(tag: str) -> list[str]:
    """Name the data sets in a tag of timm's, in the order in which they were trained on."""
    words = tag.replace("_ft_", "_").split("_")
    return [word for word in words if word in DATA]
