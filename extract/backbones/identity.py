"""What names a backbone in keys, found without loading weights whose digest is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from frostline.extract.backbones.architectures import build_model, build_outline
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.features import LAYER, LOGITS, default_feature, find_feature
from frostline.extract.backbones.own_module import SOURCE, OwnModule, module_digest, own_name
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
    backbone: str | nn.Module,
    *,
    weights: str | Path = "pretrained",
    weights_seed: int = 0,
    feature: str | None = None,
    image_size: int = 224,
    head_weights: Path | None = None,
    digests: Path | None = None,
    fetch: bool = True,
    rehash: bool = False,
    name: str | None = None,
) -> Identity:
    """Say what `load_backbone` would give, without loading weights whose digest is remembered.

    Parameters are those of `load_backbone`, and so are the errors.

    Parameters
    ----------
    fetch : bool
        Whether pretrained weights that are not on this machine are fetched. If not, and they can
        be, their digest is "".
    rehash : bool
        Whether files are read again, though their size and time are as they were.
    """
    if isinstance(backbone, nn.Module):
        model = OwnModule(backbone)
        chosen = feature or default_feature(model)
        find_feature(chosen, model, own_name(backbone, name))
        return Identity(module_digest(backbone), SOURCE, chosen)
    entry = resolve(backbone)
    absent = weights == "pretrained" and not fetch and can_be_fetched(entry)
    source = None if absent else WeightsSource.find(entry, weights, weights_seed)
    outline = build_outline(entry, image_size, layers=(feature or "").startswith(LAYER))
    chosen = feature or default_feature(outline)
    if chosen != LOGITS:
        find_feature(chosen, outline, backbone)
    if source is None:
        return Identity("", "pretrained", chosen)
    memory = source.memory(entry, image_size, digests)
    digest = None if rehash else memory.get()
    if digest is None:
        built, heads = build_model(entry, image_size, weights_seed)
        digest = fill_model(entry, built, heads, source, memory)
    kept = KeptClassifier(entry, source, head_weights, digests)
    return Identity(digest, source.text, chosen, kept.digest(rehash) if chosen == LOGITS else "")
