"""What a run of fine-tuning is: all that decides its numbers, and how it is carried out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from frostline.cache import Manifest
from frostline.cache import run_id as make_run_id
from frostline.cache.tables.class_order import check_order, ordered
from frostline.cache.tables.unfreezing import is_lora
from frostline.cache.versions import numbered
from frostline.finetune.recipe import PAPER, Recipe
from frostline.probe.choices import OnMissing
from frostline.probe.heads.scoring import scored_groups
from frostline.report.statistics.metrics import ORDINAL

if TYPE_CHECKING:
    from frostline.finetune.inputs.activations import Progress
    from frostline.finetune.training.epochs import Epoch

# Takes the id of a run, what its metadata will say that is known by now, and its epochs so far.
OnRows: TypeAlias = Callable[[str, dict[str, Any], Sequence[dict[str, Any]]], None]


def selection_order(
    recipe: Recipe, manifest: Manifest, label: str = "label", split: str | None = "split"
) -> list[str] | None:
    """List the classes of training in their order where the metric that selects goes by it.

    Parameters
    ----------
    split : str or None
        Column of the manifest; None where all images with a label train.

    Raises
    ------
    InputError
        If it does, and the order is neither declared nor plain from numbers.
    """
    if recipe.select not in ORDINAL:
        return None
    images = manifest.images(label, split or "split")
    trained = images["label"][(images["split"] == "train") | (split is None)]
    labels = sorted(trained.dropna().unique())
    names, declared = ordered(labels, manifest.classes)
    check_order(names, declared, recipe.select, f"data set {manifest.meta.get('dataset')!r}")
    return names


def selection(
    recipe: Recipe, manifest: Manifest, label: str = "label", split: str | None = "split"
) -> dict[str, Any]:
    """Give what, besides the recipe, decides which epoch is best, where it is not as in 0.1.

    Parameters and errors are those of `selection_order`.

    Returns
    -------
    dict
        `class_order`, where the metric goes by it, and `validated`, where epochs are scored by
        groups, as by patients whose slices these are (docs/finetuning.md).
    """
    found: dict[str, Any] = {}
    order = selection_order(recipe, manifest, label, split)
    if order is not None:
        found["class_order"] = order
    images = manifest.images(label, split or "split")
    if scored_groups(images[(images["split"] == "val") | (split is None)]) is not None:
        found["validated"] = "groups"
    return found


@dataclass(frozen=True)
class Task:
    """Everything, besides the manifest, that decides the numbers of a run.

    Attributes
    ----------
    dataset, backbone : str
    weights : str
        Digest of the backbone's weights.
    weights_source : str
        Where they came from, in words; not part of the run's identity.
    feature : str
        What the head sees of the backbone.
    pixels : str
        Key of the pixel store.
    mean, std : (float, float, float)
        Normalisation of images in 0 to 1.
    unfreeze : str
        How much trains, as `frostline.finetune.unfreeze.unfreeze` takes it.
    seed : int
    protocol : str
        Name of the recipe's origin, for the tables.
    recipe : Recipe
    precision : str
    label, split : str
        Columns of the manifest.
    crop : int, optional
        Side of what the backbone sees, in pixels, if the pixel store keeps more.
    cv : (int, int), optional
        Folds, and the number of the repeat, instead of the data set's splits.
    on_missing : {"error", "skip"}
        What to do about images that the pixel store lacks (those that could not be read).
    """

    dataset: str
    backbone: str
    weights: str
    weights_source: str
    feature: str
    pixels: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unfreeze: str = "all"
    seed: int = 0
    protocol: str = "paper"
    recipe: Recipe = field(default=PAPER)
    precision: str = "float32"
    label: str = "label"
    split: str = "split"
    crop: int | None = None
    cv: tuple[int, int] | None = None
    on_missing: OnMissing = "error"

    @property
    def depth(self) -> str:
        """How much trains as metadata say it: of adapters with their rank, such as `lora:4 r=8`."""
        rank = f" r={self.recipe.lora_r}" if is_lora(self.unfreeze) else ""
        return f"{self.unfreeze}{rank}"

    def run_id(self, manifest: Manifest) -> str:
        """Give the run's name: readable, with a digest of all that it depends on."""
        config = asdict(self)
        del config["weights_source"]
        if self.cv is None:  # so that ids from before there was one hold
            del config["cv"]
        if self.on_missing == "error":
            del config["on_missing"]
        config["recipe"] = self.recipe.to_dict(self.unfreeze)
        config["manifest"] = manifest.digest(self.label, self.split)
        split = None if self.cv else self.split
        config |= selection(self.recipe, manifest, self.label, split)
        readable = [self.dataset, self.backbone, self.protocol, "unfreeze", self.unfreeze]
        readable += [f"cv{self.cv[0]}", f"r{self.cv[1]}"] if self.cv else []
        slug = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(readable))
        return make_run_id(f"{slug}-seed{self.seed}", numbered("finetune", config))


@dataclass(frozen=True)
class Execution:
    """How a task is carried out, which changes its numbers by rounding at most.

    Attributes
    ----------
    device : str
        "cpu", "cuda", …
    compiled : bool
        Whether to train through `torch.compile`.
    boundary : str
        Whether the output of frozen blocks is computed once and kept: "auto", "on" or "off".
    on_epoch : callable, optional
        Called with each `Epoch`, in the first process.
    on_rows : callable, optional
        Called by the first process whenever `log.csv` is written, with its rows; those of a
        cross-validation are of one fold, and have its number as `fold`.
    said : callable, optional
        Called with a sentence on what is kept, in the first process.
    progress : callable, optional
        Called while it is computed, with how many images are done and how many there are.
    on_images : callable, optional
        Called while it trains, with how many images were trained on and how many all epochs have.
    """

    device: str = "cpu"
    compiled: bool = False
    boundary: str = "auto"
    on_epoch: Callable[[Epoch], None] | None = None
    on_rows: OnRows | None = None
    said: Callable[[str], None] | None = None
    progress: Progress | None = None
    on_images: Progress | None = None
