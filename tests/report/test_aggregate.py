"""Patients before slices: one row a group, by the mean of probabilities or by votes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.report import Predictions, evaluate, render
from frostline.report.notes import texts
from frostline.report.statistics.aggregate import IMAGES, aggregate_predictions


def volumes(probs=True, marked=True):
    """Three patients; the mean and the vote differ for the first, the second's vote is a tie."""
    rows = [
        ("p1", "a", [(0.4, 0.6), (0.45, 0.55), (0.99, 0.01)]),
        ("p2", "b", [(0.9, 0.1), (0.3, 0.7)]),
        ("p3", "b", [(0.2, 0.8)]),
    ]
    table = pd.DataFrame(
        [
            {
                "image_id": f"{patient}.nii{'#z=' if marked else '-'}{z}",
                "group_id": patient,
                "split": "test",
                "label": label,
                "prediction": "ab"[int(b > a)],
                **({"prob_a": a, "prob_b": b} if probs else {}),
            }
            for patient, label, slices in rows
            for z, (a, b) in enumerate(slices)
        ]
    )
    return Predictions(table, {"run": "r", "classes": ["a", "b"]})


def test_mean_and_vote():
    mean = aggregate_predictions(volumes(), "mean").table
    assert mean["image_id"].tolist() == mean["group_id"].tolist() == ["p1", "p2", "p3"]
    assert mean["prediction"].tolist() == ["a", "a", "b"]
    assert mean[IMAGES].tolist() == [3, 2, 1]
    assert mean["prob_b"].tolist() == pytest.approx([1.16 / 3, 0.4, 0.8])
    vote = aggregate_predictions(volumes(), "vote").table
    assert vote["prediction"].tolist() == ["b", "a", "b"]
    assert "prob_a" not in vote


def test_auto_takes_the_mean_of_slices_alone():
    frame = evaluate([volumes()], replicates=100)
    one = frame.iloc[0]
    assert one["estimate"] == pytest.approx(2 / 3)
    assert (one["unit"], one["n_units"], one["n_images"]) == ("group", 3, 6)
    assert "One row a group, by the mean of its images' probabilities." in texts(one["notes"])
    photos = evaluate([volumes(marked=False)], replicates=100).iloc[0]
    assert photos["estimate"] == pytest.approx(3 / 6)
    slices = evaluate([volumes()], aggregate="none", replicates=100).iloc[0]
    assert slices["estimate"] == photos["estimate"]


def test_auto_votes_without_probabilities():
    one = evaluate([volumes(probs=False)], replicates=100).iloc[0]
    assert "One row a group, by a vote of its images." in texts(one["notes"])


def test_a_vote_says_why_metrics_of_probabilities_have_no_value():
    frame = evaluate([volumes()], aggregate="vote", metrics=["roc_auc"])
    said = " ".join(render(frame).split())
    assert "One row a group, by a vote of its images, which leaves no probabilities." in said
    assert "(no value: there are no probabilities)" in render(frame, "markdown")


def test_order_of_rows_changes_nothing():
    shuffled = volumes()
    shuffled.table = shuffled.table.sample(frac=1, random_state=0)
    for how in ("mean", "vote"):
        one, other = (aggregate_predictions(x, how).table for x in (volumes(), shuffled))
        pd.testing.assert_frame_equal(one, other, check_exact=False)


def test_mixed_labels():
    mixed = volumes()
    mixed.table.loc[1, "label"] = "b"
    with pytest.raises(InputError) as caught:
        aggregate_predictions(mixed, "mean")
    assert str(caught.value) == (
        "r: the images of group 'p1' differ in label: correct them or use --aggregate none."
    )
    one = evaluate([mixed], replicates=100).iloc[0]
    said = "Slices of a group differ in their label, so slices are scored, not patients."
    assert said in texts(one["notes"])
    assert one["n_images"] == 6


@pytest.mark.parametrize(
    ("how", "change", "message"),
    [
        ("median", {}, "There is no aggregate 'median': choose from auto, mean, vote, none."),
        (
            "mean",
            {"probs": False},
            "r: there are no probabilities to average: use --aggregate vote.",
        ),
    ],
)
def test_wrong_options(how, change, message):
    with pytest.raises(InputError) as caught:
        aggregate_predictions(volumes(**change), how)
    assert str(caught.value) == message


def test_no_groups():
    alone = volumes()
    alone.table["group_id"] = np.nan
    with pytest.raises(InputError, match=r"^r: there is no group_id, so nothing to aggregate by: "):
        aggregate_predictions(alone, "vote")


def test_images_that_are_no_units_are_said():
    said = "each row is a group: `--aggregate none` scores images."
    for unit, there in (("image", True), ("group", False)):
        notes = texts(evaluate([volumes()], unit=unit, replicates=100)["notes"].iloc[0])
        assert any(note.endswith(said) for note in notes) is there
    slices = evaluate([volumes()], unit="image", aggregate="none", replicates=100)
    assert set(slices["n_units"]) == {6}
