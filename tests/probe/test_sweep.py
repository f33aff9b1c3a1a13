"""A sweep from plan to results: what it selects on, what it computes again, what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import PredefinedSplit

from frostline.cache import InputError, Workspace
from frostline.probe import LogisticProbe, probe_head
from frostline.probe.heads.registry import HEADS as REGISTRY
from frostline.probe.heads.training import Trainer
from frostline.probe.sweep import run_files
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.results import Results
from frostline.probe.sweep.run import run_sweep
from frostline.probe.sweep.settings import parse_sweep, read_sweep
from frostline.report import read_predictions

from .conftest import SPEC, Build, embeddings, make_table

HEADS = {
    "logistic": {"C": [0.01, 1.0, 100.0]},
    "adam": {"lr": [1e-3, 1e-2], "hidden": [None, 4], "epochs": 6},
    "knn": {"n_neighbors": [1, 5, 15]},
    "centroid": {},
    "majority": {},
}
ALL: dict[str, Any] = {"datasets": "mri", "backbones": "tiny", "heads": HEADS}


def sweep_of(**changes: Any) -> Any:
    return parse_sweep({**ALL, **changes}, "here")


def run(place: Workspace, **changes: Any) -> Results:
    return run_sweep(place, sweep_of(**changes), jobs=1)


def test_every_candidate_is_validated_and_the_selected_alone_tested(build: Build) -> None:
    place = build()
    results = run(place, seeds=[0, 1])
    table = results.table
    counts = table[table["metric"] == "accuracy"].groupby(["head", "split"]).size().to_dict()
    expected = {"logistic": 3, "adam": 8, "knn": 3, "centroid": 1, "majority": 1}
    for head, count in expected.items():
        assert counts[head, "val"] == count
        assert counts[head, "test"] == (2 if head == "adam" else 1)
    assert len(results.predictions) == 6
    for path in results.predictions:
        result = read_predictions(path)
        assert result.meta["candidates"] == expected[result.meta["head"]] // (
            2 if result.meta["head"] == "adam" else 1
        )
        assert set(result.table["split"]) == {"val", "test"}
    stored = pq.read_table(results.path).to_pandas()
    assert len(stored) == len(table)
    assert list(results.best["candidates"]) == [3 + 4 + 3 + 1 + 1]


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_selection_is_on_validation(build: Build, metric: str) -> None:
    place = build()
    results = run(place, metric=metric)
    val = results.table[(results.table["split"] == "val") & (results.table["metric"] == metric)]
    for _, mine in val.groupby("head"):
        best = mine["value"].min() if metric == "log_loss" else mine["value"].max()
        assert mine.loc[mine["selected"], "value"].tolist() == [best]
    for path in results.predictions:
        result = read_predictions(path)
        part = result.table[result.table["split"] == "val"]
        probabilities = part.filter(like="prob_").to_numpy()
        if metric == "log_loss":
            again = log_loss(part["label"], probabilities, labels=result.classes)
        else:
            again = accuracy_score(part["label"], part["prediction"])
        assert again == pytest.approx(result.meta["validation"][metric], rel=1e-2)


@pytest.mark.parametrize("head", HEADS)
def test_a_probe_is_a_sweep_of_one_run(build: Build, head: str) -> None:
    place = build()
    alone, new = probe_head(place, "mri", "tiny", head=head, hyperparameters=HEADS[head])
    before = place.predictions(alone).stat().st_mtime_ns
    results = run(place, heads={head: HEADS[head]})
    assert new
    assert [path.stem for path in results.predictions] == [alone]
    assert place.predictions(alone).stat().st_mtime_ns == before
    assert probe_head(place, "mri", "tiny", head=head, hyperparameters=HEADS[head])[1] is False


def test_what_is_selected_and_answered_is_the_estimators(build: Build, table: pd.DataFrame) -> None:
    """`LogisticProbe` with one validation fold goes its own way to the same numbers."""
    X = embeddings(pd.factorize(table["label"])[0])
    place = build(X=X)
    strengths = [1e-3, 0.01, 0.1, 1.0, 10.0]
    done, _ = probe_head(place, "mri", "tiny", hyperparameters={"C": strengths})
    split = table["split"].to_numpy()
    fold = PredefinedSplit(np.where(split[split != "test"] == "train", -1, 0))
    alone = LogisticProbe(Cs=strengths, cv=fold)
    alone.fit(X[split != "test"], table["label"][split != "test"])
    result = read_predictions(place.predictions(done))
    assert result.meta["hyperparameters"]["C"] == alone.C_
    assert result.meta["validation"]["log_loss"] == pytest.approx(-alone.scores_.max(), rel=1e-6)
    written = result.table[result.table["split"] == "test"].filter(like="prob_").to_numpy()
    np.testing.assert_array_equal(alone.predict_proba(X[split == "test"]), written)


def test_adam_in_a_sweep_is_adam_alone(build: Build) -> None:
    place = build()
    results = run(place, metric="accuracy", heads={"adam": {"lr": [1e-2, 1e-3], "epochs": 6}})
    ours = read_predictions(results.predictions[0])
    lr = ours.meta["hyperparameters"]["lr"]
    alone, _ = probe_head(
        place, "mri", "tiny", head="adam", hyperparameters={"lr": lr, "epochs": 6}
    )
    theirs = read_predictions(place.predictions(alone))
    assert (
        ours.meta["hyperparameters"]["best_epoch"] == theirs.meta["hyperparameters"]["best_epoch"]
    )
    np.testing.assert_allclose(
        ours.table.filter(like="prob_"), theirs.table.filter(like="prob_"), atol=1e-5
    )


def test_test_labels_change_no_selection(build: Build, table: pd.DataFrame) -> None:
    first = run(build()).table
    test = table["split"] == "test"
    table.loc[test, "label"] = "grade 0"
    X = embeddings(pd.factorize(make_table()["label"])[0])
    second = run(build(table, X=X)).table
    val = [one[one["split"] == "val"].drop(columns=["run"]) for one in (first, second)]
    pd.testing.assert_frame_equal(*[one.reset_index(drop=True) for one in val])


class Spy:
    """Counts what trainers are asked to score."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[int, int]] = []
        for head in REGISTRY.values():
            monkeypatch.setattr(
                f"frostline.probe.heads.{head.trainer.replace(':', '.')}",
                self._watched(head.load_trainer()),
            )

    def _watched(self, trainer: Trainer) -> Trainer:
        def score(pool: Any, parts: Any, candidates: Any, shared: Any, seed: int) -> Any:
            self.asked.append((len(parts), len(candidates)))
            return trainer.score(pool, parts, candidates, shared, seed)

        return Trainer(score, trainer.fit, trainer.train)


def test_again_computes_only_what_is_new(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    place, spy = build(), Spy(monkeypatch)
    first = run(place, heads={"logistic": {"C": [0.01, 1.0]}})
    assert spy.asked == [(1, 2)]
    again = run(place, heads={"logistic": {"C": [0.01, 1.0]}})
    assert spy.asked == [(1, 2)]
    pd.testing.assert_frame_equal(first.table, again.table)
    run(place, heads={"logistic": {"C": [0.01, 0.1, 1.0]}})
    assert spy.asked == [(1, 2), (1, 1)]
    run(place, heads={"logistic": {"C": [0.01, 0.1, 1.0]}}, train_groups=[9, "all"])
    assert spy.asked == [(1, 2), (1, 1), (10, 3)]
    widened = run(place, heads={"logistic": {"C": [0.01, 0.1, 1.0]}}, metric="accuracy")
    assert spy.asked == [(1, 2), (1, 1), (10, 3)]
    assert len(widened.predictions) == 1


def test_a_changed_label_computes_anew(
    build: Build, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    run(build(), heads=["centroid"])
    table.loc[0, "label"] = "grade 1"
    run(build(table), heads=["centroid"])
    assert spy.asked == [(1, 1), (1, 1)]


def test_what_a_killed_sweep_has_done_is_kept(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = build()
    monkeypatch.setattr("frostline.probe.sweep.run.HEADS_A_TASK", 1)
    write = run_files.write_predictions
    left = [4]

    def interrupted(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(run_files, "write_predictions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(place, heads=["centroid"], train_groups=[9])
    monkeypatch.setattr(run_files, "write_predictions", write)
    spy = Spy(monkeypatch)
    run(place, heads=["centroid"], train_groups=[9])
    assert sum(parts for parts, _ in spy.asked) == 5  # the fifth cell was scored, not written


def test_label_efficiency(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    place = build()
    said: list[str] = []
    sweep = sweep_of(
        heads={"logistic": {"C": [0.01, 1.0]}}, train_groups=[2, 6, 0.5, "all", 400], draws=3
    )
    results = run_sweep(place, sweep, jobs=1, said=said.append)
    assert said[:2] == [
        "mri: 2 training groups are skipped, because every class needs 3.",
        "mri: 400 training groups are skipped, because there are only 36.",
    ]
    counts = results.table[
        (results.table["metric"] == "accuracy") & (results.table["split"] == "test")
    ]
    assert counts.groupby("train_groups", dropna=False).size().tolist() == [3, 3, 1]
    for path in results.predictions:
        meta = read_predictions(path).meta
        assert min(meta["class_counts"].values()) > 0
        assert sum(meta["class_counts"].values()) == 2 * meta["train_groups"]
        assert meta["train_fraction"] == pytest.approx(meta["train_groups"] / 36)


def test_cross_validation(build: Build, table: pd.DataFrame) -> None:
    place = build()
    results = run(place, cv="3x2")
    assert len(results.predictions) == 2 * len(HEADS)
    for path in results.predictions:
        result = read_predictions(path)
        assert sorted(result.table["image_id"]) == sorted(table["image_id"])
        assert set(result.table["split"]) == {"test"}
        assert (result.table.groupby("group_id")["fold"].nunique() == 1).all()
        assert set(result.table["fold"]) == {0, 1, 2}
        assert len(result.meta["hyperparameters"]["folds"]) == 3
        assert result.meta["cv"] == {"folds": 3, "repeat": result.meta["seed"]}
    right = results.table[
        (results.table["split"] == "test") & (results.table["metric"] == "accuracy")
    ].set_index("head")["value"]
    assert right["logistic"].min() > 0.6
    assert right["majority"].max() < 0.5


@pytest.mark.parametrize("head", HEADS)
def test_cross_validation_never_sees_what_it_predicts(
    build: Build, table: pd.DataFrame, head: str
) -> None:
    """Labels that are noise cannot be predicted: any leak would show."""
    noise = np.random.default_rng(3).integers(0, 2, 60)
    table["label"] = np.where(noise[pd.factorize(table["group_id"])[0]] == 1, "b", "a")
    # The two images of a group are the same but for a trifle.
    X = np.repeat(np.random.default_rng(4).normal(size=(60, 24)), 2, axis=0).astype(np.float32)
    place = build(table, X=X + np.float32(1e-3) * np.arange(120)[:, None].astype(np.float32))
    grid = {**HEADS[head], **({"epochs": 30} if head == "adam" else {})}
    results = run(place, heads={head: grid}, cv="5x3", metric="accuracy")
    rows = results.table[
        (results.table["split"] == "test") & (results.table["metric"] == "accuracy")
    ]
    assert 0.3 < rows["value"].mean() < 0.68


def other_dataset(place: Workspace, label: str = "grade 1", embedded: int | None = None) -> None:
    from frostline.cache import EMBEDDINGS, Manifest, StoreWriter, spec_key, write_manifest

    table = make_table(12)
    for column in ("image_id", "path", "group_id"):
        table[column] = "x" + table[column]
    keys = [name.encode().ljust(16, b"\0") for name in table["image_id"]]
    table["file_key"] = table["content_key"] = keys
    table.loc[table["label"] == "grade 1", "label"] = label
    write_manifest(place.manifest("other"), Manifest(table, {"dataset": "other", "roots": ["/"]}))
    folder = place.embeddings("other", "tiny") / spec_key(SPEC)
    X = embeddings(pd.factorize(table["label"])[0], seed=0)
    with StoreWriter(folder, EMBEDDINGS, SPEC, {}) as writer:
        writer.append(
            np.frombuffer(b"".join(keys[:embedded]), np.uint8).reshape(-1, 16), X[:embedded]
        )


def test_another_data_set_is_scored(build: Build) -> None:
    place = build()
    other_dataset(place)
    results = run(place, test_dataset="other")
    theirs = [path for path in results.predictions if path.name.startswith("other-from-mri")]
    assert len(theirs) == len(HEADS)
    result = read_predictions(theirs[0])
    assert len(result.table) == 24
    assert set(result.table["split"]) == {"test"}
    assert (result.meta["dataset"], result.meta["trained_on"]) == ("other", "mri")
    rows = results.table[results.table["test_dataset"] == "other"]
    assert set(rows["head"]) == set(HEADS)
    again = run(place, test_dataset="other")
    pd.testing.assert_frame_equal(again.table, results.table)


def test_edge_of_the_grid_is_said(build: Build) -> None:
    place = build()
    results = run(place, heads={"logistic": {"C": [1e-7, 1e-6, 1e-5]}})
    assert results.warnings == [
        "mri · tiny · pooled · logistic: the best C, 1e-05, lies at the edge of the grid from "
        "1e-07 to 1e-05: a wider grid may find a better one."
    ]
    assert run(place, heads={"logistic": {"C": [1e-5, 0.1, 1e7]}}).warnings == []


def test_processes_give_the_same_numbers(build: Build, tmp_path: Path) -> None:
    place = build()
    alone = run(place, heads=["centroid", "knn"], train_groups=[9, "all"])
    for path in alone.predictions:
        path.unlink()
    for path in (place.root / "sweeps" / "cells").iterdir():
        path.unlink()
    sweep = sweep_of(heads=["centroid", "knn"], train_groups=[9, "all"])
    together = run_sweep(place, sweep, jobs=2)
    pd.testing.assert_frame_equal(alone.table, together.table)


def test_progress_counts_heads(build: Build) -> None:
    seen: list[tuple[int, int]] = []
    run_sweep(build(), sweep_of(), jobs=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 12)
    assert seen[-1] == (12, 12)


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
            "split, on_missing.",
        ),
        (
            {"heads": ["svm"]},
            "here: There is no head 'svm': choose logistic, adam, knn, centroid or majority.",
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
        ({"cv": "2x3"}, "here: cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not '2x3'."),
        (
            {"cv": "5x3", "seeds": [1]},
            "here: seeds does not go with cv, whose repeats are the seeds and whose folds are all "
            "the images; leave one of them out.",
        ),
        (
            {"metric": "auc"},
            "here: metric must be 'log_loss', 'accuracy', 'balanced_accuracy', "
            "'f1_weighted', 'f1_macro' or 'matthews_corrcoef', not 'auc'.",
        ),
        (
            {"train_groups": [0]},
            "here: train_groups are whole numbers from 1, fractions below 1, or all, and 0 is not.",
        ),
        ({"draws": 3}, "here: draws are for sizes in train_groups; name some, or leave draws out."),
        (
            {"heads": ["knn", "centroid"], "seeds": [1]},
            "here: no seed changes knn or centroid; leave seeds out.",
        ),
        (
            {"heads": []},
            "here: No head is named: choose among logistic, adam, knn, centroid, majority.",
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


def test_a_second_sweep_never_overwrites_the_first(build: Build) -> None:
    place = build()
    first = run(place, heads=["centroid"])
    other = run(place, heads=["centroid", "majority"])
    assert first.path.parent.name.startswith("mri-tiny-centroid-")
    assert other.path.parent.name.startswith("mri-tiny-centroid-majority-")
    named = run(place, heads=["centroid"], name="mine")
    before = named.path.read_bytes()
    assert run(place, heads=["centroid"], name="mine").path == named.path
    with pytest.raises(InputError) as caught:
        run(place, heads=["majority"], metric="accuracy", name="mine")
    assert str(caught.value) == (
        f"A sweep 'mine' with other settings (heads, metric) lies in {named.path.parent}: give "
        "this one another name by --name (or `name` in the file); what both compute is computed "
        "once."
    )
    assert named.path.read_bytes() == before


def sentence_of(place: Workspace, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        plan_sweep(place, sweep_of(**changes))
    return str(caught.value)


def test_sentences_about_the_data(build: Build, table: pd.DataFrame) -> None:
    place = build()
    assert sentence_of(place, train_groups=[1]) == (
        "No size of train_groups can be had: mri: 1 training groups are skipped, because every "
        "class needs 3."
    )
    assert sentence_of(place, features=["cls"]) == (
        "There are no embeddings of mri by tiny with feature 'cls' (there is pooled): run "
        "`frostline extract --feature cls`."
    )
    assert sentence_of(place, cv="25x1") == (
        "Class 'grade 0' of data set 'mri' has images of 20 groups, too few for 25 folds: use "
        "--cv 20x1 or fewer, or merge classes."
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
        "`frostline extract` again."
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
            lambda table: table.assign(label=table["image_id"]),
            "Data set 'mri' has 72 training images for 120 classes: a head needs at least one ",
        ),
        (_in_both, "There is 1 group of data set 'mri' in both train and validation (such as "),
    ],
)
def test_wrong_data_are_refused_when_planning(
    build: Build, table: pd.DataFrame, change: Any, sentence: str
) -> None:
    assert sentence_of(build(change(table))).startswith(sentence)


def test_a_mistake_in_a_worker_is_one_sentence(build: Build) -> None:
    X = embeddings(pd.factorize(make_table()["label"])[0])
    X[3, 3] = np.nan
    sweep = sweep_of(heads=["centroid", "knn"])
    with pytest.raises(InputError, match=r"^The embeddings of 1 images in store .* hold NaN"):
        run_sweep(build(X=X), sweep, jobs=2)
