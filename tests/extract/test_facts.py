"""The table of backbones: true, whole, with sources, and with a workspace's own rows first."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from frostline.cache import InputError
from frostline.extract.backbones.catalog import NAMED, resolve
from frostline.extract.backbones.facts.table import facts, published
from frostline.extract.backbones.origins import describe_backbone, known_origin, list_backbones

RAD_DINO = ["lvd-142m", "mimic-cxr", "chexpert", "nih-chestx-ray14", "padchest", "brax"]


def test_the_table_is_whole() -> None:
    table = published()
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    assert set(NAMED) <= set(names)
    for row in table.rows:
        assert set(row.pretrained_on) <= set(table.images), row.name
        # Whatever timm does not say has a page that says it.
        assert row.url.startswith("https://") or row.name.startswith("timm:"), row.name
    for known in table.images.values():
        assert set(known.of) <= set(table.images)


def test_every_timm_model_of_the_table_is_one_that_timm_has() -> None:
    for row in published().rows:
        if row.name.startswith("timm:"):
            entry = resolve(row.name)
            known = describe_backbone(row.name)
            assert entry.tag
            assert all((known.licence, known.pretrained_on, known.size, known.url)), row.name


@pytest.mark.slow
def test_numbers_of_timm_models_are_true() -> None:
    import timm

    for row in published().rows:
        if row.name.startswith("timm:"):
            with torch.device("meta"):
                model = timm.create_model(resolve(row.name).model, num_classes=0)
            assert sum(p.numel() for p in model.parameters()) == row.parameters, row.name
            assert model.num_features == row.dim


def test_the_papers_come_first_then_by_kind() -> None:
    kinds = ["paper" if one.paper else one.kind for one in list_backbones()]
    order = ["paper", "general", "chest", "medical", "skin", "retina", "pathology"]
    assert list(dict.fromkeys(kinds)) == order
    assert kinds == sorted(kinds, key=order.index)


def test_a_search_takes_all_of_its_words() -> None:
    assert {one.kind for one in list_backbones(search="chest mimic-cxr")} == {"chest"}
    assert [one.name for one in list_backbones(search="MSRLA brax")] == [
        "hf:microsoft/rad-dino-maira-2"
    ]
    with pytest.raises(InputError, match=r"No backbone of the list has 'zzz'.* \(general, chest"):
        list_backbones(search="zzz")


def test_what_a_backbone_was_pretrained_on_hangs_on_its_weights() -> None:
    name = "hf:microsoft/rad-dino"
    assert list(known_origin(name)["images"]) == RAD_DINO
    assert known_origin(name)["page"] == "https://huggingface.co/microsoft/rad-dino"
    for other in ("random, seed 0", "file mine.safetensors"):
        assert "images" not in known_origin(name, other)
    assert "images" not in known_origin("resnet50", "random, seed 0")
    found = known_origin("timm:vit_large_patch16_224.mae", "file RETFound_mae_natureCFP.pth")
    assert "eyepacs" in found["images"]
    # A module and imported embeddings are known by the name that they have.
    for weights in ("own module", "imported"):
        assert "mimic-cxr" in known_origin("chexzero", weights)["images"]
        assert list(known_origin(name, weights)["images"]) == RAD_DINO
        assert known_origin("my-net", weights) == {}


def test_an_own_row_counts_for_any_weights_but_random_ones(tmp_path: Path) -> None:
    rows = [{"name": "resnet50", "pretrained_on": ["chexpert"]}, {"name": "my-net"}]
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"backbones": rows}), encoding="utf-8")
    for weights in ("pretrained", "file mine.pth"):
        assert list(known_origin("resnet50", weights, tmp_path)["images"]) == ["chexpert"]
    assert "images" not in known_origin("resnet50", "random, seed 0", tmp_path)
    listed = [one.name for one in list_backbones(tmp_path)]
    assert listed[:2] == ["resnet50", "my-net"]
    assert listed.count("resnet50") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no table of backbones: write `backbones:`"),
        ("backbones: [{licence: MIT}]", "lacks the key 'backbones.0.name': add it"),
        ("backbones: [{name: a, license: MIT}]", "has no key 'backbones.0.license': there are"),
        ("backbones: [{name: ''}]", "catalog.yaml: backbones.0.name must"),
        ("backbones: [", "is not YAML"),
        ("images: {x: {of: [y]}}", "lacks the key 'images.x.name'"),
    ],
)
def test_a_wrong_own_table_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "catalog.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as failed:
        facts(tmp_path)
    assert sentence in str(failed.value)
    assert str(tmp_path / "catalog.yaml") in str(failed.value)


def test_what_does_not_go_by_its_name_says_how_it_is_used() -> None:
    with pytest.raises(InputError, match="'eva-x-b' is not loaded by its name, but used in Python"):
        resolve("eva-x-b")
    with pytest.raises(InputError, match="nearest names are hf:microsoft/rad-dino"):
        resolve("rad-dino")


@pytest.fixture
def refusing_hub() -> Iterator[str]:
    """The address of a hub that refuses every file."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("google/medsiglip-448", "They are gated. Log in to Hugging Face and accept the terms on"),
        ("someone/else", "The hub refused access: accept the terms at https://huggingface.co/some"),
    ],
)
def test_a_refused_download_says_how_one_gets_in(
    refusing_hub: str, tmp_path: Path, model: str, sentence: str
) -> None:
    script = (
        "import sys; from frostline.cache import InputError\n"
        "from frostline.extract.backbones.hub_files import hub_file\n"
        "try: hub_file(sys.argv[1], 'config.json')\n"
        "except InputError as error: print(error)"
    )
    unproxied = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    done = subprocess.run(
        [sys.executable, "-c", script, model],
        env={**unproxied, "HF_ENDPOINT": refusing_hub, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sentence in done.stdout
    assert model in done.stdout
