"""A head that goes by the order of the classes: refused without one, and again for another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import frostline
from frostline import InputError
from frostline.cache import Workspace, read_manifest
from frostline.report import read_predictions
from frostline.study.file import read_study
from frostline.study.runner import run_study

ORDER = ["low", "medium", "high"]
TINY = {"weights": "random", "image_size": 32}
PATTERN = "(patient[0-9]+)"
TIGHT = {"C": 0.01, "tol": 1e-9}


def make(root: Path) -> Path:
    """Twelve patients of each grade, two images each, the brighter the higher."""
    rng = np.random.default_rng(0)
    for place, label in enumerate(ORDER):
        (root / label).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 120 + 60 * place, (32, 32, 3), dtype=np.uint8)
            name = f"patient{place}{number // 2:02d}_{number}.png"
            Image.fromarray(pixels).save(root / label / name)
    return root


@pytest.fixture
def place(tmp_path: Path) -> frostline.Workspace:
    place = frostline.Workspace(tmp_path / "ws")
    place.index("set", make(tmp_path / "images"), group_pattern=PATTERN)
    place.extract("set", "timm:test_vit", **TINY)
    return place


def test_the_order_is_the_declared_one(place: frostline.Workspace, tmp_path: Path) -> None:
    text = (
        "Head ordinal goes by the order of the classes, and nothing says which that of data set "
        "'set' is (high, low, medium): declare it from the lowest to the highest by `frostline "
        "index NAME … --classes …`, or by `classes` of the data set in a study."
    )
    with pytest.raises(InputError) as caught:
        place.probe("set", "timm:test_vit", "ordinal")
    assert str(caught.value) == text
    found = []
    for order in (ORDER, ORDER[::-1], ["medium", "low", "high"]):
        place.index("set", tmp_path / "images", group_pattern=PATTERN, classes=order)
        found.append(place.probe("set", "timm:test_vit", "ordinal", hyperparameters=TIGHT))
        assert found[-1].predictions.meta["hyperparameters"]["classes"] == order
        assert found[-1].predictions.classes == order
    # Each order is a run of its own; of the reverse the answers are the same.
    assert len({run.id for run in found}) == 3
    tables = [run.predictions.table.set_index("image_id") for run in found]
    names = [f"prob_{name}" for name in ORDER]
    np.testing.assert_allclose(tables[0][names], tables[1][names], atol=1e-4)
    assert np.abs(tables[0][names] - tables[2][names]).to_numpy().max() > 0.01


def test_predicted_and_exported_answers_are_the_runs(
    place: frostline.Workspace, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from frostline.extract.images.decode import decode
    from frostline.extract.images.geometry import Geometry

    place.index("set", tmp_path / "images", group_pattern=PATTERN, classes=ORDER)
    run = place.probe("set", "timm:test_vit", "ordinal", hyperparameters={"C": 0.01})
    own = run.predictions.table
    test = own[own["split"] == "test"]
    paths = [tmp_path / "images" / name for name in test["image_id"]]
    names = [f"prob_{name}" for name in ORDER]
    found = place.predict(run, paths)
    np.testing.assert_allclose(found.table[names], test[names], atol=1e-9)
    path = place.export(run, tmp_path / "run.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    geometry = Geometry.from_spec(json.loads(about["geometry"]))
    pixels = np.stack([decode(one, None, geometry, about["channels"]) for one in paths])
    (shares,) = session.run(None, {"images": pixels})
    columns = [f"prob_{name}" for name in json.loads(about["classes"])]
    np.testing.assert_allclose(shares, test[columns], atol=1e-4)


@pytest.mark.slow
def test_a_study_trains_it_again_where_the_order_changes(tmp_path: Path) -> None:
    make(tmp_path / "images")
    content = {
        "name": "small",
        "datasets": {"set": {"root": "images", "group_pattern": PATTERN, "classes": ORDER}},
        "backbones": [{"name": "timm:test_vit", "weights": "random"}],
        "protocols": {
            "grades": {"head": "ordinal", "image_size": 32},
            "names": {"head": "logistic", "image_size": 32},
        },
        "primary_metric": "mean_absolute_error",
        "replicates": 100,
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    place = Workspace(tmp_path / "ws")
    first = run_study(place, read_study(path))
    assert first.failed == {}
    answer = (place.report("small") / "answer.txt").read_text()
    assert "mean absolute error" in answer.lower()
    other = "datasets.set.classes=[medium, low, high]"
    second = run_study(place, read_study(path, settings=[other]))
    assert read_manifest(place.manifest("set")).classes == ["medium", "low", "high"]
    same = set(first.predictions) & set(second.predictions)
    assert [read_predictions(one).meta["head"] for one in same] == ["logistic"]
    assert len(second.predictions) == 2
