"""Models of open_clip: their image tower as a model of timm, from `open_clip_config.json`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.extract.backbones.catalog import Entry, library_models
from frostline.extract.backbones.hub_files import OPEN_CLIP, configuration, read_hub_json

# What `vision_cfg` may say of open_clip's own vision transformer; how timm's is built from it.
SIZES = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"}
# Of training alone, or of what is given besides the vector.
SILENT = {"patch_dropout", "output_tokens", "timm_model_pretrained", "timm_drop", "timm_drop_path"}
TIMM = {"timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias", "image_size"}
# open_clip's defaults of what timm's CLIP models do not have.
PLAIN: Mapping[str, Any] = {
    "ls_init_value": None,
    "attentional_pool": False,
    "no_ln_pre": False,
    "pos_embed_type": "learnable",
    "final_ln_after_pool": False,
    "pool_type": "tok",
    "act_kwargs": None,
    "block_type": None,
    "qk_norm": False,
    "scaled_cosine_attn": False,
    "scale_heads": False,
    "scale_attn_inner": False,
    "scale_attn": False,
    "scale_fc": False,
}
UNUSED = {"attn_pooler_queries", "attn_pooler_heads"}  # without `attentional_pool`
EPSILON = 1e-5


def vision_config(entry: Entry) -> dict[str, Any]:
    """Read what `open_clip_config.json` says of the image tower, with `embed_dim`, `quick_gelu`.

    Raises
    ------
    InputError
        If it says nothing of an image tower.
    """
    path = configuration(entry.model)
    said = read_hub_json(path)
    model = said.get("model_cfg", said)
    vision = model.get("vision_cfg") if isinstance(model, dict) else None
    if not isinstance(vision, dict) or not isinstance(model.get("embed_dim"), int):
        raise InputError(
            f"{path} has no model_cfg with embed_dim and a vision_cfg: give a model of open_clip "
            "with an image tower."
        )
    return {
        **{key: value for key, value in vision.items() if key not in SILENT},
        "embed_dim": model["embed_dim"],
        "quick_gelu": bool(model.get("quick_gelu")),
    }


def build_open_clip(entry: Entry, image_size: int) -> nn.Module:
    """Build the image tower, with random weights from the global random state.

    What open_clip has behind the pooled vector is its `projection`.

    Raises
    ------
    InputError
        If it is of a kind that timm does not have, or it cannot take the image size.
    """
    config = vision_config(entry)
    is_timm = bool(config.get("timm_model_name"))
    try:
        model = _trunk(entry, config, image_size) if is_timm else _clip(entry, config, image_size)
        projection = _projection(entry, config, int(model.num_features))
    except InputError:
        raise
    except (AssertionError, AttributeError, RuntimeError, *READ_ERRORS) as error:
        raise InputError(
            f"Backbone {entry.name!r} cannot be built for images of {image_size} pixels from "
            f"{OPEN_CLIP} ({type(error).__name__}: {_first_line(error)}): check that file and "
            "--image-size."
        ) from error
    if projection is not None:
        model.add_module("projection", projection)
    if getattr(model, "global_pool", None) == "map":
        model.own_feature = "pooler"
    return model


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")


def _trunk(entry: Entry, config: Mapping[str, Any], image_size: int) -> Any:
    """Build a model of timm as open_clip does: its own pooling first, then another if asked."""
    import timm

    name, pool = config["timm_model_name"], config.get("timm_pool", "avg")
    if str(name).partition(".")[0] not in library_models("timm"):
        raise _unknown(entry, "timm_model_name", name)
    if pool in ("abs_attn", "rot_attn"):
        raise _unknown(entry, "timm_pool", pool)
    for key in config.keys() - TIMM - SIZES - PLAIN.keys() - UNUSED - {"embed_dim", "quick_gelu"}:
        raise _unknown(entry, key, config[key])
    options: dict[str, Any] = {"num_classes": 0}
    known: Any = timm.get_pretrained_cfg(name)
    if known.fixed_input_size:
        options["img_size"] = image_size
    if config.get("timm_proj", "linear") in ("linear", "mlp"):
        model: Any = timm.create_model(name, pretrained=False, **options)
        model.reset_classifier(0, **({"global_pool": pool} if pool else {}))
        return model
    return timm.create_model(name, pretrained=False, global_pool=pool, **options)


def _clip(entry: Entry, config: Mapping[str, Any], image_size: int) -> Any:
    """Build open_clip's own vision transformer, which is timm's with a norm before its blocks."""
    from timm.models.vision_transformer import VisionTransformer

    for key, value in config.items():
        known = key in SIZES | UNUSED | {"embed_dim", "quick_gelu", "norm_kwargs"} or (
            key.startswith("timm_") or (key in PLAIN and value == PLAIN[key])
        )
        if not known:
            raise _unknown(entry, key, value)
    norm = dict(config.get("norm_kwargs") or {})
    layers, width = config.get("layers", 12), config.get("width", 768)
    if not isinstance(layers, int) or norm.keys() - {"eps"}:
        key = "layers" if not isinstance(layers, int) else "norm_kwargs"
        raise _unknown(entry, key, config[key])
    patch = config.get("patch_size", 16)
    return VisionTransformer(
        img_size=image_size,
        patch_size=patch,
        num_classes=0,
        embed_dim=width,
        depth=layers,
        num_heads=width // config.get("head_width", 64),
        mlp_ratio=config.get("mlp_ratio", 4.0),
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=norm.get("eps", EPSILON)),
        act_layer="quick_gelu" if config["quick_gelu"] else "gelu",
    )


def _projection(entry: Entry, config: Mapping[str, Any], width: int) -> nn.Module | None:
    from timm.layers.mlp import Mlp

    dim, bias = config["embed_dim"], bool(config.get("timm_proj_bias", False))
    if not config.get("timm_model_name"):
        return nn.Linear(width, dim, bias=False)
    kind = config.get("timm_proj", "linear")
    if kind == "none":
        return None
    if kind == "mlp":
        return Mlp(width, 2 * dim, dim, bias=(True, bias))
    if kind not in ("linear", "", None):
        raise _unknown(entry, "timm_proj", kind)
    # Without a projection of its own, open_clip has timm's classifier make the vector.
    return nn.Linear(width, dim, bias=bias if kind else True)


def _unknown(entry: Entry, key: str, value: object) -> InputError:
    return InputError(
        f"Backbone {entry.name!r} has an image tower with {key} {value!r}, which Frostline cannot "
        "build by timm: give a model in transformers' layout, or a vision transformer."
    )


def convert_open_clip(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of an open_clip file to those of the model, its positions resampled.

    Names, shapes and positions are converted by timm.
    """
    family = sys.modules[type(model).__module__]
    if "visual.class_embedding" in state:
        trunk = dict(family.checkpoint_filter_fn(dict(state), model))
        trunk.pop("head.bias", None)  # zeros that timm made
        return {_projected(key): value for key, value in trunk.items()}
    trunk = {k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")}
    heads = {"head.proj.": "projection.", "head.mlp.": "projection."}
    named = {}
    for key, value in trunk.items():
        own = next((head for head in heads if key.startswith(head)), None)
        if own:
            named[heads[own] + key.removeprefix(own)] = value
    inner = {k.removeprefix("trunk."): v for k, v in trunk.items() if k.startswith("trunk.")}
    wanted = model.state_dict()
    convert = getattr(family, "checkpoint_filter_fn", None)
    if convert and any(k in wanted and wanted[k].shape != v.shape for k, v in inner.items()):
        inner = dict(convert(inner, model))
    return named | {_projected(key): value for key, value in inner.items()} or dict(state)


def _projected(key: str) -> str:
    for classifier in ("head.fc.", "head."):
        rest = key.removeprefix(classifier)
        if rest != key and rest in ("weight", "bias"):
            return f"projection.{rest}"
    return key
