"""Comparisons in words and tables: the same numbers, and nobody's text becomes markup."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess

import pytest

from frostline.cache import InputError
from frostline.report import (
    compare,
    comparison_sentences,
    comparison_table,
    render_comparison,
    table_html,
)

HOSTILE = "<script>|& $x_1$ \u202e" + "y" * 90


@pytest.fixture(scope="module")
def frame(run):
    runs = [
        run(skill=3.0, n_groups=60),
        run(seed=1, skill=0.2, n_groups=60),
        run(seed=2, skill=2.9, n_groups=60, run=HOSTILE),
    ]
    return compare(runs, margin=0.5)


def test_sentences(frame):
    first, second, third = comparison_sentences(frame)
    assert first.startswith(
        "On chest, resnet50 (frozen, run-0) is better than resnet50 (frozen, run-1): accuracy +"
    )
    assert first.endswith(" points [" + first.split("[")[1])
    assert "by max-T of 3." in first
    assert " is equivalent to " in second
    assert " within 50 points: " in second
    assert " is worse than " in third


def test_every_format_says_the_same(frame):
    rows = list(csv.DictReader(io.StringIO(render_comparison(frame, "csv"))))
    objects = json.loads(render_comparison(frame, "json"))
    assert [float(row["difference"]) for row in rows] == frame["difference"].tolist()
    assert [one["p_adjusted"] for one in objects] == frame["p_adjusted"].tolist()
    shown = f"{100 * frame['difference'].iloc[0]:+.1f} ["
    assert shown in render_comparison(frame, "latex")
    assert shown in render_comparison(frame, "markdown")


def test_footnotes_say_unit_family_and_seed(frame):
    text = " ".join(render_comparison(frame, "table").split())
    assert f"chest: {frame['n_units'].iloc[0]} groups of 60 images" in text
    assert "p and intervals by sign flips of groups; seed 0." in text
    assert "Adjusted p and simultaneous 95% intervals by max-T over a data set's" in text
    assert "Equivalent: within 50 points by two one-sided tests; the interval of" in text


def test_terminal_fits_and_hostile_text_stays_text(frame):
    assert max(map(len, render_comparison(frame).splitlines())) <= 80
    assert "<script" not in render_comparison(frame, "markdown")
    for format in ("table", "markdown", "latex"):
        assert "\u202e" not in render_comparison(frame, format)
    assert r"\textless{}script\textgreater{}" in render_comparison(frame, "latex")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
def test_latex_compiles(frame, tmp_path):
    (tmp_path / "t.tex").write_text(render_comparison(frame, "latex"))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_unknown_format(frame):
    with pytest.raises(InputError, match=r"^There is no format 'xls'; choose from table, csv, "):
        render_comparison(frame, "xls")


def test_a_notebook_shows_each_pair(frame):
    text = table_html(comparison_table(frame))
    assert text.count('<tr role="row">') == 1 + len(frame)
    assert "<script" not in text
    assert f'data-value="{frame["p_adjusted"].iloc[0]}"' in text
    assert "<bdi>better</bdi>" in text
