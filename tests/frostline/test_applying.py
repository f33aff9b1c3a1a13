"""Runs applied to files: `predict` and `export`, against what the runs said themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from stamps import rewrite

from frostline.cache import InputError, Store, Workspace
from frostline.cli import USAGE_ERROR, app
from frostline.report import read_predictions

from .conftest import make_images

TINY = ("--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32")
NET = ("--backbone", "timm:test_resnet", *TINY[2:])
CPU = ("--device", "cpu")
Command = Callable[..., str]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `frostline ARGUMENTS` in this process; its standard output, without the line's end."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert not app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out.strip()

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a workspace in which they are embedded."""
    folder: Path = tmp_path_factory.mktemp("applying")
    make_images(folder / "images", 40)
    on = ("--workspace", str(folder / "ws"))
    index = ("index", "set", "--root", str(folder / "images"), "--group-pattern", r"(patient\d+)")
    for arguments in (
        (*index, *on),
        ("extract", "--dataset", "set", *TINY, *CPU, *on),
        ("extract", "--dataset", "set", *NET, *CPU, *on),
    ):
        assert not app(list(arguments), standalone_mode=False)
    return folder


@pytest.fixture
def on(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    return "--workspace", str(place / "ws")


def train(command: Command, on: tuple[str, str], kind: str) -> str:
    """Train a run; its predictions' path."""
    backbone = NET if "resnet" in kind else TINY
    if kind.startswith("fine"):
        return command("finetune", "-d", "set", *backbone, "--epochs", 2, "--lr", 1e-3, *CPU, *on)
    head = kind.split()[0]
    return command("probe", "-d", "set", *backbone[:2], "--head", head, *on)


KINDS = ["fine-tuned vit", "fine-tuned resnet", "logistic vit", "ordinal vit"]
KINDS += ["adam resnet", "knn vit"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_runs_own_predictions_again(
    place: Path, on: tuple[str, str], command: Command, kind: str
) -> None:
    own = read_predictions(train(command, on, kind))
    paths = [place / "images" / name for name in own.table["image_id"]]
    printed = command("predict", "--run", own.run, *paths, "--out", "p.parquet", *CPU, *on)
    assert printed == "p.parquet"
    found = read_predictions("p.parquet")
    assert found.table["image_id"].tolist() == [str(path) for path in paths]
    assert found.table[["label", "split", "group_id"]].isna().all().all()
    assert found.table["prediction"].tolist() == own.table["prediction"].tolist()
    # Of validation images a refitted head says other things than when it was chosen.
    test = (own.table["split"] == "test") | kind.startswith(("fine", "adam"))
    names = [f"prob_{name}" for name in own.classes]
    np.testing.assert_array_equal(
        found.table.loc[test, names].to_numpy(), own.table.loc[test, names].to_numpy()
    )
    for name in ("run", "dataset", "backbone", "unfreeze", "classes", "hyperparameters"):
        assert found.meta[name] == own.meta[name]


def test_a_folder_its_ignored_and_its_unreadable_files(
    place: Path, on: tuple[str, str], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_predictions(train(command, on, "fine-tuned vit"))
    new = Path("new")
    shutil.copytree(place / "images" / "sick", new / "deep")
    (new / "notes.txt").write_text("no image")
    (new / "deep" / "broken.png").write_bytes(b"no image")
    broken = "Cannot read image new/deep/broken.png: it is not an image, or of a format that is "
    with pytest.raises(InputError, match=broken):
        command("predict", "--run", own.run, new, *CPU, *on)
    assert not list(Path().glob("predict-*"))
    app(
        ["predict", "--run", own.run, "new", "--on-error", "skip", *CPU, *on],
        standalone_mode=False,
    )
    said = capsys.readouterr()
    assert said.out == f"predict-{own.run}.csv\n"
    assert f"Skipped: {broken}" in said.err
    assert "1 files in folders are no images and were left out." in said.err
    assert "20 predictions: " in said.err
    table = pd.read_csv(said.out.strip()).set_index("image_id")
    assert len(table) == 20
    truth = own.table.set_index("image_id")
    for name in truth.index[truth["label"] == "sick"]:
        same = table.loc[f"new/deep/{Path(name).name}", "prob_sick"]
        assert same == pytest.approx(truth.loc[name, "prob_sick"], abs=1e-12)
    with pytest.raises(InputError) as caught:
        command("predict", "--run", own.run, new, "--on-error", "skip", *CPU, *on)
    assert str(caught.value) == (
        f"predict-{own.run}.csv is there: give another --out, or --overwrite."
    )
    command("predict", "--run", own.run, new, "--on-error", "skip", "--overwrite", *CPU, *on)


def test_a_folder_with_a_model_is_a_run_without_its_workspace(
    place: Path, on: tuple[str, str], command: Command
) -> None:
    own = read_predictions(train(command, on, "logistic vit"))
    shutil.copytree(Workspace(place / "ws").model(own.run), "kept")
    images = place / "images" / "well"
    command("predict", "--run", "kept", images, "--out", "a.csv", *CPU)
    command("predict", "--run", own.run[:-3], images, "--out", "b.csv", *CPU, *on)
    assert pd.read_csv("a.csv").equals(pd.read_csv("b.csv"))


def edited(folder: Path, change: Callable[[Any], None]) -> None:
    rewrite(folder / "head.json", lambda content: change(content["about"]))


def test_wrong_weights_and_what_is_not_known(
    place: Path, on: tuple[str, str], command: Command
) -> None:
    own = read_predictions(train(command, on, "logistic vit"))
    images = place / "images" / "well"

    def sentence(change: Callable[[Any], None], *arguments: object) -> str:
        shutil.rmtree("kept", ignore_errors=True)
        shutil.copytree(Workspace(place / "ws").model(own.run), "kept")
        edited(Path("kept"), change)
        with pytest.raises(InputError) as caught:
            command("predict", "--run", "kept", images, *CPU, *arguments)
        return str(caught.value)

    digest = own.meta["embedding_spec"]["weights"][:12]
    other = sentence(lambda about: about.update(weights="random, seed 1"))
    assert other.startswith(
        "Run kept was trained on timm:test_vit with other weights than random, seed 1 has here "
        f"(digest {digest}, not "
    )
    assert other.endswith("): give its file by --weights.")
    assert sentence(lambda about: about.update(weights="file x.pth")) == (
        "Run kept needs timm:test_vit with weights from file x.pth: give that file by --weights."
    )
    assert "There is no weights file y.pth" in sentence(
        lambda about: about.update(weights="file x.pth"), "--weights", "y.pth"
    )
    assert sentence(lambda about: about["embedding_spec"].pop("pixels")) == (
        "Run kept was trained on embeddings that were imported: only the tool that made them can "
        "embed other images."
    )
    gone = sentence(lambda about: about.pop("embedding_spec"))
    assert gone.endswith(
        f"{own.meta['store_key']} alone, which is gone: run `frostline extract` and "
        "`frostline probe` again."
    )


def test_what_is_no_run(place: Path, on: tuple[str, str], command: Command) -> None:
    for kind in ("fine-tuned vit", "logistic vit"):
        train(command, on, kind)
    with pytest.raises(InputError) as caught:
        command("predict", "--run", "other", "x.png", *CPU, *on)
    models = place / "ws" / "models"
    assert str(caught.value) == (
        f"There is no run 'other' with a kept model in {place / 'ws'}: name one of {models}, or a "
        "folder with model.json or head.json."
    )
    with pytest.raises(InputError, match=r"runs begin with 'set-timm': name one of them \(set-"):
        command("predict", "--run", "set-timm", "x.png", *CPU, *on)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.png",), "There is no file or folder gone.png: check the path."),
        (("empty",), "There is no image in folder empty: name another."),
        (
            ("a.txt",),
            "a.txt is not an image that can be read here: those end in .bmp, .jpeg, .jpg, .png, "
            ".tif, .tiff, .webp, .nii, .nii.gz, .dcm, .dicom.",
        ),
        (("a.png", "a.png"), "a.png is named twice: name each file once."),
        (
            ("a.png", "--slices", "7"),
            "--slices is FIRST:STOP, such as 40:60, :60 or 40:, or all, middle:N or every:N, "
            "not '7'.",
        ),
        (
            ("empty", "--mask", "m.nii"),
            "--mask is for one volume: give one file, and run again for others.",
        ),
        (("a.png", "--min-roi", "3"), "--min-roi is for --mask: give both, or neither."),
        (
            ("a.png", "--slices", "1:2"),
            "--slices and --mask are for volumes, and no NIfTI file is given: leave them out.",
        ),
        (
            ("a.png", "--mask", "a.png"),
            "--slices and --mask are for volumes, and no NIfTI file is given: leave them out.",
        ),
        (
            ("a.png", "--weights", "x.pth"),
            "Run RUN is fine-tuned and holds its own weights: leave out --weights and "
            "--head-weights.",
        ),
        (("a.png", "--out", "x.txt"), "--out must end in .csv or .parquet, not as in 'x.txt'."),
    ],
)
def test_what_cannot_be_predicted(
    on: tuple[str, str], command: Command, arguments: tuple[str, ...], message: str
) -> None:
    own = read_predictions(train(command, on, "fine-tuned vit"))
    Path("empty").mkdir()
    Path("a.txt").write_text("")
    Image.new("RGB", (40, 40)).save("a.png")
    with pytest.raises(InputError) as caught:
        command("predict", "--run", own.run, *arguments, *CPU, *on)
    assert str(caught.value) == message.replace("RUN", own.run)
    assert not list(Path().glob("predict-*"))


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (("predict", "a.png", "--aggregate", "max"), "'none', 'mean'"),
        (("predict", "a.png", "--on-error", "no"), "'stop', 'skip'"),
        (("export", "--to", "tflite"), "'onnx'"),
    ],
)
def test_closed_lists_are_choices(
    command: Command, arguments: tuple[str, ...], choices: str
) -> None:
    with pytest.raises(USAGE_ERROR) as caught:
        command(*arguments, "--run", "x")
    assert choices in caught.value.format_message()


def test_a_run_may_be_named_by_its_predictions(
    place: Path, on: tuple[str, str], command: Command
) -> None:
    images = place / "images" / "well"
    for number, kind in enumerate(("fine-tuned vit", "logistic vit")):
        path = Path(train(command, on, kind))
        command("predict", "--run", path, images, "--out", f"{number}.csv", *CPU)
        command("predict", "--run", path.stem, images, "--out", "by_name.csv", *CPU, *on)
        assert pd.read_csv(f"{number}.csv").equals(pd.read_csv("by_name.csv"))
        Path("by_name.csv").unlink()
    copied = Path("predictions") / path.name
    copied.parent.mkdir()
    shutil.copy(path, copied)
    with pytest.raises(InputError) as caught:
        command("predict", "--run", copied, images, *CPU)
    assert str(caught.value) == (
        f"{copied} has no kept model in {Path('models') / path.stem}: train that run again."
    )


def make_volumes(folder: Path) -> None:
    """Ten patients' volumes, masks and table."""
    rng = np.random.default_rng(0)
    lines = ["patient,grade"]
    for number in range(12):
        affine = np.diag([1.0, 1, 2, 1])
        values = rng.normal(100 + 50 * (number % 2), 20, (36, 40, 9)).astype(np.float32)
        mask = np.zeros((36, 40, 9), np.uint8)
        mask[5:15, 5:15, 3:6] = 1
        for name, data in (("flair", values), ("mask", mask)):
            path = folder / f"p{number}" / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(data, affine), path)
        lines.append(f"p{number},g{number % 2}")
    (folder / "table.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("spacing", [(), ("--spacing", "1", "1", "1")])
def test_slices_of_volumes(
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    spacing: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_volumes(Path("mri"))
    command(
        "index",
        "mri",
        "--root",
        "mri",
        "--kind",
        "mri-slices",
        "--table",
        "mri/table.csv",
        "--group-column",
        "patient",
        "--label-column",
        "grade",
        "--image",
        "{patient}/flair.nii.gz",
        "--mask",
        "{patient}/mask.nii.gz",
        "--min-roi",
        "30",
        *spacing,
    )
    own = read_predictions(command("finetune", "-d", "mri", *NET, "--epochs", 1, *CPU))
    patient = str(own.table["group_id"].iloc[0])
    volume = Path("mri") / patient / "flair.nii.gz"
    masked = ("--mask", volume.with_name("mask.nii.gz"))
    command("predict", "--run", own.run, volume, *masked, "--out", "masked.csv", *CPU)
    expected = own.table[own.table["group_id"] == patient]
    found = pd.read_csv("masked.csv")
    assert found["image_id"].tolist() == [f"mri/{name}" for name in expected["image_id"]]
    assert (found["group_id"] == str(volume)).all()
    names = [f"prob_{name}" for name in own.classes]
    np.testing.assert_allclose(found[names], expected[names], atol=1e-6)

    command("predict", "--run", own.run, volume, "--out", "all.csv", *CPU)
    everything = pd.read_csv("all.csv")
    assert len(everything) == (17 if spacing else 9)
    command("predict", "--run", own.run, volume, "--slices", "2:4", "--out", "two.csv", *CPU)
    assert pd.read_csv("two.csv")["image_id"].tolist() == [f"{volume}#z=2", f"{volume}#z=3"]
    command("predict", "--run", own.run, "mri", "--aggregate", "mean", "--out", "mean.csv", *CPU)
    means = pd.read_csv("mean.csv").set_index("image_id")
    assert len(means) == 24  # masks are volumes, too
    assert means.loc[str(volume), "images"] == len(everything)
    np.testing.assert_allclose(means.loc[str(volume), names], everything[names].mean(), atol=1e-6)
    with pytest.raises(InputError) as caught:
        command("predict", "--run", own.run, volume, "--slices", "90:", *CPU)
    assert str(caught.value) == (
        f"{volume} has {len(everything)} slices, and none of them is asked for: name others by "
        "--slices, or give a smaller --min-roi."
    )


def test_slices_without_masks_and_with_their_neighbours(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New volumes get the run's window and neighbours; no store is shared with plain slices."""
    monkeypatch.chdir(tmp_path)
    make_volumes(Path("mri"))
    table = ("--table", "mri/table.csv", "--group-column", "patient", "--label-column", "grade")
    image = ("--image", "{patient}/flair.nii.gz", "--slices", "every:4")
    window = ("--option", "window={percentiles: [1, 99], znormalization: [-3, 3], nonzero: true}")
    index = ("index", "mri", "--root", "mri", "--kind", "mri-slices", *table, *image, *window)
    command(*index)
    plain = read_predictions(command("finetune", "-d", "mri", *NET, "--epochs", 1, *CPU))
    command(*index, "--neighbours")
    own = read_predictions(command("finetune", "-d", "mri", *NET, "--epochs", 1, *CPU))
    assert own.run != plain.run
    stores = [Store.open(path) for path in Path("frostline-workspace/pixels/mri").iterdir()]
    assert sorted(store.spec["channels"] for store in stores) == ["grey", "rgb"]
    (found,) = (store.spec["geometry"] for store in stores if store.spec["channels"] == "rgb")
    assert found["neighbours"] is True
    patient = str(own.table["group_id"].iloc[0])
    volume = Path("mri") / patient / "flair.nii.gz"
    rule = ("--slices", "every:4")
    command("predict", "--run", own.run, volume, *rule, "--out", "new.csv", *CPU)
    expected, new = own.table[own.table["group_id"] == patient], pd.read_csv("new.csv")
    assert new["image_id"].tolist() == [f"{volume}#z={z}" for z in (0, 4, 8)]
    names = [f"prob_{name}" for name in own.classes]
    np.testing.assert_allclose(new[names], expected[names], atol=1e-6)
    assert new[names].to_numpy().std(axis=0).max() > 1e-4  # slices differ in what they are given
    with pytest.raises(InputError, match="leave one out"):
        command("predict", "--run", own.run, volume, *rule, "--mask", volume, *CPU)
    with pytest.raises(InputError, match="middle:N or every:N"):
        command("predict", "--run", own.run, volume, "--slices", "every:x", *CPU)


def test_frames_of_dicom_files(on: tuple[str, str], command: Command) -> None:
    pydicom = pytest.importorskip("pydicom")
    own = read_predictions(train(command, on, "fine-tuned vit"))
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 40
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    values = np.random.default_rng(0).integers(0, 256, (3, 40, 40), np.uint8)
    for name, frames in (("one.dcm", values[:1]), ("three", values)):
        dataset.NumberOfFrames = len(frames)
        dataset.PixelData = frames.tobytes()
        dataset.save_as(name, enforce_file_format=True)
    Image.fromarray(values[0]).save("same.png")
    command(
        "predict", "--run", own.run, "one.dcm", "three", "same.png", "--out", "p.csv", *CPU, *on
    )
    found = pd.read_csv("p.csv").set_index("image_id")
    assert found.index.tolist() == ["one.dcm", "three#z=0", "three#z=1", "three#z=2", "same.png"]
    assert found["group_id"].tolist() == ["one.dcm", *["three"] * 3, "same.png"]
    for name in ("three#z=0", "same.png"):
        assert found.loc[name, "prob_sick"] == found.loc["one.dcm", "prob_sick"]


@pytest.mark.parametrize(
    "kind", ["fine-tuned vit", "fine-tuned resnet", "logistic vit", "adam resnet"]
)
def test_an_exported_run_gives_the_same(
    place: Path, on: tuple[str, str], command: Command, kind: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    own = read_predictions(train(command, on, kind))
    assert command("export", "--run", own.run, "--to", "onnx", *on) == f"{own.run}.onnx"
    session = onnxruntime.InferenceSession(f"{own.run}.onnx", providers=["CPUExecutionProvider"])
    test = own.table[own.table["split"] == "test"]
    from frostline.extract.images.decode import decode
    from frostline.extract.images.geometry import Geometry

    about = session.get_modelmeta().custom_metadata_map
    geometry = Geometry.from_spec(json.loads(about["geometry"]))
    assert json.loads(about["classes"]) == own.classes
    pixels = np.stack(
        [
            decode(place / "images" / name, None, geometry, about["channels"])
            for name in test["image_id"]
        ]
    )
    (found,) = session.run(None, {"images": pixels})
    names = [f"prob_{name}" for name in own.classes]
    np.testing.assert_allclose(found, test[names].to_numpy(), atol=1e-4)


def test_an_export_that_disagrees_leaves_no_file(
    on: tuple[str, str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    own = read_predictions(train(command, on, "fine-tuned vit"))
    monkeypatch.setattr("frostline.apply.onnx.TOLERANCE", -1.0)
    with pytest.raises(InputError, match=f"probabilities of run {own.run} differ from PyTorch's"):
        command("export", "--run", own.run, "--out", "x.onnx", *on)
    assert not list(Path().iterdir())


def test_what_cannot_be_exported(
    on: tuple[str, str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = read_predictions(train(command, on, "knn vit"))
    with pytest.raises(InputError) as caught:
        command("export", "--run", own.run, *on)
    assert str(caught.value) == (
        f"Run {own.run} has a head that is not a layer of a network (KNNProbe): export runs with "
        "head logistic, ordinal or adam, or fine-tuned ones."
    )
    with pytest.raises(InputError, match=r"--out must end in .onnx, not as in 'x.pb'"):
        command("export", "--run", own.run, "--out", "x.pb", *on)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"run `pip install 'frostline\[onnx\]'`"):
        command("export", "--run", own.run, *on)
