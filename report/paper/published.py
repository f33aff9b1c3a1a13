"""What the paper reports, as facts: its Tables I to IV.

Source: Huang, Zou, Meng, Yue, Zhao, Li, Song, Jimenez, Li and Fu, "Comparative Analysis of ImageNet
Pre-Trained Deep Learning Models and DINOv2 in Medical Imaging Classification", IEEE COMPSAC 2024.
Its intervals are of the bootstrap mean and not of the metric (`docs/paper.md`).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from frostline.report.statistics.metrics import PAPER_METRICS

SOURCE = "Huang, Zou et al., IEEE COMPSAC 2024"


@dataclass(frozen=True)
class PaperDataset:
    """A data set of Tables I and II: images (slices) of each class in train and test; patients."""

    name: str
    table: str
    train: dict[str, int]
    test: dict[str, int]
    patients: tuple[int, int] | None = None

    @property
    def n_test(self) -> int:
        """Images of the test set."""
        return sum(self.test.values())


DATASETS = {
    one.name: one
    for one in (
        PaperDataset(
            "T1",
            "III",
            {"Grade2": 1392, "Grade3": 1198, "Grade4": 1232},
            {"Grade2": 510, "Grade3": 457, "Grade4": 646},
            (70, 30),
        ),
        PaperDataset(
            "T2",
            "III",
            {"Grade2": 404, "Grade3": 330, "Grade4": 327},
            {"Grade2": 179, "Grade3": 139, "Grade4": 139},
            (70, 31),
        ),
        PaperDataset(
            "T2 FLAIR",
            "III",
            {"Grade2": 532, "Grade3": 491, "Grade4": 478},
            {"Grade2": 196, "Grade3": 179, "Grade4": 201},
            (25, 11),
        ),
        PaperDataset(
            "Chest X-ray",
            "IV",
            {"Normal": 1341, "Pneumonia": 3875},
            {"Normal": 234, "Pneumonia": 390},
        ),
        PaperDataset(
            "iChallenge-AMD", "IV", {"AMD": 62, "Non-AMD": 183}, {"AMD": 27, "Non-AMD": 128}
        ),
        PaperDataset(
            "HAM10000",
            "IV",
            {
                "AKIEC": 327,
                "BCC": 514,
                "BKL": 1099,
                "DF": 115,
                "MEL": 1113,
                "NV": 6705,
                "VASC": 142,
            },
            {"AKIEC": 43, "BCC": 93, "BKL": 217, "DF": 44, "MEL": 171, "NV": 909, "VASC": 35},
        ),
    )
}
# Percent. Recall is accuracy in every row, its interval too. Freeze is the paper's word: Y for a
# frozen backbone, N for a trained one.
TABLES = Path(__file__).with_name("published.csv")


def published() -> pd.DataFrame:
    """Give Tables III and IV in long form, as fractions.

    Returns
    -------
    DataFrame
        `table`, `dataset`, `model`, `freeze` (Y, N), `metric`, `estimate`, `low`, `high`.
    """
    rows = []
    for row in csv.DictReader(TABLES.read_text(encoding="utf-8").splitlines()):
        table = DATASETS[row["dataset"]].table
        for metric in PAPER_METRICS:
            name = "accuracy" if metric == "recall_weighted" else metric
            values = (float(row[f"{name}{bound}"]) / 100 for bound in ("", "_low", "_high"))
            rows.append((table, row["dataset"], row["model"], row["freeze"], metric, *values))
    names = ["table", "dataset", "model", "freeze", "metric", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=names)
