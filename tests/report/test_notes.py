"""Notes under tables: what a reader needs, once, and names as they were typed."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frostline.report import (
    evaluate,
    paper_table,
    render,
    score_table,
    table_html,
    write_predictions,
)
from frostline.report.notes import Note
from frostline.report.tables.note_lines import note_sentences
from frostline.report.tables.table import IN_JSON, Row, Table, columns, words
from frostline.report.tables.writers.latex import to_latex
from frostline.report.tables.writers.markdown import to_markdown
from frostline.report.tables.writers.terminal import to_terminal

CLASSES = ("nevus; benign", "melanoma: thick", "other, rare")


def table(*notes, metrics=("accuracy",), runs=("ensAll", "b")):
    rows = tuple(Row(words(run, "1"), dataset="skin", run=run) for run in runs)
    first, second = columns(("Model", "Score"))
    return Table((first, replace(second, metric=metrics[0])), rows, notes)


def sentences(*notes, **options):
    return note_sentences(table(*notes, **options), ("Underlined", "bold"))


def never(name, run="ensAll"):
    return Note("Never predicted.", ("accuracy",), (name,), (run,), "skin")


def test_equal_notes_on_several_classes_and_runs_are_one_sentence():
    found = sentences(*(never(name, run) for name in "xyz" for run in ("ensAll", "b")))
    assert found == ["Never predicted (x, y, z)."]


def test_metrics_of_classes_do_not_name_them_again(run):
    classes = ("nevus", "melanoma")
    runs = [run(classes, n=30, n_groups=30, dataset=name) for name in ("skin", "chest")]
    few = "Fewer than 20 groups of a class: the interval may not cover"
    for metrics, about in (
        (["recall_per_class", "f1_per_class"], ""),
        (["accuracy", "recall_per_class"], "Recall; "),
    ):
        for given in (runs, runs[:1]):
            frame = evaluate(given, replicates=50, metrics=metrics)
            found = note_sentences(score_table(frame), ("Underlined", "bold"))
            assert f"{few} ({about}nevus, melanoma)." in found


def test_a_note_on_some_rows_names_them_and_on_many_counts_them():
    assert sentences(never("x")) == ["Never predicted (x; ensAll)."]
    runs = [f"run{i}" for i in range(9)]
    many = sentences(*(never("x", run) for run in runs[:6]), runs=runs)
    assert many == ["Never predicted (x; 6 of 9 rows)."]


def test_what_the_table_does_not_show_is_not_in_its_notes():
    note = Note("Not this.")
    about = [
        Note("Other metric.", ("balanced_accuracy",)),
        Note("Other run.", runs=("c",)),
        Note("Other data set.", dataset="chest"),
    ]
    assert sentences(note, *about) == ["Not this."]


@pytest.mark.parametrize("write", [to_terminal, to_markdown, to_latex, table_html])
def test_at_most_five_notes_stand_under_a_table(write):
    notes = [Note(f"Sentence {number}.") for number in range(8)]
    text = write(table(*notes))
    assert "Sentence 4." in text
    if write is table_html:
        before, _, folded = text.partition("<details><summary>6 more notes</summary>")
        assert "Sentence 1." in before
        assert "Sentence 2." not in before
        assert "Sentence 7." in folded
    elif write is to_latex:
        assert "% Sentence 7." in text
        assert "Sentence 5." not in text.partition("% More notes")[0]
    else:
        assert "Sentence 5." not in text
        assert "3 more notes are left out." in text


def test_one_note_more_is_said_of_one():
    six = replace(table(*(Note(f"Sentence {n}.") for n in range(6))), elsewhere=IN_JSON)
    said = " ".join(to_terminal(six).split())
    assert said.endswith("1 more note is shown by --format json, and is in the table in Python.")


def test_names_are_shown_as_they_were_typed(run):
    one = run(CLASSES, run="ensAll", backbone="", n=90)
    one.table["prediction"] = CLASSES[0]
    frame = evaluate([one, run(CLASSES, seed=1, n=90, backbone="ensNone")], replicates=100)
    texts = [render(frame, format) for format in ("table", "markdown", "latex")]
    texts.append(html.unescape(table_html(score_table(frame))))
    for text in texts:
        flat = " ".join(text.replace(r"\textquotedbl{}", '"').split())
        assert "EnsAll" not in flat
        assert "ensAll" in flat
        assert '"melanoma: thick", "other, rare"' in flat
        assert "Precision counts as 0 for a class that is never predicted" in flat


def test_a_papers_table_speaks_of_its_own_columns_alone(run):
    one = run(("a", "b", "c", "d"), n=40, n_groups=12)
    frame = evaluate([one], replicates=100)
    notes = [note for notes in frame["notes"] for note in notes]
    assert any("balanced_accuracy" in note.metrics for note in notes)
    for format in ("markdown", "latex"):
        text = paper_table(frame, format)
        assert "alanced accuracy" not in text
        assert "--aggregate" not in text.replace("{}", "")


def test_the_reports_page_has_an_example_that_runs(run, tmp_path, monkeypatch):
    one = run()
    write_predictions(tmp_path / "predictions.parquet", one.table, one.meta)
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text()
    made: dict[str, str] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], made)
    assert made["page"].count('<th scope="col"') == 3
    assert made["paper"].startswith("% in a paper:")


def test_json_has_every_note_as_data(run):
    frame = evaluate([run(n=20, n_groups=5)], replicates=100)
    first = json.loads(render(frame, "json"))[0]["notes"][0]
    assert set(first) == {"text", "metrics", "classes", "runs", "dataset", "first"}


def test_a_missing_score_is_sorted_last_and_not_called_nan(run):
    frame = evaluate([run(), run(seed=1)], replicates=50, metrics=["accuracy", "roc_auc"])
    frame.loc[0, "estimate"] = np.nan
    text = table_html(score_table(frame))
    assert 'data-value=""' in text
    assert "nan" not in text.lower()
