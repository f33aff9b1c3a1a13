"""A backbone loaded again, with the very weights that a kept run was made with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from frostline.cache import InputError
from frostline.extract.backbones.backbone import Backbone, load_backbone


class Made(NamedTuple):
    """What a run was made with.

    Attributes
    ----------
    run : str
    backbone, feature : str
    image_size : int
        Side of the images, in pixels.
    source : str
        Where the weights came from: "pretrained", "random, seed S" or "file NAME".
    weights : str
        Their digest.
    head : str
        Digest of the classifier, of the feature `imagenet-logits`.
    """

    run: str
    backbone: str
    feature: str
    image_size: int
    source: str
    weights: str
    head: str = ""


def load_again(
    made: Made,
    *,
    file: str | None = None,
    head_file: str | None = None,
    digests: Path | None = None,
) -> Backbone:
    """Load the backbone of a run.

    Parameters
    ----------
    file, head_file : str, optional
        Files of the weights and of the classifier, where those were used.
    digests : Path, optional
        As of `load_backbone`.

    Raises
    ------
    InputError
        If the weights came from a file and none is given, or they are others now.
    """
    kind, _, seed = made.source.partition(", seed ")
    if file is None and kind not in ("random", "pretrained"):
        raise InputError(
            f"Run {made.run} needs {made.backbone} with weights from {made.source}: give that file "
            "by --weights."
        )
    backbone = load_backbone(
        made.backbone,
        weights=kind if file is None else file,
        weights_seed=int(seed or 0),
        feature=made.feature,
        image_size=made.image_size,
        head_weights=Path(head_file) if head_file else None,
        digests=digests,
    )
    for name, ours, theirs in (
        ("--weights", backbone.weights, made.weights),
        ("--head-weights", backbone.head, made.head),
    ):
        if ours != theirs:
            raise InputError(
                f"Run {made.run} was trained on {made.backbone} with other weights than "
                f"{file or made.source} has here (digest {theirs[:12]}, not {ours[:12]}): give its "
                f"file by {name}."
            )
    return backbone
