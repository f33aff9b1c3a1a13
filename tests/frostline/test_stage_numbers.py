"""What a release computes otherwise is made again, never mixed with what an earlier one made."""

from __future__ import annotations

from pathlib import Path

import pytest

import frostline
from frostline import InputError
from frostline.cache.versions import STAGES, _installed, numbered, versions
from frostline.study.plan import Step

from .conftest import make_images

TINY = {"weights": "random", "image_size": 32}


@pytest.fixture
def place(tmp_path: Path) -> frostline.Workspace:
    make_images(tmp_path / "images", 24)
    place = frostline.Workspace(tmp_path / "ws")
    place.index("set", tmp_path / "images", group_pattern="(patient[0-9]+)")
    return place


def test_a_higher_number_makes_other_stores_and_runs(
    place: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> tuple[str, str, str]:
        store = place.extract("set", "timm:test_vit", **TINY).store
        head = place.probe("set", "timm:test_vit", "knn", key=store.key)
        tuned = place.finetune("set", "timm:test_vit", unfreeze=1, epochs=1, **TINY)
        return store.key, head.id, tuned.id

    first = made()
    assert made() == first
    changed = {
        "pixels": (True, True, True),
        "embeddings": (True, True, False),
        "probe": (False, True, False),
        "finetune": (False, False, True),
    }
    for stage, expected in changed.items():
        with monkeypatch.context() as patch:
            patch.setitem(STAGES, stage, STAGES[stage] + 1)
            now = made()
        assert tuple(a != b for a, b in zip(first, now, strict=True)) == expected, stage


def test_another_version_alone_makes_nothing_again(
    place: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> tuple[str, str]:
        store = place.extract("set", "timm:test_vit", **TINY).store
        return store.key, place.probe("set", "timm:test_vit", "knn", key=store.key).id

    first = made()
    monkeypatch.setattr("frostline.cache.versions._installed", lambda: {"frostline": "99.0.0"})
    assert made() == first


def test_a_run_of_other_formulas_predicts_nothing(
    place: frostline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.extract("set", "timm:test_vit", **TINY)
    run = place.probe("set", "timm:test_vit", "knn")
    monkeypatch.setitem(STAGES, "embeddings", 2)
    with pytest.raises(InputError) as caught:
        place.predict(run, tmp_path / "images")
    assert str(caught.value) == (
        f"Run {run.id} was made by a release that computes embeddings by other formulas (number 1 "
        "there, 2 here): use that release, or train again with this one."
    )


def test_a_step_of_a_study_is_not_done_by_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        kinds = ("pixels", "embeddings", "probe", "sweep", "finetune")
        return [Step(kind, "name", {"a": 1}, (), None).key for kind in kinds]  # type: ignore[arg-type]

    first = keys()
    monkeypatch.setitem(STAGES, "probe", STAGES["probe"] + 1)
    assert [a != b for a, b in zip(first, keys(), strict=True)] == [False, False, True, True, False]


def test_number_one_is_not_written_so_that_keys_of_0_1_hold() -> None:
    assert {name: STAGES[name] for name in ("pixels", "embeddings", "finetune")} == {
        "pixels": 1,
        "embeddings": 1,
        "finetune": 1,
    }
    assert numbered("pixels", {"a": 1}) == {"a": 1}


def test_our_own_version_is_that_of_the_code_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.cache.versions.version", lambda name: "0.0.1")
    _installed.cache_clear()
    assert list(versions())[:2] == ["python", "frostline"]
    assert versions()["frostline"] == frostline.__version__
    assert versions()["numpy"] == "0.0.1"
    _installed.cache_clear()
