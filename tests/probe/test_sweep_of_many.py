"""One sweep over data sets, backbones and features, from image files by real commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from processes import MAIN

from frostline.report import read_predictions

SWEEP = """\
datasets: [one, two]
backbones: ["timm:test_vit", "timm:test_resnet"]
features: [pre_logits, cls]
heads: {logistic: {C: [0.01, 1.0]}, knn: {n_neighbors: [1, 5]}}
train_groups: [6, all]
"""


def frostline(place: Path, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments, "--workspace", str(place)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def draw(root: Path, seed: int) -> None:
    """Images of two classes by 30 patients, in folders that give the splits."""
    rng = np.random.default_rng(seed)
    for patient in range(30):
        label = "ab"[patient % 2]
        split = ("train", "train", "train", "val", "test")[patient // 2 % 5]
        folder = root / split / label
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 120, (32, 32, 3)) + 60 * (patient % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"p{patient:02}.png")


@pytest.mark.slow
def test_data_sets_times_backbones_times_features(tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    for number, name in enumerate(("one", "two")):
        draw(tmp_path / name, number)
        frostline(place, "index", name, "--root", str(tmp_path / name))
        for backbone in ("timm:test_vit", "timm:test_resnet"):
            options = ("-d", name, "-b", backbone, "--weights", "random", "--image-size", "32")
            frostline(place, "extract", *options, "--feature", "pre_logits")
        options = ("-d", name, "-b", "timm:test_vit", "--weights", "random", "--image-size", "32")
        frostline(place, "extract", *options, "--feature", "cls")
    file = tmp_path / "many.yaml"
    file.write_text(SWEEP)
    figures = tmp_path / "figures"
    printed, said = frostline(place, "sweep", str(file), "--figures", str(figures))
    assert f"20 files of curves and heat maps in {figures}.\n" in printed
    assert said.splitlines()[0] == (
        "Left out: there are no embeddings of one by timm:test_resnet with feature 'cls' (there is "
        "pre_logits): run `frostline extract --feature cls`."
    )
    table = pq.read_table(next(place.glob("sweeps/many-????????/results.parquet"))).to_pandas()
    test = table[(table["split"] == "test") & (table["metric"] == "accuracy")]
    places = ["dataset", "backbone", "feature", "head"]
    # Ten draws of six groups, and all of them once.
    assert test.groupby(places).size().to_dict() == dict.fromkeys(test.groupby(places).groups, 11)
    assert test[places].drop_duplicates().shape == (12, 4)

    predictions = {path: path.stat().st_mtime_ns for path in (place / "predictions").iterdir()}
    counts: dict[tuple[object, ...], set[str]] = {}
    for path in predictions:
        meta = read_predictions(path).meta
        key = (meta["dataset"], meta["train_groups"], meta["draw"])
        counts.setdefault(key, set()).add(str(meta["class_counts"]))
    # The same draws for every backbone, feature and head.
    assert len(counts) == 22
    assert all(len(found) == 1 for found in counts.values())
    assert len({str(found) for found in counts.values()}) > 2

    frostline(
        place,
        "sweep",
        str(file),
        "--head",
        "centroid",
        "--head",
        "logistic",
        "--grid",
        "logistic.C=0.01,1.0",
        "--name",
        "other",
    )
    after = {path: path.stat().st_mtime_ns for path in (place / "predictions").iterdir()}
    assert len(after) == len(predictions) + 66
    assert all(after[path] == before for path, before in predictions.items())

    drawn = {path.stem for path in figures.glob("*.svg")}
    assert drawn == {
        "efficiency-balanced_accuracy",
        "efficiency-log_loss",
        "validation-one-knn",
        "validation-one-logistic",
        "validation-two-knn",
        "validation-two-logistic",
    }
    assert {path.stem for path in figures.glob("*.pdf")} == drawn
    curves = pd.read_csv(figures / "efficiency.csv")
    assert list(curves) == [*places, "groups", "fraction", "draw", "seed", "metric", "score"]
    assert sorted(curves["groups"].unique()) == [6, 18]
    scores = pd.read_csv(figures / "validation.csv")
    assert list(scores) == [*places, "C", "n_neighbors", "temperature", "score"]
    assert len(scores) == 6 * 4
