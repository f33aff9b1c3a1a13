"""The sentences claim what the intervals carry, and no more."""

from __future__ import annotations

import pytest

from frostline.report import answer, evaluate


def frozen_and_tuned(run, frozen, tuned, **options):
    return answer(
        evaluate(
            [run(n=300, n_groups=250, skill=frozen, seed=1),
             run(n=300, n_groups=250, skill=tuned, seed=2, unfreeze="all", head="linear")],
            replicates=500, **options,
        )
    )  # fmt: skip


def test_overlapping_intervals_are_undecided(run):
    first, best = frozen_and_tuned(run, 2.0, 2.1)
    assert first.startswith("On chest, freezing resnet50 scored ")
    assert first.endswith("; the intervals overlap, so this is undecided.")
    assert "so it is not clearly best" in best


def test_separate_intervals_are_said_with_the_gap(run):
    first, best = frozen_and_tuned(run, 4.0, 0.5)
    assert "points higher than fine-tuning it: accuracy " in first
    assert first.endswith("; the intervals do not overlap.")
    assert "its interval overlaps no other's" in best
    first, _ = frozen_and_tuned(run, 0.5, 4.0)
    assert "points lower than fine-tuning it" in first


def test_a_run_no_better_than_the_majority_is_said(run):
    (best,) = answer(evaluate([run(skill=0.0)], replicates=500))
    assert "Not clearly better than always giving the commonest answer, " in best


def test_replicate_mean_never_decides(run):
    for sentence in frozen_and_tuned(run, 4.0, 0.5, ci="replicate-mean"):
        assert "cannot tell runs apart" in sentence
        assert "overlap" not in sentence


def test_another_primary_metric(run):
    frame = evaluate([run(), run(seed=1)], replicates=100, metrics=["f1_weighted"])
    assert "scored highest: f1 score" in answer(frame, "accuracy")[0].lower()


@pytest.mark.parametrize(("unfreeze", "words"), [("1", "its last block"), ("3", "last 3 blocks")])
def test_part_fine_tuned(run, unfreeze, words):
    runs = [run(), run(seed=1, unfreeze=unfreeze)]
    assert words in answer(evaluate(runs, replicates=100))[0]
