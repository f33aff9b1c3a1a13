"""`run --jobs` on a machine with several GPUs: each runner has one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from frostline.cache import Workspace
from frostline.study.runner import _cards, plan_study
from frostline.study.scheduler import Scheduler, Settled
from frostline.study.steps import DO

from .conftest import environment, make_images
from .small_study import RUNS, study_at

# A machine with two GPUs, as far as these processes know; what a GPU would compute, a CPU does. Of
# each kind two steps wait for each other.
STUDY = """
import json, os, time
from pathlib import Path
from frostline.study import runner, steps
from frostline import stages

stages.gpu_count = runner.gpu_count = lambda: 2

def noted(kind, do):
    def here(workspace, study, step):
        device = study.machine().resolve()[0]
        about = kind, device, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()
        (folder := Path("seen", kind)).mkdir(parents=True, exist_ok=True)
        (folder / step.key).write_text(json.dumps(about))
        late = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2 and time.monotonic() < late:
            time.sleep(0.01)
        return do(workspace, study.model_copy(update={"device": "cpu"}), step)
    return here

for kind in ("embeddings", "finetune"):
    steps.DO[kind] = noted(kind, steps.DO[kind])

if __name__ == "__main__":
    from frostline.cache import Workspace
    runner.update_report = lambda *_, **__: None
    outcome = runner.run_study(Workspace(Path("ws")), runner_study(), jobs=3)
    assert outcome.failed == {}, outcome.failed
    print(json.dumps([os.getpid(), sorted(outcome.done)]))
"""
READ = """
from frostline.study.file import read_study
def runner_study():
    return read_study(Path("small.yaml"), settings=SETTINGS)
"""


@pytest.mark.slow
def test_each_runner_has_a_card_and_the_others_none(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 48)
    study_at(tmp_path)
    settings = ["device=cuda", "precision=float32", "sweeps={}", "costs=false"]
    head, main = STUDY.split("if __name__")
    read = READ.replace("SETTINGS", repr(settings))
    (tmp_path / "script.py").write_text(f"{head}{read}\nif __name__{main}")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**environment(), "CUDA_VISIBLE_DEVICES": "4,7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, finished = json.loads(done.stdout.splitlines()[-1])
    assert finished == sorted(RUNS)
    seen = [
        json.loads(path.read_text()) for path in (tmp_path / "seen").rglob("*") if path.is_file()
    ]
    assert sorted(kind for kind, *_ in seen) == ["embeddings"] * 2 + ["finetune"] * 2
    assert {device for _, device, *_ in seen} == {"cuda"}
    for kind in ("embeddings", "finetune"):
        at_once = {pid: card for of, _, card, pid in seen if of == kind}
        assert at_once.pop(first) == "4,7"  # it sees all of them, and takes the first
        assert list(at_once.values()) == ["7"]


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cuda", None, ["0", "1", "2"]),
        ("auto", None, ["0", "1", "2"]),
        ("cuda", "3,GPU-8a,5", ["3", "GPU-8a", "5"]),
        ("cuda:1", None, []),
        ("cpu", None, []),
    ],
)
def test_the_cards_that_are_shared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    visible: str | None,
    expected: list[str],
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for place in ("frostline.stages", "frostline.study.runner"):
        monkeypatch.setattr(f"{place}.gpu_count", lambda: 3)
    assert _cards(study_at(tmp_path, f"device={device}", "precision=float32")) == expected


@pytest.mark.parametrize(
    ("device", "on_gpu", "does"),
    [("cuda", False, False), ("cuda", True, True), ("cpu", False, True)],
)
def test_a_runner_without_a_card_leaves_what_a_gpu_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, on_gpu: bool, does: bool
) -> None:
    make_images(tmp_path / "images", 48)
    workspace, study = Workspace(tmp_path / "ws"), study_at(tmp_path, "sweeps={}")
    plan = plan_study(workspace, study)
    done = []
    for kind in ("embeddings", "finetune"):
        monkeypatch.setitem(DO, kind, lambda *of: done.append(of) or {"predictions": []})
    for step in plan.steps:
        if step.kind in ("embeddings", "finetune"):
            runner = Scheduler(workspace, study, plan, None, on_gpu=on_gpu)
            assert runner._settle(step, Settled(set(step.needs)), device) == does
    assert bool(done) == does
