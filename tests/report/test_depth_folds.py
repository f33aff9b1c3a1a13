"""Depth chosen in every fold anew: its score is honest, where that of the best point is not."""

from __future__ import annotations

import numpy as np
import pytest
from depth_runs import COSTS, PLACES, depth_run

from frostline.report import Predictions, evaluate
from frostline.report.depth.chart import depth_chart
from frostline.report.depth.choice import fold_errors
from frostline.report.depth.curve import Point, Validation, depth_curves
from frostline.report.depth.folds import choose_by_folds, chosen_run
from frostline.report.depth.sentences import depth_sentences
from frostline.report.figures.depth import depth_figure
from frostline.report.statistics.seeds import pool_folds

BACKBONE = "effnet-lite0"
FOLDS, REPEATS = 5, 3
COST = np.array(COSTS)


def folded(skills, patients=60) -> list[list[Predictions]]:
    """Out-of-fold runs: of each depth one for each repeat."""
    runs = []
    for skill, place in zip(skills, PLACES, strict=True):
        mine = []
        for repeat in range(REPEATS):
            about = {"feature": place.block, "cv": {"folds": FOLDS, "repeat": repeat}}
            run = depth_run(skill, repeat, patients=patients, **about)
            patient = run.table["group_id"].str.removeprefix("patient-").astype(int)
            table = run.table.assign(split="test", fold=(patient + repeat) % FOLDS)
            mine.append(Predictions(table, run.meta))
        runs.append(mine)
    return runs


def inner_of(runs, repeat: int) -> np.ndarray:
    """Made-up inner scores: those of each depth on other folds."""
    found = []
    for mine in runs:
        table = mine[repeat].table
        right = (table["label"] == table["prediction"]).groupby(table["fold"]).mean().to_numpy()
        found.append([np.delete(right, fold) for fold in range(FOLDS)])
    return np.array(found)


def test_a_fold_chooses_without_having_seen_itself():
    runs = folded((0.5, 0.8, 1.1, 1.4, 1.4, 1.4, 1.2, 1.2))
    inner = inner_of(runs, 0)
    chosen = choose_by_folds(inner, COST, higher=True)
    assert len(chosen) == FOLDS
    for fold in range(FOLDS):
        alone = choose_by_folds(inner[:, [fold] * FOLDS], COST, higher=True)
        assert alone == [chosen[fold]] * FOLDS
    assert choose_by_folds(-inner, COST, higher=False) == chosen
    assert choose_by_folds(inner * np.nan, COST, higher=True) == [len(COST) - 1] * FOLDS


def test_errors_are_those_of_differences_over_folds_that_share_training_data():
    scores = np.array([[0.7, 0.8, 0.9, 0.8], [0.6, 0.6, 0.8, 0.8]])
    errors = fold_errors(scores, 0, FOLDS)
    assert errors[0] == 0
    assert errors[1] == pytest.approx(pool_folds(scores[1] - scores[0], 0.25).seed_error)


def test_a_depth_that_is_as_much_worse_in_every_fold_is_worse():
    """However much folds differ from each other."""
    hard = np.linspace(0.5, 0.9, FOLDS - 1)
    inner = np.broadcast_to(hard, (2, FOLDS, FOLDS - 1)) - np.array([0.01, 0])[:, None, None]
    cost = np.array([0.1, 1.0])
    assert choose_by_folds(inner, cost, higher=True) == [1] * FOLDS
    noise = np.random.default_rng(0).normal(0, 0.05, inner.shape[1:])
    varied = inner + np.stack([noise - noise.mean(1, keepdims=True), 0 * noise])
    assert choose_by_folds(varied, cost, higher=True) == [0] * FOLDS


def test_the_predictions_of_each_fold_are_those_of_its_depth():
    runs = [mine[0] for mine in folded((0.5, 0.8, 1.1, 1.4, 1.4, 1.4, 1.2, 1.2))]
    places = [3, 3, 0, 7, 3]
    made = chosen_run(runs, places)
    assert sorted(made.table["image_id"]) == sorted(runs[0].table["image_id"])
    for fold, place in enumerate(places):
        mine = made.table[made.table["fold"] == fold].set_index("image_id")
        theirs = runs[place].table.set_index("image_id").loc[mine.index]
        assert mine["prob_sick"].equals(theirs["prob_sick"])
    assert made.meta["depths"] == places


def test_what_is_scored_is_the_choice_that_was_repeated():
    runs = folded((0.5, 0.8, 1.1, 1.4, 1.4, 1.4, 1.2, 1.2))
    inner = [inner_of(runs, repeat) for repeat in range(REPEATS)]
    every = np.concatenate([one.reshape(len(PLACES), -1) for one in inner], axis=1)
    validation = [Validation(one.tolist(), FOLDS, 60) for one in every]
    points = [
        Point("read", place, mine, validation=one)
        for place, mine, one in zip(PLACES, runs, validation, strict=True)
    ]
    nested = [
        chosen_run([mine[repeat] for mine in runs], choose_by_folds(one, COST, higher=True))
        for repeat, one in enumerate(inner)
    ]
    found = depth_curves(points, {BACKBONE: PLACES}, nested={BACKBONE: {"read": nested}})
    assert found.table["val_estimate"][: len(PLACES)].tolist() == pytest.approx(every.mean(1))
    best = int(every.mean(1).argmax())
    errors = found.table["val_difference_error"][: len(PLACES)]
    assert errors.tolist() == pytest.approx(fold_errors(every, best, FOLDS))
    (row,) = found.table[found.table["road"] == "nested"].to_dict("records")
    each = [evaluate([run], metrics=["accuracy"])["estimate"].iloc[0] for run in nested]
    assert row["estimate"] == pytest.approx(np.mean(each))
    (chosen,) = found.table[found.table["chosen"]].to_dict("records")
    assert (chosen["road"], chosen["depth"]) == ("read", row["depth"])
    text = depth_sentences(found)[0]
    assert text.endswith("with the choice repeated in every fold.")
    assert f"accuracy {100 * row['estimate']:.1f}%" in text
    # Repeats of a cross-validation are no seeds: more patients would decide, and are no test set.
    undecided = found.differences[found.differences["verdict"] == "undecided"]
    if len(undecided):
        assert np.isfinite(undecided["groups_needed"]).all()
    said = " ".join(depth_sentences(found))
    assert "seeds" not in said
    assert "test groups" not in said
    lines = depth_chart(found).splitlines()
    assert sum(line.startswith("each fold's choice") and "◆" in line for line in lines) == 1
    assert "◆ choice repeated in every fold" in lines[-1]
    # All patients are test patients: nothing can shift.
    assert not any("does not speak" in one for one in depth_sentences(found))
    axes = depth_figure(found.table, found.places, found.majority).axes[0]
    legend = depth_figure(found.table, found.places).legends[0]
    assert "chosen in every fold" in [one.get_text() for one in legend.get_texts()]
    ring = next(line for line in axes.lines if line.get_markersize() == 11)
    # And its interval.
    ends = [bar.get_segments()[0][:, 1] for bar in axes.collections if hasattr(bar, "get_segments")]
    assert any(one == pytest.approx([100 * row["low"], 100 * row["high"]]) for one in ends)
    assert ring.get_ydata() == pytest.approx([100 * row["estimate"]])


def test_depths_that_know_nothing_stay_at_chance():
    """The best of eight coins looks good; the choice repeated in every fold does not."""
    best, repeated = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        right = rng.random((len(PLACES), 60)) < 0.5
        fold = np.arange(60) % FOLDS
        score = np.array([[one[fold == f].mean() for f in range(FOLDS)] for one in right])
        inner = np.stack([np.delete(score, f, axis=1) for f in range(FOLDS)], axis=1)
        chosen = choose_by_folds(inner, COST, higher=True)
        best.append(right.mean(1).max())
        repeated.append(np.mean([score[place, f] for f, place in enumerate(chosen)]))
    assert np.mean(best) > 0.57
    assert 0.44 < np.mean(repeated) < 0.56
