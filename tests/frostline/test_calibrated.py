"""`predict --calibrated` and `export --calibrated`: the temperature of a run's own validation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import frostline
from frostline.apply.load import load_run
from frostline.cache import InputError, Workspace
from frostline.cli import app
from frostline.report import Predictions, read_predictions, write_predictions
from frostline.report.clinical.temperature import fit_temperature, scale
from frostline.report.statistics.sample import make_sample

from ..test_docs import blocks, run_line
from .conftest import make_images

TINY = ("--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32")
CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a quarter of them of the wrong label, a probe of them, and new images."""
    folder: Path = tmp_path_factory.mktemp("calibrated")
    make_images(folder / "images", 48)
    for path in sorted((folder / "images").rglob("*.png")):
        if int(path.name[7:10]) % 4 == 0:  # labels that no model can be sure of
            other = {"sick": "well", "well": "sick"}[path.parent.name]
            path.rename(path.parent.parent / other / path.name)
    shutil.copytree(folder / "images" / "sick", folder / "new_images")
    on = ("--workspace", str(folder / "frostline-workspace"))
    index = ("index", "mine", "--root", str(folder / "images"))
    for arguments in (
        (*index, "--group-pattern", r"(patient\d+)", "--val-fraction", "0.5", *on),
        ("extract", "--dataset", "mine", *TINY, *CPU, *on),
        ("probe", "-d", "mine", "-b", "timm:test_vit", "--head", "adam", *on),
    ):
        assert not app(list(arguments), standalone_mode=False)
    return folder


@pytest.fixture
def own(place: Path, monkeypatch: pytest.MonkeyPatch) -> Predictions:
    monkeypatch.chdir(place)
    (path,) = (place / "frostline-workspace" / "predictions").glob("mine-*.parquet")
    return read_predictions(path)


def frostline_says(*arguments: object) -> None:
    assert not app([str(one) for one in arguments], standalone_mode=False)


def test_predict_scales_by_the_temperature_of_validation(own: Predictions) -> None:
    frostline_says("predict", "new_images", "--run", own.run, "--out", "plain.parquet", *CPU)
    frostline_says(
        "predict", "new_images", "--run", own.run, "--calibrated", "--out", "scaled.parquet", *CPU
    )
    plain, scaled = read_predictions("plain.parquet"), read_predictions("scaled.parquet")
    temperature = fit_temperature(make_sample(own, split="val")).value
    assert scaled.meta["temperature"] == temperature
    assert abs(temperature - 1) > 0.01
    assert "temperature" not in plain.meta
    names = [f"prob_{name}" for name in own.classes]
    wanted = scale(plain.table[names].to_numpy(), temperature)
    np.testing.assert_allclose(scaled.table[names].to_numpy(), wanted, rtol=1e-12)
    assert scaled.table["prediction"].tolist() == plain.table["prediction"].tolist()
    in_python = frostline.Workspace("frostline-workspace").predict(
        own.run, "new_images", calibrated=True
    )
    np.testing.assert_array_equal(in_python.table[names], scaled.table[names])
    assert in_python.meta["temperature"] == temperature


def test_onnx_has_the_probabilities_of_predict(own: Predictions) -> None:
    workspace = frostline.Workspace("frostline-workspace")
    path = workspace.export(own.run, "scaled.onnx", calibrated=True, overwrite=True)
    about = {one.key: one.value for one in onnx.load(str(path)).metadata_props}
    new = workspace.predict(own.run, "new_images", calibrated=True)
    assert float(about["temperature"]) == new.meta["temperature"]
    loaded = load_run(Workspace(Path("frostline-workspace")), own.run)
    files = [Path(name) for name in new.table["image_id"]]
    pixels = np.stack([np.asarray(pixels_of(loaded, file)) for file in files])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": pixels})
    names = [f"prob_{name}" for name in json.loads(about["classes"])]
    np.testing.assert_allclose(found, new.table[names].to_numpy(), atol=1e-6)
    workspace.export(own.run, "plain.onnx", overwrite=True)
    assert "temperature" not in {one.key for one in onnx.load("plain.onnx").metadata_props}


def pixels_of(loaded, file: Path) -> np.ndarray:
    from frostline.apply.new_images import NewImages, Slices

    images = NewImages()
    images.add(file, Slices(), loaded.geometry)
    ((_, (pixels,)),) = images.pixels(loaded.geometry, loaded.channels)
    return pixels


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run.table.assign(split="test"), "no labelled rows of split val"),
        (
            lambda run: run.table.drop(columns=[f"prob_{name}" for name in run.classes]),
            "has no probabilities",
        ),
        (
            lambda run: run.table.assign(
                label=run.table["prediction"],
            ),
            "has no best temperature (the validation rows are all of one class)",
        ),
        (None, "has no predictions in "),
    ],
)
def test_without_a_temperature_a_sentence_says_why(
    own: Predictions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Predictions], object] | None,
    said: str,
) -> None:
    shutil.copytree("frostline-workspace", tmp_path / "frostline-workspace")
    shutil.copytree("new_images", tmp_path / "new_images")
    monkeypatch.chdir(tmp_path)
    path = Path("frostline-workspace", "predictions", f"{own.run}.parquet")
    if change is None:
        path.unlink()
    else:
        write_predictions(path, change(own), own.meta)
    for command in (("predict", "new_images"), ("export",)):
        with pytest.raises(InputError) as caught:
            frostline_says(*command, "--run", own.run, "--calibrated")
        assert said in str(caught.value)
    assert not list(tmp_path.glob("*.onnx"))
    assert not list(tmp_path.glob("predict-*"))


@pytest.mark.parametrize("page", ["docs/clinical.md", "docs/predict.md"])
def test_the_commands_of_the_pages(own: Predictions, page: str) -> None:
    for path in (*Path().glob("predict-*"), *Path().glob("*.onnx")):
        path.unlink()
    found = [one for one in blocks(page) if one.mark.endswith("test_calibrated.py")]
    lines = [line.strip() for one in found for line in one.text.strip().splitlines()]
    assert lines
    for line in lines:
        run_line(line, Path())
    assert list(Path().glob("predict-mine-*.csv"))
