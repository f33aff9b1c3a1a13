"""Heads that answer for patients: one row a patient, on the same patients as heads of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError, Workspace
from frostline.probe.attended import attention_weights
from frostline.probe.embedded import Embedded
from frostline.probe.patients import to_patients
from frostline.probe.run import Source, make_source, probe_head
from frostline.probe.sweep.settings import parse_sweep
from frostline.report import compare, evaluate, read_predictions
from frostline.report.figures import save_figure
from frostline.report.figures.attention import attention_figure, shown_images

from .conftest import Build, make_table, run
from .test_patients import make_volumes, place_of

C = {"C": [0.1, 1.0]}
FEW = {"attention": {**C, "hidden": 4}, "logistic": C}
PATIENTS = Source(level="patient")


def probe(place: Workspace, head: str = "logistic", **fields: Any) -> str:
    source = Source(**{"level": "patient", **fields})
    return probe_head(place, "mri", "tiny", head=head, hyperparameters=FEW[head], source=source)[0]


@pytest.mark.parametrize(("head", "pool"), [("attention", None), ("logistic", "max")])
def test_a_row_is_a_patient_and_says_so(build: Build, head: str, pool: Any) -> None:
    table = make_volumes()
    place = place_of(build, table)
    found = read_predictions(place.predictions(probe(place, head, pool=pool)))
    counts = table[table["split"] != "train"].groupby("group_id").size()
    rows = found.table.set_index("image_id")
    assert rows.index.is_unique
    assert (rows["group_id"] == rows.index).all()
    assert rows["images_of_group"].to_dict() == counts.to_dict()
    assert found.meta["level"] == "patient"
    assert found.meta["pool"] == pool or head
    assert "(patient" in found.meta["head"]
    assert (
        sum(found.meta["class_counts"].values())
        == table.query("split == 'train'")["group_id"].nunique()
    )
    scores = evaluate([found], ci="percentile", replicates=20)
    assert (scores["n_units"] == (rows["split"] == "test").sum()).all()
    assert any("--level patient" in note.text for note in scores["notes"].iloc[0])


def test_bags_of_one_image_are_the_head_of_images(build: Build) -> None:
    place = build(make_table().drop_duplicates("group_id"))
    of_images, of_patients = probe(place, level="image"), probe(place)
    assert of_images != of_patients
    one, other = (
        read_predictions(place.predictions(name)).table for name in (of_images, of_patients)
    )
    shares = [name for name in one if name.startswith("prob_")]
    np.testing.assert_allclose(
        one.set_index("group_id")[shares],
        other.set_index("group_id").loc[one["group_id"], shares],
        atol=1e-6,
    )


def test_cross_validation_leaves_out_the_same_patients_at_both_levels(build: Build) -> None:
    place = place_of(build, make_volumes())
    one = run(place, heads={"logistic": C}, cv="3x2")
    other = run(place, heads=FEW, cv="3x2", level="patient")
    folds = [
        read_predictions(path).table.groupby("group_id")["fold"].first()
        for path in (one.predictions[0], other.predictions[0], other.predictions[2])
    ]
    assert folds[0].to_dict() == folds[1].to_dict() == folds[2].to_dict()
    assert set(other.table["head"]) == {"attention (patient)", "logistic (patient mean)"}
    found = compare([*one.predictions, *other.predictions], replicates=100)
    assert len(found) == 3
    assert (found["n_units"] == 50).all()


def test_sizes_and_another_data_set_go_by_patients(build: Build) -> None:
    place = place_of(build, make_volumes())
    found = run(place, heads=FEW, level="patient", train_groups=[10, "all"], draws=2)
    sizes = {read_predictions(path).meta["train_groups"] for path in found.predictions}
    assert sizes == {10, 32}
    again = run(place, heads=FEW, level="patient", train_groups=[10, "all"], draws=2)
    assert again.predictions == found.predictions


def test_images_of_a_patient_that_differ_in_their_label_are_named(build: Build) -> None:
    table = make_table()
    table.loc[0, "label"] = "grade 1"
    place = build(table)
    with pytest.raises(InputError, match=r"1 group \('p000'\) have images of several labels"):
        probe(place)
    table = make_table()
    table.loc[table["group_id"] == "p009", "split"] = ["val", "test"]
    with pytest.raises(InputError, match=r"'p009'.* are in validation and test"):
        probe(build(table))


def test_images_without_a_label_belong_to_their_patient(build: Build) -> None:
    table = make_table()
    table["label"] = table["label"].where(table.index % 2 == 0, None)
    found = read_predictions(build(table).predictions(probe(build(table)))).table
    assert found["label"].notna().all()
    assert (found["images_of_group"] == 2).all()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"heads": ["attention"]}, "add level patient"),
        ({"heads": ["logistic"], "pool": "max"}, "pool is for level patient"),
        ({"heads": ["attention"], "level": "patient", "pool": "max"}, "weighs the images itself"),
        ({"heads": ["logistic"], "level": "lesion"}, "level"),
        ({"heads": ["logistic"], "level": "patient", "pool": "median"}, "pool"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_sweep({"datasets": ["mri"], "backbones": ["tiny"], **fields}, "sweep.yaml")


def test_a_probe_in_python_names_what_is_wrong() -> None:
    assert make_source(level="patient", pool="max") == replace(PATIENTS, pool="max")
    with pytest.raises(InputError, match="level is image or patient, not 'lesion'"):
        make_source(level="lesion")
    with pytest.raises(InputError, match="There is no 'pol'"):
        make_source(pol="max")


def test_names_of_sweeps_of_images_are_what_they_were() -> None:
    fields = {"datasets": ["mri"], "backbones": ["tiny"], "heads": ["logistic"]}
    name = parse_sweep(fields, "x").name
    assert parse_sweep({**fields, "level": "image"}, "x").name == name
    assert parse_sweep({**fields, "level": "patient"}, "x").name != name


def test_weights_of_a_run_are_drawn_with_and_without_images(build: Build, tmp_path: Path) -> None:
    place = place_of(build, make_volumes())
    weights = attention_weights(place, probe(place, "attention"))
    assert weights.groupby("group_id")["weight"].sum().to_numpy() == pytest.approx(1)
    test = make_volumes().query("split == 'test'")
    assert set(weights["image_id"]) == set(test["image_id"])
    first = weights.groupby("group_id", sort=False).head(1)
    ids = shown_images(weights)
    assert len(first) >= 8
    images = {name: np.zeros((8, 8), np.uint8) for name in ids}
    for name, shown in (("a.png", None), ("b.png", images)):
        figure = attention_figure(weights, shown)
        save_figure(figure, tmp_path / name, dpi=50)
        drawn = [axes.get_images() for axes in figure.axes]
        assert any(drawn) == (shown is not None)
    with pytest.raises(InputError, match="only head 'attention'"):
        attention_weights(place, probe(place))


def test_rows_of_images_and_of_patients_are_told_how_to_be_compared(build: Build) -> None:
    place = build(make_table().drop_duplicates("group_id"))
    runs = [place.predictions(probe(place, level=level)) for level in ("image", "patient")]
    with pytest.raises(InputError, match="one row a patient, and others.*--aggregate mean"):
        compare(runs)
    scores = evaluate(runs)
    majority = [name for name in scores["run"].unique() if name.startswith("majority")]
    assert [name.partition(" ")[2] for name in majority] == ["", "by patient"]
    notes = " ".join(note.text for row in scores["notes"] for note in row)
    assert "`--aggregate mean` scores all by patient" in notes
    assert "--intersection" not in notes
    assert compare(runs, aggregate="mean")["n_units"].gt(0).all()


def test_subgroups_of_patients_are_those_of_the_manifest(build: Build) -> None:
    from frostline.report.clinical.subgroups.scores import subgroups

    table = make_volumes()
    table["sex"] = np.where(pd.factorize(table["group_id"])[0] % 2, "f", "m")
    place = place_of(build, table)
    path = place.predictions(probe(place))
    found = subgroups([path], by="sex", metric="accuracy")
    assert {"f", "m"} <= set(found["subgroup"])


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_images_of_patients_need_not_stand_together(pooling: Any) -> None:
    images = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "group_id": ["p", "q", "p", "q", "p"],
            "split": ["test"] * 4 + ["train"],
            "label": ["x", None, "x", "y", "x"],
        }
    )
    X = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = to_patients(Embedded(images, X, ["x", "y"]), pooling)
    assert found.images["group_id"].tolist() == ["p", "q", "p"]
    assert found.images["label"].tolist() == ["x", "y", "x"]
    assert found.members is not None
    assert found.members["image_id"].tolist() == list("acbde")
    answers = {"mean": [[2, 3], [4, 5], [8, 9]], "max": [[4, 5], [6, 7], [8, 9]]}
    if pooling == "attention":
        np.testing.assert_array_equal(found.X.values, X[[0, 2, 1, 3, 4]])
        assert found.X.counts.tolist() == [2, 2, 1]
    else:
        np.testing.assert_array_equal(found.X, answers[pooling])
