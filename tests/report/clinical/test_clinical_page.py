"""Net benefit and calibration on the page of a study."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from frostline.report import write_report
from frostline.report.page.computing import compute_numbers
from frostline.report.page.score_figures import draw_decision, draw_reliability


def validated(run, **about):
    one = run(n=300, n_groups=120, **about)
    group = one.table["group_id"].str.removeprefix("patient-").astype(int)
    one.table["split"] = np.where(group % 3 == 0, "val", "test")
    return one


def test_the_page_has_both_tables_and_the_thresholds_asked_for(run, tmp_path: Path) -> None:
    one = validated(run)
    options = {"title": "t", "replicates": 50, "figure_formats": ["svg"]}
    paths = write_report(tmp_path, [one], benefit=(0.15, 0.3), **options)
    page = paths["index.html"].read_text()
    assert "Net benefit at thresholds fixed beforehand" in page
    assert "Calibration before and after scaling" in page
    worth = pd.read_csv(paths["tables/benefit.csv"])
    assert worth["threshold"].tolist() == [0.15, 0.3]
    scaled = pd.read_csv(paths["tables/calibration.csv"])
    assert set(scaled["when"]) == {"before", "after"}
    # Made again from what was kept, the page is the same; other thresholds are other numbers.
    assert write_report(tmp_path, [one], benefit=(0.15, 0.3), **options)
    assert paths["index.html"].read_text() == page
    again = write_report(tmp_path, [one], benefit=(0.4,), **options)
    assert pd.read_csv(again["tables/benefit.csv"])["threshold"].tolist() == [0.4]


def test_of_many_classes_the_page_shows_the_best_of_each_way(run, tmp_path: Path) -> None:
    runs = [
        run(classes=("a", "b", "c"), n=90, seed=n, run=f"r{n}", backbone=f"net{n}", skill=1.0 + n)
        for n in range(2)
    ]
    paths = write_report(tmp_path, runs, title="t", replicates=50, figure_formats=["svg"])
    assert len(pd.read_csv(paths["tables/benefit.csv"])) == 2 * 3 * 3
    page = paths["index.html"].read_text()
    table = page[page.index("Net benefit at thresholds fixed") :]
    table = table[: table.index("</table>")]
    assert table.count("<tr") == 1 + 3 * 3
    assert "net1" in table
    assert "net0" not in table


def test_the_figure_shows_before_and_after_and_nothing_is_written_over(run, tmp_path: Path) -> None:
    numbers = compute_numbers(tmp_path, [validated(run)], replicates=50)
    (part,) = numbers.datasets
    figure, words = draw_reliability(part)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["as they are", "scaled", "calibrated", "95% of points if calibrated"]
    assert " scaled " in words
    figure.canvas.draw()
    boxes = [legend.get_window_extent(), *(one.get_window_extent() for one in figure.texts)]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    for a, b in itertools.combinations(boxes, 2):
        assert a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
    bands = draw_decision(numbers, part)[0].axes[0].collections
    assert len(bands) == 1
