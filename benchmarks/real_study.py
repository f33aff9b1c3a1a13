"""The study behind docs/results.md: real images, few enough for a CPU.

    python benchmarks/real_study.py DATA FOLDER

Writes FOLDER/chest.csv (a seeded draw of patients of chest_xray's train, and all of its test),
and FOLDER/study.yaml, which `frostline run FOLDER/study.yaml --workspace FOLDER/workspace` runs:
chest X-rays and slices of three MRI modalities; frozen, with one block trained, fine-tuned, and
from scratch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml

from frostline.cache import Workspace
from frostline.extract.index import index_dataset

TRAIN_IMAGES = 400
MODALITIES = ("flair", "t1", "t1ce")
SMALL = ("timm:test_vit", "timm:test_resnet")  # their weights are not in any package
SIZE = {"image_size": 128}
TRAINING = {"epochs": 3, "lr": 0.0003, **SIZE}


def draw_chest(data: Path, folder: Path) -> None:
    """A table of patients drawn from train until there are enough images, and the test images."""
    root = data / "chest_xray"
    manifest = index_dataset(
        Workspace(folder / "drawing"), "chest", kind="chest-xray", roots=[root]
    )
    table = manifest.table
    groups = table.loc[table["split"] != "test", "group_id"].unique()
    order = np.random.default_rng(0).permutation(np.sort(groups))
    sizes = table[table["split"] != "test"].groupby("group_id").size()[order].cumsum()
    drawn = sizes.index[sizes <= TRAIN_IMAGES]
    kept = table[(table["split"] == "test") | table["group_id"].isin(drawn)]
    kept[["path", "label", "group_id", "split"]].to_csv(folder / "chest.csv", index=False)


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
    chest = {
        "kind": "table",
        "root": str(data / "chest_xray"),
        "options": {
            "table": str(folder / "chest.csv"),
            "image_column": "path",
            "label_column": "label",
            "group_column": "group_id",
            "split_column": "split",
        },
    }
    return {
        "name": "real",
        "title": "How deep to freeze? Chest X-rays and gliomas on a CPU",
        "datasets": {"chest": chest, **mri},
        "backbones": ["effnet-lite0", *({"name": name, "weights": "random"} for name in SMALL)],
        "protocols": {
            "frozen": {"recipe": "paper", "unfreeze": "none", "head": "adam", **SIZE},
            "last block": {"recipe": "paper", "unfreeze": 1, **TRAINING},
            "fine-tuned": {"recipe": "paper", "unfreeze": "all", **TRAINING},
            "from scratch": {"recipe": "paper", "unfreeze": "all", "weights": "random", **TRAINING},
        },
        "seeds": [0, 1, 2],
    }


def main() -> None:
    """Write the table and the study."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    data, folder = options.data.resolve(), options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    draw_chest(data, folder)
    text = yaml.safe_dump(study(data, folder), sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    print(f"frostline run {folder / 'study.yaml'} --workspace {folder / 'workspace'}")


if __name__ == "__main__":
    main()
