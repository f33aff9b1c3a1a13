"""Comparisons of runs: what is found, how it is said, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from frostline.cache import InputError
from frostline.cli import app
from frostline.report import (
    Predictions,
    answer,
    compare,
    comparison_sentences,
    evaluate,
    rank_methods,
    render,
    render_comparison,
    write_predictions,
)
from frostline.report.notes import texts
from frostline.report.page.answers import freezing_sentences, frozen_against_unfrozen
from frostline.report.statistics.comparisons.best import mark_best
from frostline.report.statistics.comparisons.compare import COMPARISON_COLUMNS
from frostline.report.statistics.comparisons.decisions import mcnemar_p
from frostline.report.statistics.comparisons.differences import ONE_SEED
from frostline.report.statistics.comparisons.equivalence import few_differ_bound, few_differ_p
from frostline.report.statistics.comparisons.methods import group_methods
from frostline.report.statistics.evaluation import score, tabulate
from frostline.report.statistics.intervals.exact import ExactTest


def test_few_units_that_differ_are_no_evidence_of_equivalence(run):
    assert few_differ_p(0, 9, 0.05) == pytest.approx(0.95**9)
    assert few_differ_p(10, 9000, 0.05) == few_differ_bound(10, 9000) == 0
    assert few_differ_p(2, 30, few_differ_bound(2, 30)) == pytest.approx(0.05)
    few = [run(n=40, n_groups=20), run(n=40, n_groups=20, run="again")]
    swapped = few[1].table["image_id"] == few[1].table["image_id"].iloc[0]
    answers = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    column = few[1].table["prediction"]
    few[1].table["prediction"] = column.where(~swapped, column.map(answers))
    (row,) = compare(few, margin=0.05).to_dict("records")
    assert row["verdict"] == "undecided"
    assert row["equivalence_p"] == pytest.approx(few_differ_p(1, row["n_units"], 0.05))
    assert row["equivalence_high"] == pytest.approx(few_differ_bound(1, row["n_units"]))


def test_long_form(run):
    frame = compare([run(skill=3.0, n_groups=60), run(seed=1, skill=0.2, n_groups=60)])
    assert tuple(frame.columns) == COMPARISON_COLUMNS
    (one,) = frame.to_dict("records")
    assert one["difference"] == pytest.approx(one["estimate_a"] - one["estimate_b"])
    assert one["low"] < one["difference"] < one["high"]
    assert one["p"] == one["p_adjusted"]
    assert (one["low"], one["high"]) == (one["pair_low"], one["pair_high"])
    assert (one["verdict"], one["test"]) == ("better", "sign flips of groups")
    assert one["smallest_p"] == pytest.approx(1 / 10_001)
    assert pd.isna(one["mcnemar_p"])
    (mirrored,) = compare(
        [run(seed=1, skill=0.2, n_groups=60), run(skill=3.0, n_groups=60)]
    ).to_dict("records")
    assert mirrored["verdict"] == "worse"
    assert mirrored["low"] == pytest.approx(-one["high"])


def test_order_of_rows_changes_nothing(run):
    other = run(seed=1)
    other.table = other.table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(compare([run(), run(seed=1)]), compare([run(), other]))


def test_mcnemar_only_where_each_group_is_one_image(run):
    one, other = run(), run(seed=1)
    for each in (one, other):
        each.table["group_id"] = each.table["image_id"]
    (row,) = compare([one, other]).to_dict("records")
    truth = one.table["label"]
    right = [(each.table["prediction"] == truth).to_numpy() for each in (one, other)]
    assert row["mcnemar_p"] == pytest.approx(
        mcnemar_p(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    )
    assert (row["unit"], row["n_units"]) == ("image", 60)
    # For accuracy of images the sign flips are McNemar's.
    assert row["p"] == pytest.approx(row["mcnemar_p"], abs=0.015)


def test_equivalent_and_undecided(run):
    same = run(n=300, n_groups=250)
    close = run(n=300, n_groups=250, seed=1)
    assert compare([same, close])["verdict"].tolist() == ["undecided"]
    (row,) = compare([same, close], margin=0.2).to_dict("records")
    assert row["verdict"] == "equivalent"
    assert row["low"] < row["equivalence_low"] < 0 < row["equivalence_high"] < row["high"] < 0.2
    shown = " ".join(render_comparison(compare([same, close], margin=0.2)).split())
    assert f"{100 * row['equivalence_high']:+.1f}] (90% interval)." in shown
    assert compare([same, close], margin=0.001)["verdict"].tolist() == ["undecided"]


@pytest.mark.parametrize("margin", [0.2, 0.08, None])
def test_what_is_worse_and_too_little_to_matter_says_both(run, margin):
    """20 of 300 patients are wrong by one run alone: 6.7 points, and the interval ends at 9.9."""
    better, worse = run(n=300, n_groups=300, skill=9.0), run(n=300, n_groups=300, unfreeze="all")
    for one in (better, worse):
        one.table["group_id"] = one.table["image_id"]
        one.table["prediction"] = one.table["label"]
    answers = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    worse.table.loc[:19, "prediction"] = worse.table["label"].iloc[:20].map(answers)
    frame = compare([better, worse], margin=margin)
    assert frame["verdict"].tolist() == ["better"]
    (sentence,) = comparison_sentences(frame)
    said = " is better than resnet50 (fine-tuned), but within the margin of 20 points: accuracy "
    assert (said in sentence) == (margin == 0.2)
    table = render_comparison(frame, "markdown")
    assert ("| better, within the margin |" in table) == (margin == 0.2)
    assert ("Within the margin: the difference is proven" in table) == (margin == 0.2)
    (sentence,) = freezing_sentences(frozen_against_unfrozen([better, worse], margin=margin))
    assert (", within the margin of 20 points: 100.0%" in sentence) == (margin == 0.2)


def test_an_undefined_metric_decides_nothing(run):
    """Kappa of a test set of one class that both runs always name."""
    flat = [run(), run(seed=1)]
    for one in flat:
        one.table[["label", "prediction"]] = "NORMAL"
    (row,) = compare(flat, metric="cohen_kappa", margin=0.1).to_dict("records")
    assert np.isnan(row["difference"])
    assert row["verdict"] == "identical predictions"


@pytest.fixture
def perfect_and_constant(run):
    """40 images: all right and perfectly ranked; one answer, and one probability, given to all."""
    runs = [run(n=40), run(n=40, unfreeze="all", run="constant")]
    for one in runs:
        one.table["group_id"] = one.table["image_id"]
        one.table["label"] = ["NORMAL"] * 28 + ["PNEUMONIA"] * 12
    right = (runs[0].table["label"] == "PNEUMONIA") * 0.6 + 0.2
    for one, share in zip(runs, (right, 0.3), strict=True):
        one.table["prob_PNEUMONIA"], one.table["prob_NORMAL"] = share, 1 - share
    runs[0].table["prediction"] = runs[0].table["label"]
    runs[1].table["prediction"] = "NORMAL"
    return runs


@pytest.mark.parametrize("metric", ["roc_auc", "balanced_accuracy"])
def test_a_perfect_run_against_a_constant_one_is_decided(perfect_and_constant, run, metric):
    """Leaving out any image changes neither score: Clopper-Pearson of 12 images of the rare one."""
    bound = 0.025 ** (1 / 12)
    for sign, pair in ((1, perfect_and_constant), (-1, perfect_and_constant[::-1])):
        (row,) = compare(pair, metric=metric, margin=0.1).to_dict("records")
        assert row["verdict"] == ("better" if sign == 1 else "worse")
        assert row["difference"] == pytest.approx(sign / 2)
        ends = sorted([sign * (bound - 0.5), sign * 0.5])
        assert (row["low"], row["high"]) == pytest.approx(tuple(ends))
        assert row["p"] == pytest.approx(2 * 0.5**12)
        assert np.isnan(row["smallest_p"])
        assert row["test"] == "Clopper-Pearson of a score at its end"
    scores = evaluate(perfect_and_constant, metrics=[metric]).set_index("run")
    assert scores.loc["run-0", "low"] == pytest.approx(bound)
    # In a family the interval is wider; the others keep their tests.
    third = run(n=40, seed=2, run="third")
    third.table[["label", "group_id"]] = perfect_and_constant[0].table[["label", "group_id"]]
    family = compare([*perfect_and_constant, third], metric=metric).set_index(["a", "b"])
    pair = family.loc[("run-0", "constant")]
    assert pair["p"] <= pair["p_adjusted"] < 0.05
    assert pair["low"] < bound - 0.5
    assert pair["high"] == 0.5
    assert (family.drop(("run-0", "constant"))["test"] == "sign flips of images").all()
    few = [one.table.iloc[26:30] for one in perfect_and_constant]
    for one, table in zip(perfect_and_constant, few, strict=True):
        one.table = table
    (row,) = compare(perfect_and_constant, metric=metric).to_dict("records")
    assert (row["verdict"], row["p"]) == ("undecided", pytest.approx(0.5))
    # 2 of 4 images are of each class; p is below 5% from 6 of each on.
    assert row["groups_needed"] == 11
    assert "About 11 test images would decide" in render_comparison(
        compare(perfect_and_constant, metric=metric)
    ).replace("\n", " ")


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("groups", [2, 5, 6, 40])
@pytest.mark.parametrize("seeds", [1, 3])
def test_all_right_against_all_wrong_is_decided_with_an_interval(run, images, groups, seeds):
    """40 images had p < 0.001 and no interval: all differ by as much."""
    answers = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    runs = []
    for way in ("none", "all"):
        for seed in range(seeds):
            one = run(n=groups * images, unfreeze=way, run=f"{way}-{seed}")
            one.meta["seed"] = seed
            one.table["group_id"] = [f"p{i // images}" for i in range(groups * images)]
            label = one.table["label"]
            one.table["prediction"] = label if way == "none" else label.map(answers)
            runs.append(one)
    (row,) = compare(runs, margin=0.1).to_dict("records")
    assert row["p"] == pytest.approx(2 * 0.5**groups)
    assert row["verdict"] == ("better" if groups > 5 else "undecided")
    assert (row["low"], row["high"]) == pytest.approx((2 * 0.025 ** (1 / groups) - 1, 1))
    assert (row["low"] > 0) == (row["verdict"] == "better")
    needed = 6 if groups < 6 else np.nan
    assert row["groups_needed"] == pytest.approx(needed, nan_ok=True)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, -1.0])
def test_the_same_difference_in_every_group_is_rare_where_the_interval_ends(share):
    """Most of `share` is seen where all else is as far away as it can be: 2.5% at each end."""
    test = ExactTest(share, -1.0, 1.0, 30, "")
    for side, end in zip((-1, 1), test.interval(0.95), strict=True):
        if side == share:
            assert end == share
            continue
        like = 0.025 ** (1 / 30)
        assert end == pytest.approx(like * share + (1 - like) * side)
        assert test.p(end) == pytest.approx(0.05)
    assert test.p(share) == 1


@pytest.mark.parametrize("metric", ["balanced_accuracy", "average_precision", "f1_macro"])
def test_one_class_alone_decides_nothing_of_classes(perfect_and_constant, metric):
    """Who calls all images by the one class that there is has found no other."""
    for one, name in zip(perfect_and_constant, ("NORMAL", "PNEUMONIA"), strict=True):
        one.table = one.table.iloc[:20].assign(prediction=name)
    (row,) = compare(perfect_and_constant, metric=metric).to_dict("records")
    assert row["verdict"] == "undecided"
    assert pd.isna([row["p"], row["low"]]).all()
    # Half right of two classes in every image: no interval of no width. No positive: no bound.
    low = evaluate(perfect_and_constant, metrics=[metric])["low"]
    assert np.isnan(low[0]) == (metric != "balanced_accuracy")
    assert np.isnan(low[1]) == (metric == "average_precision")


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1_weighted"])
def test_one_answer_that_is_never_right_is_no_score_that_no_sample_changes(run, metric):
    """All right against a class that does not occur: 5 patients had p < 0.001."""
    runs = [run(("a", "b", "c"), n=10, run="right"), run(("a", "b", "c"), n=10, head="knn")]
    for one in runs:
        one.table["group_id"] = [f"p{i // 2}" for i in range(10)]
        one.table["label"] = one.table["prediction"] = ["a"] * 4 + ["b"] * 6
    runs[1].table["prediction"] = "c"
    (row,) = compare(runs, metric=metric).to_dict("records")
    assert row["verdict"] == "undecided"
    assert pd.isna([row["p"], row["low"]]).all()


def test_a_precision_that_has_no_interval_is_not_compared(perfect_and_constant):
    """Three right calls and four wrong ones had +53 points, p < 0.001."""
    one, other = perfect_and_constant
    sick = one.table["label"] == "PNEUMONIA"
    one.table["prediction"] = other.table["prediction"] = "NORMAL"
    one.table.loc[one.table.index[sick][:3], "prediction"] = "PNEUMONIA"
    other.table.loc[other.table.index[~sick][:4], "prediction"] = "PNEUMONIA"
    for metric in ("precision_macro", "precision[PNEUMONIA]"):
        frame = compare([one, other], metric=metric)
        assert frame["verdict"].tolist() == ["undecided"]
        assert frame[["p", "low"]].isna().all(axis=None)
        for shown in (
            render_comparison(frame, "markdown"),
            render(evaluate([one, other], metrics=[metric]), "markdown"),
        ):
            assert "(no interval: too few calls)" in shown


def test_what_is_rounding_alone_is_no_variance(run):
    """Losses that are the same for every image had an error of 1e-16, and so the family no ends."""
    runs = []
    for backbone, right in (("sure", 0.9), ("unsure", 0.6), ("third", None)):
        for seed in range(3):
            one = run(n=60, seed=seed, run=f"{backbone}{seed}", backbone=backbone)
            if right is not None:
                sick = one.table["label"] == "PNEUMONIA"
                one.table["prob_PNEUMONIA"] = np.where(sick, right, 1 - right)
                one.table["prob_NORMAL"] = 1 - one.table["prob_PNEUMONIA"]
                one.table["prediction"] = one.table["label"]
            one.meta["seed"] = seed
            runs.append(one)
    frame = compare(runs, metric="log_loss", replicates=1000).set_index(["a", "b"])
    ends = frame["high"] - frame["low"]
    # All images say the same of these two, with three seeds as with one: a loss has no other bound.
    (row,) = compare([runs[0], runs[3]], metric="log_loss", replicates=1000).to_dict("records")
    for one in (row, *frame[ends.isna()].to_dict("records")):
        assert one["verdict"] == "undecided"
        assert np.isnan([one["low"], one["p"], one["p_adjusted"]]).all()
        assert "No interval: leaving out any group changes nothing." in texts(one["notes"])
    assert ends.isna().sum() == 1
    assert (ends.dropna() < 2 * (frame["pair_high"] - frame["pair_low"]).dropna()).all()


def test_where_leaving_out_one_changes_nothing_nothing_is_decided(perfect_and_constant):
    """Of every two images of a patient one is right: no patient changes the mean of recalls."""
    one, constant = perfect_and_constant
    for each in (one, constant):
        each.table["group_id"] = [f"patient-{i // 2}" for i in range(40)]
    sick = one.table["label"] == "PNEUMONIA"
    one.table.loc[sick, "prediction"] = ["NORMAL", "PNEUMONIA"] * 6
    (row,) = compare([one, constant], metric="balanced_accuracy").to_dict("records")
    assert row["verdict"] == "undecided"
    assert pd.isna([row["p"], row["p_adjusted"], row["low"], row["high"]]).all()
    shown = render_comparison(compare([one, constant], metric="balanced_accuracy"), "markdown")
    assert "| +25.0 (no interval: leaving out any group changes nothing) | – | – |" in shown
    assert compare([one, constant])["verdict"].tolist() == ["better"]


def test_where_seeds_are_few_the_seeds_are_to_blame(run):
    runs = [
        run(seed=s + first, skill=skill, n=300, n_groups=200, run=f"{way}{s}", unfreeze=way)
        for first, way, skills in ((0, "none", (0.3, 2.5)), (9, "all", (2.5, 0.3)))
        for s, skill in enumerate(skills)
    ]
    for one in runs:
        one.meta["seed"] = int(one.run[-1])
    frame = compare(runs)
    assert np.isnan(frame["low"].item())
    said = " ".join(render_comparison(frame).split())
    assert "points (no interval: too few seeds), p 0." in said
    assert "Two seeds are too few to decide: take more seeds before more groups." in said
    few = compare([run(n_groups=4), run(n_groups=4, seed=1)])
    assert "No interval: too few groups" in texts(few["notes"].item())[0]


def test_too_few_groups_to_decide_is_said(run):
    runs = [run(n_groups=4, skill=9.0), run(n_groups=4, skill=-5.0, seed=1)]
    runs[1].table.loc[0, "prediction"] = runs[1].table["label"][0]
    (row,) = compare(runs).to_dict("records")
    assert row["p"] == row["smallest_p"] == 0.125
    assert texts(row["notes"])[-2] == (
        "Too few groups differ for p to fall below 0.125: no test can decide."
    )
    assert row["verdict"] == "undecided"


def test_families(run):
    runs = [
        run(seed=i, run=f"{backbone}-{way}", backbone=backbone, unfreeze=way, dataset=dataset)
        for dataset in ("chest", "skin")
        for i, (backbone, way) in enumerate(
            [
                ("vgg16", "none"),
                ("vgg16", "all"),
                ("vgg16", "2"),
                ("resnet50", "none"),
                ("resnet50", "all"),
            ]
        )
    ]
    for each in runs:
        each.meta["seed"] = 0
    freezing = compare(runs, family="freezing", replicates=500)
    assert freezing.groupby("dataset").size().tolist() == [3, 3]
    assert set(freezing["adjustment"]) == {"max-T"}
    assert set(freezing["family_size"]) == {3}
    assert freezing["a"].str.contains("-none").all()
    pairs = compare(runs, replicates=500)
    assert pairs.groupby("dataset").size().tolist() == [10, 10]
    assert set(pairs["adjustment"]) == {"max-T"}
    for found in (freezing, pairs):
        assert (found["p_adjusted"] >= found["p"]).all()
        assert (found["low"] <= found["pair_low"]).all()
        assert (found["pair_high"] <= found["high"]).all()


def test_different_test_sets(run):
    short = run(seed=1)
    short.table = short.table.iloc[:50]
    with pytest.raises(InputError) as caught:
        compare([run(), short])
    assert str(caught.value) == (
        "The test sets differ: all runs have only 50 images in common (run-0 60, run-1 50); use "
        "--intersection to compare on those."
    )
    (row,) = compare([run(), short], intersection=True).to_dict("records")
    assert row["n_images"] == 50
    said = "Compared on the 50 images that all runs have (run-0 60, run-1 50)."
    assert said in texts(row["notes"])


def changed(one, column, value, row=3):
    one.table.loc[row, column] = value
    return one


def test_what_cannot_be_paired(run):
    def sentence(*runs, **options):
        with pytest.raises(InputError) as caught:
            compare(list(runs), **options)
        return str(caught.value)

    assert sentence(run()) == "One run alone cannot be compared: give at least two."
    assert sentence(run(), run(dataset="skin")).startswith(
        "Nothing to compare: no data set has runs of two methods "
    )
    assert sentence(run(), run(seed=1), family="freezing").startswith(
        "Nothing to compare: no backbone has a frozen and an unfrozen run "
    )
    assert sentence(run(), run(("NORMAL", "OTHER"), seed=1)) == (
        "run-0 and run-1 have different classes (NORMAL, PNEUMONIA and NORMAL, OTHER): "
        "compare runs of one class list."
    )
    flipped = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}[run().table.loc[3, "label"]]
    assert sentence(run(), changed(run(seed=1), "label", flipped)) == (
        "run-0 and run-1 give image 'image-003.png' different labels: correct one of them."
    )
    assert sentence(run(), changed(run(seed=1), "group_id", run().table.loc[4, "group_id"])) == (
        "run-0 and run-1 have different groups: correct one of them."
    )
    bare = run(seed=1)
    bare.table["image_id"] = None
    assert sentence(run(), bare).startswith(
        "run-1: there is no image_id, so its rows cannot be paired "
    )
    assert sentence(run(), run(seed=1), metric="recall_weighted") == (
        "`recall_weighted` is the same number as accuracy: compare by accuracy."
    )
    plain = run(seed=1)
    plain.table = plain.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    assert sentence(run(), plain, metric="roc_auc") == (
        "ROC AUC needs probabilities, and not every run has them (a vote over "
        "images has none): compare by another metric."
    )
    assert sentence(run(), run(seed=1), metric="calibration_error").startswith(
        "calibration_error is not compared, because it has no interval: "
    )
    for metric, right in (("calibration_slope", 1), ("calibration_intercept", 0)):
        refused = (
            f"{metric} does not say which method is better, because {right} is right and both more "
            "and less are worse: take log_loss."
        )
        assert sentence(run(), run(seed=1), metric=metric) == refused
        with pytest.raises(InputError, match="is right and both more"):
            rank_methods([run(), run(seed=1, head="knn")], metric=metric)
    with pytest.raises(InputError, match="`render_comparison` is for `compare`"):
        render(compare([run(), run(seed=1, head="knn")]))
    assert sentence(run(), run(seed=1), margin=-1.0).startswith("The margin -1.0 is not above 0:")
    assert sentence(run(), run(seed=1), margin=2.0) == (
        "The margin 2.0 is no less than the whole range of accuracy: it is a fraction, such as "
        "0.02 for 2 points."
    )
    assert sentence(run(), run(seed=1), family="all").startswith("There is no family 'all': ")
    assert sentence(run(), run(seed=1), replicates=5).startswith("5 replicates are too few ")


def test_classes_in_another_order_are_the_same(run):
    other = run(seed=1)
    turned = Predictions(other.table, {**other.meta, "classes": other.classes[::-1]})
    one, same = compare([run(), other]), compare([run(), turned])
    assert one["difference"].tolist() == same["difference"].tolist()
    assert one["p"].tolist() == same["p"].tolist()


def seeds_of(run, skills, seeds=3, **meta):
    """Runs of a method for each skill, by how much was trained."""
    made = []
    for place, (unfreeze, skill) in enumerate(skills.items()):
        for seed in range(seeds):
            one = run(
                n=120,
                n_groups=80,
                skill=skill,
                seed=10 * place + seed,
                unfreeze=unfreeze,
                run=f"{unfreeze}-s{seed}",
                **meta,
            )
            one.meta["seed"] = seed
            made.append(one)
    return made


def test_command_page_terminal_and_latex_give_one_answer(run, tmp_path):
    """Three seeds at two depths: one difference, interval, p and verdict, wherever it is shown."""
    runs = seeds_of(run, {"none": 2.5, "2": 0.5})
    paths = []
    for one in runs:
        paths.append(str(tmp_path / f"{one.run}.parquet"))
        write_predictions(paths[-1], one.table, one.meta)

    def command(format):
        words = ["compare", *paths, "--family", "freezing", "--format", format]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    (row,) = json.loads(command("json"))
    assert (row["a"], row["b"]) == (
        "resnet50, frozen, paper, logistic, 3 seeds",
        "resnet50, last 2 blocks fine-tuned, paper, logistic, 3 seeds",
    )
    assert (row["seeds_a"], row["seeds_b"], row["test"]) == (
        3,
        3,
        "Student's t of groups and seeds",
    )
    assert row["verdict"] == "better"
    (here,) = compare(paths, family="freezing").to_dict("records")
    (shown,) = frozen_against_unfrozen(paths).to_dict("records")
    for name in ("difference", "low", "high", "p", "p_adjusted", "verdict", "df", "estimate_a"):
        assert row[name] == here[name] == shown[name], name
    points = [f"{100 * row[name]:.1f}" for name in ("difference", "low", "high")]
    frame, rows = tabulate(score(paths), replicates=200)
    assert answer(frame, "accuracy", rows)[0].startswith(
        f"Freezing helped resnet50 on chest by {points[0]} points of accuracy "
        f"[{points[1]}, {points[2]}]: "
    )
    p = "< 0.001" if row["p_adjusted"] < 0.001 else f"{row['p_adjusted']:.3f}"
    assert row["label_a"] == "resnet50 (frozen, 3 seeds)"
    sentence = f"{row['label_a']} is better than {row['label_b']}: accuracy +{points[0]} points "
    signed = [f"+{value}" for value in points[1:]]
    assert f"{sentence}[{', '.join(signed)}], p {p}" in command("table")
    latex = command("latex").replace(r"\textless{}", "<")
    assert f"+{points[0]} [{', '.join(signed)}]" in latex
    assert p in latex
    # The marks of tables come from the same comparison.
    marks = mark_best(group_methods(score(paths)), "accuracy")
    assert marks[["run", "mark"]].values.tolist() == [["none-s0", "alone"]]


def test_several_seeds_are_methods_in_every_family(run):
    runs = seeds_of(run, {"none": 2.5, "2": 2.2, "all": 0.5})
    pairs = compare(runs)
    assert len(pairs) == 3
    assert set(pairs["adjustment"]) == {"Bonferroni"}
    decided = pairs["p_adjusted"] < 0.05
    assert decided.tolist() == ((pairs["low"] > 0) | (pairs["high"] < 0)).tolist()
    mixed = compare([*runs[:3], runs[3]])
    assert mixed[["seeds_a", "seeds_b", "b"]].values.tolist() == [[3, 1, "2-s0"]]
    (alone,) = [note for note in mixed["notes"][0] if note.text.startswith("One seed")]
    assert (alone.text, alone.runs) == (ONE_SEED.text, ("2-s0",))
    with pytest.raises(InputError, match=r"^Nothing to compare: no data set has runs of two "):
        compare(runs[:3])
    # Random weights are one kind, whatever their seed.
    other = [run(weights="random, seed 0"), run(weights="random, seed 3", unfreeze="all", seed=1)]
    assert len(compare(other, family="freezing")) == 1


def test_a_users_name_stays_as_typed(run):
    runs = [
        run(run="ensAll", backbone=None, dataset=None),
        run(run="eb", seed=1, backbone=None, dataset=None),
    ]
    frame, rows = tabulate(score(runs), replicates=100)
    assert "ensAll" in render_comparison(compare(runs))
    assert not any(
        "EnsAll" in text
        for text in (render_comparison(compare(runs)), *answer(frame, "accuracy", rows))
    )


def by_seed(run, seeds, change):
    """Two methods that a seed changes alike: the second also gets `change` images right."""
    runs = []
    for seed in range(seeds):
        first = run(seed=seed, skill=(0.6, 2.4, 1.2, 1.8, 0.9)[seed], n=400, n_groups=400)
        table = first.table.copy()
        wrong = np.flatnonzero(table["prediction"] != table["label"])[:change]
        rows = table.index[wrong]
        table.loc[rows, "prediction"] = table.loc[rows, "label"]
        for one, way in ((first.table, "none"), (table, "all")):
            meta = first.meta | {"run": f"{way}-{seed}", "unfreeze": way, "seed": seed}
            runs.append(Predictions(one, meta))
    return runs


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_what_a_seed_does_to_both_methods_is_no_difference_of_theirs(run, seeds):
    """The difference is 20 images with every seed, where accuracy itself varies by 30 points."""
    runs = by_seed(run, seeds, 20)
    (row,) = compare(runs).to_dict("records")
    assert row["verdict"] == "worse"
    assert row["seed_error"] < 0.2 * row["group_error"]
    assert (row["low"] + row["high"]) / 2 == pytest.approx(-0.05)
    assert row["high"] - row["low"] < 0.05
    # Files in another order, and seeds by other names, are the same comparison.
    (other,) = compare(runs[::-1]).to_dict("records")
    assert other["high"] == pytest.approx(-row["low"])
    # Other seeds of the second method: each varies for itself.
    for one in runs:
        if one.meta["unfreeze"] == "all":
            one.meta["seed"] += 10
    (apart,) = compare(runs).to_dict("records")
    assert apart["verdict"] == "undecided"
    assert apart["seed_error"] > 0.02


def test_no_test_can_decide_is_said_of_no_pair_that_is_decided(run):
    """Of a metric that is no mean, units tell methods apart in which both answer the same."""
    runs = [run(n=60, n_groups=60, skill=9.0), run(n=60, n_groups=60, skill=9.0, unfreeze="all")]
    wrong = runs[1].table.index[runs[1].table["label"] == "PNEUMONIA"][:3]
    runs[1].table.loc[wrong, "prediction"] = "NORMAL"
    for metric in ("accuracy", "f1_macro", "matthews_corrcoef"):
        (row,) = compare(runs, metric=metric).to_dict("records")
        assert row["smallest_p"] <= row["p"]
        said = any("no test can decide" in text for text in texts(row["notes"]))
        assert said == (row["smallest_p"] >= 0.05)
        assert not said or row["verdict"] == "undecided"


def test_a_reason_names_only_the_class_that_matters(run):
    runs = [
        run(("A", "B", "F"), n=40, n_groups=20),
        run(("A", "B", "F"), n=40, n_groups=20, seed=1),
    ]
    for one in runs:
        label = one.table["label"].where(one.table["label"] != "F", "B")
        one.table["label"] = label.mask(one.table.index == 3, "F")
        one.table.loc[one.table["label"] == "A", "label"] = "B"
        one.table.loc[one.table["group_id"] == one.table["group_id"][0], "label"] = "A"
    notes = compare(runs, metric="recall[A]")["notes"].item()
    (none,) = [note for note in notes if note.text.startswith("No interval")]
    assert none.classes == ("A",)


def test_a_loss_whose_interval_is_absurd_has_the_reason(run):
    runs = []
    for way, skills in (("none", (0.2, 9.0)), ("all", (9.0, 0.2))):
        for seed, skill in enumerate(skills):
            one = run(n=200, n_groups=200, skill=skill, seed=seed, unfreeze=way, run=f"{way}{seed}")
            one.meta["seed"] = seed
            runs.append(one)
    third = [Predictions(one.table, one.meta | {"backbone": "other"}) for one in runs[:1]]
    frame = compare([*runs, *third], metric="log_loss")
    spread = frame["high"] - frame["low"]
    most = 100 * frame[["estimate_a", "estimate_b"]].max(axis=1)
    assert (spread.isna() | (spread <= most)).all()
    (row,) = frame[(frame["seeds_a"] == 2) & (frame["seeds_b"] == 2)].to_dict("records")
    assert any("too few seeds" in text for text in texts(row["notes"])) or row["high"] < 100


def test_an_end_at_the_range_is_said(run):
    runs = [run(n=12, n_groups=12, skill=9.0), run(n=12, n_groups=12, skill=-9.0, unfreeze="all")]
    runs[1].table.loc[:1, "prediction"] = runs[1].table["label"][:2]
    (row,) = compare(runs).to_dict("records")
    assert row["high"] == 1
    assert any("the test excludes nothing" in text for text in texts(row["notes"]))
