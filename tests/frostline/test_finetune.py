"""`frostline finetune` as a user runs it: settings, logs, details, a training that diverges."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from frostline.finetune import read_card
from frostline.report import read_predictions

from .conftest import Run
from .tiny_training import TINY, epoch_lines, workspace
from .trackers import read_tensorboard

PROBE = ("probe", *TINY[1:5], "--feature", "cls", "--head", "centroid")


def test_settings_reach_the_recipe_and_what_was_measured_is_logged(
    indexed: Run, tmp_path: Path
) -> None:
    done = indexed(
        *TINY,
        "--epochs",
        2,
        "--batch-size",
        "auto",
        "--lr",
        "1e-3,3e-4",
        "--set",
        "select=roc_auc",
        "--set",
        "augmentation=random_crop,horizontal_flip",
        "--set",
        "ema=0.9",
        "--set",
        "clip_grad_norm=1",
        "--track",
        "tensorboard",
    )
    assert done.returncode == 0, done.stderr
    lines = epoch_lines(done.stderr)
    assert [line.partition("  train loss")[0] for line in lines] == [
        f"lr {number}/2  epoch {epoch}/2" for number in (1, 2) for epoch in (1, 2)
    ]
    assert all(" images/s  0:00:" in line for line in lines)
    # The path is all of standard output; the score is for people.
    run = Path(done.stdout.strip()).stem
    score = r"accuracy \d+\.\d% \[.*\] on 16 test images; majority class \d+\.\d%"
    assert re.fullmatch(score, done.stderr.splitlines()[-1])
    meta = read_predictions(workspace(tmp_path).predictions(run)).meta
    settings = meta["hyperparameters"]
    assert (settings["epochs"], settings["ema"], settings["clip_grad_norm"]) == (2, 0.9, 1.0)
    assert settings["augmentation"] == ["random_crop", "horizontal_flip"]
    assert (meta["candidates"], meta["lr_candidates"]) == (2, [1e-3, 3e-4])
    folder = workspace(tmp_path).model(run)
    # Crops by chance want a larger square at rest; what the network sees is as it was asked for.
    (store,) = (tmp_path / "frostline-workspace" / "pixels" / "set").iterdir()
    assert (store.name, meta["store_key"]) == (meta["store_key"], store.name)
    assert read_card(folder)["pixels"]["geometry"]["crop"] == 32
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["candidate"], row["epoch"]) for row in rows] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]
    scores = [float(row["score"]) for row in rows]
    assert max(scores) == meta["history"][meta["best_epoch"] - 1]["score"]
    held = read_tensorboard(tmp_path / "frostline-workspace" / "tensorboard")[run]
    for number, own in ((1, scores[:2]), (2, scores[2:])):
        values = [value for _, value in held.epochs[f"candidate-{number}/score"]]
        assert values == pytest.approx(own)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ("--lr", "1e6", "--batch-size", "7"),
            r"The loss is (nan|inf) in epoch 1, batch \d \(images .*\)",
        ),
        # One batch an epoch: its loss is finite, and what it leaves is not.
        (
            ("--lr", "1e6"),
            "Training diverged: after epoch 1 the network gives no finite numbers for the "
            "validation images",
        ),
    ],
)
def test_a_training_that_diverges_says_so(
    indexed: Run, tmp_path: Path, settings: tuple[str, ...], sentence: str
) -> None:
    done = indexed(*TINY, *settings)
    remedy = r"try a lower learning rate than 1e\+06, or --precision float32."
    assert re.fullmatch(f"Error: {sentence}: {remedy}\n", done.stderr)
    assert done.returncode == 2
    assert not (tmp_path / "frostline-workspace" / "predictions").exists()


def test_a_finished_run_says_which_options_changed_nothing(indexed: Run, tmp_path: Path) -> None:
    first = (*TINY, "--epochs", 1, "--unfreeze", 1)
    again = (*first, "--boundary", "off", "--compile")
    done = indexed(*first)
    assert "changed nothing" not in done.stderr + indexed(*first).stderr
    path = Path(done.stdout.strip())
    said, score = indexed(*again).stderr.splitlines()
    assert said == (
        "The run finished before, and --boundary and --compile changed nothing: how a training "
        f"is carried out is no part of what it is. To train again, delete it first: {path}."
    )
    assert score == done.stderr.splitlines()[-1]
    (tmp_path / path).unlink()
    trained = indexed(*again[:-1])
    assert (len(epoch_lines(trained.stderr)), "changed nothing" in trained.stderr) == (1, False)


def test_details_say_the_device_and_the_stores(indexed: Run, tmp_path: Path) -> None:
    arguments = ["extract", *TINY[1:], "--feature", "cls", "--feature", "mean"]
    done = indexed(*arguments, "-v")
    assert done.returncode == 0, done.stderr
    place = Path("frostline-workspace")
    (pixels,) = (tmp_path / place / "pixels" / "set").iterdir()
    first, *stores = done.stderr.splitlines()[:3]
    assert first == f"Computing on cpu in float32; pixels in {place / 'pixels/set' / pixels.name}."
    folder = place / "embeddings" / "set" / "timm%3Atest_vit"
    named = [f"Embeddings in {folder / store.name}." for store in (tmp_path / folder).iterdir()]
    assert sorted(stores) == sorted(named)
    again = indexed(*arguments)
    assert "Computing on" not in again.stderr
    tuned = indexed(*TINY, "--epochs", 1, "-v")
    assert tuned.stderr.splitlines()[0] == first
    for arguments in (PROBE, ("sweep", *PROBE[1:])):
        lines = indexed(*arguments, "-v").stderr.splitlines()
        said = [line for line in lines if " took " not in line]
        assert said[0] in [f"{store[:-1]}: feature cls." for store in stores]
        assert said[1].startswith("Head centroid: 1 run, 1 candidate on validation, ")
        assert "Embeddings in" not in indexed(*arguments).stderr
