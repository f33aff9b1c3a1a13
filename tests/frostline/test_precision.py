"""`precision: auto` goes on with what is there, whatever device made it, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from frostline import stages
from frostline.cache import Workspace
from frostline.extract.index import index_dataset
from frostline.stages import Machine, Network
from frostline.study.runner import run_study

from .conftest import make_images
from .test_depth_study import study_at

SAID = "Precision bfloat16, as what is there; --precision float32 would start anew."
NET = Network("timm:test_vit", "random", image_size=32)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    make_images(tmp_path / "images", 48)
    workspace = Workspace(tmp_path / "ws")
    index_dataset(workspace, "set", roots=[tmp_path / "images"], group_pattern="(patient[0-9]+)")
    return workspace


def test_embeddings_of_a_gpu_are_taken_on_a_cpu(
    place: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    half = stages.extract(place, "set", NET, machine=Machine("cpu", "bfloat16"))
    again = stages.extract(place, "set", NET, machine=Machine("cpu"))
    assert (again.key, again.embedded) == (half.key, 0)
    assert SAID in capsys.readouterr().err
    # Asked for, the other is made; and then it is the device's own that is taken.
    whole = stages.extract(place, "set", NET, machine=Machine("cpu", "float32"))
    assert (whole.key != half.key, whole.embedded) == (True, 48)
    assert stages.extract(place, "set", NET, machine=Machine("cpu")).key == whole.key
    assert SAID not in capsys.readouterr().err


@pytest.mark.parametrize("cv", [None, "3x1"])
def test_a_run_that_a_gpu_trained_is_done_on_a_cpu(
    place: Workspace, capsys: pytest.CaptureFixture[str], cv: str | None
) -> None:
    def train(precision: str) -> tuple[str, bool]:
        options = {"unfreeze": "1", "changes": {"epochs": 1}, "machine": Machine("cpu", precision)}
        if cv is None:
            return stages.finetune(place, "set", NET, **options)
        return stages.finetune_folds(place, "set", NET, cv, **options)[0]

    run, new = train("bfloat16")
    assert new
    assert train("auto") == (run, False)
    assert SAID in capsys.readouterr().err
    other, new = train("float32")
    assert new
    assert train("auto") == (other, False)


@pytest.mark.slow
def test_a_finished_study_of_a_gpu_is_finished_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_images(tmp_path / "images", 48)
    place, net = Workspace(tmp_path / "ws"), {"name": "timm:test_vit", "weights": "random"}
    done = run_study(place, study_at(tmp_path, precision="bfloat16", backbones=[net]))
    assert done.failed == {}
    capsys.readouterr()
    again = run_study(place, study_at(tmp_path, backbones=[net]))
    assert again.predictions == done.predictions
    said = " ".join(capsys.readouterr().err.split())
    assert "Precision bfloat16, as what is done already; --precision float32 would start " in said
    assert "trained." not in said
