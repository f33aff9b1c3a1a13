"""The best of several: is its order real, and how much is its score flattered by being picked."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from frostline.report import Predictions, answer, evaluate, render, score_table
from frostline.report.notes import texts
from frostline.report.page.answers import freezing_sentences, frozen_against_unfrozen
from frostline.report.statistics.comparisons.best import (
    MARK_COLUMNS,
    compare_all,
    false_order,
    mark_best,
    optimism,
)
from frostline.report.statistics.comparisons.contributions import Contributions
from frostline.report.statistics.comparisons.decisions import mcnemar_p
from frostline.report.statistics.comparisons.methods import group_methods
from frostline.report.statistics.evaluation import score, tabulate
from frostline.report.statistics.resampling.seeds_variance import SeedsTest
from frostline.report.tables.note_lines import LINES, note_sentences
from frostline.report.tables.plans import needed_word


def made_of(values):
    """Contributions of values [U, K], each unit one image."""
    values = np.asarray(values, float)
    ones = np.ones_like(values)
    return values.mean(0), Contributions(values - values.mean(0), ones, ones[:, 0].astype(np.int64))


def test_the_probability_of_a_false_order_is_the_confidence_beyond_zero():
    test = SeedsTest(0.03, 0.02**2, 11.0)
    # The confidence distribution: t about the difference; what it has below 0.
    rng = np.random.default_rng(0)
    below = (0.03 + 0.02 * rng.standard_t(11, 400_000) < 0).mean()
    assert false_order(test.p()) == pytest.approx(below, abs=0.002)
    assert false_order(1.0) == 0.5
    assert np.isnan(false_order(float("nan")))


@pytest.mark.parametrize(("a_only", "b_only"), [(7, 1), (12, 9), (5, 5), (40, 22), (3, 0)])
def test_of_single_images_it_is_the_dirichlet_posterior_of_christodoulou(a_only, b_only):
    rng = np.random.default_rng(3)
    both = 50
    drawn = rng.dirichlet([a_only + 1, b_only + 1, both + 1, 1], 400_000)
    posterior = (drawn[:, 0] <= drawn[:, 1]).mean()
    exact = stats.beta.cdf(0.5, a_only + 1, b_only + 1)
    assert posterior == pytest.approx(exact, abs=0.003)
    assert false_order(mcnemar_p(a_only, b_only)) == pytest.approx(exact)


def test_a_false_order_is_as_probable_as_is_said():
    """Over true differences that could be any, of trials said to be false at 20% one in five is."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(-0.3, 0.3, 40_000)
    seen = truth + 0.05 * rng.standard_normal(len(truth))
    said = np.array([false_order(SeedsTest(d, 0.05**2, 1e6).p()) for d in np.abs(seen)])
    wrong = np.sign(truth) != np.sign(seen)
    for low, high in ((0.05, 0.15), (0.15, 0.25), (0.35, 0.5)):
        chosen = (said >= low) & (said < high)
        assert wrong[chosen].mean() == pytest.approx(said[chosen].mean(), abs=0.02)


@pytest.mark.parametrize("count", [3, 9])
def test_the_optimism_of_equals_is_that_of_the_largest_of_normals_over_root_two(count):
    rng = np.random.default_rng(count)
    largest = rng.standard_normal((200_000, count)).max(1).mean()
    found = [
        optimism(*made_of(rng.standard_normal((100, count))), replicates=300, seed=i)
        for i in range(150)
    ]
    # The standard error of each score is 1 / 10.
    assert np.mean(found) == pytest.approx(largest / 10 / 2**0.5, rel=0.08)


def test_the_optimism_is_that_of_rows_drawn_again():
    rng = np.random.default_rng(5)
    values = (rng.random((60, 4)) < [0.8, 0.82, 0.78, 0.8]).astype(float)
    drawn = values[rng.integers(0, 60, (20_000, 60))].mean(1)
    best = drawn.argmax(1)
    plain = (drawn.max(1) - values.mean(0)[best]).mean()
    assert optimism(*made_of(values), replicates=20_000) == pytest.approx(plain, abs=0.001)


def test_one_that_is_far_ahead_is_not_flattered_and_alike_ones_share_their_luck():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((100, 3))
    assert abs(optimism(*made_of(values + np.array([5, 0, 0])))) < 0.01
    same = np.repeat(values[:, :1], 3, axis=1)
    assert abs(optimism(*made_of(same))) < 0.01
    assert optimism(*made_of(values - values.mean(0))) > 0.04


def methods_of(run, skills, **more):
    runs = [
        run(n=200, n_groups=150, skill=s, seed=i, backbone=f"net{i}", **more)
        for i, s in enumerate(skills)
    ]
    return runs, group_methods(score(runs))


def test_the_best_comes_with_its_second_and_what_would_separate_them(run):
    _, methods = methods_of(run, (1.0, 1.8, 2.0, 0.2))
    marks = mark_best(methods, "accuracy")
    assert tuple(marks.columns) == MARK_COLUMNS
    compared = compare_all(methods, "accuracy")
    values = {one.a.name: one.found.estimate_a for one in compared}
    values |= {one.b.name: one.found.estimate_b for one in compared}
    best, second = sorted(values, key=values.get, reverse=True)[:2]
    (pair,) = [one.found for one in compared if {one.a.name, one.b.name} == {best, second}]
    first = marks.iloc[0]
    assert pair.verdict == "undecided"
    assert (first["second"], first["methods"]) == (second, 4)
    assert first["needed"] == pair.groups_needed > 150
    assert first["false_order"] == pair.p / 2
    assert 0 < first["optimism"] < 0.05
    losses = mark_best(methods, "log_loss").iloc[0]
    assert 0 < losses["optimism"] < 0.05
    assert np.isnan(mark_best(methods[:2], "accuracy").iloc[0]["optimism"])


def test_the_answer_says_how_many_groups_would_separate_the_best(run):
    runs, methods = methods_of(run, (1.0, 1.8, 2.0, 0.2))
    mark = mark_best(methods, "accuracy").iloc[0]
    frame, scored = tabulate(score(runs), metrics=["accuracy"], replicates=200)
    said = answer(frame, "accuracy", scored)[-1]
    assert f"; about {needed_word(mark['needed'])} test groups would" in said
    only = mark_best(methods[1:3], "accuracy").iloc[0]
    frame, scored = tabulate(score(runs[1:3]), metrics=["accuracy"], replicates=200)
    said = answer(frame, "accuracy", scored)[-1]
    assert f"; about {needed_word(only['needed'])} test groups would." in said


def test_whether_freezing_helps_says_how_many_groups_would_decide_it(run):
    runs = [run(skill=1.5), run(seed=1, skill=1.7, unfreeze="all")]
    row = frozen_against_unfrozen(runs).iloc[0]
    assert row["verdict"] == "undecided"
    (said,) = freezing_sentences(frozen_against_unfrozen(runs))
    assert said.endswith(
        f" About {needed_word(row['groups_needed'])} test groups would decide a difference of this "
        f"size (power 80%); here are {int(row['n_units'])}."
    )


def test_numbers_of_groups_are_whole_where_another_pair_is_not_compared(run):
    pair = [run(skill=1.5), run(seed=1, skill=1.7, unfreeze="all")]
    fewer = replace(run(seed=3, backbone="b", unfreeze="all"), table=pair[0].table.iloc[:50])
    found = frozen_against_unfrozen([*pair, run(seed=2, backbone="b"), fewer])
    assert set(found["verdict"]) == {"undecided", "not compared"}
    said = " ".join(freezing_sentences(found))
    assert re.search(r"; here are \d+\.( |$)", said)


def test_lines_under_the_table_where_they_apply(run):
    runs, methods = methods_of(run, (1.0, 1.8, 2.0, 0.2))
    frame = evaluate(runs, metrics=["accuracy", "f1_macro"], replicates=200)
    marks = mark_best(methods, "accuracy")

    def lines(**how):
        return note_sentences(score_table(frame, **how), LINES)

    said = " ".join(lines(marks=marks, primary="accuracy"))
    first = marks.iloc[0]
    percent = f"{100 * first['false_order']:.1f}%"
    assert f"Probability that the order of the two best in accuracy is false: {percent}." in said
    gain = f"{100 * first['optimism']:.1f} points (best of 4)"
    assert f"The best score is too good by about {gain}, because it was picked." in said
    hidden = ("order of the two best", "because it was picked")
    below = " ".join(lines(marks=marks.assign(optimism=-0.003), primary="accuracy"))
    assert hidden[1] not in below
    without = " ".join(lines(metrics=["f1_macro"], marks=marks, primary="accuracy"))
    assert not any(words in without for words in hidden)
    two = " ".join(lines(marks=mark_best(methods[:2], "accuracy"), primary="accuracy"))
    assert hidden[0] in two
    assert hidden[1] not in two
    assert not any(words in render(frame) for words in hidden)
    # Of several data sets each is named, in one line.
    both = marks.iloc[[0, 0]].assign(dataset=["chest", "skin"], false_order=[0.2, 0.0001])
    text = " ".join(lines(marks=both, primary="accuracy"))
    assert "is false: chest 20.0%, skin below 0.1%." in text


def test_identical_best_have_no_order(run):
    runs = [run(), Predictions(run().table, {**run().meta, "run": "again", "unfreeze": "all"})]
    marks = mark_best(group_methods(score(runs)), "accuracy")
    assert np.isnan(marks["false_order"]).all()
    table = score_table(evaluate(runs, replicates=200), marks=marks, primary="accuracy")
    assert not any("order of the two best" in text for text in texts(table.notes))


def test_depths_of_one_backbone_are_no_rivals(run):
    """The sentences on depth compare them: another family would give the pair another answer."""
    skills = {"a": (3.0, 2.5), "b": (0.1,)}
    runs = [
        run(n=200, n_groups=150, skill=skill, seed=i, run=f"{net}{i}", backbone=net, depths_of=net)
        for net, depths in skills.items()
        for i, skill in enumerate(depths)
    ]
    for i, one in enumerate(runs):
        one.meta["feature"] = f"layer:{i}"
    methods = group_methods(score(runs))
    marks = mark_best(methods, "accuracy")
    assert marks[["run", "mark", "second", "rivals"]].values.tolist() == [["a0", "", "b0", 1]]
    (said,) = answer(tabulate(score(runs))[0], "accuracy", runs)
    assert said.startswith("On chest, a (frozen, layer:0) scored highest: accuracy ")
    assert "separate it from every method but other depths of its backbone" in said
    # Alone, a backbone has the sentences on depth, and no other.
    alone = mark_best(methods[:2], "accuracy")
    assert alone["why"].tolist() == ["depths of one backbone are compared in the answer"]
    assert answer(tabulate(score(runs[:2]))[0], "accuracy", runs[:2]) == []
