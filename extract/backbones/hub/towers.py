"""The image tower of CLIP and SigLIP models, without their text tower."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry
from frostline.extract.backbones.hub_files import CLIP, SIGLIP, TOWER

WHOLE, PROJECTION = TOWER  # what the two parts' names begin with
NAFLEX = ("siglip2", "siglip2_vision_model")


def tower_config(entry: Entry, config: Any) -> Any:
    """Give the configuration of the image tower; the model's own where it has no other tower.

    Raises
    ------
    InputError
        If it has a text tower alone, or an image tower that is not known.
    """
    kind = str(config.model_type)
    if kind in NAFLEX:
        raise InputError(
            f"Backbone {entry.name!r} is a SigLIP 2 model of NaFlex, which takes patches of images "
            "of any shape: give one of a fixed size, such as google/siglip2-base-patch16-224."
        )
    if kind.endswith("_text_model"):
        raise InputError(
            f"Backbone {entry.name!r} is a text tower ({kind}), which sees no images: give the "
            "model with its image tower."
        )
    if kind in (*CLIP, *SIGLIP):
        return getattr(config, "vision_config", config)
    if hasattr(config, "text_config"):
        raise InputError(
            f"Backbone {entry.name!r} is of type {kind}, which is no model of images alone: of "
            "models of images and text those of CLIP, SigLIP and open_clip give their image tower."
        )
    return config


def find_projection(config: Any) -> nn.Linear | None:
    """Make CLIP's layer from the pooled vector to the space that it shares with text, if any."""
    builds = set(config.architectures or [])
    has = {"CLIPModel", "CLIPVisionModelWithProjection"} & builds
    if config.model_type not in CLIP or not (has or (config.model_type == "clip" and not builds)):
        return None
    width = getattr(config, "vision_config", config).hidden_size
    return nn.Linear(width, config.projection_dim, bias=False)


def convert_tower(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of a file to those of `HubModel`.

    Files of transformers 4 and whole models have `vision_model.` before the tower's names, those
    of an image model alone by transformers 5 do not, and some hold the numbers of the positions.
    """
    wanted = model.state_dict()
    named = {}
    for key, value in state.items():
        if key.startswith(PROJECTION):
            name = f"projection.{key.removeprefix(PROJECTION)}"
            if name not in wanted:
                continue  # it is a head of this model
        else:
            name = f"network.{key.removeprefix(WHOLE)}"
        if not key.endswith(".position_ids"):
            named[name] = value
    return named
