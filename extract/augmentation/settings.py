"""Which random changes, and how strong: the same fields in fine-tuning and for cached views."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from frostline.extract.images.geometry import Geometry

# In the order in which they are applied.
CROPS = ("random_crop", "random_resized_crop")
AUGMENTATIONS = (*CROPS, "horizontal_flip", "vertical_flip", "color_jitter", "rand_augment")
# Strengths of an affine change, and of all augmentations that have one.
WARPS = ("degrees", "translate", "scale", "shear")
STRENGTHS = (*WARPS, "gaussian_noise")


def listed(value: Any) -> Any:
    """Read `a, b` as two values and `none` as no value, as people type them."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    parts = parts if isinstance(parts, list | tuple) else [parts]
    return [] if parts == ["none"] else parts


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Put augmentations in the order in which they are applied, each once."""
    if not set(names) <= set(AUGMENTATIONS):
        raise ValueError(f"none, or some of {', '.join(AUGMENTATIONS)}")
    if set(CROPS) <= set(names):
        raise ValueError("one of the crops or the other")
    return tuple(name for name in AUGMENTATIONS if name in names)


def _rising(scale: tuple[float, ...]) -> tuple[float, ...]:
    if len(scale) != 2 or scale[0] > scale[1]:
        raise ValueError("two numbers, the smaller one first")
    return scale


Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Scale = Annotated[tuple[Positive, ...], BeforeValidator(listed), AfterValidator(_rising)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_in_order)]


def says(source: Literal["paper", "code", "ours"], default: Any, **rule: Any) -> Any:
    """Give a field whose default is said so by the paper's text or code, or by us."""
    return Field(default, json_schema_extra={"from": source}, **rule)


class Augmentation(BaseModel):
    """Random changes of images, as fields; the defaults change nothing.

    Values may be text, as they are typed on a command line.

    Attributes
    ----------
    augmentation : tuple of str
        Of `AUGMENTATIONS`, applied in that order.
    degrees, shear : float
        Most degrees by which images are rotated, and sheared along their rows, either way.
    translate : float
        Most by which they are moved, as a share of their side.
    scale : (float, float)
        Least and greatest factor by which they are made larger.
    gaussian_noise : float
        Standard deviation of noise, as a share of the brightest value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    augmentation: Names = says("code", ())
    degrees: float = says("code", 0.0, ge=0, le=180)
    translate: Share = says("code", 0.0)
    scale: Scale = says("code", (1.0, 1.0))
    shear: float = says("code", 0.0, ge=0, lt=90)
    gaussian_noise: Share = says("code", 0.0)

    @property
    def augments(self) -> bool:
        """Whether images are changed by chance."""
        return bool(self.augmentation or self._strengths())

    @property
    def warps(self) -> bool:
        """Whether images are rotated, moved, scaled or sheared."""
        return bool(self._strengths() & set(WARPS))

    def idle(self) -> set[str]:
        """Name the strengths with which nothing changes."""
        return set(STRENGTHS) - self._strengths()

    def _strengths(self) -> set[str]:
        """Name the strengths with which something changes."""
        fields = type(self).model_fields
        return {name for name in STRENGTHS if getattr(self, name) != fields[name].default}

    @property
    def crops(self) -> bool:
        """Whether images are cropped by chance, from a square larger than what is seen."""
        return bool(set(CROPS) & set(self.augmentation))


def kept_geometry(geometry: Geometry, changes: Augmentation) -> Geometry:
    """Give the geometry of the pixel store: for random crops, the square without the crop.

    Its margin is a multiple of two pixels on each side: with others the centre of a centre is not
    always the centre, because places of crops are rounded half to even.
    """
    if not changes.crops or geometry.resize_to <= geometry.crop:
        return geometry
    margins = (geometry.resize_to - geometry.crop) // 4 * 4
    return replace(geometry, crop=geometry.crop + margins)


def no_margin(side: int) -> str:
    """Say that a random crop of what the backbone sees, a square of this side, is not random."""
    return (
        f"There is no margin for random_crop: images have {side} pixels, and the backbone sees "
        "them all. Use random_resized_crop."
    )
