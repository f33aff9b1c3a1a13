"""Augmented views of images, which are embedded next to the images themselves (docs/views.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from frostline.cache.errors import InputError
from frostline.cache.validation import validated
from frostline.extract.augmentation.settings import AUGMENTATIONS, STRENGTHS, Augmentation

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Of = Literal["train", "all"]


@dataclass(frozen=True)
class Views:
    """Views 1 to `count` of each image, by one seed; view 0 is the image itself.

    Attributes
    ----------
    count : int
    augmentation : Augmentation
        What changes an image: the fields of a recipe of fine-tuning.
    seed : int
        With the content of an image and the number of its view it decides all that is random.
    of : {"train", "all"}
        Whose views: of the images in split train of column `split`, or of every image.
    split : str
        Column of the manifest.
    """

    count: int
    augmentation: Augmentation
    seed: int = 0
    of: Of = "train"
    split: str = "split"

    def what(self) -> dict[str, Any]:
        """Say what changes a view, and the seed, as plain JSON values."""
        changes = self.augmentation.model_dump(mode="json", exclude=self.augmentation.idle())
        return {"seed": self.seed, **changes}

    def spec(
        self, plain: Mapping[str, Any], pixels: Mapping[str, Any], number: int
    ) -> dict[str, Any]:
        """Give the spec of the store of a view.

        Parameters
        ----------
        plain : mapping
            The spec of the store of the images themselves.
        pixels : mapping
            That of the pixels that views are made of, which have a margin for random crops.
        """
        view = {"number": number, **self.what()}
        seen = plain["pixels"]["geometry"]["crop"]
        if pixels["geometry"]["crop"] != seen:
            view["crop"] = seen
        return {**plain, "pixels": dict(pixels), "view": view}

    def seen(
        self, numbers: Iterable[int], crop: int, keys: np.ndarray, pixels: Tensor
    ) -> Iterator[Tensor]:
        """Yield views of images, one number after the other.

        Parameters
        ----------
        numbers : iterable of int
        crop : int
            Side of what the backbone sees, in pixels.
        keys : uint8 [n, 16]
            Content keys.
        pixels : uint8 [n, h, h] or [n, h, h, 3]

        Yields
        ------
        uint8 [n, crop, crop] or [n, crop, crop, 3]
        """
        import torch

        from frostline.extract.augmentation.augment import augment
        from frostline.extract.augmentation.chance import view_chance

        for number in numbers:
            # Places of pixels are computed in float32, whatever the backbone computes in.
            with torch.autocast(pixels.device.type, enabled=False):
                chance = view_chance(keys, self.seed, number)
                yield augment(pixels, self.augmentation, crop, chance)


def make_views(
    count: int,
    fields: Mapping[str, Any],
    seed: int | None = None,
    of: Of = "train",
    split: str = "split",
    options: Mapping[str, str] | None = None,
) -> Views | None:
    """Make the views that someone asked for, if any.

    Parameters
    ----------
    count : int
    fields : mapping
        Of `Augmentation`; values may be text.
    seed, of, split
        As of `Views`; the seed is 0 if None.
    options : mapping, optional
        How fields were typed as options of a command.

    Returns
    -------
    Views, or None where `count` is 0.

    Raises
    ------
    InputError
        If a field cannot be, nothing would change an image, or there are no views that it is for.
    """
    if not count:
        if fields or seed is not None or of != "train" or split != "split":
            raise InputError(
                "What changes images, their seed, their split and whose views they are is for "
                "--views: give it too, or leave them out."
            )
        return None
    augmentation = validated(Augmentation, fields, "An augmentation", "field", options)
    if not augmentation.augments:
        raise InputError(
            "--views needs something that changes images, as of fine-tuning: augmentation (of "
            f"{', '.join(AUGMENTATIONS)}), or {', '.join(STRENGTHS)}."
        )
    return Views(count, augmentation, seed or 0, of, split)
