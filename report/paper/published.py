"""What the paper reports, as facts: its Tables I to IV.

Source: Huang, Zou, Meng, Yue, Zhao, Li, Song, Jimenez, Li and Fu, "Comparative Analysis of ImageNet
Pre-Trained Deep Learning Models and DINOv2 in Medical Imaging Classification", IEEE COMPSAC 2024.
Its intervals are of the bootstrap mean and not of the metric (`docs/paper.md`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

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
# Percent: accuracy, low, high; weighted precision; weighted F1. Recall is accuracy in every row,
# its interval too. Freeze is the paper's word: Y for a frozen backbone, N for a trained one.
_PRINTED = """
# T1
VGG16 N 41.29 41.25 41.32  38.90 38.86 38.93  39.45 39.41 39.48
VGG16 Y 46.94 46.91 46.97  45.26 45.23 45.30  45.57 45.53 45.60
ResNet50 N 38.89 38.86 38.92  38.24 38.20 38.27  38.48 38.44 38.51
ResNet50 Y 38.82 38.78 38.85  38.95 38.92 38.99  38.86 38.83 38.90
DenseNet121 N 46.39 46.36 46.43  46.45 46.42 46.49  46.39 46.35 46.42
DenseNet121 Y 32.00 31.97 32.03  32.20 32.17 32.23  32.00 31.96 32.03
DINOv2-s N 27.78 27.75 27.81  29.90 29.87 29.94  28.48 28.45 28.51
DINOv2-s Y 38.48 38.44 38.51  38.38 38.34 38.41  38.08 38.05 38.12
DINOv2-b N 26.76 26.73 26.79  28.50 28.46 28.53  27.44 27.41 27.47
DINOv2-b Y 40.68 40.65 40.72  42.00 41.97 42.04  41.00 40.97 41.04
# T2
VGG16 N 44.66 44.59 44.72  47.96 47.89 48.03  44.76 44.69 44.82
VGG16 Y 38.51 38.45 38.58  37.80 37.73 37.86  37.98 37.91 38.04
ResNet50 N 50.11 50.05 50.18  51.20 51.14 51.28  49.74 49.67 49.81
ResNet50 Y 37.24 37.18 37.30  37.67 37.60 37.73  37.12 37.05 37.18
DenseNet121 N 40.44 40.38 40.50  40.63 40.57 40.70  40.44 40.37 40.50
DenseNet121 Y 37.44 37.38 37.50  37.35 37.29 37.42  37.02 36.96 37.09
DINOv2-s N 32.39 32.33 32.45  32.13 32.07 32.19  31.81 31.75 31.87
DINOv2-s Y 43.80 43.74 43.87  45.44 45.37 45.51  44.08 44.02 44.15
DINOv2-b N 30.85 30.79 30.91  30.78 30.72 30.85  30.62 30.56 30.69
DINOv2-b Y 42.70 42.63 42.76  46.74 46.66 46.81  42.26 42.19 42.32
# T2 FLAIR
VGG16 N 27.63 27.58 27.68  22.67 22.60 22.74  20.74 20.69 20.79
VGG16 Y 31.24 31.19 31.30  27.63 27.57 27.69  28.21 28.15 28.26
ResNet50 N 40.29 40.23 40.35  37.01 36.95 37.08  37.06 37.01 37.12
ResNet50 Y 28.98 28.93 29.04  27.02 26.96 27.08  25.47 25.42 25.53
DenseNet121 N 36.96 36.90 37.02  37.58 37.51 37.66  32.65 32.59 32.71
DenseNet121 Y 36.62 36.57 36.68  36.95 36.89 37.02  34.23 34.17 34.28
DINOv2-s N 37.63 37.57 37.68  37.10 37.04 37.16  34.86 34.80 34.92
DINOv2-s Y 39.80 39.74 39.86  42.73 42.66 42.80  37.02 36.95 37.08
DINOv2-b N 35.23 35.17 35.28  33.67 33.61 33.73  33.40 33.35 33.46
DINOv2-b Y 39.10 39.04 39.15  47.04 46.96 47.12  35.37 35.31 35.42
# Chest X-ray
VGG16 N 81.40 81.35 81.44  84.37 84.34 84.40  79.82 79.77 79.87
VGG16 Y 78.87 78.82 78.91  83.11 83.08 83.15  76.49 76.44 76.55
ResNet50 N 75.29 75.24 75.34  81.16 81.13 81.19  71.53 71.47 71.59
ResNet50 Y 76.63 76.59 76.68  79.30 79.26 79.34  74.22 74.16 74.28
DenseNet121 N 73.24 73.20 73.29  80.34 80.31 80.37  68.40 68.34 68.46
DenseNet121 Y 79.98 79.93 80.02  83.40 83.37 83.44  78.04 77.99 78.10
DINOv2-s N 80.90 80.86 80.95  82.85 82.81 82.89  79.54 79.49 79.59
DINOv2-s Y 83.82 83.77 83.86  86.97 86.94 86.99  82.54 82.50 82.59
DINOv2-b N 77.38 77.33 77.42  80.29 80.25 80.33  75.07 75.01 75.12
DINOv2-b Y 82.84 82.80 82.88  86.13 86.11 86.16  81.41 81.36 81.46
DINOv2-l N 78.49 78.44 78.54  80.95 80.91 80.99  76.55 76.50 76.61
DINOv2-l Y 83.00 82.96 83.04  86.45 86.43 86.48  81.56 81.51 81.61
# iChallenge-AMD
VGG16 N 80.67 80.59 80.76  73.86 73.72 74.01  75.67 75.56 75.79
VGG16 Y 83.21 83.12 83.29  79.91 79.66 80.15  76.18 76.06 76.30
ResNet50 N 80.66 80.57 80.74  71.95 71.79 72.10  74.76 74.64 74.87
ResNet50 Y 82.53 82.45 82.62  68.21 68.07 68.35  74.67 74.55 74.78
DenseNet121 N 81.19 81.10 81.28  79.00 78.88 79.10  79.60 79.49 79.69
DenseNet121 Y 83.24 83.16 83.32  80.29 80.11 80.47  77.23 77.12 77.34
DINOv2-s N 76.76 76.66 76.85  69.30 69.16 69.43  72.50 72.38 72.61
DINOv2-s Y 87.12 87.05 87.20  86.12 86.03 86.21  85.51 85.42 85.60
DINOv2-b N 79.29 79.19 79.38  76.31 76.19 76.42  77.30 77.19 77.40
DINOv2-b Y 87.16 87.09 87.24  86.71 86.62 86.79  86.73 86.65 86.81
DINOv2-l N 81.88 81.80 81.97  81.58 81.48 81.67  81.60 81.51 81.68
DINOv2-l Y 87.73 87.65 87.80  88.12 88.04 88.19  85.19 85.09 85.28
# HAM10000
VGG16 N 64.83 64.80 64.87  61.07 61.03 61.12  61.97 61.93 62.01
VGG16 Y 67.35 67.32 67.38  64.22 64.18 64.26  64.58 64.54 64.61
ResNet50 N 65.97 65.94 66.01  62.05 62.01 62.09  63.48 63.44 63.52
ResNet50 Y 59.92 59.88 59.96  50.07 50.01 50.12  51.51 51.46 51.55
DenseNet121 N 68.88 68.84 68.91  66.55 66.51 66.59  67.17 67.13 67.20
DenseNet121 Y 66.12 66.08 66.15  61.26 61.21 61.30  62.02 61.98 62.06
DINOv2-s N 69.54 69.51 69.57  69.43 69.39 69.47  68.92 68.89 68.96
DINOv2-s Y 77.33 77.30 77.36  77.13 77.10 77.16  76.70 76.67 76.73
DINOv2-b N 69.70 69.67 69.73  69.10 69.06 69.13  69.02 68.99 69.06
DINOv2-b Y 78.78 78.75 78.81  78.17 78.14 78.20  78.02 77.99 78.06
DINOv2-l N 69.77 69.74 69.81  68.27 68.23 68.31  68.60 68.56 68.63
DINOv2-l Y 78.71 78.68 78.74  79.13 79.10 79.16  78.54 78.51 78.57
"""
PUBLISHED_METRICS = ("accuracy", "precision_weighted", "recall_weighted", "f1_weighted")


def published() -> pd.DataFrame:
    """Give Tables III and IV in long form, as fractions.

    Returns
    -------
    DataFrame
        `table`, `dataset`, `model`, `freeze` (Y, N), `metric`, `estimate`, `low`, `high`.
    """
    rows, dataset = [], ""
    for line in _PRINTED.strip().splitlines():
        if line.startswith("# "):
            dataset = line[2:]
            continue
        model, freeze, *texts = line.split()
        accuracy, precision, f1 = np.array(texts, dtype=np.float64).reshape(3, 3) / 100
        for metric, values in zip(
            PUBLISHED_METRICS, (accuracy, precision, accuracy, f1), strict=True
        ):
            rows.append((DATASETS[dataset].table, dataset, model, freeze, metric, *values))
    names = ["table", "dataset", "model", "freeze", "metric", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=names)
