"""What a sweep computes again, and what it never overwrites."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.probe.heads.registry import HEADS as REGISTRY
from frostline.probe.heads.training import Trainer
from frostline.probe.sweep import run_files
from frostline.probe.sweep.run import run_sweep
from frostline.report import read_predictions

from .conftest import Build, run, sweep_of


class Spy:
    """Counts what trainers are asked to score."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[int, int]] = []
        for head in REGISTRY.values():
            monkeypatch.setattr(
                f"frostline.probe.heads.{head.trainer.replace(':', '.')}",
                self._watched(head.load_trainer()),
            )

    def _watched(self, trainer: Trainer) -> Trainer:
        def score(pool: Any, parts: Any, candidates: Any, shared: Any, seed: int) -> Any:
            self.asked.append((len(parts), len(candidates)))
            return trainer.score(pool, parts, candidates, shared, seed)

        return Trainer(score, trainer.fit, trainer.train)


def test_again_computes_only_what_is_new(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    place, spy = build(), Spy(monkeypatch)
    first = run(place, heads={"logistic": {"C": [0.01, 1.0]}})
    assert spy.asked == [(1, 2)]
    again = run(place, heads={"logistic": {"C": [0.01, 1.0]}})
    assert spy.asked == [(1, 2)]
    pd.testing.assert_frame_equal(first.table, again.table)
    run(place, heads={"logistic": {"C": [0.01, 0.1, 1.0]}})
    assert spy.asked == [(1, 2), (1, 1)]
    sizes = {"train_groups": [9, "all"], "draws": 3}
    run(place, heads={"logistic": {"C": [0.01, 0.1, 1.0]}}, **sizes)
    assert spy.asked == [(1, 2), (1, 1), (3, 3)]
    widened = run(place, heads={"logistic": {"C": [0.01, 0.1, 1.0]}}, metric="accuracy")
    assert spy.asked == [(1, 2), (1, 1), (3, 3)]
    assert len(widened.predictions) == 1


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_what_an_interrupted_sweep_lacks_is_the_same_to_the_last_digit(
    build: Build, lost: int
) -> None:
    place = build()
    how: dict[str, Any] = {"heads": {"logistic": {"C": [0.01, 1.0, 100.0]}}, "draws": 3}
    paths = run(place, train_groups=[9, "all"], **how).predictions
    whole = {path: read_predictions(path).table for path in paths}
    for path in paths[-lost:]:
        path.unlink()
    assert run(place, train_groups=[9, "all"], **how).predictions == paths
    for path in paths:
        pd.testing.assert_frame_equal(read_predictions(path).table, whole[path], check_exact=True)


def test_a_changed_label_computes_anew(
    build: Build, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    run(build(), heads=["centroid"])
    table.loc[0, "label"] = "grade 1"
    run(build(table), heads=["centroid"])
    assert spy.asked == [(1, 1), (1, 1)]


def test_what_a_killed_sweep_has_done_is_kept(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = build()
    monkeypatch.setattr("frostline.probe.sweep.run.HEADS_A_TASK", 1)
    write = run_files.write_predictions
    left = [2]

    def interrupted(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(run_files, "write_predictions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(place, heads=["centroid"], train_groups=[9], draws=5)
    monkeypatch.setattr(run_files, "write_predictions", write)
    spy = Spy(monkeypatch)
    run(place, heads=["centroid"], train_groups=[9], draws=5)
    assert sum(parts for parts, _ in spy.asked) == 2  # the third cell was scored, not written


def test_a_second_sweep_never_overwrites_the_first(build: Build) -> None:
    place = build()
    first = run(place, heads=["centroid"])
    other = run(place, heads=["centroid", "majority"])
    assert first.path.parent.name.startswith("mri-tiny-centroid-")
    assert other.path.parent.name.startswith("mri-tiny-centroid-majority-")
    named = run(place, heads=["centroid"], name="mine")
    before = named.path.read_bytes()
    assert run(place, heads=["centroid"], name="mine").path == named.path
    with pytest.raises(InputError) as caught:
        run(place, heads=["majority"], metric="accuracy", name="mine")
    assert str(caught.value) == (
        f"A sweep 'mine' with other settings (heads, metric) lies in {named.path.parent}: give "
        "this one another name by --name (or `name` in the file); what both compute is computed "
        "once."
    )
    assert named.path.read_bytes() == before


def test_progress_counts_heads(build: Build) -> None:
    seen: list[tuple[int, int]] = []
    sweep = sweep_of(heads=dict.fromkeys(("knn", "centroid")))
    run_sweep(build(), sweep, jobs=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 9)
    assert seen[-1] == (9, 9)
