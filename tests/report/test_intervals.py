"""Each interval against its definition, or another implementation of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frostline.cache import InputError
from frostline.report import evaluate, render
from frostline.report.notes import texts
from frostline.report.statistics.intervals.bounds import jackknife_bounds
from frostline.report.statistics.intervals.estimates import LeftOut, leave_out
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import (
    MANY_UNITS,
    MANY_WRONG,
    clopper_pearson,
    compute_intervals,
)
from frostline.report.statistics.metrics import compute_metrics
from frostline.report.statistics.resampling.seeds_variance import group_variance
from frostline.report.statistics.resampling.weights import effective_number, unit_weights
from frostline.report.statistics.sample import make_sample
from frostline.report.statistics.scores import SCORES
from frostline.report.tables.scores import score_table
from frostline.report.tables.writers.html import table_html


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
        ([0.5], [1], "No interval: one {unit} alone shows no variation."),
        ([0.5, np.nan], [1, 1], "No interval: undefined when one {unit} is left out."),
        ([0.4, 0.6], [1, 0], "No interval: all of it rests on one {unit}."),
        ([0.9, 1.0], [1, 1], ""),
    ],
)
def test_jackknife_says_why_not(left, weights, note):
    without = LeftOut(np.array(left), np.array(weights, float), np.ones(len(left), dtype=int))
    low, _, said = jackknife_bounds(0.5, without, (0.0, 1.0))
    assert said == note
    assert np.isnan(low) == bool(note)


@pytest.mark.parametrize("n", [3, 30, 624])
def test_clopper_pearson_is_scipys(n):
    blank = Interval(1.0, np.nan, np.nan, "", 0, "image", n)
    theirs = stats.binomtest(n, n).proportion_ci(method="exact")
    assert clopper_pearson("accuracy", blank, n, "ab").low == pytest.approx(theirs.low)
    none = stats.binomtest(0, n).proportion_ci(method="exact")
    other = clopper_pearson("accuracy", Interval(0.0, np.nan, np.nan, "", 0, "image", n), n, "ab")
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


@pytest.mark.parametrize(("per_group", "said"), [(1, True), (4, False)])
def test_the_share_of_a_class_of_few_single_images_is_cautious(run, per_group, said):
    """30 images are right in steps of 3%; of 120 images of 30 groups steps are small."""
    one = run(("a", "b"), n=800, skill=1.0)
    ill = one.table[one.table["label"] == "a"][: 30 * per_group]
    one.table = pd.concat([ill, one.table[one.table["label"] == "b"]])
    one.table["group_id"] = [f"p{place // per_group}" for place in range(len(one.table))]
    found = compute_intervals(make_sample(one), ["recall[a]", "recall[b]", "accuracy"])
    note = "Fewer than 50 images of a class: the interval is cautious."
    assert (note in texts(found["recall[a]"].notes)) == said
    assert found["recall[b]"].notes == found["accuracy"].notes == ()


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


@pytest.mark.parametrize("ci", ["auto", "jackknife-t"])
def test_resampling_within_classes_needs_a_bootstrap(run, ci):
    """`auto` takes a closed form for 40 patients, and the option did nothing."""
    with pytest.raises(InputError) as caught:
        evaluate([run()], ci=ci, stratified=True)
    assert str(caught.value) == (
        f"Stratified resampling needs a bootstrap, and the interval {ci!r} may be none: choose "
        "from percentile, bca, replicate-mean."
    )


def test_without_probabilities_what_needs_them_is_left_out(run):
    bare = run()
    bare.table = bare.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    frame = evaluate([bare], metrics=["accuracy", "roc_auc"], replicates=100)
    one = frame[frame["metric"] == "roc_auc"].iloc[0]
    assert np.isnan([one["estimate"], one["low"]]).all()
    assert texts(one["notes"]) == ["No value: there are no probabilities."]


def test_the_majority_row_has_no_probabilities_and_says_nothing_of_them(run):
    frame = evaluate([run()], metrics=["accuracy", "roc_auc"], replicates=100)
    majority = frame[frame["run"].str.contains("majority")]
    assert majority["metric"].tolist() == ["accuracy"]
    said = [text for notes in frame["notes"] for text in texts(notes)]
    assert not any("no probabilities" in text for text in said)
    assert set(evaluate([run()], metrics=["roc_auc"], replicates=100)["run"]) == {"run-0"}
    assert "none" not in render(frame)


def unequal(run, sizes, classes=("a", "b"), skill=1.0, seed=0):
    """A run of patients with so many images each, of one class."""
    one = run(classes, n=int(np.sum(sizes)), n_groups=1, skill=skill, seed=seed)
    patient = np.repeat(np.arange(len(sizes)), sizes)
    one.table["group_id"] = [f"p{number}" for number in patient]
    truth = np.array(classes)[patient % len(classes)]
    wrong = one.table["label"] != one.table["prediction"]
    other = np.array(classes)[(patient + 1) % len(classes)]
    one.table["label"] = truth
    one.table["prediction"] = np.where(wrong, other, truth)
    return one


def test_weights_of_units_are_the_denominators_of_metrics():
    true = np.array([[3, 0], [0, 1], [1, 1]])
    called = np.array([[2, 1], [0, 1], [2, 0]])
    counts = np.array([1, 2, 1])

    def of(metric):
        return unit_weights(metric, ("x", "y"), (true, called), counts).tolist()

    assert of("accuracy") == of("log_loss") == [3, 1, 2]
    assert of("recall[x]") == [3, 0, 1]
    assert of("precision[y]") == [1, 1, 0]
    assert of("f1[x]") == [5, 0, 3]
    assert of("specificity[x]") == [0, 1, 1]
    assert of("f1_macro") == pytest.approx([3 / 4, 1 / 3, 1 / 4 + 1 / 3])
    assert effective_number(np.array([3, 1, 2]), counts) == pytest.approx(7**2 / (9 + 2 + 4))
    assert effective_number(np.zeros(3), counts) == 0


def test_jackknife_t_counts_effective_groups(run):
    """Of 30 patients one has half of the images: t has few degrees of freedom, and is flagged."""
    sizes = np.array([60] + [2] * 29)
    sample = make_sample(unequal(run, sizes))
    one = compute_intervals(sample, ["accuracy"])["accuracy"]
    right = np.bincount(sample.groups, sample.truth == sample.prediction)
    p, effective = right.sum() / sizes.sum(), sizes.sum() ** 2 / (sizes**2).sum()
    assert sample.effective_units == pytest.approx(effective)
    left = (right.sum() - right) / (sizes.sum() - sizes)
    g = len(sizes)
    variance = ((g - 1) / g) ** 2 * ((left - left.mean()) ** 2).sum() * effective / (effective - 1)
    reach = stats.t.ppf(0.975, effective - 1) * variance**0.5 / (p * (1 - p))
    ends = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + np.array([-reach, reach]))))
    assert (one.low, one.high) == pytest.approx(tuple(ends))
    few = "The 30 groups are so unequal that they count as 4: intervals may not cover."
    assert few in texts(one.notes)


def test_degrees_of_freedom_of_unequal_groups_are_bounded_by_what_they_contribute(run):
    """Of equal groups they are those of their number; one group is no less than 4 of them."""
    r = np.array([0.1, 0.3, 0.4, 0.8, -0.5])
    ones, counts = np.ones(5), np.array([2, 1, 1, 1, 1])
    all_r = np.repeat(r, counts)
    moments = (all_r**2).sum() ** 2 / (all_r**4).sum()
    assert 4 < 2 * moments - 1 < 5
    for factor, expected in ((np.inf, 5.0), (2.0, 2 * moments - 1), (1.0, 4.0)):
        _, df = group_variance(r, ones, counts, factor=factor)
        assert df == pytest.approx(expected)
    # Fewer units than that have no more.
    assert group_variance(r[:3], ones[:3], np.ones(3, int), factor=1.0)[1] == pytest.approx(2)


def test_metrics_of_probabilities_have_fewer_degrees_of_freedom_where_groups_are_unequal(run):
    for sizes, fewer in (([2] * 40, False), ([1, 5] * 20, True)):
        sample = make_sample(unequal(run, np.array(sizes)))
        without = leave_out(sample, ["log_loss"])["log_loss"]
        squares = (without.values - without.values.mean()) ** 2
        df = sample.effective_units - 1
        least = squares.sum() ** 2 / (squares**2).sum() - 1
        assert least < df
        one = compute_intervals(sample, ["log_loss"])["log_loss"]
        g, e = 40, sample.effective_units
        error = (((g - 1) / g) ** 2 * squares.sum() * e / (e - 1)) ** 0.5 / one.estimate
        reach = np.log(one.high / one.estimate) / error
        assert reach == pytest.approx(stats.t.ppf(0.975, least if fewer else df))


def test_auto_counts_effective_units(run):
    """500 patients of whom some have most of the images are no 400."""
    equal = make_sample(unequal(run, np.full(500, 2)))
    skewed = make_sample(unequal(run, np.array([5] * 100 + [1] * 400)))
    assert 150 < skewed.effective_units < MANY_UNITS < skewed.n_units
    assert skewed.wrong_units > MANY_WRONG
    kinds = [
        compute_intervals(s, ["accuracy"], replicates=200)["accuracy"] for s in (equal, skewed)
    ]
    assert [one.method for one in kinds] == ["percentile", "jackknife-t"]


@pytest.mark.parametrize(("calls", "flagged"), [(0, False), (2, False), (9, True), (40, False)])
def test_a_precision_counts_the_units_called_a_class(run, calls, flagged):
    """Of 150 units half are of the class, but few are called it: what its precision hangs on."""
    one = run(("a", "b"), n=150, n_groups=150)
    one.table["group_id"] = None
    one.table["label"] = ["a", "b"] * 75
    one.table["prediction"] = "b"
    rows = [*range(0, 3 * calls // 2, 2), *range(1, calls // 2, 2)][:calls]
    one.table.loc[rows, "prediction"] = "a"
    sample = make_sample(one)
    assert sample.called_units[0] == calls
    names = ["precision[a]", "f1[a]", "precision_weighted", "precision_macro", "recall[a]"]
    found = compute_intervals(sample, names)
    said = {name: " ".join(texts(one.notes)) for name, one in found.items()}
    none = "No interval: too few calls (fewer than 5 images were called a class)."
    for name in names[:1] + names[2:4] * (calls > 0):
        assert np.isnan(found[name].low) == (calls < 5), name
        assert (none in said[name]) == (calls < 5)
    assert ("were called a class: the interval may not cover" in said["precision[a]"]) == flagged
    assert "called" not in said["recall[a]"]
    one_f1 = found["f1[a]"]
    assert 0 <= one_f1.low <= one_f1.estimate < one_f1.high
    if not calls:
        assert one_f1.high == pytest.approx(1 - 0.025 ** (2 / 75))


def test_a_class_of_little_weight_takes_no_precision_from_an_average(run):
    """3 of 150 images are of a class, and 2 are called it: weighted precision hardly moves."""
    one = run(("a", "b"), n=150, n_groups=150, skill=1.0)
    one.table["group_id"] = None
    one.table["label"] = ["a"] * 3 + ["b"] * 147
    one.table["prediction"] = ["a", "b", "b"] + ["b"] * 146 + ["a"]
    found = compute_intervals(make_sample(one), ["precision_weighted", "precision_macro"])
    weighted = found["precision_weighted"]
    assert weighted.low > 0.8
    assert "Fewer than 10 images were called a class: the interval may not cover." in texts(
        weighted.notes
    )
    assert np.isnan(found["precision_macro"].low)


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_precision_that_saw_no_wrong_call_is_flagged(run, wrong):
    """Half of 150 images are of a class, 30 are called it, all rightly: the next may not be."""
    one = run(("a", "b"), n=150, n_groups=150)
    one.table["group_id"] = None
    one.table["label"] = ["a"] * 75 + ["b"] * 75
    one.table["prediction"] = ["a"] * 30 + ["b"] * (120 - wrong) + ["a"] * wrong
    names = ["precision_weighted", "precision_macro", "precision[a]", "f1_weighted"]
    found = compute_intervals(make_sample(one), names)
    text = "Fewer than 100 images were called a class without an error: the interval may not cover."
    for name in names[:3]:
        assert (text in texts(found[name].notes)) == (wrong == 0), name
    assert text not in texts(found["f1_weighted"].notes)


@pytest.mark.parametrize(("others", "rare"), [(20, 20), (60, 20), (200, 30)])
def test_kappa_and_matthews_at_the_top_hold_the_worst_matrix(run, others, rare):
    """Of two classes: the least they can be where all is right in 2.5% of samples."""
    share = np.log(0.025) * np.linspace(0, 1, 2001)
    recall = np.exp(share / others), np.exp((np.log(0.025) - share) / rare)
    cells = [others * recall[0], others * (1 - recall[0]), rare * (1 - recall[1]), rare * recall[1]]
    matrices = np.stack(cells, axis=-1).reshape(-1, 2, 2)
    one = run(("a", "b"), n=others + rare, n_groups=1)
    one.table["group_id"] = None
    one.table["label"] = one.table["prediction"] = ["a"] * others + ["b"] * rare
    found = compute_intervals(make_sample(one), ["cohen_kappa", "matthews_corrcoef"])
    for name, interval in found.items():
        worst = compute_metrics(matrices, [name])[name].min()
        assert (interval.high, interval.method) == (1, "clopper-pearson")
        assert interval.low <= worst + 1e-9
        if others == rare:
            assert interval.low == pytest.approx(worst, abs=1e-6)


def test_ranking_at_an_end_has_the_rarest_class_for_trials(run):
    one = run(("a", "b"), n=100, n_groups=100)
    one.table["group_id"] = None
    one.table["label"] = ["a"] * 70 + ["b"] * 30
    one.table["prob_b"] = np.r_[np.linspace(0, 0.4, 70), np.linspace(0.6, 1, 30)]
    one.table["prob_a"] = 1 - one.table["prob_b"]
    for sign in (1, -1):
        found = compute_intervals(make_sample(one), ["roc_auc"])["roc_auc"]
        bound = 0.025 ** (1 / 30)
        ends = (bound, 1) if sign == 1 else (0, 1 - bound)
        assert (found.low, found.high) == pytest.approx(ends)
        one.table[["prob_a", "prob_b"]] = one.table[["prob_b", "prob_a"]].to_numpy()


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_why_there_is_no_interval_stands_in_the_cell(run, format):
    """Seven classes, one of a single patient: ROC AUC is undefined without it."""
    classes = tuple("abcdefg")
    one = run(classes, n=70, n_groups=70)
    one.table["group_id"] = None
    one.table["label"] = [*"abcdef"] * 11 + [*"abcg"]
    frame = evaluate([one], metrics=["roc_auc"])
    above, _, below = shown(frame, format).partition("Scored: ")
    assert "no interval: one image alone is of a class" in above
    assert "(g)" in below
    one.table["label"] = [*"abcdef"] * 11 + [*"abcd"]
    above, _, below = shown(evaluate([one], metrics=["roc_auc"]), format).partition("Scored: ")
    assert "no value: a class does not occur" in above
    assert "(g)" in below


def shown(frame, format):
    """A table's text in one line."""
    text = table_html(score_table(frame)) if format == "html" else render(frame, format)
    return " ".join(text.split())


def test_unknown_interval(run):
    with pytest.raises(InputError, match=r"^There is no interval 'wald': choose from auto, "):
        compute_intervals(make_sample(run()), ["accuracy"], ci="wald")
