"""What other systems lack or take for the same: simulated here, where neither is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frostline
from frostline import InputError
from frostline.cache import (
    EMBEDDINGS,
    Workspace,
    atomic_write,
    read_manifest,
    spec_key,
    write_manifest,
)
from frostline.cache.imports import import_embeddings
from frostline.cache.stores import rows
from frostline.cache.stores.store import Store
from frostline.cache.stores.writer import StoreWriter
from frostline.cache.tables.matching import match_images

from .conftest import environment, make_images

# What Python has on Linux and not on Windows, where processes do not fork either.
BARE = """
import multiprocessing, os, sys
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios")))
for name in ("fork", "forkpty", "preadv", "pread", "sched_getaffinity", "sysconf", "getuid"):
    delattr(os, name)
multiprocessing.set_start_method("spawn")
"""
IMPORTS = """
import importlib, pkgutil, frostline
for module in pkgutil.walk_packages(frostline.__path__, "frostline."):
    if module.name not in ("frostline.__main__",) and not module.name.endswith("tracking.wandb"):
        importlib.import_module(module.name)
        count = globals().get("count", 0) + 1
print(count)
"""
COMMANDS = """
from frostline.cli import main
for line in sys.argv[1].splitlines():
    sys.argv = ["frostline", *line.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
TINY = "-d set -b timm:test_vit --weights random --image-size 32"
LINES = f"""index set --root images --group-pattern (patient[0-9]+)
extract {TINY} --workers 2
probe -d set -b timm:test_vit --head knn
sweep -d set -b timm:test_vit --head logistic --grid logistic.C=0.1,1 --name s --jobs 2
finetune {TINY} --unfreeze 1 --epochs 1"""


def bare(script: str, *arguments: str, folder: Path) -> str:
    """What a process of its own prints in which those parts of Python are gone."""
    done = subprocess.run(
        [sys.executable, "-c", BARE + script, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_all_modules_import_without_those_of_posix(tmp_path: Path) -> None:
    assert int(bare(IMPORTS, folder=tmp_path)) > 200


@pytest.mark.slow
def test_commands_run_without_what_windows_lacks(tmp_path: Path) -> None:
    # Enough images that processes would decode them, were there a fork.
    make_images(tmp_path / "images", 80)
    bare(COMMANDS, LINES, folder=tmp_path)
    place = frostline.Workspace(tmp_path / "frostline-workspace")
    runs = sorted((place.folder / "predictions").iterdir())
    frostline.evaluate(runs)
    # The same keys and numbers as here: nothing was decoded or read in another way.
    before = pd.read_parquet(next(run for run in runs if "knn" in run.name))
    again = frostline.Workspace(tmp_path / "again")
    again.index("set", tmp_path / "images", group_pattern="(patient[0-9]+)")
    again.extract("set", "timm:test_vit", weights="random", image_size=32)
    now = again.probe("set", "timm:test_vit", "knn")
    assert now.path.name in {run.name for run in runs}
    pd.testing.assert_frame_equal(pd.read_parquet(now.path), before)
    # Nothing of what is on disk has a name that Windows cannot have.
    for path in place.folder.rglob("*"):
        assert not set('<>:"\\|?*') & set(path.name), path
        assert path.name[-1] not in ". "


def test_rows_are_read_in_turns_where_no_read_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = np.random.default_rng(0).integers(0, 256, (20_000, 16), dtype=np.uint8)
    values = np.random.default_rng(1).normal(size=(20_000, 64)).astype(np.float32)
    folder = tmp_path / spec_key({"a": 1})
    with StoreWriter(folder, EMBEDDINGS, {"a": 1}, {}) as writer:
        writer.append(keys, values)
    monkeypatch.delattr(os, "preadv")
    assert rows.THREADS > 1
    store = Store.open(folder)
    np.testing.assert_array_equal(store.keys, keys)
    np.testing.assert_array_equal(store.read(np.arange(20_000)), values)


def test_a_file_is_written_whole_without_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.cache.atomic.fcntl", None)
    opened: list[int] = []
    replace = Path.replace
    # Windows renames no file that is open, and makes no file that is there already.
    monkeypatch.setattr(
        Path, "replace", lambda *two: (opened.extend(_open_files(two[0])), replace(*two))[1]
    )
    for text in ("one", "two"):
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text(text)
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("three")
        _ = 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"
    assert opened == []


def _open_files(path: Path) -> list[int]:
    """Which of this process's descriptors are of the file."""
    there = (link for link in Path("/proc/self/fd").iterdir() if link.exists())
    return [int(link.name) for link in there if link.resolve() == path]


def test_names_that_another_system_cannot_keep_are_refused(tmp_path: Path) -> None:
    place = frostline.Workspace(tmp_path / "ws")
    images = make_images(tmp_path / "images", 24)
    place.index("Chest", images)
    place.index("Chest", images)
    for name, why in (
        ("chest", "'Chest' is there, and Windows and macOS take both for one; use that one, or "),
        ("nul", "Windows can have no file of this name: choose another."),
        ("Com1.old", "Windows can have no file of this name: choose another."),
        ("chest.", "Windows can have no file of this name: choose another."),
    ):
        with pytest.raises(InputError, match=f"'{name}' cannot be a name.*{why}"):
            place.index(name, images)
    assert [path.name for path in (tmp_path / "ws/manifests").iterdir()] == ["Chest.parquet"]
    vectors = tmp_path / "v.npz"
    ids = read_manifest(place.folder / "manifests/Chest.parquet").table["image_id"]
    np.savez(vectors, image_id=ids.to_numpy(str), X=np.eye(24))
    import_embeddings(Workspace(place.folder), "Chest", "Mine", vectors)
    with pytest.raises(InputError, match="'mine' cannot be a name: 'Mine' is there"):
        import_embeddings(Workspace(place.folder), "Chest", "mine", vectors)


def test_what_an_earlier_release_called_so_is_still_read(tmp_path: Path) -> None:
    place = frostline.Workspace(tmp_path / "ws")
    place.index("set", make_images(tmp_path / "images", 24))
    made = tmp_path / "ws/manifests"
    for name in ("nul", "Set"):
        (made / f"{name}.parquet").write_bytes((made / "set.parquet").read_bytes())
        place.index(name, tmp_path / "images")


def test_a_table_of_windows_names_the_same_images(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 24)
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    found = {}
    for mark in "/\\":
        table = tmp_path / f"{ord(mark)}.csv"
        rows_of = [f"{name.replace('/', mark)},{name.split('/')[0]}" for name in names]
        table.write_text("\n".join(["image,label", *rows_of]))
        place = frostline.Workspace(tmp_path / f"ws{ord(mark)}")
        options = {"table": str(table), "image_column": "image", "label_column": "label"}
        place.index("set", images, kind="table", options=options)
        table_now = read_manifest(place.folder / "manifests/set.parquet").table
        found[mark] = table_now.drop(columns="image")
    pd.testing.assert_frame_equal(found["/"], found["\\"])
    theirs = pd.Series([name.replace("/", "\\") for name in names])
    assert list(match_images(theirs, names, "t.csv", "set").ids) == names


def test_a_file_in_two_spellings_is_refused(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 4)
    first = images / "well/patient000_0.png"
    # As on a file system that takes both names for one: they are the same file.
    os.link(first, first.with_name("Patient000_0.PNG"))
    table = tmp_path / "t.csv"
    table.write_text("image,label\nwell/patient000_0.png,a\nwell/Patient000_0.PNG,b\n")
    options = {"table": str(table), "image_column": "image", "label_column": "label"}
    with pytest.raises(InputError) as caught:
        frostline.Workspace(tmp_path / "ws").index("set", images, kind="table", options=options)
    assert str(caught.value) == (
        f"{table}, row 3: well/Patient000_0.PNG is the file well/patient000_0.png of row 2; write "
        "each file's name in one way."
    )


def test_a_workspace_of_windows_goes_on_with_the_folder_of_here(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 24)
    place = frostline.Workspace(tmp_path / "ws")
    place.index("set", images)
    place.extract("set", "timm:test_vit", weights="random", image_size=32)
    path = place.folder / "manifests/set.parquet"
    before = read_manifest(path)
    before.meta["roots"] = [r"C:\data\images"]
    write_manifest(path, before)
    # What was embedded there is of these images, wherever they lie.
    place.probe("set", "timm:test_vit", "knn")
    place.index("set", images)
    now = read_manifest(path)
    pd.testing.assert_frame_equal(now.table, before.table)
    before.table["path"] = [f"..\\{name}" for name in before.table["path"]]
    with pytest.raises(InputError, match="leaves its root"):
        write_manifest(path, before)
