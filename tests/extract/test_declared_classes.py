"""`index` keeps the order of classes that someone declares, and no key or run id has it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline.cache import (
    InputError,
    Manifest,
    Workspace,
    declared_classes,
    read_manifest,
    write_manifest,
)
from frostline.extract.audit.audit import audit, table_of_classes
from frostline.extract.index import index_dataset

ORDER = ["low", "medium", "high"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label in ORDER:
        add(tmp_path / "root", label)
    return tmp_path / "root"


def add(root: Path, label: str) -> None:
    rng = np.random.default_rng(len(label))
    (root / label).mkdir(parents=True)
    for number in range(8):
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(root / label / f"{number}.png")


def index(root: Path, **given: object) -> Manifest:
    return index_dataset(Workspace(root.parent / "ws"), "set", roots=[root], **given)


def test_a_declared_order_is_kept_until_another_is_given(root: Path) -> None:
    place = Workspace(root.parent / "ws")
    assert declared_classes(place, "set") is None  # nor is there a manifest
    plain = index(root)
    assert plain.classes is None
    assert declared_classes(place, "set") is None
    declared = index(root, classes=ORDER)
    assert declared.classes == ORDER
    assert declared.digest() == plain.digest()  # so that no run is another one
    assert index(root).classes == ORDER
    assert declared_classes(place, "set") == ORDER
    assert index(root, classes=ORDER[::-1]).classes == ORDER[::-1]


def test_audit_and_notebook_count_classes_in_their_order(root: Path) -> None:
    def listed(manifest: Manifest) -> tuple[list[str], list[str]]:
        shown = re.findall(r"<th>(low|medium|high|all)</th>", manifest._repr_html_())
        return list(table_of_classes(audit(manifest))["label"]), shown[1:]

    assert listed(index(root)) == (sorted(ORDER), [*sorted(ORDER), "all"])
    assert listed(index(root, classes=ORDER)) == (ORDER, [*ORDER, "all"])


def test_a_class_without_an_image_may_be_declared(root: Path) -> None:
    assert index(root, classes=["none", *ORDER]).classes == ["none", *ORDER]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (
            ["low", "high"],
            "Data set 'set' has the class 'medium', which --classes does not name (low, high): "
            "name every class, from the lowest to the highest.",
        ),
        (
            ["low", "medium", "high", "low"],
            "--classes names 'low' twice (low, medium, high, low): name each class once.",
        ),
        (
            ["low"],
            "--classes names one class (low): name all of them, from the lowest to the highest, "
            "such as low,medium,high.",
        ),
        (["low", ""], "--classes has a name without letters (low, ): take it out."),
    ],
)
def test_an_order_names_every_class_once(root: Path, classes: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        index(root, classes=classes)
    assert str(caught.value) == sentence
    assert not Workspace(root.parent / "ws").manifest("set").exists()


def test_a_new_class_must_be_declared_too(root: Path) -> None:
    index(root, classes=ORDER)
    add(root, "grave")
    with pytest.raises(InputError, match=r"^Data set 'set' has the class 'grave', which --classes"):
        index(root)
    assert index(root, classes=[*ORDER, "grave"]).classes == [*ORDER, "grave"]


def test_what_is_no_list_of_names_declares_nothing(root: Path) -> None:
    place = Workspace(root.parent / "ws")
    manifest = index(root, classes=ORDER)
    for classes in ("low", [1, 2], {"low": 1}, []):
        manifest.meta["classes"] = classes
        write_manifest(place.manifest("set"), manifest)
        assert read_manifest(place.manifest("set")).classes is None
        assert declared_classes(place, "set") is None
    for name in (None, "", "..", "../set", "other", 3):
        assert declared_classes(place, name) is None
