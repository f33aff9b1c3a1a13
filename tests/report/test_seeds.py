"""Seeds, folds, ranks and reliability against what they must be where that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from frostline.cache import InputError
from frostline.report import evaluate
from frostline.report.notes import texts
from frostline.report.statistics.calibration import reliability
from frostline.report.statistics.ranks import _defined, _weighted, find_cohorts, rank_methods
from frostline.report.statistics.sample import make_sample
from frostline.report.statistics.seeds import ONE_SEED, over_seeds, pool_folds, pool_seeds


def seeds(run, n=3, **options):
    made = [run(seed=i, run=f"s{i}", **options) for i in range(n)]
    for number, one in enumerate(made):
        one.meta["seed"] = number
    return made


def test_satterthwaite_lies_between_its_parts():
    values = np.array([0.8, 0.82, 0.9])
    pooled = pool_seeds(values, 0.02, 30)
    between = stats.sem(values)
    assert pooled.seed_error == pytest.approx(between)
    error = np.hypot(0.02, between)
    df = error**4 / (0.02**4 / 29 + between**4 / 2)
    assert pooled.df == pytest.approx(df)
    assert 2 < pooled.df < 31
    assert pooled.high - pooled.estimate == pytest.approx(stats.t.ppf(0.975, df) * error)
    # Without patients' variance it is Student's interval of the seeds.
    assert pool_seeds(values, 0.0, 30).low == pytest.approx(
        stats.t.interval(0.95, 2, values.mean(), between)[0]
    )


def test_one_seed_is_this_model(run):
    (row,) = over_seeds(seeds(run, 1), metrics=["accuracy"]).to_dict("records")
    assert ONE_SEED.text in texts(row["notes"])
    assert np.isnan(row["seed_error"])
    assert row["df"] == pytest.approx(row["n_units"] - 1)


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
    truth = runs[0].table
    right = np.mean([(r.table["prediction"] == r.table["label"]) for r in runs[:3]], axis=0)
    by_group = truth.assign(right=right).groupby("group_id")["right"].agg(["sum", "count"])
    total = by_group.sum()
    left = (total["sum"] - by_group["sum"]) / (total["count"] - by_group["count"])
    g = len(left)
    error = np.sqrt((g - 1) / g * ((left - left.mean()) ** 2).sum())
    assert row["group_error"] == pytest.approx(error)


def test_runs_of_equal_seed_are_not_seeds_of_a_method(run):
    frame = over_seeds([run(), run(seed=1)], metrics=["accuracy"])
    assert frame["n_seeds"].tolist() == [1, 1]


def test_seeds_are_pooled_by_probabilities_too(run):
    runs = seeds(run)
    row = over_seeds(runs, metrics=["log_loss"]).iloc[0]
    alone = evaluate(runs, metrics=["log_loss"], replicates=100)["estimate"]
    assert row["estimate"] == pytest.approx(alone.mean())
    assert row["seed_error"] == pytest.approx(stats.sem(alone))
    for one in runs:
        one.table = one.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    row = over_seeds(runs, metrics=["log_loss"]).iloc[0]
    assert np.isnan(row["estimate"])
    assert texts(row["notes"]) == ["There are no probabilities, so it has no value."]


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
    with pytest.raises(InputError, match=r"^One fold alone shows no variation: "):
        pool_folds([0.1], 0.2)
    with pytest.raises(InputError, match=r"^The test share 20 is not between 0 and 1: "):
        pool_folds([0.1, 0.2], 20)


def test_cohorts_join_data_sets_that_share_patients():
    people = {"t1": {"a", "b"}, "skin": {"x"}, "t2": {"b", "c"}, "flair": {"c"}}
    assert find_cohorts(people) == [["skin"], ["t1", "t2", "flair"]]


def test_ranks(run):
    def method(backbone, skill, dataset, seed):
        return run(
            seed=seed,
            run=f"{backbone}-{dataset}-{seed}",
            backbone=backbone,
            skill=skill,
            dataset=dataset,
            n=200,
            n_groups=60,
        )

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
        "ROC AUC needs probabilities, and not every run has them: rank by another metric."
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
    runs = [run(seed=s, n_groups=40, run=f"r{s}") for s in range(3)]
    for seed, one in enumerate(runs):
        one.meta["seed"] = seed
    runs[1].table["prediction"] = runs[1].classes[0]
    frame = over_seeds(runs, metrics=["accuracy", "precision_macro"]).set_index("metric")
    assert frame.loc["accuracy", "notes"] == ()
    (note,) = frame.loc["precision_macro", "notes"]
    assert note.text == "Precision counts as 0 for a class that is never predicted."
    assert note.classes == tuple(runs[0].classes[1:])
    assert note.runs == ("r0",)
