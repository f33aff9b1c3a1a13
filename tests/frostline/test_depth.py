"""`frostline depth`: both roads by one command, once; the answer in words, numbers, pictures."""

from __future__ import annotations

import json
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn

import frostline as package
from frostline.cache import (
    EMBEDDINGS,
    InputError,
    Store,
    StoreWriter,
    Workspace,
    find_stores,
    part_files,
)
from frostline.extract.phantom import make_phantom_glioma
from frostline.report import read_predictions

from .conftest import Run, command, environment, make_images

VIT = ("--weights", "random", "--image-size", "32")
DEPTH = ("depth", "-d", "chest", "-b", "timm:test_vit", *VIT)
TINY = {"weights": "random", "image_size": 32}
EPOCH = ("--epochs", "1", "--lr", "1e-3", "--cv", "none")
TRAIN = ("--train", "1,all,scratch", "--seeds", "0,1", *EPOCH)


@pytest.fixture
def indexed(tmp_path: Path, frostline: Run) -> Path:
    make_images(tmp_path / "images", 40)
    done = frostline("index", "chest", "--root", "images", "--group-pattern", "(patient[0-9]+)")
    assert done.returncode == 0, done.stderr
    return tmp_path


def read(place: Path) -> tuple[pd.DataFrame, dict]:
    folder = place / "frostline-workspace" / "reports" / "depth-chest" / "tables"
    (said,) = json.loads((folder / "depth.json").read_text(encoding="utf-8"))["datasets"]
    return pd.read_csv(folder / "depth.csv"), said


def runs(place: Path) -> dict[str, int]:
    folder = place / "frostline-workspace" / "predictions"
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_both_roads_by_one_command(indexed: Path, frostline: Run) -> None:
    done = frostline(*DEPTH, *TRAIN)
    assert done.returncode == 0, done.stderr
    table, said = read(indexed)
    # The class token of the stem has seen nothing of the image.
    assert table["road"].tolist() == ["read"] * 6 + ["train", "train", "scratch"]
    assert table["depth"].tolist() == [1, 2, 3, 4, 5, 6, 5, -1, -1]
    assert table["cost"][:6].is_monotonic_increasing
    assert table["cost"][5] == 1
    assert table["unfreeze"].tolist() == ["none"] * 6 + ["1", "all", "all"]
    assert table["seeds"].tolist() == [1] * 6 + [2, 2, 2]
    assert table.groupby("road")["chosen"].sum().to_dict() == {"read": 1, "train": 1, "scratch": 0}
    printed = " ".join(done.stdout.split())
    assert printed.startswith(" ".join(said["sentences"]))
    assert printed.startswith("Read timm:test_vit at ")
    for part in ("1", "all", "scratch"):
        assert f"chest/timm:test_vit/depth:{part}/1: " in done.stderr
    assert sum("◀ chosen" in line for line in done.stdout.splitlines()) == 2
    folder = indexed / "frostline-workspace" / "reports" / "depth-chest"
    assert {path.name for path in (folder / "figures").glob("depth-*")} == {
        f"depth-chest.{kind}" for kind in ("png", "pdf", "svg")
    }
    # Every point is an ordinary run, which is not done again, and other commands know it.
    before = runs(indexed)
    assert len(before) == 6 + 2 * 2  # of random weights, all is from scratch
    again = frostline(*DEPTH, *TRAIN)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert runs(indexed) == before
    alone = frostline("finetune", "-d", "chest", "-b", "timm:test_vit", *VIT, "--unfreeze", "1")
    assert alone.returncode == 0
    one = frostline(
        "probe",
        "-d",
        "chest",
        "-b",
        "timm:test_vit",
        "--feature",
        "layer:blocks.2:cls",
        "--head",
        "logistic",
        "--protocol",
        "standard",
    )
    assert one.returncode == 0
    assert Path(one.stdout.splitlines()[0]).name in before


@pytest.mark.slow
def test_training_is_said_with_the_time_of_embedding_and_reading(
    indexed: Path, frostline: Run
) -> None:
    workspace = Workspace(indexed / "frostline-workspace")
    words = ("--train", "all", "--epochs", "20", "--lr", "1e-3", "--cv", "none")
    assert frostline(*DEPTH, "--cv", "none").returncode == 0
    stores = {path.name: Store.open(path) for path in find_stores(folder_of(workspace))}
    assert all(0 < store.seconds < 60 for store in stores.values())
    done = frostline(*DEPTH, *words)
    assert done.returncode == 0, done.stderr
    table, said = read(indexed)
    for one in table[table["road"] == "read"].itertuples():
        meta = read_predictions(workspace.predictions(one.run)).meta
        assert one.seconds == pytest.approx(stores[meta["store_key"]].seconds + meta["seconds"])
    chosen = table[table["chosen"]].set_index("road")["seconds"]
    ratio = chosen["train"] / chosen["read"]
    times = f", at {ratio:.{0 if ratio >= 10 else 1}f} times the time that embedding and reading"
    (sentence,) = [one for one in said["sentences"] if "raining the whole network" in one]
    assert (times in sentence) == (ratio >= 1.5)


def folder_of(workspace: Workspace) -> Path:
    return workspace.embeddings("chest", "timm:test_vit")


@pytest.mark.slow
def test_stores_that_do_not_say_their_time_say_nothing_of_times(
    indexed: Path, frostline: Run
) -> None:
    assert (
        frostline("extract", *DEPTH[1:], "--protocol", "standard", "--feature", "blocks").returncode
        == 0
    )
    for folder in find_stores(folder_of(Workspace(indexed / "frostline-workspace"))):
        store = Store.open(folder)
        rows = store.read(np.arange(len(store)))
        for path in part_files(folder):
            path.unlink()
        with StoreWriter(folder, EMBEDDINGS, store.spec, store.provenance) as writer:
            writer.append(store.keys, rows)  # as release 0.1 wrote it
    done = frostline(*DEPTH, "--train", "all", *EPOCH)
    assert done.returncode == 0, done.stderr
    table, said = read(indexed)
    assert table["seconds"].isna().tolist() == [True] * 6 + [False]
    assert not any("the time" in sentence for sentence in said["sentences"])


@pytest.mark.slow
def test_few_groups_are_read_by_cross_validation(indexed: Path, frostline: Run) -> None:
    done = frostline(*DEPTH)
    assert done.returncode == 0, done.stderr
    assert "under 100, so that one split cannot answer: 5x3 cross-validation does" in done.stderr
    table, said = read(indexed)
    assert table["road"].tolist() == ["read"] * 6 + ["nested"]
    assert table["seeds"].tolist() == [3] * 7
    assert table["n_units"].nunique() == 1
    assert said["sentences"][0].endswith("with the choice repeated in every fold.")
    # Every patient is a test patient once in a repeat.
    manifest = package.Workspace(indexed / "frostline-workspace").index(
        "chest", indexed / "images", group_pattern="(patient[0-9]+)"
    )
    assert table["n_units"].iloc[0] == manifest.table["group_id"].nunique()
    split = frostline(*DEPTH, "--cv", "none")
    assert split.returncode == 0, split.stderr
    assert set(read(indexed)[0]["road"]) == {"read"}


@pytest.mark.slow
def test_slices_choose_by_patient_as_evaluate_scores_them(tmp_path: Path, frostline: Run) -> None:
    make_phantom_glioma(tmp_path / "glioma", 30)
    pattern = "{patient}/{patient}_%s.nii.gz"
    volumes = ("--kind", "mri-slices", "--image", pattern % "flair", "--mask", pattern % "mask")
    columns = ("--group-column", "patient_id", "--label-column", "grade")
    made = frostline(
        "index", "chest", "--root", "glioma", *volumes, "--table", "glioma/labels.csv", *columns
    )
    assert made.returncode == 0, made.stderr
    done = frostline(*DEPTH, "--cv", "none", "--metric", "log_loss")
    assert done.returncode == 0, done.stderr
    table, _ = read(tmp_path)
    files = [tmp_path / f"frostline-workspace/predictions/{run}.parquet" for run in table["run"]]
    words = ("--split", "val", "--metric", "log_loss", "--format", "csv")
    said = frostline("evaluate", *files, *words)
    assert said.returncode == 0, said.stderr
    scores = pd.read_csv(StringIO(said.stdout)).set_index("run")["estimate"]
    assert table["val_estimate"].tolist() == pytest.approx(scores[table["run"]].tolist())
    for path, one in zip(files, table.itertuples(), strict=True):
        result = read_predictions(path)
        val = result.table[result.table["split"] == "val"]
        assert one.val_units == val["group_id"].nunique() < len(val) / 3
        # What chose the strength is the same score, of heads that were trained side by side.
        assert result.meta["validation"]["log_loss"] == pytest.approx(one.val_estimate, rel=0.02)


@pytest.mark.slow
def test_two_backbones_are_one_picture(indexed: Path, frostline: Run) -> None:
    done = frostline(*DEPTH, "-b", "timm:test_resnet", "--metric", "roc_auc")
    assert done.returncode == 0, done.stderr
    assert "one split says little, and folds do not choose by roc_auc." in done.stderr
    table, said = read(indexed)
    assert list(table["backbone"].unique()) == ["timm:test_vit", "timm:test_resnet"]
    assert set(said["places"]) == {"timm:test_vit", "timm:test_resnet"}
    assert set(table["metric"]) == {"roc_auc"}
    assert sum(sentence.startswith("Read timm:") for sentence in said["sentences"]) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--train", "9"],
            "Backbone 'timm:test_vit' has 6 blocks behind its first, fewer than the 9",
        ),
        (
            ["--train", "half"],
            "--train takes numbers of last blocks, lora, lora:N, all and scratch, such as",
        ),
        (
            ["--train", ""],
            "--train takes numbers of last blocks, lora, lora:N, all and scratch, such as",
        ),
        (["--train", "1,1"], "--train names 1 twice: name it once."),
        (["--cv", "5"], "--cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not '5'."),
        (
            ["--cv", "5x3", "--metric", "roc_auc"],
            "With --cv the depth is chosen by one of log_loss",
        ),
        (["--metric", "acuracy"], "acuracy"),
        (
            ["--metric", "f1_per_class"],
            "f1_per_class is a number for each class: name one, as in f1[CLASS].",
        ),
        (
            ["--metric", "calibration_slope"],
            "calibration_slope does not say which method is better",
        ),
        (
            ["--epochs", "3"],
            "The recipe's epochs is for what is trained: give --train, or leave it",
        ),
        (["--seeds", "0,0"], "--seeds takes different whole numbers, such as 0,1,2, not '0,0'."),
        (["--feature", "cls"], "--feature is blocks or blocks:POOLING here, not 'cls'."),
        (["-b", "timm:test_vit"], "Backbone 'timm:test_vit' is given twice: give it once."),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(
    indexed: Path, frostline: Run, words: list[str], sentence: str
) -> None:
    done = frostline(*DEPTH, *words)
    assert done.returncode != 0
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (indexed / "frostline-workspace" / "embeddings").exists()


@pytest.mark.slow
def test_the_same_in_python(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(indexed)
    ws = package.Workspace()
    found = ws.depth("chest", "timm:test_vit", cv=None, **TINY)
    assert found.table["road"].unique().tolist() == ["read"]
    assert found.sentences[0].startswith("Read timm:test_vit at ")
    assert found.sentences[0] in found._repr_html_()
    assert "<svg" in found._repr_html_()
    assert found.figure().axes
    assert repr(found) == "\n".join(found.sentences)
    with pytest.raises(InputError, match="train takes numbers of last blocks"):
        ws.depth("chest", "timm:test_vit", train=["half"], **TINY)
    with pytest.raises(InputError, match="not 'half'"):
        ws.depth("chest", "timm:test_vit", train="half", **TINY)
    with pytest.raises(InputError, match=r"^The recipe's epochs is for what is trained"):
        ws.depth("chest", "timm:test_vit", epochs=3, **TINY)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"feature": "cls"}, "feature is blocks or blocks:POOLING here, not 'cls'."),
        ({"weights": "pretrained", "weights_seed": 1}, "weights_seed is for weights random, not"),
        ({"weights_seed": "one"}, "weights_seed must be a whole number from 0 to 4294967295, not"),
        ({"image_size": 0}, "image_size must be a whole number from 1 to 4096, not 0."),
        ({"seeds": [0, 0]}, "seeds takes different whole numbers, such as 0,1,2, not '0,0'."),
        ({"seeds": [-1]}, "seeds must be a whole number from 0 to 4294967295, or several"),
        ({"machine": package.Machine(on_error="no")}, "on_error must be 'stop' or 'skip', not"),
    ],
)
def test_a_mistake_is_called_as_what_was_given(
    indexed: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(indexed)
    with pytest.raises(InputError) as caught:
        package.Workspace().depth("chest", "timm:test_vit", **{**TINY, **given})
    assert str(caught.value).startswith(sentence)


def test_what_fails_is_a_run(indexed: Path, frostline: Run) -> None:
    (indexed / "images" / "well" / "patient000_0.png").unlink()
    done = frostline(*DEPTH)
    assert done.returncode == 1
    assert "1 run failed:\n  chest/timm:test_vit/depth/0: " in done.stdout


@pytest.mark.parametrize("given", [{"weights": "random"}, {"train": "scratch", "epochs": 1}])
def test_a_module_without_random_weights_is_refused_first(
    indexed: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    class Stages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3))

        def forward(self, images: Tensor) -> Tensor:
            return self.features(images).mean((2, 3))

    monkeypatch.chdir(indexed)
    with pytest.raises(InputError, match="how to draw random weights for module 'Stages'"):
        package.Workspace().depth("chest", Stages(), image_size=32, **given)
    assert not (indexed / "frostline-workspace" / "embeddings").exists()


def test_images_on_which_nothing_can_be_chosen_are_refused_first(
    tmp_path: Path, frostline: Run
) -> None:
    make_images(tmp_path / "images", 24)
    paths = sorted(path.relative_to(tmp_path) for path in (tmp_path / "images").rglob("*.png"))
    rows = pd.DataFrame({"path": map(str, paths)})
    rows["grade"] = [("low", "middle", "high")[i % 3] for i in range(len(rows))]
    rows["split"] = [("train", "train", "val", "test")[i // 3 % 4] for i in range(len(rows))]
    rows["noval"] = rows["split"].replace("val", "train")
    rows["notest"] = rows["split"].replace("test", "val")
    low = rows["grade"] == "low"
    rows["oneval"] = rows["split"].where(low | (rows["split"] != "val"), "train")
    rows["onetest"] = rows["split"].where(low | (rows["split"] != "test"), "train")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    table = ("--kind", "table", "--table", "rows.csv", "--image-column", "path")
    columns = ("--label-column", "grade", "--split-column", "split")
    made = frostline("index", "chest", "--root", ".", *table, *columns)
    assert made.returncode == 0, made.stderr
    for words, sentence in (
        (("--split", "notest"), "has no test image with a label (columns 'label' and 'notest')"),
        (("--split", "noval"), "has no validation image with a label"),
        (("--metric", "cohen_kappa_quadratic"), "goes by the order of the classes"),
        (("--split", "oneval"), "has val images of class 'low' alone, by which no depth can be"),
        (
            ("--split", "onetest", "--metric", "roc_auc"),
            "has test images of class 'low' alone, by which no depth can be scored by roc_auc",
        ),
    ):
        done = frostline(*DEPTH, "--cv", "none", *words)
        assert done.returncode != 0
        assert sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "frostline-workspace" / "embeddings").exists()


@pytest.mark.slow
def test_folds_are_no_more_than_a_class_has_groups(tmp_path: Path, frostline: Run) -> None:
    make_images(tmp_path / "images", 24)
    paths = sorted(path.relative_to(tmp_path) for path in (tmp_path / "images").rglob("*.png"))
    rows = pd.DataFrame({"path": map(str, paths)})
    rows["label"] = ["ab"[i % 2] for i in range(len(rows))]
    rows["four"] = [f"p{i // 2 % 4}" for i in range(len(rows))]
    rows["two"] = [f"p{i // 2 % 2}" for i in range(len(rows))]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    table = ("--kind", "table", "--table", "rows.csv", "--image-column", "path")
    for patient in ("four", "two"):
        columns = ("--label-column", "label", "--group-column", patient)
        made = frostline("index", patient, "--root", ".", *table, *columns)
        assert made.returncode == 0, made.stderr
    words = DEPTH[3:]
    done = frostline("depth", "-d", "four", *words)
    assert done.returncode == 0, done.stderr
    assert "one split cannot answer: 4x3 cross-validation does" in done.stderr
    done = frostline("depth", "-d", "two", *words)
    assert "its rarest class has too few groups for cross-validation." in done.stderr


@pytest.mark.slow
def test_test_images_of_one_class_have_a_page(tmp_path: Path, frostline: Run) -> None:
    """Curves need two classes; what has no value is left out, without a warning."""
    make_images(tmp_path / "images", 24)
    paths = sorted(path.relative_to(tmp_path) for path in (tmp_path / "images").rglob("*.png"))
    rows = pd.DataFrame({"path": map(str, paths)})
    rows["grade"] = [("low", "high")[i % 2] for i in range(len(rows))]
    rows["split"] = [("train", "train", "val", "test")[i // 2 % 4] for i in range(len(rows))]
    rows.loc[(rows["split"] == "test") & (rows["grade"] == "high"), "split"] = "train"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    table = ("--kind", "table", "--table", "rows.csv", "--image-column", "path")
    columns = ("--label-column", "grade", "--split-column", "split")
    made = frostline("index", "chest", "--root", ".", *table, *columns)
    assert made.returncode == 0, made.stderr
    done = frostline(*DEPTH, "--cv", "none")
    assert done.returncode == 0, done.stderr
    assert "nan" not in done.stderr.lower()


@pytest.mark.slow
def test_what_an_encoding_lacks_is_written_in_ascii(indexed: Path, frostline: Run) -> None:
    assert frostline(*DEPTH, "--cv", "none", "-q").returncode == 0
    for encoding in ("cp1252", "ascii", "utf-8"):
        done = subprocess.run(
            command(*DEPTH, "--cv", "none", "-q"),
            cwd=indexed,
            env=environment() | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode(encoding)
        lacks = encoding != "utf-8"
        assert (" < chosen" in text, " ◀ chosen" in text) == (lacks, not lacks)
        assert ("|---" in text, "├───" in text) == (lacks, not lacks), text
