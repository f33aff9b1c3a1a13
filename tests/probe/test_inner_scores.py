"""Inner scores of a cross-validation: of what each fold selected, on folds that it may look at."""

from __future__ import annotations

import numpy as np

from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.selection import inner_scores, select_folds
from frostline.probe.sweep.validation_scores import read_scores

from .conftest import HEADS, Build, run, sweep_of

SWEEP = {"cv": "4x2", "heads": {"logistic": HEADS["logistic"]}, "metric": "log_loss"}


def test_they_are_the_mean_that_selected(build: Build) -> None:
    place = build()
    run(place, **SWEEP)
    for one in plan_sweep(place, sweep_of(**SWEEP)).runs:
        scores = read_scores(place, one)
        assert scores is not None
        inner = inner_scores(one, scores, "log_loss")
        assert inner.shape == (4, 3)
        selected = [choice.score for choice in select_folds(one, scores)]
        np.testing.assert_allclose(inner.mean(1), selected)
        accuracy = inner_scores(one, scores, "accuracy")
        assert ((accuracy >= 0) & (accuracy <= 1)).all()


def test_no_row_hangs_on_its_own_fold(build: Build) -> None:
    """Whatever was scored on a fold is no part of its row, nor of what is selected for it."""
    place = build()
    run(place, **SWEEP)
    one = plan_sweep(place, sweep_of(**SWEEP)).runs[0]
    scores = read_scores(place, one)
    assert scores is not None
    before = inner_scores(one, scores, "log_loss")
    # Part 0 is the pair of folds 0 and 1: what is scored there on fold 0 selects for fold 1 alone.
    spoilt = scores.copy()
    spoilt.loc[(spoilt["part"] == 0) & (spoilt["fold"] == 0), "log_loss"] = 100.0
    after = inner_scores(one, spoilt, "log_loss")
    assert (after[[0, 2, 3]] == before[[0, 2, 3]]).all()
    assert (after[1] != before[1]).any()
