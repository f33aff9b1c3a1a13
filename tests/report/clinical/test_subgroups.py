"""Subgroups: their scores, and one test of each column, through files and commands."""

from __future__ import annotations

import io
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ttest_ind, ttest_rel
from statsmodels.stats.multitest import multipletests
from typer.testing import CliRunner

import frostline
from frostline.cache import InputError, Workspace
from frostline.cli import app
from frostline.report import write_predictions, write_report
from frostline.report.clinical.subgroups.columns import Asked, make_subgroups, parse_by
from frostline.report.clinical.subgroups.interaction import (
    Part,
    find_interaction,
    holm,
    make_part,
)
from frostline.report.clinical.subgroups.scores import subgroups
from frostline.report.statistics.sample import make_sample

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/clinical.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Subgroups")[2].partition("\n## ")[0]


def readings(n=150, each=2, *, seed=0, right=0.8):
    """Images of n patients with a sex, an age and a side of the body of each image."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n), each)
    sick = (rng.random(n) < 0.5)[patient]
    score = np.where(sick, 1.0, -1.0) * np.where(rng.random(n * each) < right, 1, -1)
    score = 1 / (1 + np.exp(-score * rng.exponential(size=n * each)))
    return pd.DataFrame(
        {
            "image_id": [f"image {number}" for number in range(n * each)],
            "group_id": [f"patient {number}" for number in patient],
            "label": np.where(sick, "sick", "healthy"),
            "prediction": np.where(score > 0.5, "sick", "healthy"),
            "prob_healthy": 1 - score,
            "prob_sick": score,
            "sex": rng.choice(["female", "male", ""], n, p=[0.5, 0.45, 0.05])[patient],
            "age": rng.integers(10, 90, n)[patient],
            "side": rng.choice(["left", "right"], n * each),
        }
    )


def run(line):
    return CliRunner().invoke(app, shlex.split(line))


def test_the_page_s_example_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    (command,) = re.findall(r"```sh\nfrostline (.*?)\n```", SECTION, re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", SECTION, re.DOTALL)
    exec(compile(code, "docs/clinical.md", "exec"), {})
    done = run(command)
    assert done.exit_code == 0, done.output
    assert done.stdout == shown
    svg = (tmp_path / "subgroups.svg").read_text(encoding="utf-8")
    for words in ("By hospital: p = 0.003", "By age: p = 0.636", "age: 50 to below 70 (40 groups)"):
        assert words in svg
    found = frostline.subgroups("readings.csv", by=["hospital", "age:50:70"])
    assert repr(found) == shown


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "recall[sick]", "log_loss"])
def test_neither_order_nor_names_change_the_numbers(metric):
    table = readings()
    first = frostline.subgroups(table, "sex,age:20:60,side", metric)
    other = table.sample(frac=1, random_state=1).reset_index(drop=True)
    other["sex"] = other["sex"].map({"female": "m", "male": "f", "": None})
    other["group_id"] = other["group_id"].map(lambda name: f"x{hash(name) % 99991}-{name}")
    second = frostline.subgroups(other, ["side", "age:20:60", "sex"], metric)
    numbers = ["n_units", "n_images", "n_positive", "estimate", "low", "high", "p", "p_adjusted"]
    names = {("sex", "female"): "m", ("sex", "male"): "f"}
    rows = second.set_index(["column", "subgroup"])
    assert len(first) == len(second) == 9
    for row in first.to_dict("records"):
        key = row["column"], row["subgroup"]
        same = rows.loc[(key[0], names.get(key, key[1]))]
        for name in numbers:
            assert same[name] == pytest.approx(row[name], rel=1e-9, nan_ok=True)


def test_rows_are_those_of_the_subgroup():
    table = readings(400)  # of whom enough have no sex that is known
    found = frostline.subgroups(table, "age:20:60,sex", "roc_auc").set_index("subgroup")
    middle = table[(table["age"] >= 20) & (table["age"] < 60)]
    (own,) = frostline.evaluate(middle, metrics=["roc_auc"]).to_dict("records")
    row = found.loc["20 to below 60"]
    for name in ("estimate", "low", "high", "n_units", "n_images"):
        assert row[name] == pytest.approx(own[name])
    assert row["n_positive"] == (middle["label"] == "sick").sum()
    assert row["class_counts"].endswith(f"sick {row['n_positive']}")
    assert list(found.index) == [
        *("all", "below 20", "20 to below 60", "60 and above"),
        *("female", "male", "not known"),
    ]
    assert not found.loc["not known", "tested"]
    assert not np.isnan(found.loc["not known", "low"])


def two_shares(n, right):
    """Single images of two subgroups: n of each, so many right."""
    rows = [
        {"label": "sick", "prediction": "sick" if i < k else "healthy", "arm": arm}
        for arm, k in zip("ab", right, strict=True)
        for i in range(n)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("n", "right"), [(200, (160, 176)), (1000, (900, 925)), (400, (200, 250))])
def test_two_shares_of_single_images_are_compared_as_ever(n, right):
    found = frostline.subgroups(two_shares(n, right), "arm").iloc[-1]
    table = [[k, n - k] for k in right]
    assert found["p"] == pytest.approx(chi2_contingency(table, correction=False).pvalue, rel=0.15)
    # On the logit scale: the Wald test of the log odds ratio.
    error = sum(1 / cell for row in table for cell in row) ** 0.5
    ratio = np.log(table[0][0] * table[1][1] / table[0][1] / table[1][0])
    assert found["statistic"] ** 0.5 == pytest.approx(abs(ratio / error), rel=0.03)


def parts_of(values, shares, dfs):
    equal = [(s != 0) / (s != 0).sum() for s in shares]
    return [Part(*one) for one in zip(values, shares, equal, dfs, strict=True)]


def test_two_means_are_compared_by_welch_s_t():
    """Of a metric without a scale, and with the added unit made negligible."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=12), rng.normal(0.5, 3, size=30)
    shares = np.zeros((2, 42))
    shares[0, :12] = (one - one.mean()) / (12 * 11) ** 0.5
    shares[1, 12:] = (other - other.mean()) / (30 * 29) ** 0.5
    parts = parts_of((one.mean(), other.mean()), shares, (11, 29))
    nothing = Part(0.0, np.zeros(42), np.full(42, 1 / 42), 41)
    # The added unit is of the whole: each score moves towards it by 1 / (n + 1), and its error too.
    parts = [
        replace(part, estimate=part.estimate * (n + 1) / n, shares=part.shares * (n + 1) / n)
        for part, n in zip(parts, (12, 30), strict=True)
    ]
    found = find_interaction(parts, nothing, None)
    expected = ttest_ind(one, other, equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic**2)
    assert found.df_error == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue)


def test_the_same_patients_in_all_subgroups_have_their_number_less_one():
    rng = np.random.default_rng(0)
    shares = rng.normal(size=(3, 25)) / 100
    shares -= shares.mean(1, keepdims=True)
    parts = parts_of((0.5, 0.6, 0.55), shares, (24, 24, 24))
    found = find_interaction(parts, Part(0.55, np.zeros(25), np.full(25, 1 / 25), 24), (0, 1))
    # Hotelling's T² with 24 degrees of freedom: F has 24 - 2 + 1.
    assert (found.df, found.df_error) == (2, pytest.approx(23))


def test_two_scores_of_the_same_patients_are_compared_by_a_paired_t():
    rng = np.random.default_rng(0)
    one = rng.normal(size=20)
    other = 0.4 + 0.8 * one + 0.3 * rng.normal(size=20)
    shares = np.stack([one - one.mean(), other - other.mean()]) / (20 * 19) ** 0.5 * 21 / 20
    parts = parts_of((one.mean() * 21 / 20, other.mean() * 21 / 20), shares, (19, 19))
    nothing = Part(0.0, np.zeros(20), np.full(20, 1 / 20), 19)
    found = find_interaction(parts, nothing, None)
    expected = ttest_rel(one, other)
    assert found.statistic == pytest.approx(expected.statistic**2)
    assert found.df_error == pytest.approx(19)
    assert found.p == pytest.approx(expected.pvalue)


def test_patients_in_several_subgroups_give_covariances():
    """What a patient's images share is no difference between sides, and no evidence against one."""
    table = readings(60, 6, right=0.7)
    table["side"] = np.where(np.arange(360) % 2 == 0, "left", "right")
    same = table.copy()
    alike = same["prediction"] == same["label"]
    share = np.repeat(alike.to_numpy().reshape(180, 2)[:, 0], 2)
    same["prediction"] = np.where(
        share, same["label"], np.where(same["label"] == "sick", "healthy", "sick")
    )
    found = frostline.subgroups(same.drop(columns=["prob_healthy", "prob_sick"]), "side")
    assert found["estimate"].nunique() == 1
    assert found["reason"].iloc[-1] == ""
    assert found["p"].iloc[-1] == pytest.approx(1.0)
    one = {}
    for table in (same, same.assign(group_id=same["image_id"])):
        run_of = frostline.report.predictions.predictions_from(
            table.drop(columns=["prob_healthy", "prob_sick"]), "x"
        )
        sample = make_sample(run_of, split="all")
        member = np.arange(360) if sample.groups is None else sample.groups
        left = table["side"].to_numpy() == "left"
        units = int(member.max()) + 1
        names = ("truth", "prediction", "groups", "ids")
        parts = []
        for rows in (left, ~left):
            own = {
                name: None if getattr(sample, name) is None else getattr(sample, name)[rows]
                for name in names
            }
            parts.append(make_part(replace(sample, **own), "accuracy", member[rows], units))
        one[units] = parts[0].shares @ parts[1].shares / parts[0].variance
    assert one[360] == 0
    assert one[60] == pytest.approx(1)


def test_holm_is_that_of_statsmodels():
    p = np.array([0.04, 0.01, np.nan, 0.03, 0.6])
    expected = multipletests(p[~np.isnan(p)], method="holm")[1]
    assert holm(p)[~np.isnan(p)] == pytest.approx(expected)
    assert np.isnan(holm(p)[2])


def test_a_subgroup_without_an_error_takes_part():
    found = frostline.subgroups(two_shares(40, (40, 26)), "arm")
    row = found[found["subgroup"] == "a"].iloc[0]
    assert row["estimate"] == 1
    assert row["high"] == 1
    assert row["tested"]
    assert row["p"] < 0.05
    for right in ((40, 40), (0, 0)):
        last = frostline.subgroups(two_shares(40, right), "arm").iloc[-1]
        assert np.isnan(last["p"])
        assert last["reason"] == "no image is wrong, or all are"


def test_small_subgroups_are_named_and_left_out():
    table = readings(200, 1)
    table["site"] = np.where(np.arange(200) < 9, "rare", np.where(table["age"] < 50, "arm", "leg"))
    healthy = np.flatnonzero(table["label"] == "healthy")
    table.loc[healthy[-30:], "site"] = "healthy here"
    found = frostline.subgroups(table, "site", "recall[sick]").set_index("subgroup")
    assert found["tested"].to_dict() == {
        **{"all": False, "arm": True, "leg": True},
        **{"healthy here": False, "rare": False},
    }
    assert np.isnan(found.loc["healthy here", "estimate"])
    assert np.isnan(found.loc["rare", "low"])
    assert not np.isnan(found.loc["rare", "estimate"])
    shown = " ".join(repr(frostline.subgroups(table, "site", "recall[sick]")).split())
    assert "not in the test: healthy here, rare" in shown
    assert "too small (fewer than 10 effective images) (site: rare)" in shown
    alone = frostline.subgroups(table[table["site"].isin(["arm", "rare"])], "site").iloc[-1]
    assert alone["reason"] == "fewer than two subgroups are large enough"


def test_each_run_has_its_own_rows_and_tests():
    tables = [readings(seed=seed) for seed in (0, 1)]
    both = frostline.subgroups(tables, "sex,age:20:60")
    for table, (name, part) in zip(tables, both.groupby("run", sort=False), strict=True):
        own = frostline.subgroups(table, "sex,age:20:60")
        assert part["p_adjusted"].to_numpy() == pytest.approx(own["p_adjusted"], nan_ok=True)
        assert name in repr(both)


def test_columns_are_cut_where_they_are_asked_to_be():
    ages = pd.Series([19.5, 20, 59.9, 60, None, "unknown", " "], dtype=object)
    names, codes = make_subgroups(ages, Asked("age", (20.0, 60.0)))
    assert names == ["below 20", "20 to below 60", "60 and above"]
    assert codes.tolist() == [0, 1, 1, 2, -1, -1, -1]
    names, codes = make_subgroups(pd.Series(["10", "9", 2.0, None], dtype=object), Asked("n"))
    assert (names, codes.tolist()) == (["2", "9", "10"], [2, 1, 0, -1])
    names, _ = make_subgroups(pd.Series(["ward 10", "ward 9"], dtype=object), Asked("n"))
    assert names == ["ward 9", "ward 10"]
    assert parse_by(["sex, age:20:60", "site"]) == [
        *(Asked("sex"), Asked("age", (20.0, 60.0)), Asked("site"))
    ]


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("age", "Column 'age' holds 71 numbers from 10 to 89: give cut points, as in age:"),
        ("sex:1", "Column 'sex' does not hold numbers, so that cut points mean nothing"),
        ("group_id", "Column 'group_id' has 150 values, more than 20"),
        ("age:60:20", "--by 'age:60:20': behind a column stand cut points, numbers that rise"),
        ("age:x", "numbers that rise, as in age:20:60."),
        ("sex,sex", "--by names 'sex' twice"),
        (",", "--by names no column"),
        ("smoker", "there is no column 'smoker' in its table, and no manifest next to it"),
        ("sex --metric f1_per_class", "Subgroups are compared by one metric"),
        ("sex --metric accuracy --metric roc_auc", "give one at a time"),
        ("sex --figure a.jpg", "--figure must end in"),
        ("sex --stratified", "does not act with `--by"),
    ],
)
def test_mistakes_are_one_sentence(by, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readings().to_csv("mine.csv", index=False)
    done = run(f"evaluate mine.csv --by {by}")
    assert done.exit_code != 0
    assert sentence in str(done.exception)
    assert not list(tmp_path.glob("*.jpg"))


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    """Predictions in a workspace whose manifest has sex and age, which they have not."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    table, folder = readings(60), tmp_path / "images"
    folder.mkdir()
    for number in range(len(table)):
        name = f"{table['image_id'][number]}.png"
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / name)
    files = table.assign(file=table["image_id"] + ".png")
    files[["file", "label", "group_id", "sex", "age"]].to_csv("table.csv", index=False)
    line = "index mine --kind table --root images --table ../table.csv --image-column file "
    done = run(f"{line} --label-column label --group-column group_id")
    assert done.exit_code == 0, done.output
    kept = table.drop(columns=["sex", "age", "side"]).assign(split="test")
    kept["image_id"] = kept["image_id"] + ".png"
    place = Workspace(tmp_path / "frostline-workspace").predictions("one")
    place.parent.mkdir(exist_ok=True)
    about = {"run": "one", "dataset": "mine", "classes": ["healthy", "sick"]}
    write_predictions(place, kept.sample(frac=1, random_state=0).reset_index(drop=True), about)
    return place, table


def test_columns_come_from_the_manifest(indexed):
    place, table = indexed
    found = subgroups([place], by="sex,age:50", metric="roc_auc")
    own = frostline.subgroups(table, "sex,age:50", "roc_auc")
    numbers = ["n_units", "estimate", "low", "high", "p_adjusted"]
    pd.testing.assert_frame_equal(found[numbers], pd.DataFrame(own)[numbers])
    with pytest.raises(InputError, match="has no column 'smoker': its manifest has .*sex, age"):
        subgroups([place], by="smoker")


def test_rows_that_are_patients_need_one_value_each():
    table = readings(40, 4)
    found = frostline.subgroups(table, "sex", aggregate="mean")
    assert found["n_units"].iloc[0] == 40
    assert found["n_images"].iloc[0] == 160
    by_sex = found[found["column"] == "sex"]
    assert by_sex["n_images"].sum() == 160
    with pytest.raises(InputError, match="differ in 'side', and a row is a group"):
        frostline.subgroups(table, "side", aggregate="mean")


def test_formats_hold_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readings().to_csv("mine.csv", index=False)
    csv = pd.read_csv(io.StringIO(run("evaluate mine.csv --by sex --format csv").stdout))
    json = pd.read_json(io.StringIO(run("evaluate mine.csv --by sex --format json").stdout))
    assert csv["estimate"].to_numpy() == pytest.approx(json["estimate"].to_numpy())
    for format in ("markdown", "latex"):
        text = run(f"evaluate mine.csv --by sex --format {format}").stdout
        assert "sex: female" in text
        assert f"{100 * csv['estimate'][1]:.1f}" in text


def test_a_page_shows_subgroups_of_the_best_methods(tmp_path):
    from frostline.report.predictions import predictions_from

    runs = []
    for seed, (name, unfreeze) in enumerate([("a", "none"), ("b", "all"), ("c", "none")]):
        made = predictions_from(readings(seed=0, right=0.7 + 0.05 * seed), name)
        about = {"dataset": "skin", "backbone": name, "unfreeze": unfreeze, "seed": 0}
        runs.append(replace(made, meta=made.meta | about))
    options = {"title": "S", "replicates": 200, "figure_formats": ("svg",)}
    paths = write_report(tmp_path, runs, by=["sex", "age:50", "smoker"], **options)
    assert {f"tables/subgroups.{kind}" for kind in ("md", "tex", "html", "csv")} <= set(paths)
    table = pd.read_csv(tmp_path / "tables/subgroups.csv")
    assert list(table["run"].unique()) == ["c", "b"]  # the best frozen, then the best fine-tuned
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'id="subgroups"' in page
    assert "differs by sex (F(1, " in page
    assert "there is no column &#39;smoker&#39;" in page
    assert "By sex: p = " in (tmp_path / "figures/subgroups-1.svg").read_text(encoding="utf-8")
    before = (tmp_path / "index.html").read_bytes()
    write_report(tmp_path, runs, by=["sex", "age:50", "smoker"], **options)
    assert (tmp_path / "index.html").read_bytes() == before
    without = write_report(tmp_path / "other", runs, **options)
    assert not any("subgroups" in name for name in without)


def test_the_documented_level_is_what_was_measured():
    measured = pd.read_csv(ROOT / "docs/subgroups.csv")
    level = measured[measured["worse"] == 0]
    assert level["F"].max() <= 0.075
    text = (ROOT / "docs/statistics.md").read_text(encoding="utf-8")
    for (images, metric), part in level.groupby(["images", "metric"]):
        cells = []
        for name in ("F", "plain", "flips", "permuted"):
            low, high = 100 * part[name].min(), 100 * part[name].max()
            cells.append("" if np.isnan(low) else f"{low:.0f}–{high:.0f}")
        assert f"| {images} | {metric} | {' | '.join(cells)} |" in text


@pytest.mark.parametrize("column", ["prediction", "prob_sick:0.5"])
def test_what_the_model_said_makes_no_subgroups(column):
    with pytest.raises(InputError, match="is what the model said"):
        frostline.subgroups(readings(40), column)


def test_of_several_classes_one_is_set_against_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = readings().drop(columns=["prob_healthy", "prob_sick"])
    table["label"] = np.where(np.arange(len(table)) % 3 == 0, "dead", table["label"])
    table.to_csv("three.csv", index=False)
    both = table.assign(
        label=np.where(table["label"] == "sick", "sick", "not sick"),
        prediction=np.where(table["prediction"] == "sick", "sick", "not sick"),
    )
    both.to_csv("two.csv", index=False)
    several, two = (
        subgroups([name], by="side", positive="sick") for name in ("three.csv", "two.csv")
    )
    names = ["subgroup", "estimate", "low", "high", "n_positive", "p", "positive"]
    pd.testing.assert_frame_equal(several[names], two[names])
    shown = run("evaluate three.csv --by side --positive sick")
    assert shown.exit_code == 0
    assert "Positive: those of class sick." in shown.output
    assert "given one" not in shown.output
    refused = run("evaluate three.csv --by side --positive lost")
    assert "is no class" in str(refused.exception)
