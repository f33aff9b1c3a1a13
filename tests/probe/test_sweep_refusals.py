"""What a sweep refuses, in one sentence, before anything is computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from frostline.cache import InputError, Workspace
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.settings import read_sweep

from .conftest import Build, embeddings, make_table, other_dataset, run, sweep_of


def refusal(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        sweep_of(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"head": "knn"},
            "here has no key 'head': there are name, datasets, backbones, features, "
            "key, heads, protocol, metric, seeds, train_groups, draws, cv, test_dataset, label, "
            "split, on_missing, level, pool, views, views_key.",
        ),
        (
            {"heads": ["svm"]},
            "here: There is no head 'svm': choose logistic, ordinal, adam, knn, centroid, majority "
            "or attention.",
        ),
        (
            {"heads": {"knn": {"k": 3}}},
            "here: Head 'knn' has no hyper-parameter 'k': there are n_neighbors, temperature, "
            "class_weight.",
        ),
        (
            {"heads": {"logistic": {"C": [-1]}}},
            "here: Head 'logistic': C.0 must be greater than 0, not -1.",
        ),
        (
            {"heads": {"ordinal": {"C": {"from": 1, "to": 1e10, "count": 2}}}},
            "here: Head 'ordinal': C must be at most 10000 (a weaker penalty does not decide "
            "between solutions), not 10000000000.0.",
        ),
        ({"cv": "2x3"}, "here: cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not '2x3'."),
        (
            {"cv": "5x3", "seeds": [1]},
            "here: seeds does not go with cv, whose repeats are the seeds and whose folds are all "
            "the images: leave one of them out.",
        ),
        (
            {"metric": "auc"},
            "here: metric must be 'log_loss', 'accuracy', 'balanced_accuracy', "
            "'f1_weighted', 'f1_macro' or 'matthews_corrcoef', not 'auc'.",
        ),
        (
            {"train_groups": [0]},
            "here: train_groups takes whole numbers from 1, fractions below 1, or all, not 0.",
        ),
        ({"draws": 3}, "here: draws is for the sizes in train_groups: name some, or leave it out."),
        (
            {"heads": ["knn", "centroid"], "seeds": [1]},
            "here: seeds changes nothing of knn or centroid: leave it out.",
        ),
        (
            {"heads": []},
            "here: No head is named: choose among logistic, ordinal, adam, knn, centroid, "
            "majority, attention.",
        ),
    ],
)
def test_sentences_about_the_file(changes: dict[str, Any], sentence: str) -> None:
    assert refusal(**changes) == sentence


def test_sweep_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "datasets: mri\nbackbones: [tiny]\nheads:\n  logistic:\n"
        "    C: {from: 1.0e-2, to: 1.0e+2, count: 5}\n  knn:\n"
    )
    sweep = read_sweep(path, {"metric": "accuracy"})
    assert re.fullmatch("mine-[0-9a-f]{8}", sweep.name)
    assert sweep.metric == "accuracy"
    grids = sweep.heads
    assert list(grids) == ["logistic", "knn"]
    assert grids["logistic"].model_dump()["C"] == pytest.approx([0.01, 0.1, 1, 10, 100])
    path.write_text("a: [")
    with pytest.raises(InputError, match=r"mine\.yaml is not YAML: "):
        read_sweep(path, {})
    with pytest.raises(InputError, match=r"^There is no sweep file "):
        read_sweep(tmp_path / "none.yaml", {})


def sentence_of(place: Workspace, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        plan_sweep(place, sweep_of(**changes))
    return str(caught.value)


def test_sentences_about_the_data(build: Build, table: pd.DataFrame) -> None:
    place = build()
    assert sentence_of(place, train_groups=[1]) == (
        "No size of the training part can be had: mri: 1 training groups are skipped, because "
        "every class needs 3."
    )
    assert sentence_of(place, features=["cls"]) == (
        "There are no embeddings of mri by tiny with feature 'cls' (there is pooled): run "
        "`frostline extract --feature cls`."
    )
    assert sentence_of(place, cv="25x1") == (
        "Class 'grade 0' of data set 'mri' has images of 20 groups, too few for 25 folds: use "
        "at most 20, or merge classes."
    )
    other_dataset(place, "grade 9")
    assert sentence_of(place, test_dataset="other") == (
        "Data set 'other' has images of 'grade 9', a class that 'mri' does not have: give both the "
        "same classes, for instance in a column named by --label."
    )
    assert sentence_of(place, test_dataset="mri") == (
        "96 images of data set 'mri' (such as 'p000/0.png') are in the training or validation part "
        "of 'mri': a test must be of others."
    )


def test_missing_embeddings_are_refused_before_anything_is_computed(build: Build) -> None:
    X = embeddings(pd.factorize(make_table()["label"])[0])
    place = build(X=X[:-5])
    key = next(iter(place.embeddings("mri", "tiny").iterdir())).name[:12]
    sentence = (
        f"5 of 120 images of data set 'mri' have no embedding in store {key}: run the same "
        "`frostline extract` again, or give --on-error skip if they cannot be read."
    )
    assert sentence_of(place) == sentence
    assert sentence_of(place, cv="3x1") == sentence
    assert not (place.root / "sweeps").exists()
    assert len(run(place, heads=["centroid"], on_missing="skip").predictions) == 1
    whole = build()
    other_dataset(whole, embedded=20)
    assert sentence_of(whole, test_dataset="other").startswith(
        "4 of 24 images of data set 'other' have no embedding in store "
    )


def _without_a_class(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["label"] != "grade 2") | (table["split"] != "train")]


def _in_both(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[0, "split"] = "val"
    return table


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_without_a_class, "Class 'grade 2' of data set 'mri' has no training image, but 8 in "),
        (lambda table: table.assign(label="a"), "Every label of data set 'mri' is 'a' (column "),
        (
            lambda table: table.assign(label=[*table["image_id"][1:], table["image_id"][1]]),
            "Data set 'mri' has 72 training images for 119 classes: a head needs at least one ",
        ),
        (_in_both, "There is 1 group of data set 'mri' in both train and validation (such as "),
    ],
)
def test_wrong_data_are_refused_when_planning(
    build: Build, table: pd.DataFrame, change: Any, sentence: str
) -> None:
    assert sentence_of(build(change(table))).startswith(sentence)
