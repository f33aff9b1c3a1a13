"""`frostline extract --views` and heads on views, as commands and in Python."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import start_script

import frostline as face
from frostline.cache import InputError, Store, find_stores, read_manifest
from frostline.report import read_predictions

from .conftest import Run, environment, script
from .tiny_training import workspace

ROOT = Path(__file__).parents[2]
ON = ("--dataset", "set", "--backbone", "timm:test_vit")
EXTRACT = ("extract", *ON, "--weights", "random", "--image-size", "32", "--device", "cpu")
FLIPS = ("--set", "augmentation=horizontal_flip")
Out = Callable[..., str]


@pytest.fixture
def out(indexed: Run) -> Out:
    """Run a command that works, and give what it says."""

    def run(*arguments: object, code: int = 0) -> str:
        done = indexed(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def views(tmp_path: Path) -> list[Store]:
    return list(map(Store.open, find_stores(workspace(tmp_path).views("set", "timm:test_vit"))))


def rows(store: Store) -> dict[bytes, bytes]:
    values = store.read(store.distinct_rows())
    keys = store.keys[store.distinct_rows()]
    return {key.tobytes(): row.tobytes() for key, row in zip(keys, values, strict=True)}


def test_the_pages_commands_compare_a_head_and_fine_tuning_of_the_same_changes(
    out: Out, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "views.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    frostline (.*)$", page, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["extract", "probe", "finetune"]
    found = []
    for line in lines:
        words = shlex.split(line.replace("chest", "set").replace("effnet-lite0", "timm:test_vit"))
        if words[0] != "probe":
            words += ["--weights", "random", "--image-size", "32", "--device", "cpu"]
        found.append(out(*words))
    assert [int(number) for number in re.findall(r"View (\d): 28 distinct", found[0])] == [
        1,
        2,
        3,
        4,
    ]
    assert found[0].count("28 embedded now") == 4
    files = sorted(workspace(tmp_path).root.glob("predictions/*"))
    tables = [read_predictions(path) for path in files]
    metas = {one.meta["unfreeze"]: one.meta for one in tables}
    frozen, tuned = metas["none"]["views"], metas["all"]["hyperparameters"]
    for name in ("augmentation", "degrees"):
        assert frozen[name] == tuned[name]
    assert "logistic (4 views)" in out("evaluate", *files, "--replicates", 100, "--format", "json")


def test_a_killed_extraction_goes_on_with_the_same_views(
    indexed: Run, out: Out, tmp_path: Path
) -> None:
    words = (*EXTRACT, "--views", 3, *FLIPS, "--batch", 4)
    out(*words)
    whole = {store.key: rows(store) for store in views(tmp_path)}
    place = workspace(tmp_path)
    shutil.rmtree(place.root / "views")
    slowly = script(small_parts=True, slowly=True)
    process = start_script(slowly, list(map(str, words)), tmp_path, environment())
    while not list(place.root.glob("views/*/*/*/part-*.h5")):
        assert process.is_alive()
    process.kill()
    process.join()
    kept = {store.key: rows(store) for store in views(tmp_path)}
    assert 0 < sum(map(len, kept.values())) < 84
    said = out(*words)
    again = {store.key: rows(store) for store in views(tmp_path)}
    assert again == whole
    missing = max(28 - len(kept.get(key, {})) for key in whole)
    assert f"{missing} embedded now" in said
    assert out(*words).count("0 embedded now") == 4


def test_the_cache_looks_after_views(out: Out, tmp_path: Path) -> None:
    out(*EXTRACT, "--views", 2, *FLIPS, "--set", "degrees=10", "--batch", 4)
    shown = out("cache", "ls")
    assert shown.count("28 of 51") == 2
    assert "view 1 (seed 0, horizontal_fl" in shown
    first = views(tmp_path)[0]
    before = rows(first)
    # What is exported are images as they are: a row each.
    assert "Wrote 51 embeddings" in out("cache", "export", *ON, "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet").set_index("image_id")
    manifest = read_manifest(workspace(tmp_path).manifest("set"))
    (folder,) = find_stores(workspace(tmp_path).embeddings("set", "timm:test_vit"))
    plain = Store.open(folder)
    exported = np.stack(table.loc[manifest.table["image_id"], "embedding"])
    np.testing.assert_array_equal(exported, plain.read(plain.locate(manifest.keys())))
    assert "0 wrong" in out("cache", "verify", "--images")
    out("cache", "compact")
    trained = manifest.table.query("split == 'train'")
    for path in trained["path"].iloc[:3]:
        (tmp_path / "images" / path).unlink()
    out("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    assert out("cache", "gc", "--yes").count("3 of 28 rows") == 2
    left = rows(Store.open(first.folder))
    assert len(left) == 25
    assert left.items() <= before.items()
    part = next(first.folder.glob("part-*.h5"))
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    assert "1 damaged part" in out("cache", "verify", code=1)


def test_mistakes_are_a_sentence(out: Out) -> None:
    probe = ("probe", *ON, "--head", "logistic", "--views", 2)
    assert "--views needs something that changes images" in out(*EXTRACT, "--views", 2, code=2)
    said = out(*EXTRACT, "--views", 2, "--set", "degree=2", code=2)
    assert "An augmentation has no field 'degree'" in said
    said = out(*EXTRACT, "--views", 2, "--set", "degrees=much", code=2)
    assert "--set degrees must be a valid number" in said
    assert "--set is FIELD=VALUE" in out(*EXTRACT, "--views", 2, "--set", "degrees", code=2)
    assert "is given twice" in out(
        *EXTRACT, "--views", 2, "--set", "degrees=1", "--set", "degrees=2", code=2
    )
    assert "is for --views" in out(*EXTRACT, "--seed", 2, code=2)
    assert "no column 'fold'" in out(*EXTRACT, "--views", 1, *FLIPS, "--split", "fold", code=2)
    assert "random_crop" in out(*EXTRACT, "--views", 1, "--set", "augmentation=random", code=2)
    out(*EXTRACT)
    assert "have no views: run `frostline extract`" in out(*probe, code=2)
    out(*EXTRACT, "--views", 1, *FLIPS)
    assert "view 2 of 2 is not there" in out(*probe, code=2)


def test_views_in_python(tmp_path: Path, indexed: Run) -> None:
    ws = face.Workspace(tmp_path / "frostline-workspace", machine=face.Machine("cpu"))
    network = face.Network("timm:test_vit", "random", image_size=32)
    store = ws.extract("set", network, views=2, augmentation=["horizontal_flip"], degrees=5, seed=3)
    assert len(store.keys) == 51
    X, _, _ = store.arrays("train")
    assert len(X) == 28  # images as they are
    assert [one.spec["view"]["seed"] for one in views(tmp_path)] == [3, 3]
    plain = ws.probe("set", network, "logistic", hyperparameters={"C": 1.0})
    viewed = ws.probe("set", network, "logistic", hyperparameters={"C": 1.0}, views=2)
    assert plain.id != viewed.id
    assert viewed.predictions.meta["views"]["degrees"] == 5.0
    fields = {"datasets": "set", "backbones": "timm:test_vit", "heads": {"logistic": {"C": 1.0}}}
    found = ws.sweep(**fields, views=2, jobs=1)
    assert [run.id for run in found.runs] == [viewed.id]
    for wrong, words in (
        ({"views": -1}, "views must be a whole number from 0 to 256, not -1"),
        ({"views": True}, "views must be a whole number"),
        ({"views": 2}, "^views needs something that changes images"),
        ({"views": 2, "degree": 5}, "An augmentation has no field 'degree'"),
        ({"views": 2, "degrees": 5, "views_of": "val"}, "views_of must be train or all, not 'val'"),
        ({"degrees": 5}, "is for views: give it too"),
    ):
        with pytest.raises(InputError, match=words):
            ws.extract("set", network, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="views_key must be text, not 5"):
        ws.probe("set", network, "logistic", views=1, views_key=5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="views must be a whole number"):
        ws.probe("set", network, "logistic", views="2")  # type: ignore[arg-type]
