"""Named recipes: what happens to an image before the backbone, and which head follows.

Where a field comes from: *paper* (the text of Huang et al. 2024 says so), *code* (their published
code does), *ours*. The recipes of training carry their tags themselves, in `frostline.finetune`
and `frostline.probe`.

=============  =======================================  ==============================
field          paper                                    standard
=============  =======================================  ==============================
resize         shorter side 256 (*code*; text: 256)     the backbone's own (*ours*)
crop           centre 224 (*paper*)                     the backbone's own (*ours*)
normalisation  ImageNet mean and std (*paper*)          the backbone's own (*ours*)
frozen head    Adam on cached embeddings (*paper*)      L2 logistic regression (*ours*)
=============  =======================================  ==============================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from frostline.extract.images.geometry import Geometry
    from frostline.probe.choices import OnMissing

Protocol: TypeAlias = Literal["paper", "standard"]
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PROTOCOL_HEADS = {"paper": "adam", "standard": "logistic"}


@dataclass(frozen=True)
class Inputs:
    """Geometry and normalisation of an image before the backbone sees it."""

    geometry: Geometry
    normalisation: dict[str, list[float]]


def check_protocol(protocol: str) -> str:
    """Return the protocol's name, or raise InputError that lists the names."""
    if protocol not in PROTOCOL_HEADS:
        raise InputError(
            f"There is no protocol {protocol!r}: choose {' or '.join(PROTOCOL_HEADS)}."
        )
    return protocol


def choose_head(head: Any, protocol: str, seed: int | None) -> Any:
    """Return a head, or the protocol's if None.

    Raises
    ------
    InputError
        If there is no such protocol or head, or a seed is given that the head does not depend on.
    """
    from frostline.probe.heads.registry import find_head

    chosen = PROTOCOL_HEADS[check_protocol(protocol)] if head is None else head
    # The same head under another seed would be a second run of it, with equal numbers.
    if seed is not None and isinstance(chosen, str) and not find_head(chosen).seeded:
        raise InputError(f"Head {chosen!r} does not depend on a seed: leave --seed out.")
    return chosen


def missing_images(on_error: str) -> OnMissing:
    """Say what training does about images that a store lacks."""
    if on_error not in ("stop", "skip"):
        raise InputError(f"There is no --on-error {on_error!r}: choose stop or skip.")
    return "skip" if on_error == "skip" else "error"


def protocol_inputs(
    protocol: str,
    backbone: str | nn.Module,
    image_size: int | None,
    reading: dict[str, Any],
    digests: Path | None = None,
) -> Inputs:
    """Find geometry and normalisation of a protocol for a backbone.

    Parameters
    ----------
    image_size : int, optional
        Side of the crop in pixels; the paper's 224, or the backbone's own, if not given.
    reading : dict
        The data set's reading options, whose `window` and `spacing` are part of the geometry.
    digests : Path, optional
        The workspace's file of digests, beside which is remembered what libraries say.
    """
    from frostline.extract.backbones.preprocessing import UNKNOWN, remembered_preprocessing
    from frostline.extract.images.geometry import Geometry

    if check_protocol(protocol) == "paper":
        size = image_size or 224
        geometry = Geometry("shorter", round(size * 256 / 224), size)
        return Inputs(geometry.with_options(reading), IMAGENET)
    own = UNKNOWN
    if isinstance(backbone, str):
        own = remembered_preprocessing(backbone, digests)
    hint = own.geometry()
    size = image_size or hint["size"]
    resize_to = int(size / hint["crop_pct"])
    geometry = Geometry(own.resize, resize_to, size, hint["interpolation"])
    normalisation = {"mean": list(own.mean), "std": list(own.std)}
    return Inputs(geometry.with_options(reading), normalisation)


def transform_inputs(
    transform: Any, normalisation: dict[str, list[float]], reading: dict[str, Any]
) -> Inputs:
    """Give what a user's own transform makes: floats as they are, 8 bits normalised.

    Parameters
    ----------
    transform : callable or frostline.extract.images.transform.Transform
    normalisation : dict
        Of the protocol, for 8 bits.
    reading : dict
        As in `protocol_inputs`.
    """
    from frostline.extract.images.transform import as_geometry

    geometry = as_geometry(transform).with_options(reading)
    as_it_is = {"mean": [0.0] * 3, "std": [1.0] * 3}
    return Inputs(geometry, as_it_is if geometry.dtype.kind == "f" else normalisation)
