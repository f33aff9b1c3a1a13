"""`frostline doctor`: what works is said to work, what does not is found and named."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import Workspace as Face
from frostline.cache import EMBEDDINGS, Store, StoreWriter, Workspace, read_manifest, spec_key
from frostline.cache.imports import import_embeddings
from frostline.doctor import doctor
from frostline.doctor.stores import check_stores
from frostline.extract.backbones.catalog import NAMED

from .conftest import Run, make_images

ROOT = Path(__file__).resolve().parents[2]
TINY = "timm:test_vit"


class Hub(BaseHTTPRequestHandler):
    """A hub that gives one model to all, one to those with an account, and fails on others."""

    def do_GET(self) -> None:
        answer, header = 500, ""
        if "vit_small" in self.path:
            answer = 200
        elif "vit_base" in self.path:
            answer, header = 403, "GatedRepo"
        self.send_response(answer)
        self.send_header("X-Error-Code", header)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.shutdown()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the embeddings of eight images."""
    folder: Path = tmp_path_factory.mktemp("doctor")
    make_images(folder / "images", 8)
    ws = Face(folder / "ws")
    ws.index("mine", folder / "images")
    ws.extract("mine", TINY, weights="random", weights_seed=3, image_size=32)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Workspace:
    """A copy of that workspace."""
    shutil.copytree(made / "ws", tmp_path / "ws")
    return Workspace(tmp_path / "ws")


def the_store(place: Workspace) -> Store:
    (folder,) = place.embeddings("mine", TINY).iterdir()
    return Store.open(folder)


def exchange_two_rows(store: Store) -> None:
    """Whole by its digests, and wrong."""
    keys, values = store.keys, store.read(np.arange(8))
    for part in store.parts:
        part.path.unlink()
    with StoreWriter(store.folder, EMBEDDINGS, store.spec, store.provenance) as writer:
        writer.append(keys, values[[1, 0, *range(2, 8)]])


def test_without_a_workspace_each_line_says_what_it_found_and_what_to_do(
    frostline: Run, tmp_path: Path, hub: None
) -> None:
    done = frostline("doctor", fresh=True)
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert done.returncode == any(line[0] == "PROBLEM" for line in lines), done.stderr
    names = [line[1] for line in lines]
    assert names[:2] == ["versions", "gpu"]
    assert set(names) == {"versions", "gpu", "memory", "disk", "stores", *NAMED, *doctor.EXTRAS}
    found = {line[1]: " ".join(line[2:]) for line in lines}
    assert re.match(r"\d+ MB/s written and flushed, \d+ GB free, in ", found["disk"])
    assert found["effnet-lite0"] == "weights at hand"
    assert found["stores"] == "no embeddings in frostline-workspace yet"
    assert not list(tmp_path.iterdir())
    open_, account, failing = (found[f"dinov2-{size}"] for size in "sbl")
    assert open_ == (
        "weights can be fetched from 127.0.0.1/timm/vit_small_patch14_dinov2.lvd142m → nothing: "
        "the first use fetches them"
    )
    assert account == (
        "weights at 127.0.0.1/timm/vit_base_patch14_dinov2.lvd142m need an account → accept the "
        "terms at https://127.0.0.1/timm/vit_base_patch14_dinov2.lvd142m and log in with "
        "`hf auth login`"
    )
    assert re.match(
        r".*127\.0\.0\.1 does not answer → fetch https://\S+\.pth where .*FILE", failing
    )


def test_cached_equals_live_and_where_not_the_image_is_named(
    frostline: Run, place: Workspace
) -> None:
    arguments = ("doctor", "--json", "--workspace", place.root, "--check", 8)
    lines = json.loads(frostline(*arguments).stdout)
    key = the_store(place).key[:12]
    assert lines[-1] == {
        "name": "stores",
        "state": "ok",
        "found": f"mine, {TINY}, key {key}: 8 images embedded again, all equal",
        "do": "",
    }
    exchange_two_rows(the_store(place))
    done = frostline(*arguments)
    assert done.returncode == 1
    last = json.loads(done.stdout)[-1]
    assert last["state"] == "problem"
    assert re.fullmatch(
        rf"mine, {TINY}, key {key}: 2 of 8 images embedded again differ, most of all "
        r"(sick|well)/patient00\d_\d\.png \(cosine 0\.\d{6}\)",
        last["found"],
    )
    assert last["do"].startswith(
        "run `frostline cache verify --images --repair`, then extract again"
    )


def test_damage_and_lost_images_are_problems(place: Workspace, made: Path, tmp_path: Path) -> None:
    table = place.manifest("mine")
    moved = tmp_path / "moved"
    (made / "images").rename(moved)
    try:
        (check,) = check_stores(place, 2)
    finally:
        moved.rename(made / "images")
    assert check.state == "problem"
    assert "images cannot be embedded again: " in check.found
    assert check.do == "bring the images back, or index the data set where they are now"
    table.unlink()
    (check,) = check_stores(place, 2)
    assert (check.state, "no data set 'mine'" in check.found) == ("problem", True)
    (part,) = the_store(place).folder.glob("part-*.h5")
    part.write_bytes(part.read_bytes()[:-100])
    (check,) = check_stores(place, 2)
    assert check.state == "problem"
    assert part.name in check.found
    assert check.do == "run `frostline cache verify --repair`"


def test_what_cannot_be_checked_says_why(place: Workspace, tmp_path: Path) -> None:
    store = the_store(place)
    file = tmp_path / "theirs.npz"
    ids = read_manifest(place.manifest("mine")).table["image_id"].to_numpy(str)
    np.savez(file, image_id=ids, X=np.eye(8, 3, dtype=np.float32))
    import_embeddings(place, "mine", "theirs", file)
    lost = {**store.spec, "weights": "0" * 32}
    half = {**store.spec, "compute": "bfloat16"}
    for name, spec, source in (("a-file", lost, "file mine.pth"), ("half", half, "pretrained")):
        folder = place.embeddings("mine", name) / spec_key(spec)
        with StoreWriter(folder, EMBEDDINGS, spec, {"weights_source": source}) as writer:
            writer.append(store.keys, store.read(np.arange(8)))
    checks = {check.found.partition(": not checked")[0]: check for check in check_stores(place, 2)}
    said = " ".join(check.found for check in checks.values())
    assert [check.state for check in checks.values()].count("note") == 3
    assert "not checked because another tool made it" in said
    assert "because its weights (file mine.pth, digest 00000000) are not at hand" in said
    assert "because a GPU computed it in bfloat16, and none is here" in said


def test_the_weights_of_a_file_are_found_where_they_were(place: Workspace, tmp_path: Path) -> None:
    import torch

    from frostline.extract.backbones.backbone import load_backbone

    file = tmp_path / "mine.pth"
    torch.save(load_backbone(TINY, weights="random", image_size=32).model.state_dict(), file)
    Face(place.root).extract("mine", TINY, weights=file, image_size=32)
    assert [check.state for check in check_stores(place, 2)] == ["ok", "ok"]
    file.unlink()
    assert sorted(check.state for check in check_stores(place, 2)) == ["note", "ok"]


def test_every_extra_but_those_for_developers_is_looked_for() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = set(parser["options.extras_require"])
    assert set(doctor.EXTRAS) == extras - {"test", "bench", "docs"}


def test_packages_that_lack_or_are_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["numpy>=1.26", "no-such-package>=2; extra == 'onnx'", "pandas>=99; extra == 'hub'"]
    monkeypatch.setattr(doctor, "requires", lambda name: needs)
    checks = {check.name: check for check in doctor.check_extras()}
    assert checks["onnx"].state == "note"
    assert checks["onnx"].line().endswith("→ pip install 'frostline[onnx]'")
    assert checks["hub"].state == "problem"
    assert "pandas>=99 is needed" in checks["hub"].found
    assert checks["xlsx"].state == "ok"
    assert len(list(doctor.check_installation())) == 1
    needs[0] = "numpy>=99"
    (_, numpy) = doctor.check_installation()
    assert (numpy.state, numpy.do) == ("problem", "pip install 'numpy>=99'")


def test_a_gpu_that_does_not_compute_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        (check, *_) = doctor.check_gpus()
        assert check.state == "ok", check.found
        return
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    (check,) = doctor.check_gpus()
    assert check.state == "problem"
    assert check.found.endswith("cannot use it")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (1, 2))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    (check,) = doctor.check_gpus()
    assert check.state == "problem"
    assert check.found.startswith("cuda:0 does not compute: ")


def test_a_place_that_cannot_be_written_is_a_problem() -> None:
    check = doctor.check_disk(Path("/proc/frostline-workspace"))
    assert check.state == "problem"
    assert check.found.startswith("/proc cannot be written: ")
