"""Labels that are probably wrong: by hand, planted, in any order, and through the commands."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score
from source import ROOT

import frostline
from frostline.cache import InputError
from frostline.cli import app
from frostline.report import Predictions, read_predictions, write_predictions
from frostline.report.clinical.labels import label_errors, suspicious_sentence
from frostline.report.predictions import predictions_table

CLASSES = ["cyst", "glioma", "none"]


def predicted(labels, probs, classes=CLASSES, *, split="test", fold=0, run="a", ids=None, **meta):
    """One run's predictions, image by image; out of fold unless `fold` is None."""
    count = len(labels)
    images = pd.DataFrame(
        {
            "image_id": [f"i{n:04d}" for n in range(count)] if ids is None else ids,
            "group_id": [f"g{n // 2:04d}" for n in range(count)],
            "split": split,
            "label": labels,
        }
    ).astype("string")
    table = predictions_table(images, classes, np.asarray(probs, dtype=float))
    if fold is not None:
        table["fold"] = fold
    return Predictions(table, {"run": run, "classes": classes, **meta})


def planted(rng, count, share, classes=CLASSES, clarity=4.0):
    """Labels of which a share is changed, and probabilities that know the truth roughly."""
    truth = rng.integers(0, len(classes), count)
    logits = rng.normal(size=(count, len(classes)))
    logits[np.arange(count), truth] += clarity
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(count) < share
    moved = (truth + rng.integers(1, len(classes), count)) % len(classes)
    return np.asarray(classes)[np.where(wrong, moved, truth)], probs, wrong


def test_what_the_definitions_give_by_hand() -> None:
    # Thresholds: a (.9 + .8 + .1) / 3 = .6, b (.7 + .9 + .45) / 3 = .683. Above them: a images 0
    # and 1, b image 2; b images 3 and 4; and image 5, labelled b, of neither (.55 < .6).
    labels = list("aaabbb")
    probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9], [0.55, 0.45]]
    found = label_errors([predicted(labels, probs, ["a", "b"])])
    assert found.loc[0, ["image_id", "label", "looks_like", "rank"]].tolist() == [
        "i0002",
        "a",
        "b",
        1,
    ]
    assert found["suspicious"].tolist() == [True] + [False] * 5
    by_image = found.set_index("image_id")
    assert by_image.loc["i0002", "self_confidence"] == pytest.approx(0.1)
    assert by_image.loc["i0002", "score"] == pytest.approx((1 + 0.1 - 0.9) / 2)
    assert found["image_id"].tolist()[1] == "i0005"  # the next, not suspicious
    # The joint counts 2 a as a, 1 a as b, 2 b as b: calibrated to 3 of each, one is wrong.
    assert found.attrs["estimated"] == 1
    assert suspicious_sentence(found) == (
        "1 of 6 labels is suspicious: candidates to look at, not errors. The confident joint "
        "estimates 1 wrong label."
    )


@pytest.mark.parametrize("classes", [["a", "b"], CLASSES, list("abcdefg")])
def test_planted_errors_are_found(classes: list[str]) -> None:
    labels, probs, wrong = planted(np.random.default_rng(0), 2000, 0.05, classes, clarity=5.0)
    found = label_errors([predicted(labels, probs, classes)]).sort_values("image_id")
    suspicious = found["suspicious"].to_numpy()
    assert roc_auc_score(wrong, -found["score"]) > 0.97
    codes = np.array([classes.index(label) for label in labels])
    others = np.where(np.arange(len(classes)) == codes[:, None], 0, probs).max(axis=1)
    margin = probs[np.arange(2000), codes] - others
    np.testing.assert_allclose(found["score"], (1 + margin) / 2)
    assert wrong[suspicious].mean() > 0.7, "precision"
    assert suspicious[wrong].mean() > 0.8, "recall"
    assert 0.7 * wrong.sum() < found.attrs["estimated"] < 1.5 * wrong.sum()
    labels, probs, _ = planted(np.random.default_rng(0), 2000, 0, classes, clarity=5.0)
    assert label_errors([predicted(labels, probs, classes)])["suspicious"].mean() < 0.02


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.permutations(range(60)), st.permutations(CLASSES))
def test_neither_order_of_rows_nor_of_classes_matters(
    seed: int, rows: list[int], classes: list[str]
) -> None:
    labels, probs, _ = planted(np.random.default_rng(seed), 60, 0.1, clarity=1.5)
    first = predicted(labels, probs)
    found = label_errors([first])
    shuffled = Predictions(first.table.iloc[rows], first.meta)
    pd.testing.assert_frame_equal(label_errors([shuffled]), found)
    assert label_errors([shuffled]).attrs == found.attrs
    renamed = predicted(labels, probs[:, [CLASSES.index(name) for name in classes]], classes)
    pd.testing.assert_frame_equal(label_errors([renamed]), found)


def test_repeats_are_averaged() -> None:
    rng = np.random.default_rng(1)
    labels, one, _ = planted(rng, 80, 0.1)
    other = planted(rng, 80, 0)[1]
    both = label_errors([predicted(labels, one), predicted(labels, other, run="b")])
    mean = label_errors([predicted(labels, (one + other) / 2)])
    pd.testing.assert_frame_equal(both, mean)
    assert both.attrs["ranked"] == (
        "Ranked were 80 images: 80 predicted out of fold, by the mean of 2 files."
    )


def test_one_wrong_label_of_a_patient_is_found_though_the_others_are_right() -> None:
    labels, probs, _ = planted(np.random.default_rng(2), 90, 0, clarity=6.0)
    probs[31] = np.where(np.asarray(CLASSES) == labels[31], 0.999, 0.0005)
    run = predicted(labels, probs)
    run.table["group_id"] = pd.Series([f"g{n // 6}" for n in range(90)], dtype="string")
    run.table.loc[31, "label"] = "cyst" if labels[31] != "cyst" else "none"
    found = label_errors([run])
    assert found.loc[0, "image_id"] == "i0031"
    mine = found[found["group_id"] == found.loc[0, "group_id"]]
    assert len(mine) == 6
    assert mine["suspicious"].sum() == 1


def test_only_what_was_held_out_is_ranked() -> None:
    labels, probs, _ = planted(np.random.default_rng(3), 40, 0)
    splits = ["train"] * 20 + ["val"] * 8 + ["test"] * 12
    run = predicted(labels, probs, split=splits, fold=None)
    found = label_errors([run])
    assert set(found["image_id"]) == {f"i{n:04d}" for n in range(20, 40)}
    assert found.attrs["ranked"] == (
        "Ranked were 20 images: 8 of val and 12 of test; images for training were not."
    )


def refused(runs: list[Predictions]) -> str:
    with pytest.raises(InputError) as error:
        label_errors(runs)
    return str(error.value)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probs, _ = planted(np.random.default_rng(4), 12, 0)
    run = predicted(labels, probs)
    assert "trained on" in refused([predicted(labels, probs, split="train", fold=None)])
    assert "which images were held out" in refused(
        [predicted(labels, probs, split=None, fold=None)]
    )
    bare = Predictions(run.table.drop(columns=[f"prob_{name}" for name in CLASSES]), run.meta)
    assert "no probabilities" in refused([bare])
    assert "does not name its images" in refused([predicted(labels, probs, ids=[None] * 12)])
    other = predicted(np.roll(labels, 1), probs, run="b")
    assert "different labels" in refused([run, other])
    assert "different data sets" in refused([run, predicted(labels, probs, run="b", dataset="x")])
    assert "different classes" in refused(
        [
            run,
            predicted(
                ["a"] * 12, probs[:, :2] / probs[:, :2].sum(axis=1, keepdims=True), ["a", "b"]
            ),
        ]
    )
    assert "Every label of a is 'cyst'" in refused([predicted(["cyst"] * 12, probs)])
    assert "no label" in refused([predicted([None] * 12, probs)])
    assert "give at least one" in refused([])
    for name in ("count", "filter", "rank"):
        monkeypatch.setitem(sys.modules, f"cleanlab.{name}", None)
    assert refused([run]) == "Label errors need cleanlab: run `pip install 'frostline[labels]'`."


def patients(root: Path, count: int, flipped: set[int]) -> dict[str, str]:
    """Two images for each patient, red or blue; of some the label is wrong. Gives their paths."""
    rng, places = np.random.default_rng(0), {}
    for number in range(count):
        sick = number // 2 % 2
        pixels = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
        pixels[..., 0 if sick else 2] += 120
        label = ("well", "sick")[sick ^ (number in flipped)]
        path = root / label / f"patient{number // 2:03d}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        places[f"{label}/{path.name}"] = path.name
    return places


def run_lines(text: str) -> None:
    for line in text.replace("\\\n", " ").strip().splitlines():
        words = [
            word
            for given in shlex.split(line)[1:]
            for word in (sorted(map(str, Path().glob(given))) if "*" in given else [given])
        ]
        assert not app(words, standalone_mode=False), line


def example() -> str:
    page = (ROOT / "docs/clinical.md").read_text(encoding="utf-8")
    mark = "<!-- run by tests/report/clinical/test_labels.py -->\n```sh\n"
    return page.split(mark)[1].split("```")[0]


TINY = "--backbone timm:test_vit --weights random --image-size 32 --device cpu"
PREPARE = f"""
frostline index mine --root images --group-pattern '(patient[0-9]+)'
frostline extract --dataset mine {TINY}
"""


@pytest.mark.slow
def test_the_example_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flipped = {5, 40, 71}
    patients(tmp_path / "images", 80, flipped)
    run_lines(PREPARE)
    capsys.readouterr()
    run_lines(example().replace("effnet-lite0", "timm:test_vit"))  # which is quick
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 of 80 labels are suspicious: candidates to look at, not errors." in shown
    assert "Ranked were 80 images: 80 predicted out of fold, by the mean of 2 files." in shown
    assert "by the embeddings of timm:test_vit." in shown
    table = pd.read_csv("suspicious.csv")
    assert {int(re.findall(r"_(\d+)\.png", name)[0]) for name in table["image_id"]} == flipped
    assert table["rank"].tolist() == [1, 2, 3]
    assert (table["label"] != table["looks_like"]).all()
    files = [read_predictions(path) for path in sorted(Path().glob("*/predictions/*-cv5-*"))]
    assert len(files) == 2
    folds = [run.table.set_index("image_id")["fold"] for run in files]
    group = files[0].table.set_index("image_id")["group_id"]
    for row in table.to_dict("records"):
        near = [row[f"nearest_{place}"] for place in (1, 2, 3)]
        far = [row[f"nearest_{place}_distance"] for place in (1, 2, 3)]
        assert far == sorted(far)
        for name, place in zip(near, (1, 2, 3), strict=True):
            assert group[name] != group[row["image_id"]]
            assert any(fold[name] != fold[row["image_id"]] for fold in folds)
            assert name.startswith(row[f"nearest_{place}_label"])
    with Image.open("suspicious.png") as sheet:
        assert sheet.size == (640, 3 * 216)
        assert np.asarray(sheet)[:150, 500:630].std() > 10, "a fourth picture"
    _in_python(table, files)


def _in_python(table: pd.DataFrame, files: list[Predictions]) -> None:
    ranked = frostline.label_errors(files)
    assert ranked["image_id"].head(3).tolist() == table["image_id"].tolist()
    assert "3 of 80 labels are suspicious" in repr(ranked)
    assert "3 of 80 labels are suspicious" in ranked._repr_html_()
    audited = frostline.Workspace("frostline-workspace").audit("mine", label_errors=files)
    assert audited.label_errors is not None
    pd.testing.assert_frame_equal(
        pd.DataFrame(audited.label_errors), table, check_dtype=False, rtol=1e-6
    )


def test_a_copy_with_another_label_is_the_nearest_and_a_patients_own_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = sorted(patients(tmp_path / "images", 24, {5}))
    wrong, own, copy = "sick/patient002_5.png", "well/patient002_4.png", "well/patient004_8.png"
    for other in (own, copy):
        (tmp_path / "images" / other).write_bytes((tmp_path / "images" / wrong).read_bytes())
    run_lines(PREPARE)
    labels = [name.split("/")[0] for name in names]
    sick = [label == "sick" and name != wrong for label, name in zip(labels, names, strict=True)]
    probs = np.where(np.array(sick)[:, None], [0.9, 0.1], [0.1, 0.9])
    run = predicted(labels, probs, ["sick", "well"], ids=names)
    patient = run.table["image_id"].str.extract(r"patient(\d+)")[0].astype(int)
    for together, nearest in ((1, copy), (0, None)):  # the copy in another fold, and in the same
        folds = np.where(patient.eq(4), together, patient % 2)
        folds[names.index(own)] = 1  # as if patients were in several folds
        write_predictions("made-up.parquet", run.table.assign(fold=folds), run.meta)
        run_lines("frostline audit mine --label-errors made-up.parquet --out found.csv")
        (row,) = pd.read_csv("found.csv").to_dict("records")
        assert row["image_id"] == wrong
        assert row["nearest_1"] != own
        assert (row["nearest_1"] == copy) == (nearest == copy)
        assert (row["nearest_1_distance"] < 1e-6) == (nearest == copy)
    with pytest.raises(InputError, match="--label-errors"):
        app(["audit", "mine", "made-up.parquet"], standalone_mode=False)
    strangers = run.table.assign(image_id=run.table["image_id"] + "x")
    write_predictions("strangers.parquet", strangers, run.meta)
    with pytest.raises(InputError, match="does not have, such as"):
        app(["audit", "mine", "--label-errors", "strangers.parquet"], standalone_mode=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_flipped_labels_of_chest_xrays_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.environ.get("FROSTLINE_DATA")
    if not data:
        pytest.skip("FROSTLINE_DATA names no folder with chest_xray/")
    monkeypatch.chdir(tmp_path)
    found = sorted((Path(data) / "chest_xray").glob("*/*/*.jpeg"))[::4]
    rng = np.random.default_rng(0)
    wrong = rng.random(len(found)) < 0.05
    other = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
    for path, flip in zip(found, wrong, strict=True):
        label = other[path.parent.name] if flip else path.parent.name
        place = tmp_path / "images" / label / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    patient = "'(person[0-9]+|IM-[0-9]+)'"
    run_lines(
        f"frostline index mine --root images --group-pattern {patient}\n"
        "frostline extract --dataset mine --backbone effnet-lite0 --device cpu"
    )
    run_lines(example())
    paths = sorted(Path("frostline-workspace/predictions").glob("*-cv5-*"))
    ranked = frostline.label_errors(paths)
    flips = {path.name for path, flip in zip(found, wrong, strict=True) if flip}
    is_wrong = ranked["image_id"].map(lambda name: Path(name).name in flips).to_numpy(bool)
    suspicious = ranked["suspicious"].to_numpy()
    auc = roc_auc_score(is_wrong, -ranked["score"])
    assert auc > 0.97
    assert is_wrong[suspicious].mean() > 0.6, "precision"
    assert suspicious[is_wrong].mean() > 0.6, "recall"
