from __future__ import annotations

import os
import stat
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import STORED, save
from numpy.testing import assert_array_equal
from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    JPEGLSLossless,
    RLELossless,
)

from frostline.cache import InputError, Manifest, Workspace
from frostline.extract.audit.audit import audit
from frostline.extract.images.decode import decode, decode_file, image_facts
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.opened import open_image
from frostline.extract.index import index_dataset
from frostline.extract.pixels import manifest_channels
from frostline.extract.private import KEY_FILE

EXACT = Geometry("squash", 8, 8)
RNG = np.random.default_rng(0)


def linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)


def grey(path: Path, frame: int | None = None, geometry: Geometry = EXACT) -> np.ndarray:
    return decode(path, frame, geometry, "grey")


def test_the_whole_range_of_the_stored_bits_without_a_window(tmp_path: Path) -> None:
    assert_array_equal(grey(save(tmp_path / "a.dcm")), linear(STORED, 0, 4095))
    eight = (STORED >> 4).astype(np.uint8)
    assert_array_equal(grey(save(tmp_path / "b.dcm", eight)), eight)
    signed = STORED.astype(np.int16) - 2048
    path = save(tmp_path / "c.dcm", signed, RescaleSlope=2, RescaleIntercept=-10)
    assert_array_equal(grey(path), linear(signed, -2048, 2047))


def test_rescale_then_window(tmp_path: Path) -> None:
    units = STORED * 0.5 - 1024.0
    options: dict[str, Any] = {"RescaleSlope": 0.5, "RescaleIntercept": -1024}
    path = save(tmp_path / "a.dcm", WindowCenter=-200, WindowWidth=801, **options)
    assert_array_equal(grey(path), linear(units, -200.5 - 400, -200.5 + 400))
    path = save(
        tmp_path / "b.dcm",
        WindowCenter=[-200, 5],
        WindowWidth=[800, 9],
        VOILUTFunction="LINEAR_EXACT",
        **options,
    )
    assert_array_equal(grey(path), linear(units, -600, 200))
    path = save(
        tmp_path / "c.dcm", WindowCenter=-200, WindowWidth=800, VOILUTFunction="SIGMOID", **options
    )
    assert_array_equal(grey(path), np.rint(255 / (1 + np.exp(-4 * (units + 200) / 800))))
    own = Geometry("squash", 8, 8, window={"range": [-1000, 0]})
    assert_array_equal(grey(path, geometry=own), linear(units, -1000, 0))


def test_voi_table(tmp_path: Path) -> None:
    table = Dataset()
    entries = np.arange(0, 256, 17, dtype="<u2").tobytes()
    table.LUTDescriptor, table.LUTData = [16, 1000, 8], entries
    path = save(tmp_path / "a.dcm", VOILUTSequence=[table])
    assert_array_equal(grey(path), np.clip(STORED.astype(int) - 1000, 0, 15) * 17)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1")
    assert_array_equal(grey(path), 255 - linear(STORED, 0, 4095))


def test_colour_and_palette(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    attributes = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
    path = save(tmp_path / "a.dcm", colour, PlanarConfiguration=0, **attributes)
    assert_array_equal(decode(path, None, EXACT, "rgb"), colour[0])
    entries = RNG.integers(0, 65536, (3, 256)).astype("<u2")
    names = ("Red", "Green", "Blue")
    palette = {
        f"{n}PaletteColorLookupTableData": e.tobytes() for n, e in zip(names, entries, strict=True)
    }
    palette |= {f"{n}PaletteColorLookupTableDescriptor": [256, 0, 16] for n in names}
    index = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    path = save(tmp_path / "b.dcm", index, PhotometricInterpretation="PALETTE COLOR", **palette)
    expected = np.stack([entry[index] >> 8 for entry in entries], -1)
    assert_array_equal(decode(path, None, EXACT, "rgb"), expected)
    with open_image(path) as opened:
        assert image_facts(opened) == (8, 8, "RGB", "DICOM")


def test_frames(tmp_path: Path) -> None:
    frames = RNG.integers(0, 4096, (3, 8, 8)).astype(np.uint16)
    path = save(tmp_path / "a.dcm", frames, NumberOfFrames=3)
    found = list(decode_file(path, [2, 0], EXACT, "grey"))
    assert_array_equal(found, linear(frames[[2, 0]], 0, 4095))
    for frame in (None, 3):
        with pytest.raises(InputError) as caught:
            grey(path, frame)
        assert str(caught.value) == f"Cannot read image {path}: it has frames 0 to 2, not {frame}."


def test_functional_groups_of_enhanced_files(tmp_path: Path) -> None:
    def item(**attributes: Any) -> Dataset:
        dataset = Dataset()
        for name, value in attributes.items():
            setattr(dataset, name, value)
        return dataset

    frames = RNG.integers(0, 4096, (2, 8, 8)).astype(np.uint16)
    transform = item(RescaleSlope=2, RescaleIntercept=0, RescaleType="US")
    windows = [
        item(WindowCenter=c, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT") for c in (1000, 3000)
    ]
    path = save(
        tmp_path / "a.dcm",
        frames,
        NumberOfFrames=2,
        SOPClassUID=EnhancedMRImageStorage,
        SharedFunctionalGroupsSequence=[item(PixelValueTransformationSequence=[transform])],
        PerFrameFunctionalGroupsSequence=[item(FrameVOILUTSequence=[w]) for w in windows],
    )
    first, second = decode_file(path, [0, 1], EXACT, "grey")
    assert_array_equal(first, linear(frames[0] * 2.0, 500, 1500))
    assert_array_equal(second, linear(frames[1] * 2.0, 2500, 3500))


def test_compressed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    assert_array_equal(grey(tmp_path / "rle.dcm"), grey(path))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.save_as(tmp_path / "jls.dcm")
    with pytest.raises(InputError) as caught:
        grey(tmp_path / "jls.dcm")
    assert str(caught.value) == (
        f"Cannot read image {tmp_path / 'jls.dcm'}: its pixels are compressed as JPEG-LS Lossless "
        "Image Compression, for which no decoder is installed; run `pip install pyjpegls`."
    )


def test_bad_files(tmp_path: Path) -> None:
    cut, text, empty = (tmp_path / name for name in ("cut.dcm", "text.dcm", "empty.dcm"))
    cut.write_bytes(save(tmp_path / "a.dcm").read_bytes()[:-20])
    text.write_text("text")
    empty.touch()
    for path, reason in (
        (text, "it does not begin as a DICOM file does"),
        (empty, "the file is empty"),
        (tmp_path / "none.dcm", "there is no such file"),
    ):
        with pytest.raises(InputError) as caught:
            grey(path)
        assert str(caught.value) == f"Cannot read image {path}: {reason}."
    with pytest.raises(InputError, match="pixels are cut off, after 108 of 128 bytes"):
        grey(cut)
    with open_image(cut) as opened:
        assert image_facts(opened) is None


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"RescaleSlope": "", "RescaleIntercept": ""}, "its RescaleSlope is empty"),
        ({"RescaleSlope": 1, "RescaleIntercept": ""}, "its RescaleIntercept is empty"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "it has a palette without a table"),
        ({"VOILUTSequence": [Dataset()]}, "it is damaged ("),
        ({"WindowCenter": [], "WindowWidth": 400}, ""),
    ],
)
def test_what_an_image_lacks_is_said_in_our_words(
    tmp_path: Path, attributes: dict[str, Any], reason: str
) -> None:
    path = save(tmp_path / "a.dcm", **attributes)
    if not reason:  # a window without a centre is none
        assert grey(path).dtype == np.uint8
        return
    with pytest.raises(InputError) as caught:
        grey(path)
    assert str(caught.value).startswith(f"Cannot read image {path}: {reason}")


# the kind


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four patients with two files each; one file of two frames; names without a suffix."""
    root = tmp_path / "root"
    for number in range(4):
        for image in range(2):
            folder = root / ("ill" if number % 2 else "well") / f"series{number}"
            values = RNG.integers(0, 4096, (8, 8)).astype(np.uint16)
            save(folder / f"IM{image}", values, PatientID=f"Secret-{number}", Modality="MR")
    two = RNG.integers(0, 4096, (2, 8, 8)).astype(np.uint16)
    save(root / "ill/two.dcm", two, NumberOfFrames=2, PatientID="Secret-1", Modality="CT")
    (root / "notes.txt").touch()
    return root


def index(root: Path, workspace: str = "workspace", **options: Any) -> Manifest:
    place = Workspace(root.parent / workspace)
    return index_dataset(place, "set", kind="dicom", roots=[root], options=options)


def test_dicom_folders(root: Path) -> None:
    manifest = index(root)
    table = manifest.table
    assert Counter(table["label"]) == {"ill": 6, "well": 4}
    assert table["group_id"].nunique() == 4
    assert (table.groupby("group_id")["split"].nunique() == 1).all()
    assert table["image_id"].tolist()[-6:-4] == ["ill/two.dcm#z=0", "ill/two.dcm#z=1"]
    assert set(table["format"]) == {"DICOM"}
    assert manifest_channels(manifest) == "grey"
    assert manifest.meta["left_out"]["files named *.txt"]["count"] == 1


def test_patients_are_keyed_hashes(root: Path, tmp_path: Path) -> None:
    table = index(root).table
    text = Path(tmp_path / "workspace/manifests/set.parquet").read_bytes()
    assert b"Secret" not in text
    assert b"1.2.3" not in text
    assert index(root).table.equals(table)
    assert not set(index(root, "other").table["group_id"]) & set(table["group_id"])
    key = tmp_path / "workspace" / KEY_FILE
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    key.write_bytes(b"short")
    with pytest.raises(InputError, match=r"patient-key is damaged: delete it, and index"):
        index(root)


def test_files_without_a_patient_or_an_image_are_counted(root: Path) -> None:
    save(root / "well/nobody.dcm", PatientID="", SOPInstanceUID="1.2")
    found = audit(index(root))
    texts = [finding.text for finding in found.findings]
    assert "1 image has no PatientID: it is taken for a patient of its own." in texts
    assert texts[-1].startswith("Left out: 1 file named *.txt (")


def test_labels_by_attribute_or_table(root: Path, tmp_path: Path) -> None:
    assert Counter(index(root, label="Modality").table["label"]) == {"MR": 8, "CT": 2}
    labels = tmp_path / "labels.csv"
    labels.write_text("id,grade\n" + "".join(f"Secret-{n},G{n // 2}\n" for n in range(4)))
    options = {"table": str(labels), "key_column": "id", "label_column": "grade"}
    assert Counter(index(root, "two", **options).table["label"]) == {"G0": 6, "G1": 4}
    labels.write_text("id,grade\nSecret-0,G0\n")
    with pytest.raises(
        InputError, match=r"labels.csv has no row for its PatientID in column 'id'; add"
    ):
        index(root, "three", **options)
    with pytest.raises(InputError, match=r"has no attribute BodyPartExamined for the label: name"):
        index(root, label="BodyPartExamined")


def test_damaged_files_stay_in_the_table_and_other_objects_do_not(root: Path) -> None:
    cut = root / "ill/two.dcm"
    cut.write_bytes(cut.read_bytes()[:-20])
    report = pydicom.data.get_testdata_file("reportsi.dcm", download=False)
    (root / "ill/report.dcm").write_bytes(Path(str(report)).read_bytes())
    manifest = index(root)
    assert manifest.table.loc[manifest.table["mode"].isna(), "path"].unique() == ["ill/two.dcm"]
    assert manifest.meta["left_out"]["files of DICOM without an image"]["count"] == 1


# what pydicom and nibabel carry in their own packages


def carried() -> list[Path]:
    folders = [Path(pydicom.data.__file__).parent, Path(nib.__file__).parent / "tests/data"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if "__pycache__" not in path.parts]


def test_every_carried_file_reads_or_fails_in_one_sentence() -> None:
    read = Counter[str]()
    for path in carried():
        window = {"percentiles": [0, 100]} if "nibabel" in path.parts else None
        with open_image(path) as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            facts = image_facts(opened)
            try:
                pixels = next(
                    decode_file(path, [0], Geometry("squash", 8, 8, window=window), "rgb")
                )
            except InputError as error:
                message = str(error)
                assert message.startswith(f"Cannot read image {path}: ")
                assert "\n" not in message
                assert len(message) > len(f"Cannot read image {path}: ") + 10
                assert facts is None, path
                continue
        assert facts is not None, path
        assert pixels.shape == (8, 8, 3)
        read[facts.format] += 1
    assert read["DICOM"] >= 90
    assert read["NIfTI"] >= 4
