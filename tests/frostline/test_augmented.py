"""`frostline finetune` with every augmentation: killed and run again; and the page's command."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from frostline.cache import Workspace
from frostline.report import read_predictions

from .conftest import Run, command, environment
from .tiny_training import TINY, epoch_lines, workspace

ROOT = Path(__file__).parents[2]
EPOCHS = 6
SETTINGS = (
    "augmentation=random_resized_crop,horizontal_flip,vertical_flip,color_jitter,rand_augment",
    "degrees=10",
    "translate=0.05",
    "scale=0.9,1.1",
    "shear=5",
    "gaussian_noise=0.02",
    "micro_batch=3",
)
AUGMENTED = (
    *(*TINY, "--epochs", str(EPOCHS), "--batch-size", "8", "--lr", "1e-3"),
    *(word for setting in SETTINGS for word in ("--set", setting)),
)


@pytest.mark.slow
def test_a_killed_training_that_goes_on_is_equal_to_the_bit(indexed: Run, tmp_path: Path) -> None:
    untouched = tmp_path / "before"
    shutil.copytree(workspace(tmp_path).root, untouched)
    whole = indexed(*AUGMENTED)
    assert whole.returncode == 0, whole.stderr
    run = Path(whole.stdout.strip()).stem
    shutil.move(workspace(tmp_path).root, tmp_path / "whole")
    shutil.move(untouched, workspace(tmp_path).root)

    process = subprocess.Popen(
        command(*AUGMENTED), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while not epoch_lines(process.stderr.readline()):
        pass
    process.kill()
    rest = process.communicate()[1]
    assert len(epoch_lines(rest)) < EPOCHS - 1
    assert not workspace(tmp_path).predictions(run).exists()

    again = indexed(*AUGMENTED)
    assert again.stdout == whole.stdout, again.stderr
    assert 0 < len(epoch_lines(again.stderr)) < EPOCHS
    places = [workspace(tmp_path), Workspace(tmp_path / "whole")]
    tables = [read_predictions(place.predictions(run)).table for place in places]
    assert tables[0].equals(tables[1])
    left, right = (load_file(place.model(run) / "model.safetensors") for place in places)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_the_pages_settings_reach_the_recipe(indexed: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    frostline finetune .*--set degrees.*$", page, re.MULTILINE)
    done = indexed(*TINY, "--epochs", 1, *" ".join(re.findall(r"--set \S+", line)).split())
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip()).stem
    meta = read_predictions(workspace(tmp_path).predictions(run)).meta
    found = {name: meta["hyperparameters"][name] for name in ("degrees", "translate", "scale")}
    assert found == {"degrees": 10.0, "translate": 0.05, "scale": [0.9, 1.1]}
    assert meta["hyperparameters"]["gaussian_noise"] == 0.02
    assert "shear" not in meta["hyperparameters"]
