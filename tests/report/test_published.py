"""The paper's tables as data, our rows beside them, and the page about them made again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from frostline.report import evaluate
from frostline.report.paper.against import against_paper, paper_dataset, render_against
from frostline.report.paper.paper_page import paper_markdown
from frostline.report.paper.published import DATASETS, published
from frostline.report.paper.recovery import (
    accuracy_interval,
    overlap_p,
    recover_all,
    separations,
)
from frostline.report.statistics.comparisons.decisions import mcnemar_p
from frostline.report.statistics.evaluation import score

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_have_their_rows():
    table = published()
    assert len(table) == 66 * 4
    assert table.groupby("table").size().to_dict() == {"III": 30 * 4, "IV": 36 * 4}
    one = table[
        (table["model"] == "DINOv2-s")
        & (table["freeze"] == "Y")
        & (table["dataset"] == "Chest X-ray")
    ].set_index("metric")
    assert one.loc["accuracy", ["estimate", "low", "high"]].tolist() == [0.8382, 0.8377, 0.8386]
    assert one.loc["f1_weighted", "estimate"] == 0.8254
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    assert DATASETS["HAM10000"].n_test == 1512
    assert [one.n_test for one in DATASETS.values()] == [1613, 457, 576, 624, 155, 1512]


def test_the_tables_are_the_papers(shared_data):
    text = (shared_data.parent / "reference" / "paper.txt").read_text()
    printed = re.findall(r"(\d\d\.\d\d) \[(\d\d\.\d\d), (\d\d\.\d\d)\]", text)
    ours = published()[["estimate", "low", "high"]].to_numpy()
    theirs = np.array(printed, dtype=float)
    assert len(theirs) == len(ours)
    # Table IV is printed before or after Table III, but each in its own order.
    np.testing.assert_allclose(theirs / 100, ours, atol=1e-12)


def test_every_printed_half_width_is_that_of_a_mean():
    """1.96 sd / sqrt(5000) with images as units, for each of the 66 rows, to the printed digits."""
    table = published()
    for row in table[table["metric"] == "accuracy"].to_dict("records"):
        n = DATASETS[row["dataset"]].n_test
        p = row["estimate"]
        expected = 1.96 * np.sqrt(p * (1 - p) / n / 5000)
        assert (row["high"] - row["low"]) / 2 == pytest.approx(expected, abs=0.00008)


def test_recovered_matrices_fit_what_is_printed():
    found = {(one.dataset, one.model, one.freeze): one for one in recover_all()}
    assert len(found) == 24
    for one in found.values():
        assert one.misfit < 0.25, one
        assert one.misfit < one.next_misfit
        assert one.confusion.sum(1).tolist() == list(DATASETS[one.dataset].test.values())
    dino = found["Chest X-ray", "DINOv2-s", "Y"]
    assert dino.confusion.tolist() == [[134, 100], [1, 389]]
    # Nothing but the majority class.
    assert found["iChallenge-AMD", "ResNet50", "Y"].confusion.tolist() == [[0, 27], [0, 128]]


def test_overlap_bounds():
    best, worst = overlap_p(np.array([60]), np.array([50]), np.array([100]))
    assert best == pytest.approx(0.5**10)
    assert worst == mcnemar_p(50, 40)
    same = np.array([7, 8])
    assert overlap_p(same, same, np.array([10, 10])) == (1.0, 1.0)


def test_readings():
    table = separations().set_index(["dataset", "model"])
    assert len(table) == 33
    assert (table["p_best"] <= table["p_worst"]).all()
    assert table.loc[("iChallenge-AMD", "ResNet50"), "reading"] == "not separated"
    assert table.loc[("HAM10000", "DINOv2-b"), "reading"] == "separated"


def test_the_printed_interval_is_seventy_times_too_narrow():
    honest = accuracy_interval(523, 624)
    assert (honest.high - honest.low) / 0.0009 == pytest.approx(65, abs=6)


def test_the_page_is_what_the_program_makes():
    """FROSTLINE_WRITE_DOCS=1 writes it instead."""
    page = ROOT / "docs" / "paper.md"
    text = paper_markdown()
    if os.environ.get("FROSTLINE_WRITE_DOCS"):
        page.write_text(text, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("chest_xray", "Chest X-ray"),
        ("ham10000", "HAM10000"),
        ("glioma-flair", "T2 FLAIR"),
        ("glioma_t1", "T1"),
        ("t2", "T2"),
        ("ichallenge-amd", "iChallenge-AMD"),
        ("mine", None),
    ],
)
def test_names_of_data_sets(ours, theirs):
    assert paper_dataset(ours) == theirs


def test_our_rows_beside_the_papers(run):
    runs = [
        run(),
        run(seed=1, unfreeze="all", backbone="dinov2-s"),
        run(seed=2, unfreeze="2"),
        run(seed=3, weights="random, seed 0", unfreeze="all"),
    ]
    frame = evaluate(runs, replicates=100)
    beside = against_paper(frame, score(runs))
    assert beside["run"].unique().tolist() == ["run-0", "run-1"]
    assert set(beside["test_set"]) == {"different test set"}
    row = beside[(beside["run"] == "run-1") & (beside["metric"] == "accuracy")].iloc[0]
    assert (row["published"], row["published_images"], row["freeze"]) == (0.8090, 624, "N")
    text = render_against(frame, score(runs), "paper", "markdown")
    assert " | DINOv2-s | N | accuracy | " in text
    assert "Nothing is tested" in text
    assert "slices" not in text
    assert r"{80.90} & {different test set}" in render_against(frame, score(runs), "paper", "latex")
    none = render_against(frame.iloc[:0], [], "paper", "table")
    assert none.startswith("No row of these runs has a published ")


def test_slices_of_the_paper_are_said(run):
    frame = evaluate([run(dataset="glioma-t1")], replicates=100)
    text = render_against(frame, score([run(dataset="glioma-t1")]), "paper", "table")
    assert "The paper's MRI rows score slices, not patients." in text


def test_the_same_counts_are_said(run):
    same = run(n=624, n_groups=600)
    labels = np.where(np.arange(624) < 234, "NORMAL", "PNEUMONIA")
    same.table["label"] = labels
    beside = against_paper(evaluate([same], replicates=100), score([same]))
    assert set(beside["test_set"]) == {"same counts of classes"}
