"""A study with heads on views, beside fine-tuning of the same changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline.cache import InputError, Store, Workspace, find_stores
from frostline.report import read_predictions
from frostline.study.costs.estimate import estimate_plan
from frostline.study.file import parse_study, read_study
from frostline.study.runner import plan_study, run_study

from .tiny_training import make_stripes

FAIR: dict[str, Any] = {
    "unfreeze": ["none", 1],
    "head": "logistic",
    "views": 2,
    "augmentation": "horizontal_flip,random_resized_crop",
    "degrees": 10,
    "image_size": 32,
    "epochs": 1,
}
STUDY: dict[str, Any] = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {"plain": {"head": "logistic", "image_size": 32}, "fair": FAIR},
    "sweeps": {"few": {"protocol": "fair-none", "train_groups": [10, "all"], "draws": 1}},
    "replicates": 100,
    "device": "cpu",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    make_stripes(Path("images"), 51)
    return Workspace(Path("frostline-workspace"))


def written(study: dict[str, Any]) -> Any:
    Path("study.yaml").write_text(yaml.safe_dump(study))
    return read_study("study.yaml")


@pytest.mark.slow
def test_a_study_compares_a_head_on_views_with_fine_tuning_of_the_same_changes(
    place: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    study = written(STUDY)
    before = estimate_plan(place, study, plan_study(place, study, fetch=False))
    kinds = before.set_index("kind")["images"]
    assert (kinds["views"], kinds["embeddings"]) == (28, 51)
    outcome = run_study(place, study)
    assert not outcome.failed
    assert "2 views: 56 views embedded now" in capsys.readouterr().err
    runs = [read_predictions(path) for path in outcome.predictions]
    metas = {run.meta["head"]: run.meta for run in runs if run.meta["unfreeze"] == "none"}
    assert set(metas) == {"logistic", "logistic (2 views)"}
    (tuned,) = (run.meta for run in runs if run.meta["unfreeze"] == "1")
    views = metas["logistic (2 views)"]["views"]
    for name in ("augmentation", "degrees"):
        assert views[name] == tuned["hyperparameters"][name]
    methods = (place.root / "reports/small/methods.md").read_text()
    assert "and on 2 augmented views of each training image (" in methods
    assert "logistic (2 views)" in (place.root / "reports/small/tables/sweep-few.csv").read_text()
    # Done is done, and a view that is gone is made again.
    run_study(place, study)
    assert "embedded now" not in capsys.readouterr().err
    for part in place.root.glob("views/*/*/*/part-*.h5"):
        part.unlink()
    steps = plan_study(place, study, fetch=False)
    after = estimate_plan(place, study, steps).set_index("kind")
    assert (after.loc["views", "state"], after.loc["views", "images"]) == ("missing", 28)


@pytest.mark.slow
def test_a_cross_validated_study_embeds_views_of_all_images(place: Workspace) -> None:
    protocols = {"viewed": {**FAIR, "unfreeze": "none"}}
    del protocols["viewed"]["epochs"]
    run_study(place, written({**STUDY, "protocols": protocols, "sweeps": {}, "cv": "3x1"}))
    stores = find_stores(place.views("set", "timm:test_vit"))
    assert [len(Store.open(folder)) for folder in stores] == [51, 51]
    (path,) = place.root.glob("predictions/*.parquet")
    meta = read_predictions(path).meta
    assert (meta["cv"]["folds"], meta["views"]["count"]) == (3, 2)


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        ({"views": 2}, "views needs something that changes images"),
        ({"views": 2, "unfreeze": "all", "degrees": 5}, "this protocol changes images in every"),
        ({"views": 2, "feature": "blocks", "degrees": 5}, "this protocol reads images as they are"),
        (
            {"views": 2, "feature": "blocks", "degrees": 5, "train": [1]},
            "this protocol reads images as they are",
        ),
        ({"degrees": 5, "head": "logistic"}, "takes no field of the recipe: leave degrees out"),
        ({"views": 0, "degrees": 5, "head": "logistic"}, "leave degrees out"),
        ({"views": 2, "degrees": 5, "ema": 0.5, "head": "knn"}, "leave ema out"),
        ({"views": -1}, "views must be greater than or equal to 0"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(protocol: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_study({**STUDY, "protocols": {"one": protocol}, "sweeps": {}}, "study.yaml")


def test_fields_that_act_on_no_way_to_train_are_refused() -> None:
    one = {**FAIR, "unfreeze": ["all", 1]}
    with pytest.raises(InputError, match="(head|views) acts on none of unfreeze all, 1"):
        parse_study({**STUDY, "protocols": {"one": one}, "sweeps": {}}, "study.yaml")
