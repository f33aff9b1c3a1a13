"""A sweep from plan to results: what it selects on, what it tests, what it writes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import PredefinedSplit

from frostline.probe import LogisticProbe, probe_head
from frostline.probe.sweep.run import run_sweep
from frostline.report import read_predictions

from .conftest import HEADS, Build, embeddings, make_table, other_dataset, run, sweep_of


def test_every_candidate_is_validated_and_the_selected_alone_tested(build: Build) -> None:
    place = build()
    results = run(place, seeds=[0, 1])
    table = results.table
    counts = table[table["metric"] == "accuracy"].groupby(["head", "split"]).size().to_dict()
    expected = {"logistic": 3, "ordinal": 3, "adam": 8, "knn": 3, "centroid": 1, "majority": 1}
    for head, count in expected.items():
        assert counts[head, "val"] == count
        assert counts[head, "test"] == (2 if head == "adam" else 1)
    assert len(results.predictions) == 7
    for path in results.predictions:
        result = read_predictions(path)
        assert result.meta["candidates"] == expected[result.meta["head"]] // (
            2 if result.meta["head"] == "adam" else 1
        )
        assert set(result.table["split"]) == {"val", "test"}
    stored = pq.read_table(results.path).to_pandas()
    assert len(stored) == len(table)
    assert list(results.best["candidates"]) == [3 + 3 + 4 + 3 + 1 + 1]


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_selection_is_on_validation(build: Build, metric: str) -> None:
    place = build()
    results = run(place, metric=metric)
    val = results.table[(results.table["split"] == "val") & (results.table["metric"] == metric)]
    for _, mine in val.groupby("head"):
        best = mine["value"].min() if metric == "log_loss" else mine["value"].max()
        assert mine.loc[mine["selected"], "value"].tolist() == [best]
    for path in results.predictions:
        result = read_predictions(path)
        part = result.table[result.table["split"] == "val"]
        probabilities = part.filter(like="prob_").to_numpy()
        if metric == "log_loss":
            again = log_loss(part["label"], probabilities, labels=result.classes)
        else:
            again = accuracy_score(part["label"], part["prediction"])
        assert again == pytest.approx(result.meta["validation"][metric], rel=1e-2)


@pytest.mark.parametrize("head", HEADS)
def test_a_probe_is_a_sweep_of_one_run(build: Build, head: str) -> None:
    place = build()
    alone, new = probe_head(place, "mri", "tiny", head=head, hyperparameters=HEADS[head])
    before = place.predictions(alone).stat().st_mtime_ns
    results = run(place, heads={head: HEADS[head]})
    assert new
    assert [path.stem for path in results.predictions] == [alone]
    assert place.predictions(alone).stat().st_mtime_ns == before
    assert probe_head(place, "mri", "tiny", head=head, hyperparameters=HEADS[head])[1] is False


def test_what_is_selected_and_answered_is_the_estimators(build: Build, table: pd.DataFrame) -> None:
    """`LogisticProbe` with one validation fold goes its own way to the same numbers."""
    X = embeddings(pd.factorize(table["label"])[0])
    place = build(X=X)
    strengths = [1e-3, 0.01, 0.1, 1.0, 10.0]
    done, _ = probe_head(place, "mri", "tiny", hyperparameters={"C": strengths})
    split = table["split"].to_numpy()
    fold = PredefinedSplit(np.where(split[split != "test"] == "train", -1, 0))
    alone = LogisticProbe(Cs=strengths, cv=fold)
    alone.fit(X[split != "test"], table["label"][split != "test"])
    result = read_predictions(place.predictions(done))
    assert result.meta["hyperparameters"]["C"] == alone.C_
    assert result.meta["validation"]["log_loss"] == pytest.approx(-alone.scores_.max(), rel=1e-6)
    written = result.table[result.table["split"] == "test"].filter(like="prob_").to_numpy()
    np.testing.assert_array_equal(alone.predict_proba(X[split == "test"]), written)


def test_adam_in_a_sweep_is_adam_alone(build: Build) -> None:
    place = build()
    results = run(place, metric="accuracy", heads={"adam": {"lr": [1e-2, 1e-3], "epochs": 6}})
    ours = read_predictions(results.predictions[0])
    lr = ours.meta["hyperparameters"]["lr"]
    alone, _ = probe_head(
        place, "mri", "tiny", head="adam", hyperparameters={"lr": lr, "epochs": 6}
    )
    theirs = read_predictions(place.predictions(alone))
    assert (
        ours.meta["hyperparameters"]["best_epoch"] == theirs.meta["hyperparameters"]["best_epoch"]
    )
    np.testing.assert_allclose(
        ours.table.filter(like="prob_"), theirs.table.filter(like="prob_"), atol=1e-5
    )


def test_test_labels_change_no_selection(build: Build, table: pd.DataFrame) -> None:
    first = run(build()).table
    test = table["split"] == "test"
    table.loc[test, "label"] = "grade 0"
    X = embeddings(pd.factorize(make_table()["label"])[0])
    second = run(build(table, X=X)).table
    val = [one[one["split"] == "val"].drop(columns=["run"]) for one in (first, second)]
    pd.testing.assert_frame_equal(*[one.reset_index(drop=True) for one in val])


def test_label_efficiency(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    place = build()
    said: list[str] = []
    sweep = sweep_of(
        heads={"logistic": {"C": [0.01, 1.0]}}, train_groups=[2, 6, 0.5, "all", 400], draws=3
    )
    results = run_sweep(place, sweep, jobs=1, said=said.append)
    assert said[:2] == [
        "mri: 2 training groups are skipped, because every class needs 3.",
        "mri: 400 training groups are skipped, because there are only 36.",
    ]
    counts = results.table[
        (results.table["metric"] == "accuracy") & (results.table["split"] == "test")
    ]
    assert counts.groupby("train_groups", dropna=False).size().tolist() == [3, 3, 1]
    for path in results.predictions:
        meta = read_predictions(path).meta
        assert min(meta["class_counts"].values()) > 0
        assert sum(meta["class_counts"].values()) == 2 * meta["train_groups"]
        assert meta["train_fraction"] == pytest.approx(meta["train_groups"] / 36)


def test_cross_validation(build: Build, table: pd.DataFrame) -> None:
    place = build()
    results = run(place, cv="3x2")
    assert len(results.predictions) == 2 * len(HEADS)
    for path in results.predictions:
        result = read_predictions(path)
        assert sorted(result.table["image_id"]) == sorted(table["image_id"])
        assert set(result.table["split"]) == {"test"}
        assert (result.table.groupby("group_id")["fold"].nunique() == 1).all()
        assert set(result.table["fold"]) == {0, 1, 2}
        assert len(result.meta["hyperparameters"]["folds"]) == 3
        assert result.meta["cv"] == {"folds": 3, "repeat": result.meta["seed"]}
    right = results.table[
        (results.table["split"] == "test") & (results.table["metric"] == "accuracy")
    ].set_index("head")["value"]
    assert right["logistic"].min() > 0.6
    assert right["majority"].max() < 0.5


@pytest.mark.parametrize("head", HEADS)
def test_cross_validation_never_sees_what_it_predicts(
    build: Build, table: pd.DataFrame, head: str
) -> None:
    """Labels that are noise cannot be predicted: any leak would show."""
    noise = np.random.default_rng(3).integers(0, 2, 60)
    table["label"] = np.where(noise[pd.factorize(table["group_id"])[0]] == 1, "b", "a")
    # The two images of a group are the same but for a trifle.
    X = np.repeat(np.random.default_rng(4).normal(size=(60, 24)), 2, axis=0).astype(np.float32)
    place = build(table, X=X + np.float32(1e-3) * np.arange(120)[:, None].astype(np.float32))
    grid = {**HEADS[head], **({"epochs": 30} if head == "adam" else {})}
    results = run(place, heads={head: grid}, cv="4x2", metric="accuracy")
    rows = results.table[
        (results.table["split"] == "test") & (results.table["metric"] == "accuracy")
    ]
    assert 0.3 < rows["value"].mean() < 0.68


def test_another_data_set_is_scored(build: Build) -> None:
    place = build()
    other_dataset(place)
    results = run(place, test_dataset="other")
    theirs = [path for path in results.predictions if path.name.startswith("other-from-mri")]
    assert len(theirs) == len(HEADS)
    result = read_predictions(theirs[0])
    assert len(result.table) == 24
    assert set(result.table["split"]) == {"test"}
    assert (result.meta["dataset"], result.meta["trained_on"]) == ("other", "mri")
    rows = results.table[results.table["test_dataset"] == "other"]
    assert set(rows["head"]) == set(HEADS)
    again = run(place, test_dataset="other")
    pd.testing.assert_frame_equal(again.table, results.table)


def test_edge_of_the_grid_is_said(build: Build) -> None:
    place = build()
    results = run(place, heads={"logistic": {"C": [1e-7, 1e-6, 1e-5]}})
    assert results.warnings == [
        "mri · tiny · pooled · logistic: the best C, 1e-05, lies at the edge of the grid from "
        "1e-07 to 1e-05: a wider grid may find a better one."
    ]
    assert run(place, heads={"logistic": {"C": [1e-5, 100, 1e4]}}).warnings == []
