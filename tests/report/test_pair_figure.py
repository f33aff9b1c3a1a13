"""The matrix of all pairs: every number, what is decided, and room for many methods."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from frostline.report import compare, write_report
from frostline.report.figures import inline_svg, pair_figure, to_svg


def skilled(run, count, **more):
    return [
        run(n=120, n_groups=90, skill=0.5 + 2.5 * i / count, seed=i, backbone=f"net{i}", **more)
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def nine(run):
    return compare(skilled(run, 9), replicates=500)


def words(figure):
    """The texts of a figure, and those in bold."""
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    bold = [one.get_text() for one in texts if one.get_fontweight() == "bold"]
    return [one.get_text() for one in texts], bold


def test_nine_methods_fit_a_column_with_every_number(nine):
    figure = pair_figure(nine)
    assert figure.get_figwidth() == 4
    texts, bold = words(figure)
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 9
    shown = Counter(texts)
    for value, times in Counter(f"{100 * abs(d):.1f}" for d in nine["difference"]).items():
        assert shown[value] >= times
    decided = nine["verdict"].isin(["better", "worse"])
    assert 3 < decided.sum() < 33
    assert len(bold) == decided.sum() + 9
    frames = [one for one in figure.axes[0].patches if not one.get_fill()]
    assert len(frames) == decided.sum()
    assert "Framed: decided; others: undecided" in texts
    assert "Row ahead of column, points of accuracy" in texts


def test_methods_are_named_best_first_and_no_row_is_behind_its_column(nine):
    texts, _ = words(pair_figure(nine))
    named = [re.fullmatch(r"(\d)  (net\d) .*  (\d+\.\d)", text) for text in texts]
    named = [one.groups() for one in named if one]
    scores = [float(score) for _, _, score in named]
    assert [int(number) for number, _, _ in named] == list(range(1, 10))
    assert scores == sorted(scores, reverse=True)
    # The cell of the first row and last column is the largest of all.
    cells = {
        tuple(map(int, t.get_position())): t.get_text()
        for t in pair_figure(nine).axes[0].texts
        if "." in t.get_text()
    }
    assert all(x > y for x, y in cells)
    assert len(cells) == 36
    assert float(cells[8, 0]) == max(map(float, cells.values()))


def test_losses_put_the_lowest_first(run):
    frame = compare(skilled(run, 4), metric="log_loss", replicates=500)
    texts, _ = words(pair_figure(frame))
    scores = [float(m[1]) for m in (re.fullmatch(r"\d  .*  (0\.\d+)", t) for t in texts) if m]
    assert scores == sorted(scores)
    assert f"{frame['difference'].abs().max():.3f}".lstrip("0") in texts
    assert "Row ahead of column, log loss" in texts


def test_signs_for_what_is_equivalent_or_identical(run):
    runs = skilled(run, 3)
    frame = compare([*runs, run(n=120, n_groups=90, skill=0.5, backbone="copy")], replicates=500)
    frame.loc[0, "verdict"] = "equivalent"
    texts, _ = words(pair_figure(frame))
    assert "=" in texts
    assert "≈" in texts
    assert any("≈: equivalent" in text and "=: identical predictions" in text for text in texts)


def test_many_methods_keep_their_letters(run):
    frame = compare(skilled(run, 30), replicates=200)
    figure = pair_figure(frame)
    assert figure.get_figwidth() == pytest.approx(30 * 0.4, abs=0.6)
    texts, _ = words(figure)
    assert Counter(texts)["30"] == 2  # on the diagonal and above its column
    canvas = FigureCanvasAgg(figure).get_renderer()
    cells = [t.get_window_extent(canvas) for t in figure.axes[0].texts if "." in t.get_text()]
    assert len(cells) == 435
    assert max(box.width for box in cells) < 0.4 * figure.dpi
    names = [t.get_window_extent(canvas) for t in figure.texts]
    assert max(box.x1 for box in names) <= figure.get_figwidth() * figure.dpi


@pytest.mark.slow
def test_the_page_has_it_where_there_are_three_methods(run, tmp_path):
    runs = [*skilled(run, 3), run(dataset="skin"), run(dataset="skin", seed=1, backbone="other")]
    more = skilled(run, 16, dataset="brain")
    paths = write_report(
        tmp_path, [*runs, *more], title="Many", replicates=100, figure_formats=["svg"]
    )
    drawn = sorted(name for name in paths if name.startswith("figures/pairs"))
    assert drawn == ["figures/pairs-1.svg", "figures/pairs-3.svg"]
    text = paths["index.html"].read_text()
    assert "chest: All pairs of methods, compared by accuracy" in text
    assert re.search(r"Of 3 pairs of methods \d are decided\.", text)
    assert text.count('<figure class="wide" tabindex="0">') == 1


def test_it_follows_the_pages_theme(nine):
    markup = inline_svg(to_svg(pair_figure(nine)), "pairs-1", "All pairs")
    assert "currentColor" in markup
    assert "fill:var(--c0072b2, #0072b2);opacity:0." in markup
