"""The study behind docs/results.md: real images, read at every depth, trained as far as CPUs go.

    python benchmarks/real_study.py DATA FOLDER

Writes FOLDER/chest-by-patient.csv and FOLDER/study.yaml, and prints the commands that run the study
in FOLDER/workspace: every reading, and the trainings that two cores do in two hours. DATA holds
`chest_xray`, `ham10000` and `glioma_lgg` (docs/datasets.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from frostline.cache import Workspace
from frostline.extract.index import index_dataset

MODALITIES = ("flair", "t1", "t1ce")
BACKBONES = ("effnet-lite0", "effnet-lite1", "effnet-lite2")
COLUMNS = {"image": "path", "label": "label", "group": "group_id"}
READING = {"feature": "blocks", "train": [1, 3, "all"], "image_size": 224}
TRAINING = {"epochs": 4, "warmup_epochs": 1, "lr": 0.001}
# One backbone, as far as two cores go in an hour beside the readings.
TRAINED = (
    "*/effnet-lite0/depth:1",
    "chest/effnet-lite0/depth:3",
    "chest/effnet-lite0/depth:all",
    "ham10000/effnet-lite0/depth:3",
)


def by_patient(data: Path, folder: Path) -> dict[str, Any]:
    """Write the chest X-rays without their own split, as a table, and give them as a data set."""
    indexed = index_dataset(
        Workspace(folder / "drawing"), "chest", kind="chest-xray", roots=[data / "chest_xray"]
    )
    table = folder / "chest-by-patient.csv"
    indexed.table[list(COLUMNS.values())].to_csv(table, index=False)
    columns = {f"{what}_column": column for what, column in COLUMNS.items()}
    options = {"table": str(table), **columns}
    return {"kind": "table", "root": str(data / "chest_xray"), "options": options}


def study(data: Path, folder: Path) -> dict[str, Any]:
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
    return {
        "name": "real",
        "title": "Where to read, where to train: chest X-rays, skin lesions and gliomas",
        "datasets": {
            "chest": {"kind": "chest-xray", "root": str(data / "chest_xray")},
            "chest-by-patient": by_patient(data, folder),
            "ham10000": {"kind": "ham10000", "root": str(data / "ham10000"), "test_fraction": 0.3},
            **mri,
        },
        "backbones": list(BACKBONES),
        "recipe": "standard",
        "protocols": {"depth": {**READING, **TRAINING}},
        "primary_metric": "balanced_accuracy",
        "engine": "onnx",
    }


def main() -> None:
    """Write the study, and say how it is run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    data, folder = options.data.resolve(), options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(study(data, folder), sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    command = f"frostline run {folder / 'study.yaml'} --workspace {folder / 'workspace'}"
    only = " ".join(f"--only '{one}'" for one in ("*/*/depth:read", *TRAINED))
    print(f"{command} {only}")


if __name__ == "__main__":
    main()
