"""A fine-tuning run from real files to predictions, interrupted, repeated and refused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finetune_toy import (
    HALF,
    SIZE,
    SPEC,
    draw,
    everything_task,
    fill_workspace,
    load,
    load_with_dropout,
    make_manifest,
    make_task,
)
from processes import start_script
from safetensors.torch import load_file
from sklearn.metrics import cohen_kappa_score

from frostline.cache import InputError, Store, Workspace, read_manifest, write_manifest
from frostline.extract.forward import to_input
from frostline.finetune import Execution, Recipe, finetune_run, load_model, read_card
from frostline.report import read_predictions

Pixels = Callable[[], Store]


def never() -> Any:
    raise AssertionError("finished work was opened again")


def test_predictions_of_validation_and_test(workspace: Workspace, open_pixels: Pixels) -> None:
    run, new = finetune_run(workspace, make_task(), open_pixels, load)
    assert new
    found = read_predictions(workspace.predictions(run))
    manifest = make_manifest().table
    expected = manifest[manifest["split"] == "val"], manifest[manifest["split"] == "test"]
    assert found.table["image_id"].tolist() == [i for part in expected for i in part["image_id"]]
    assert found.table["label"].tolist() == [i for part in expected for i in part["label"]]
    assert found.classes == ["low", "middle", "upper"]
    probabilities = found.table[[f"prob_{name}" for name in found.classes]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (np.array(found.classes)[probabilities.argmax(1)] == found.table["prediction"]).all()
    meta = found.meta
    assert meta["run"] == run
    assert run.startswith("toy-timm-test_resnet-paper-unfreeze-all-seed0-")
    assert meta["weights"] == "random, seed 0"
    assert meta["class_counts"] == {"low": 8, "middle": 8, "upper": 8}
    assert meta["hyperparameters"]["lr"] == 1e-3
    assert meta["trained_blocks"] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert meta["images_without_pixels"] == 0


def test_the_kept_model_gives_the_predictions_again(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    run, _ = finetune_run(workspace, make_task(), open_pixels, load)
    model, card = load_model(workspace.model(run))
    table = read_predictions(workspace.predictions(run)).table.set_index("image_id")
    numbers = [int(name[1:4]) for name in table.index]
    pixels = torch.from_numpy(np.stack([draw(n) for n in numbers]))
    with torch.inference_mode():
        logits = model(to_input(pixels, card["normalisation"], "cpu"))
    stored = table[[f"prob_{name}" for name in card["classes"]]].to_numpy()
    np.testing.assert_allclose(logits.softmax(1).numpy(), stored, atol=1e-5)
    assert len(card["history"]) == 3
    assert card["pixels"] == SPEC


def test_finished_work_is_not_opened(workspace: Workspace, open_pixels: Pixels) -> None:
    run, _ = finetune_run(workspace, make_task(), open_pixels, load)
    before = workspace.predictions(run).stat().st_mtime_ns
    assert finetune_run(workspace, make_task(), never, never) == (run, False)
    assert workspace.predictions(run).stat().st_mtime_ns == before
    assert not (workspace.model(run) / "checkpoints").exists()


def test_the_run_is_named_by_all_that_it_depends_on(workspace: Workspace) -> None:
    manifest = read_manifest(workspace.manifest("toy"))
    task = make_task()
    others = [
        replace(task, weights="of seed 1"),
        replace(task, feature="other"),
        replace(task, pixels="0" * 32),
        replace(task, mean=(0.4, 0.5, 0.5)),
        replace(task, std=(0.4, 0.5, 0.5)),
        replace(task, unfreeze="1"),
        replace(task, seed=1),
        replace(task, protocol="mine"),
        replace(task, precision="bfloat16"),
        replace(task, crop=28),
        *(
            replace(task, recipe=task.recipe.model_copy(update=change))
            for change in (
                {"epochs": 4},
                {"batch_size": 4},
                {"optimizer": "adamw"},
                {"lr": (2e-3,)},
                {"weight_decay": 0.1},
                {"schedule": "cosine"},
                {"warmup_epochs": 1},
                {"shuffle": False},
                {"select": "log_loss"},
                {"lr": (1e-3, 2e-3)},
                {"micro_batch": 2},
                {"micro_batch": "auto"},
                {"layer_decay": 0.5},
                {"clip_grad_norm": 1.0},
                {"augmentation": ("horizontal_flip",)},
                {"class_weights": "balanced"},
                {"label_smoothing": 0.1},
                {"ema": 0.9},
                {"patience": 2},
            )
        ),
    ]
    names = {other.run_id(manifest) for other in [task, *others]}
    assert len(names) == len(others) + 1
    assert replace(task, weights_source="file x.pth").run_id(manifest) == task.run_id(manifest)


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_an_ordinal_metric_selects_by_the_declared_order(
    workspace: Workspace, open_pixels: Pixels, weights: str
) -> None:
    name = f"cohen_kappa_{weights}"
    changes = {"select": name, "lr": (0.05,), "epochs": 6}
    recipe = make_task().recipe.model_copy(update=changes)
    task, manifest = make_task(recipe=recipe), make_manifest()
    with pytest.raises(
        InputError, match=rf"^{name} goes by the order .* 'toy' is \(low, middle, u"
    ):
        finetune_run(workspace, task, never, never)
    assert not workspace.model(task.backbone).parent.exists()
    runs = []
    for order in (["middle", "low", "upper"], ["low", "middle", "upper"]):
        manifest.meta["classes"] = order
        write_manifest(workspace.manifest("toy"), manifest)
        run, new = finetune_run(workspace, task, open_pixels, load)
        assert new
        found = read_predictions(workspace.predictions(run))
        val = found.table[found.table["split"] == "val"]
        kappa = cohen_kappa_score(val["label"], val["prediction"], labels=order, weights=weights)
        best = found.meta["history"][found.meta["best_epoch"] - 1]
        assert best["score"] == pytest.approx(kappa, abs=1e-12)
        runs.append(run)
    assert runs[0] != runs[1]
    plain = make_task()
    assert plain.run_id(manifest) == plain.run_id(make_manifest())


def test_a_changed_label_makes_another_run(workspace: Workspace, open_pixels: Pixels) -> None:
    run, _ = finetune_run(workspace, make_task(), open_pixels, load)
    manifest = make_manifest()
    manifest.table.loc[0, "label"] = "upper"
    write_manifest(workspace.manifest("toy"), manifest)
    again, new = finetune_run(workspace, make_task(), open_pixels, load)
    assert new
    assert again != run


def start(root: Path, what: str, moment: str, said: Path) -> ForkServerProcess:
    path = Path(__file__).with_name("killed_run.py")
    script = f"import runpy, sys; sys.path.insert(0, {str(path.parent)!r}); "
    script += f"runpy.run_path({str(path)!r}, run_name='__main__')"
    said.touch()
    return start_script(
        script, [str(root), what, moment], root, os.environ, [str(said), os.devnull]
    )


@pytest.mark.parametrize(
    ("what", "moment"),
    [
        ("plain", "after epoch 1 of learning rate 1"),
        ("plain", "at any time"),
        ("everything", "after epoch 2 of learning rate 1"),
        ("everything", "after epoch 1 of learning rate 2"),
    ],
)
def test_a_killed_run_gives_the_same_numbers_when_run_again(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path, what: str, moment: str
) -> None:
    other = fill_workspace(tmp_path / "other")
    said = tmp_path / "said"
    killed = start(other.root, what, moment, said)
    if moment == "at any time":
        while said.read_text() != "1\n":
            time.sleep(0.01)
        time.sleep(0.05)
        killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    folder = next((other.root / "models").iterdir())
    assert list((folder / "checkpoints").rglob("latest"))
    assert not (other.root / "predictions").exists()

    task, network = {
        "plain": (make_task(), load),
        "everything": (everything_task(), load_with_dropout),
    }[what]
    run, _ = finetune_run(workspace, task, open_pixels, network)
    epochs: list[Any] = []
    again = finetune_run(other, task, open_pixels, network, Execution(on_epoch=epochs.append))
    assert again == (run, True)
    assert (epochs[0].candidate, epochs[0].epoch) > (1, 1)
    left = load_file(workspace.model(run) / "model.safetensors")
    right = load_file(other.model(run) / "model.safetensors")
    assert all(torch.equal(left[name], right[name]) for name in left)
    cards = [read_card(place.model(run)) for place in (workspace, other)]
    assert without_times(cards[0]["history"]) == without_times(cards[1]["history"])
    logs = [pd.read_csv(place.model(run) / "log.csv") for place in (workspace, other)]
    assert len(logs[0]) == task.recipe.epochs * len(task.recipe.lr)
    assert logs[0].drop(columns=TIMES).equals(logs[1].drop(columns=TIMES))
    tables = [read_predictions(place.predictions(run)).table for place in (workspace, other)]
    assert tables[0].equals(tables[1])


def test_predictions_say_that_the_network_was_compiled(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model)
    other = fill_workspace(tmp_path / "other")
    run, _ = finetune_run(workspace, make_task(), open_pixels, load, Execution(compiled=True))
    assert finetune_run(other, make_task(), open_pixels, load) == (run, True)
    found, plain = (read_predictions(place.predictions(run)) for place in (workspace, other))
    assert found.meta["compiled"] is True
    assert "compiled" not in plain.meta
    assert found.table.equals(plain.table)


TIMES = ["images_per_second", "seconds"]


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: epoch[name] for name in epoch if name not in TIMES} for epoch in history]


def test_predictions_say_how_they_were_chosen(workspace: Workspace, open_pixels: Pixels) -> None:
    task = everything_task()
    run, _ = finetune_run(workspace, task, open_pixels, load_with_dropout)
    meta = read_predictions(workspace.predictions(run)).meta
    assert (meta["candidates"], meta["lr_candidates"]) == (2, [1e-3, 3e-3])
    assert meta["hyperparameters"]["lr"] in meta["lr_candidates"]
    assert meta["hyperparameters"]["micro_batch"] == 3
    assert [epoch["epoch"] for epoch in meta["history"]] == [1, 2, 3]
    best = meta["history"][meta["best_epoch"] - 1]
    assert best["score"] == max(epoch["score"] for epoch in meta["history"])
    log = pd.read_csv(workspace.model(run) / "log.csv")
    assert best["score"] == log["score"].max()
    # The kept model is of images of the crop's size, and gives the predictions of validation.
    model, card = load_model(workspace.model(run))
    assert card["pixels"]["geometry"] == {**SPEC["geometry"], "crop": SIZE - 4}  # type: ignore[dict-item]
    table = read_predictions(workspace.predictions(run)).table.set_index("image_id")
    pixels = np.stack([draw(int(name[1:4])) for name in table.index])[:, 2:-2, 2:-2]
    with torch.inference_mode():
        logits = model(to_input(torch.from_numpy(pixels), card["normalisation"], "cpu"))
    stored = table[[f"prob_{name}" for name in card["classes"]]].to_numpy()
    np.testing.assert_allclose(logits.softmax(1).numpy(), stored, atol=1e-5)


def test_an_interrupted_run_goes_on(workspace: Workspace, open_pixels: Pixels) -> None:
    def interrupt(epoch: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune_run(workspace, make_task(), open_pixels, load, Execution(on_epoch=interrupt))
    epochs: list[Any] = []
    finetune_run(workspace, make_task(), open_pixels, load, Execution(on_epoch=epochs.append))
    assert [epoch.epoch for epoch in epochs] == [2, 3]


def test_unfreeze_none_keeps_the_backbone_bit_for_bit(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    run, _ = finetune_run(workspace, make_task(unfreeze="none"), open_pixels, load)
    kept = load_file(workspace.model(run) / "model.safetensors")
    for name, value in load().model.state_dict().items():
        assert torch.equal(kept[f"backbone.{name}"], value), name


@pytest.mark.parametrize("how", ["some", "200"])
def test_a_run_that_is_refused_leaves_nothing(
    workspace: Workspace, open_pixels: Pixels, how: str
) -> None:
    with pytest.raises(InputError):
        finetune_run(workspace, make_task(unfreeze=how), open_pixels, load)
    assert not (workspace.root / "models").exists()


def test_images_without_pixels(workspace: Workspace, open_pixels: Pixels) -> None:
    manifest = make_manifest()
    manifest.table.at[5, "content_key"] = b"\0" * 16
    write_manifest(workspace.manifest("toy"), manifest)
    with pytest.raises(InputError) as caught:
        finetune_run(workspace, make_task(), open_pixels, load)
    assert str(caught.value) == (
        "1 images of data set 'toy' have no pixels in the store (the first is 'i005.png'): "
        "run it again, with --on-error skip if they cannot be read."
    )
    task = make_task(recipe=Recipe(epochs=1, batch_size=8))
    run, _ = finetune_run(workspace, replace(task, on_missing="skip"), open_pixels, load)
    found = read_predictions(workspace.predictions(run))
    assert found.meta["images_without_pixels"] == 1
    assert "i005.png" not in found.table["image_id"].to_list()


def edited(column: str, split: str, value: Any) -> Callable[[Any], None]:
    def edit(table: Any) -> None:
        table.loc[table["split"] == split, column] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            edited("split", "val", "train"),
            "Data set 'toy' has no labelled images in split val: "
            "index it again with another --val-fraction or --test-fraction.",
        ),
        (
            edited("label", "train", "low"),
            "All training images of data set 'toy' have the label 'low': "
            "training needs two classes or more.",
        ),
        (
            edited("label", "val", "unseen"),
            "No validation image of data set 'toy' has a class that training has: "
            "index it again with another --seed.",
        ),
    ],
)
def test_splits_that_cannot_be_trained(
    workspace: Workspace, open_pixels: Pixels, edit: Callable[[Any], None], message: str
) -> None:
    manifest = make_manifest()
    edit(manifest.table)
    write_manifest(workspace.manifest("toy"), manifest)
    with pytest.raises(InputError) as caught:
        finetune_run(workspace, make_task(), open_pixels, load)
    assert str(caught.value) == message


def test_unlabelled_images_are_predicted_and_not_trained(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    manifest = make_manifest()
    manifest.table.loc[[0, 4, 6], "label"] = None  # of train, val and test
    write_manifest(workspace.manifest("toy"), manifest)
    run, _ = finetune_run(workspace, make_task(), open_pixels, load)
    found = read_predictions(workspace.predictions(run))
    assert sum(found.meta["class_counts"].values()) == 23
    table = found.table.set_index("image_id")
    assert table["label"].isna().sum() == 2
    assert table["prediction"].notna().all()


def test_a_model_that_is_not_there_or_damaged(workspace: Workspace, open_pixels: Pixels) -> None:
    folder = workspace.model("nothing")
    with pytest.raises(InputError) as caught:
        load_model(folder)
    assert str(caught.value) == (f"There is no fine-tuned model in {folder}: check the run's name.")
    task = make_task(recipe=Recipe(epochs=1, batch_size=8), mean=HALF)
    run, _ = finetune_run(workspace, task, open_pixels, load)
    (workspace.model(run) / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(
        InputError, match=r"is damaged \(it is not what was written: its digest differs\): delete"
    ):
        load_model(workspace.model(run))
