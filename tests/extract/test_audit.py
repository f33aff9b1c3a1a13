from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frostline.cache import Manifest, Workspace
from frostline.extract.audit.audit import Finding, audit, render_audit
from frostline.extract.audit.details import details
from frostline.extract.index import index_dataset


def index(root: Path, group_pattern: str | None = None, **options: float) -> Manifest:
    workspace = Workspace(root.parent / "workspace")
    return index_dataset(workspace, "set", roots=[root], group_pattern=group_pattern, **options)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of each class in each split, all different, each of its own patient."""
    rng = np.random.default_rng(0)
    for number, part in enumerate(["train", "val", "test"]):
        for label in "ab":
            (tmp_path / "root" / part / label).mkdir(parents=True)
            for image in range(2):
                pixels = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
                pixels.save(tmp_path / f"root/{part}/{label}/p{label}{number}{image}-x.png")
    return tmp_path / "root"


def test_a_clean_data_set(root: Path) -> None:
    result = audit(index(root, r"p\w\d+"))
    assert result.findings == result.leaks == []
    assert result.counts.values.tolist() == [
        [part, label, images, images]
        for part, labels in [(part, [("a", 2), ("b", 2)]) for part in ("train", "val", "test")]
        for label, images in labels
    ] + [[part, "all", 4, 4] for part in ("train", "val", "test")] + [["all", "all", 12, 12]]
    assert render_audit(result).startswith("Data set set\n\nsplit label  images  groups\n")
    assert render_audit(result).endswith("\n\nNo problem was found.")


def test_equal_images_are_shown_in_80_columns(root: Path) -> None:
    shutil.copy(root / "train/a/pa00-x.png", root / "test/a/pa20-y.png")
    text = render_audit(audit(index(root)))
    shown = text.partition("Equal images\n")[2].splitlines()[:3]
    assert shown[1].split()[:5] == ["1", "bytes", "leaks", "into", "test"]
    assert max(map(len, shown)) <= 80


def test_groups_across_splits_are_leaks(root: Path) -> None:
    (root / "test/a/pa20-x.png").rename(root / "test/a/pa00-y.png")
    (root / "test/b/pb20-x.png").rename(root / "test/b/pb10-y.png")
    result = audit(index(root, r"p\w\d+"))
    assert result.crossing_groups.values.tolist() == [
        ["pa00", "train, test", 2],
        ["pb10", "val, test", 2],
    ]
    assert result.leaks == [
        Finding("leak", "1 group is in train and test (pa00).", test=True),
        Finding("leak", "1 group is in val and test (pb10).", test=True),
    ]
    assert "Groups in several splits\n" in render_audit(result)
    rows = details(result)[["set", "harm", "group_id", "image_id", "split"]].values.tolist()
    assert rows == [
        [1, "leaks into test", "pa00", "test/a/pa00-y.png", "test"],
        [1, "leaks into test", "pa00", "train/a/pa00-x.png", "train"],
        [2, "leaks into test", "pb10", "test/b/pb10-y.png", "test"],
        [2, "leaks into test", "pb10", "val/b/pb10-x.png", "val"],
    ]


def test_identical_images(root: Path) -> None:
    def copy(source: str, target: str) -> None:
        (root / target).write_bytes((root / source).read_bytes())

    copy("train/a/pa00-x.png", "test/a/copy.png")
    copy("train/b/pb00-x.png", "train/a/other.png")
    result = audit(index(root))
    assert result.duplicates.drop(columns="group_id").values.tolist() == [
        [1, "bytes", "leaks into test", "test/a/copy.png", "test", "a", True, False],
        [1, "bytes", "leaks into test", "train/a/pa00-x.png", "train", "a", True, False],
        [2, "bytes", "labels differ", "train/a/other.png", "train", "a", False, True],
        [2, "bytes", "labels differ", "train/b/pb00-x.png", "train", "b", False, True],
    ]
    assert [(finding.severity, finding.text) for finding in result.findings] == [
        (
            "leak",
            "1 image occurs in test and another split, byte for byte "
            "(test/a/copy.png, train/a/pa00-x.png).",
        ),
        (
            "warning",
            "1 image has byte-identical copies with another label "
            "(train/a/other.png, train/b/pb00-x.png).",
        ),
        ("note", "1 image has byte-identical copies within one split."),
        (
            "note",
            "Every image is its own group: if a patient has several, say so with a group "
            "column or pattern, or they may be on both sides of a split.",
        ),
    ]


def test_unreadable_files_say_why(root: Path) -> None:
    (root / "test/a/pa20-x.png").write_bytes(b"")
    data = (root / "val/b/pb10-x.png").read_bytes()
    (root / "val/b/pb10-x.png").write_bytes(data[:50])
    result = audit(index(root, r"p\w\d+"))
    assert result.unreadable["image_id"].tolist() == ["test/a/pa20-x.png", "val/b/pb10-x.png"]
    assert result.unreadable["reason"].iat[0] == "the file is empty"
    assert [finding.text for finding in result.findings] == [
        "2 of 12 images cannot be read (test/a/pa20-x.png, val/b/pb10-x.png): mend or remove them, "
        "or leave them out with --on-error skip."
    ]


def test_missing_classes_and_parts(root: Path) -> None:
    manifest = index(root, r"p\w\d+")
    table = manifest.table
    table.loc[(table["split"] == "val") & (table["label"] == "b"), "split"] = "train"
    table.loc[table["split"] == "test", "split"] = "train"
    table.loc[0, "label"] = pd.NA
    texts = [finding.text for finding in audit(manifest).findings]
    assert texts == [
        "val has no image of b.",
        "There are no images in test.",
        "1 image has no label.",
        "val has images of a only, by which nothing can be chosen: cross-validate "
        "(`frostline sweep --cv`), or name another split with --split.",
    ]
    table["label"] = "a"
    assert "All images have the one label a." in [
        finding.text for finding in audit(manifest).findings
    ]


def test_other_label_and_split_columns(root: Path) -> None:
    manifest = index(root, r"p\w\d+")
    manifest.table["fold"] = "train"
    manifest.table["finer"] = manifest.table["group_id"]
    result = audit(manifest, label="finer", split="fold")
    assert set(result.counts["split"]) == {"train", "all"}
    assert len(result.counts) == 12 + 2


def test_long_tables_are_cut_in_the_terminal(root: Path) -> None:
    for number in range(20):
        (root / "train/a" / f"pc{number:02d}-e.png").touch()
    text = render_audit(audit(index(root, r"p\w\d+")), rows=5)
    assert "… and 15 more" in text


def test_chest_xray(shared_data: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    manifest = index_dataset(
        workspace,
        "chest",
        roots=[shared_data / "chest_xray"],
        group_pattern=r"person\d+|(?:NORMAL2-)?IM-\d+",
    )
    result = audit(manifest)
    assert result.duplicates["copy"].nunique() == 30
    across_test = result.duplicates[result.duplicates["across_splits"]]
    assert not (across_test["split"] == "test").any()
    assert len(result.crossing_groups) == 170
    assert result.leaks[0].text.startswith("170 groups are in train and test (person1, ")
    assert len(result.unreadable) == 0
