"""What is known of depths before anything is computed: places, folds, and what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frostline.cache.errors import InputError
from frostline.cache.keys import BLOCKS
from frostline.cache.tables.unfreezing import parse_unfreezing
from frostline.cache.tables.words import counted
from frostline.probe.embedded import check_labels
from frostline.probe.heads.scoring import METRICS
from frostline.report.depth.curve import Place
from frostline.report.statistics.scores import ROC_METRICS

if TYPE_CHECKING:
    import pandas as pd

    from frostline.protocols import Inputs
    from frostline.stages import Columns, Network

AUTO, NONE = "auto", "none"
SPLIT = "split"
# Under so many groups a single split cannot answer.
FEW_GROUPS, FOLDS, LEAST_FOLDS, REPEATS = 100, 5, 3, 3


def depth_places(network: Network, inputs: Inputs) -> list[tuple[Place, str | None]]:
    """List the places of a backbone from input to output, and what reads each, if anything does."""
    from frostline.extract.backbones.depths import backbone_depths

    size, feature = inputs.geometry.crop, network.feature or BLOCKS
    return [
        (Place(one.number, one.block, one.behind, one.cost), one.feature)
        for one in backbone_depths(network.backbone, size, feature, network.name)
    ]


def check_trained(unfreeze: str, network: Network, inputs: Inputs) -> None:
    """Refuse to train more last blocks than lie behind the first place."""
    asked = parse_unfreezing(unfreeze)
    if asked is None or not asked.blocks:
        return
    places = [place for place, _ in depth_places(network, inputs)]
    if asked.blocks not in [place.behind for place in places]:
        raise InputError(
            f"Backbone {network.backbone_name!r} has {places[0].behind} blocks behind its first, "
            f"fewer than the {unfreeze} of --train: give a smaller number, or all."
        )


def check_images(images: pd.DataFrame, dataset: str, columns: Columns, metric: str) -> None:
    """Refuse splits on which no depth can be chosen, or scored by the metric."""
    check_labels(images, dataset, columns.label, columns.split)
    labelled = images[images["label"].notna()]
    if not (labelled["split"] == "test").any():
        raise InputError(
            f"Data set {dataset!r} has no test image with a label (columns {columns.label!r} and "
            f"{columns.split!r}) to score the choice on: index it again with a test part, or name "
            "other columns."
        )
    for split, what in (("val", "chosen"), ("test", f"scored by {metric}")):
        classes = labelled.loc[labelled["split"] == split, "label"].unique()
        if len(classes) == 1 and (split == "val" or metric in ROC_METRICS):
            raise InputError(
                f"Data set {dataset!r} has {split} images of class {classes[0]!r} alone, by which "
                f"no depth can be {what}: index it again with --resplit, or give --cv 5x3."
            )


def choose_folds(
    images: pd.DataFrame, dataset: str, metric: str, cv: str, split: str = SPLIT
) -> tuple[str | None, str]:
    """Choose what answers for a data set: its splits, or repeated cross-validation.

    Parameters
    ----------
    images : DataFrame
        `Manifest.images`.
    metric : str
        Which chooses.
    cv : str
        `KxR`, `none`, or `auto`: 5x3 of under 100 groups, with fewer folds where a class has fewer
        groups, unless a column of splits was named.
    split : str
        The column of splits; folds are of all images, and go with no other than the data set's.

    Returns
    -------
    folds : str or None
        `KxR`; None for the splits.
    said : str
        What was chosen, "" where there was no choice.
    """
    if cv == NONE:
        return None, ""
    # What this column leaves without a label neither trains nor scores.
    labelled = images[images["label"].notna()]
    groups, of_class = int(labelled["group_id"].nunique()), labelled.groupby("label")["group_id"]
    fewest = int(of_class.nunique().min())
    if cv != AUTO:
        if fewest < int(cv.partition("x")[0]):
            rare = of_class.nunique().idxmin()
            raise InputError(
                f"Class {rare!r} of data set {dataset!r} has {counted(fewest, 'group')}, too few "
                f"for --cv {cv}: ask for fewer folds, or give --cv none."
            )
        if split != SPLIT:
            raise InputError(
                "--split does not go with --cv, whose folds are all the images with a label: "
                "leave it out, or give --cv none."
            )
        return cv, ""
    if groups >= FEW_GROUPS:
        return None, ""
    held = counted(groups, "group") + " with a label" * (len(labelled) < len(images))
    few, why = f"Data set {dataset!r} has {held}, under {FEW_GROUPS}", ""
    if split != SPLIT:
        why = f"the splits of column {split!r} were asked for"
    elif metric not in METRICS:
        why = f"folds do not choose by {metric}"
    elif fewest < LEAST_FOLDS:
        why = "its rarest class has too few groups for cross-validation"
    if why:
        return None, f"{few}: one split says little, and {why}."
    folds = f"{min(FOLDS, fewest)}x{REPEATS}"  # a class has an image in every fold
    return folds, (
        f"{few}, so that one split cannot answer: {folds} cross-validation does (`--cv none` takes "
        "its splits)."
    )
