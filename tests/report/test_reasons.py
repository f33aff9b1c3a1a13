"""What a reader must know of scores stands with comparisons, too; nothing contradicts itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from frostline.report import compare, evaluate, render, render_comparison
from frostline.report.notes import texts

CLASSES = ("a", "b", "c")


def notes_of(frame: pd.DataFrame) -> list[str]:
    return texts(note for notes in frame["notes"] for note in notes)


def plain(text: str) -> str:
    return " ".join(text.split())


def with_labels(one, labels, **meta):
    table = one.table.assign(label=pd.array(labels, dtype="string"))
    return replace(one, table=table, meta={**one.meta, **meta})


@pytest.fixture(scope="module")
def rare(run):
    """Two runs on 60 images of 25 patients, where one class has 3 images."""
    labels = np.where(np.arange(60) < 3, "c", np.where(np.arange(60) % 2, "a", "b"))
    return [with_labels(run(CLASSES, seed=seed), labels) for seed in (1, 2)]


def test_compare_flags_what_evaluate_flags(rare):
    for metric in ("balanced_accuracy", "log_loss", "f1_weighted"):
        flags = [text for text in notes_of(evaluate(rare, metrics=[metric])) if "cover" in text]
        found = notes_of(compare(rare, metric=metric))
        assert set(flags) <= set(found)
        assert metric == "log_loss" or flags
    shown = plain(render_comparison(compare(rare, metric="balanced_accuracy")))
    assert "Fewer than 20 groups of a class: the interval may not cover (" in shown


def test_no_interval_says_why(run, rare):
    one = rare[0]
    answers = one.table["prediction"].to_list()
    right = (one.table["prediction"] == one.table["label"]).to_numpy()
    wrong = int(np.flatnonzero(~right)[0])
    # Another wrong answer: as good in every group, and not identical.
    taken = (answers[wrong], one.table["label"][wrong])
    answers[wrong] = next(name for name in CLASSES if name not in taken)
    other = replace(one, table=one.table.assign(prediction=pd.array(answers, dtype="string")))
    other.meta["run"] = "other"
    sentence = plain(render_comparison(compare([one, other], metric="recall_macro")))
    assert "+0.0 points (no interval: leaving out any group changes nothing)." in sentence
    # A class in one group alone: leaving that out, ROC AUC is undefined.
    sick = run().table["label"] == "PNEUMONIA"
    groups = pd.array(np.where(sick, "g", run().table["group_id"]), dtype="string")
    few = [
        replace(one, table=one.table.assign(group_id=groups)) for one in (run(seed=1), run(seed=2))
    ]
    assert "(no interval: one group alone is of a class)" in plain(
        render(evaluate(few, metrics=["roc_auc"]))
    )
    sentence = plain(render_comparison(compare(few, metric="roc_auc")))
    assert "(no interval: one group alone is of a class)." in sentence


def test_no_interval_of_no_width_unless_the_metric_cannot_vary(run):
    """One of two images of each sick patient is found: no patient changes the mean of recalls."""
    one = run(n=48)
    groups = np.arange(48) // 2
    labels = np.where(groups < 12, "NORMAL", "PNEUMONIA")
    answers = np.where((groups >= 12) & (np.arange(48) % 2 == 1), "NORMAL", labels)
    changed = {"label": labels, "prediction": answers, "group_id": [f"p{g}" for g in groups]}
    table = one.table.assign(**{k: pd.array(v, dtype="string") for k, v in changed.items()})
    flat = replace(one, table=table)
    row = evaluate([flat], metrics=["balanced_accuracy"]).iloc[0]
    assert row["estimate"] == 0.75
    assert np.isnan([row["low"], row["high"]]).all()
    assert "No interval: leaving out any group changes nothing." in texts(row["notes"])
    always = replace(one, table=table.assign(prediction=pd.array(["NORMAL"] * 48, "string")))
    row = evaluate([always], metrics=["balanced_accuracy"]).iloc[0]
    assert (row["low"], row["high"]) == (0.5, 0.5)


def test_groups_of_the_other_run_are_no_assumed_independence(run):
    one, other = run(seed=1), run(seed=2)
    other = replace(other, table=other.table.assign(group_id=pd.NA))
    for pair in ([one, other], [other, one]):
        found = notes_of(compare(pair))
        assert not [text for text in found if "independence assumed" in text]
        shown = plain(render_comparison(compare(pair)))
        assert (
            shown.count("No groups of its own: those of the runs compared with it are taken") == 1
        )
    shown = plain(render_comparison(compare([one, run(seed=3)], unit="image")))
    assert shown.count("Images are the unit: independence assumed.") == 1


def test_runs_on_other_images_or_labels_are_named(run):
    one, two, fewer = (run(seed=seed) for seed in (1, 2, 3))
    fewer = replace(fewer, table=fewer.table.iloc[:50])
    shown = plain(render(evaluate([one, two, fewer], metrics=["accuracy"])))
    assert shown.count("Scored on other images than the other runs of its data set") == 1
    assert "images that all have (seed 0" not in shown
    named = evaluate([one, two, fewer], metrics=["accuracy"])
    about = {row["run"]: texts(row["notes"]) for row in named.to_dict("records")}
    assert next(name for name in about if "Scored on" in " ".join(about[name])) == fewer.run
    labels = one.table["label"].to_list()
    labels[0] = next(name for name in one.classes if name != labels[0])
    changed = with_labels(run(seed=4), labels)
    shown = plain(render(evaluate([one, two, changed], metrics=["accuracy"])))
    assert "Scored by other labels than the other runs of its data set, on the same" in shown
    assert "Scored on other images" not in plain(render_comparison(compare([one, two])))
    both = compare([one, fewer], intersection=True)
    assert not [text for text in notes_of(both) if text.startswith("Scored on other images")]


def test_runs_of_another_label_column_or_split_are_named(run):
    states = ("1" * 32, "1" * 32, "2" * 32)
    runs = [run(seed=seed, manifest_digest=state) for seed, state in enumerate(states)]
    for frame in (evaluate(runs, metrics=["accuracy"]), compare(runs)):
        assert [t for t in notes_of(frame) if t.startswith("Made from another state of its data")]
    assert not [t for t in notes_of(evaluate(runs[:2])) if "another state" in t]
