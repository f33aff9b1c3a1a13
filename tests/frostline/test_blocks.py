"""`--feature blocks` and `backbones --blocks`, as they are typed and as Python has them."""

from __future__ import annotations

from pathlib import Path

import pytest

import frostline as face
from frostline.cache import InputError, Workspace
from frostline.cli import app
from frostline.study.file import parse_study

from .conftest import Run, make_images

TINY = ("--dataset", "set", "--backbone", "timm:test_resnet")
RANDOM = ("--weights", "random", "--image-size", "32")
DEPTHS = ["layer:stem", "layer:layer1", "layer:layer2", "layer:layer3", "pre_logits"]
STUDY = {
    "name": "small",
    "datasets": {"set": {"root": "images"}},
    "backbones": [{"name": "timm:test_resnet", "feature": "blocks"}],
    "protocols": {"frozen": {}},
}


def test_what_is_listed_can_be_asked_for(
    tmp_path: Path, frostline: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["backbones", "--blocks", "timm:test_resnet"], standalone_mode=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:7]]
    assert [row[:4] for row in rows] == [
        ["0", "stem", "layer:stem", "4"],
        ["1", "layer1", "layer:layer1", "3"],
        ["2", "layer2", "layer:layer2", "2"],
        ["3", "layer3", "layer:layer3", "1"],
        ["4", "layer4", "pre_logits", "0"],
    ]
    assert rows[-1][-1] == "100.0%"
    make_images(tmp_path / "images", 24)
    assert frostline("index", "set", "--root", "images").returncode == 0
    # One alone fills the store that it has among all, and heads take it.
    alone = frostline("extract", *TINY, *RANDOM, "--feature", "layer:stem")
    assert "24 distinct images: 24 embedded now" in alone.stdout
    done = frostline("extract", *TINY, *RANDOM, "--feature", "blocks")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in said] == [row[2] for row in rows]
    assert ": 24 distinct images: 0 embedded now" in said[0]
    assert all(": 24 distinct images: 24 embedded now" in line for line in said[1:])
    assert alone.stdout.split()[-1] == said[0].split()[-1]
    assert "A new store" not in done.stdout + done.stderr
    for arguments in (("--feature", "layer:layer2"), ("--key", said[2].split()[-1][:-1])):
        probed = frostline("probe", *TINY, "--head", "knn", *arguments)
        assert "layer%3Alayer2-knn" in probed.stdout, probed.stderr
    run = Path(frostline("probe", *TINY, "--head", "knn", "--feature", "layer:stem").stdout.strip())
    image = next(iter((tmp_path / "images" / "sick").iterdir()))
    applied = frostline("predict", "--run", run.stem, image, "--out", "new.csv")
    assert (tmp_path / "new.csv").is_file(), applied.stderr
    assert frostline("cache", "verify", "--images").returncode == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("blocks")
    make_images(folder / "images", 24)
    ws = face.Workspace(folder / "ws")
    ws.index("set", folder / "images")
    store = ws.extract("set", "timm:test_resnet", feature="blocks", weights="random", image_size=32)
    assert store.store.spec["feature"] == "pre_logits"
    return folder / "ws"


def test_python_gives_the_store_of_the_last_depth(place: Path) -> None:
    from frostline.cache import find_stores
    from frostline.cache.stores.store import store_spec

    folders = find_stores(Workspace(place).embeddings("set", "timm:test_resnet"))
    assert sorted(store_spec(folder)["feature"] for folder in folders) == sorted(DEPTHS)


def test_several_stores_are_told_apart_by_their_features(place: Path) -> None:
    with pytest.raises(InputError) as caught:
        face.Workspace(place).probe("set", "timm:test_resnet", "knn")
    for name in DEPTHS:
        assert f"feature {name}" in str(caught.value)


def test_where_one_feature_is_needed_blocks_are_refused(place: Path) -> None:
    ws = face.Workspace(place)
    some = r"stands for one of each block, and a head takes one: name it \(layer:layer1, "
    with pytest.raises(InputError, match=some):
        ws.probe("set", "timm:test_resnet", "knn", feature="blocks")
    with pytest.raises(InputError, match=some):
        ws.sweep(
            datasets=["set"], backbones=["timm:test_resnet"], heads=["knn"], features=["blocks"]
        )
    with pytest.raises(InputError, match="Feature 'blocks' is for `extract`: choose one to train"):
        ws.finetune("set", "timm:test_resnet", feature="blocks", weights="random", epochs=1)
    with pytest.raises(
        InputError, match=r"small.yaml: backbones.0: feature 'blocks' stands for one of each block"
    ):
        parse_study(STUDY, "small.yaml")
