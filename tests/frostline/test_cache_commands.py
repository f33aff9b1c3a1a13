"""`frostline cache …` in real processes, on a store that real commands made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .conftest import Run, environment, make_images

TINY = ("--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32")
ON = ("--dataset", "set", "--backbone", "timm:test_vit")


def test_the_life_of_a_cache(tmp_path: Path, frostline: Run) -> None:
    def out(*arguments: object, code: int = 0, **options: bool) -> str:
        done = frostline(*arguments, **options)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    make_images(tmp_path / "images", 24)
    out("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    extract = ("extract", "--dataset", "set", *TINY, "--batch", "4", "--device", "cpu")
    several = out(*extract, "--feature", "cls", "--feature", "mean", small_parts=True)
    assert several.count("24 embedded now") == 2
    listed = json.loads(out("cache", "ls", "--json"))
    assert [(row["kind"], row["needed"], row["wanted"]) for row in listed] == [
        ("pixels", 24, 24),
        ("embeddings", 24, 24),
        ("embeddings", 24, 24),
    ]
    shown = out("cache", "ls")
    assert "24 of 24" in shown
    assert listed[0]["key"][:12] in shown  # whole: it is what --key takes
    assert " parts became 1." in out("cache", "compact", "--dataset", "set")
    assert "0 damaged parts" in out("cache", "verify")
    assert "24 reused" in out(*extract, "--feature", "cls")
    assert "choose one by --key" in out("cache", "export", *ON, "x.npz", code=2)
    key = next(row["key"] for row in listed if row.get("spec", {}).get("feature") == "mean")
    assert "Wrote 24 embeddings" in out("cache", "export", *ON, "--key", key, "x.parquet")
    assert len(np.stack(pd.read_parquet(tmp_path / "x.parquet")["embedding"])) == 24
    (tmp_path / "spec.json").write_text('{"tool": "theirs"}')
    given = ("x.parquet", "-d", "set", "-b", "theirs", "--spec", "spec.json")
    assert "Imported 24 embeddings; skipped 0 rows" in out("cache", "import", *given)
    for image in sorted((tmp_path / "images").rglob("*.png"))[:6]:
        image.unlink()
    out("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    shown = out("cache", "gc")
    assert (shown.count("6 of 24 rows"), "--yes deletes this" in shown) == (4, True)
    assert out("cache", "gc", "--yes").count("deleted") == 4
    assert "There is nothing to delete." in out("cache", "gc")
    (tmp_path / "frostline-workspace" / "manifests" / "set.parquet").unlink()
    assert "is left as it is: There is no data set 'set'" in out("cache", "gc", "--yes", code=1)
    assert json.loads(out("cache", "ls", "--json"))[0]["rows"] == 18


@pytest.mark.slow
def test_torchrun_ranks_are_shards(tmp_path: Path, frostline: Run) -> None:
    make_images(tmp_path / "images", 12)
    assert frostline("index", "set", "--root", "images").returncode == 0
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "frostline")
    extract = ("extract", "--dataset", "set", *TINY, "--device", "cpu")
    done = subprocess.run(
        [sys.executable, *launcher, *extract],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shares = [int(line.split()[0]) for line in done.stdout.splitlines() if "distinct" in line]
    assert (len(shares), sum(shares), min(shares) > 0) == (2, 12, True)
    assert "12 distinct images: 0 embedded now" in frostline(*extract).stdout
