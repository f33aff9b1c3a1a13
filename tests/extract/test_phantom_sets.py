from __future__ import annotations

from pathlib import Path

import numpy as np
import phantom_sets
import pytest
from phantom_sets import (
    CHEST,
    HAM10000,
    make_phantom_amd,
    make_phantom_chest,
    make_phantom_ham10000,
    make_phantom_sequences,
)
from PIL import Image

from frostline.cache import Manifest, Workspace
from frostline.extract.index import index_dataset
from frostline.report.paper.published import DATASETS


def indexed(root: Path, kind: str, **options: object) -> Manifest:
    workspace = Workspace(root.parent / "ws")
    return index_dataset(workspace, "set", kind=kind, roots=[root], options=options)


def test_counts_are_the_papers() -> None:
    chest, ham = DATASETS["Chest X-ray"], DATASETS["HAM10000"]
    for theirs, ours in ((chest, CHEST), (ham, HAM10000)):
        for place, part in enumerate((theirs.train, theirs.test)):
            assert {name.upper(): n for name, n in part.items()} == {
                name.upper(): counts[place] for name, counts in ours.items()
            }
    amd = DATASETS["iChallenge-AMD"]
    assert {name: n + amd.test[name] for name, n in amd.train.items()} == phantom_sets.AMD
    for name, title in (("t1", "T1"), ("t2", "T2"), ("flair", "T2 FLAIR")):
        assert phantom_sets.PATIENTS[name] == sum(DATASETS[title].patients or ())


def test_photographs_are_read_by_the_kinds_of_their_data_sets(tmp_path: Path) -> None:
    make_phantom_chest(tmp_path / "chest", share=0.01, scale=0.05)
    table = indexed(tmp_path / "chest", "chest-xray").table
    assert (table["split"] != "test").sum() == 13 + 39
    assert set(table["cause"]) == {"none", "bacteria", "virus"}
    assert table["group_id"].is_unique
    assert set(table["mode"]) == {"L"}
    make_phantom_amd(tmp_path / "amd", share=0.1, scale=0.02)
    assert indexed(tmp_path / "amd", "ichallenge-amd").table["label"].value_counts().to_dict() == {
        "Non-AMD": 31,
        "AMD": 9,
    }
    make_phantom_ham10000(tmp_path / "ham", share=0.001, scale=0.1)
    ham = indexed(tmp_path / "ham", "ham10000").table
    assert set(ham["label"]) == set(HAM10000)
    assert ham["group_id"].nunique() < len(ham)
    assert not set(ham.loc[ham["split"] == "test", "path"]) - set(
        ham.loc[ham["path"].str.startswith("ISIC2018_Task3_Test_Input/"), "path"]
    )


def test_photographs_have_their_size_and_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_phantom_amd(tmp_path / name, share=0.0, scale=0.1)
    paths = sorted((tmp_path / "a").rglob("*.jpg"))
    assert Image.open(paths[0]).size == (212, 206)
    for path in paths:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()


def test_sequences_of_a_patient_differ_and_some_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantom_sets, "LEAST", 0)
    make_phantom_sequences(tmp_path / "glioma", share=0.04)
    found = {
        name: sorted((tmp_path / "glioma").glob(f"*/*_{name}.nii.gz"))
        for name in ("t1", "t2", "flair")
    }
    assert {name: len(paths) for name, paths in found.items()} == {"t1": 4, "t2": 4, "flair": 1}
    import nibabel as nib

    first = {name: np.asarray(nib.load(paths[0]).dataobj) for name, paths in found.items()}
    assert first["t1"].shape == first["t2"].shape == (96, 96, 16)
    assert not np.array_equal(first["t1"], first["t2"])
    pattern = "{patient_id}/{patient_id}_t2"
    table = indexed(
        tmp_path / "glioma",
        "mri-slices",
        image=f"{pattern}.nii.gz",
        mask=f"{pattern}_mask.nii.gz",
        table="labels.csv",
        group_column="patient_id",
        label_column="grade",
    ).table
    assert table["group_id"].nunique() == 4
