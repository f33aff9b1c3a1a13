"""Operating points: chosen on validation, scored on test; numbers of others, and of papers."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import class_likelihood_ratios, confusion_matrix, roc_curve
from statsmodels.stats.proportion import proportion_confint
from typer.testing import CliRunner

import frostline
from frostline.cache import InputError
from frostline.cli import app
from frostline.report import write_predictions
from frostline.report.clinical.operating_table import render_operating
from frostline.report.clinical.thresholds import Candidates, parse_rule
from frostline.report.notes import texts
from frostline.report.tables.formats import FORMATS

ROOT = Path(__file__).resolve().parents[3]
MARK = "<!-- run by tests/report/clinical/test_operating.py -->\n```sh\n"
CLASSES = ["well", "sick"]


def made(n=200, n_groups=None, seed=0, classes=CLASSES, skill=1.5, **columns):
    """A table of predictions on validation and test, as anyone may bring it."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(classes), n)
    if n_groups:
        group = rng.integers(0, n_groups, n)
        truth = rng.integers(0, len(classes), n_groups)[group]
    scores = rng.normal(size=(n, len(classes)))
    scores[np.arange(n), truth] += skill
    probs = np.round(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), 2)
    probs[:, -1] = 1 - probs[:, :-1].sum(1)
    split = np.where(np.arange(n) < n // 2, "val", "test")
    table = pd.DataFrame({"image_id": [f"{i:04d}.png" for i in range(n)], "split": split})
    if n_groups:
        table["group_id"] = [f"{part}-{number}" for part, number in zip(split, group, strict=True)]
    table["label"] = np.array(classes)[truth]
    table["prediction"] = np.array(classes)[probs.argmax(1)]
    for place, name in enumerate(classes):
        table[f"prob_{name}"] = probs[:, place]
    return table.assign(**columns)


def from_counts(tp, fn, fp, tn):
    """A test set with these counts at a threshold of 0.5."""
    score = np.repeat([0.9, 0.1, 0.9, 0.1], [tp, fn, fp, tn])
    label = np.repeat(["sick", "sick", "well", "well"], [tp, fn, fp, tn])
    table = pd.DataFrame({"image_id": np.arange(len(score)).astype(str), "split": "test"})
    table["label"] = label
    table["prediction"] = np.where(score > 0.5, "sick", "well")
    return table.assign(prob_well=1 - score, prob_sick=score)


def points(table, *args, positive="sick", **options):
    return frostline.operating_points(table, *args, positive=positive, **options)


def numbers(frame):
    return frame.set_index("metric")["estimate"]


def test_the_threshold_is_scikit_learns_and_so_are_the_numbers():
    table = made()
    frame = points(table, "youden")
    val, test = (table[table["split"] == part] for part in ("val", "test"))
    fpr, tpr, thresholds = roc_curve(val["label"] == "sick", val["prob_sick"])
    threshold = thresholds[np.argmax(np.round(tpr - fpr, 12))]
    assert frame["threshold"].unique() == pytest.approx([threshold])
    truth, called = test["label"] == "sick", test["prob_sick"] >= threshold
    (tn, fp), (fn, tp) = confusion_matrix(truth, called)
    positive, negative = class_likelihood_ratios(truth, called)
    expected = [tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn), positive, negative]
    assert list(numbers(frame)) == pytest.approx(expected)
    assert list(frame["metric"]) == [
        *("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative")
    ]


def test_an_interval_at_one_is_clopper_and_pearsons():
    frame = points(from_counts(30, 0, 10, 40), 0.5).set_index("metric")
    low, high = proportion_confint(30, 30, method="beta")
    one = frame.loc["sensitivity"]
    assert (one["low"], one["high"]) == pytest.approx((low, high))
    assert one["method"] == "clopper-pearson"
    # Of a share in between it is Student's t on the logit scale, near theirs.
    low, high = proportion_confint(40, 50, method="beta")
    assert frame.loc["specificity", ["low", "high"]].tolist() == pytest.approx(
        [low, high], abs=0.02
    )


def test_the_liver_scans_of_altman_and_bland():
    # Altman and Bland (1994), Diagnostic tests 1 to 3: BMJ 308:1552, 309:102 and 309:188.
    found = numbers(points(from_counts(231, 27, 32, 54), 0.5, 0.25)).round(2)
    assert (found["sensitivity"], found["specificity"]) == (0.90, 0.63)
    assert (found["ppv"], found["npv"]) == (0.88, 0.67)
    assert (found["ppv_at_prevalence"], found["npv_at_prevalence"]) == (0.45, 0.95)
    assert round(found["lr_positive"], 1) == 2.4


@pytest.mark.parametrize(
    ("counts", "positive", "negative"),
    [
        ((20, 10, 15, 55), (3.1, 1.9, 5.2), (0.42, 0.25, 0.71)),
        ((15, 8, 5, 52), (7.4, 3.0, 18), (0.38, 0.22, 0.67)),
    ],
)
def test_likelihood_ratios_have_about_the_interval_of_simel(counts, positive, negative):
    # Simel, Rennie and Bossuyt (2008), J Gen Intern Med 23:768, table 5: intervals by Simel et al.
    # (1991) with a normal quantile; ours has Student's t.
    frame = points(from_counts(*counts), 0.5).set_index("metric")
    for name, (ratio, low, high) in (("lr_positive", positive), ("lr_negative", negative)):
        one = frame.loc[name]
        assert one["estimate"] == pytest.approx(ratio, rel=0.02)
        ends = np.log([one["low"] / low, one["high"] / high])
        assert np.abs(ends).max() < 0.12


def test_predictive_values_at_the_prevalence_of_the_data_are_those_of_the_data():
    table = from_counts(40, 20, 30, 110)
    frame = points(table, 0.5, 60 / 200).set_index("metric")
    assert frame.at["ppv_at_prevalence", "estimate"] == pytest.approx(frame.at["ppv", "estimate"])
    assert frame.at["npv_at_prevalence", "estimate"] == pytest.approx(frame.at["npv", "estimate"])
    rare = points(table, 0.5, 0.01).set_index("metric")
    assert rare.at["ppv_at_prevalence", "high"] < frame.at["ppv", "low"]
    assert rare.at["npv_at_prevalence", "low"] > frame.at["npv", "high"]


def gain_of(rule, found, right, share):
    """How good a threshold is, said once more."""
    if rule.kind == "sensitivity":
        return right if found >= rule.value - 1e-9 else -9
    if rule.kind == "specificity":
        return found if right >= rule.value - 1e-9 else -9
    if rule.kind == "cost":
        return -(rule.value * share * (1 - found) + (1 - share) * (1 - right))
    return found + right - 1


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=12),
    rule=st.sampled_from(["youden", "sensitivity=0.8", "specificity=0.75", "cost=3", "cost=0.4"]),
    prevalence=st.sampled_from([None, 0.1]),
)
def test_no_threshold_is_better_than_the_chosen_one(rows, rule, prevalence):
    positive, score = np.array([one for one, _ in rows]), np.array([x / 6 for _, x in rows])
    chosen = Candidates(positive, score).choose(
        parse_rule(rule), np.ones((1, len(rows))), prevalence
    )[0]
    if positive.all() or not positive.any():
        assert np.isnan(chosen)
        return
    share = positive.mean() if prevalence is None else prevalence
    gains = {}
    for at in [np.inf, *sorted(set(score), reverse=True)]:
        called = score >= at
        gains[at] = gain_of(
            parse_rule(rule), called[positive].mean(), 1 - called[~positive].mean(), share
        )
    best = max(gains.values())
    assert chosen == next(at for at, gain in gains.items() if gain > best - 1e-9)


def test_weights_are_rows_that_occur_so_often():
    rng = np.random.default_rng(0)
    positive, score = rng.random(30) < 0.4, rng.random(30).round(1)
    weights = rng.integers(0, 4, (5, 30)).astype(float)
    rule = parse_rule("specificity=0.8")
    many = Candidates(positive, score).choose(rule, weights)
    for one, threshold in zip(weights, many, strict=True):
        rows = np.repeat(np.arange(30), one.astype(int))
        alone = Candidates(positive[rows], score[rows]).choose(rule, np.ones((1, len(rows))))
        assert alone[0] == threshold


def test_neither_the_order_of_rows_nor_that_of_classes_matters():
    table = made(n_groups=60)
    first = points(table, "sensitivity=0.9", 0.1)
    shuffled = points(table.sample(frac=1, random_state=1), "sensitivity=0.9", 0.1)
    turned = points(table, "sensitivity=0.9", 0.1, classes=["sick", "well"])
    shown = [name for name in first if name not in ("notes", "run")]
    for other in (shuffled, turned):
        pd.testing.assert_frame_equal(pd.DataFrame(first)[shown], pd.DataFrame(other)[shown])


def test_the_choice_repeated_widens_the_interval_and_a_given_threshold_has_none():
    frame = points(made(400), "sensitivity=0.9")
    inside = frame["low_repeated"].le(frame["low"]) & frame["high"].le(frame["high_repeated"])
    assert inside.all()
    held = points(made(400), float(frame["threshold"].iloc[0]))
    columns = ["estimate", "low", "high"]
    pd.testing.assert_frame_equal(pd.DataFrame(held)[columns], pd.DataFrame(frame)[columns])
    assert held["low_repeated"].isna().all()
    assert "( )" not in repr(held)
    assert "( ) repeats its choice" in " ".join(repr(frame).split())


def test_patients_are_scored_where_images_are_put_together():
    table = made(n_groups=60)
    frame = points(table, "youden", aggregate="mean")
    mean = (
        table.groupby("group_id")[["prob_sick"]]
        .mean()
        .join(table.groupby("group_id")[["split", "label"]].first())
    )
    val, test = (mean[mean["split"] == part] for part in ("val", "test"))
    best = Candidates((val["label"] == "sick").to_numpy(), val["prob_sick"].to_numpy()).choose(
        parse_rule("youden"), np.ones((1, len(val)))
    )
    assert frame["threshold"].iloc[0] == best[0]
    called = test.loc[test["label"] == "sick", "prob_sick"] >= best[0]
    assert numbers(frame)["sensitivity"] == called.mean()
    assert (frame["n_units"] == len(test)).all()


def test_of_several_classes_one_is_set_against_the_rest():
    table = made(300, classes=["nevus", "melanoma", "keratosis"], skill=2)
    frame = points(table, "youden", positive="melanoma")
    two = table.assign(
        label=np.where(table["label"] == "melanoma", "melanoma", "other"),
        prediction="other",
        prob_other=1 - table["prob_melanoma"],
    ).drop(columns=["prob_nevus", "prob_keratosis"])
    other = points(two, "youden", positive="melanoma")
    columns = ["threshold", "estimate", "low", "high", "low_repeated", "high_repeated"]
    pd.testing.assert_frame_equal(pd.DataFrame(frame)[columns], pd.DataFrame(other)[columns])
    with pytest.raises(InputError) as caught:
        frostline.operating_points(table)
    assert str(caught.value) == (
        "table 1 has 3 classes (nevus, melanoma, keratosis): say by positive which of them is set "
        "against the others."
    )


def test_each_fold_has_the_threshold_of_the_others(tmp_path):
    table = made(120, seed=3).assign(split="test")
    table["fold"], table["group_id"] = np.arange(120) % 3, table["image_id"]
    meta = {"run": "folds", "classes": CLASSES, "cv": {"folds": 3, "repeat": 0}}
    path = tmp_path / "folds.parquet"
    frostline.report.write_predictions(path, table, meta)
    frame = points(path, "youden")
    sick, thresholds, called = table["label"] == "sick", [], np.zeros(120, dtype=bool)
    for fold in range(3):
        others, own = table["fold"] != fold, table["fold"] == fold
        one = Candidates(sick[others].to_numpy(), table.loc[others, "prob_sick"].to_numpy())
        thresholds += [one.choose(parse_rule("youden"), np.ones((1, others.sum())))[0]]
        called |= (own & (table["prob_sick"] >= thresholds[-1])).to_numpy()
    assert frame["threshold"].iloc[0] == min(thresholds)
    assert frame["highest_threshold"].iloc[0] == max(thresholds)
    assert numbers(frame)["sensitivity"] == called[sick].mean()
    assert numbers(frame)["specificity"] == 1 - called[~sick].mean()
    assert frame["low_repeated"].notna().all()
    assert "out-of-fold predictions of the other folds" in " ".join(repr(frame).split())


def test_what_is_infinite_or_has_no_value_says_so():
    none_wrong = points(from_counts(20, 10, 0, 30), 0.5, 0.1).set_index("metric")
    assert np.isinf(none_wrong.at["lr_positive", "estimate"])
    assert none_wrong.at["ppv_at_prevalence", "estimate"] == 1
    assert np.isnan(none_wrong.at["lr_positive", "low"])
    assert "No interval: the estimate is at its bound." in texts(
        none_wrong.at["lr_positive", "notes"]
    )
    none_called = points(from_counts(20, 10, 5, 30), 0.95).set_index("metric")
    assert np.isnan(none_called.at["ppv", "estimate"])
    assert "No value: there is nothing to divide by." in texts(none_called.at["ppv", "notes"])
    json.loads(render_operating(pd.DataFrame(none_called.reset_index()), "json"))


def test_validation_without_a_class_gives_no_value():
    table = made()
    table = table[(table["split"] == "test") | (table["label"] == "well")]
    frame = points(table, "sensitivity=0.9", 0.1)
    assert frame[["threshold", "estimate", "low", "low_repeated"]].isna().all(axis=None)
    assert "No value: no image to choose on is of a class (sick)." in " ".join(repr(frame).split())


def test_what_validation_cannot_reach_is_said():
    table = made(60)
    # The lowest of all is a sick one: a sensitivity of 1 calls everybody.
    first = table.index[(table["split"] == "val") & (table["label"] == "sick")][0]
    table.loc[first, ["prob_well", "prob_sick"]] = 1.0, 0.0
    said = texts(points(table, "sensitivity=1")["notes"].iloc[0])
    assert (
        "Only a threshold that calls every case has the wanted sensitivity on validation." in said
    )
    assert (
        "Fewer than 20 images of a class to choose on: intervals with the choice repeated may "
        "not cover."
        in said
        or any("rests on one case" in text for text in said)
    )
    # And the highest of all a well one: a specificity of 1 calls nobody.
    first = table.index[(table["split"] == "val") & (table["label"] == "well")][0]
    table.loc[first, ["prob_well", "prob_sick"]] = 0.0, 1.0
    frame = points(table, "specificity=1")
    assert np.isinf(frame["threshold"]).all()
    said = texts(frame["notes"].iloc[0])
    assert "Only a threshold that calls no case has the wanted specificity on validation." in said


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda t: t[t["split"] == "test"], {}, "table 1: no row of split 'val' has a label, so "),
        (lambda t: t.drop(columns="split"), {}, "table 1: no row of split 'val' has a label, so "),
        (lambda t: t.drop(columns=["prob_well", "prob_sick"]), {}, "table 1: there are no probab"),
        (lambda t: t, {"threshold": "best"}, "threshold is youden, sensitivity=0.95, specificity"),
        (lambda t: t, {"threshold": "cost=-1"}, "threshold cost=-1: cost must be a number above 0"),
        (lambda t: t, {"threshold": 1.5}, "threshold is youden, sensitivity=0.95, specificity=0.9"),
        (lambda t: t, {"prevalence": 1.0}, "prevalence is a share above 0 and below 1, such as 0"),
        (lambda t: t, {"split": "val"}, "split val scores the rows that the threshold is chosen "),
        (lambda t: t, {"positive": "ill"}, "positive 'ill' is no class of table 1: it has "),
        (lambda t: t, {"replicates": 3}, "replicates 3 are too few to repeat a choice: ask for 2"),
    ],
)
def test_what_cannot_be_is_one_sentence(change, options, sentence):
    with pytest.raises(InputError) as caught:
        points(change(made()), **options)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_has_one_row_a_model(tmp_path, format):
    for number in (0, 1):
        made(seed=number).to_csv(tmp_path / f"model{number}.csv", index=False)
    line = ["evaluate", *map(str, sorted(tmp_path.glob("*.csv"))), "--format", format]
    done = CliRunner().invoke(app, [*line, "--threshold", "youden", "--replicates", "200"])
    assert done.exit_code == 0, done.output
    rows = {"csv": 6, "json": 12}.get(format, 1)
    assert done.output.count("model0") == rows or format in ("json", "table")
    assert "Sensitivity" in done.output or "sensitivity" in done.output


def test_the_page_says_what_can_be_run(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "clinical.md").read_text(encoding="utf-8")
    (block,) = re.findall(re.escape(MARK) + "(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    made(400, seed=5).to_csv("chest.csv", index=False)
    made(400, classes=["nevus", "melanoma", "keratosis"], skill=2).to_csv("skin.csv", index=False)
    for line in block.replace("\\\n", " ").strip().splitlines():
        done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, done.output
        assert "Sensitivity" in done.output


@pytest.mark.parametrize("mode", ["threshold", "net-benefit", "by"])
def test_an_empty_mode_is_no_wish_for_scores(mode: str, run, tmp_path: Path) -> None:
    one = run(n=40)
    write_predictions(tmp_path / "one.parquet", one.table, one.meta)
    found = CliRunner().invoke(app, ["evaluate", str(tmp_path / "one.parquet"), f"--{mode}", ""])
    assert found.exit_code != 0
    assert isinstance(found.exception, InputError)
