"""The named recipes: what happens to an image before the backbone, and which head follows.

Where a field comes from: *paper* (the text of Huang et al. 2024 says so), *code* (their published code
does), *ours*. The recipe of training has its tags in `frostline.finetune.Recipe` and
`frostline.probe.AdamProbe`.

=================  =======================================  =======================================
field              paper                                    standard
=================  =======================================  =======================================
resize             shorter side 256 (*code*; the text: 256)  the backbone's own (*ours*)
crop               centre 224 (*paper*)                     the backbone's own (*ours*)
normalisation      ImageNet mean and std (*paper*)          the backbone's own (*ours*)
frozen head        Adam on cached embeddings (*paper*)      L2 logistic regression (*ours*)
=================  =======================================  =======================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError

if TYPE_CHECKING:
    from frostline.extract.geometry import Geometry

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HEADS = {"paper": "adam", "standard": "logistic"}


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before the backbone."""

    geometry: Geometry
    normalisation: dict[str, list[float]]


def check_protocol(protocol: str) -> str:
    """Return the protocol's name or raise InputError listing the names."""
    if protocol not in HEADS:
        raise InputError(f"There is no protocol {protocol!r}: choose {' or '.join(HEADS)}.")
    return protocol


def preprocessing(protocol: str, own: dict[str, Any], image_size: int | None) -> Preprocessing:
    """Geometry and normalisation of a protocol for a backbone.

    Parameters
    ----------
    own : dict
        The backbone's own: `size`, `crop_pct`, `interpolation`, `mean`, `std`.
    image_size : int, optional
        Side of the crop in pixels; the paper's 224, or the backbone's own, if not given.
    """
    from frostline.extract.geometry import Geometry

    if check_protocol(protocol) == "paper":
        size = image_size or 224
        return Preprocessing(Geometry("shorter", round(size * 256 / 224), size), IMAGENET)
    size = image_size or own["size"]
    geometry = Geometry(
        "shorter",
        int(size / own["crop_pct"]),
        size,
        own["interpolation"] if own["interpolation"] in ("bilinear", "bicubic") else "bicubic",
    )
    return Preprocessing(geometry, {"mean": list(own["mean"]), "std": list(own["std"])})
