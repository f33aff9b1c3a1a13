"""Slices of volumes choose by patient, as they are scored on test images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frostline.cache import Workspace
from frostline.depth.reading import Heads, read_depths
from frostline.probe.heads.scoring import METRICS, score_heads, scored_groups
from frostline.probe.heads.training import Fit, pairs
from frostline.probe.sweep.engine import load
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.selection import inner_scores, select_folds
from frostline.probe.sweep.training_rows import training_rows
from frostline.probe.sweep.validation_scores import read_scores
from frostline.report import Predictions, evaluate, read_predictions
from frostline.report.depth.curve import Place, depth_curves
from frostline.report.predictions import predictions_table

from .conftest import HEADS, Build, embeddings, make_table, run, sweep_of

PLACES = [Place(1, "blocks.0", 0, 1.0)]
# Converged, so that candidates that were trained side by side are as if alone.
LOGISTIC = {"C": [0.01, 1.0, 100.0], "tol": 1e-9, "max_iter": 2000}
SLICES = (1, 2, 9, 3, 14)


def make_volumes(patients: int = 50, mark: str = "#z=") -> pd.DataFrame:
    """Patients of 1 to 14 slices each; one image each where there is no mark of a slice."""
    first = make_table(patients).drop_duplicates("group_id")
    rows = [
        {**row, "image_id": f"{row['group_id']}/t1.nii.gz{mark}{z}"}
        for number, row in enumerate(first.to_dict("records"))
        for z in range(SLICES[number % len(SLICES)])
    ]
    for row in rows:
        name = row["image_id"]
        row["file_key"] = row["content_key"] = (name[:5] + name[-8:]).encode().ljust(16, b"\0")
    return pd.DataFrame(rows)


def place_of(build: Build, table: pd.DataFrame) -> Workspace:
    """Build embeddings that slices of a patient share in part."""
    codes = pd.factorize(table["label"])[0]
    own = embeddings(codes, seed=1)
    patient = pd.factorize(table["group_id"])[0]
    return build(table, 0.5 * own + own[np.unique(patient, return_index=True)[1]][patient])


def scores_of(result: Predictions, metrics: list[str], split: str = "val") -> dict[str, float]:
    found = evaluate([result], split=split, metrics=metrics, ci="percentile", replicates=20)
    mine = found[found["run"] == result.run]
    return dict(zip(mine["metric"], mine["estimate"], strict=True))


def test_what_chooses_is_what_evaluate_says_of_validation(build: Build) -> None:
    place = place_of(build, make_volumes())
    found = run(place, heads={**HEADS, "logistic": LOGISTIC, "ordinal": LOGISTIC})
    table = found.table[found.table["selected"]]
    for path in found.predictions:
        result = read_predictions(path)
        for split in ("val", "test"):
            mine = table[(table["run"] == result.run) & (table["split"] == split)]
            said = dict(zip(mine["metric"], mine["value"], strict=True))
            expected = scores_of(result, list(METRICS), split)
            assert said == pytest.approx(expected, rel=1e-4), (result.run, split)
    assert result.table.loc[result.table["split"] == "val", "group_id"].nunique() == 9


def test_the_table_of_depths_agrees_on_a_split_and_in_folds(build: Build) -> None:
    place = place_of(build, make_volumes())
    key = plan_sweep(place, sweep_of()).runs[0].data.store_key
    for metric in ("balanced_accuracy", "log_loss"):
        read = read_depths(place, "mri", "tiny", [(PLACES[0], key)], Heads(), metric)
        (row,) = depth_curves(read.points, {"tiny": PLACES}, metric=metric).table.to_dict("records")
        (result,) = read.points[0].runs
        assert row["val_estimate"] == pytest.approx(scores_of(result, [metric])[metric])
        assert row["val_units"] == 9
        heads = Heads(cv="3x2")
        read = read_depths(place, "mri", "tiny", [(PLACES[0], key)], heads, metric)
        sweep = heads.sweep("mri", "tiny")
        runs = plan_sweep(place, sweep).runs
        inner = [inner_scores(one, read_scores(place, one), metric) for one in runs]  # type: ignore[arg-type]
        validation = read.points[0].validation
        assert validation is not None
        assert np.mean(validation.scores) == pytest.approx(np.mean(inner))
        assert validation.units == 50


def test_inner_folds_are_scored_as_evaluate_scores_their_images(build: Build) -> None:
    """Each head is fitted here again, alone, and what it answers goes to `evaluate`."""
    place = place_of(build, make_volumes())
    how = {"cv": "3x1", "heads": {"logistic": LOGISTIC}}
    run(place, **how)
    (one,) = plan_sweep(place, sweep_of(**how)).runs
    loaded = load(place, one.data, pooled=True)
    rows = training_rows(one, loaded.images, loaded.embedded)
    scores = read_scores(place, one)
    assert scores is not None
    inner = inner_scores(one, scores, "log_loss")
    meta = {"run": "alone", "dataset": "mri", "classes": loaded.embedded.classes}
    for left_out, choice in enumerate(select_folds(one, scores)):
        others = [pair for pair in pairs(3) if left_out in pair]
        for place_of_other, pair in enumerate(others):
            part = rows.parts[pairs(3).index(pair)]
            held_out = part.held_out[1 if pair[0] == left_out else 0]
            fit = Fit(part.train, choice.candidate, 0)
            (head,) = one.kind.load_trainer().fit(loaded.pool, [fit], one.shared, 0)
            table = predictions_table(
                loaded.embedded.images.iloc[held_out],
                loaded.embedded.classes,
                head.predict_proba(loaded.embedded.X[held_out]),
            )
            expected = scores_of(Predictions(table, meta), ["log_loss"], "test")["log_loss"]
            assert inner[left_out, place_of_other] == pytest.approx(expected, rel=1e-4)


def test_patients_choose_otherwise_than_their_slices(build: Build) -> None:
    found = []
    for mark in ("#z=", ".png-"):
        place = place_of(build, make_volumes(mark=mark))
        (path,) = run(place, heads={"logistic": LOGISTIC}).predictions
        found.append(read_predictions(path).meta["hyperparameters"]["C"])
    assert found == [100.0, 1.0]


def test_one_image_each_is_scored_as_before_to_the_bit() -> None:
    table = make_volumes().drop_duplicates("group_id")
    assert scored_groups(table) is None
    lesions = make_volumes(mark=".png-")
    assert scored_groups(lesions) is None
    mixed = make_volumes()
    mixed.loc[mixed["group_id"] == "p004", "label"] = [f"grade {i % 2}" for i in range(14)]
    assert scored_groups(mixed) is None
    assert scored_groups(mixed[mixed["group_id"] != "p004"]) is not None


def test_a_group_is_the_mean_of_its_images() -> None:
    probabilities = np.array([[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.4, 0.6]]], np.float32)
    codes, groups = np.array([0, 0, 1, 0]), np.array([5, 5, 2, 5])
    found = score_heads(probabilities, codes, groups)
    assert found["accuracy"].tolist() == [1.0]
    expected = -(np.log(1.7 / 3) + np.log(0.8)) / 2
    assert found["log_loss"][0] == pytest.approx(expected)
    assert score_heads(probabilities, codes)["accuracy"].tolist() == [0.5]


def test_draws_shrink_validation_by_patients(build: Build) -> None:
    place = place_of(build, make_volumes())
    found = run(place, heads=["knn"], train_groups=[10], draws=2)
    for path in found.predictions:
        result = read_predictions(path)
        score = scores_of(result, ["log_loss"])["log_loss"]
        assert result.meta["validation"]["log_loss"] == pytest.approx(score)
