"""The sentences claim what paired comparisons carry, and no more."""

from __future__ import annotations

import re

import numpy as np
import pytest

from frostline.report import answer, compare, evaluate
from frostline.report.notes import texts
from frostline.report.page.answers import frozen_against_unfrozen
from frostline.report.statistics.evaluation import score, tabulate


def runs_of(run, frozen, tuned, seeds=1, **meta):
    made = []
    for seed in range(seeds):
        made.append(run(n=300, n_groups=250, skill=frozen, seed=2 * seed + 1, **meta))
        made.append(
            run(
                n=300,
                n_groups=250,
                skill=tuned,
                seed=2 * seed + 2,
                unfreeze="all",
                head="linear",
                **meta,
            )
        )
        for one in made[-2:]:
            one.meta["seed"] = seed
    return made


def said(runs, primary="accuracy", **options):
    frame, rows = tabulate(score(runs), replicates=500, **options)
    return answer(frame, primary, rows)


def test_too_small_a_difference_is_undecided(run):
    first, best = said(runs_of(run, 2.0, 2.1))
    assert first.startswith("Whether freezing helps resnet50 on chest is undecided: ")
    assert "; paired comparisons do not separate it from " in best
    assert re.search(r"; about [0-9,]+ test groups would\. Always", best)
    first, best = said(runs_of(run, 2.0, 2.1, seeds=2))
    assert "Two seeds are too few to decide: take more seeds before more groups." in first
    assert "; two seeds are too few to say how many test groups would. Always" in best


def test_a_difference_that_the_test_shows_is_said_with_its_interval(run):
    runs = runs_of(run, 4.0, 0.5)
    first, best = said(runs)
    row = frozen_against_unfrozen(runs).iloc[0]
    points = [f"{100 * row[name]:.1f}" for name in ("difference", "low", "high")]
    scores = [f"{100 * row[f'estimate_{name}']:.1f}%" for name in "ab"]
    assert first == (
        f"Freezing helped resnet50 on chest by {points[0]} points of accuracy "
        f"[{points[1]}, {points[2]}]: {scores[0]} against {scores[1]} fine-tuned."
    )
    assert best.startswith("On chest, resnet50 (frozen) scored highest: accuracy ")
    assert "; paired comparisons separate it from every other method. Always giving " in best
    first, _ = said(runs_of(run, 0.5, 4.0))
    # Of a loss the amount and both its bounds are above 0.
    assert first.startswith("Freezing cost resnet50 on chest ")
    assert "-" not in first.split("fine-tuned")[0].replace("resnet50", "")


def test_the_pair_of_one_seed_is_what_compare_finds(run):
    runs = runs_of(run, 2.0, 1.4)
    one = frozen_against_unfrozen(runs).iloc[0]
    other = compare(runs, family="freezing").iloc[0]
    for name in ("difference", "low", "high", "p", "p_adjusted", "verdict", "n_units"):
        assert one[name] == pytest.approx(other[name], abs=1e-12), name
    assert texts(one["notes"])[-1] == "One seed: these trained models, not the methods."


def test_seeds_add_their_variance(run):
    runs = runs_of(run, 2.0, 1.4, seeds=3)
    row = frozen_against_unfrozen(runs).iloc[0]
    frame = evaluate(runs, replicates=100, metrics=["accuracy"])
    scores = [frame[frame["unfreeze"] == name]["estimate"] for name in ("none", "all")]
    assert row["difference"] == pytest.approx(scores[0].mean() - scores[1].mean())
    between = sum(one.var(ddof=1) / 3 for one in scores)
    # Less the interaction of groups and seeds, which the variance between groups has already.
    assert 0 <= row["seed_error"] < between**0.5
    half = (row["high"] - row["low"]) / 2
    assert half > 1.9 * np.hypot(row["group_error"], row["seed_error"])
    assert row["test"] == "Student's t of groups and seeds"
    assert (row["seeds_a"], row["seeds_b"]) == (3, 3)
    first, best = said(runs)
    assert "(mean of 3 seeds each)" in first
    assert "3 seeds" in best


def test_a_margin_makes_alike_runs_equivalent(run):
    twins = [run(n=300, n_groups=250), run(n=300, n_groups=250, unfreeze="all")]
    table = twins[1].table
    table.loc[0, "prediction"] = table.loc[table["label"] != table["label"][0], "label"].iloc[0]
    differences = frozen_against_unfrozen(twins, margin=0.05)
    assert differences["verdict"].tolist() == ["equivalent"]
    frame, rows = tabulate(score(twins), replicates=100)
    first = answer(frame, "accuracy", rows, differences=differences)[0]
    assert first.startswith("Freezing resnet50 on chest makes no difference that matters: ")


def test_a_difference_has_the_signs_that_compare_prints(run):
    (first, *_) = said([run(skill=1.0), run(seed=1, skill=1.2, unfreeze="all")])
    difference = first.partition(" is undecided: ")[2].partition("]")[0]
    assert "-" not in difference
    low, high = difference.partition("[")[2].split(", ")
    assert low.startswith("\N{MINUS SIGN}")
    assert high.startswith("+")


def test_runs_that_cannot_be_paired_are_said(run):
    runs = [run(), run(n=50, unfreeze="all")]
    differences = frozen_against_unfrozen(runs)
    assert differences["verdict"].tolist() == ["not compared"]
    assert said(runs)[0].startswith(
        "Freezing resnet50 on chest was not compared: The test sets differ: "
    )


def test_several_pairs_are_told_apart_and_summed_up(run):
    runs = runs_of(run, 4.0, 0.5) + runs_of(run, 4.0, 0.5, protocol="standard")
    runs.append(run(n=300, n_groups=250, skill=4.0, seed=9, unfreeze="3"))
    first, *rest = said(runs)
    assert first == "Of 3 comparisons, freezing helped in 2 and changed no prediction in 1."
    assert sum("(standard" in sentence for sentence in rest) == 1
    assert any("with its last 3 blocks tuned" in sentence for sentence in rest)
    # The two of a data set are one family.
    table = frozen_against_unfrozen(runs)
    assert not (table["p_adjusted"] < table["p"]).any()


def test_a_run_no_better_than_the_majority_is_said(run):
    (best,) = said([run(skill=0.0)])
    assert "Not clearly better than always giving the commonest answer, " in best


def test_replicate_means_are_said_and_do_not_decide(run):
    runs = runs_of(run, 4.0, 0.5)
    sentences = said(runs, ci="replicate-mean")
    assert sentences[0] == said(runs)[0]
    assert sentences[-1] == (
        "Intervals of single runs are of the bootstrap mean, not of the metric."
    )


def test_another_primary_metric(run):
    runs = [run(), run(seed=1, head="knn")]
    frame, rows = tabulate(score(runs), replicates=100, metrics=["f1_weighted"])
    assert "scored highest: f1 score" in answer(frame, "accuracy", rows)[0].lower()


@pytest.mark.parametrize(("unfreeze", "words"), [("1", "its last block"), ("3", "last 3 blocks")])
def test_part_fine_tuned(run, unfreeze, words):
    assert words in said([run(), run(seed=1, unfreeze=unfreeze)])[0]
