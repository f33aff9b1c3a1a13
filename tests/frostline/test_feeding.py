"""The two roads agree, and training never goes back to the image files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from frostline.cli import app
from frostline.report import Predictions, read_predictions

from .conftest import make_images

BACKBONE = ("--dataset", "set", "--backbone", "timm:test_resnet")
NETWORK = (*BACKBONE, "--weights", "random", "--image-size", "32", "--device", "cpu")


@pytest.fixture
def out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command on a data set `set`; its standard output."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert not app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out.strip()

    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "images", 90)
    run("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    return run


def numbers(found: Predictions) -> np.ndarray:
    """Probabilities in the order of the images' ids."""
    table = found.table.sort_values("image_id")
    return table[[f"prob_{name}" for name in found.classes]].to_numpy()


@pytest.mark.parametrize("seed", [0, 3])
def test_unfreeze_none_agrees_with_the_papers_probe(
    tmp_path: Path, out: Callable[..., str], seed: int
) -> None:
    same = ("--protocol", "paper", "--epochs", 12, "--seed", seed)
    whole = out("finetune", *NETWORK, "--unfreeze", "none", *same, "--boundary", "off")
    whole = (tmp_path / whole).rename(tmp_path / "whole.parquet")
    # Now with activations, which are the embeddings.
    kept = out("finetune", *NETWORK, "--unfreeze", "none", *same)
    assert "0 embedded now" in out("extract", *NETWORK)
    probe = read_predictions(tmp_path / out("probe", *BACKBONE, *same))
    for path in (whole, kept):
        found = read_predictions(tmp_path / path)
        assert sorted(found.table["image_id"]) == sorted(probe.table["image_id"])
        assert found.meta["best_epoch"] == probe.meta["hyperparameters"]["best_epoch"]
        np.testing.assert_allclose(numbers(found), numbers(probe), atol=2e-6)


@pytest.mark.parametrize("unfreeze", ["1", "all"])
def test_no_image_is_opened_once_the_pixels_are_there(
    tmp_path: Path, out: Callable[..., str], unfreeze: str
) -> None:
    once = ("finetune", *NETWORK, "--epochs", 2, "--unfreeze", unfreeze)
    first = read_predictions(tmp_path / out(*once))
    shutil.rmtree(tmp_path / "images")
    out(*once, "--seed", 1)
    (tmp_path / "frostline-workspace" / "predictions" / f"{first.run}.parquet").unlink()
    again = read_predictions(tmp_path / out(*once))
    assert again.table.equals(first.table)
