"""`frostline finetune` as a user runs it: settings, logs, Ctrl-C, several processes."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.cache import InputError, Workspace, read_manifest
from frostline.commands.cli import USAGE_ERROR, app
from frostline.commands.groups import RecipeOptions
from frostline.finetune import Recipe, read_card
from frostline.finetune.training.logs import TensorBoard
from frostline.report import read_predictions
from frostline.study.file import ProtocolEntry, parse_study

from .conftest import Run, command, environment

TINY = (
    "finetune",
    "--dataset",
    "set",
    "--backbone",
    "timm:test_vit",
    "--weights",
    "random",
    "--image-size",
    "32",
    "--device",
    "cpu",
)
# Ctrl-C is heard, which a shell that runs the tests in the background has its children ignore.
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


def make_stripes(root: Path, count: int) -> None:
    """Photographs of two kinds, 36 pixels a side, each of another patient."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = "sick" if number // 2 % 2 else "well"
        pixels = rng.integers(0, 60, (36, 36, 3), dtype=np.uint8)
        pixels[:: 3 if label == "sick" else 5] += 120
        path = root / label / f"patient{number:03d}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def indexed(tmp_path: Path, frostline: Run) -> Run:
    """A data set `set` of 51 images: 28 train, 7 validate and 16 test."""
    make_stripes(tmp_path / "images", 51)
    done = frostline("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    assert done.returncode == 0, done.stderr
    return frostline


@pytest.fixture
def indexed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set `set` in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_stripes(Path("images"), 12)
    app(["index", "set", "--root", "images"], standalone_mode=False)


def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "frostline-workspace")


def epoch_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "  train loss " in line]


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
        "--tensorboard",
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
    assert logged(folder / "tensorboard", "score") == {
        "candidate-1": pytest.approx(scores[:2]),
        "candidate-2": pytest.approx(scores[2:]),
    }


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


def test_a_field_for_blocks_is_refused_where_none_trains(frostline: Run) -> None:
    done = frostline(*TINY, "--unfreeze", "none", "--set", "layer_decay=0.5")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: With unfreeze none the head alone trains, and layer_decay is for blocks: leave it "
        "out, or let blocks train.\n",
    )


def logged(folder: Path, name: str) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path in folder.iterdir():
        events = EventAccumulator(str(path))
        events.Reload()
        found[path.name] = [event.value for event in events.Scalars(name)]
    return found


def test_a_setting_that_is_none_of_the_recipes(frostline: Run) -> None:
    done = frostline(*TINY, "--lr", "1e-3,1e-4", "--set", "emma=0.9")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: The recipe has no field 'emma': there are epochs, batch_size, optimizer, lr, "
        "weight_decay, schedule, warmup_epochs, shuffle, select, micro_batch, layer_decay, "
        "clip_grad_norm, augmentation, class_weights, label_smoothing, ema, patience.\n",
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("ema", "--set is FIELD=VALUE, such as ema=0.999, not 'ema'."),
        ("lr=1e-4", "The field 'lr' is given twice: give it once."),
    ],
)
def test_a_setting_that_cannot_be(setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        RecipeOptions(lr="1e-3", setting=[setting]).changes()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("finetune", "--weights-seed", "3"),
            "--weights-seed is for --weights random, not 'pretrained': leave it out.",
        ),
        (
            ("extract", "--weights-seed", "0", "--weights", "x.pth"),
            "--weights-seed is for --weights random, not 'x.pth': leave it out.",
        ),
        (
            ("extract", "--head-weights", "x.pth"),
            "--head-weights is for --feature imagenet-logits: leave it out.",
        ),
        (
            ("extract", "--fail-on-skip"),
            "--fail-on-skip is for --on-error skip: give both, or neither.",
        ),
        (
            ("extract", "--engine", "onnx", "--precision", "bfloat16"),
            "--engine onnx computes float32 on a CPU, not bfloat16 on cpu: leave out --device and "
            "--precision, or use --engine torch.",
        ),
        (
            ("extract", "--shard", "0/2"),
            "--shard is not for torchrun, whose processes are the shards: leave it out.",
        ),
        (
            ("finetune", "--feature", "imagenet-logits"),
            "Feature 'imagenet-logits' is for `extract`: choose another to train on.",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    indexed_here: None,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    if "--shard" in arguments:
        monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError) as caught:
        app([*arguments, "-d", "set", "-b", "effnet-lite0"], standalone_mode=False)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (("finetune", "--protocol", "best"), "'paper', 'standard'"),
        (("finetune", "--boundary", "maybe"), "'auto', 'on', 'off'"),
        (("finetune", "--precision", "float8"), "'float32', 'bfloat16', 'float16'"),
        (("extract", "--engine", "tensorrt"), "'torch', 'onnx'"),
        (("extract", "--on-error", "no"), "'stop', 'skip'"),
    ],
)
def test_closed_lists_are_choices(arguments: tuple[str, ...], choices: str) -> None:
    with pytest.raises(USAGE_ERROR) as caught:
        app([*arguments, "-d", "set", "-b", "effnet-lite0"], standalone_mode=False)
    assert choices in caught.value.format_message()


def test_settings_are_read_from_text() -> None:
    found = RecipeOptions(epochs=3, setting=["lr=1e-3,1e-4", "select=f1_macro"]).changes()
    assert found == {"epochs": 3, "lr": "1e-3,1e-4", "select": "f1_macro"}


def test_without_tensorboard_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError) as caught:
        TensorBoard(tmp_path)
    assert str(caught.value) == (
        "--tensorboard needs TensorBoard: run `pip install 'frostline[tensorboard]'`."
    )


def test_ctrl_c_keeps_the_best_so_far_and_the_next_run_goes_on(
    indexed: Run, tmp_path: Path
) -> None:
    arguments = command(*TINY, "--epochs", 400, "--set", "patience=6", "--lr", "1e-9")
    process = subprocess.Popen(
        [sys.executable, "-c", HEARD + arguments[2], *arguments[3:]],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    seen: list[str] = []
    while len(epoch_lines("".join(seen))) < 2:
        seen.append(process.stderr.readline())
    process.send_signal(signal.SIGINT)
    rest = process.communicate()[1].splitlines()
    assert process.returncode == 130
    assert rest[-1] == "Interrupted: run the same command again to go on from what is finished."
    lines = epoch_lines("".join(seen)) + epoch_lines("\n".join(rest))
    (folder,) = (tmp_path / "frostline-workspace" / "models").iterdir()
    kept = folder / "checkpoints" / (folder / "checkpoints" / "latest").read_text()
    # The epoch that was being told may have been saved before its line was.
    assert int(kept.name) in (len(lines), len(lines) + 1)
    assert {path.name for path in kept.iterdir()} == {
        "best.safetensors",
        "optimizer.pt",
        "state.json",
        "weights.safetensors",
    }
    again = indexed(*TINY, "--epochs", 400, "--set", "patience=6", "--lr", "1e-9")
    assert again.returncode == 0, again.stderr
    first = epoch_lines(again.stderr)[0]
    assert first.startswith(f"epoch {int(kept.name) + 1:3d}/400  train loss")
    with (folder / "log.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == list(range(1, len(epochs) + 1))


def torchrun(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes on this CPU."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            *map(str, arguments),
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


SHARED = (
    "--epochs",
    2,
    "--batch",
    5,
    "--lr",
    "1e-3",
    "--set",
    "micro_batch=2",
    "--set",
    "class_weights=balanced",
    "--set",
    "augmentation=horizontal_flip",
    "--set",
    "ema=0.5",
    "--set",
    "clip_grad_norm=1",
)


def test_two_processes_train_as_one(indexed: Run, tmp_path: Path) -> None:
    one = indexed(*TINY, *SHARED)
    assert one.returncode == 0, one.stderr
    path = tmp_path / one.stdout.strip()
    expected = read_predictions(path)
    path.unlink()
    two = torchrun(tmp_path, "-m", "frostline", *TINY, *SHARED)
    assert two.returncode == 0, two.stderr
    assert two.stdout == one.stdout  # said once
    assert two.stderr.count("epoch 1/2") == 1
    found = read_predictions(path)
    manifest = read_manifest(workspace(tmp_path).manifest("set")).table
    scored = manifest["image_id"][manifest["split"].isin(["val", "test"])]
    assert sorted(found.table["image_id"]) == sorted(scored)
    # Neither batches nor validation images are the same number in both processes.
    assert [sum(manifest["split"] == name) for name in ("train", "val")] == [28, 7]
    for name in ("train_loss", "val_loss", "val_accuracy"):
        one_epochs, two_epochs = (
            [epoch[name] for epoch in run.meta["history"]] for run in (expected, found)
        )
        assert two_epochs == pytest.approx(one_epochs, abs=2e-4), name
    columns = ["prob_sick", "prob_well"]
    np.testing.assert_allclose(found.table[columns], expected.table[columns], atol=1e-3)
    assert found.table["image_id"].tolist() == expected.table["image_id"].tolist()


@pytest.mark.slow
def test_batch_norm_is_not_trained_by_several_processes_on_cpus(
    indexed: Run, tmp_path: Path
) -> None:
    arguments = ["timm:test_resnet" if a == "timm:test_vit" else a for a in TINY]
    done = torchrun(tmp_path, "-m", "frostline", *arguments, "--epochs", 1)
    assert done.returncode != 0
    assert (
        "Error: Batch norm (backbone.conv1.1) cannot be trained by several processes on CPUs: use "
        "one process, GPUs, or a backbone without batch norm.\n"
    ) in done.stderr
    assert not (tmp_path / "frostline-workspace" / "predictions").exists()


ONE_FAILS = """
import os
from frostline.cache import InputError
import frostline.finetune.training.epochs as train
from frostline.commands.cli import main

measure = train.measure

def fails(*arguments):
    if os.environ["RANK"] == "1":
        raise InputError("Something is wrong in the second process.")
    return measure(*arguments)

train.measure = fails
main()
"""


@pytest.mark.slow
def test_an_error_in_one_process_ends_all(indexed: Run, tmp_path: Path) -> None:
    (tmp_path / "one_fails.py").write_text(ONE_FAILS)
    done = torchrun(tmp_path, "one_fails.py", *TINY, "--epochs", 50, "--lr", "1e-3")
    assert done.returncode != 0
    assert done.stderr.count("Error: Something is wrong in the second process.") == 1
    assert not (tmp_path / "frostline-workspace" / "predictions").exists()


def study(**protocol: Any) -> Any:
    return {
        "name": "s",
        "datasets": {"a": {"root": "x"}},
        "backbones": ["resnet50"],
        "protocols": {"p": protocol},
    }


def test_every_field_of_a_recipe_can_be_set_in_a_study() -> None:
    assert Recipe.model_fields.keys() <= ProtocolEntry.model_fields.keys()
    entry = parse_study(
        study(
            recipe="standard",
            unfreeze="all",
            batch="auto",
            lr=["1e-3", 1e-4],
            ema="0.99",
            augmentation="horizontal_flip",
            select="roc_auc",
            epochs=4,
        ),
        "s.yaml",
    ).protocols["p"]
    assert entry.changes() == {
        "micro_batch": "auto",
        "lr": (1e-3, 1e-4),
        "ema": 0.99,
        "epochs": 4,
        "augmentation": ("horizontal_flip",),
        "select": "roc_auc",
    }
    assert parse_study(study(batch=8), "s.yaml").protocols["p"].changes() == {"batch_size": 8}


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"ema": 2}, "protocols.p.ema must be less than 1, not 2."),
        ({"batch": 0}, "protocols.p.batch must be greater than or equal to 1 or 'auto', not 0."),
        ({"lr": 0}, "protocols.p.lr must be greater than 0, not 0."),
        (
            {"unfreeze": "all", "recipe": "standard", "warmup_epochs": 40},
            "protocols.p: The recipe: warmup_epochs must be less than epochs, not 40.",
        ),
        (
            {"batch": 8, "batch_size": 4},
            "protocols.p: The keys batch and batch_size say the same: give one of them.",
        ),
        (
            {"unfreeze": "none", "lr": [1e-3, 1e-4]},
            "protocols.p: A head on cached embeddings takes one lr: `frostline sweep` compares "
            "several.",
        ),
    ],
)
def test_what_a_study_cannot_set(protocol: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study(study(**protocol), "s.yaml")
    assert str(caught.value) == f"s.yaml: {message}"
