"""A study, a prediction and the doctor on a pretended GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pretended import pretended_gpu

from frostline import stages
from frostline.cache import Workspace
from frostline.cli import app
from frostline.doctor.doctor import check_gpus
from frostline.doctor.stores import check_stores
from frostline.extract.index import index_dataset
from frostline.workspace import Workspace as Face

from .conftest import make_images

STUDY = """
name: small
datasets:
  set: {root: images, group_pattern: '(patient[0-9]+)'}
backbones:
  - {name: 'timm:test_vit', weights: random}
protocols:
  frozen: {unfreeze: none, image_size: 32, epochs: 2}
  last block: {unfreeze: 1, image_size: 32, epochs: 1, batch: 8}
replicates: 100
precision: float32
"""


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_images(tmp_path / "images", 60)


def probabilities(path: Path) -> np.ndarray:
    return pd.read_parquet(path).filter(regex="^prob_").to_numpy()


def test_a_study_gives_the_numbers_of_the_cpu(images: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(STUDY)
    run = ["run", "small.yaml", "--workspace"]
    app([*run, "cpu", "--set", "device=cpu"], standalone_mode=False)
    with pretended_gpu() as seen:
        app([*run, "card"], standalone_mode=False)
    expected = sorted((tmp_path / "cpu" / "predictions").iterdir())
    assert len(expected) == 2
    for path in expected:
        found = probabilities(tmp_path / "card" / "predictions" / path.name)
        # Optimisers of a GPU add up in another order.
        np.testing.assert_allclose(found, probabilities(path), atol=1e-5)
    assert any("training.epochs" in name for name in seen.waits)  # it was there that it trained
    assert not seen.lost


def test_a_trained_network_predicts_what_it_predicts_on_the_cpu(images: Path) -> None:
    index_dataset(Workspace(Path("w")), "set", roots=[images])
    network = stages.Network("timm:test_resnet", "random", image_size=32)
    whole = []
    with pretended_gpu():
        run, _ = stages.finetune(
            Workspace(Path("w")),
            "set",
            network,
            machine=stages.Machine("cuda", "float32"),
            changes={"epochs": 1, "batch_size": 16},
            on_epoch=lambda _: whole.append(not torch.backends.cudnn.allow_tf32),
        )
        on_card = Face("w").predict(run, images, machine=stages.Machine("cuda"))
    assert whole == [True]  # float32 without TF32
    assert torch.backends.cudnn.allow_tf32
    on_cpu = Face("w").predict(run, images, machine=stages.Machine("cpu"))
    pd.testing.assert_frame_equal(on_card.table, on_cpu.table)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_the_doctor_finds_a_cards_embeddings_good(precision: str, images: Path) -> None:
    workspace = Workspace(Path("w"))
    index_dataset(workspace, "set", roots=[images])
    network = stages.Network("timm:test_resnet", "random", image_size=32)
    with pretended_gpu():
        assert [check.state for check in check_gpus()] == ["ok"]
        stages.extract(workspace, "set", network, machine=stages.Machine("cuda", precision))
        (check,) = check_stores(workspace, 5)
    assert (check.state, "5 images" in check.found) == ("ok", True)
