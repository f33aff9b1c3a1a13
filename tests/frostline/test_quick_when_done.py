"""Finished work answers without importing what would take seconds, and only as long as it holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from processes import run_script

from frostline.cache import InputError, Workspace
from frostline.stages import Network

from .conftest import environment, make_images, script

HEAVY = ("torch", "torchvision", "timm", "transformers", "sklearn", "matplotlib")
# Runs `frostline ARGUMENTS` some times in one process, and says after each what it holds of these.
WATCHED = f"""
import json, sys
from frostline.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["frostline", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code
    print("imported", *[name for name in {HEAVY} if name in sys.modules])
"""
EXTRACT = ("extract", "--dataset", "set", "--image-size", "32", "--device", "cpu")
RANDOM = ("--weights", "random")
VIT = ("--backbone", "timm:test_vit")


def imported(folder: Path, *commands: Sequence[str]) -> tuple[str, list[list[str]]]:
    """What commands say, and which libraries a process of their own holds after each of them."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(commands)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    lines = (line for line in said.splitlines() if line.startswith("imported"))
    return said, [line.split()[1:] for line in lines]


def run(folder: Path, *arguments: str) -> None:
    """Run a command where imports are paid for already."""
    done = run_script(script(), arguments, folder, environment())
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    make_images(folder / "images", 12)
    run(folder, "index", "set", "--root", "images", "--group-pattern", "(patient[0-9]+)")
    return folder


def test_a_finished_extraction_takes_no_torch(folder: Path) -> None:
    commands = [
        (*EXTRACT, *VIT, *RANDOM),
        (*EXTRACT, *VIT, *RANDOM, "--feature", "blocks"),
        (*EXTRACT, *VIT, *RANDOM, "--views", "1", "--set", "augmentation=color_jitter"),
        (*EXTRACT, "--backbone", "timm:test_resnet", *RANDOM, "--protocol", "standard"),
        (*EXTRACT, "--backbone", "effnet-lite0"),
    ]
    _, (took,) = imported(folder, commands[0])
    assert {"torch", "timm"} <= {*took}
    for command in commands[1:]:
        run(folder, *command)
    said, took_each = imported(folder, *commands)
    assert took_each == [[]] * len(commands)
    assert {*re.findall("([0-9]+) embedded now", said)} == {"0"}


def test_a_finished_probe_and_its_table_take_little(folder: Path) -> None:
    run(folder, *EXTRACT, *VIT, *RANDOM, "--feature", "cls")
    probe = ("probe", "-d", "set", *VIT, "--head", "logistic", "--feature", "cls")
    run(folder, *EXTRACT, *VIT, *RANDOM, "--views", "1", "--set", "degrees=5")
    run(folder, *probe, "--views", "1")
    assert imported(folder, (*probe, "--views", "1"))[1] == [[]]
    run(folder, *probe)
    (file,) = (folder / "frostline-workspace/predictions").glob("*logistic-paper*.parquet")
    commands = (probe, ("evaluate", str(file)), ("compare", str(file), str(file)))
    assert imported(folder, *commands)[1] == [[]] * len(commands)


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


@pytest.mark.slow
def test_a_finished_training_depth_and_study_take_little(folder: Path) -> None:
    (folder / "small.yaml").write_text(STUDY)
    network = ("-d", "set", *VIT, *RANDOM, "--image-size", "32")
    trained = ("finetune", *network, "--epochs", "1", "--batch", "8")
    commands = (trained, (*trained, "--cv", "3x1"), ("depth", *network), ("run", "small.yaml"))
    for command in commands:
        run(folder, *command)
    assert imported(folder, *commands)[1] == [[]] * len(commands)


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
