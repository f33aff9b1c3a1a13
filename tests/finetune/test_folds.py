"""Cross-validation: who is in which fold, each fold as a run by hand, stopped and begun again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finetune_toy import fill_workspace, load_vit, make_manifest, make_task
from hypothesis import given
from hypothesis import strategies as st
from test_run import start

from frostline.cache import InputError, Manifest, Store, Workspace, write_manifest
from frostline.extract.splits import assign_splits
from frostline.finetune import Execution, Recipe, finetune_folds, finetune_run
from frostline.finetune.cross_validation import _describe_fold
from frostline.finetune.folds import make_folds, parse_folds, validation_share
from frostline.finetune.recipe import PAPER
from frostline.finetune.seeds import derived_seed
from frostline.finetune.task import selection
from frostline.probe.heads.scoring import score_heads, scored_groups
from frostline.probe.sweep.draws import group_folds
from frostline.report import Predictions, read_predictions
from frostline.report.predictions import predictions_table

Pixels = Callable[[], Store]
VIT = "timm:test_vit"


@st.composite
def data_sets(draw: st.DrawFn) -> Manifest:
    """Groups of one to three images, some of several classes; some images are in two groups."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = np.repeat(np.arange(40), rng.integers(1, 4, 40))
    label = rng.integers(0, 3, 40)[groups]
    label = np.where(rng.random(len(groups)) < 0.1, rng.integers(0, 3, len(groups)), label)
    content = np.where(rng.random(len(groups)) < 0.05, 0, np.arange(len(groups)))
    table = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(groups))],
            "group_id": [f"p{group}" for group in groups],
            "split": np.array(["train", "train", "val", "test"])[groups % 4],
            "label": [f"c{code}" for code in label],
            "content_key": [bytes([number]) * 16 for number in content],
        }
    )
    return Manifest(table, {"dataset": "mri"})


@given(data_sets(), st.integers(3, 5), st.integers(0, 3), st.integers(0, 2**32))
def test_folds(manifest: Manifest, count: int, repeat: int, order: int) -> None:
    images = manifest.table
    try:
        folds = make_folds(images, manifest, (count, repeat), seed=7)
    except InputError:  # a class has too few groups
        return
    heads = group_folds(images, count, repeat, "mri")
    held_out = pd.Series(0, index=images.index)
    for fold in folds:
        table = fold.manifest.table
        assert set(table["split"]) == {"train", "val", "test"}
        for name in ("group_id", "content_key"):  # equal images are never on two sides
            assert (table.groupby(name)["split"].nunique() == 1).all()
        assert set(table["label"][table["split"] == "train"]) == set(images["label"])
        np.testing.assert_array_equal(table["split"] == "test", heads == fold.number)
        held_out += table["split"] == "test"
    assert (held_out == 1).all()
    assert len({fold.seed for fold in folds}) == count
    # Neither another seed nor another order of rows moves an image.
    shuffled = images.sample(frac=1, random_state=order % 2**31).reset_index(drop=True)
    for fold, other in zip(folds, make_folds(shuffled, manifest, (count, repeat), 8), strict=True):
        assert other.seed != fold.seed
        split = other.manifest.table.set_index("image_id")["split"]
        assert split.loc[images["image_id"]].tolist() == fold.manifest.table["split"].tolist()


def test_as_many_groups_validate_as_in_the_data_sets_own_splits() -> None:
    table = pd.DataFrame(
        {
            "image_id": [f"i{number:03d}" for number in range(200)],
            "group_id": [f"p{number // 2:03d}" for number in range(200)],
            "label": np.where(np.arange(200) < 80, "rare", "usual"),
        }
    )
    for parts, share in ((("val", "val", "train", "train", "train"), 0.4), (("test",) * 5, 0.2)):
        manifest = Manifest(table.assign(split=np.array(parts)[np.arange(200) // 2 % 5]))
        assert validation_share(manifest) == share
        for fold in make_folds(table, manifest, (5, 0), 0):
            rest = fold.manifest.table.query("split != 'test'")
            for _, mine in rest.groupby("label"):
                groups = mine.groupby("split")["group_id"].nunique()
                assert groups["val"] == round(share * groups.sum())


@pytest.mark.parametrize("cv", ["5", "2x3", "5x0", "5x3x1", "-5x3", "5 x 3", ""])
def test_what_is_no_cross_validation(cv: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_folds(cv)
    assert str(caught.value) == (
        f"--cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not {cv!r}."
    )


def test_classes_of_few_groups_are_refused(workspace: Workspace) -> None:
    def sentence(cv: str, rare: list[int]) -> str:
        manifest = make_manifest()
        manifest.table["label"] = np.where(manifest.table.index.isin(rare), "rare", "usual")
        write_manifest(workspace.manifest("toy"), manifest)
        with pytest.raises(InputError) as caught:
            finetune_folds(workspace, cv, make_task(), never, never)
        assert not (workspace.root / "models").exists()
        return str(caught.value)

    assert sentence("5x1", [0, 2, 4, 6]) == (
        "Class 'rare' of data set 'toy' has images of 4 groups, too few for 5 folds: use at most "
        "4, or merge classes."
    )
    assert sentence("3x1", [0, 1, 2]) == (
        "Class 'rare' of data set 'toy' has images of 2 groups: cross-validation with selection "
        "inside needs at least 3; take the class out."
    )
    with pytest.raises(InputError) as caught:
        finetune_folds(workspace, "3x1", make_task(split="site"), never, never)
    assert str(caught.value) == (
        "--split does not go with --cv, whose folds are all the images with a label: leave one of "
        "them out."
    )


def never() -> Any:
    raise AssertionError("finished work was opened again")


def with_a_few_unlabelled(workspace: Workspace) -> Manifest:
    manifest = make_manifest()
    manifest.table.loc[[3, 17], "label"] = None
    write_manifest(workspace.manifest("toy"), manifest)
    return manifest


PROBABILITIES = ["prob_low", "prob_middle", "prob_upper"]


@pytest.mark.parametrize("unfreeze", ["1", "all"])
def test_each_fold_is_the_run_that_one_would_make_by_hand(
    workspace: Workspace, open_pixels: Pixels, unfreeze: str
) -> None:
    manifest = with_a_few_unlabelled(workspace)
    recipe = Recipe(epochs=2, batch_size=8, lr=(1e-3, 1e-4), select="log_loss")
    task = make_task(VIT, recipe=recipe, seed=5, unfreeze=unfreeze)
    ((run, new),) = finetune_folds(workspace, "3x1", task, open_pixels, load_vit)
    assert new
    found = read_predictions(workspace.predictions(run))
    images = manifest.table[manifest.table["label"].notna()].reset_index(drop=True)
    assert found.table["image_id"].tolist() == images["image_id"].tolist()
    folds = group_folds(images, 3, 0, "toy")
    assert found.table["fold"].tolist() == folds.tolist()
    for number in range(3):
        rest = images[folds != number]
        mine = pd.Series("test", index=images["image_id"])
        mine[rest["image_id"]] = assign_splits(
            rest["group_id"].tolist(),
            rest["label"].tolist(),
            [None] * len(rest),
            test_fraction=0,
            val_fraction=1 / 3,  # six groups of the toy's own splits validate, twelve train
            seed=derived_seed(0, "validation", number),
        )
        manifest.table["mine"] = manifest.table["image_id"].map(mine)
        write_manifest(workspace.manifest("toy"), manifest)
        seed = derived_seed(5, "fold", 0, number)
        by_hand = replace(task, split="mine", seed=seed)
        own = read_predictions(
            workspace.predictions(finetune_run(workspace, by_hand, open_pixels, load_vit)[0])
        )
        about = found.meta["folds"][number]
        chosen = found.meta["hyperparameters"]["folds"][number]
        assert (about["seed"], about["best_epoch"]) == (seed, own.meta["best_epoch"])
        assert chosen == own.meta["hyperparameters"]
        test = own.table[own.table["split"] == "test"].set_index("image_id")
        pooled = found.table[found.table["fold"] == number].set_index("image_id")
        assert test.index.tolist() == pooled.index.tolist()
        np.testing.assert_allclose(pooled[PROBABILITIES], test[PROBABILITIES], atol=1e-6)
        val = own.table[own.table["split"] == "val"]
        accuracy = (val["label"] == val["prediction"]).mean()
        assert about["validation"]["accuracy"] == pytest.approx(accuracy)
        score = own.meta["history"][own.meta["best_epoch"] - 1]["score"]
        assert about["validation"]["log_loss"] == pytest.approx(score)
        assert about["score"] == pytest.approx(score)


def test_what_a_repeat_says_of_itself(workspace: Workspace, open_pixels: Pixels) -> None:
    recipe = Recipe(epochs=2, batch_size=8)
    task = make_task(VIT, recipe=recipe, unfreeze="none")
    runs = finetune_folds(workspace, "3x2", task, open_pixels, load_vit)
    assert [new for _, new in runs] == [True, True]
    metas = [read_predictions(workspace.predictions(run)).meta for run, _ in runs]
    for repeat, (meta, (run, _)) in enumerate(zip(metas, runs, strict=True)):
        start = f"toy-timm-test_vit-paper-unfreeze-none-cv3-r{repeat}-seed0-"
        assert (meta["run"], run[: len(start)]) == (run, start)
        assert (meta["seed"], meta["training_seed"]) == (repeat, 0)
        assert meta["cv"] == {"folds": 3, "repeat": repeat}
        assert meta["class_counts"] == {"low": 16, "middle": 16, "upper": 16}
        assert (meta["train_groups"], meta["train_fraction"]) == (24, 1.0)
        used = [one["train_groups"] + one["val_groups"] for one in meta["folds"]]
        assert sum(used) == 2 * 24  # each group but in the fold that holds it out
        scores = [one["validation"]["accuracy"] for one in meta["folds"]]
        assert meta["validation"] == {"accuracy": pytest.approx(np.mean(scores))}
        assert "history" not in meta
        assert meta["images_without_pixels"] == 0
        # What lies with it: logs, and neither a model nor what was kept while it lasted.
        kept = sorted(path.name for path in workspace.model(run).rglob("*") if path.is_file())
        assert kept == ["log.csv"] * 3
    # One store holds what the frozen blocks give, of every image once.
    (store,) = workspace.embeddings("toy", VIT).iterdir()
    assert len(Store.open(store)) == 48
    assert finetune_folds(workspace, "3x2", task, never, never) == [(run, False) for run, _ in runs]
    # One more repeat is one more run.
    more = finetune_folds(workspace, "3x3", task, open_pixels, load_vit)
    assert more[:2] == [(run, False) for run, _ in runs]
    assert more[2][1]
    other = replace(task, seed=1)
    assert finetune_folds(workspace, "3x1", other, open_pixels, load_vit)[0][0] != runs[0][0]


@pytest.mark.parametrize(("mark", "accuracy"), [("#z=", 1.0), ("_", 0.75)])
def test_slices_of_a_patient_are_scored_as_one(mark: str, accuracy: float) -> None:
    """One slice of four is wrong, and the mean of its patient is right."""
    images = pd.DataFrame(
        {
            "image_id": [f"p{number // 2}{mark}{number % 2}" for number in range(8)],
            "group_id": [f"p{number // 2}" for number in range(8)],
            "label": np.repeat(["low", "high"], 2).tolist() * 2,
        }
    )
    low = np.array([0.9, 0.4, 0.1, 0.2])
    val = predictions_table(
        images[:4].assign(split="val"), ["high", "low"], np.stack([1 - low, low], axis=1)
    )
    about = {"run": "one", "classes": ["high", "low"], "best_epoch": 1, "history": [{"score": 0.5}]}
    found = _describe_fold(Predictions(val, about), images)
    assert found["validation"]["accuracy"] == accuracy
    assert (found["score"], found["val_groups"], found["train_groups"]) == (0.5, 2, 2)


def test_no_blocks_leave_nothing(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="^Unfreeze must be none, all"):
        finetune_folds(workspace, "3x1", make_task(unfreeze="99"), never, load_vit)
    assert not (workspace.root / "models").exists()


def slices(manifest: Manifest) -> Manifest:
    """The same images as slices of volumes, of patients with one to three of them."""
    table = manifest.table.sort_values(["split", "label"], ignore_index=True)
    table["image_id"] = [f"v{number}.nii#z={number}" for number in range(len(table))]
    sizes = [1, 3, 2, 2] * 6
    patient = np.repeat(np.arange(24), sizes)
    table["group_id"] = [f"p{n}-{label}" for n, label in zip(patient, table["label"], strict=True)]
    return Manifest(table, manifest.meta)


def test_epochs_are_chosen_on_patients_where_these_are_scored(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    write_manifest(workspace.manifest("toy"), slices(make_manifest()))
    said: list[str] = []
    task = make_task(VIT, recipe=Recipe(epochs=3, batch_size=8, lr=(1e-2,), select="log_loss"))
    run, _ = finetune_run(workspace, task, open_pixels, load_vit, Execution(said=said.append))
    found = read_predictions(workspace.predictions(run))
    val = found.table[found.table["split"] == "val"].reset_index(drop=True)
    probabilities = val[[f"prob_{name}" for name in found.classes]].to_numpy()
    codes = pd.Categorical(val["label"], categories=found.classes).codes.astype(np.int64)
    groups = scored_groups(val)
    assert groups is not None
    patients, images = (score_heads(probabilities[None], codes, one) for one in (groups, None))
    best = found.meta["history"][found.meta["best_epoch"] - 1]
    for name, field in (("log_loss", "val_loss"), ("accuracy", "val_accuracy")):
        assert best[field] == pytest.approx(patients[name][0])
    assert best["score"] == best["val_loss"] != pytest.approx(images["log_loss"][0])
    count = len(set(groups))
    expected = f"Epochs are scored on {count} groups, by the means of their {len(val)} images."
    assert expected in said
    ((run, _),) = finetune_folds(workspace, "3x1", task, open_pixels, load_vit)
    for fold in read_predictions(workspace.predictions(run)).meta["folds"]:
        assert fold["score"] == pytest.approx(fold["validation"]["log_loss"])


def test_runs_on_images_keep_their_ids_and_those_on_patients_have_new_ones() -> None:
    images = make_manifest()
    assert selection(PAPER, images) == selection(PAPER, images, split=None) == {}
    for split in ("split", None):
        assert selection(PAPER, slices(images), split=split) == {"validated": "groups"}


def test_an_image_without_pixels_is_in_no_fold(workspace: Workspace, open_pixels: Pixels) -> None:
    manifest = make_manifest()
    manifest.table.at[5, "content_key"] = b"\0" * 16
    write_manifest(workspace.manifest("toy"), manifest)
    task = make_task(VIT, recipe=Recipe(epochs=1, batch_size=8), unfreeze="none")
    with pytest.raises(InputError, match=r"^1 images of data set 'toy' have no pixels"):
        finetune_folds(workspace, "3x1", task, open_pixels, load_vit)
    skipping = replace(task, on_missing="skip")
    ((run, _),) = finetune_folds(workspace, "3x1", skipping, open_pixels, load_vit)
    found = read_predictions(workspace.predictions(run))
    assert found.meta["images_without_pixels"] == 1
    left = manifest.table.drop(index=5).reset_index(drop=True)
    assert found.table["image_id"].tolist() == left["image_id"].tolist()
    assert found.table["fold"].tolist() == group_folds(left, 3, 0, "toy").tolist()


def test_a_killed_cross_validation_trains_no_fold_twice(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path
) -> None:
    other = fill_workspace(tmp_path / "other")
    killed = start(other.root, "folds", "after 5 epochs", tmp_path / "said")
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not (other.root / "predictions").exists()
    (folder,) = (other.root / "models").glob("*/checkpoints")
    assert len(list(folder.glob("fold-0-*.parquet"))) == 1
    assert not list(folder.glob("fold-0-*/latest"))
    assert (next(folder.glob("fold-1-*")) / "latest").read_text() == "000002"

    task = make_task(VIT)
    whole = finetune_folds(workspace, "3x1", task, open_pixels, load_vit)
    epochs: list[Any] = []
    said: list[str] = []
    how = Execution(on_epoch=epochs.append, said=said.append)
    assert finetune_folds(other, "3x1", task, open_pixels, load_vit, how) == whole
    assert [epoch.epoch for epoch in epochs] == [3, 1, 2, 3]
    assert said == ["Repeat 1, fold 2 of 3.", "Repeat 1, fold 3 of 3."]
    runs = [read_predictions(place.predictions(whole[0][0])) for place in (workspace, other)]
    assert runs[0].table.equals(runs[1].table)
    assert without_times(runs[0]) == without_times(runs[1])
    assert not folder.exists()
    assert not list(other.root.rglob(".tmp-*"))


def test_a_fold_that_was_damaged_is_trained_again(
    workspace: Workspace, open_pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(VIT, recipe=Recipe(epochs=1, batch_size=8))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("frostline.finetune.cross_validation._pool", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune_folds(workspace, "3x1", task, open_pixels, load_vit)
    paths = sorted((workspace.root / "models").glob("*/checkpoints/*.parquet"))
    assert len(paths) == 3
    data = bytearray(paths[1].read_bytes())
    data[len(data) // 2] ^= 1
    paths[1].write_bytes(data)
    said: list[str] = []
    finetune_folds(workspace, "3x1", task, open_pixels, load_vit, Execution(said=said.append))
    assert said == ["Repeat 1, fold 2 of 3."]


def without_times(run: Predictions) -> list[dict[str, Any]]:
    times = ("images_per_second", "seconds")
    return [
        one
        | {"history": [{k: v for k, v in row.items() if k not in times} for row in one["history"]]}
        for one in run.meta["folds"]
    ]
