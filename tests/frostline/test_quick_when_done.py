"""Finished work answers without importing what would take seconds, and only as long as it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from frostline.cache import InputError, Workspace
from frostline.stages import Network

from .conftest import environment, make_images

HEAVY = ("torch", "torchvision", "timm", "transformers", "sklearn", "matplotlib")
# Runs `frostline ARGUMENTS`, then says which of these were imported.
WATCHED = f"""
import sys
from frostline.cli import main
try:
    main()
finally:
    print("imported", *[name for name in {HEAVY} if name in sys.modules])
"""
EXTRACT = ("extract", "--dataset", "set", "--image-size", "32", "--device", "cpu")


def imported(folder: Path, *arguments: str) -> tuple[str, list[str]]:
    """What a command says, and which libraries it took."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    (line,) = (line for line in said.splitlines() if line.startswith("imported"))
    return said, line.split()[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    make_images(folder / "images", 12)
    pattern = ("--group-pattern", "(patient[0-9]+)")
    imported(folder, "index", "set", "--root", "images", *pattern)
    return folder


@pytest.mark.parametrize(
    "backbone",
    [
        ("--backbone", "timm:test_vit", "--weights", "random"),
        ("--backbone", "timm:test_vit", "--weights", "random", "--feature", "blocks"),
        ("--backbone", "timm:test_resnet", "--weights", "random", "--protocol", "standard"),
        ("--backbone", "effnet-lite0"),
    ],
)
def test_a_finished_extraction_takes_no_torch(folder: Path, backbone: tuple[str, ...]) -> None:
    _, took = imported(folder, *EXTRACT, *backbone)
    assert {"torch", "timm"} <= {*took}
    said, took = imported(folder, *EXTRACT, *backbone)
    assert took == []
    assert "0 embedded now" in said


def test_a_finished_probe_and_its_table_take_little(folder: Path) -> None:
    network = ("--backbone", "timm:test_vit", "--weights", "random", "--feature", "cls")
    imported(folder, *EXTRACT, *network)
    probe = ("probe", "-d", "set", "-b", "timm:test_vit", "--head", "logistic", "--feature", "cls")
    imported(folder, *probe)
    assert imported(folder, *probe)[1] == []
    files = sorted(str(path) for path in (folder / "frostline-workspace/predictions").iterdir())
    for command in ("evaluate", "compare"):
        runs = files[:1] if command == "evaluate" else [files[0], files[0]]
        assert imported(folder, command, *runs)[1] == []


STUDY = """
name: small
datasets: {set: {}}
backbones: [{name: 'timm:test_vit', weights: random}]
protocols:
  frozen: {unfreeze: none, image_size: 32, epochs: 1}
  last block: {unfreeze: 1, image_size: 32, epochs: 1, batch: 8}
cv: none
replicates: 100
"""


def test_a_finished_training_depth_and_study_take_little(folder: Path) -> None:
    (folder / "small.yaml").write_text(STUDY)
    network = ("-d", "set", "-b", "timm:test_vit", "--weights", "random", "--image-size", "32")
    trained = ("finetune", *network, "--epochs", "1", "--batch", "8")
    for command in (trained, (*trained, "--cv", "3x1"), ("depth", *network), ("run", "small.yaml")):
        assert "torch" in imported(folder, *command)[1]
        assert imported(folder, *command)[1] == []


def test_what_is_remembered_counts_while_the_weights_do(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from frostline.extract.backbones.backbone import load_backbone
    from frostline.extract.backbones.weights import known

    def digest(**options: bool) -> str:
        network = Network("timm:test_vit", str(path), image_size=32, **options)
        return network.identify(place, inputs).weights

    place, path = Workspace(tmp_path / "ws"), tmp_path / "mine.safetensors"
    place.root.mkdir()

    def write(seed: int) -> None:
        model = load_backbone("timm:test_vit", weights="random", weights_seed=seed).model
        save_file({name: value.clone() for name, value in model.state_dict().items()}, path)

    write(0)
    manifest = type("Manifest", (), {"meta": {}})()
    inputs = Network("timm:test_vit", image_size=32).inputs(place, manifest)
    first = digest()
    assert (place.root / known.NAME).is_file()
    assert digest() == first
    # Another time is another file, whatever is in it.
    write(1)
    os.utime(path, ns=(1, 1))
    second = digest()
    assert second != first
    # Of the same size and time, it is noticed by reading it.
    write(0)
    os.utime(path, ns=(1, 1))
    assert digest() == second
    assert digest(rehash=True) == first
    assert digest() == first
    path.unlink()
    with pytest.raises(InputError, match="There is no weights file"):
        digest()


def test_other_versions_ask_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.extract.backbones.weights import known

    digests = tmp_path / "weights.json"
    asked = {"backbone": "timm:test_vit", "what": "toy"}
    assert known.recalled(digests, asked, lambda: {"a": 1}) == {"a": 1}
    assert known.recalled(digests, asked, lambda: {"a": 2}) == {"a": 1}
    monkeypatch.setattr(known, "versions", lambda: {"timm": "999"})
    assert known.recalled(digests, asked, lambda: {"a": 3}) == {"a": 3}
    # A file that says nothing that can be read is as none.
    digests.with_name(known.NAME).write_text(json.dumps({"entries": 1}))
    assert known.recalled(digests, asked, lambda: {"a": 4}) == {"a": 4}
