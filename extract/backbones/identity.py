"""What names a backbone in keys, found without loading weights whose digest is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from frostline.cache import InputError
from frostline.cache.keys import BLOCKS, is_blocks
from frostline.extract.backbones.architectures import build_model, build_outline
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.depths import Depth, backbone_depths
from frostline.extract.backbones.features import LAYER, LOGITS, default_feature, find_feature
from frostline.extract.backbones.own_module import (
    SOURCE,
    OwnModule,
    check_own_weights,
    own_name,
)
from frostline.extract.backbones.weights.digests import module_digest
from frostline.extract.backbones.weights.pretrained import can_be_fetched
from frostline.extract.backbones.weights.source import KeptClassifier, WeightsSource, fill_model


class Identity(NamedTuple):
    """The parts of a backbone that go into keys, and where its weights come from.

    Attributes
    ----------
    weights : str
        Digest of its tensors; "" where nobody has them yet.
    weights_source : str
        "pretrained", "file NAME", "random, seed S" or "own module".
    feature : str
        What is taken as the embedding.
    head : str
        Digest of the classifier, where the feature is `imagenet-logits`.
    """

    weights: str
    weights_source: str
    feature: str
    head: str = ""


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
    found = partial(backbone_depths, backbone, image_size, name=name)
    if isinstance(backbone, nn.Module):
        called = own_name(backbone, name)
        check_own_weights(called, weights)
        chosen = _chosen(features, OwnModule(backbone), called, found)
        return [Identity(module_digest(backbone), SOURCE, one) for one in chosen]
    entry = resolve(backbone)
    absent = weights == "pretrained" and not fetch and can_be_fetched(entry)
    source = None if absent else WeightsSource.find(entry, weights, weights_seed)
    layers = any(one is not None and one.startswith((LAYER, BLOCKS)) for one in features)
    outline = build_outline(entry, image_size, layers=layers)
    chosen = _chosen(features, outline, backbone, found)
    if source is None:
        return [Identity("", "pretrained", one) for one in chosen]
    memory = source.memory(entry, image_size, digests)
    digest = None if rehash else memory.get()
    if digest is None:
        built, heads = build_model(entry, image_size, weights_seed)
        digest = fill_model(entry, built, heads, source, memory)
    kept = KeptClassifier(entry, source, head_weights, digests)
    head = kept.digest(rehash) if LOGITS in chosen else ""
    return [Identity(digest, source.text, one, head if one == LOGITS else "") for one in chosen]


def _chosen(
    features: Sequence[str | None],
    model: nn.Module,
    backbone: str,
    find_depths: Callable[..., Sequence[Depth]],
) -> list[str]:
    """Name the features that are meant, and check that the model has them."""
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
