"""Comparisons in words and tables: the same numbers, and nobody's text becomes markup."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.report import (
    compare,
    comparison_sentences,
    comparison_table,
    rank_methods,
    render_comparison,
    table_html,
)
from frostline.report.figures.pairs import pair_figure
from frostline.report.notes import Note
from frostline.report.statistics.comparisons.compare import compare_predictions, decided_first
from frostline.report.statistics.comparisons.differences import Options
from frostline.report.statistics.comparisons.planning import PLAN_COLUMNS, Errors, plan_groups
from frostline.report.tables.escape import latex_note, markdown_note
from frostline.report.tables.methods import render_ranks
from frostline.report.tables.numbers import p_word
from frostline.report.tables.plans import needed_word, render_plan

HOSTILE = "<script>|& $x_1$ \u202e" + "y" * 90


@pytest.fixture(scope="module")
def frame(run):
    runs = [
        run(skill=3.0, n_groups=60),
        run(seed=1, skill=0.2, n_groups=60),
        run(seed=2, skill=2.9, n_groups=60, run=HOSTILE),
    ]
    return compare(runs, margin=0.3)


def test_sentences(frame):
    worse, better, equivalent = comparison_sentences(frame)
    assert better.startswith(
        "On chest, resnet50 (frozen, run-0) is better than resnet50 (frozen, run-1): accuracy +"
    )
    assert better.endswith(" points [" + better.split("[")[1])
    assert "by max-T of 3." in better
    assert " is equivalent to " in equivalent
    assert " within 30 points: " in equivalent
    assert " is worse than " in worse


def test_a_note_on_one_of_a_pair_begins_with_its_name(run):
    """Its own brackets and those of the pair are not mistaken for one another."""
    said = Note("The backbone was trained on images of chest (a page): too good.", runs=("run-0",))
    frame = compare([run(skill=3.0, n_groups=60), run(seed=1, skill=0.2, n_groups=60)])
    assert (frame.at[0, "a"], frame.at[0, "b"]) == ("run-0", "run-1")
    told = render_comparison(frame.assign(notes=[(said,)]), "table")
    words = " ".join(told.split())
    assert "resnet50 (frozen, run-0): The backbone was trained on images of chest (a page)" in words
    assert "too good. " in f"{words} "


@pytest.fixture(scope="module")
def many(run):
    """Four methods of single images, some far from each other and some not."""
    runs = [run(n=150, skill=s, seed=i) for i, s in enumerate((0.4, 0.5, 2.2, 3.4))]
    for one in runs:
        one.table["group_id"] = one.table["image_id"]
    return compare(runs)


def test_many_are_sorted_decided_first_then_by_p(many):
    verdicts = many["verdict"].tolist()
    decided = [verdict in ("better", "worse") for verdict in verdicts]
    assert 1 < sum(decided) < 6
    assert decided == sorted(decided, reverse=True)
    for part in (many[decided], many[~np.array(decided)]):
        assert part["p_adjusted"].is_monotonic_increasing
    mixed = many.assign(
        verdict=["undecided", "not compared", "worse", "equivalent"] + ["better"] * 2
    )
    mixed["equivalence_p"] = 0.01
    mixed["p_adjusted"] = [0.9, float("nan"), 0.02, 0.5, 0.01, 0.02]
    mixed["p"] = [0.9, float("nan"), 0.019, 0.3, 0.01, 0.002]
    found = decided_first(pd.concat([mixed, mixed.assign(dataset="skin")], ignore_index=True))
    wanted = ["better", "better", "worse", "equivalent", "undecided", "not compared"]
    assert found["verdict"].tolist() == 2 * wanted
    assert found["p"].tolist()[:3] == [0.01, 0.002, 0.019]
    assert found["dataset"].tolist() == ["chest"] * 6 + ["skin"] * 6


def test_many_are_a_table_and_sentences_of_what_is_decided(many):
    text = render_comparison(many)
    said, table = text.split("\nchest\n")
    decided = many[many["verdict"].isin(["better", "worse"])]
    said = " ".join(said.split())
    assert said.count("On chest, ") == len(decided)
    assert [said.find(one) for one in comparison_sentences(decided)] == sorted(
        said.find(one) for one in comparison_sentences(decided)
    )
    assert "cannot be separated" not in text
    heading = " ".join(table.split("resnet50")[0].split())
    for word in ("A, then B", "Difference", "Adjusted", "McNemar's", "needed", "Verdict on A"):
        assert word in heading
    assert max(map(len, text.splitlines())) <= 80
    rows = [line for line in table.splitlines() if line.endswith((" worse", " undecided"))]
    assert len(rows) == 6
    undecided = many[many["verdict"] == "undecided"].iloc[0]
    assert f" {needed_word(undecided['groups_needed'])} undecided" in rows[len(decided)]
    assert " – worse" in rows[0]
    assert f" {p_word(undecided['mcnemar_p'])} " in rows[len(decided)]
    assert (
        comparison_table(many.drop(columns="mcnemar_p").assign(mcnemar_p=None))
        .columns[-2]
        .heading.endswith("needed")
    )


def test_an_undecided_pair_says_how_many_would_decide_it(many):
    row = many[many["verdict"] == "undecided"].iloc[[0]]
    (said,) = comparison_sentences(row)
    number = needed_word(row["groups_needed"].item())
    assert said.endswith(
        f" About {number} test images would decide a difference of this size (power 80%); here "
        "are 150."
    )
    zero = row.assign(difference=0.0, groups_needed=float("inf"))
    assert comparison_sentences(zero)[0].endswith(" No number of images decides a difference of 0.")
    small = row.assign(groups_needed=float("inf"))
    assert comparison_sentences(small)[0].endswith(" of this size: it is too small.")
    seeds = small.assign(seed_error=0.1, seed_df=2.0)
    assert comparison_sentences(seeds)[0].endswith(
        " By these seeds no number of test images would decide a difference of this size: train "
        "with more of them."
    )
    rough = " So few seeds make that a rough number."
    said = [comparison_sentences(row.assign(seed_df=df))[0] for df in (3.0, 4.0)]
    assert [one.endswith(rough) for one in said] == [True, False]
    few = row.assign(groups_needed=float("nan"), seed_df=1.0)
    assert comparison_sentences(few)[0].endswith(
        " Two seeds are too few to decide: take more seeds before more images."
    )
    assert "would decide" not in comparison_sentences(many.iloc[[0]])[0]


def test_numbers_of_groups_claim_no_more_than_they_know():
    assert list(map(needed_word, (7, 100, 101, 1_234, 98_765, float("inf"), float("nan")))) == [
        "7",
        "100",
        "110",
        "1,300",
        "99,000",
        "none",
        "–",
    ]


def test_a_plan_says_each_difference_and_power(many):
    plan = plan_groups(many, [0.02, 0.1])
    assert tuple(plan.columns) == PLAN_COLUMNS
    assert len(plan) == 6 * 3 * 2
    for row in plan.to_dict("records"):
        pair = many[(many["a"] == row["a"]) & (many["b"] == row["b"])].iloc[0]
        needed = Errors.of(pair).needed(row["difference"], row["power"])
        assert row["groups_needed"] == needed
    text = render_plan(plan)
    assert "for 2 points" in " ".join(text.split())
    assert "power of 80% / 90%, at 5% over the pairs" in " ".join(text.split())
    first = plan["groups_needed"].tolist()[:2]
    assert " / ".join(map(needed_word, first)) in text
    assert max(map(len, text.splitlines())) <= 80
    written = list(csv.DictReader(io.StringIO(render_plan(plan, "csv"))))
    assert [float(row["groups_needed"]) for row in written] == plan["groups_needed"].tolist()


def test_every_format_says_the_same(frame):
    rows = list(csv.DictReader(io.StringIO(render_comparison(frame, "csv"))))
    objects = json.loads(render_comparison(frame, "json"))
    assert [float(row["difference"]) for row in rows] == frame["difference"].tolist()
    assert [one["p_adjusted"] for one in objects] == frame["p_adjusted"].tolist()
    needed = frame["groups_needed"].replace(float("inf"), None).tolist()
    assert [one["groups_needed"] for one in objects] == needed
    shown = f"{100 * frame['difference'].iloc[1]:+.1f} ["
    assert shown in render_comparison(frame, "latex")
    assert shown in render_comparison(frame, "markdown")


def test_footnotes_say_unit_family_and_seed(frame):
    text = " ".join(render_comparison(frame, "table").split())
    assert f"chest: {frame['n_units'].iloc[0]} groups of 60 images" in text
    assert "p and intervals by sign flips of groups; seed 0." in text
    assert "Adjusted p and simultaneous 95% intervals by max-T over a data set's" in text
    assert "Equivalent: within 30 points by two one-sided tests; the interval of" in text


def test_terminal_fits_and_hostile_text_stays_text(frame):
    assert max(map(len, render_comparison(frame).splitlines())) <= 80
    assert "<script" not in render_comparison(frame, "markdown")
    for format in ("table", "markdown", "latex"):
        assert "\u202e" not in render_comparison(frame, format)
    assert r"\textless{}script\textgreater{}" in render_comparison(frame, "latex")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
def test_latex_compiles(frame, tmp_path):
    (tmp_path / "t.tex").write_text(render_comparison(frame, "latex"))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_unknown_format(frame):
    with pytest.raises(InputError, match=r"^There is no format 'xls'; choose from table, csv, "):
        render_comparison(frame, "xls")


def test_a_notebook_shows_each_pair(frame):
    text = table_html(comparison_table(frame))
    assert text.count('<tr role="row">') == 1 + len(frame)
    assert "<script" not in text
    assert f'data-value="{frame["p_adjusted"].iloc[0]:.6g}"' in text
    assert "<bdi>better</bdi>" in text


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss"])
def test_progress_counts_runs_and_pairs(run, metric):
    runs = [run(seed=i) for i in range(3)] + [run(seed=i, dataset="skin") for i in range(2)]
    told = []
    options = Options(metric, replicates=200)
    compare_predictions(runs, options, {}, progress=lambda *step: told.append(step))
    assert told == [(done, 3 + 3 + 2 + 1) for done in range(1, 10)]


def test_what_is_decided_never_looks_undecided(many):
    row = many[many["verdict"] != "undecided"].iloc[[0]]
    near = row.assign(low=0.0004, high=0.501, difference=0.2, p_adjusted=0.0498, p=0.0498)
    assert p_word(0.0498) == "< 0.05"
    assert p_word(0.0494) == "0.049"
    assert p_word(0.0504) == "0.050"
    for format in ("table", "markdown", "latex"):
        said = " ".join(render_comparison(near, format).split())
        assert "[+0.04, +50.1]" in said.replace("\N{NO-BREAK SPACE}", " ")
        assert "0.050" not in said


def test_notes_say_only_what_was_done(many, run):
    """No equivalent pair, no interval of one; nothing tested, no test."""
    without = " ".join(render_comparison(many.assign(margin=0.001)).split())
    assert "by two one-sided tests." in without
    runs = [run(), run(seed=1)]
    for one in runs:
        one.table["group_id"] = np.where(
            one.table["label"] == "PNEUMONIA", "g", one.table["group_id"]
        )
    untested = render_comparison(compare(runs, metric="roc_auc"))
    assert "p and intervals by" not in untested


def test_options_in_notes_are_code():
    assert markdown_note("`--plan` of *x*") == r"`--plan` of \*x\*"
    assert latex_note("`--plan` of x_1") == r"\texttt{-{}-plan} of x\_1"


def test_the_smallest_p_is_said_where_it_is_that_of_all_pairs(many):
    one = many.assign(smallest_p=0.001)
    assert "Smallest p that could have been found: 0.001." in said(one)
    apart = many.assign(smallest_p=[0.5, *[0.001] * (len(many) - 1)])
    assert "Smallest p" not in said(apart)


def said(frame):
    return " ".join(render_comparison(frame).split())


def test_the_positive_class_is_named_wherever_a_metric_is_of_it(run):
    classes = ("AMD", "Non-AMD")
    runs = [run(classes, seed=seed, unfreeze=way) for seed, way in enumerate(("none", "all", "2"))]
    frame = compare(runs, metric="average_precision")
    plan = " ".join(render_plan(plan_groups(frame)).split())
    assert "Planned by average precision (positive: Non-AMD)." in plan
    assert "chooses the positive class" in plan
    heading = pair_figure(frame).texts[0].get_text()
    assert heading == "Row ahead of column, points of average precision (positive: Non-AMD)"
    ranked = rank_methods(runs, metric="average_precision", replicates=100)
    text = " ".join(render_ranks(ranked, "average_precision").split())
    assert "Ranks by average precision (positive: Non-AMD)" in text
    assert "chooses the positive class" in text
    chosen = rank_methods(runs, metric="average_precision", positive="AMD", replicates=100)
    assert set(chosen["positive"]) == {"AMD"}
