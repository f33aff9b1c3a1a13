"""An order of classes from `index` to the page: declared late, it trains nothing again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn.metrics import average_precision_score, cohen_kappa_score

import frostline
from frostline import InputError
from frostline.cache import Workspace
from frostline.report import evaluate, read_predictions
from frostline.study.file import read_study
from frostline.study.results import report_study
from frostline.study.runner import run_study

ORDER = ["low", "medium", "high"]
TINY = {"weights": "random", "image_size": 32}
KAPPA = "cohen_kappa_quadratic"


def make(root: Path, labels: list[str]) -> Path:
    """Twelve patients of each label, two images each."""
    rng = np.random.default_rng(0)
    for place, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 120 + 60 * place, (32, 32, 3), dtype=np.uint8)
            name = f"patient{place}{number // 2:02d}_{number}.png"
            Image.fromarray(pixels).save(root / label / name)
    return root


@pytest.fixture
def place(tmp_path: Path) -> frostline.Workspace:
    place = frostline.Workspace(tmp_path / "ws")
    place.index("set", make(tmp_path / "images", ORDER), group_pattern="(patient[0-9]+)")
    place.extract("set", "timm:test_vit", **TINY)
    return place


def kappa_of(table: pd.DataFrame) -> float:
    test = table[table["split"] == "test"]
    return float(
        cohen_kappa_score(test["label"], test["prediction"], labels=ORDER, weights="quadratic")
    )


def columns(run: frostline.results.Run) -> list[str]:  # type: ignore[name-defined]
    return [name for name in run.predictions.table if name.startswith("prob_")]


def test_an_order_that_is_declared_later_trains_nothing_again(
    place: frostline.Workspace, tmp_path: Path
) -> None:
    def runs() -> list[frostline.results.Run]:  # type: ignore[name-defined]
        return [
            place.probe("set", "timm:test_vit", "logistic"),
            place.finetune("set", "timm:test_vit", unfreeze=1, epochs=1, **TINY),
            *place.sweep(
                datasets=["set"], backbones=["timm:test_vit"], heads=["centroid"], jobs=1
            ).runs,
        ]

    first = runs()
    before = [run.path.read_bytes() for run in first]
    with pytest.raises(InputError, match=r"^cohen_kappa_quadratic goes by the order of the class"):
        frostline.evaluate(first[0], metrics=[KAPPA])
    place.index("set", tmp_path / "images", group_pattern="(patient[0-9]+)", classes=ORDER)
    second = runs()
    assert [run.id for run in second] == [run.id for run in first]
    assert [run.path.read_bytes() for run in second] == before
    for run in second:
        assert (run.predictions.classes, run.predictions.declared) == (ORDER, True)
        assert columns(run) == [f"prob_{name}" for name in ORDER]
        scores = frostline.evaluate(run, metrics=[KAPPA])
        assert scores["estimate"].iloc[0] == pytest.approx(kappa_of(run.predictions.table))
        new = place.predict(run, tmp_path / "images" / "low")
        assert (new.classes, new.declared) == (ORDER, True)


def test_runs_are_written_in_the_declared_order_with_the_same_numbers(
    place: frostline.Workspace, tmp_path: Path
) -> None:
    other = frostline.Workspace(tmp_path / "other")
    other.index(
        "set", tmp_path / "images", group_pattern="(patient[0-9]+)", classes="low,medium,high"
    )
    other.extract("set", "timm:test_vit", **TINY)
    made = [
        (
            ws.probe("set", "timm:test_vit", "logistic"),
            ws.finetune("set", "timm:test_vit", unfreeze=1, epochs=1, **TINY),
        )
        for ws in (place, other)
    ]
    for plain, declared in zip(*made, strict=True):
        assert plain.id == declared.id
        copy = tmp_path / f"{declared.id}.parquet"  # no manifest is near it
        copy.write_bytes(declared.path.read_bytes())
        back = read_predictions(copy)
        assert (back.classes, back.declared) == (ORDER, True)
        names = [f"prob_{name}" for name in ORDER]
        assert [name for name in back.table if name in names] == names
        same = plain.predictions.table[list(back.table)]
        pd.testing.assert_frame_equal(back.table, same)
        assert plain.predictions.classes == sorted(ORDER)
        tables = []
        for ws, run in ((place, plain), (other, declared)):
            new = ws.predict(run, tmp_path / "images" / "low")
            tables.append(new.table)
            assert new.declared is (ws is other)
            assert new.classes == (ORDER if ws is other else sorted(ORDER))
        # A model keeps the order for where no manifest is.
        hidden = other.paths.manifest("set").rename(tmp_path / "hidden")
        assert other.predict(declared, tmp_path / "images" / "low").classes == ORDER
        hidden.rename(other.paths.manifest("set"))
        pd.testing.assert_frame_equal(tables[0][list(tables[1])], tables[1])
        assert [name for name in tables[1] if name in names] == names


def study(folder: Path, labels: list[str], **fields: object) -> Path:
    make(folder / "images", labels)
    dataset = {"root": "images", "group_pattern": "(patient[0-9]+)"}
    content = {
        "name": "small",
        "datasets": {"set": dataset | fields},
        "backbones": [{"name": "timm:test_vit", "weights": "random"}],
        "protocols": {"frozen": {"head": "logistic", "image_size": 32}},
        "replicates": 100,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_study_declares_the_order_and_the_positive_class(tmp_path: Path) -> None:
    path = study(tmp_path, ["AMD", "Non-AMD"])
    place = Workspace(tmp_path / "ws")
    metric = "primary_metric=average_precision"
    first = run_study(place, read_study(path, settings=[metric]))
    answer = (place.report("small") / "answer.txt").read_text()
    assert "Average precision" in answer or "average precision" in answer
    assert "positive: Non-AMD" in answer
    declare = "datasets.set.classes=[Non-AMD, AMD]"
    # The report alone cannot declare what the manifest keeps.
    with pytest.raises(InputError, match=r"was run with other datasets than it has now"):
        report_study(place, read_study(path, settings=[metric, declare]))
    second = run_study(place, read_study(path, settings=[metric, declare]))
    assert second.predictions == first.predictions
    answer = (place.report("small") / "answer.txt").read_text()
    assert "positive: AMD" in answer
    assert "positive: Non-AMD" not in answer
    assert "chooses the positive class" not in answer
    run = read_predictions(second.predictions[0])
    test = run.table[run.table["split"] == "test"]
    score = average_precision_score(test["label"], test["prob_AMD"], pos_label="AMD")
    found = evaluate([run], metrics=["average_precision"])
    assert found["estimate"].iloc[0] == pytest.approx(score, abs=1e-12)


@pytest.mark.slow
def test_a_report_is_written_again_for_an_order_that_index_declares(tmp_path: Path) -> None:
    path = study(tmp_path, ["AMD", "Non-AMD"])
    settings = ["primary_metric=average_precision"]
    chosen = read_study(path, settings=settings)
    first = run_study(Workspace(tmp_path / "ws"), chosen)
    place = frostline.Workspace(tmp_path / "ws")
    place.index(
        "set",
        tmp_path / "images",
        group_pattern="(patient[0-9]+)",
        classes=["Non-AMD", "AMD"],
    )
    assert run_study(place.paths, chosen).predictions == first.predictions
    answer = (place.paths.report("small") / "answer.txt").read_text()
    assert "positive: AMD" in answer
    assert "positive: Non-AMD" not in answer


def test_a_study_by_an_ordinal_metric_needs_an_order_before_it_starts(tmp_path: Path) -> None:
    path = study(tmp_path, ORDER)
    place = Workspace(tmp_path / "ws")
    outcome = run_study(place, read_study(path, settings=[f"primary_metric={KAPPA}"]))
    assert outcome.predictions == []
    (sentence,) = outcome.failed.values()
    assert sentence.startswith(
        f"{KAPPA} goes by the order of the classes, and nothing says which that of data set 'set' "
        "is (high, low, medium): declare it from the lowest to the highest by classes, or "
    )
    settings = [f"primary_metric={KAPPA}", "datasets.set.classes=[low, medium, high]"]
    outcome = run_study(place, read_study(path, settings=settings))
    assert outcome.failed == {}
    assert "quadratic kappa" in (place.report("small") / "answer.txt").read_text().lower()


def test_numbers_are_names_of_classes_in_a_study(tmp_path: Path) -> None:
    path = study(tmp_path, ["1", "2"], classes=[1, 2])
    assert read_study(path).datasets["set"].classes == ["1", "2"]
    for classes in ([1], "low", [True, False]):
        text = path.read_text()
        changed = yaml.safe_load(text)
        changed["datasets"]["set"]["classes"] = classes
        path.write_text(yaml.safe_dump(changed))
        with pytest.raises(InputError, match=r"datasets\.set\.classes"):
            read_study(path)
        path.write_text(text)


@pytest.mark.slow
def test_a_study_whose_recipe_selects_by_an_ordinal_metric_needs_an_order(tmp_path: Path) -> None:
    path = study(tmp_path, ORDER)
    content = yaml.safe_load(path.read_text())
    content["protocols"] = {
        "tuned": {"unfreeze": 1, "epochs": 1, "image_size": 32, "select": KAPPA}
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    place = Workspace(tmp_path / "ws")
    outcome = run_study(place, read_study(path))
    (sentence,) = outcome.failed.values()
    assert sentence.startswith(f"{KAPPA} goes by the order of the classes, and nothing says which")
    assert not place.pixels("set").exists()
    runs = []
    for order in ("low, medium, high", "medium, low, high"):
        outcome = run_study(place, read_study(path, settings=[f"datasets.set.classes=[{order}]"]))
        assert outcome.failed == {}
        runs += outcome.predictions
    assert len(set(runs)) == 2
