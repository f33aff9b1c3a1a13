"""Each interval against its definition, or another implementation of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from frostline.cache import InputError
from frostline.report import evaluate, render
from frostline.report.notes import texts
from frostline.report.statistics.intervals.bounds import jackknife_bounds
from frostline.report.statistics.intervals.estimates import LeftOut
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import (
    MANY_UNITS,
    clopper_pearson,
    compute_intervals,
)
from frostline.report.statistics.sample import make_sample
from frostline.report.statistics.scores import SCORES


def test_bca_is_scipys(run):
    sample = make_sample(run(n=80), unit="image")
    right = (sample.truth == sample.prediction).astype(float)
    one = compute_intervals(sample, ["accuracy"], ci="bca", replicates=40_000)["accuracy"]
    theirs = stats.bootstrap(
        (right,), np.mean, method="BCa", n_resamples=40_000, random_state=np.random.default_rng(1)
    ).confidence_interval
    # Accuracy of 80 images moves in steps of 1/80, and scipy counts ties in another way.
    assert one.low == pytest.approx(theirs.low, abs=1.01 / 80)
    assert one.high == pytest.approx(theirs.high, abs=1.01 / 80)
    plain = compute_intervals(sample, ["accuracy"], ci="percentile")["accuracy"]
    assert one.low < plain.low


def test_bca_of_a_smooth_metric_is_scipys(run):
    sample = make_sample(run(n=80), unit="image")
    loss = -np.log(sample.probs[np.arange(80), sample.truth])
    one = compute_intervals(sample, ["log_loss"], ci="bca", replicates=40_000)["log_loss"]
    theirs = stats.bootstrap(
        (loss,), np.mean, method="BCa", n_resamples=40_000, random_state=np.random.default_rng(1)
    ).confidence_interval
    assert (one.low, one.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)


def test_jackknife_t_of_a_mean_is_students(run):
    """Of images the jackknife error of a mean is s / sqrt(n); on the log scale, that by m."""
    sample = make_sample(run(n=40), unit="image")
    loss = -np.log(sample.probs[np.arange(40), sample.truth])
    one = compute_intervals(sample, ["log_loss"], ci="jackknife-t")["log_loss"]
    mean = loss.mean()
    bounds = np.exp(stats.t.interval(0.95, 39, np.log(mean), stats.sem(loss) / mean))
    assert (one.low, one.high) == pytest.approx(tuple(bounds), rel=1e-9)
    assert one.replicates == 0


def test_jackknife_t_of_accuracy_is_on_the_logit_scale(run):
    sample = make_sample(run(n=40), unit="image")
    right = (sample.truth == sample.prediction).astype(float)
    p = right.mean()
    reach = stats.t.ppf(0.975, 39) * stats.sem(right) / (p * (1 - p))
    logit = np.log(p / (1 - p))
    one = compute_intervals(sample, ["accuracy"], ci="jackknife-t")["accuracy"]
    expected = 1 / (1 + np.exp(-np.array([logit - reach, logit + reach])))
    assert (one.low, one.high) == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize(
    ("left", "weights", "note"),
    [
        ([0.5], [1], "No interval: one unit alone shows no variation."),
        ([0.5, np.nan], [1, 1], "No interval: undefined when one unit is left out."),
        ([0.4, 0.6], [1, 0], "No interval: all of it rests on one unit."),
        ([0.9, 1.0], [1, 1], ""),
    ],
)
def test_jackknife_says_why_not(left, weights, note):
    without = LeftOut(np.array(left), np.array(weights, float), np.ones(len(left), dtype=int))
    low, _, said = jackknife_bounds("accuracy", 0.5, without)
    assert said == note
    assert np.isnan(low) == bool(note)


@pytest.mark.parametrize("n", [3, 30, 624])
def test_clopper_pearson_is_scipys(n):
    blank = Interval(1.0, np.nan, np.nan, "", 0, "image", n)
    theirs = stats.binomtest(n, n).proportion_ci(method="exact")
    assert clopper_pearson("accuracy", blank, n).low == pytest.approx(theirs.low)
    none = stats.binomtest(0, n).proportion_ci(method="exact")
    other = clopper_pearson("accuracy", Interval(0.0, np.nan, np.nan, "", 0, "image", n), n)
    assert other.high == pytest.approx(none.high)


def test_auto_chooses_by_the_number_of_units(run):
    few = compute_intervals(make_sample(run()), ["accuracy"])["accuracy"]
    many = compute_intervals(
        make_sample(run(n=2 * MANY_UNITS), unit="image"), ["accuracy"], replicates=200
    )["accuracy"]
    sure = compute_intervals(
        make_sample(run(n=2 * MANY_UNITS, skill=4.0), unit="image"), ["accuracy"]
    )["accuracy"]
    flawless = compute_intervals(make_sample(run(skill=50.0)), ["accuracy", "cohen_kappa"])
    assert (few.method, many.method) == ("jackknife-t", "percentile")
    assert sure.method == "jackknife-t"
    assert flawless["accuracy"].method == "clopper-pearson"
    assert flawless["cohen_kappa"].method == "clopper-pearson"


@pytest.mark.parametrize("ci", ["auto", "percentile", "bca", "jackknife-t", "replicate-mean"])
def test_every_method_of_every_metric(run, ci):
    names = ["accuracy", "f1_macro", "matthews_corrcoef", "recall[NORMAL]", *SCORES]
    found = compute_intervals(make_sample(run(n=120)), names, ci=ci, replicates=300)
    assert list(found) == names
    for name, one in found.items():
        if name == "calibration_error":
            assert np.isnan(one.low)
            assert texts(one.notes)[0].startswith("No interval: calibration error is not ")
        else:
            assert one.low < one.estimate < one.high, name


def test_rare_classes_are_flagged_where_they_weigh(run):
    sample = make_sample(run())
    names = ["accuracy", "f1_weighted", "f1_macro", "recall[NORMAL]"]
    notes = {name: one.notes for name, one in compute_intervals(sample, names).items()}
    units = dict(zip(sample.classes, sample.class_units, strict=True))
    assert 10 <= min(units.values()) < 20
    few = "Fewer than 20 effective groups of a class: the interval may not cover."
    assert few in texts(notes["f1_macro"])
    rare = [note for note in notes["f1_macro"] if "of a class" in note.text]
    assert [c for note in rare for c in note.classes] == [n for n, x in units.items() if x < 20]
    assert {note.metrics for note in rare} == {("f1_macro",)}
    assert notes["accuracy"] == notes["f1_weighted"] == ()


def test_few_units_and_few_errors_are_flagged(run):
    few = compute_intervals(make_sample(run(n_groups=9)), ["accuracy"])["accuracy"]
    assert texts(few.notes) == ["Only 9 groups: intervals may not cover."]
    sample = make_sample(run(n=200, n_groups=200, skill=3.0, seed=1))
    assert 0 < sample.wrong_units < 5
    sure = compute_intervals(sample, ["accuracy"])["accuracy"]
    note = "Fewer than 5 groups with an error: intervals are cautious."
    assert texts(sure.notes) == [note]


def test_a_flawless_class_is_as_sure_as_its_units(run):
    """All of a class right: its own units are the trials, not all of the test set's."""
    one = run(("a", "b"), n=400, n_groups=400, skill=1.0)
    rare = one.table.index[one.table["label"] == "a"][30:]
    one.table = one.table.drop(rare)
    one.table.loc[one.table["label"] == "a", "prediction"] = "a"
    sample = make_sample(one)
    found = compute_intervals(sample, ["recall[a]", "balanced_accuracy", "accuracy"])
    units = sample.class_units[0]
    assert found["recall[a]"].low == pytest.approx(0.025 ** (1 / units))
    (note,) = found["balanced_accuracy"].notes
    assert note.classes == ("a",)
    assert note.text.startswith("Fewer than 100 groups of a class without an error: ")
    assert found["accuracy"].notes == ()


def test_many_undefined_replicates_give_no_interval(run):
    """A class of three patients is absent from 5% of resamples, and then ROC AUC is undefined."""
    one = run(("a", "b", "c"), n=60)
    one.table["group_id"] = None
    one.table = one.table.drop(one.table.index[one.table["label"] == "c"][3:])
    found = compute_intervals(make_sample(one), ["roc_auc"], ci="percentile")["roc_auc"]
    assert np.isnan(found.low)
    assert texts(found.notes)[0].startswith("No interval: undefined in ")
    within = compute_intervals(
        make_sample(one), ["roc_auc"], ci="percentile", replicates=500, stratified=True
    )["roc_auc"]
    assert within.low < within.estimate < within.high


def test_without_probabilities_what_needs_them_is_left_out(run):
    bare = run()
    bare.table = bare.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    frame = evaluate([bare], metrics=["accuracy", "roc_auc"], replicates=100)
    one = frame[frame["metric"] == "roc_auc"].iloc[0]
    assert np.isnan([one["estimate"], one["low"]]).all()
    assert texts(one["notes"]) == ["There are no probabilities, so it has no value."]


def test_the_majority_row_has_no_probabilities_and_says_nothing_of_them(run):
    frame = evaluate([run()], metrics=["accuracy", "roc_auc"], replicates=100)
    majority = frame[frame["run"].str.contains("majority")]
    assert majority["metric"].tolist() == ["accuracy"]
    said = [text for notes in frame["notes"] for text in texts(notes)]
    assert not any("no probabilities" in text for text in said)
    assert set(evaluate([run()], metrics=["roc_auc"], replicates=100)["run"]) == {"run-0"}
    assert "none" not in render(frame)


def test_unknown_interval(run):
    with pytest.raises(InputError, match=r"^There is no interval 'wald': choose from auto, "):
        compute_intervals(make_sample(run()), ["accuracy"], ci="wald")
