"""Every format says the same numbers, and nobody's text becomes markup."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.report import (
    FORMATS,
    compare,
    comparison_table,
    evaluate,
    paper_table,
    render,
    render_comparison,
    score_table,
    table_html,
)
from frostline.report.statistics.comparisons.best import MARK_COLUMNS
from frostline.report.statistics.comparisons.methods import group_methods
from frostline.report.statistics.comparisons.planning import plan_groups
from frostline.report.statistics.evaluation import score
from frostline.report.statistics.methods import tabulate_methods
from frostline.report.tables.plans import render_plan
from frostline.report.tables.table import Cell, Column, Row, Table
from frostline.report.tables.writers.csv import to_csv

HOSTILE = (
    "<script>alert(1)</script>",
    "\"quoted\" 'name' & | a_b $\\frac$ 50% #1 {x} ^~ `code` *b* [l](http://x)",
    "x" * 200,
    "שלום\u202egnp",
    "two\nlines",
)


@pytest.fixture(scope="module")
def frame(run):
    return evaluate(
        [
            run(),
            run(seed=1, unfreeze="all", head="linear"),
            run(seed=2, unfreeze="all", head="linear", weights="random, seed 0", skill=0.2),
            run(seed=3, unfreeze="none", weights="random, seed 0", backbone="vgg16", skill=0.1),
            run(seed=4, unfreeze="2", backbone="vgg16"),
        ],
        replicates=200,
    )


@pytest.fixture(scope="module")
def hostile(run):
    return evaluate(
        [
            run(HOSTILE, seed=i, run=text, dataset=text, backbone=text if i % 2 else "")
            for i, text in enumerate(HOSTILE)
        ],
        replicates=100,
    )


def test_csv_is_exact(frame):
    text = render(frame, "csv")
    lines = text.splitlines()
    assert lines[0] == "run,metric,estimate,low,high"
    assert len(lines) == 1 + len(frame)
    assert lines[1].startswith("run-0,accuracy,0.")
    for line, expected in zip(csv.DictReader(io.StringIO(text)), frame.itertuples(), strict=True):
        assert (line["run"], line["metric"]) == (expected.run, expected.metric)
        for name in ("estimate", "low", "high"):
            assert float(line[name]) == getattr(expected, name)
    assert any(line.startswith("majority-chest,accuracy,") for line in lines)


def test_csv_without_interval_is_empty(frame):
    bare = frame.head(1).assign(estimate=0.1, low=np.nan, high=np.nan, run='a "b", c')
    assert render(bare, "csv").splitlines()[1] == '"a ""b"", c",accuracy,0.1,,'


def test_json_holds_every_column(frame):
    records = json.loads(render(frame.assign(low=np.nan), "json"))
    assert list(records[0]) == list(frame.columns)
    assert records[0]["low"] is None
    assert records[0]["estimate"] == frame["estimate"].iloc[0]


def test_papers_layout(frame):
    lines = paper_table(frame).splitlines()
    head = next(line for line in lines if line.startswith("| Data set"))
    assert head == "| Data set | Model | Freeze | Accuracy | Precision | Recall | F1 score |"
    body = [line for line in lines if re.match(r"\| (chest)? \|", line)]
    assert [line.split(" | ")[1:3] for line in body] == [
        ["resnet50", "Y"],
        ["resnet50", "N"],
        ["resnet50 (from scratch)", "N"],
        ["vgg16 (random weights)", "Y"],
        ["vgg16", "last 2"],
        ["majority class", "\N{EN DASH}"],
    ]
    estimate = frame["estimate"].iloc[0]
    assert f"| {100 * estimate:.2f} [" in body[0]


def test_footnotes_say_units_method_and_seed(frame, run):
    n_groups = run().table["group_id"].nunique()
    for format in ("table", "markdown", "latex"):
        text = " ".join(render(frame, format).split())
        assert f"chest: {n_groups} groups of 60 images (test)" in text
        assert "intervals: jackknife-t over groups." in text
        assert "Averages over classes are weighted by their images" in text


def test_terminal_fits_80_columns(frame, hostile):
    for one in (frame, hostile):
        lines = render(one).splitlines()
        assert max(map(len, lines)) <= 80
    assert "from scratch" in render(frame)


def test_reasons_do_not_split_the_five_metrics_of_a_terminal(run):
    """A class that 3 patients were called, next to intervals that end at 100.0."""
    one, right = run(skill=9.0, n_groups=60), run(skill=9.0, n_groups=60, unfreeze="all")
    one.table["prediction"] = ["PNEUMONIA"] * 3 + ["NORMAL"] * 57
    text = render(evaluate([one, right]))
    assert max(map(len, text.splitlines())) <= 80
    table = text.partition("Scored: ")[0]
    assert table.count("Model") == table.count("F1 score") == 1
    assert " (no interval: " in table
    assert table.count(", 100.0]") == 5


def test_a_terminal_shows_every_number_however_many_columns(run):
    classes = tuple(f"a class with a long name, {i}" for i in range(9))
    frame = evaluate([run(classes, n=200)], metrics=["f1_per_class"], replicates=50)
    text = render(frame)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for row in frame.to_dict("records"):
        assert f"{100 * row['estimate']:.1f}" in text
        if row["low"] == row["low"]:
            assert f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in text
    assert text.count("resnet50") == text.count("Model")


def test_details_are_shown_only_where_they_differ(run):
    frame = evaluate(
        [run(seed=0), run(seed=1, head="adam"), run(seed=2, unfreeze="all")], replicates=50
    )
    text = paper_table(frame)
    assert "| resnet50 (logistic) | Y |" in text
    assert "| resnet50 (adam) | Y |" in text
    assert "| resnet50 | N |" in text


def test_rows_that_look_alike_get_their_runs_name(run):
    text = paper_table(evaluate([run(seed=0), run(seed=1)], replicates=50))
    assert "| resnet50 (run-0) | Y |" in text
    assert "| resnet50 (run-1) | Y |" in text


def test_markdown_keeps_hostile_text_text(hostile):
    text = paper_table(hostile, "markdown")
    assert "<script" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text


def test_latex_keeps_hostile_text_text(hostile):
    text = render(hostile, "latex")
    assert r"\textless{}script\textgreater{}" in text
    assert r"\$\textbackslash{}frac\$ 50\% \#1 \{x\}" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {7}
    assert text.startswith("% has characters beyond Latin")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
@pytest.mark.parametrize("alone", [True, False], ids=["as it is", "in a paper"])
@pytest.mark.parametrize("format", ["latex", "paper"])
def test_latex_compiles(frame, marks, tmp_path, format, alone):
    text = render(frame, "latex")
    if format == "paper":
        text = paper_table(frame, "latex", marks=marks, primary="accuracy")
    (tmp_path / "table.tex").write_text(text)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,graphicx,textcomp}"
        "\\begin{document}\\input{table}\\input{table} The end.\\end{document}\n"
    )
    name = "table" if alone else "paper"
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / f"{name}.pdf").stat().st_size > 1000


@pytest.fixture(scope="module")
def marks():
    rows = [("chest", "run-0", "alike", ""), ("chest", "run-1", "alike", "")]
    return pd.DataFrame(rows, columns=list(MARK_COLUMNS[:4])).reindex(columns=list(MARK_COLUMNS))


def test_marks_in_every_format(frame, marks):
    def table(format, mark="alike"):
        return paper_table(frame, format, marks=marks.assign(mark=mark), primary="accuracy")

    estimate = f"{100 * frame['estimate'].iloc[0]:.2f}"
    assert f"| <ins>resnet50</ins> | Y | <ins>{estimate}</ins> [" in table("markdown")
    assert f"| **resnet50** | Y | **{estimate}** [" in table("markdown", "alone")
    assert rf"{{\underline{{resnet50}}}} & {{Y}} & {{\underline{{{estimate}}} [" in table("latex")
    assert rf"{{\textbf{{resnet50}}}} & {{Y}} & {{\textbf{{{estimate}}} [" in table(
        "latex", "alone"
    )
    assert f"<mark>{estimate}</mark></span> <span" in table("html")
    assert table("html").count("<mark>") == 4
    assert table("csv").splitlines()[1].startswith(f"chest,resnet50,Y,alike,{estimate},")
    assert "not separated from the best in accuracy at 5%, adjusted for all pairs" in table(
        "markdown"
    )


def test_why_nothing_is_marked_is_said(frame):
    rows = [("chest", "", "", "other images")]
    why = pd.DataFrame(rows, columns=list(MARK_COLUMNS[:4])).reindex(columns=list(MARK_COLUMNS))
    text = paper_table(frame, marks=why, primary="accuracy")
    assert "No row is marked as best: other images." in text
    assert "Underlined" not in text


def test_html_keeps_hostile_text_text(hostile):
    text = paper_table(hostile, "html")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\u202e" not in text


def test_footnotes_say_candidates_and_seeds(run):
    runs = [run(seed=i, run=f"run-{i}", candidates=45, head="logistic") for i in range(3)]
    for number, one in enumerate(runs):
        one.meta["seed"] = number
    scored = score(runs)
    frame = tabulate_methods(group_methods(scored), ["accuracy"], {})
    text = render(frame, "markdown")
    assert "Candidates tried on validation: logistic 45." in text
    assert "Means over seeds (0, 1, 2): intervals hold the variance of groups and seeds." in text
    assert "| resnet50 | Y |" in text
    assert frame["estimate"].iloc[0] == np.mean(
        [evaluate([one], metrics=["accuracy"], replicates=100)["estimate"].iloc[0] for one in runs]
    )


def test_unknown_format(frame):
    with pytest.raises(InputError, match=r"^There is no format 'xls'; choose from table, csv, "):
        render(frame, "xls")
    with pytest.raises(InputError, match=r"^There is no format 'xls'; choose from markdown, "):
        paper_table(frame, "xls")
    assert set(FORMATS) == {"table", "csv", "json", "markdown", "latex"}


FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")')


@pytest.mark.parametrize("name", FORMULAS)
def test_no_name_is_a_formula_in_a_spreadsheet(run, name):
    classes = ("-1", name)
    runs = [
        run(classes, seed=1, run=name, backbone=name),
        run(classes, seed=2, run="b", dataset=""),
    ]
    runs[1].meta["dataset"] = runs[0].meta["dataset"] = name
    frame = evaluate(runs, metrics=["accuracy", "f1_per_class"])
    pairs = compare(runs, replicates=200)
    texts = [render(frame, "csv"), render_comparison(pairs, "csv"), to_csv(score_table(frame))]
    for text in texts:
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        assert any(cell.lstrip("'").startswith(name.strip("\r")) for cell in cells)
        assert len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}) == 1
        for cell in cells:
            assert cell[:1] not in tuple("=+-@\t\r") or isinstance(float(cell), float)
    # Labels that are numbers stay numbers.
    assert to_csv(Table((Column("label"),), (Row((Cell("-1"),)),))).split() == ["label", "-1"]


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_what_people_read_has_one_minus_sign_and_programs_have_ascii(run, format):
    """Kappa below 0, of a run that is wrong more often than right."""
    wrong = run(skill=-2.0, n_groups=60)
    scores = evaluate([wrong], metrics=["cohen_kappa"])
    pair = compare([wrong, run(n_groups=60, seed=1)], metric="cohen_kappa")
    minus = "$-$" if format == "latex" else "\N{MINUS SIGN}"
    for table, text in (
        (score_table(scores), table_html(score_table(scores))),
        (comparison_table(pair), table_html(comparison_table(pair))),
    ):
        if format != "html":
            shown = render if table.columns[0].heading == "Model" else render_comparison
            text = shown(scores if shown is render else pair, format)
        text = re.sub(r'data-value="[^"]*"', "", text)
        assert not re.search(r"(?<![\w$-])-\d", text)
        assert len(re.findall(re.escape(minus) + r"\d", text)) >= 3
        assert re.search(r"(?<![\w-])-\d", to_csv(table))
        assert "\N{MINUS SIGN}" not in to_csv(table)
    for format in ("csv", "json"):
        programs = render(scores, format) + render_comparison(pair, format)
        assert "\N{MINUS SIGN}" not in programs
        assert re.search(r"-0\.\d", programs)


def test_one_is_said_in_the_singular(run):
    frame = evaluate([run(n=1, n_groups=1)], metrics=["accuracy"])
    text = " ".join(render(frame).split())
    assert "Scored: chest: 1 image (test)." in text
    pair = compare([run(n=3, n_groups=1), run(n=3, n_groups=1, seed=5, skill=-3.0)])
    assert "chest: 1 group of 3 images." in " ".join(render_comparison(pair).split())


def test_a_smallest_p_is_said_where_there_is_a_p(run):
    """A class in one group alone: ROC AUC has no test."""
    runs = [run(), run(seed=1)]
    for one in runs:
        one.table["group_id"] = np.where(
            one.table["label"] == "PNEUMONIA", "g", one.table["group_id"]
        )
    found = compare(runs, metric="roc_auc")
    assert found[["p", "smallest_p"]].isna().all(axis=None)
    assert "Smallest p" not in render_comparison(found)
    assert "Smallest p" in render_comparison(compare(runs))


def test_a_plan_says_of_identical_runs_that_they_are(run):
    same = [run(), run(run="tuned", unfreeze="all"), run(seed=2, unfreeze="2")]
    plan = plan_groups(compare(same))
    assert "identical predictions" in set(plan["verdict"])
    for format in ("table", "markdown", "latex"):
        text = " ".join(render_plan(plan, format).split())
        assert text.count("(identical") == 1
