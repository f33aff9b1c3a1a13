"""How many groups would decide a difference: against the formula, and by drawing that many."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri
from typer.testing import CliRunner

from frostline.cli import app
from frostline.report import Predictions, compare
from frostline.report.statistics.comparisons.flips import SignFlips, kept_sums
from frostline.report.statistics.comparisons.multiplicity import Bonferroni, MaxT
from frostline.report.statistics.comparisons.planning import (
    Errors,
    pair_alpha,
    plan_assumed,
    plan_groups,
)
from frostline.report.statistics.resampling.seeds_variance import SeedsPart, SeedsTest
from frostline.report.tables.plans import render_plan


def test_the_least_number_that_the_formula_asks():
    errors = Errors(units=50, effective=50, group=0.02**2)
    needed = int(errors.needed(0.03))
    for units, enough in ((needed, True), (needed - 1, False)):
        error = 0.02 * (50 / units) ** 0.5
        reach = stats.t.ppf(0.975, units - 1) + stats.t.ppf(0.8, units - 1)
        assert bool(reach * error <= 0.03) is enough
    # With many groups it is the formula of the normal law.
    big = Errors(units=10_000, effective=10_000, group=0.01**2).needed(0.002, 0.9)
    normal = 10_000 * ((stats.norm.ppf(0.975) + stats.norm.ppf(0.9)) * 0.01 / 0.002) ** 2
    assert big == pytest.approx(normal, rel=1e-3)
    assert errors.needed(0.03, 0.9) > errors.needed(0.03) > errors.needed(0.06)
    assert errors.needed(-0.03) == errors.needed(0.03)
    unequal = Errors(units=50, effective=10, group=0.02**2)
    assert unequal.needed(0.03) > errors.needed(0.03)
    assert Errors(50, 50, 0.02**2, alpha=0.005).needed(0.03) > errors.needed(0.03)


def test_no_number_is_said_so():
    errors = Errors(units=50, effective=50, group=0.02**2)
    assert math.isinf(errors.needed(0.0))
    assert math.isnan(errors.needed(float("nan")))
    assert math.isnan(Errors(1, 0.0, float("nan")).needed(0.1))
    # Signs of five units cannot reject, whatever these do.
    assert Errors(units=50, effective=50, group=0.0).needed(0.5) == 6
    assert Errors(50, 50, 0.0, alpha=0.001).needed(0.5) == 11


def test_the_variance_of_seeds_stays():
    seeds = SeedsPart(0.01**2, 0.0, 4.0)
    errors = Errors(50, 50, 0.02**2, seeds)
    # Student's t of the seeds alone.
    least = (stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * 0.01
    assert math.isinf(errors.needed(least * 0.9))
    assert errors.needed(least * 1.05) > errors.needed(least * 1.3) > 50
    bare = Errors(units=50, effective=50, group=0.02**2)
    assert errors.needed(least * 1.3) > bare.needed(least * 1.3)


def test_the_part_of_seeds_is_what_the_test_will_find_on_average():
    """At other numbers of groups, with the interaction that is smaller there, and cut off at 0."""
    rng = np.random.default_rng(1)
    seeds, interaction, df = 0.02**2 / 3, 0.3**2 / 3, 2
    errors = Errors(400, 400, 0.02**2, SeedsPart(seeds + interaction / 400, interaction / 400, df))
    for groups in (50, 400, 2_000):
        both = interaction / groups
        whole = (seeds + both) * rng.chisquare(df, 40_000) / df
        test = errors._test_at(groups, groups - 1)
        assert test.seeds == pytest.approx(both + np.maximum(whole - both, 0).mean(), rel=0.03)
        assert test.group == pytest.approx(0.02**2 * 400 / groups - both)


def test_the_level_of_a_pair_is_read_off_its_simultaneous_interval():
    rng = np.random.default_rng(0)
    ones = np.ones(60, dtype=np.int64)
    values = rng.normal(0.2, 1, (60, 6))
    residuals = values - values.mean(0)
    kept, weight = kept_sums(residuals, np.ones((60, 6)), ones, 20_000, rng)
    spread = (residuals**2).sum(0) ** 0.5
    largest = MaxT(np.abs(2 * kept / spread).max(1))
    test = SignFlips(
        values[:, 0].mean(), residuals[:, 0], np.ones(60), ones, kept[:, 0], weight[:, 0]
    )
    error = values[:, 0].std(ddof=1) / 60**0.5
    level = pair_alpha(test, largest, 6, error, 59)
    # Six independent pairs: Šidák's level.
    assert level == pytest.approx(1 - 0.95 ** (1 / 6), rel=0.12)
    assert pair_alpha(test, Bonferroni(1), 1, error, 59) == 0.05
    assert pair_alpha(test, Bonferroni(10), 10, error, 59) == 0.005
    alone = MaxT(np.zeros(3))
    assert pair_alpha(test, alone, 4, error, 59) == 0.0125  # no end, no level to read
    of_seeds = SeedsTest(0.2, 0.1**2, 7.0)
    drawn = MaxT(np.abs(rng.standard_normal(20_000)))
    assert pair_alpha(of_seeds, drawn, 3, 0.1, 7.0) == pytest.approx(0.05, abs=0.004)
    # All pairs of a family are tested at one level, whatever their variance is made of.
    strict = MaxT(np.abs(rng.standard_normal((20_000, 15))).max(1))
    tests = [SeedsTest(0.2, 0.1**2, 90.0, seeds**2, 2.0) for seeds in (0.01, 0.1, 0.5)]
    levels = [pair_alpha(test, strict, 15, test.error, test.df) for test in tests]
    assert levels == pytest.approx([levels[0]] * 3, rel=1e-6)
    assert levels[0] == pytest.approx(1 - 0.95 ** (1 / 15), rel=0.12)


def test_columns_of_compare_are_the_plan_of_its_row(run):
    frame = compare([run(seed=i, skill=1 + i / 3, n=150, n_groups=90) for i in range(4)])
    assert {"worse", "undecided"} <= set(frame["verdict"])
    for row in frame.to_dict("records"):
        needed = Errors.of(row).needed(row["difference"])
        undecided = row["verdict"] == "undecided"
        assert row["groups_needed"] == (max(needed, row["n_units"] + 1) if undecided else needed)
        assert not undecided or row["groups_needed"] > row["n_units"]
        assert 0.05 / 6 < row["pair_alpha"] < 0.05
    few = compare([run(n_groups=4, skill=9.0), run(n_groups=4, skill=-5.0, seed=1)])
    assert few["verdict"].tolist() == ["undecided"]
    assert few["groups_needed"].item() > few["n_units"].item()
    same = compare([run(), run(backbone="copy")])
    assert same["groups_needed"].isna().all()


def drawn_runs(rng, groups, skills, images=3, classes=2):
    """Runs of these skills on groups whose images are alike, that share much of what they see."""
    n = groups * images
    truth = rng.integers(0, classes, n)
    member = np.repeat(np.arange(groups), images)
    shared = rng.normal(size=(n, classes)) + rng.normal(size=(groups, classes))[member]
    runs = []
    for number, skill in enumerate(skills):
        own = rng.normal(size=(n, classes)) + 0.5 * rng.normal(size=(groups, classes))[member]
        scores = 0.7 * shared + own
        scores[np.arange(n), truth] += skill
        runs.append((f"run-{number}", scores))
    return truth, member, runs


def as_predictions(truth, member, runs):
    import pandas as pd

    made = []
    for name, scores in runs:
        probs = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        columns = {f"prob_{c}": probs[:, c] for c in range(probs.shape[1])}
        about = {
            "image_id": [f"i{i}" for i in range(len(truth))],
            "group_id": [f"g{m}" for m in member],
            "split": "test",
            "label": truth.astype(str),
            "prediction": probs.argmax(1).astype(str),
        }
        classes = [str(c) for c in range(probs.shape[1])]
        made.append(Predictions(pd.DataFrame(about | columns), {"run": name, "classes": classes}))
    return made


def found_in(trials, make, pair):
    """The share of comparisons in which a is found worse than b."""
    found = [compare(make(), replicates=500) for _ in range(trials)]
    rows = [one[(one["a"] == pair[0]) & (one["b"] == pair[1])] for one in found]
    return float(np.mean([row["verdict"].item() == "worse" for row in rows]))


@pytest.mark.slow
def test_the_planned_number_holds_in_a_family_too():
    rng = np.random.default_rng(4)

    def make(groups):
        return as_predictions(*drawn_runs(rng, groups, (1.0, 1.1, 1.6)))

    pair = ("run-0", "run-2")
    pilot = compare(make(6_000), replicates=2_000)
    row = pilot[(pilot["a"] == pair[0]) & (pilot["b"] == pair[1])].iloc[0].to_dict()
    assert 0.017 < row["pair_alpha"] < 0.05
    groups = int(Errors.of(row).needed(row["difference"]))
    assert 0.75 < found_in(300, lambda: make(groups), pair) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "skills"), [("accuracy", (1.0, 1.6)), ("roc_auc", (1.0, 1.4))])
def test_the_planned_number_finds_the_difference_in_four_of_five_trials(metric, skills):
    rng = np.random.default_rng(8)
    pilot = compare(
        as_predictions(*drawn_runs(rng, 6_000, skills)), metric=metric, replicates=100
    ).iloc[0]
    errors = Errors.of(pilot.to_dict())
    groups = int(errors.needed(pilot["difference"]))
    assert 30 < groups < 400
    found = [
        compare(as_predictions(*drawn_runs(rng, groups, skills)), metric=metric, replicates=500)[
            "verdict"
        ].item()
        for _ in range(400)
    ]
    assert 0.75 < found.count("worse") / len(found) < 0.85


@pytest.mark.slow
def test_the_planned_number_is_enough_where_seeds_vary():
    """From many pilots, because one of three seeds says little of what seeds add."""
    rng = np.random.default_rng(4)

    def make(groups):
        skills = np.repeat([1.0, 1.6], 3) + 0.1 * rng.standard_normal(6)
        runs = as_predictions(*drawn_runs(rng, groups, skills))
        metas = [
            run.meta | {"backbone": f"net{i // 3}", "seed": i % 3} for i, run in enumerate(runs)
        ]
        return [Predictions(run.table, meta) for run, meta in zip(runs, metas, strict=True)]

    def plan(groups, pilots):
        rows = [compare(make(groups), replicates=100).iloc[0].to_dict() for _ in range(pilots)]
        parts = [Errors.of(row) for row in rows]
        whole, shared = (
            np.mean([getattr(p.seeds, name) for p in parts]) for name in ("whole", "interaction")
        )
        group, seeds = np.mean([p.group for p in parts]), SeedsPart(whole, shared, 2.0)
        difference = float(np.mean([row["difference"] for row in rows]))
        return int(Errors(groups, groups, group, seeds).needed(difference))

    groups = plan(300, 250)
    found = [compare(make(groups), replicates=100)["verdict"].item() for _ in range(300)]
    share = found.count("worse") / len(found)
    assert 0.75 < share < 0.95


def test_where_all_groups_are_alike_the_plan_is_what_the_comparison_says(run):
    """Four images, all right against all wrong: no variance to plan another difference from."""
    runs = [run(n=4, run="right"), run(n=4, run="wrong", unfreeze="all")]
    for one in runs:
        one.table["group_id"] = one.table["image_id"]
    swapped = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    label = runs[0].table["label"]
    runs[0].table["prediction"], runs[1].table["prediction"] = label, label.map(swapped)
    frame = compare(runs)
    (found,) = frame.to_dict("records")
    assert found["verdict"] == "undecided"
    plan = plan_groups(frame, [0.05])
    needed = plan.set_index("difference")["groups_needed"]
    assert needed[found["difference"]].tolist() == [found["groups_needed"]] * 2
    assert needed[0.05].isna().all()
    said = " ".join(render_plan(plan).split())
    assert "\N{EN DASH}: nothing to plan from, because the difference does not vary" in said
    # A pair of the same predictions needs no reason: that is its own word.
    same = compare([runs[0], Predictions(runs[0].table, runs[1].meta)])
    assert "nothing to plan from" not in render_plan(plan_groups(same, [0.05]))


def test_a_plan_from_assumptions_is_connors():
    """Near his formula of 1987, which takes the variance without a difference for the level."""
    for discordance, difference in ((0.15, 0.05), (0.3, 0.1), (0.05, 0.02), (0.4, 0.05)):
        for power in (0.8, 0.9):
            z = ndtri(0.975) * discordance**0.5
            z += ndtri(power) * (discordance - difference**2) ** 0.5
            found = plan_assumed(discordance, None, [difference], [power])
            needed = found[f"groups_needed_{power}"].item()
            assert needed == pytest.approx((z / difference) ** 2, rel=0.03, abs=3)


def test_with_as_many_patients_as_planned_the_power_is_the_planned_one():
    first = plan_assumed(0.2, None, [0.05])
    needed = int(first["groups_needed_0.9"].item())
    assert plan_assumed(0.2, needed, [0.05])["power"].item() == pytest.approx(0.9, abs=0.002)


@pytest.mark.slow
def test_so_many_made_up_patients_decide_as_often_as_planned(run):
    """Answers of two methods with 15% of discordance, drawn 200 times and compared."""
    (row,) = plan_assumed(0.15, 250, [0.06]).to_dict("records")
    rng, decided = np.random.default_rng(0), 0
    base = [run(n=250, run="a"), run(n=250, run="b", unfreeze="all")]
    for _ in range(200):
        which = rng.choice(3, size=250, p=[0.105, 0.045, 0.85])  # a alone, b alone, both
        for one, wrong in zip(base, (which == 1, which == 0), strict=True):
            one.table["group_id"] = one.table["image_id"]
            swapped = one.table["label"].map({"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"})
            one.table["prediction"] = one.table["label"].where(~wrong, swapped)
        decided += compare(base, replicates=500)["verdict"].item() == "better"
    assert decided / 200 == pytest.approx(row["power"], abs=0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--plan --discordance 1.5", "The discordance is a share"),
        ("--plan --discordance 0.1 --margin 0.2", "below the discordance"),
        ("--discordance 0.1", "give --plan, and no predictions"),
        ("--plan --groups 9", "give --discordance too"),
        ("--plan --discordance 0.1 --seed 3", "does not act with"),
        ("", "There is nothing to compare"),
    ],
)
def test_what_cannot_be_planned_is_said(words, said):
    found = CliRunner().invoke(app, ["compare", *words.split()])
    assert found.exit_code != 0
    assert said in str(found.exception) + found.output


def test_the_page_shows_what_the_command_prints():
    page = (Path(__file__).parents[2] / "docs" / "clinical.md").read_text(encoding="utf-8")
    command, shown = re.search(
        r"```sh\nfrostline (compare --plan [^\n]*)\n```\n\n```text\n(.*?)```", page, re.DOTALL
    ).groups()
    printed = CliRunner().invoke(app, command.split(), catch_exceptions=False).output
    assert printed.startswith(shown)
