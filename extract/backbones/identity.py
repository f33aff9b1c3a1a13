"""What names a backbone in keys, found without loading weights whose digest is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError
from frostline.cache.keys import BLOCKS, is_blocks
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.weights.known import Identity, recall, remember
from frostline.extract.backbones.weights.pretrained import can_be_fetched

if TYPE_CHECKING:
    from torch import nn

    from frostline.extract.backbones.depths import Depth
    from frostline.extract.backbones.weights.digests import DigestMemory

__all__ = ["Identity", "identify_backbone", "identify_features"]


def identify_backbone(
    backbone: str | nn.Module, *, feature: str | None = None, **options: Any
) -> Identity:
    """Say what `load_backbone` would give, without loading weights whose digest is remembered.

    Parameters are those of `load_backbone` and `identify_features`, and so are the errors.
    """
    if is_blocks(feature):
        raise InputError(
            f"Feature {feature!r} stands for one of each block, and one is needed here: name it, "
            "such as layer:NAME (`frostline backbones --blocks NAME` lists them)."
        )
    return identify_features(backbone, [feature], **options)[0]


def identify_features(
    backbone: str | nn.Module,
    features: Sequence[str | None],
    *,
    weights: str | Path = "pretrained",
    weights_seed: int = 0,
    image_size: int = 224,
    head_weights: Path | None = None,
    digests: Path | None = None,
    fetch: bool = True,
    rehash: bool = False,
    name: str | None = None,
) -> list[Identity]:
    """Say what `load_backbone` would give for several features, each once, in their order.

    Parameters are those of `load_backbone`, and so are the errors.

    Parameters
    ----------
    features : sequence of str or None
        None is the backbone's own; `blocks` stands for those of all its depths
        (`frostline.extract.backbones.depths`), from input to output.
    fetch : bool
        Whether pretrained weights that are not on this machine are fetched. If not, and they can
        be, their digest is "".
    rehash : bool
        Whether files are read again, though their size and time are as they were.
    """
    if not isinstance(backbone, str):
        return _of_module(backbone, features, weights, image_size, name)
    asked = {
        "backbone": backbone,
        "features": list(features),
        "weights": str(weights) if weights in ("pretrained", "random") else _absolute(weights),
        "weights_seed": weights_seed,
        "image_size": image_size,
        "head_weights": _absolute(head_weights),
    }
    known = None if rehash else recall(digests, asked)
    if known is not None:
        return known
    found, memories = _look_up(
        backbone, features, weights, weights_seed, image_size, head_weights, digests, fetch, rehash
    )
    if memories:
        remember(digests, asked, found, memories)
    return found


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _look_up(
    backbone: str,
    features: Sequence[str | None],
    weights: str | Path,
    weights_seed: int,
    image_size: int,
    head_weights: Path | None,
    digests: Path | None,
    fetch: bool,
    rehash: bool,
) -> tuple[list[Identity], dict[str, DigestMemory]]:
    """Ask the libraries, and find where the digests are remembered; nowhere without weights."""
    from frostline.extract.backbones.architectures import build_model, build_outline
    from frostline.extract.backbones.depths import backbone_depths
    from frostline.extract.backbones.features import LAYER, LOGITS
    from frostline.extract.backbones.weights.source import KeptClassifier, WeightsSource, fill_model

    entry = resolve(backbone)
    absent = weights == "pretrained" and not fetch and can_be_fetched(entry)
    source = None if absent else WeightsSource.find(entry, weights, weights_seed)
    layers = any(one is not None and one.startswith((LAYER, BLOCKS)) for one in features)
    outline = build_outline(entry, image_size, layers=layers)
    chosen = _chosen(features, outline, backbone, partial(backbone_depths, backbone, image_size))
    if source is None:
        return [Identity("", "pretrained", one) for one in chosen], {}
    memory = source.memory(entry, image_size, digests)
    digest = None if rehash else memory.get()
    if digest is None:
        built, heads = build_model(entry, image_size, weights_seed)
        digest = fill_model(entry, built, heads, source, memory)
    kept = KeptClassifier(entry, source, head_weights, digests)
    head = kept.digest(rehash) if LOGITS in chosen else ""
    memories = {"weights": memory, **({LOGITS: kept.memory} if LOGITS in chosen else {})}
    found = [Identity(digest, source.text, one, head if one == LOGITS else "") for one in chosen]
    return found, memories


def _of_module(
    module: nn.Module,
    features: Sequence[str | None],
    weights: str | Path,
    image_size: int,
    name: str | None,
) -> list[Identity]:
    from frostline.extract.backbones.depths import backbone_depths
    from frostline.extract.backbones.own_module import (
        SOURCE,
        OwnModule,
        check_own_weights,
        own_name,
    )
    from frostline.extract.backbones.weights.digests import module_digest

    called = own_name(module, name)
    check_own_weights(called, weights)
    found = partial(backbone_depths, module, image_size, name=name)
    chosen = _chosen(features, OwnModule(module), called, found)
    return [Identity(module_digest(module), SOURCE, one) for one in chosen]


def _chosen(
    features: Sequence[str | None],
    model: nn.Module,
    backbone: str,
    find_depths: Callable[..., Sequence[Depth]],
) -> list[str]:
    """Name the features that are meant, and check that the model has them."""
    from frostline.extract.backbones.features import LOGITS, default_feature, find_feature

    chosen: list[str] = []
    for one in features:
        if one is not None and is_blocks(one):
            chosen += [found.feature for found in find_depths(feature=one) if found.feature]
        else:
            chosen.append(one or default_feature(model))
    for name in chosen:
        if name != LOGITS:
            find_feature(name, model, backbone)
    return list(dict.fromkeys(chosen))
