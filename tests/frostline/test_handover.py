"""What `export` writes beside an ONNX file: predict.py says what `frostline predict` says."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dicom_files import save
from PIL import Image

import frostline
from frostline.apply import predict_alone
from frostline.apply.load import LoadedRun, load_run
from frostline.apply.onnx import export_onnx
from frostline.apply.predict import predict_images
from frostline.cache import InputError, Workspace
from frostline.cli import app
from frostline.extract.images.decode import decode
from frostline.extract.images.geometry import Channels, Geometry
from frostline.report import read_predictions

from ..test_docs import blocks
from .conftest import make_images

CPU = ("--device", "cpu")
NET = ("--backbone", "timm:test_resnet", "--weights", "random", "--image-size", "32")
# What a hospital does not have, and must not need.
ABSENT = "torch torchvision pandas sklearn scipy timm h5py pyarrow onnx matplotlib frostline"
ALONE = (
    "import runpy, sys; sys.modules.update(dict.fromkeys({absent!r}.split())); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def alone(*arguments: object, absent: str = ABSENT, folder: Path | None = None) -> Any:
    """Run predict.py in a process of its own, where packages cannot be imported."""
    code = ALONE.format(absent=absent)
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


def noise(*shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    """Smooth noise: blobs that are still there when an image is resized."""
    rng = np.random.default_rng(sum(shape))
    small = rng.integers(0, high, [-(-shape[0] // 7), -(-shape[1] // 7), *shape[2:]])
    large = np.kron(small, np.ones((7, 7, *[1] * (len(shape) - 2)), int))
    return large[: shape[0], : shape[1]].astype(dtype)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, which has learned enough to tell images from each other."""
    folder: Path = tmp_path_factory.mktemp("handover")
    make_images(folder / "images", 40)
    on = ("--workspace", str(folder / "frostline-workspace"))
    for arguments in (
        ("index", "chest", "--root", str(folder / "images"), "--group-pattern", r"(patient\d+)"),
        ("finetune", "-d", "chest", *NET, "--unfreeze", "all", "--epochs", "3", "--lr", "1e-2"),
    ):
        machine = CPU if arguments[0] == "finetune" else ()
        assert not app([*arguments, *machine, *on], standalone_mode=False)
    return folder


@pytest.fixture(scope="module")
def loaded(place: Path) -> LoadedRun:
    (path,) = (place / "frostline-workspace" / "models").iterdir()
    return load_run(Workspace(place / "frostline-workspace"), path.name)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A photo, a rotated photo, 16 bits, and DICOM with and without a window, white and black."""
    folder: Path = tmp_path_factory.mktemp("files")
    Image.fromarray(noise(90, 121, 3)).save(folder / "photo.jpg", quality=90)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(64, 41, 3)).save(folder / "rotated.jpeg", exif=exif)
    deep = noise(77, 50, high=60_000, dtype=np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    stored = noise(60, 83, high=4096, dtype=np.uint16)
    scale = {"RescaleSlope": 1.5, "RescaleIntercept": -1024.0}
    window = {"WindowCenter": [300.0, 40.0], "WindowWidth": [2500.0, 80.0]}
    save(folder / "ct.dcm", stored, **scale, **window)
    save(folder / "ray.dcm", stored, **scale, **window, PhotometricInterpretation="MONOCHROME1")
    save(folder / "plain.dcm", stored.astype(np.int16) - 2048, **scale, PixelRepresentation=1)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    save(folder / "skin", noise(40, 50, 3)[None], **colour)
    return sorted(folder.iterdir())


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return table.filter(like="prob_").to_numpy()


def compared(loaded: LoadedRun, files: list[Path], path: Path, **options: Any) -> np.ndarray:
    """What predict.py says, which is what `predict` says, to 1e-5."""
    export_onnx(loaded, path, **options)
    done = alone(path.with_name("predict.py"), path, *files)
    assert done.returncode == 0, done.stderr
    Path(path.with_suffix(".csv")).write_text(done.stdout)
    found = pd.read_csv(path.with_suffix(".csv"))
    wanted = predict_images(loaded, files, **options).table
    assert found["image_id"].tolist() == [str(file) for file in files]
    assert found["prediction"].tolist() == wanted["prediction"].tolist()
    np.testing.assert_allclose(probabilities(found), probabilities(wanted), rtol=0, atol=1e-5)
    return probabilities(found)


GEOMETRIES: dict[str, dict[str, Any]] = {
    "shorter side": {},
    "squashed, bicubic": {"resize": "squash", "resize_to": 50, "interpolation": "bicubic"},
    "larger": {"resize_to": 150, "crop": 96},
    "padded": {"resize_to": 33, "crop": 64},
    "percentiles": {"window": {"percentiles": [2, 97]}},
    "range": {"window": {"range": [-500, 3000]}},
    "z": {"window": {"percentiles": [1, 99], "znormalization": [-2, 2], "nonzero": True}},
}


QUICK = ("shorter side", "percentiles")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in GEOMETRIES]


@pytest.mark.parametrize("name", ALL)
def test_predict_py_says_what_predict_says(
    loaded: LoadedRun, files: list[Path], tmp_path: Path, name: str
) -> None:
    run = replace(loaded, geometry=replace(loaded.geometry, **GEOMETRIES[name]))
    found = compared(run, files, tmp_path / "run.onnx")
    # The images are not all one to this run: what was read otherwise would show.
    assert found[:, 0].std() > 1e-3


@pytest.mark.slow
def test_scaled_by_a_temperature(loaded: LoadedRun, files: list[Path], tmp_path: Path) -> None:
    plain = compared(loaded, files, tmp_path / "plain.onnx")
    scaled = compared(loaded, files, tmp_path / "scaled.onnx", temperature=2.0)
    assert np.abs(plain - scaled).max() > 1e-3
    assert json.loads((tmp_path / "scaled.json").read_text())["temperature"] == 2.0


def more_files(folder: Path) -> list[Path]:
    """Every other kind of file that both read."""
    colour, grey = Image.fromarray(noise(40, 60, 3)), Image.fromarray(noise(61, 33))
    clear = colour.copy()
    clear.putalpha(Image.fromarray(noise(40, 60)))
    palette = colour.quantize(16)
    palette.info["transparency"] = 3
    for name, image in {
        "grey.png": grey,
        "rgba.png": clear,
        "la.png": clear.convert("LA"),
        "palette.png": palette,
        "opaque.png": colour.quantize(8),
        "one.png": grey.convert("1"),
        "cmyk.jpg": colour.convert("CMYK"),
        "deep.tif": Image.fromarray(noise(50, 70, high=2**16, dtype=np.uint16)),
        "same.png": Image.fromarray(noise(32, 32, 3)),
        "tall.bmp": colour.resize((9, 200)),
        "photo.webp": colour,
        # Above 2^25 pixels JPEG is decoded at a fraction.
        "huge.jpg": Image.fromarray(noise(64, 60, 3)).resize((5000, 7000)),
    }.items():
        image.save(folder / name)
    keyed = folder / "keyed.png"
    colour.save(keyed, transparency=colour.getpixel((0, 0)))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("channels", ["grey", "rgb"])
def test_pixels_are_the_same_to_the_bit(
    files: list[Path], tmp_path: Path, channels: Channels
) -> None:
    mode = {"grey": "L", "rgb": "RGB"}[channels]
    windows = [one["window"] for one in GEOMETRIES.values() if "window" in one]
    shapes = Geometry("shorter", 40, 32, "bilinear"), Geometry("squash", 31, 48, "bicubic")
    all_files = [*files, *more_files(tmp_path)]
    cases = [(path, shape) for path in all_files for shape in shapes]
    cases += [(path, replace(shapes[0], window=window)) for path in files for window in windows]
    for path, geometry in cases:
        spec = geometry.to_spec()
        image = predict_alone.read_image(path, spec)
        np.testing.assert_array_equal(
            predict_alone.resized_crop(image, spec, mode),
            decode(path, None, geometry, channels),
            err_msg=path.name,
        )


def test_what_lies_beside_says_all_of_the_run(
    place: Path, loaded: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    workspace = frostline.Workspace("frostline-workspace")
    path = workspace.export(loaded.run, tmp_path / "chest.onnx")
    assert {one.name for one in tmp_path.iterdir()} == {
        *("chest.onnx", "chest.json", "chest.md", "predict.py")
    }
    about = json.loads((tmp_path / "chest.json").read_text())
    assert about["onnx"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert about["classes"] == loaded.classes
    assert about["geometry"] == {**loaded.geometry.to_spec(), "antialias": True}
    assert about["normalisation"] == {**loaded.normalisation, "inside": True}
    assert about["temperature"] is None
    own = read_predictions(workspace.paths.predictions(loaded.run))
    assert about["versions"]["trained"] == own.meta["versions"]
    for name in ("backbone", "weights_digest", "manifest_digest"):
        assert about["trained"][name] == own.meta[name]
    assert str(place) not in (tmp_path / "chest.json").read_text()
    assert (tmp_path / "chest.md").read_text().startswith("# chest-")


def test_nothing_of_others_is_replaced(
    place: Path, loaded: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = frostline.Workspace(place / "frostline-workspace")
    monkeypatch.chdir(tmp_path)
    Path("predict.py").write_text("print('mine')")
    with pytest.raises(InputError, match=r"^predict.py was not written by Frostline, and would"):
        workspace.export(loaded.run, "chest.onnx", overwrite=True)
    assert [one.name for one in Path().iterdir()] == ["predict.py"]
    Path("predict.py").unlink()
    Path("chest.json").write_text("{}")
    with pytest.raises(InputError, match=r"^chest.json is there: name another file"):
        workspace.export(loaded.run, "chest.onnx")
    workspace.export(loaded.run, "chest.onnx", overwrite=True)
    workspace.export(loaded.run, "other.onnx")  # predict.py is that of both
    Path("predict.py").write_text(f"# {predict_alone.__doc__}")
    with pytest.raises(InputError, match=r"^predict.py is of another release"):
        workspace.export(loaded.run, "third.onnx")


def refused(tmp_path: Path) -> Mapping[str, tuple[Path, str]]:
    """Files that predict.py does not read, and what it says of them."""
    frames = noise(20, 20, high=4096, dtype=np.uint16)
    (tmp_path / "volume.nii.gz").write_bytes(b"\x1f\x8b no image")
    Image.fromarray(noise(20, 20)).save(
        tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(noise(20, 20))]
    )
    Image.fromarray(noise(20, 20).astype(np.float32)).save(tmp_path / "float.tif")
    two = np.stack([frames, frames])
    save(tmp_path / "two.dcm", two, NumberOfFrames=2)
    curved = {"WindowCenter": 9, "WindowWidth": 9, "VOILUTFunction": "SIGMOID"}
    save(tmp_path / "curved.dcm", frames, **curved)
    return {
        name: (tmp_path / name, said)
        for name, said in {
            "volume.nii.gz": "cannot identify image file",
            "pages.tif": "it has several pages; give files of one.",
            "float.tif": "its intensities have no known range.",
            "two.dcm": "it has several frames or tables of intensities, which are not read here.",
            "curved.dcm": "its window is not linear, or not wider than 1, and not read here.",
            "missing.png": "No such file",
        }.items()
    }


def test_what_it_cannot_read_is_refused_in_a_sentence(
    loaded: LoadedRun, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "run.onnx"
    export_onnx(loaded, path)
    script, good = path.with_name("predict.py"), files[0]
    for name, (file, said) in refused(tmp_path).items():
        with pytest.raises(SystemExit, match=f"^Cannot read {re.escape(str(file))}: ") as caught:
            predict_alone.main(str(path), str(good), str(file))
        assert said in str(caught.value.code), name
        assert capsys.readouterr().out == "", name
    dicom = next(file for file in files if file.suffix == ".dcm")
    done = alone(script, path, dicom, absent=f"{ABSENT} pydicom")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Cannot read {dicom}: DICOM needs pydicom 3; run `pip install pydicom`.\n"
    )
    photo = next(file for file in files if file.suffix == ".jpg")
    assert alone(script, path, photo, absent=f"{ABSENT} pydicom").returncode == 0
    assert alone(script).stderr.startswith("Give a model and images: python predict.py ")
    (tmp_path / "text.onnx").write_text("no model")
    for model in ("text.onnx", "none.onnx"):
        told = alone(script, tmp_path / model, tmp_path / "x.png")
        assert told.stderr.endswith("or is no file of `frostline export`: give another.\n")
        assert told.stderr.count("\n") == 1


def test_the_commands_of_the_page(
    place: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        block.text.strip()
        for block in blocks("docs/predict.md")
        if block.mark == "run by tests/frostline/test_handover.py"
    ]
    assert [line.split()[0] for line in lines] == ["frostline", "python"]
    monkeypatch.chdir(tmp_path)
    (run,) = (one.name for one in (place / "frostline-workspace" / "models").iterdir())
    words = lines[0].replace("chest-effnet-lite0-paper", run).split()[1:]
    on = ("--workspace", str(place / "frostline-workspace"))
    assert not app([*words, *on], standalone_mode=False)
    for name, file in (("scan.dcm", "ct.dcm"), ("photo.jpg", "photo.jpg")):
        Path("handover", name).write_bytes((files[0].parent / file).read_bytes())
    done = alone(*lines[1].split()[1:], folder=Path("handover"))
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.split()] == [
        *("image_id", "scan.dcm", "photo.jpg")
    ]
