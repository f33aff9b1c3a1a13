"""Heads that train on views of training images, and answer for images as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from frostline.cache import EMBEDDINGS, InputError, StoreWriter, Workspace, read_manifest, spec_key
from frostline.probe.embedded import Embedded
from frostline.probe.heads.registry import Head, find_head
from frostline.probe.heads.training import Fit, Part, Trainer
from frostline.probe.patients import to_patients
from frostline.probe.run import Source, make_source, probe_head
from frostline.probe.sweep import engine
from frostline.probe.sweep.engine import Loaded, load
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.settings import parse_sweep
from frostline.probe.sweep.training_rows import training_rows
from frostline.report import read_predictions

from .conftest import HEADS, SPEC, Build, embeddings, make_table, other_dataset, run, sweep_of

C = {"C": [0.01, 1.0]}
VIEW = {"number": 1, "seed": 0, "augmentation": ["horizontal_flip"]}
TRAINED = {name: HEADS[name] for name in HEADS if name != "ordinal"}


def write_views(
    place: Workspace,
    count: int = 2,
    *,
    of: tuple[str, ...] = ("train",),
    seed: int = 0,
    far: float = 0.3,
) -> list[str]:
    """Write views of the images of some splits: their embeddings, moved; give their keys."""
    table = read_manifest(place.manifest("mri")).table
    X = embeddings(pd.factorize(table["label"].fillna("grade 0"))[0])
    mine = table["split"].isin(of).to_numpy(bool)
    keys = np.frombuffer(b"".join(table["content_key"]), np.uint8).reshape(-1, 16)
    found = []
    for number in range(1, count + 1):
        spec = {**SPEC, "view": {**VIEW, "number": number, "seed": seed}}
        folder = place.views("mri", "tiny") / spec_key(spec)
        moved = X + np.random.default_rng([seed, number]).normal(0, far, X.shape).astype(np.float32)
        with StoreWriter(folder, EMBEDDINGS, spec, {}) as writer:
            writer.append(keys[mine], moved[mine])
        found.append(folder.name)
    return found


@pytest.fixture
def place(build: Build) -> Workspace:
    workspace = build()
    write_views(workspace)
    return workspace


def probe(place: Workspace, head: str = "logistic", **fields: Any) -> str:
    settings = C if head == "logistic" else HEADS[head]
    source = Source(**fields)
    return probe_head(place, "mri", "tiny", head=head, hyperparameters=settings, source=source)[0]


def predicted(place: Workspace, name: str) -> pd.DataFrame:
    return read_predictions(place.predictions(name)).table


def planned(place: Workspace, **changes: Any) -> tuple[HeadRun, Loaded]:
    (one,) = plan_sweep(place, sweep_of(heads={"logistic": C}, views=2, **changes)).runs
    return one, load(place, one.data, one.training.cv is not None)


def test_a_head_on_views_is_another_and_says_so(place: Workspace) -> None:
    plain, viewed = probe(place), probe(place, views=2)
    assert "-logistic-views2-paper-s0-" in viewed
    assert probe(place, views=0) == plain != viewed
    found = read_predictions(place.predictions(viewed))
    assert found.meta["head"] == "logistic (2 views)"
    views = found.meta["views"]
    assert (views["count"], views["seed"], views["augmentation"]) == (2, 0, ["horizontal_flip"])
    assert len(views["stores"]) == 2
    before = read_predictions(place.predictions(plain))
    assert "views" not in before.meta
    assert found.meta["class_counts"] == before.meta["class_counts"]
    assert found.meta["store_key"] == before.meta["store_key"]
    shares = [name for name in found.table if name.startswith("prob_")]
    assert not np.allclose(found.table[shares], before.table[shares])
    assert found.table["image_id"].tolist() == before.table["image_id"].tolist()


def test_ids_without_views_are_what_they_were(place: Workspace) -> None:
    (one,) = plan_sweep(place, sweep_of(heads={"logistic": C})).runs
    assert not {"views", "views_key"} & one.identity().keys()
    fields = {"datasets": ["mri"], "backbones": ["tiny"], "heads": ["logistic"]}
    names = [parse_sweep({**fields, **more}, "x").name for more in ({}, {"views": 0}, {"views": 2})]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("head", [name for name in TRAINED if name != "adam"])
def test_a_head_is_that_of_scikit_learn_on_all_views(place: Workspace, head: str) -> None:
    """Test rows are answered as they are, by a head that was fitted to images and views by hand."""
    table = read_manifest(place.manifest("mri")).table
    X = embeddings(pd.factorize(table["label"])[0])
    split = table["split"].to_numpy(str)
    moved = [
        X + np.random.default_rng([0, n]).normal(0, 0.3, X.shape).astype(np.float32) for n in (1, 2)
    ]
    train, val, test = (np.flatnonzero(split == name) for name in ("train", "val", "test"))
    fitted = np.concatenate([X[train], X[val], *(view[train] for view in moved)])
    labels = table["label"].to_numpy(str)
    y = labels[np.concatenate([train, val, train, train])]
    known = {"logistic": {"C": 1.0, "tol": 1e-8}, "knn": {"n_neighbors": 5}}
    chosen: Any = known.get(head, {})
    how = {"head": head, "hyperparameters": chosen, "source": Source(views=2)}
    name = probe_head(place, "mri", "tiny", **how)[0]
    estimator = find_head(head).load_class()(**chosen)
    if head == "logistic":
        # Standardised by images as they are, as without views.
        mean, scale = (f(X[split != "test"], axis=0) for f in (np.mean, np.std))
        estimator = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000)
        estimator.fit((fitted - mean) / scale, y)
        expected = estimator.predict_proba((X[test] - mean) / scale)
    else:
        expected = estimator.fit(fitted, y).predict_proba(X[test])
    rows = predicted(place, name).query("split == 'test'")
    shares = rows[[name for name in rows if name.startswith("prob_")]].to_numpy()
    order = {image: place for place, image in enumerate(rows["image_id"])}
    mine = [order[image] for image in table["image_id"].to_numpy()[test]]
    np.testing.assert_allclose(shares[mine], expected, atol=5e-4)


@pytest.mark.parametrize("level", ["image", "patient"])
def test_only_training_rows_have_views_whatever_is_cached(build: Build, level: str) -> None:
    """Views of every image lie there: those of validation and test images train nothing."""
    place = build()
    write_views(place, of=("train", "val", "test"))
    one, loaded = planned(place, level=level)
    rows, pool = training_rows(one, loaded.images, loaded.embedded), loaded.pool
    (part,) = rows.parts
    n, train = len(loaded.embedded.images), len(part.train)
    assert len(pool.X) == n + 2 * train
    assert len(pool.seen(part.train)) == 3 * train
    split = loaded.embedded.images["split"].to_numpy(str)
    assert (pool.seen(np.flatnonzero(split != "train")) < n).all()
    refit, before = rows.fits
    assert len(pool.seen(refit)) == 3 * train + (split == "val").sum()
    assert len(pool.seen(before)) == 3 * train
    assert all((held < n).all() for held in (*part.held_out, *rows.predicted, pool.reference))
    # A view has the label of its image.
    assert pool.codes[pool.seen(part.train)].tolist() == pool.codes[part.train].tolist() * 3


def test_views_of_others_than_training_images_change_nothing(build: Build, tmp_path: Path) -> None:
    """Predictions are the same where views of validation and test images are absurd, or absent."""
    found = []
    for of in (("train",), ("train", "val", "test")):
        place = build()
        write_views(place, of=("train",))
        if len(of) > 1:
            table = read_manifest(place.manifest("mri")).table
            others = table[table["split"] != "train"]
            keys = np.frombuffer(b"".join(others["content_key"]), np.uint8).reshape(-1, 16)
            for number in (1, 2):
                spec = {**SPEC, "view": {**VIEW, "number": number}}
                folder = place.views("mri", "tiny") / spec_key(spec)
                with StoreWriter(folder, EMBEDDINGS, spec, {}) as writer:
                    writer.append(keys, np.full((len(keys), 24), 1e3, np.float32))
        names = [probe(place, head, views=2) for head in TRAINED]
        found.append([predicted(place, name) for name in names])
        place.root.rename(tmp_path / f"done-{len(of)}")
    for left, right in zip(*found, strict=True):
        pd.testing.assert_frame_equal(left, right)


def test_folds_train_on_views_of_what_they_do_not_hold_out(build: Build) -> None:
    place = build()
    write_views(place)
    with pytest.raises(InputError, match=r"have no view 1 .*with --views-of all, because every"):
        run(place, heads={"logistic": C}, views=2, cv="3x1")
    write_views(place, of=("val", "test"))
    one, loaded = planned(place, cv="3x1")
    rows, pool = training_rows(one, loaded.images, loaded.embedded), loaded.pool
    n = len(loaded.embedded.images)
    image = np.concatenate([np.arange(n)] * 3)  # of which each row of the pool is
    groups = loaded.embedded.images["group_id"].to_numpy(str)[image]
    for part in rows.parts:
        train, held = pool.seen(part.train), np.concatenate(part.held_out)
        assert len(train) == 3 * len(part.train)
        assert (held < n).all()
        assert not set(groups[train]) & set(groups[held])
    for fit, held in zip(rows.fits, rows.predicted, strict=True):
        assert not set(groups[pool.seen(fit)]) & set(groups[held])
    found = run(place, heads={"logistic": C, "knn": {}}, views=2, cv="3x1")
    assert set(found.table["head"]) == {"logistic (2 views)", "knn (2 views)"}
    assert len(predicted(place, found.predictions[0].stem)) == n


@pytest.mark.parametrize("changes", [{}, {"cv": "3x1"}])
def test_a_trainer_is_given_views_to_learn_from_and_none_to_answer_for(
    build: Build, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    place = build()
    write_views(place, of=("train", "val", "test"))
    _, loaded = planned(place, **changes)
    n, images = len(loaded.embedded.images), loaded.embedded.images
    parts: list[Part] = []
    fits: list[Fit] = []
    load_trainer = Head.load_trainer

    def watched(head: Head) -> Trainer:
        def score(pool: Any, given: Any, *rest: Any) -> Any:
            parts.extend(given)
            return trainer.score(pool, given, *rest)

        def fit(pool: Any, given: Any, *rest: Any) -> Any:
            fits.extend(given)
            return trainer.fit(pool, given, *rest)

        trainer = load_trainer(head)
        return Trainer(score, fit)

    monkeypatch.setattr(Head, "load_trainer", watched)
    run(place, heads={"logistic": C}, views=2, **changes)
    # Which image each row of the pool is of: the rows behind the n of images are views.
    image = np.concatenate([np.arange(n), *[np.flatnonzero(loaded.pool.views[:, 0] >= 0)] * 2])
    groups, split = (images[name].to_numpy(str)[image] for name in ("group_id", "split"))
    assert (len(parts), len(fits)) == ((3, 3) if changes else (1, 2))
    for part in parts:
        held = np.concatenate(part.held_out)
        assert (held < n).all()
        assert not set(groups[part.train]) & set(groups[held])
        assert (part.train >= n).sum() == 2 * (part.train < n).sum()
    for one in fits:
        views = one.rows[one.rows >= n]
        assert len(views) > 0
        assert set(image[views]) <= set(one.rows[one.rows < n])
        if not changes:
            assert set(split[views]) == {"train"}


def test_patients_are_made_of_one_view_of_each_image(place: Workspace) -> None:
    _, loaded = planned(place, level="patient", pool="max")
    table = read_manifest(place.manifest("mri")).table
    X = embeddings(pd.factorize(table["label"])[0])
    moved = X + np.random.default_rng([0, 2]).normal(0, 0.3, X.shape).astype(np.float32)
    whole = to_patients(Embedded(table, moved, []), "max")
    patient = table.loc[table["split"] == "train", "group_id"].iloc[4]
    row = int(np.flatnonzero(loaded.embedded.images["group_id"] == patient)[0])
    second = loaded.pool.seen(np.array([row]))[2]
    there = int(np.flatnonzero(whole.images["group_id"] == patient)[0])
    np.testing.assert_array_equal(loaded.pool.X[second], whole.X[there])


def test_patients_with_attention_and_sizes_train_on_views(place: Workspace) -> None:
    heads = {"attention": {"C": 0.1, "hidden": 4}, "logistic": C}
    found = run(place, heads=heads, level="patient", views=2, train_groups=[10, "all"], draws=2)
    assert set(found.table["head"]) == {
        "attention (patient, 2 views)",
        "logistic (patient mean, 2 views)",
    }
    meta = read_predictions(found.predictions[0]).meta
    assert (meta["level"], meta["views"]["count"]) == ("patient", 2)
    sizes = {sum(read_predictions(one).meta["class_counts"].values()) for one in found.predictions}
    assert sizes == {10, 36}  # patients, and not their views


def test_another_data_set_is_answered_as_it_is(place: Workspace) -> None:
    other_dataset(place)
    found = run(place, heads={"logistic": C}, views=2, test_dataset="other")
    assert {read_predictions(path).meta["dataset"] for path in found.predictions} == {
        "mri",
        "other",
    }


def test_an_estimator_of_ones_own_gets_all_views(place: Workspace) -> None:
    class Counted(KNeighborsClassifier):  # type: ignore[misc]
        seen: ClassVar[list[int]] = []

        def fit(self, X: Any, y: Any) -> Any:
            self.seen.append(len(X))
            return super().fit(X, y)

    Counted.seen.clear()
    probe_head(place, "mri", "tiny", head=Counted(), source=Source(views=2))
    assert set(Counted.seen) == {72 * 3, 72 * 3 + 24}


def test_a_later_sweep_finds_what_a_probe_did(place: Workspace, monkeypatch: Any) -> None:
    name = probe(place, views=2)
    monkeypatch.setattr(engine, "train_runs", None)
    assert probe(place, views=2) == name


def test_views_that_are_not_there_are_refused(build: Build) -> None:
    place = build()
    with pytest.raises(InputError, match="have no views: run `frostline extract` with their"):
        probe(place, views=2)
    keys = write_views(place, 2)
    with pytest.raises(InputError, match="have 2 views, and view 3 of 3 is not there"):
        probe(place, views=3)
    write_views(place, 2, seed=1)
    with pytest.raises(InputError, match="choose one by --views-key"):
        probe(place, views=2)
    chosen = probe(place, views=2, views_key=keys[1][:8])
    assert read_predictions(place.predictions(chosen)).meta["views"]["stores"] == keys
    (place.views("mri", "tiny") / keys[0]).rename(place.root / "gone")
    with pytest.raises(InputError, match="have 1 views, and view 1 of 2 is not there"):
        probe(place, views=2, views_key=keys[1])


def test_training_images_without_a_view_stop_even_where_images_are_skipped(build: Build) -> None:
    table = make_table()
    place = build(table)
    write_views(place, of=("val",))
    for missing in ("error", "skip"):
        with pytest.raises(InputError, match="72 of 72 images of data set 'mri' that train have"):
            probe(place, views=1, on_missing=missing)


def test_views_that_hold_no_numbers_are_refused(build: Build) -> None:
    place = build()
    write_views(place, 1, far=np.nan)
    with pytest.raises(InputError, match="hold NaN or infinity"):
        probe(place, views=1)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"views_key": "ab"}, "views_key chooses among views: add views, or leave it out"),
        ({"views": -1}, "views must be greater than or equal to 0"),
        ({"views": 1000}, "views must be less than or equal to 256"),
    ],
)
def test_what_views_of_a_sweep_cannot_be(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_sweep({"datasets": ["mri"], "backbones": ["tiny"], **fields}, "sweep.yaml")


def test_a_probe_in_python_takes_views() -> None:
    assert make_source(views=2, views_key="ab") == Source(views=2, views_key="ab")


def test_the_edge_of_a_grid_is_said_of_the_head_with_its_views(build: Build) -> None:
    place = build()
    write_views(place, 1)
    with pytest.warns(UserWarning, match=r"logistic \(1 view\): the best C, 1e-05, lies at"):
        probe_head(
            place, "mri", "tiny", hyperparameters={"C": [1e-5, 1e-6, 1e-7]}, source=Source(views=1)
        )
