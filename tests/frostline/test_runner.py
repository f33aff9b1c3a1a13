"""A study as a plan: what is done, shared, done again, failed; what --only chooses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from processes import ends
from stamps import rewrite

from frostline.cache import InputError, Workspace, lock_file, read_manifest, write_manifest
from frostline.cache.versions import STAGES
from frostline.probe.sweep.planning import training_counts
from frostline.probe.sweep.settings import parse_sweep
from frostline.report import read_predictions
from frostline.study.costs.dry_run import show_plan
from frostline.study.costs.estimate import estimate_plan
from frostline.study.file import Study
from frostline.study.plan import Step, study_cells
from frostline.study.planner import make_plan
from frostline.study.records import _reason, changed_runs, failures, read_record
from frostline.study.report_data import swept_tables
from frostline.study.results import report_study
from frostline.study.runner import _start_helper, plan_study, run_study
from frostline.study.scheduler import Scheduler, Settled
from frostline.study.steps import DO

from .conftest import command, environment, make_images
from .small_study import RUNS, study_at


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run, in `ws`."""
    folder = tmp_path_factory.mktemp("finished")
    make_images(folder / "images", 48)
    outcome = run_study(Workspace(folder / "ws"), study_at(folder))
    assert outcome.failed == {}
    return folder


def dry_run(workspace: Workspace, study: Study, only: list[str] | None = None) -> bool:
    """What `--dry-run` does."""
    return show_plan(workspace, study, plan_study(workspace, study, only or [], fetch=False))


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the report out, which takes most of the time."""
    monkeypatch.setattr("frostline.study.runner.update_report", lambda *_, **__: None)


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that are done from now on."""
    names: list[str] = []

    def noting(kind: str) -> Any:
        work = DO[kind]

        def do(*arguments: Any) -> dict[str, Any]:
            names.append(arguments[-1].name)
            return work(*arguments)

        return do

    for kind in list(DO):
        monkeypatch.setitem(DO, kind, noting(kind))
    return names


def test_the_plan_has_every_step_and_what_it_needs(finished: Path) -> None:
    plan = plan_study(Workspace(finished / "ws"), study_at(finished))
    kinds = [step.kind for step in plan.steps]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "pixels": 1,
        "embeddings": 2,
        "probe": 2,
        "sweep": 2,
        "finetune": 2,
    }
    assert [step.name for step in plan.runs()] == RUNS
    seen: set[str] = set()
    for step in plan.steps:
        assert seen.issuperset(step.needs)
        seen.add(step.key)
    assert plan.left_out == [
        "timm:test_efficientnet is left out: its weights are not on this machine."
    ]


def test_what_is_done_is_not_done_again(finished: Path, worked: list[str]) -> None:
    again = run_study(Workspace(finished / "ws"), study_at(finished))
    assert worked == []
    assert len(again.predictions) == 4


def test_a_changed_field_or_label_says_what_is_done_anew(
    finished: Path, worked: list[str], no_page: None, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(finished / "ws")
    tuned = study_at(finished, "protocols.tuned.lr=0.001")
    assert run_study(workspace, tuned, only=["*/timm:test_vit/*"]).failed == {}
    assert worked == ["set/timm:test_vit/tuned/0"]
    said = capsys.readouterr().err
    sentence = (
        "set/timm:test_vit/tuned/0 is trained again because recipe.lr changed from 0.0001 to 0.001."
    )
    assert sentence in said
    manifest = read_manifest(workspace.manifest("set"))
    kept = manifest.table.copy()
    manifest.table.loc[0, "label"] = "unsure"
    write_manifest(workspace.manifest("set"), manifest)

    study = study_at(finished)
    plan = plan_study_without_index(workspace, study)
    try:
        changed = changed_runs(workspace, "small", plan)
        assert changed[0].endswith("is trained again because the labels changed.")
    finally:
        manifest.table = kept
        write_manifest(workspace.manifest("set"), manifest)
        changed_runs(workspace, "small", plan_study_without_index(workspace, study))


def test_other_images_are_one_cause_not_five() -> None:
    old = {"manifest": {"image_id": "a", "label": "a", "split": "a"}, "weights": "a"}
    new = {"manifest": {"image_id": "b", "label": "b", "split": "b"}, "weights": "b"}
    assert _reason(old, new) == "the images changed and the weights changed"
    assert _reason(old, {**old, "manifest": {**old["manifest"], "label": "b"}}) == (
        "the labels changed"
    )


def test_what_an_input_is_without_a_value_is_said_in_words() -> None:
    folds = {"cv": "3x1", "metric": "accuracy", "on_error": "stop"}
    assert _reason(folds, {}) == "cv changed from 3x1 to the data set's splits"
    assert _reason({}, folds) == "cv changed from the data set's splits to 3x1"
    assert _reason(folds, {**folds, "metric": "log_loss"}) == (
        "metric changed from accuracy to log_loss"
    )
    assert _reason({}, {"class_order": ["a", "b"]}) == (
        "class_order changed from none to ['a', 'b']"
    )


def test_other_formulas_are_a_reason(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, study = Workspace(finished / "ws"), study_at(finished)
    changed_runs(workspace, study.name, plan_study_without_index(workspace, study))
    monkeypatch.setitem(STAGES, "finetune", STAGES["finetune"] + 1)
    changed = changed_runs(workspace, study.name, plan_study_without_index(workspace, study))
    monkeypatch.undo()
    changed_runs(workspace, study.name, plan_study_without_index(workspace, study))
    assert changed
    assert all("tuned" in sentence for sentence in changed)
    assert all(
        sentence.endswith("is trained again because this release computes it by other formulas.")
        for sentence in changed
    )


def plan_study_without_index(workspace: Workspace, study: Study) -> list[Step]:

    return make_plan(workspace, study, study_cells(study)).runs()


def test_numbers_keep_the_machine_that_made_them(
    finished: Path, no_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SimpleNamespace(name="Card", total_memory=1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    study = study_at(finished, "protocols.tuned.lr=0.003")
    run_study(Workspace(finished / "ws"), study, only=["*/timm:test_vit/*"])
    found = json.loads((finished / "ws/reports/small/provenance.json").read_text())
    cards = {step["name"]: step["hardware"]["gpus"] for step in found["steps"]}
    assert cards.pop("set/timm:test_vit/tuned/0") == [{"name": "Card", "memory_bytes": 1}]
    assert len(cards) > 1
    assert not any(cards.values())
    assert "hardware" not in found


def test_what_another_command_trained_has_no_machine(finished: Path, no_page: None) -> None:
    workspace, study = Workspace(finished / "ws"), study_at(finished)
    (step,) = (one for one in plan_study_without_index(workspace, study) if "vit/tuned" in one.name)
    workspace.record(step.key).unlink()
    run_study(workspace, study)
    record = read_record(workspace, step.key)
    assert record is not None
    assert record["hardware"] is None


def test_two_workspaces_give_the_same_predictions_and_say_where_from(
    finished: Path, tmp_path: Path, no_page: None
) -> None:
    study = study_at(finished, "sweeps={}")
    other = run_study(Workspace(tmp_path / "ws"), study).predictions
    first = run_study(Workspace(finished / "ws"), study).predictions
    assert [path.name for path in first] == [path.name for path in other]
    for mine, theirs in zip(first, other, strict=True):
        pd.testing.assert_frame_equal(read_predictions(mine).table, read_predictions(theirs).table)
    found = json.loads((tmp_path / "ws/reports/small/provenance.json").read_text())
    assert found["study"]["protocols"]["tuned"]["epochs"] == 1
    machine = found["steps"][-1]["hardware"]
    assert machine["cores"] >= 1
    assert machine["processor"] not in ("", machine["instructions"])
    assert found["versions"]["torch"]
    assert set(found["weights"]) == {"timm:test_vit", "timm:test_resnet"}
    runs = [step for step in found["steps"] if step["kind"] in ("probe", "finetune")]
    assert [step["name"] for step in runs] == RUNS
    assert all(step["key"] and step["ended"] >= step["started"] for step in runs)


def test_what_fails_is_told_and_the_rest_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finished / "junk").write_text("")
    study = study_at(
        finished,
        "protocols.tuned.unfreeze=99",
        "sweeps={}",
        "costs=false",
        "datasets.gone={root: nowhere}",
    )
    workspace = Workspace(tmp_path / "ws")
    outcome = run_study(workspace, study, only=["*/timm:test_vit/*"])
    assert len(outcome.predictions) == 1
    assert list(outcome.failed) == [
        "gone/timm:test_vit/frozen/0",
        "gone/timm:test_vit/tuned/0",
        "set/timm:test_vit/tuned/0",
    ]
    assert "Unfreeze must be none, all, or a number" in outcome.failed["set/timm:test_vit/tuned/0"]
    assert "There is no folder" in outcome.failed["gone/timm:test_vit/frozen/0"]
    page = (workspace.report("small") / "index.html").read_text()
    assert "without result: set/timm:test_vit/tuned/0" in page
    for table in ("scores.md", "paper.md"):
        text = (workspace.report("small") / "tables" / table).read_text()
        assert "|  | timm:test_vit (random weights, tuned) | last 99 | failed | failed |" in text
        assert "| gone | timm:test_vit (random weights, frozen) | Y | failed | " in text
        assert "Failed: set, timm:test_vit, tuned, seed 0. Unfreeze must be none, " in text
    answer = " ".join((workspace.report("small") / "answer.txt").read_text().split())
    assert "failed" in answer
    # What is left out is said, and said again when the report is written again.
    part = (
        f"Shown are 4 of the {len(study_cells(study))} runs of this study, by --only "
        "*/timm:test_vit/*."
    )
    for text in (page, answer, report_study(workspace, study).joinpath("answer.txt").read_text()):
        assert part in " ".join(text.split())


def test_a_store_that_fails_is_told_as_the_runs_that_need_it(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 8)
    broken = tmp_path / "images" / "well" / "patient000_0.png"
    broken.write_bytes(b"no image")
    outcome = run_study(Workspace(tmp_path / "ws"), study_at(tmp_path, "sweeps={}"))
    assert list(outcome.failed) == RUNS
    assert all(str(broken) in sentence for sentence in outcome.failed.values())
    assert outcome.predictions == []


@pytest.mark.slow
def test_the_exit_status_says_that_a_run_failed(finished: Path, tmp_path: Path) -> None:
    study_at(finished)
    done = subprocess.run(
        command(
            "run",
            finished / "small.yaml",
            "--workspace",
            tmp_path / "ws",
            "--only",
            "*/frozen",
            "--set",
            "datasets.set.root=nowhere",
        ),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "2 runs failed:" in done.stdout
    assert "  set/timm:test_vit/frozen/0: There is no folder " in done.stdout
    assert "Traceback" not in done.stderr
    # A plan that cannot be says so before anything is done.
    broken = study_at(finished, "datasets.set.root=nowhere")
    assert dry_run(Workspace(tmp_path / "dry"), broken) is False
    assert dry_run(Workspace(tmp_path / "dry"), study_at(finished)) is True


class Fake:
    """Steps that only note who does them, in place of real work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.broken: set[str] = set()
        for kind in list(DO):
            monkeypatch.setitem(DO, kind, self._do)
        self.finished: set[str] = set()
        monkeypatch.setattr(
            "frostline.study.scheduler.is_done", lambda _, step: step.key in self.finished
        )
        monkeypatch.setattr("frostline.study.scheduler.PAUSE", (0.001, 0.01))

    def _do(self, workspace: Workspace, study: Study, step: Step) -> dict:
        if step.name in self.broken:
            raise ZeroDivisionError("by 0")
        self.names.append(f"{step.kind} {step.name}")
        self.finished.add(step.key)
        return {"predictions": []}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def walk(
    finished: Path,
    workspace: Path,
    shard: tuple[int, int] | None = None,
    failures: dict[str, float] | None = None,
) -> Settled:
    study = study_at(finished)
    plan = plan_study(Workspace(finished / "ws"), study)
    return Scheduler(Workspace(workspace), study, plan, shard, failures or {}).run()


def test_shards_share_the_runs_and_each_has_what_it_needs(
    finished: Path, tmp_path: Path, fake: Fake
) -> None:
    shares = []
    for shard in range(3):
        fake.finished.clear()
        fake.names.clear()
        walk(finished, tmp_path / str(shard), (shard, 3))
        runs = [name for name in fake.names if name.count("/") == 3]
        assert not runs or fake.names[0] == "pixels set at 32 pixels"
        shares.append(runs)
    assert sorted(name for share in shares for name in share) == sorted(
        f"{'probe' if 'frozen' in name else 'finetune'} {name}" for name in RUNS
    )


def test_a_step_that_another_runner_holds_is_left_and_then_taken_over(
    finished: Path,
    tmp_path: Path,
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace, study = Workspace(tmp_path), study_at(finished)
    plan = plan_study(Workspace(finished / "ws"), study)
    held = plan.runs()[0]
    others: list[str] = []
    with lock_file(workspace.record(held.key).with_suffix(".lock")) as mine:
        assert mine
        monkeypatch.setattr(
            "frostline.study.scheduler.time.sleep", lambda _: others.append("waits") or 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            Scheduler(workspace, study, plan, None, 0.0).run()
    monkeypatch.undo()
    assert others == ["waits"]
    said = f"Waiting for another runner: {held.name} (probe)."
    assert said in capsys.readouterr().err.splitlines()
    assert f"probe {held.name}" not in fake.names
    assert f"finetune {RUNS[1]}" in fake.names


def test_a_failure_that_is_no_users_mistake_is_noted_with_its_trace(
    finished: Path, tmp_path: Path, fake: Fake
) -> None:
    fake.broken = {"set/timm:test_vit"}
    walked = walk(finished, tmp_path)
    assert set(walked.failed.values()) == {"ZeroDivisionError: by 0"}
    assert not any("test_vit/frozen" in name or "test_vit/few" in name for name in fake.names)
    assert f"finetune {RUNS[1]}" in fake.names
    plan = plan_study(Workspace(finished / "ws"), study_at(finished))
    (broken,) = (step for step in plan.steps if step.name == "set/timm:test_vit")
    record = read_record(Workspace(tmp_path), broken.key)
    assert record is not None
    assert record["state"] == "failed"
    assert "Traceback" in record["traceback"]
    # It is not tried again by who began before, and is by who begins now, whatever the clock said.
    fake.broken = set()
    assert broken.key in walk(finished, tmp_path).failed
    ahead = time.time() + 1e6
    rewrite(Workspace(tmp_path).record(broken.key), lambda record: record.update(ended=ahead))
    known = failures(Workspace(tmp_path), plan)
    assert known[broken.key] == ahead
    assert walk(finished, tmp_path, failures=known).failed == {}


def test_several_processes_share_a_study_and_do_nothing_twice(
    finished: Path, tmp_path: Path, no_page: None, capfd: pytest.CaptureFixture[str]
) -> None:
    study = study_at(finished, "sweeps={}", "costs=false")
    outcome = run_study(Workspace(tmp_path / "ws"), study, jobs=2)
    assert outcome.failed == {}
    assert len(outcome.predictions) == 4
    said = capfd.readouterr().err.splitlines()
    assert sorted(line for line in said if line.endswith(": trained.")) == sorted(
        f"{name}: trained." for name in RUNS
    )
    assert not any("done before" in line for line in said)


def test_what_a_killed_helper_had_begun_is_done_by_another(
    finished: Path, tmp_path: Path, no_page: None, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(active_children())  # what earlier tests left, such as joblib's workers

    def kill_first() -> None:
        while not (helpers := set(active_children()) - before):
            time.sleep(0.01)
        helpers.pop().kill()

    killer = threading.Thread(target=kill_first)
    killer.start()
    study = study_at(finished, "sweeps={}", "costs=false")
    outcome = run_study(Workspace(tmp_path / "ws"), study, jobs=2)
    killer.join()
    assert outcome.failed == {}
    assert len(outcome.predictions) == 4
    said = capfd.readouterr().err.splitlines()
    assert "A runner was killed: what it had begun was done by another." in said


def test_helpers_warn_as_the_process_that_starts_them(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_start_helper, initargs=(os.getpid(), True, 0)
    ) as pool:
        pool.submit(warnings.warn, "The grid is narrow.").result()
    assert capfd.readouterr().err == "Warning: The grid is narrow.\n"


RUNNER = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from frostline.study.runner import _start_helper
if __name__ == "__main__":
    how = (os.getpid(), False, 0)
    with ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_start_helper, initargs=how
    ) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60).result()
"""


def test_a_helper_ends_with_its_runner_at_once(tmp_path: Path) -> None:
    (tmp_path / "runner.py").write_text(RUNNER)
    runner = subprocess.Popen([sys.executable, "runner.py"], cwd=tmp_path, stdout=subprocess.PIPE)
    assert runner.stdout is not None
    helper = int(runner.stdout.readline())
    runner.kill()
    runner.wait()
    runner.stdout.close()
    assert ends(helper)


@pytest.mark.parametrize("folder", ["predictions", "models", "sweeps", "reports/small/tables"])
def test_a_runner_clears_what_a_killed_one_left(
    finished: Path, tmp_path: Path, no_page: None, folder: str
) -> None:
    left = finished / "ws" / folder / ".tmp-0123abcd-run.parquet"
    left.parent.mkdir(exist_ok=True)
    left.write_text("half")
    run_study(Workspace(finished / "ws"), study_at(finished))
    assert not left.exists()


def test_the_last_shard_writes_the_report(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[int] = []
    monkeypatch.setattr(
        "frostline.study.runner.update_report", lambda *a, **_: shown.append(len(a[2]))
    )
    study = study_at(
        finished,
        "sweeps={}",
        "costs=false",
        "backbones=[{name: 'timm:test_vit', weights: random}]",
        "protocols={a: {unfreeze: none, image_size: 32, head: logistic}, "
        "b: {unfreeze: none, image_size: 32, epochs: 1}}",
    )
    workspace = Workspace(tmp_path / "ws")
    (a, b) = (int(step.in_shard((1, 2))) for step in plan_study(workspace, study).runs())
    assert a != b, "both runs are of one shard: rename a protocol"
    run_study(workspace, study, shard=(0, 2))
    assert shown == []
    assert "1 of 2 runs are done: once all are" in capsys.readouterr().err
    run_study(workspace, study, shard=(1, 2))
    assert shown == [2]


def test_dry_run_tells_what_is_done_and_what_the_rest_takes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_at(finished)
    whole = estimate_plan(
        Workspace(finished / "ws"), study, plan_study(Workspace(finished / "ws"), study)
    )
    assert set(whole["state"]) == {"done"}
    fresh = Workspace(tmp_path / "ws")
    table = estimate_plan(fresh, study, plan_study(fresh, study)).set_index("kind")
    assert table.loc["pixels", "state"] == "missing"
    assert table.loc["pixels", "images"] == 48
    assert table.loc["pixels", "disk"] == 48 * 32 * 32 * 3
    for kind in ("finetune", "probe", "sweep"):
        assert (table.loc[kind, "seconds"] > 0).all(), kind
    assert (table.loc["finetune", "memory"] > 0).all()
    measured = (tmp_path / "ws" / "measured.json").read_text()
    capsys.readouterr()
    dry_run(fresh, study, ["*/tuned"])
    assert (tmp_path / "ws" / "measured.json").read_text() == measured
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["pixels", "48", "images"] in [line[:3] for line in lines]
    assert ["timm:test_vit", "tuned", "missing"] in [line[:3] for line in lines]
    assert "0 of 3 steps are done; the others take about" in printed
    assert "that are free." in printed
    assert not (tmp_path / "ws" / "predictions").exists()


def test_dry_run_fetches_no_weights_and_says_which_the_run_will(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(*_: Any) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("frostline.extract.backbones.weights.source.fetch_pretrained", refuse)
    study = study_at(finished, "backbones=[torchvision:resnet18]", "sweeps={}")
    dry_run(Workspace(tmp_path / "ws"), study)
    printed = capsys.readouterr().out
    assert "cannot start" not in printed
    last = "Weights that are not on this machine are fetched first: torchvision:resnet18."
    assert printed.splitlines()[-1] == last


def test_a_study_of_which_nothing_is_left_says_so(finished: Path, tmp_path: Path) -> None:
    study = study_at(finished)
    study.backbones = study.backbones[2:]
    with pytest.raises(InputError) as caught:
        plan_study(Workspace(tmp_path / "ws"), study)
    assert str(caught.value) == (
        "Nothing is left of study 'small'. timm:test_efficientnet is left out: its weights are not "
        "on this machine."
    )


def test_the_page_has_the_strengths_of_every_backbone(finished: Path) -> None:
    shown = swept_tables(Workspace(finished / "ws"), ["set"]).validation
    assert shown is not None
    assert set(shown["backbone"]) == {"timm:test_resnet, pre_logits", "timm:test_vit, cls"}


def test_sweeps_train_on_as_much_as_the_dry_run_counts(finished: Path) -> None:
    manifest = read_manifest(Workspace(finished / "ws").manifest("set"))
    sizes = {"datasets": "set", "backbones": "b", "train_groups": [0.5, "all"], "draws": 3}
    rows = manifest.table["split"].value_counts()
    groups = manifest.table[manifest.table["split"] == "train"]["group_id"].nunique()
    scored, fitted = training_counts(manifest, parse_sweep(sizes, "here"), "logistic")
    shares = [round(groups / 2) / groups] * 3 + [1.0]  # `all` is one and the same draw
    assert scored == [share * rows["train"] for share in shares]
    assert fitted == scored + [share * (rows["train"] + rows["val"]) for share in shares]


@pytest.mark.slow
def test_the_report_of_a_study_is_of_what_was_run(finished: Path) -> None:
    workspace = Workspace(finished / "ws")
    with pytest.raises(InputError) as caught:
        report_study(workspace, study_at(finished, "protocols.tuned.epochs=3", "seeds=[1]"))
    assert str(caught.value) == (
        "Study 'small' was run with other protocols and seeds than it has now: give what was given "
        "to `frostline run --set`, or run it as it is."
    )
    study_at(finished)
    done = subprocess.run(
        command("report", "small.yaml", "--workspace", "ws", "--set", "title=Other words"),
        cwd=finished,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Other words" in (workspace.report("small") / "index.html").read_text()
    path = workspace.report("small") / "study.json"
    known = path.read_text()
    rewrite(path, lambda state: state["study"].update(later=1))
    with pytest.raises(InputError) as caught:
        report_study(workspace, study_at(finished))
    assert str(caught.value).startswith("Study 'small' was run by a release with other fields: ")
    path.write_text(known)


def test_only_fits_runs_or_says_how_they_are_called(finished: Path) -> None:
    study = study_at(finished)
    names = [cell.name for cell in study_cells(study, ["set/*/frozen", "*vit/tuned/0"])]
    assert names[:3] == [RUNS[0], RUNS[1], RUNS[2]]
    with pytest.raises(InputError) as caught:
        study_cells(study, ["chest/*"])
    assert str(caught.value) == (
        "--only chest/* fits no run: they are called DATASET/BACKBONE/PROTOCOL/SEED, such as "
        "set/timm:test_vit/frozen/0."
    )


def test_costs_and_sweeps_are_beside_the_report(finished: Path) -> None:
    table = pd.read_csv(finished / "ws/reports/small/tables/sweep-few.csv")
    assert set(table["train_groups"].fillna(-1)) == {4, -1}
    assert list((finished / "ws/reports/small/figures").glob("cost-*"))
