"""Calibration before and after temperature scaling, against independent fits; and nothing leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from statsmodels.api import GLM, Logit, add_constant
from statsmodels.genmod.families import Binomial
from typer.testing import CliRunner

import frostline
from frostline.cli import app
from frostline.report import reliability, write_predictions
from frostline.report.clinical.calibration import METRICS, calibration, calibration_frame
from frostline.report.clinical.tables import calibration_table, render_calibration
from frostline.report.clinical.temperature import (
    LEAST,
    MOST,
    fit_temperature,
    fold_temperatures,
    scale,
    validation_sample,
)
from frostline.report.statistics.evaluation import score
from frostline.report.statistics.sample import Sample, make_sample


def sample_of(truth: np.ndarray, probs: np.ndarray, groups: np.ndarray | None = None) -> Sample:
    classes = tuple("abcdefg"[: probs.shape[1]])
    unit = "image" if groups is None else "group"
    about = (groups, classes, unit, "", "val", ())
    return Sample(truth, probs.argmax(1), *about, probs=probs, n_images=len(truth))


def made(n: int, k: int, sureness: float, seed: int = 0) -> Sample:
    """Outcomes drawn from probabilities, which are then made surer than they are."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, k))
    truth = (rng.random((n, 1)) > softmax(logits, axis=1).cumsum(1)).sum(1)
    return sample_of(truth, softmax(logits * sureness, axis=1))


def split_run(run, **about):
    """A run of which a third is validation, of groups that are in one split alone."""
    one = run(n=300, n_groups=120, **about)
    group = one.table["group_id"].str.removeprefix("patient-").astype(int)
    one.table["split"] = np.where(group % 3 == 0, "val", "test")
    return one


@pytest.mark.parametrize(("k", "sureness"), [(2, 2.0), (2, 0.5), (3, 1.7), (7, 0.8)])
def test_the_temperature_of_an_independent_fit(k: int, sureness: float) -> None:
    sample = made(600, k, sureness)
    logits = np.log(sample.probs)

    def loss(temperature: float) -> float:
        return log_loss(sample.truth, softmax(logits / temperature, axis=1), labels=range(k))

    found = fit_temperature(sample)
    best = minimize_scalar(loss, bounds=(LEAST, MOST), method="bounded", options={"xatol": 1e-9})
    assert found.value == pytest.approx(best.x, rel=1e-5)
    assert found.low < sureness < found.high
    assert loss(found.value) <= loss(1.0)
    if k == 2:  # the logit of the positive class over T
        odds = (logits[:, 1] - logits[:, 0]) / found.value
        np.testing.assert_allclose(scale(sample.probs, found.value)[:, 1], expit(odds))


@pytest.mark.parametrize("k", [2, 4])
def test_the_temperature_of_scikit_learn(k: int) -> None:
    X, y = make_classification(1200, 20, n_informative=6, n_classes=k, flip_y=0.2, random_state=1)
    model = LogisticRegression(C=100).fit(X[:100], y[:100])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature")
    theirs.fit(X[100:], y[100:])
    found = fit_temperature(sample_of(y[100:], model.predict_proba(X[100:])))
    (calibrated,) = theirs.calibrated_classifiers_
    (scaling,) = calibrated.calibrators
    # Of two classes it takes decisions x as the logits -x and x, which are 2 x apart.
    theirs_value = 1 / float(scaling.beta_) / (2 if k == 2 else 1)
    assert found.value == pytest.approx(theirs_value, rel=1e-3)
    ours = scale(model.predict_proba(X[:50]), found.value)
    np.testing.assert_allclose(ours, theirs.predict_proba(X[:50]), atol=1e-3)


def test_slope_and_intercept_of_statsmodels_before_and_after(run) -> None:
    one = split_run(run)
    table = frostline.calibration(one).set_index(["when", "metric"])["estimate"]
    test = one.table[one.table["split"] == "test"]
    y, probs = test["label"] == "PNEUMONIA", test[["prob_NORMAL", "prob_PNEUMONIA"]].to_numpy()
    temperature = table["after", "temperature"]
    for when, chances in (("before", probs), ("after", scale(probs, temperature))):
        logit = np.log(chances[:, 1] / chances[:, 0])
        slope = np.asarray(Logit(y, add_constant(logit)).fit(disp=0).params)[1]
        fitted = GLM(y, np.ones(len(y)), family=Binomial(), offset=logit).fit()
        shift = np.asarray(fitted.params)[0]
        assert table[when, "calibration_slope"] == pytest.approx(slope, rel=1e-5)
        assert table[when, "calibration_intercept"] == pytest.approx(shift, abs=1e-5)
        assert table[when, "log_loss"] == pytest.approx(log_loss(y, chances))
        assert table[when, "brier_score_loss"] == pytest.approx(brier_score_loss(y, chances[:, 1]))
    # Of two classes the slope grows as the temperature says.
    assert table["after", "calibration_slope"] == pytest.approx(
        table["before", "calibration_slope"] * temperature
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 5]), st.floats(0.3, 3))
def test_properties(seed: int, k: int, sureness: float) -> None:
    sample = made(80, k, sureness, seed)
    found = fit_temperature(sample)
    scaled = scale(sample.probs, found.value)
    before, after = (log_loss(sample.truth, p, labels=range(k)) for p in (sample.probs, scaled))
    assert after <= before + 1e-12
    np.testing.assert_array_equal(scaled.argmax(1), sample.probs.argmax(1))
    np.testing.assert_allclose(scaled.sum(1), 1)
    order = np.random.default_rng(seed).permutation(80)
    again = fit_temperature(sample_of(sample.truth[order], sample.probs[order]))
    assert (again.value, again.low, again.high) == (found.value, found.low, found.high)
    # Scaling what is scaled already finds nothing more to do.
    assert fit_temperature(replace(sample, probs=scaled)).value == pytest.approx(1, abs=1e-4)


def test_probabilities_that_are_true_have_a_temperature_of_one() -> None:
    found = fit_temperature(made(20_000, 3, 1.0))
    assert found.value == pytest.approx(1, abs=0.03)
    assert found.low < 1 < found.high


def test_intervals_of_the_temperature_cover_by_groups() -> None:
    """Every patient has three images of one outcome, whose probabilities are nearly alike."""
    rng, held, naive = np.random.default_rng(2), 0, 0
    for _ in range(200):
        logit = np.repeat(1.5 * rng.normal(size=75), 3)
        truth = np.repeat(rng.random(75) < expit(logit[::3]), 3).astype(int)
        sure = 2 * logit
        sample = sample_of(truth, np.column_stack([expit(-sure), expit(sure)]))
        alone = fit_temperature(sample)
        found = fit_temperature(replace(sample, groups=np.repeat(np.arange(75), 3), unit="group"))
        held += found.low <= 2 <= found.high
        naive += alone.low <= 2 <= alone.high
    assert held >= 183
    assert naive < 170


@pytest.mark.slow
@pytest.mark.parametrize("sureness", [0.5, 1, 2, 4])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("patients", [30, 75, 200])
def test_temperatures_that_are_shown_cover(patients: int, images: int, sureness: float) -> None:
    """Where an interval would leave what is tried it is hidden: that must not pick those that miss.

    Every patient has images of one outcome, whose probabilities are alike.
    """
    rng, held = np.random.default_rng(patients * 10 + images), []
    groups = np.repeat(np.arange(patients), images)
    for _ in range(500):
        logit = np.repeat(1.5 * rng.normal(size=patients), images)
        outcome = rng.random(patients) < expit(logit[::images])
        said = np.column_stack([expit(-sureness * logit), expit(sureness * logit)])
        sample = sample_of(np.repeat(outcome, images).astype(int), said)
        found = fit_temperature(replace(sample, groups=groups, unit="group"))
        if np.isfinite(found.low):
            held.append(found.low <= sureness <= found.high)
    assert len(held) >= 0.89 * 500
    assert 0.92 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(
    ("truth", "first", "said"),
    [
        ([0, 1] * 20, [0.9, 0.2] * 20, "still falls at 0.05, the lowest"),
        ([0, 1] * 20, [0.2, 0.9] * 20, "still falls at 20, the highest"),
        ([0, 1] * 20, [0.5, 0.5] * 20, "are all alike"),
        ([1, 1] * 20, [0.3, 0.4] * 20, "are all of one class"),
    ],
)
def test_where_there_is_no_temperature(truth: list[int], first: list[float], said: str) -> None:
    sample = sample_of(np.array(truth), np.column_stack([first, 1 - np.array(first)]))
    found = fit_temperature(sample)
    assert np.isnan(found.value)
    assert said in found.notes[0].text


def test_probabilities_of_0_stay_the_lowest() -> None:
    probs = np.array([[0.0, 0.3, 0.7], [0.0, 1e-40, 1.0]])
    scaled = scale(probs, 2.5)
    np.testing.assert_array_equal(scaled.argsort(1), probs.argsort(1))
    assert (scaled > 0).all()


def test_no_row_of_test_moves_the_temperature(run) -> None:
    one = split_run(run)
    before = frostline.calibration(one)
    test = one.table["split"] == "test"
    other = np.where(one.table["label"] == "NORMAL", "PNEUMONIA", "NORMAL")
    one.table["label"] = np.where(test, other, one.table["label"])
    one.table.loc[test, ["prob_NORMAL", "prob_PNEUMONIA"]] = [0.4, 0.6]
    after = frostline.calibration(one)
    rows = [frame[frame["metric"] == "temperature"].iloc[0] for frame in (before, after)]
    assert [*rows[0][["estimate", "low", "high"]]] == [*rows[1][["estimate", "low", "high"]]]
    scores = [
        frame[frame["metric"] == "log_loss"]["estimate"].tolist() for frame in (before, after)
    ]
    assert scores[0] != scores[1]
    for split in ("val", "all"):
        with pytest.raises(
            frostline.InputError, match="the temperature is fitted on rows of split"
        ):
            frostline.calibration(one, split=split)


def folded(run):
    one = run(n=240, n_groups=100, cv={"folds": 4, "repeat": 0})
    group = one.table["group_id"].str.removeprefix("patient-").astype(int)
    one.table["fold"] = group % 4
    return one


def test_each_fold_has_the_temperature_of_the_others(run) -> None:
    one = folded(run)
    sample = make_sample(one)
    fold = one.table["fold"].to_numpy()
    found, _ = fold_temperatures(one, sample)
    for number in range(4):
        alone = fit_temperature(sample.rows(np.flatnonzero(fold != number)))
        assert set(found[fold == number]) == {alone.value}
    table = frostline.calibration(one)
    assert set(table["split"]) == {"out of fold"}
    after = table[(table["when"] == "after") & (table["metric"] == "log_loss")]["estimate"].item()
    scaled = scale(sample.probs, found)
    assert after == pytest.approx(log_loss(sample.truth, scaled))
    # A fold's own labels do not move its temperature.
    first = one.table["fold"] == 0
    other = np.where(one.table["label"] == "NORMAL", "PNEUMONIA", "NORMAL")
    one.table["label"] = np.where(first, other, one.table["label"])
    again, _ = fold_temperatures(one, make_sample(one))
    assert set(again[fold == 0]) == set(found[fold == 0])
    assert not set(again[fold == 1]) & set(found[fold == 1])


def test_without_validation_it_is_refused_and_a_page_has_what_there_is(run) -> None:
    one = run(n=100)
    with pytest.raises(frostline.InputError, match="nothing to fit a temperature on: for calib"):
        frostline.calibration(one)
    table = calibration_frame(score([one]))
    assert table[table["metric"] != "temperature"]["when"].unique().tolist() == ["before"]
    shown = render_calibration(table)
    assert "There are no validation rows to fit a temperature on." in " ".join(shown.split())
    with pytest.raises(frostline.InputError, match="a file that has no labelled rows of split val"):
        validation_sample(one)
    one.table = one.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])
    with pytest.raises(frostline.InputError, match="no probabilities to calibrate"):
        frostline.calibration(one)


def test_of_several_classes_one_is_set_against_the_others_after_scaling(run) -> None:
    one = split_run(run, classes=["a", "b", "c"])
    found = frostline.calibration(one, positive="b")
    temperature = frostline.calibration(one).query("metric == 'temperature'")["estimate"].item()
    assert found.query("metric == 'temperature'")["estimate"].item() == temperature
    sample = make_sample(one)
    scaled = scale(sample.probs, temperature)[:, 1]
    after = found.query("when == 'after'").set_index("metric")
    assert after["estimate"]["log_loss"] == pytest.approx(log_loss(sample.truth == 1, scaled))
    assert after["positive"]["calibration_slope"] == "b"
    text = " ".join(repr(found).split())
    assert "all else is of the positive class against the others (b)." in text
    assert "given one" not in text
    assert "Slope, intercept and error are of the most probable class." in " ".join(
        repr(frostline.calibration(one)).split()
    )


def test_groups_of_validation_that_are_scored_are_said(run) -> None:
    """A temperature, or a threshold, suits the patients that it was chosen on."""
    one = split_run(run)
    assert "in validation and scored" not in repr(frostline.calibration(one))
    shared = one.table.loc[one.table["split"] == "val", "group_id"].iloc[0]
    one.table.loc[one.table.index[one.table["split"] == "test"][0], "group_id"] = shared
    for found in (frostline.calibration(one), frostline.operating_points(one)):
        assert "1 group is both in validation and scored" in " ".join(repr(found).split())


def test_bars_hold_points_of_images_that_are_alike_within_groups() -> None:
    """True probabilities, four images a patient that mostly share their outcome."""
    rng = np.random.default_rng(3)
    outside, naive, bins = 0, 0, 0
    for seed in range(40):
        logit = np.repeat(1.2 * rng.normal(size=80), 4) + 0.1 * rng.normal(size=320)
        own = np.where(rng.random(320) < 0.7, np.repeat(rng.random(80), 4), rng.random(320))
        probs = np.column_stack([expit(-logit), expit(logit)])
        images = sample_of((own < probs[:, 1]).astype(int), probs)
        groups = replace(images, groups=np.repeat(np.arange(80), 4), unit="group")
        for sample in (groups, images):
            table = reliability(sample, replicates=500, seed=seed)
            missed = ~table["frequency"].between(table["bar_low"], table["bar_high"])
            if sample is groups:
                outside, bins = outside + missed.sum(), bins + len(table)
            else:
                naive += missed.sum()
    assert outside / bins < 0.06
    assert naive / bins > 0.08


def test_bars_of_groups_do_not_depend_on_the_order_of_rows(run) -> None:
    one = run(n=200, n_groups=60)
    first = reliability(make_sample(one), replicates=200)
    one.table = one.table.sample(frac=1, random_state=0).reset_index(drop=True)
    pd.testing.assert_frame_equal(first, reliability(make_sample(one), replicates=200))
    one.table["group_id"] = [str(n) for n in range(200)]
    alone = reliability(make_sample(one), replicates=200)
    assert (first["bar_high"] >= alone["bar_high"] - 0.15).all()


def test_the_command_line(run, tmp_path: Path) -> None:
    one, path = split_run(run), tmp_path / "one.parquet"
    write_predictions(path, one.table, one.meta)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["evaluate", str(path), "--calibration", *arguments])
        return result.output if not result.exception else str(result.exception)

    rows = json.loads(said("--format", "json"))
    assert [row["metric"] for row in rows] == ["temperature", *METRICS, *METRICS]
    assert "Temperature" in said()
    assert "\\begin{tabular}" in said("--format", "latex")
    assert said("--format", "csv").startswith("dataset,")
    for option in (("--replicates", "100"), ("--metric", "accuracy"), ("--over", "seeds")):
        assert f"`{option[0]}` does not act with `--calibration`" in said(*option)
    assert "tables of their own: ask for one at a time" in said("--net-benefit", "0.2")


def test_models_that_differ_in_a_detail_are_told_apart_and_the_positive_class_is_named(run) -> None:
    runs = [split_run(run, feature=name) for name in ("cls", "mean")]
    frame = calibration(runs)
    table = calibration_table(frame)
    assert len({row.cells[0].label for row in table.rows}) == 2
    assert len(table.rows) == 4
    assert "Slope, intercept and error are of the positive class (PNEUMONIA)" in (
        render_calibration(frame, "markdown")
    )


@pytest.mark.filterwarnings("error")
def test_the_temperature_of_very_few_images_is_bounded_or_has_no_interval() -> None:
    bounds = []
    for seed in range(300):
        found = fit_temperature(made(6, 2, 4.0, seed))
        bounds.append((found.low, found.high))
        assert np.isfinite(found.high) == np.isfinite(found.low)
        assert np.isnan(found.high) or LEAST <= found.low <= found.high <= MOST
    assert 0 < np.isfinite(bounds).all(1).sum() < 300
