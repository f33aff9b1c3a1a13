"""Operating points on the page of a study, marked on its ROC curves, and among its tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from frostline.report import write_report
from frostline.report.statistics.evaluation import score


def with_validation(run, seed=0, **options):
    """A run whose first half is validation."""
    made = run(n=240, n_groups=120, seed=seed, **options)
    split = np.where(np.arange(240) < 120, "val", "test")
    groups = made.table["group_id"] + "-" + pd.Series(split)
    return replace(made, table=made.table.assign(split=split, group_id=groups))


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    classes = ("a", "b", "c")
    runs = [
        with_validation(run),
        with_validation(run, seed=1, unfreeze="all"),
        with_validation(run, seed=2, classes=classes, dataset="skin"),
    ]
    clinical = {"threshold": "sensitivity=0.9", "prevalence": 0.05, "positive": "b"}
    options = {"title": "s", "replicates": 200, "figure_formats": ["svg"], "clinical": clinical}
    write_report(folder, runs, **options)
    return folder, runs, options


def test_the_page_has_the_table_of_every_data_set_that_can_have_one(report):
    folder, _, _ = report
    page = (folder / "index.html").read_text()
    part = page.partition("<h2>Operating points</h2>")[2].partition("</details>\n")[0]
    assert "<bdi>chest</bdi>: " in part
    assert "<bdi>skin</bdi>: " in part
    assert "PPV at 5%" in part
    table = pd.read_csv(folder / "tables" / "operating.csv")
    assert table.groupby("dataset")["positive"].unique().map(list).to_dict() == {
        "chest": ["PNEUMONIA"],
        "skin": ["b"],
    }
    assert set(table["rule"]) == {"sensitivity=0.9"}
    # One row a method and number.
    assert len(table) == 3 * 8
    for suffix in ("md", "tex", "html"):
        assert "Sensitivity" in (folder / "tables" / f"operating.{suffix}").read_text()


def test_the_point_is_marked_where_the_curve_is_of_the_positive_class(report):
    folder, _, _ = report
    assert "operating point" in (folder / "figures" / "roc-1.svg").read_text()
    # A mean over classes has none.
    assert "operating point" not in (folder / "figures" / "roc-2.svg").read_text()


def test_another_rule_makes_these_numbers_again_and_no_others(report):
    folder, runs, options = report
    kept = {
        path.name: path.stat().st_mtime_ns for path in (folder / "statistics").glob("*.parquet")
    }
    before = pd.read_csv(folder / "tables" / "operating.csv")
    write_report(folder, runs, **options | {"clinical": {"threshold": 0.5}})
    after = pd.read_csv(folder / "tables" / "operating.csv")
    assert set(after["threshold"]) == {0.5}
    assert set(before["threshold"]) != {0.5}
    now = {path.name: path.stat().st_mtime_ns for path in (folder / "statistics").glob("*.parquet")}
    changed = {name for name, time in now.items() if kept.get(name) != time}
    assert changed == {"operating-1.parquet", "operating-2.parquet"}
    assert not len(after[after["dataset"] == "skin"])


def test_without_validation_there_is_no_table(run, tmp_path):
    assert {one.table["split"].iloc[0] for one, _ in score([run()])} == {"test"}
    paths = write_report(tmp_path, [run()], title="s", replicates=200, figure_formats=["svg"])
    assert not [name for name in paths if "operating" in name]
    assert "<h2>Operating points</h2>" not in (tmp_path / "index.html").read_text()
