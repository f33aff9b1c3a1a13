"""Seeds, folds, ranks and reliability against what they must be where that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from frostline.cache import InputError
from frostline.report import compare, evaluate
from frostline.report.notes import texts
from frostline.report.statistics.calibration import reliability
from frostline.report.statistics.comparisons.methods import group_methods
from frostline.report.statistics.evaluation import as_scored
from frostline.report.statistics.intervals.reasons import says_nothing
from frostline.report.statistics.methods import tabulate_methods
from frostline.report.statistics.ranks import _defined, _weighted, find_cohorts, rank_methods
from frostline.report.statistics.sample import make_sample
from frostline.report.statistics.seeds import ONE_SEED, over_folds, over_seeds, pool_folds
from frostline.report.tables.methods import render_over


def seeds(run, n=3, **options):
    made = [run(seed=i, run=f"s{i}", **options) for i in range(n)]
    for number, one in enumerate(made):
        one.meta["seed"] = number
    return made


def parts(runs):
    """Right answers [G, S] and images [G] of each patient, of all seeds."""
    right = np.stack([(r.table["prediction"] == r.table["label"]) for r in runs], axis=1)
    group = runs[0].table["group_id"]
    return pd.DataFrame(right).groupby(group.to_numpy()).sum().to_numpy(), group.value_counts(
        sort=False
    ).sort_index().to_numpy()


def of_groups(right, images):
    """Degrees of freedom of unequal groups: effective ones, or by the moments of residuals."""
    squares = (right - right.sum() / images.sum() * images) ** 2
    moments = 2 * squares.sum() ** 2 / (squares**2).sum()
    return min(images.sum() ** 2 / (images**2).sum() - 1, max(moments - 1, 4))


def test_groups_seeds_and_their_interaction_are_counted_once(run):
    """The terms of an analysis of variance of pseudo-values, by hand; t on the logit scale."""
    runs = seeds(run, 4)
    row = over_seeds(runs, metrics=["accuracy"]).iloc[0]
    right, images = parts(runs)
    n, s = right.shape
    values = right.sum(0) / images.sum()
    effective = images.sum() ** 2 / (images**2).sum()
    residuals = (right - values * images[:, None]) / images.sum()
    between = (residuals.mean(1) ** 2).sum() * effective / (effective - 1)
    apart = residuals - residuals.mean(1, keepdims=True)
    interaction = (apart**2).sum() * n / (n - 1) / (s - 1) / s
    whole = (values.var(ddof=1) + (images.min() / images.sum()) ** 2 / 6) / s
    shared = min(interaction, whole, between)
    assert row["group_error"] == pytest.approx(between**0.5)
    assert row["seed_error"] == pytest.approx((whole - shared) ** 0.5)
    total = between + whole - shared
    dfs = [of_groups(right.mean(1), images), s - 1]
    # Cochran and Cox: the quantiles' mean, weighted by the variances.
    quantile = np.array([between - shared, whole]) @ stats.t.ppf(0.975, dfs) / total
    assert stats.t.ppf(0.975, row["df"]) == pytest.approx(quantile)
    centre = values.mean()
    reach = quantile * total**0.5 / (centre * (1 - centre))
    ends = 1 / (1 + np.exp(-(np.log(centre / (1 - centre)) + np.array([-reach, reach]))))
    assert (row["low"], row["high"]) == pytest.approx(tuple(ends))


@pytest.mark.parametrize(
    ("metric", "skill"),
    [("accuracy", 3.0), ("roc_auc", 2.0), ("matthews_corrcoef", 3.0), ("log_loss", 3.0)],
)
def test_no_end_lies_beyond_what_a_metric_can_be(run, metric, skill):
    """Student's t about a mean of 0.97 would end above 1, and was cut off there."""
    runs = seeds(run, 3, n_groups=14, skill=skill)
    row = over_seeds(runs, metrics=[metric]).iloc[0]
    top = np.inf if metric == "log_loss" else 1
    assert row["low"] < row["estimate"] < top
    assert row["estimate"] < row["high"] <= top
    assert row["low"] > (0 if metric == "log_loss" else -1)
    half = stats.t.ppf(0.975, row["df"]) * np.hypot(row["group_error"], row["seed_error"])
    assert metric == "log_loss" or row["estimate"] + half > 1


def test_all_seeds_at_the_top_have_clopper_pearson(run):
    """ROC AUC of 1 with every seed, by different probabilities."""
    runs = seeds(run, 3, skill=9.0)
    row = over_seeds(runs, metrics=["roc_auc"]).iloc[0]
    assert (row["estimate"], row["high"], row["method"]) == (1, 1, "clopper-pearson")
    units = make_sample(runs[0]).class_units.min()
    assert row["low"] == pytest.approx(0.025 ** (1 / units))
    assert np.isnan(row["df"])


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "precision_weighted", "roc_auc"])
def test_same_predictions_have_the_same_interval_whatever_the_row_is(run, times, metric):
    """One run, a method of one seed, and one whose seeds all answer alike are one thing."""
    runs = [run(run=f"s{i}", n=900, n_groups=900) for i in range(times)]
    for number, one in enumerate(runs):
        one.meta["seed"] = number
    alone = evaluate(runs[:1], metrics=[metric]).iloc[0]
    row = over_seeds(runs, metrics=[metric]).iloc[0]
    fields = ["estimate", "low", "high", "method", "replicates"]
    assert row[fields].tolist() == alone[fields].tolist()


def test_a_head_of_one_answer_has_the_majority_s_interval(run):
    """A method of three seeds was on another scale than the majority row."""
    runs = seeds(run, 3)
    for one in runs:
        one.table["prediction"] = "PNEUMONIA"
    names = ["accuracy", "balanced_accuracy", "precision_weighted", "f1_weighted", "recall[NORMAL]"]
    frame = evaluate(runs, metrics=names)
    majority = frame[frame["run"].str.contains("majority")].set_index("metric")
    for part in (frame[frame["run"] == "s0"], over_seeds(runs, metrics=names)):
        own = part.set_index("metric")
        for name in names:
            for side in ("estimate", "low", "high", "method"):
                assert own.loc[name, side] == majority.loc[name, side], (name, side)
    options = {"ci": "percentile", "replicates": 200}
    methods = tabulate_methods(group_methods(as_scored(runs)), names, options)
    by_percentile = evaluate(runs, metrics=names, ci="percentile", replicates=200)
    same = by_percentile[by_percentile["run"] == "s0"]
    assert methods[["low", "high"]].to_numpy().tolist() == same[["low", "high"]].to_numpy().tolist()


def test_what_is_to_distrust_of_a_seed_is_said_of_the_mean(run):
    runs = seeds(run, 3, n_groups=25)
    said = texts(over_seeds(runs, metrics=["f1_macro"]).iloc[0]["notes"])
    alone = texts(evaluate(runs[:1], metrics=["f1_macro"]).iloc[0]["notes"])
    assert alone
    assert set(alone) <= set(said)
    runs[1].table["prediction"] = ["PNEUMONIA"] * 58 + ["NORMAL"] * 2
    row = over_seeds(runs, metrics=["precision_macro"]).iloc[0]
    assert np.isnan(row["low"])
    assert "No interval: too few calls (fewer than 5 groups were called a class)." in texts(
        row["notes"]
    )


def test_two_seeds_that_differ_much_say_too_little(run):
    """Student's t of one degree of freedom is 12.7: the interval would be [0.0, 100.0]."""
    runs = [run(seed=s, n=40, n_groups=12, skill=skill) for s, skill in enumerate((0.3, 1.5))]
    for seed, one in enumerate(runs):
        one.meta["seed"] = seed
    frame = over_seeds(runs, metrics=["accuracy", "cohen_kappa", "log_loss"])
    assert frame[["low", "high"]].isna().all(axis=None)
    assert (frame["seed_error"] > 0).all()
    shown = render_over(frame, "seeds")
    assert "[" not in shown
    assert shown.count("few seeds)") == 3
    # Of three groups it is the groups, whatever the seeds are.
    for one in runs:
        one.table["group_id"] = np.repeat(["a", "b"], [39, 1])
    frame = over_seeds(runs, metrics=["accuracy"])
    assert texts(frame["notes"].iloc[0])[0].startswith("No interval: too few groups (")
    (row,) = evaluate(runs[:1], metrics=["accuracy"]).query("run == 'run-0'").to_dict("records")
    assert np.isnan(row["low"])
    assert texts(row["notes"])[0].startswith("No interval: too few groups (")


@pytest.mark.parametrize(
    ("low", "high", "scale", "nothing"),
    [
        (0.003, 0.999, (0, 1), True),
        (0.04, 0.98, (0, 1), False),
        (-1, 0.91, (-1, 1), True),
        (0.01, 1.1, (0, np.inf), True),
        (0.02, 1.1, (0, np.inf), False),
        (-9, np.inf, None, True),
        (-9, 9, None, False),
    ],
)
def test_what_holds_all_values_says_nothing(low, high, scale, nothing):
    assert says_nothing(low, high, scale) == nothing


def test_a_score_at_its_end_with_too_few_units_says_so(run):
    """One patient of a class, who is never found, ended in a division by zero."""
    runs = seeds(run, 3)
    for one in runs:
        one.table["label"] = ["NORMAL"] * 59 + ["PNEUMONIA"]
        one.table.loc[59, "prediction"] = "NORMAL"
        one.table["group_id"] = one.table["image_id"]
    (row,) = over_seeds(runs, metrics=["f1[PNEUMONIA]"]).to_dict("records")
    assert np.isnan(row["low"])
    assert any("too few images" in text for text in texts(row["notes"]))


def test_a_loss_of_nothing_has_no_interval(run):
    """Losses have no highest value, so that there is no bound of one that is 0 for every seed."""
    runs = seeds(run, 3)
    for seed, one in enumerate(runs):
        sick = one.table["label"] == "PNEUMONIA"
        one.table["prob_PNEUMONIA"] = np.where(sick, 1 - seed * 1e-9, seed * 1e-9)
        one.table["prob_NORMAL"] = 1 - one.table["prob_PNEUMONIA"]
        one.table["prediction"] = one.table["label"]
    (row,) = over_seeds(runs, metrics=["brier_score_loss"]).to_dict("records")
    assert np.isnan(row["low"])
    assert "No interval: the estimate is at its bound." in texts(row["notes"])


@pytest.mark.filterwarnings("error")
def test_a_class_that_does_not_occur_warns_of_nothing(run):
    runs = seeds(run, 2)
    for one in runs:
        one.table["label"] = one.table["prediction"] = "NORMAL"
        one.table.loc[0, "prediction"] = "PNEUMONIA"
    runs[1].table.loc[1, "prediction"] = "PNEUMONIA"
    names = ["recall[PNEUMONIA]", "f1[PNEUMONIA]", "precision[PNEUMONIA]"]
    frame = over_seeds(runs, metrics=names)
    assert frame["low"].isna().tolist()[::2] == [True, True]
    for name in names:
        assert compare(
            [runs[0], replace(runs[1], meta=runs[1].meta | {"head": "knn"})], metric=name
        )["verdict"].tolist() == ["undecided"]


def test_one_seed_is_this_model(run):
    (row,) = over_seeds(seeds(run, 1), metrics=["accuracy"]).to_dict("records")
    assert ONE_SEED.text in texts(row["notes"])
    assert np.isnan(row["seed_error"])
    right, images = parts(seeds(run, 1))
    assert row["df"] == pytest.approx(of_groups(right[:, 0], images))


def test_seeds_of_a_method_are_one_row(run):
    runs = [*seeds(run), run(seed=7, run="t", unfreeze="all")]
    for number, each in enumerate(runs):
        each.meta["seed"] = number
    frame = over_seeds(runs)
    assert frame.groupby("run").size().to_dict() == {"s0": 5, "t": 5}
    row = frame[(frame["run"] == "s0") & (frame["metric"] == "accuracy")].iloc[0]
    alone = evaluate(runs[:3], metrics=["accuracy"], replicates=100)["estimate"][:3]
    assert row["estimate"] == pytest.approx(alone.mean())
    assert row["n_seeds"] == 3
    assert row["low"] < row["estimate"] < row["high"]


def test_runs_of_equal_seed_are_not_seeds_of_a_method(run):
    frame = over_seeds([run(), run(seed=1)], metrics=["accuracy"])
    assert frame["n_seeds"].tolist() == [1, 1]


def test_seeds_are_pooled_by_probabilities_too(run):
    runs = seeds(run)
    row = over_seeds(runs, metrics=["log_loss"]).iloc[0]
    alone = evaluate(runs, metrics=["log_loss"], replicates=100)["estimate"]
    assert row["estimate"] == pytest.approx(alone.mean())
    assert 0 <= row["seed_error"] < stats.sem(alone)
    for one in runs:
        one.table = one.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    row = over_seeds(runs, metrics=["log_loss"]).iloc[0]
    assert np.isnan(row["estimate"])
    assert texts(row["notes"]) == ["No value: there are no probabilities."]


def test_seeds_of_other_test_sets_are_refused(run):
    other = run(seed=1, n=50)
    other.meta["seed"] = 1
    with pytest.raises(InputError, match=r"^The test sets differ: "):
        over_seeds([run(), other])


def test_nadeau_and_bengio():
    """Their formula by hand; and it is wider than the naive one by the shared training data."""
    folds = np.array([0.01, 0.03, -0.02, 0.02, 0.04] * 2)
    pooled = pool_folds(folds, 0.2)
    error = np.sqrt((1 / 10 + 0.25) * folds.var(ddof=1))
    assert pooled.high - pooled.estimate == pytest.approx(stats.t.ppf(0.975, 9) * error)
    assert pooled.df == 9
    high = pool_folds([0.9, 1.0, 0.95, 1.0], 0.2, (0.0, 1.0))
    assert high.low < 0.9
    assert 0.99 < high.high < 1 < pool_folds([0.9, 1.0, 0.95, 1.0], 0.2).high
    assert np.isnan(pool_folds([1.0, 1.0], 0.2, (0.0, 1.0)).low)
    with pytest.raises(InputError, match=r"^One fold alone shows no variation: "):
        pool_folds([0.1], 0.2)
    with pytest.raises(InputError, match=r"^The test share 20 is not between 0 and 1: "):
        pool_folds([0.1, 0.2], 20)


def test_cohorts_join_data_sets_that_share_patients():
    people = {"t1": {"a", "b"}, "skin": {"x"}, "t2": {"b", "c"}, "flair": {"c"}}
    assert find_cohorts(people) == [["skin"], ["t1", "t2", "flair"]]


def test_ranks(run):
    def method(backbone, skill, dataset, seed):
        one = run(
            seed=seed,
            run=f"{backbone}-{dataset}-{seed}",
            backbone=backbone,
            skill=skill,
            dataset=dataset,
            n=200,
            n_groups=60,
        )
        one.meta["seed"] = seed
        return one

    runs = [
        method(name, skill, dataset, seed)
        for dataset in ("t1", "t2")
        for seed in (0, 1)
        for name, skill in (("good", 4.0), ("bad", 0.3), ("fair", 2.0))
    ]
    frame = rank_methods(runs, replicates=300)
    assert [name.split(",")[0] for name in frame["method"]] == ["good", "fair", "bad"]
    assert frame["mean_rank"].tolist() == [1, 2, 3]
    assert (frame["low"] <= frame["mean_rank"]).all()
    assert (frame["mean_rank"] <= frame["high"]).all()
    # Made-up runs share the names of their patients, so the two data sets are one cohort.
    assert set(frame["cohorts"]) == {1}
    assert set(frame["seeds"]) == {2}
    assert frame["best_share"].iloc[0] > 0.95
    with pytest.raises(InputError, match=r"^Fewer than two methods were scored on every data set"):
        rank_methods([runs[0], runs[-1]])


def test_alike_methods_have_wide_ranks(run):
    runs = [run(seed=i, run=f"r{i}", backbone=f"b{i}", n=100, n_groups=50) for i in range(4)]
    frame = rank_methods(runs, replicates=300)
    assert (frame["high"] - frame["low"]).min() >= 1


def test_ranks_by_metrics_of_probabilities(run):
    runs = [
        run(seed=i, run=f"r{i}", backbone=f"b{i}", n=100, n_groups=50, skill=skill)
        for i, skill in enumerate((0.2, 1.0, 3.0))
    ]
    for metric in ("roc_auc", "log_loss", "average_precision"):
        frame = rank_methods(runs, metric=metric, replicates=200)
        assert [name.split(",")[0] for name in frame["method"]] == ["b2", "b1", "b0"], metric
        assert frame["mean_rank"].tolist() == [1, 2, 3]
        assert frame["best_share"].iloc[0] > 0.95
    # A draw of patients is a bootstrap sample of their rows.
    sample = make_sample(runs[0])
    times = np.array([[1] * 50, [2] + [0] * 10 + [1] * 39])[:, : sample.groups.max() + 1]
    rows = np.repeat(np.arange(100), times[1][sample.groups])
    found = _weighted(sample, "roc_auc", sample.groups, times)
    assert found == pytest.approx(
        [
            roc_auc_score(sample.truth[rows], sample.probs[rows, 1])
            for rows in (np.arange(100), rows)
        ]
    )
    bare = [run(seed=i, run=f"r{i}", backbone=f"b{i}") for i in range(2)]
    bare[1].table = bare[1].table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    with pytest.raises(InputError) as caught:
        rank_methods(bare, metric="roc_auc")
    assert str(caught.value) == (
        "ROC AUC needs probabilities, and not every run has them (a vote over "
        "images has none): rank by another metric."
    )
    rare = [run(seed=i, run=f"r{i}", backbone=f"b{i}") for i in range(2)]
    for one in rare:
        one.table["label"] = ["NORMAL"] * 59 + ["PNEUMONIA"]
    with pytest.raises(InputError, match=r"^ROC AUC is undefined in 3\d% of the draws of pat"):
        rank_methods(rare, metric="roc_auc")


def test_draws_in_which_a_metric_is_undefined_are_left_out():
    drawn = np.arange(400.0).reshape(2, 200)
    drawn[:, 7] = np.nan
    kept = _defined(drawn, "roc_auc")
    assert kept.shape == (2, 199)
    assert not np.isnan(kept).any()


def test_tied_methods_share_how_often_they_are_best(run):
    same = [run(run=f"r{i}", backbone=f"b{i}", skill=3.0) for i in range(3)]
    frame = rank_methods([*same, run(seed=5, backbone="bad", skill=0.1)], replicates=300)
    assert frame["best_share"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-9)
    assert frame["mean_rank"].tolist() == [2, 2, 2, 4]
    close = rank_methods(
        [run(seed=i, run=f"r{i}", backbone=f"b{i}", n=20, n_groups=15) for i in range(3)],
        replicates=300,
    )
    assert close["best_share"].sum() == pytest.approx(1)


def test_consistency_bars_hold_true_probabilities(run):
    rng = np.random.default_rng(0)
    one = run(n=3000, n_groups=3000)
    said = one.table["prob_PNEUMONIA"].to_numpy()
    one.table["label"] = np.where(rng.random(3000) < said, "PNEUMONIA", "NORMAL")
    table = reliability(make_sample(one))
    inside = (table["bar_low"] <= table["frequency"]) & (table["frequency"] <= table["bar_high"])
    assert inside.mean() > 0.85
    assert table["images"].sum() == 3000
    assert table["confidence"].between(table["low_edge"], table["high_edge"]).all()
    # Twice as sure as is true: most bars miss.
    sure = run(n=3000, n_groups=3000)
    sure.table["label"] = np.where(rng.random(3000) < (said + 1) / 3, "PNEUMONIA", "NORMAL")
    wrong = reliability(make_sample(sure))
    outside = (wrong["frequency"] < wrong["bar_low"]) | (wrong["frequency"] > wrong["bar_high"])
    assert outside.mean() > 0.5
    bare = run()
    bare.table = bare.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    with pytest.raises(InputError, match=r"^There is no reliability without probabilities: "):
        reliability(make_sample(bare))


def test_a_class_that_a_seed_never_predicts_is_said_once_and_of_precision_alone(run):
    runs = [run(seed=s, n_groups=40, skill=1.0, run=f"r{s}") for s in range(3)]
    for seed, one in enumerate(runs):
        one.meta["seed"] = seed
    runs[1].table["prediction"] = runs[1].classes[0]
    frame = over_seeds(runs, metrics=["accuracy", "precision_macro"]).set_index("metric")
    assert frame.loc["accuracy", "notes"] == ()
    (note,) = [n for n in frame.loc["precision_macro", "notes"] if "counts as 0" in n.text]
    assert note.text == "Precision counts as 0 for a class that is never predicted."
    assert note.classes == tuple(runs[0].classes[1:])
    assert note.runs == ("r0",)


def test_folds_that_are_alike_but_for_rounding_have_no_interval():
    """The mean of fifteen times 0.9 is not 0.9 to the last digit."""
    for value in (0.9, 0.7, 2 / 3, 0.95):
        assert np.isnan(pool_folds([value] * 15, 0.2, (0.0, 1.0)).low)


def test_a_family_of_methods_whose_seeds_vary_is_adjusted_for_every_pair(run):
    """Each method's few seeds are in the variance of all of its pairs."""
    runs = []
    for name, skill in (("a", 1.0), ("b", 1.4), ("c", 1.8)):
        for one in seeds(run, 3, backbone=name, skill=skill):
            one.meta["run"] = f"{name}{one.meta['seed']}"
            runs.append(one)
    pairs = compare(runs)
    assert set(pairs["adjustment"]) == {"Bonferroni"}
    assert pairs["p_adjusted"].tolist() == pytest.approx(np.minimum(3 * pairs["p"], 1).tolist())
    # Seeds that answer alike add nothing: the pairs are flipped together.
    for one in runs:
        one.table = next(r for r in runs if r.meta["backbone"] == one.meta["backbone"]).table
    assert set(compare(runs)["adjustment"]) == {"max-T"}


def test_a_repeat_that_is_given_twice_is_no_more_evidence(run):
    runs = seeds(run, 2)
    for one in runs:
        one.meta["cv"] = {"folds": 5, "repeat": 2}
        one.table["fold"] = one.table["group_id"].str[-1].astype(int) % 5
    over_folds(runs, metrics=["accuracy"])
    with pytest.raises(InputError, match="this repeat of the cross-validation is given twice"):
        over_folds([*runs, runs[0]], metrics=["accuracy"])


def test_a_seed_that_is_given_twice_is_not_ranked(run):
    both = [run(run="a"), run(run="b", backbone="other", seed=1)]
    assert rank_methods(both, replicates=100)["seeds"].tolist() == [1, 1]
    with pytest.raises(InputError, match="there is another run of this method with the same"):
        rank_methods([both[0], both[0], both[1]], replicates=100)
    for metric in ("recall_weighted", "calibration_error", "calibration_slope"):
        with pytest.raises(InputError):
            rank_methods(both, metric=metric)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc"])
def test_seeds_that_answer_alike_are_as_one(run, metric):
    """Whatever the order of the files, and in a family too: pseudo-values differ by rounding."""
    alone = run(run="alone", unfreeze="none", seed=5, skill=1.5)
    alike = [replace(alone, meta=alone.meta | {"run": f"s{i}", "seed": i}) for i in range(3)]
    others = [
        run(run=f"other{i}", unfreeze="all", weights=f"w{i}", seed=10 + i, skill=1.0 + i)
        for i in range(2)
    ]
    one, three = compare([alone, *others], metric=metric), compare([*alike, *others], metric=metric)
    last = compare([*others, *alike], metric=metric)
    assert set(one["adjustment"]) == set(three["adjustment"]) == set(last["adjustment"])
    asked = ["p", "p_adjusted", "groups_needed"]
    by_p = [frame.sort_values("p")[asked] for frame in (one, three, last)]
    for frame in by_p[1:]:
        np.testing.assert_allclose(frame, by_p[0], rtol=1e-9)
    row = over_seeds(alike, metrics=[metric]).iloc[0]
    assert (row["seed_error"], row["n_seeds"]) == (0, 3)
    (single,) = evaluate([alone], metrics=[metric]).to_dict("records")[:1]
    assert (row["low"], row["high"]) == pytest.approx((single["low"], single["high"]))


def test_a_method_of_seeds_that_vary_is_not_alone_in_a_family(run):
    """Few seeds are few, even where all that they vary by is their interaction with groups."""
    rest = [run(run=f"b{i}", unfreeze="all", weights=f"w{i}", seed=20 + i) for i in range(2)]
    frame = compare([*seeds(run, 2), *rest])
    assert set(frame["adjustment"]) == {"Bonferroni"}
