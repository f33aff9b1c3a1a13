"""The protocol of depth in studies: planned, done once, shared, and shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from frostline.cache import InputError, Workspace, read_manifest, write_manifest
from frostline.depth.checks import choose_folds
from frostline.finetune.folds import make_folds
from frostline.probe.embedded import pooled_images
from frostline.report import read_predictions
from frostline.study.costs.estimate import estimate_plan
from frostline.study.costs.measure import Cost
from frostline.study.file import Study, parse_study, read_study
from frostline.study.plan import study_cells
from frostline.study.planner import make_plan
from frostline.study.results import report_study
from frostline.study.runner import plan_study, run_study

from .conftest import Run, make_images

DEPTH: dict[str, Any] = {"recipe": "standard", "feature": "blocks", "image_size": 32}
STUDY: dict[str, Any] = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": f"timm:test_{net}", "weights": "random"} for net in ("vit", "resnet")],
    "protocols": {"depth": {**DEPTH, "train": [1, "scratch"], "epochs": 1}},
    "cv": "none",
    "replicates": 100,
    "device": "cpu",
}
VIT = [f"set/timm:test_vit/{part}/0" for part in ("depth", "depth:1", "depth:scratch")]


def study_at(folder: Path, *settings: str, **changes: Any) -> Study:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
    return read_study(path, settings=settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run, in `ws`."""
    folder = tmp_path_factory.mktemp("finished")
    make_images(folder / "images", 48)
    outcome = run_study(Workspace(folder / "ws"), study_at(folder))
    assert outcome.failed == {}
    assert [name for name in outcome.done if "vit" in name] == VIT
    return folder


def points(folder: Path) -> pd.DataFrame:
    text = (folder / "ws" / "reports" / "small" / "tables" / "depth.json").read_text("utf-8")
    (said,) = json.loads(text)["datasets"]
    return pd.DataFrame(said["points"])


def test_each_backbone_is_read_at_every_depth_and_trained_where_asked(finished: Path) -> None:
    table = points(finished)
    for backbone, depths in (("timm:test_vit", 6), ("timm:test_resnet", 5)):
        part = table[table["backbone"] == backbone]
        roads = part["road"].tolist()
        assert roads.count("read") >= depths - 1
        assert roads[-2:] == ["train", "scratch"]
        assert part.loc[part["road"] == "read", "chosen"].sum() == 1
    answer = (finished / "ws" / "reports" / "small" / "answer.txt").read_text("utf-8")
    assert answer.split("\n\n")[0].lstrip().startswith("Read timm:test_vit at ")


def test_one_pass_embeds_all_depths_and_one_run_reads_them(finished: Path) -> None:
    plan = plan_study(Workspace(finished / "ws"), study_at(finished))
    kinds = [(step.kind, step.cell.backbone.name) for step in plan.steps]
    assert kinds.count(("embeddings", "timm:test_vit")) == 1
    assert kinds.count(("read", "timm:test_vit")) == 1
    assert len({step.key for step in plan.steps}) == len(plan.steps)


def test_what_is_done_is_not_done_again(finished: Path) -> None:
    folder = finished / "ws" / "predictions"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert run_study(Workspace(finished / "ws"), study_at(finished)).failed == {}
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")} == before


def test_a_part_can_be_asked_for_alone(finished: Path) -> None:
    study = study_at(finished)
    for pattern, names in (
        ("set/timm:test_vit/depth", VIT),
        ("*/timm:test_vit/depth/0", VIT),
        ("set/timm:test_vit/depth:1", VIT[1:2]),
        ("*/*/depth:scratch", [VIT[2], VIT[2].replace("vit", "resnet")]),
    ):
        assert [cell.name for cell in study_cells(study, [pattern])] == names
    with pytest.raises(InputError, match="fits no run"):
        study_cells(study, ["*/*/depth:2"])


def test_tables_leave_out_depths_that_nobody_chose(finished: Path) -> None:
    scores = (finished / "ws" / "reports" / "small" / "tables" / "runs.csv").read_text("utf-8")
    table = points(finished)
    read = table[table["road"] == "read"]
    last = read.groupby("backbone")["depth"].transform("max") == read["depth"]
    for _, row in read[read["chosen"] | last].iterrows():
        assert row["run"] in scores
    for _, row in read[~(read["chosen"] | last)].iterrows():
        assert row["run"] not in scores


def test_a_pair_of_methods_has_one_answer(finished: Path) -> None:
    """What the sentences on depth compare is in no other family; backbones are compared there."""
    (path,) = (finished / "ws" / "reports" / "small" / "statistics").glob("pairs-*.parquet")
    pairs = pd.read_parquet(path)
    nets = pairs[["label_a", "label_b"]].map(lambda label: label.split(" (")[0])
    assert len(pairs) > 2
    assert (nets["label_a"] != nets["label_b"]).all()
    answer = (finished / "ws" / "reports" / "small" / "answer.txt").read_text("utf-8")
    assert "No row is marked as best: depths of one backbone are compared in " in " ".join(
        answer.split()
    )


@pytest.mark.slow
def test_what_depth_trained_is_named_beside_another_protocol(tmp_path: Path) -> None:
    """They differ in their rate alone, and no table says a run's digits for a name."""
    make_images(tmp_path / "images", 48)
    trained = {**DEPTH, "train": [1], "epochs": 1, "lr": 0.01}
    tuned = {"recipe": "standard", "image_size": 32, "unfreeze": 1, "epochs": 1, "lr": 0.001}
    protocols = {"depth": trained, "tuned": tuned}
    study = study_at(tmp_path, protocols=protocols, backbones=STUDY["backbones"][:1])
    outcome = run_study(Workspace(tmp_path / "ws"), study)
    assert outcome.report is not None
    answer = " ".join((outcome.report / "answer.txt").read_text("utf-8").split())
    assert "unfreeze-1" not in answer
    page = (outcome.report / "index.html").read_text("utf-8")
    for protocol in ("depth", "standard"):
        assert re.search(rf"last block fine-tuned[^<]*, {protocol}\b", page)


@pytest.mark.slow
def test_the_report_is_written_again_for_another_metric(finished: Path) -> None:
    folder = report_study(Workspace(finished / "ws"), study_at(finished, "primary_metric=roc_auc"))
    assert set(points(finished)["metric"]) == {"roc_auc"}
    assert "ROC AUC" in (folder / "answer.txt").read_text("utf-8")


@pytest.mark.slow
def test_few_patients_are_read_by_cross_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_images(tmp_path / "images", 48)
    changes = {"protocols": {"read": DEPTH}, "backbones": STUDY["backbones"][:1], "cv": "auto"}
    study, place = study_at(tmp_path, **changes), Workspace(tmp_path / "ws")
    outcome = run_study(place, study)
    assert outcome.failed == {}
    assert "one split cannot answer: 5x3 cross-validation does" in capsys.readouterr().err
    table = points(tmp_path)
    assert table["road"].tolist() == ["read"] * 6 + ["nested"]
    # What each fold chose is a run as any other.
    (nested,) = table.loc[table["road"] == "nested", "run"]
    run = read_predictions(place.predictions(nested))
    assert run.table["image_id"].is_unique
    assert len(run.table) == 48
    written = place.root / "reports" / "small" / "study.json"
    before = written.stat().st_mtime_ns
    run_study(place, study)
    assert written.stat().st_mtime_ns == before
    # Folds chose by accuracy, and by no other metric.
    with pytest.raises(InputError, match=r"by accuracy, not by log_loss: run the study again"):
        report_study(place, study_at(tmp_path, "primary_metric=log_loss", **changes))


@pytest.mark.slow
def test_training_is_cross_validated_as_reading_is(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 48)
    protocols = {
        "depth": {**DEPTH, "train": [1, "all"], "epochs": 1, "lr": 1e-3},
        "near": {"recipe": "standard", "head": "knn", "image_size": 32},
    }
    changes = {"backbones": STUDY["backbones"][:1], "cv": "3x2", "seeds": [0, 1]}
    study, place = study_at(tmp_path, protocols=protocols, **changes), Workspace(tmp_path / "ws")
    outcome = run_study(place, study)
    assert outcome.failed == {}
    # The repeats stand for seeds.
    assert [name.rpartition("/")[0] for name in outcome.done] == [
        f"set/timm:test_vit/{part}" for part in ("depth", "depth:1", "depth:all", "near")
    ]
    table = points(tmp_path)
    roads = table["road"].tolist()
    assert roads == ["read"] * 6 + ["train"] * 2 + ["nested", "nested train"]
    assert set(table["seeds"]) == {2}
    assert set(table["n_units"]) == {24}
    assert table["val_estimate"][:8].notna().all()
    # In every fold what scored better on its own validation images, the faster one of equal ones.
    runs = {
        part: [read_predictions(path) for path in sorted((place.root / "predictions").glob(name))]
        for part, name in (("1", "*unfreeze-1-cv3*"), ("all", "*unfreeze-all-cv3*"))
    }
    assert [len(found) for found in runs.values()] == [2, 2]
    (chosen,) = table.loc[table["road"] == "nested train", "estimate"]
    expected = []
    for one, other in zip(runs["1"], runs["all"], strict=True):
        right = []
        for fold, (a, b) in enumerate(zip(one.meta["folds"], other.meta["folds"], strict=True)):
            gain = b["validation"]["accuracy"] - a["validation"]["accuracy"]
            faster = one if one.meta["seconds"] <= other.meta["seconds"] else other
            best = faster if gain == 0 else other if gain > 0 else one
            part = best.table[best.table["fold"] == fold]
            right += (part["label"] == part["prediction"]).tolist()
        expected.append(sum(right) / len(right))
    assert chosen == pytest.approx(sum(expected) / 2)


def test_the_dry_run_counts_every_fold_of_the_columns_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "images", 48)
    place = Workspace(tmp_path / "ws")
    plan_study(place, study_at(tmp_path))
    manifest = read_manifest(place.manifest("set"))
    # Half of the images have a grade.
    half = manifest.table.index % 8 < 4
    manifest.table["grade"] = manifest.table["label"].where(half)
    manifest.table["part"] = manifest.table["split"].map(
        {"train": "test", "val": "val", "test": "train"}
    )
    write_manifest(place.manifest("set"), manifest)
    seconds = {"training_seconds": 1.0, "embedding_seconds": 0.0}
    cost = Cost(parameters=1, trained=1, dim=4, memory=0, **seconds)
    monkeypatch.setattr("frostline.study.costs.estimate.measure_backbone", lambda *_: cost)
    monkeypatch.setattr("frostline.study.costs.estimate.row_seconds", lambda *_: (1.0, 1.0))
    columns = {"none": {"label": "grade", "split": "part"}, "3x2": {"label": "grade"}}
    protocols = {"depth": {**DEPTH, "train": ["all"], "epochs": 4, "lr": 1e-3}}
    taken = {}
    for cv in ("none", "3x2"):
        changes = {"cv": cv, "backbones": STUDY["backbones"][:1], "protocols": protocols}
        study = study_at(tmp_path, **changes, datasets={"set": columns[cv]})
        table = estimate_plan(place, study, make_plan(place, study, study_cells(study)))
        taken[cv] = table.set_index("kind")["seconds"]
    images = manifest.images("grade", "part")
    train, val = images[images["label"].notna()]["split"].value_counts()[["train", "val"]]
    assert train != (manifest.table["split"] == "train").sum()
    assert taken["none"]["finetune"] == 4 * train
    # Scored on train; fitted to that, and to train and val; at six depths.
    assert taken["none"]["read"] == 6 * (2 * train + train + val)
    pooled = pooled_images(manifest, "grade")
    folds = [fold for r in range(2) for fold in make_folds(pooled, manifest, (3, r), 0)]
    trained = sum((fold.manifest.table["split"] == "train").sum() for fold in folds)
    assert taken["3x2"]["finetune"] == pytest.approx(4 * trained, rel=0.1)
    # Three pairs of folds left out, and each fold alone, twice.
    assert taken["3x2"]["read"] == pytest.approx(6 * 2 * (3 * 24 / 3 + 3 * 24 * 2 / 3))


def test_folds_and_a_column_of_splits_are_refused_on_both_roads(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 48)
    place = Workspace(tmp_path / "ws")
    plan_study(place, study_at(tmp_path))
    manifest = read_manifest(place.manifest("set"))
    manifest.table["part"] = manifest.table["split"]
    write_manifest(place.manifest("set"), manifest)
    changes = {"datasets": {"set": {"split": "part"}}, "backbones": STUDY["backbones"][:1]}
    failed = plan_study(place, study_at(tmp_path, cv="3x1", **changes)).failed
    assert [*failed] == VIT
    assert all(one.startswith("split does not go with cv, whose fo") for one in failed.values())
    # 48 patients are few, but whoever names splits wants them.
    plan = plan_study(place, study_at(tmp_path, cv="auto", **changes))
    assert plan.failed == {}
    assert not any("cv" in step.inputs for step in plan.runs())
    said = "one split says little, and the splits of column 'part' were asked for."
    assert [one.endswith(said) for one in plan.said] == [True]


def test_one_mind_about_unreadable_images_on_both_roads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = make_images(tmp_path / "images", 48) / "well" / "patient000_0.png"
    sound = broken.read_bytes()
    broken.write_bytes(b"")
    sweeps = {"few": {"protocol": "depth", "heads": ["knn"]}}
    changes = {"backbones": STUDY["backbones"][:1], "sweeps": sweeps}
    changes["protocols"] = {"depth": {"recipe": "standard", "image_size": 32}, "tuned": {}}
    changes["protocols"]["tuned"] = {"unfreeze": 1, "epochs": 1, "image_size": 32}
    place = Workspace(tmp_path / "ws")
    skipping = study_at(tmp_path, on_error="skip", **changes)
    assert run_study(place, skipping).failed == {}
    failed = run_study(place, study_at(tmp_path, **changes)).failed
    assert [name.split("/")[2] for name in failed] == ["depth", "few", "tuned"]
    assert set(failed.values()) == {
        f"Cannot read image {broken}: the file is empty (on_error skip leaves it out)."
    }
    said = capsys.readouterr().err
    for protocol in ("depth", "tuned"):
        sentence = "is trained again because on_error changed from skip to stop."
        assert f"set/timm:test_vit/{protocol}/0 {sentence}" in said
    broken.write_bytes(sound)


@pytest.mark.slow
def test_a_data_set_without_a_root_is_the_one_that_is_indexed(
    tmp_path: Path, frostline: Run
) -> None:
    make_images(tmp_path / "images", 48)
    study = study_at(tmp_path, datasets={"set": {}}, backbones=STUDY["backbones"][:1])
    outcome_of_none = plan_study(Workspace(tmp_path / "frostline-workspace"), study)
    assert "make it with `frostline index set" in next(iter(outcome_of_none.failed.values()))
    done = frostline("index", "set", "--root", "images", "--group-pattern", "(patient[0-9]+)")
    assert done.returncode == 0, done.stderr
    shown = frostline("run", "small.yaml", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "depth:scratch" in shown.stdout
    assert not (tmp_path / "frostline-workspace" / "embeddings").exists()


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"train": [1]}, "The key train is for the protocol of depth: give feature: blocks"),
        ({"feature": "blocks", "unfreeze": 1, "train": [1]}, "leave unfreeze out"),
        ({"feature": "blocks", "train": [1, 1]}, "The key train has 1 twice: give it once."),
        ({"feature": "blocks", "train": ["half"]}, "train"),
        ({"feature": "blocks", "recipe": "standard", "epochs": 3}, "takes no field of the recipe"),
    ],
)
def test_what_is_not_meant_is_refused(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study({**STUDY, "protocols": {"depth": entry}}, "s.yaml")
    assert sentence in str(caught.value)


def test_folds_are_checked_before_anything_starts() -> None:
    with pytest.raises(InputError, match="FOLDSxREPEATS with at least 3 folds"):
        parse_study({**STUDY, "cv": "five"}, "s.yaml")


def test_too_many_last_blocks_fail_alone(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 48)
    protocols = {"depth": {**DEPTH, "train": [9]}}
    study = study_at(tmp_path, protocols=protocols, backbones=STUDY["backbones"][:1])
    plan = plan_study(Workspace(tmp_path / "ws"), study)
    ((name, sentence),) = plan.failed.items()
    assert name == "set/timm:test_vit/depth:9/0"
    assert "6 blocks behind its first, fewer than the 9 of train" in sentence
    assert [step.kind for step in plan.steps] == ["pixels", "embeddings", "read"]


@pytest.mark.slow
def test_what_an_interrupted_run_has_done_can_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "images", 48)
    study, place = study_at(tmp_path), Workspace(tmp_path / "ws")
    with pytest.raises(InputError, match="has no finished run in"):
        report_study(place, study)
    monkeypatch.setattr("frostline.study.runner.update_report", lambda *_, **__: None)
    assert run_study(place, study, only=["*/timm:test_vit/*"]).failed == {}
    folder = report_study(place, study)
    answer = (folder / "answer.txt").read_text("utf-8")
    first, then = answer.lstrip().split("\n\n")[:2]
    assert first.startswith("Unfinished: 3 runs of this study are not done yet, and what is said ")
    assert then.startswith("Read timm:test_vit at ")
    assert "Unfinished: 3 runs of this study" in (folder / "index.html").read_text("utf-8")
    assert answer.count("not run yet") >= 2
    assert "Not run yet: set, timm:test_resnet, depth:1, seed 0." in " ".join(answer.split())
    assert set(points(tmp_path)["backbone"]) == {"timm:test_vit"}


def test_groups_without_a_label_do_not_count() -> None:
    groups = [f"patient{number}" for number in range(120)]
    labels = ["well", "sick"] * 15 + [None] * 90
    images = pd.DataFrame({"group_id": groups, "label": labels})
    folds, said = choose_folds(images, "set", "accuracy", "auto")
    assert folds == "5x3"
    assert said.startswith("Data set 'set' has 30 groups with a label, under 100, ")
    assert choose_folds(images.fillna("well"), "set", "accuracy", "auto") == (None, "")


@pytest.mark.slow
def test_a_shard_counts_runs_and_not_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_images(tmp_path / "images", 48)
    study = study_at(tmp_path, cv="3x1")
    names = [step.name for step in plan_study(Workspace(tmp_path / "ws"), study).runs()]
    done = run_study(Workspace(tmp_path / "ws"), study, shard=(0, 2)).done
    assert 0 < len(done) < len(names), "all runs are of one shard: rename a protocol"
    assert f"{len(done)} of {len(names)} runs are done" in capsys.readouterr().err
    chosen = (tmp_path / "ws" / "predictions").glob("*chosen-depth*")
    assert all(":" not in path.name for path in chosen)


def test_more_folds_than_a_class_has_groups_are_refused_first(
    tmp_path: Path, frostline: Run
) -> None:
    make_images(tmp_path / "images", 48)
    for image in sorted((tmp_path / "images" / "sick").iterdir())[4:]:
        image.unlink()
    done = frostline("index", "set", "--root", "images", "--group-pattern", "(patient[0-9]+)")
    assert done.returncode == 0, done.stderr
    words = ("-b", "timm:test_vit", "--weights", "random", "--image-size", "32", "--cv", "5x3")
    done = frostline("depth", "-d", "set", *words)
    assert done.returncode == 2
    assert "Class 'sick' of data set 'set' has " in done.stderr
    assert "too few for --cv 5x3: ask for fewer folds, or give --cv none." in done.stderr
    assert not (tmp_path / "frostline-workspace" / "embeddings").exists()


def test_a_study_has_one_protocol_of_depth() -> None:
    two = {"one": {"feature": "blocks"}, "two": {"feature": "blocks:mean"}}
    with pytest.raises(InputError, match="one and two are protocols of depth"):
        parse_study({**STUDY, "protocols": two}, "s.yaml")
