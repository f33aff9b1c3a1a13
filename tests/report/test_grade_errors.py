"""Mean absolute error of grades: its value, its intervals, and its place in what is compared."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error

from frostline.cache import InputError
from frostline.report import Predictions, compare, evaluate, over_seeds, render
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.sample import make_sample

ORDER = ["low", "medium", "high"]
NAME = "mean_absolute_error"


def graded(run, **how) -> Predictions:
    return run(("high", "low", "medium"), n=80, dataset="tumours", **how)


def test_it_is_the_mean_distance_in_the_order_that_is_given(run):
    one = graded(run, skill=1.0)
    table = one.table
    truth, answer = (table[name].map(ORDER.index) for name in ("label", "prediction"))
    frame = evaluate([one], metrics=[NAME], classes=ORDER)
    assert frame["estimate"].iloc[0] == pytest.approx(mean_absolute_error(truth, answer))
    row = frame.iloc[0]
    assert row["low"] < row["estimate"] < row["high"] <= 2
    # The mean over images of groups: as many are off as they are.
    shown = render(frame, "markdown")
    assert "Mean absolute error" in shown
    assert f"{row['estimate']:.3f}" in shown
    with pytest.raises(InputError, match=r"^mean_absolute_error goes by the order of the classes, "):
        evaluate([one], metrics=[NAME])


@pytest.mark.parametrize("n", [60, 1000])
def test_of_two_classes_it_is_the_share_of_wrong_answers(run, n):
    one = run(n=n, n_groups=n)
    found = evaluate([one], metrics=["accuracy", NAME], replicates=500)
    found = found[found["run"] == one.run].set_index("metric")
    for mine, theirs in (("estimate", "estimate"), ("low", "high"), ("high", "low")):
        wrong = 1 - found.loc["accuracy", theirs]
        assert found.loc[NAME, mine] == pytest.approx(wrong, abs=1e-12 if n < 100 else 0.005)
    assert found.loc["accuracy", "method"] == found.loc[NAME, "method"]


@pytest.mark.parametrize("skill", [50.0, -50.0])
def test_without_an_error_and_with_nothing_else(run, skill):
    """30 patients of whom none is wrong: as often as 1 - 0.025 ** (1 / 30) one might be by 2."""
    one = run(("G1", "G2", "G3"), n=30, n_groups=30, skill=50.0)
    if skill < 0:  # the ends alone, each taken for the other
        table = one.table[one.table["label"] != "G2"]
        one = Predictions(
            table.assign(prediction=table["label"].map({"G1": "G3", "G3": "G1"})), one.meta
        )
    sample = make_sample(one, unit="image")
    found = compute_intervals(sample, [NAME])[NAME]
    n = len(sample.truth)
    reach = 2 * stats.binomtest(0, n).proportion_ci(method="exact").high
    expected = (0, reach) if skill > 0 else (2 - reach, 2)
    assert found.method == "clopper-pearson"
    assert (found.low, found.high) == pytest.approx(expected)


def test_fewer_is_better_where_methods_are_compared(run):
    good, bad = graded(run, skill=3.0), graded(run, skill=0.5, seed=1, backbone="vgg16")
    found = compare([good, bad], metric=NAME, classes=ORDER).iloc[0]
    assert found["difference"] < 0
    assert found["low"] < found["difference"] < found["high"]
    assert found["verdict"] == "better"
    other = compare([good, bad], metric="accuracy", classes=ORDER).iloc[0]
    assert other["verdict"] == "better"
    apart = compare([bad, good], metric=NAME, classes=ORDER).iloc[0]
    assert (apart["difference"], apart["p"]) == pytest.approx((-found["difference"], found["p"]))


def test_of_two_classes_its_difference_is_that_of_accuracy(run):
    pair = [run(n=120, seed=0, skill=2.0), run(n=120, seed=1, skill=1.0, backbone="vgg16")]
    by = {name: compare(pair, metric=name).iloc[0] for name in (NAME, "accuracy")}
    assert by[NAME]["difference"] == pytest.approx(-by["accuracy"]["difference"])
    assert by[NAME]["p"] == pytest.approx(by["accuracy"]["p"], abs=0.003)  # of other draws
    assert by[NAME]["high"] == pytest.approx(-by["accuracy"]["low"], abs=0.003)


def test_over_seeds(run):
    runs = [graded(run, skill=1.0, seed=seed) for seed in range(3)]
    for number, one in enumerate(runs):
        one.meta["seed"] = number
    found = over_seeds(runs, metrics=[NAME], classes=ORDER).iloc[0]
    alone = [evaluate([one], metrics=[NAME], classes=ORDER)["estimate"].iloc[0] for one in runs]
    assert found["estimate"] == pytest.approx(np.mean(alone))
    assert 0 < found["low"] < found["estimate"] < found["high"] < 2
