"""Real commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import MAIN, run_script

from .tiny_training import make_stripes

# Small parts, so that a few images make many of them.
SMALL = 4096
PREAMBLE = f"import frostline.cache.stores.writer as w; w.PART_BYTES = {SMALL}; "
# A slow disk, so that there is time to stop a command in the middle; and Ctrl-C heard, which a
# shell that runs the tests in the background has its children ignore.
SLOWLY = (
    "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "append = w.StoreWriter.append; "
    "w.StoreWriter.append = lambda *rows: (time.sleep(0.03), append(*rows))[1]; "
)

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object, small_parts: bool = False, slowly: bool = False) -> list[str]:
    """The command line of `frostline ARGUMENTS` as a list."""
    return [sys.executable, "-c", script(small_parts, slowly), *map(str, arguments)]


def script(small_parts: bool = False, slowly: bool = False) -> str:
    """What `python -c` runs for `frostline`."""
    return (PREAMBLE if small_parts or slowly else "") + (SLOWLY if slowly else "") + MAIN


def environment() -> dict[str, str]:
    """This environment without what would find other weights or a wide terminal."""
    return {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def frostline(tmp_path: Path) -> Run:
    """Run `frostline ARGUMENTS` in an empty folder, in a process of its own, and wait for it.

    With `fresh` the process imports everything itself: libraries read some variables of the
    environment only then.
    """

    def run(
        *arguments: object, fresh: bool = False, **options: bool
    ) -> subprocess.CompletedProcess[str]:
        words = [*map(str, arguments)]
        if fresh:
            return subprocess.run(
                command(*words, **options),
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
        return run_script(script(**options), words, tmp_path, environment())

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield place
    # Lazily: this process may have files of it open.
    subprocess.run(["umount", "-l", str(place)], check=True)


def make_images(root: Path, count: int, size: int = 32) -> Path:
    """Two class folders of noise, one patient for every two images."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = "sick" if number // 2 % 2 else "well"
        path = root / label / f"patient{number // 2:03d}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        pixels[..., 0] //= 1 + (label == "sick")
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture
def indexed(tmp_path: Path, frostline: Run) -> Run:
    """A data set `set` of 51 images: 28 train, 7 validate and 16 test."""
    make_stripes(tmp_path / "images", 51)
    done = frostline("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    assert done.returncode == 0, done.stderr
    return frostline
