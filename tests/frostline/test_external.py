"""External data sets of a study: scored by every run, trained by none."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import frostline
from frostline.apply.load import load_run
from frostline.apply.predict import predict_images
from frostline.cache import InputError, Workspace, read_manifest
from frostline.cli import app
from frostline.report import Predictions, evaluate, read_predictions
from frostline.study.costs.estimate import estimate_plan
from frostline.study.file import Study, parse_study, read_study
from frostline.study.runner import plan_study, run_study
from frostline.study.steps import DO

from .conftest import command, environment
from .hospitals import make_hospital

PATTERN = "(patient[0-9]+)"
STUDY: dict[str, Any] = {
    "name": "two",
    "datasets": {"a": {"root": "images-a", "group_pattern": PATTERN}},
    "external": {"b": {"of": "a", "root": "images-b", "group_pattern": PATTERN}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {
        "frozen": {"unfreeze": "none", "image_size": 32, "epochs": 3},
        "tuned": {"unfreeze": "all", "image_size": 32, "epochs": 1, "augmentation": "random_crop"},
    },
    "replicates": 100,
    "device": "cpu",
}
OUTSIDE = [f"b-from-a/timm:test_vit/{how}/0" for how in ("frozen", "tuned")]
PAGE = Path(__file__).parents[2] / "docs" / "clinical.md"


def study_at(folder: Path, *settings: str, **changes: Any) -> Study:
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
    return read_study(path, settings=settings)


def make_both(folder: Path) -> None:
    """Hospital a has patients 0 to 29, hospital b 29 to 45: one is in both."""
    make_hospital(folder / "images-a", range(30), 0)
    make_hospital(folder / "images-b", range(29, 46), 1)


def outside(workspace: Workspace) -> dict[str, Predictions]:
    """The predictions on hospital b, by how the run was trained."""
    files = workspace.root.glob("predictions/b-from-a-*.parquet")
    found = [read_predictions(path) for path in files]
    return {str(run.meta["unfreeze"]): run for run in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run, in `ws`."""
    folder = tmp_path_factory.mktemp("hospitals")
    make_both(folder)
    outcome = run_study(Workspace(folder / "ws"), study_at(folder))
    assert outcome.failed == {}
    assert [name for name in outcome.done if name.startswith("b")] == OUTSIDE
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the report out, which takes most of the time."""
    monkeypatch.setattr("frostline.study.runner.update_report", lambda *_, **__: None)


def test_every_run_scores_all_images_but_those_of_a_patient_of_both(finished: Path) -> None:
    workspace = Workspace(finished / "ws")
    assert set(read_manifest(workspace.manifest("b")).table["split"]) > {"train"}
    runs = outside(workspace)
    assert set(runs) == {"none", "all"}
    for run in runs.values():
        assert set(run.table["split"]) == {"test"}
        patients = [f"patient{number:03d}" for number in range(30, 46)]
        assert sorted(run.table["group_id"].unique()) == patients
        assert len(run.table) == 32
        assert (run.meta["dataset"], run.meta["trained_on"]) == ("b", "a")
        own = read_predictions(workspace.predictions(run.meta["trained_run"]))
        assert own.meta["dataset"] == "a"
        assert run.meta["shared"] == {
            "patients": 1,
            "images": 0,
            "left_out_images": 2,
            "left_out_groups": 1,
        }


def test_the_numbers_are_those_of_predict(finished: Path) -> None:
    workspace = Workspace(finished / "ws")
    for run in outside(workspace).values():
        loaded = load_run(workspace, str(run.meta["trained_run"]))
        table = predict_images(loaded, [finished / "images-b"]).table
        names = [str(Path(name).relative_to(finished / "images-b")) for name in table["image_id"]]
        same = table.set_axis(names).loc[run.table["image_id"]]
        for column in ("prob_sick", "prob_well"):
            np.testing.assert_allclose(same[column], run.table[column], atol=1e-6)


def test_what_is_done_is_not_done_again(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in list(DO):
        monkeypatch.delitem(DO, kind)
    files = sorted((again / "ws" / "predictions").glob("*.parquet"))
    before = [path.read_bytes() for path in files]
    outcome = run_study(Workspace(again / "ws"), study_at(again))
    assert outcome.failed == {}
    assert len(outcome.predictions) == 4
    assert [path.read_bytes() for path in files] == before


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on(tmp_path: Path, no_page: None) -> None:
    make_both(tmp_path)
    study_at(tmp_path)
    words = ("run", "two.yaml", "--workspace", "ws")
    with subprocess.Popen(command(*words), cwd=tmp_path, env=environment()) as process:
        while process.poll() is None and not list(tmp_path.glob("ws/predictions/b-from*.parquet")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    files = {path: path.read_bytes() for path in tmp_path.glob("ws/predictions/*.parquet")}
    outcome = run_study(Workspace(tmp_path / "ws"), study_at(tmp_path))
    assert outcome.failed == {}
    assert [name for name in outcome.done if name.startswith("b")] == OUTSIDE
    assert {path: path.read_bytes() for path in files} == files


def test_other_labels_of_the_external_set_are_scored_and_train_nothing(
    again: Path,
    no_page: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for kind in ("probe", "finetune"):
        monkeypatch.delitem(DO, kind)
    moved = again / "images-b" / "sick" / "patient031_0.png"
    moved.rename(again / "images-b" / "well" / moved.name)
    workspace = Workspace(again / "ws")
    before = {path.name for path in (again / "ws" / "predictions").glob("*")}
    with pytest.warns(UserWarning, match="not there any more"):
        outcome = run_study(workspace, study_at(again))
    assert outcome.failed == {}
    assert len([path for path in outcome.predictions if path.name not in before]) == 2
    assert before <= {path.name for path in (again / "ws" / "predictions").glob("*")}
    said = capsys.readouterr().err
    assert f"{OUTSIDE[0]} is scored again because the images changed." in said
    assert "is trained again" not in said


def test_the_report_sets_both_side_by_side_and_states_what_they_share(finished: Path) -> None:
    folder = finished / "ws" / "reports" / "two"
    table = pd.read_csv(folder / "tables" / "external.csv")
    rows = table[table["metric"] == "accuracy"].set_index("run")
    assert list(rows["dataset"].unique()) == ["b (external, trained on a)"]
    for run in outside(Workspace(finished / "ws")).values():
        row = rows.loc[run.meta["trained_run"]]
        right = (run.table["label"] == run.table["prediction"]).mean()
        assert row["external_estimate"] == pytest.approx(right)
        assert row["difference"] == pytest.approx(right - row["internal_estimate"])
        assert row["low"] <= row["difference"] <= row["high"]
    answer = " ".join((folder / "answer.txt").read_text("utf-8").split())
    for sentence in (
        "all of its labelled images are scored whatever their split, 32 images of 16 groups.",
        "Patients of b that are in a too, by group id: 1.",
        "Left out of the score because of that: 2 images of 1 group.",
        "Neither manifest has a column of scanners or sites",
    ):
        assert sentence in answer
    page = (folder / "index.html").read_text("utf-8")
    assert "<h2>Internal and external</h2>" in page
    assert page.count("b (external, trained on a)") > 5
    assert "The data may leak" not in page
    # Nothing is missing where nothing trains, and no split of it was looked at.
    assert "There are no images in" not in page
    text = (folder / "methods.md").read_text("utf-8")
    assert "32 images of 16 groups" in text
    assert text.count("Drawn by group") == 1


def test_what_validation_chooses_is_that_of_the_run_that_was_trained(finished: Path) -> None:
    workspace = Workspace(finished / "ws")
    points = pd.read_csv(finished / "ws" / "reports" / "two" / "tables" / "operating.csv")
    for run in outside(workspace).values():
        own = read_predictions(workspace.predictions(run.meta["trained_run"]))
        both = frostline.operating_points([own, run], "sensitivity=0.9")
        assert both.groupby("run")["threshold"].first().nunique() == 1
        assert set(both["n_images"]) == {int((own.table["split"] == "test").sum()), 32}
        assert points.loc[points["run"] == run.run, "threshold"].nunique() == 1
        notes = [note.text for notes in both["notes"] for note in notes]
        assert "Validation is that of a, where the model trained." in notes
        scaled = frostline.calibration([own, run]).query("metric == 'temperature'")
        assert scaled["estimate"].nunique(dropna=False) == 1
        # Columns are those of its own manifest.
        widths = frostline.subgroups([run], by="width")
        assert widths["subgroup"].tolist() == ["all", "32"]
        # Alone, it has nothing to choose on.
        alone = replace(run, folder=None)
        with pytest.raises(InputError, match="nothing to choose a threshold on"):
            frostline.operating_points([alone], "sensitivity=0.9")


def test_columns_of_scanners_are_compared(again: Path) -> None:
    from frostline.cache import write_manifest

    workspace = Workspace(again / "ws")
    for name, values in (("a", ["GE", "Siemens"]), ("b", ["GE", "Philips"])):
        manifest = read_manifest(workspace.manifest(name))
        count = len(manifest)
        manifest.table["Scanner"] = [values[row % 2] for row in range(count)]
        manifest.table["coil"] = "head"
        write_manifest(workspace.manifest(name), manifest)
    entries = {
        "datasets": {"a": {}},
        "external": {"b": {"of": "a", "shared": ["coil"]}},
    }
    run_study(workspace, study_at(again, **entries))
    answer = " ".join((again / "ws" / "reports" / "two" / "answer.txt").read_text("utf-8").split())
    assert "Scanner: GE in both, Philips in b alone. coil: head in both." in answer
    # Nothing is scored again for it, but the report is.
    manifest.table["Scanner"] = "Siemens"
    write_manifest(workspace.manifest("b"), manifest)
    run_study(workspace, study_at(again, **entries))
    answer = " ".join((again / "ws" / "reports" / "two" / "answer.txt").read_text("utf-8").split())
    assert "Scanner: Siemens in both." in answer
    outcome = run_study(workspace, study_at(again, "external.b.shared=[nothing]", **entries))
    assert set(outcome.failed) == set(OUTSIDE)
    assert "has a column 'nothing'" in outcome.failed[OUTSIDE[0]]


def test_group_ids_of_each_hospitals_own_leave_nobody_out(again: Path, no_page: None) -> None:
    workspace = Workspace(again / "ws")
    outcome = run_study(workspace, study_at(again, "external.b.ids=own"))
    runs = [read_predictions(path) for path in outcome.predictions]
    assert [len(run.table) for run in runs if run.meta.get("trained_run")] == [34, 34]
    # An image that both have is the same patient's, whatever they are called.
    shutil.copy(
        again / "images-a" / "sick" / "patient001_0.png",
        again / "images-b" / "sick" / "patient031_2.png",
    )
    outcome = run_study(workspace, study_at(again, "external.b.ids=own"))
    runs = [read_predictions(path) for path in outcome.predictions]
    (first, _) = [run for run in runs if run.meta.get("trained_run")]
    assert "patient031" not in set(first.table["group_id"])
    assert first.meta["shared"]["images"] == 1


def test_a_class_that_training_lacks_is_refused_and_the_others_go_on(again: Path) -> None:
    make_hospital(again / "images-b", [60], 3)
    (again / "images-b" / "well").joinpath("patient060_0.png").rename(
        (again / "images-b" / "unsure").mkdir() or again / "images-b" / "unsure" / "patient060.png"
    )
    workspace = Workspace(again / "ws")
    outcome = run_study(workspace, study_at(again))
    assert set(outcome.failed) == set(OUTSIDE)
    assert outcome.failed[OUTSIDE[0]] == (
        "Data set 'b' has images of 'unsure', and data set 'a' has the classes sick, well: rename "
        "these labels, or leave them out."
    )
    assert outcome.done == [name.replace("b-from-a", "a") for name in OUTSIDE]
    failed = (again / "ws" / "reports" / "two" / "tables" / "scores.md").read_text("utf-8")
    assert "b (external, trained on a)" in failed
    plan = plan_study(workspace, study_at(again))
    states = estimate_plan(workspace, study_at(again), plan).set_index("dataset")["state"]
    assert set(states["b-from-a"]) == {"cannot start"}


@pytest.mark.slow
def test_a_class_that_the_external_set_lacks_is_said(again: Path) -> None:
    make_hospital(again / "more", range(60, 80), 4)
    (again / "more" / "sick").rename(again / "images-a" / "unsure")
    protocols = {"near": {"head": "knn", "image_size": 32}}
    outcome = run_study(Workspace(again / "ws"), study_at(again, protocols=protocols))
    assert outcome.failed == {}
    answer = (again / "ws" / "reports" / "two" / "answer.txt").read_text("utf-8")
    assert "b has no image of unsure, a class of training." in " ".join(answer.split())


def test_grey_images_of_a_run_are_grey_elsewhere(tmp_path: Path, no_page: None) -> None:
    make_hospital(tmp_path / "images-a", range(30), 0, mode="L")
    make_hospital(tmp_path / "images-b", range(30, 40), 1)
    workspace = Workspace(tmp_path / "ws")
    outcome = run_study(workspace, study_at(tmp_path))
    assert outcome.failed == {}
    for kind in ("pixels", "embeddings"):
        keys = [
            {path.parent.name for path in (workspace.root / kind / name).rglob("part-*.h5")}
            for name in ("a", "b")
        ]
        assert keys[1] & keys[0]
    test_the_numbers_are_those_of_predict(tmp_path)


@pytest.mark.slow
def test_a_run_at_every_depth_is_scored_at_every_depth(again: Path) -> None:
    protocols = {"depth": {"recipe": "standard", "feature": "blocks", "image_size": 32}}
    workspace = Workspace(again / "ws")
    study = study_at(again, "cv=none", protocols=protocols)
    outcome = run_study(workspace, study)
    assert outcome.failed == {}
    runs = [read_predictions(path) for path in outcome.predictions]
    trained = [run.run for run in runs if not run.meta.get("trained_run")]
    assert [run.meta["trained_run"] for run in runs if run.meta.get("trained_run")] == trained
    table = pd.read_csv(again / "ws" / "reports" / "two" / "tables" / "external.csv")
    assert 1 <= table["run"].nunique() <= 2  # the chosen depth and the last


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"external": {"b": {"of": "c"}}}, "external.b: of is 'c', and the data sets of this stud"),
        ({"external": {"a": {}}}, "external.a is the data set that its runs are trained on"),
        ({"external": {"b": {"split": "fold"}}}, "no key 'external.b.split'"),
        ({"cv": "5x1"}, "A cross-validation keeps no model that external data sets could be"),
    ],
)
def test_what_cannot_be_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study({**STUDY, **changes}, "two.yaml")
    assert said in str(caught.value)


def test_folds_that_auto_chooses_are_refused_run_by_run(again: Path) -> None:
    study = study_at(again, protocols={"frozen": {"recipe": "standard", "image_size": 32}})
    plan = plan_study(Workspace(again / "ws"), study)
    assert list(plan.failed) == OUTSIDE[:1]
    assert plan.failed[OUTSIDE[0]].startswith("A cross-validation keeps no model")


def test_files_of_both_are_never_taken_for_seeds_of_one_method(finished: Path) -> None:
    workspace = Workspace(finished / "ws")
    run = outside(workspace)["none"]
    own = workspace.predictions(str(run.meta["trained_run"]))
    frame = evaluate([own, workspace.predictions(run.run)], metrics=["accuracy"])
    assert set(frame["dataset"]) == {"a", "b (external, trained on a)"}
    done = CliRunner().invoke(app, ["compare", str(own), str(workspace.predictions(run.run))])
    assert done.exit_code == 1


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text("utf-8").split("## Another hospital")[1].split("\n## ")[0]
    study, commands = re.findall(r"```(?:yaml|sh)\n(.*?)```", text, re.DOTALL)
    (tmp_path / "study.yaml").write_text(study)
    make_both(tmp_path)
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        words = line.split()[1:]
        files = [str(path) for word in words if "*" in word for path in tmp_path.glob(word)]
        done = CliRunner().invoke(app, [word for word in words if "*" not in word] + files)
        assert done.exit_code == 0, done.output
    assert "hospital-b (external, trained on" in " ".join(done.output.split())
    report = tmp_path / "frostline-workspace" / "reports" / "two-hospitals"
    assert (report / "tables" / "external.csv").is_file()
    provenance = json.loads((report / "provenance.json").read_text("utf-8"))
    assert {step["kind"] for step in provenance["steps"]} >= {"external", "finetune", "probe"}
