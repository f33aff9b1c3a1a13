"""The simulation of comparisons asks what `frostline compare` answers, and resumes; docs agree."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frostline
from frostline.report.predictions import Predictions, predictions_table

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("situations", "type_one")


@pytest.fixture(scope="module")
def modules():
    """The two modules, which import one another as scripts do."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield [importlib.import_module(name) for name in NAMES]
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def type_one(modules, monkeypatch):
    """Few trials a chunk."""
    monkeypatch.setattr(modules[1], "TRIALS", 3)
    return modules[1]


def cell_of(type_one, units=30, classes=2, accuracy=0.9, sizes="1 to 12"):
    return type_one.SizedCell(units, classes, 1 / classes, accuracy, sizes != "one", sizes)


def test_the_grid_is_the_whole_plan(type_one):
    cells = type_one.grid()
    assert len(cells) == len(set(cells)) == 4 * 3 * 4
    for name in ("units", "accuracy", "sizes"):
        pairs = {(getattr(cell, name), cell.classes) for cell in cells}
        assert len(pairs) == 2 * len({value for value, _ in pairs}), name
    assert all(cell.grouped == (cell.sizes != "one") for cell in cells)


def test_units_have_as_many_images_as_their_law_says(modules):
    rng = np.random.default_rng(0)
    drawn = {name: law(rng, 100_000) for name, law in modules[0].SIZES.items()}
    assert set(drawn["one"]) == {1}
    assert set(drawn["1 to 12"]) == set(range(1, 13))
    assert drawn["negative binomial"].mean() == pytest.approx(6, abs=0.1)
    assert drawn["negative binomial"].var() == pytest.approx(55, rel=0.05)
    assert (drawn["Pareto"].min(), drawn["Pareto"].max()) == (1, 200)
    assert (drawn["Pareto"] >= 10).mean() == pytest.approx(10**-1.2, rel=0.05)


@pytest.mark.parametrize(("classes", "accuracy"), [(2, 0.9), (7, 0.7)])
def test_true_scores_are_those_of_a_large_test_set(type_one, classes, accuracy):
    cell = cell_of(type_one, 30_000, classes, accuracy, "negative binomial")
    rows = type_one.make_rows(cell, np.random.default_rng(1))
    _, sample = type_one.as_run(cell, rows, accuracy)
    truths = type_one.true_scores(cell, accuracy)
    assert truths["accuracy"] == pytest.approx(accuracy)
    assert truths["accuracy"] == pytest.approx((sample.truth == sample.prediction).mean(), abs=0.01)
    loss = -np.log(sample.probs[np.arange(len(sample.truth)), sample.truth]).mean()
    assert truths["log_loss"] == pytest.approx(loss, rel=0.05)
    # Another model's noise is as large as the images' own, and mostly theirs.
    other = type_one.another(cell, rows, np.random.default_rng(2))
    assert other.noise.std() == pytest.approx(rows.noise.std(), rel=0.01)
    shared = np.corrcoef(other.noise.ravel(), rows.noise.ravel())[0, 1]
    assert shared == pytest.approx(type_one.SHARED**0.5, abs=0.01)


@pytest.mark.parametrize("sizes", ["one", "Pareto"])
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_a_trial_is_what_compare_prints(type_one, sizes, metric):
    """The runs of a trial, as predictions, give the same p and intervals in `compare`."""
    cell = cell_of(type_one, sizes=sizes)
    rng = np.random.default_rng(3)
    rows = type_one.make_rows(cell, rng)
    noises = [type_one.another(cell, rows, rng) for _ in range(3)]
    runs = [type_one.as_run(cell, *one) for one in zip(noises, (0.9, 0.85, 0.8), strict=True)]
    trial = type_one.Trial(5, {})
    found = trial.compare(type_one.align(runs), type_one.PAIRS, metric, type_one.MARGIN)
    predictions = []
    for place, (_, sample) in enumerate(runs):
        images = pd.DataFrame(
            {
                "image_id": sample.ids.astype(str),
                "group_id": rows.unit.astype(str),
                "split": "test",
                "label": rows.truth.astype(str),
            }
        )
        meta = {"run": f"run{place}", "dataset": "made", "backbone": f"b{place}", "seed": 0}
        table = predictions_table(images, sample.classes, sample.probs)
        predictions.append(Predictions(table, meta | {"classes": list(sample.classes)}))
    table = frostline.compare(
        predictions, metric=metric, margin=type_one.MARGIN, replicates=type_one.FLIPS, seed=5
    )
    assert len(table) == len(found) == 3
    # `compare` gives what is decided first, a trial the pairs as they come.
    table = table.sort_values(["a", "b"])
    for (_, row), one in zip(table.iterrows(), found, strict=True):
        assert row["verdict"] == one.verdict
        for name in ("p", "p_adjusted", "pair_low", "pair_high", "low", "high", "equivalence_p"):
            assert row[name] == pytest.approx(getattr(one, name)), name


def test_an_answer_is_no_value_where_there_was_nothing_to_ask(type_one):
    cell = cell_of(type_one, 9, sizes="one")
    table = type_one.run_chunk(cell, 0)
    assert table.notna().any().any()
    assert set(table.stack().dropna()) <= {0.0, 1.0}
    # Nine units are always flagged, and a goal is set for most of the rest.
    assert table.filter(like="not flagged").isna().all(axis=None)
    assert (table[type_one.CONTRADICTION] == 0).all()
    assert {name.split(":")[0].split(",")[0] for name in table} == {
        *("different", "covered", "equivalent", "mcnemar by image"),
        type_one.CONTRADICTION,
    }


def test_answers_are_read_off_the_comparison(type_one, monkeypatch):
    """With p and interval made up, every mark, hold and contradiction is seen."""
    cell = cell_of(type_one, 30, sizes="one")
    made = type_one.compare_family

    def answers(**changes):
        def changed(*given):
            return [replace(one, **changes) for one in made(*given)]

        monkeypatch.setattr(type_one, "compare_family", changed)
        return type_one.run_chunk(cell, 0).iloc[0]

    wide = {"pair_low": -1.0, "pair_high": 1.0, "low": -1.0, "high": 1.0}
    none = {"equivalence_p": 0.5, "equivalence_low": -0.2, "equivalence_high": 0.2}
    never = answers(p=0.5, p_adjusted=0.5, **wide, **none)
    marks = [name for name in never.index if name.startswith(("different", "equiv"))]
    held = [name for name in never.index if name.startswith("covered:")]
    assert not never[marks].any()
    assert never[held].all()
    assert never["contradiction"] == 0
    far = {"pair_low": 0.5, "pair_high": 1.0, "low": 0.5, "high": 1.0}
    close = {"equivalence_p": 0.01, "equivalence_low": -0.04, "equivalence_high": 0.04}
    always = answers(p=0.01, p_adjusted=0.01, **far, **close)
    assert always[marks].all()
    assert not always[held].any()
    assert always["contradiction"] == 0
    own = answers(**(wide | {"pair_low": 0.5}))
    assert own["covered: accuracy, three runs together"]
    assert not own[[name for name in held if "together" not in name]].any()
    for changes in ({"p": 0.01}, {"p_adjusted": 0.01}, {"pair_low": 0.5}, {"equivalence_p": 0.01}):
        assert answers(**{"p": 0.5, "p_adjusted": 0.5} | wide | none | changes)["contradiction"]


@pytest.mark.parametrize(
    ("sizes", "classes", "chunk", "trials"), [("Pareto", 2, 4, 1), ("one", 7, 6, 14)]
)
def test_ties_that_round_apart_contradict_nothing(type_one, sizes, classes, chunk, trials):
    """Of 20,400 trials two had a p of 5% but for the last digit, and an interval ending at 0."""
    cell = cell_of(type_one, 9, classes, 0.9, sizes)
    rng = cell.generator(chunk)
    answers = [type_one.run_trial(cell, rng) for _ in range(trials)]
    assert [one[type_one.CONTRADICTION] for one in answers] == [0.0] * trials


def test_a_run_resumes_and_is_summarised(type_one, tmp_path, monkeypatch):
    cells = [cell_of(type_one, 9, 7, sizes="one"), cell_of(type_one, 30)]
    monkeypatch.setattr(type_one, "grid", lambda: cells)
    monkeypatch.setattr(type_one, "FEWEST_TRIALS", 3)
    type_one.run_chunks(tmp_path, range(1), (1, 2), cells, type_one.run_chunk)
    assert [path.name for path in tmp_path.iterdir()] == ["0001-000.parquet"]
    before = (tmp_path / "0001-000.parquet").stat().st_mtime_ns
    type_one.run_chunks(tmp_path, range(2), (0, 1), cells, type_one.run_chunk)
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / "0001-000.parquet").stat().st_mtime_ns == before
    table = type_one.summarise(tmp_path)
    assert table["trials"].max() == 6
    assert table["share"].dropna().between(0, 1).all()
    auc = table[table["question"] == "different: roc_auc"]
    assert auc["classes"].tolist() == [2]
    text = type_one.as_markdown(table)
    assert "| 9 units | 30 units | missed |" in text
    assert "one image a unit" in text


def test_chunks_of_two_machines_add_up(type_one, tmp_path, monkeypatch):
    cells = [cell_of(type_one, 9, 7, sizes="one")]
    monkeypatch.setattr(type_one, "grid", lambda: cells)
    for name, chunks in (("all", range(2)), ("one", range(1)), ("two", range(1, 2))):
        type_one.run_chunks(tmp_path / name, chunks, (0, 1), cells, type_one.run_chunk)
    whole, one, two = (type_one.summarise(tmp_path / name) for name in ("all", "one", "two"))
    pd.testing.assert_frame_equal(type_one.together([one, two]), whole, check_dtype=False)


def test_a_goal_is_missed_beyond_the_scatter_of_its_trials(type_one):
    rows = [
        ("different: accuracy", 400, 0.08, False),
        ("different: accuracy", 400, 0.09, True),
        ("covered, not flagged: accuracy", 400, 0.90, False),
        ("covered, not flagged: accuracy", 400, 0.88, True),
        ("covered, not flagged: accuracy", 400, 0.99, True),
        ("covered: accuracy", 400, 0.5, False),
        ("contradiction", 400, 0.0025, True),
        ("contradiction", 400, 0.0, False),
    ]
    table = pd.DataFrame(rows, columns=["question", "trials", "share", "missed"])
    assert type_one.missed(table).tolist() == table["missed"].tolist()


def test_the_docs_show_the_published_figures(type_one):
    table = pd.read_csv(ROOT / "docs" / "type-one.csv")
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert type_one.as_markdown(table) in text
