"""Net benefit: by hand, against acting on all and on none, with intervals that cover."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import frostline
from frostline.cli import app
from frostline.report import write_predictions
from frostline.report.clinical.benefit import _Rows
from frostline.report.clinical.tables import render_benefit
from frostline.report.statistics.comparisons.methods import group_methods
from frostline.report.statistics.curves import THRESHOLDS
from frostline.report.statistics.curves import net_benefit as curve
from frostline.report.statistics.evaluation import score

ROOT = Path(__file__).resolve().parents[3]
NUMBERS = ("net_benefit", "act_on_all", "difference", "avoided")


def table_of(tp: int, fn: int, fp: int, tn: int) -> pd.DataFrame:
    """So many images of each kind, at a threshold between 0.1 and 0.6."""
    ill = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    chance = np.repeat([0.6, 0.1, 0.6, 0.1], [tp, fn, fp, tn])
    names = np.array(["well", "ill"])
    return pd.DataFrame(
        {
            "label": names[ill],
            "prediction": names[(chance > 0.5).astype(int)],
            "prob_well": 1 - chance,
            "prob_ill": chance,
        }
    )


def test_the_worked_example_of_the_page() -> None:
    page = (ROOT / "docs" / "clinical.md").read_text(encoding="utf-8")
    mark = "<!-- run by tests/report/clinical/test_benefit.py -->\n```python\n(.*?)```"
    names: dict[str, pd.DataFrame] = {}
    exec(re.search(mark, page, re.DOTALL)[1], names)  # type: ignore[index]
    found = names["worth"].iloc[0]
    assert found[list(NUMBERS)].tolist() == pytest.approx([0.2, 0.125, 0.075, 30])
    assert found["better"] == "all"


@pytest.mark.parametrize("threshold", [0.15, 0.3, 0.5])
@pytest.mark.parametrize("counts", [(25, 5, 20, 50), (3, 12, 1, 60), (9, 0, 40, 30)])
def test_the_formula_of_vickers_and_elkin(
    counts: tuple[int, int, int, int], threshold: float
) -> None:
    tp, fn, fp, tn = counts
    n, odds = sum(counts), threshold / (1 - threshold)
    benefit, on_all = tp / n - fp / n * odds, (tp + fn) / n - (fp + tn) / n * odds
    row = frostline.net_benefit(table_of(*counts), thresholds=threshold, positive="ill").iloc[0]
    better = max(on_all, 0)
    # Interventions avoided: true negatives, less the odds of those missed.
    avoided = 100 * (tn / n - fn / n / odds)
    wanted = [benefit, on_all, benefit - better, avoided]
    assert row[list(NUMBERS)].tolist() == pytest.approx(wanted)
    assert row["better"] == ("all" if on_all > 0 else "none")
    for name in ("", "act_on_all_", "difference_", "avoided_"):
        centre = row[name.removesuffix("_") or "net_benefit"]
        assert row[f"{name}low"] < centre < row[f"{name}high"]


def test_who_acts_on_all_is_acting_on_all() -> None:
    row = frostline.net_benefit(table_of(20, 10, 30, 40), thresholds=0.05, positive="ill").iloc[0]
    assert row["net_benefit"] == pytest.approx(row["act_on_all"])
    assert row["difference"] == pytest.approx(0)
    assert row["difference_low"] < 0 < row["difference_high"]


def test_order_of_rows_and_names_of_groups_do_not_matter(run) -> None:
    one = run(n=200, n_groups=80)
    other = run(n=200, n_groups=80)
    other.table = other.table.sample(frac=1, random_state=3).reset_index(drop=True)
    other.table["group_id"] = "g" + other.table["group_id"]
    numbers = [
        frostline.net_benefit(given).drop(columns="notes").select_dtypes("number")
        for given in (one, other)
    ]
    pd.testing.assert_frame_equal(*numbers, rtol=1e-12)


def test_groups_make_intervals_of_groups(run) -> None:
    """Every image five times: as groups the interval stays, as images it would shrink."""
    one = run(n=100, n_groups=1000)
    one.table["group_id"] = one.table["image_id"]
    five = run(n=100, n_groups=1000)
    five.table["group_id"] = five.table["image_id"]
    five.table = pd.concat([five.table] * 5, ignore_index=True)
    five.table["image_id"] = [f"{n}" for n in range(500)]
    ends = ["low", "high", "difference_low", "difference_high"]
    alone = frostline.net_benefit(one)
    grouped = frostline.net_benefit(five)
    images = frostline.net_benefit(five, unit="image")
    np.testing.assert_allclose(grouped[ends], alone[ends])
    assert ((images["high"] - images["low"]) < 0.6 * (grouped["high"] - grouped["low"])).all()


def test_seeds_are_one_model_and_widen_it(run) -> None:
    runs = [run(n=200, n_groups=80, seed=n, run=f"s{n}") for n in range(3)]
    for n, one in enumerate(runs):
        one.meta["seed"] = n
    pooled = frostline.net_benefit(runs)
    each = pd.concat([frostline.net_benefit(one) for one in runs])
    assert pooled["n_seeds"].tolist() == [3, 3, 3]
    means = each.groupby("threshold")["net_benefit"].mean()
    np.testing.assert_allclose(pooled["net_benefit"], means)
    assert "over groups and seeds" in " ".join(repr(pooled).split())


def test_of_several_classes_each_is_a_row_or_one(run) -> None:
    one = run(classes=("a", "b", "c"), n=150)
    every = frostline.net_benefit(one, thresholds=0.2)
    assert every["positive"].tolist() == ["a", "b", "c"]
    alone = frostline.net_benefit(one, thresholds=0.2, positive="b")
    assert alone["net_benefit"].tolist() == every["net_benefit"].tolist()[1:2]
    with pytest.raises(frostline.InputError, match=r"'d' is no class of run-0: it has a, b, c\."):
        frostline.net_benefit(one, positive="d")


def test_the_curve_has_bands_of_the_same_draws_and_the_tables_values(run) -> None:
    one = run(n=120, n_groups=50)
    (method,) = group_methods(score([one]))
    found = curve(method, seed=4)
    lines = found[found["kind"] == "net-benefit"]
    table = frostline.net_benefit(one, thresholds=THRESHOLDS)
    np.testing.assert_allclose(lines["y"], table["net_benefit"])
    assert (lines["low"] <= lines["y"]).all()
    assert (lines["y"] <= lines["high"]).all()
    widths = [(one["high"] - one["low"]).to_numpy()[:50] for one in (lines, table)]
    np.testing.assert_allclose(*widths, rtol=0.25)
    again = curve(method, seed=4)
    pd.testing.assert_frame_equal(found, again)
    every = found[found["kind"] == "act-on-all"]
    np.testing.assert_allclose(every["y"], table["act_on_all"])


@pytest.mark.parametrize(("tied", "ill"), [(False, 0.3), (True, 0.2)])
def test_intervals_cover_of_rare_misses_and_where_all_and_none_tie(tied: bool, ill: float) -> None:
    """Of 60 patients hardly one is missed; at a tie, as many are ill as the threshold says."""
    rng, threshold, trials = np.random.default_rng(0), 0.2 if tied else 0.1, 400
    odds = threshold / (1 - threshold)
    shares = np.array([0.95 * ill, 0.05 * ill, 0.3 * (1 - ill), 0.7 * (1 - ill)])
    truth = shares[0] - odds * shares[2], odds * shares[3] - shares[1]
    held = np.zeros(3)
    for _ in range(trials):
        kind = rng.choice(4, 60, p=shares)
        rows = _Rows(kind < 2, np.where(kind % 2 == 0, 0.9, 0.0)[None], np.arange(60))
        acted = rows.probs >= threshold
        ends = [
            rows.difference(acted & rows.positive, acted & ~rows.positive, (1.0, odds)),
            rows.difference(~acted & ~rows.positive, ~acted & rows.positive, (odds, 1.0)),
        ]
        ends.append(tuple(np.minimum(*ends)))
        for place, (value, (_, low, high)) in enumerate(
            zip((*truth, min(truth)), ends, strict=True)
        ):
            held[place] += low <= value <= high
    assert (held / trials >= 0.925).all(), held / trials


def test_the_command_line(run, tmp_path: Path) -> None:
    one = run(n=200, n_groups=80)
    path = tmp_path / "one.parquet"
    write_predictions(path, one.table, one.meta)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["evaluate", str(path), *arguments])
        return result.output if not result.exception else str(result.exception)

    rows = json.loads(said("--net-benefit", "0.2,0.05", "--format", "json"))
    assert [row["threshold"] for row in rows] == [0.05, 0.2]
    same = frostline.net_benefit(path, thresholds=[0.05, 0.2])
    assert [row["difference_low"] for row in rows] == same["difference_low"].tolist()
    assert "Net benefit" in said("--net-benefit", "0.2")
    assert "tabular" in said("--net-benefit", "0.2", "--format", "latex")
    assert "not '0.2;0.3'" in said("--net-benefit", "0.2;0.3")
    assert "threshold 20 is not between 0 and 1" in said("--net-benefit", "20")
    assert "`--seed` does not act with `--net-benefit 0.2`" in said(
        "--net-benefit", "0.2", "--seed", "1"
    )
    bare = one.table.drop(columns=[name for name in one.table if name.startswith("prob_")])
    write_predictions(path, bare, one.meta)
    assert "run-0 has no probabilities" in said("--net-benefit", "0.2")


def test_the_class_that_is_acted_on_is_named_in_a_terminal(run) -> None:
    """A terminal has no captions."""
    said = render_benefit(frostline.net_benefit(run(("a", "b", "c")), thresholds=0.1, positive="b"))
    assert "Acting on images that are called positive (b)." in " ".join(said.split())
