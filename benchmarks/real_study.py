"""The study behind docs/results.md: real images, few enough for a CPU.

    python benchmarks/real_study.py DATA FOLDER

Writes FOLDER/chest.csv (a seeded draw of patients of chest_xray's train, and all of its test),
FOLDER/ham10000.csv (a seeded draw of lesions), and FOLDER/study.yaml, which `frostline run
FOLDER/study.yaml --workspace FOLDER/workspace` runs: chest X-rays, skin lesions and slices of
three MRI modalities; frozen, with the last one and three blocks trained, fine-tuned, and from
scratch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from frostline.cache import Workspace
from frostline.extract.index import index_dataset

CHEST_IMAGES = 400  # for training and validation, beside its 624 for testing
SKIN_IMAGES = 1500  # in all
MODALITIES = ("flair", "t1", "t1ce")
BACKBONES = ("effnet-lite0", "effnet-lite1", "effnet-lite2")
SIZE = {"image_size": 128}
TRAINING = {"epochs": 4, "warmup_epochs": 1, "batch_size": 16, "lr": 0.001, **SIZE}
COLUMNS = ["path", "label", "group_id", "split"]


def draw(table: pd.DataFrame, images: int) -> pd.DataFrame:
    """The rows of groups drawn at random, as long as there are no more than `images`."""
    groups = np.random.default_rng(0).permutation(np.sort(table["group_id"].unique()))
    sizes = table.groupby("group_id").size()[groups].cumsum()
    return table[table["group_id"].isin(sizes.index[sizes <= images])]


def draw_images(data: Path, folder: Path) -> None:
    """The tables of the images that the study sees."""
    drawing = Workspace(folder / "drawing")
    chest = index_dataset(drawing, "chest", kind="chest-xray", roots=[data / "chest_xray"]).table
    tested = chest["split"] == "test"
    kept = pd.concat([draw(chest[~tested], CHEST_IMAGES), chest[tested]])
    kept[COLUMNS].to_csv(folder / "chest.csv", index=False)
    skin = index_dataset(
        drawing, "ham10000", kind="ham10000", roots=[data / "ham10000"], test_fraction=0.5
    ).table
    draw(skin, SKIN_IMAGES)[COLUMNS].to_csv(folder / "ham10000.csv", index=False)


def drawn(data: Path, folder: Path, name: str, root: str) -> dict:
    """A data set of the images in a table."""
    columns = {"image": "path", "label": "label", "group": "group_id", "split": "split"}
    return {
        "kind": "table",
        "root": str(data / root),
        "options": {
            "table": str(folder / f"{name}.csv"),
            **{f"{what}_column": column for what, column in columns.items()},
        },
    }


def study(data: Path, folder: Path) -> dict:
    """The study as its file has it."""
    mri = {
        f"lgg-{modality}": {
            "kind": "mri-slices",
            "root": str(data / "glioma_lgg"),
            "options": {
                "image": f"{{patient}}/{{patient}}_{modality}.nii.gz",
                "mask": "{patient}/{patient}_mask.nii.gz",
                "table": "labels.csv",
                "group_column": "patient_id",
                "label_column": "grade",
                "min_roi": 30,
            },
        }
        for modality in MODALITIES
    }
    trained = {"recipe": "standard", **TRAINING}
    return {
        "name": "real",
        "title": "How deep to freeze? Chest X-rays, skin lesions and gliomas on a CPU",
        "datasets": {
            "chest": drawn(data, folder, "chest", "chest_xray"),
            "ham10000": drawn(data, folder, "ham10000", "ham10000"),
            **mri,
        },
        "backbones": list(BACKBONES),
        "protocols": {
            "frozen": {"recipe": "standard", "unfreeze": "none", **SIZE},
            "last block": {"unfreeze": 1, **trained},
            "last 3 blocks": {"unfreeze": 3, **trained},
            "fine-tuned": {"unfreeze": "all", **trained},
            "from scratch": {
                "unfreeze": "all",
                "weights": "random",
                **trained,
                "layer_decay": 1.0,
            },
        },
        "sweeps": {
            "label-efficiency": {
                "protocol": "frozen",
                "heads": ["logistic"],
                "train_groups": [0.25, 0.5, "all"],
                "draws": 5,
            }
        },
        "seeds": [0, 1, 2],
        "primary_metric": "balanced_accuracy",
    }


def main() -> None:
    """Write the tables and the study."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    data, folder = options.data.resolve(), options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    draw_images(data, folder)
    text = yaml.safe_dump(study(data, folder), sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    print(f"frostline run {folder / 'study.yaml'} --workspace {folder / 'workspace'}")


if __name__ == "__main__":
    main()
