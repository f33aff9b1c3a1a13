"""One run from manifest and embeddings to predictions, and what it refuses."""

from __future__ import annotations

import os
import re
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.probe import Source, load_head, probe_head
from frostline.probe.heads.trainers.adam import ADAM
from frostline.probe.heads.training import Trainer
from frostline.report import read_predictions

from .conftest import SPEC, Build, embeddings

FAST = {
    "logistic": {"C": [1e-4, 0.01, 1.0, 100.0]},
    "adam": {"epochs": 15, "lr": 1e-2},
    "knn": {"n_neighbors": [1, 5, 10]},
    "centroid": {},
    "majority": {},
}


@pytest.mark.parametrize("head", FAST)
def test_predictions_of_a_run(build: Build, table: pd.DataFrame, head: str) -> None:
    place = build()
    run, _ = probe_head(place, "mri", "tiny", head=head, hyperparameters=FAST[head])
    result = read_predictions(place.predictions(run))
    expected = table[table["split"] != "train"]
    assert list(result.table["image_id"]) == list(expected["image_id"])
    assert list(result.table["label"]) == list(expected["label"])
    assert list(result.table["group_id"]) == list(expected["group_id"])
    assert set(result.table["split"]) == {"val", "test"}
    assert result.classes == ["grade 0", "grade 1", "grade 2"]
    right = result.table["prediction"] == result.table["label"]
    assert right[result.table["split"] == "test"].mean() > (0.3 if head == "majority" else 0.6)
    meta = result.meta
    assert meta["class_counts"] == {"grade 0": 24, "grade 1": 24, "grade 2": 24}
    assert meta["head"] == head
    assert meta["unfreeze"] == "none"
    assert meta["weights"] == "pretrained"
    assert meta["feature"] == "pooled"
    assert meta["candidates"] == {"logistic": 4, "knn": 3}.get(head, 1)
    assert run.startswith(f"mri-tiny-pooled-{head}-paper-s0-")


@pytest.mark.parametrize("head", FAST)
def test_saved_head_gives_the_test_predictions(
    build: Build, table: pd.DataFrame, head: str
) -> None:
    X = embeddings(pd.factorize(table["label"])[0])
    place = build(X=X)
    run, _ = probe_head(place, "mri", "tiny", head=head, hyperparameters=FAST[head])
    result = read_predictions(place.predictions(run)).table
    test = (table["split"] == "test").to_numpy()
    saved = load_head(place.model(run)).predict_proba(X[test])
    written = result.loc[result["split"] == "test"].filter(like="prob_").to_numpy()
    np.testing.assert_allclose(saved, written, atol=1e-6)


def test_logistic_predictions_of_validation_images_were_not_trained_on(
    build: Build, table: pd.DataFrame
) -> None:
    X = embeddings(pd.factorize(table["label"])[0])
    place = build(X=X)
    run, _ = probe_head(place, "mri", "tiny", hyperparameters={"C": 100.0})
    result = read_predictions(place.predictions(run)).table
    val = (table["split"] == "val").to_numpy()
    final = load_head(place.model(run)).predict_proba(X[val])
    written = result.loc[result["split"] == "val"].filter(like="prob_").to_numpy()
    truth = pd.factorize(table["label"])[0][val]
    rows = np.arange(len(truth))
    assert -np.log(written[rows, truth]).mean() > -np.log(final[rows, truth]).mean() + 0.1


def test_done_run_is_not_done_again_and_a_changed_label_is_another_run(
    build: Build, table: pd.DataFrame
) -> None:
    place = build()
    run, _ = probe_head(place, "mri", "tiny", hyperparameters=FAST["logistic"])
    before = os.stat(place.predictions(run)).st_mtime_ns
    assert probe_head(place, "mri", "tiny", hyperparameters=FAST["logistic"]) == (run, False)
    assert os.stat(place.predictions(run)).st_mtime_ns == before
    table.loc[0, "label"] = "grade 1"
    build(table)
    assert probe_head(place, "mri", "tiny", hyperparameters=FAST["logistic"])[0] != run


@pytest.mark.parametrize("left", [0, 100])
def test_a_run_with_empty_or_cut_predictions_is_not_done(build: Build, left: int) -> None:
    place = build()
    run, _ = probe_head(place, "mri", "tiny", head="knn")
    path = place.predictions(run)
    whole = read_predictions(path)
    os.truncate(path, left)
    assert probe_head(place, "mri", "tiny", head="knn") == (run, True)
    pd.testing.assert_frame_equal(read_predictions(path).table, whole.table)


def test_same_seed_same_numbers_another_seed_another_run(build: Build) -> None:
    place = build()
    run, _ = probe_head(place, "mri", "tiny", head="adam", hyperparameters=FAST["adam"])
    first = read_predictions(place.predictions(run)).table
    place.predictions(run).unlink()
    assert probe_head(place, "mri", "tiny", head="adam", hyperparameters=FAST["adam"])[0] == run
    pd.testing.assert_frame_equal(read_predictions(place.predictions(run)).table, first)
    other, _ = probe_head(place, "mri", "tiny", head="adam", seed=1, hyperparameters=FAST["adam"])
    assert not read_predictions(place.predictions(other)).table.equals(first)


def test_unlabelled_test_images_are_predicted_and_images_without_split_left_out(
    build: Build, table: pd.DataFrame
) -> None:
    test = table.index[table["split"] == "test"]
    table.loc[test[:3], "label"] = None
    table.loc[test[3:5], "split"] = None
    place = build(table)
    run, _ = probe_head(place, "mri", "tiny", hyperparameters=FAST["logistic"])
    result = read_predictions(place.predictions(run)).table
    assert result["label"].isna().sum() == 3
    assert set(result["image_id"]).isdisjoint(table.loc[test[3:5], "image_id"])


def test_other_label_column(build: Build, table: pd.DataFrame) -> None:
    table["tumour"] = np.where(table["label"] == "grade 0", "no", "yes")
    place = build(table)
    run, _ = probe_head(
        place, "mri", "tiny", hyperparameters=FAST["logistic"], source=Source(label="tumour")
    )
    result = read_predictions(place.predictions(run))
    assert result.classes == ["no", "yes"]
    assert set(result.table["label"]) == {"no", "yes"}


def refusal(place: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        probe_head(place, "mri", "tiny", **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_class_missing_from_train(build: Build, table: pd.DataFrame) -> None:
    table = table[(table["label"] != "grade 2") | (table["split"] != "train")]
    assert refusal(build(table)) == (
        "Class 'grade 2' of data set 'mri' has no training image, but 8 in test and 8 in val: "
        "move one of its groups to train, or take its labels out."
    )


def test_one_class_only(build: Build, table: pd.DataFrame) -> None:
    assert refusal(build(table.assign(label="benign"))) == (
        "Every label of data set 'mri' is 'benign' (column 'label'): a head needs at least two "
        "classes."
    )


def test_fewer_images_than_classes(build: Build, table: pd.DataFrame) -> None:
    # One label twice, or each image would have a label of its own.
    table = table.assign(label=[*table["image_id"][1:], table["image_id"].iloc[1]])
    assert refusal(build(table)) == (
        "Data set 'mri' has 72 training images for 119 classes: a head needs at least one of "
        "each; is 'label' the column of labels?"
    )


def test_no_training_or_validation_images(build: Build, table: pd.DataFrame) -> None:
    assert refusal(build(table[table["split"] != "train"])) == (
        "Data set 'mri' has no training image with a label (columns 'label' and 'split'): "
        "label some, or name other columns."
    )
    assert refusal(build(table[table["split"] != "val"])) == (
        "Data set 'mri' has no validation image with a label (columns 'label' and 'split'): "
        "index it again with a validation part, or name other columns."
    )


def test_nan_in_embeddings(build: Build, table: pd.DataFrame) -> None:
    X = embeddings(pd.factorize(table["label"])[0])
    X[7, 3], X[9, 0], X[9, 1] = np.nan, np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refusal(build(X=X))
    key = next(iter(build().embeddings("mri", "tiny").iterdir())).name[:12]
    assert message == (
        f"The embeddings of 2 images in store {key} hold NaN or infinity, first that of "
        "'p003/1.png': extract them again with --precision float32."
    )


def test_embeddings_without_a_number(build: Build) -> None:
    place = build(X=np.zeros((120, 0), np.float32))
    (folder,) = place.embeddings("mri", "tiny").iterdir()
    assert refusal(place) == (
        f"The embeddings in store {folder.name[:12]} have no numbers: delete {folder}, and extract "
        "or import them again."
    )


def test_missing_embeddings(build: Build, table: pd.DataFrame) -> None:
    X = embeddings(pd.factorize(table["label"])[0])[:-5]
    place = build(X=X)
    assert refusal(place).startswith("5 of 120 images of data set 'mri' have no embedding in store")
    assert refusal(place).endswith("or give --on-error skip if they cannot be read.")
    with pytest.warns(UserWarning, match=r"^5 of 120 images have no embedding\.$"):
        run, _ = probe_head(
            place,
            "mri",
            "tiny",
            hyperparameters=FAST["logistic"],
            source=Source(on_missing="skip"),
        )
    assert len(read_predictions(place.predictions(run)).table) == 48 - 5


def test_group_in_train_and_validation(build: Build, table: pd.DataFrame) -> None:
    table.loc[0, "split"] = "val"
    assert refusal(build(table)) == (
        "There is 1 group of data set 'mri' in both train and validation (such as 'p000'): "
        "selection would look at training patients; index again with --resplit."
    )
    theirs = build(table, meta={"made_splits": []})
    with pytest.warns(UserWarning, match="own splits put 1 group of data set 'mri' in both"):
        probe_head(theirs, "mri", "tiny", hyperparameters=FAST["logistic"])


def test_several_stores_and_key(build: Build) -> None:
    place = build()
    build(spec={**SPEC, "feature": "cls"})
    message = refusal(place)
    assert message.startswith("2 stores lie in")
    assert "choose one by --key, or by --feature" in message
    assert "  feature cls" in message
    build(spec={**SPEC, "pixels": {"geometry": {"crop": 96}}})
    with pytest.raises(InputError) as caught:
        probe_head(place, "mri", "tiny", source=Source(feature="pooled"))
    line = r"  [0-9a-f]{12}  pixels.geometry.crop \d+"
    listed = rf"2 stores lie in \S+: choose one by --key\.(\n{line}){{2}}"
    assert re.fullmatch(listed, str(caught.value))
    key = sorted(path.name for path in place.embeddings("mri", "tiny").iterdir())[0]
    run, _ = probe_head(
        place, "mri", "tiny", hyperparameters=FAST["logistic"], source=Source(key=key[:8])
    )
    assert read_predictions(place.predictions(run)).meta["store_key"] == key


def test_unknown_head_and_hyperparameter(build: Build) -> None:
    place = build()
    assert refusal(place, head="svm") == (
        "There is no head 'svm': choose logistic, ordinal, adam, knn, centroid, majority or "
        "attention."
    )
    assert refusal(place, head="adam", hyperparameters={"epoch": 3}) == (
        "Head 'adam' has no hyper-parameter 'epoch': there are lr, weight_decay, hidden, "
        "class_weight, epochs, batch_size."
    )


def test_best_strength_at_the_edge_is_said(build: Build) -> None:
    with pytest.warns(UserWarning, match=r"logistic: the best C, 1e-05, lies at the edge of the"):
        probe_head(build(), "mri", "tiny", hyperparameters={"C": [1e-5, 1e-6, 1e-7]})


def test_no_warning_in_an_ordinary_run(build: Build) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe_head(build(), "mri", "tiny")


def test_a_head_that_is_scored_is_not_trained_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predicted(trainer: Trainer) -> pd.DataFrame:
        place = build()
        monkeypatch.setattr("frostline.probe.heads.trainers.adam.ADAM", trainer)
        run, new = probe_head(place, "mri", "tiny", head="adam", hyperparameters=FAST["adam"])
        assert new
        table = read_predictions(place.predictions(run)).table
        shutil.rmtree(place.root)
        return table

    once = predicted(Trainer(ADAM.score, lambda *_: pytest.fail("trained again"), ADAM.train))
    twice = predicted(Trainer(ADAM.score, ADAM.fit))
    pd.testing.assert_frame_equal(once, twice, rtol=0, atol=0)
