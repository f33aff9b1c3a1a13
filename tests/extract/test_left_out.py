"""What is left out is counted, and a folder is walked to its end, whatever lies in it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from frostline.audits import audit_datasets
from frostline.cache import InputError, Manifest, Workspace
from frostline.cli import app
from frostline.extract.audit.audit import audit
from frostline.extract.index import index_dataset

RNG = np.random.default_rng(5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of five images."""
    for label in "ab":
        for number in range(5):
            draw(tmp_path / f"root/{label}/{number}.png")
    return tmp_path / "root"


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (9, 8), dtype=np.uint8)).save(path)


def index(root: Path, **options: str) -> Manifest:
    return index_dataset(Workspace(root.parent / "workspace"), "set", roots=[root], **options)  # type: ignore[arg-type]


def counts(manifest: Manifest) -> dict[str, int]:
    return {reason: entry["count"] for reason, entry in manifest.meta["left_out"].items()}


def test_the_flow_of_cases_is_in_the_output_and_in_the_audit(root: Path) -> None:
    for number in range(20):
        for suffix in ("gif", "jp2", "dcm"):
            (root / f"a/x{number:02d}.{suffix}").write_bytes(b"x")
    (root / "a/4.png").write_bytes(b"")
    place = ("--workspace", str(root.parent / "workspace"))
    for command in (["index", "set", "--root", str(root)], ["audit", "set"]):
        shown = " ".join(CliRunner().invoke(app, [*command, *place]).output.split())
        flow_shown = "Flow of cases step what count examples found files 70 left out" in shown
        assert flow_shown == (command[0] == "audit")
        assert (
            "note: Left out: 20 files named *.dcm (a/x00.dcm, a/x01.dcm, a/x02.dcm, …); 20 files "
            "named *.gif (a/x00.gif, a/x01.gif, a/x02.gif, …); 20 files named *.jp2 (" in shown
        )
    flow = audit(index(root)).flow
    assert flow[["step", "what", "count"]].values.tolist()[:7] == [
        ["found", "files", 70],
        ["left out", "files named *.dcm", 20],
        ["left out", "files named *.gif", 20],
        ["left out", "files named *.jp2", 20],
        ["in the manifest", "images", 10],
        ["unusable", "images that cannot be read", 1],
        ["kept", "images", 9],
    ]
    assert flow["count"].iloc[7:].sum() == 9  # by split
    shown = audit_datasets(Workspace(root.parent / "workspace"), ["set"])["set"]  # on the page
    assert shown.flagged["Flow of cases"].equals(flow)


def test_a_folder_of_one_class_stops(root: Path) -> None:
    for path in (root / "b").iterdir():
        path.unlink()
    with pytest.raises(InputError) as caught:
        index(root)
    assert str(caught.value).startswith(
        f"All 5 images under {root} are of one class, 'a': give the folder that holds one folder "
    )
    assert not Workspace(root.parent / "workspace").manifest("set").exists()


@pytest.mark.timeout(20)
def test_real_folders_are_entered_once(root: Path) -> None:
    (root / "a/up").symlink_to("..")
    (root / "a/self").symlink_to(".")
    (root / "b/self").symlink_to(".")
    (root / "b/other").symlink_to("../a")
    draw(root.parent / "elsewhere/deep/5.png")
    (root.parent / "elsewhere/back").symlink_to(root)
    (root.parent / "elsewhere/round").symlink_to(".")
    (root / "b/linked").symlink_to(root.parent / "elsewhere")
    (root / "b/twice").symlink_to(root.parent / "elsewhere/deep")
    manifest = index(root)
    assert len(manifest) == 11
    assert "b/linked/deep/5.png" in set(manifest.table["path"])
    assert counts(manifest) == {"links to folders under another name": 7}


@pytest.mark.timeout(20)
def test_only_regular_files_are_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "a")  # the name of a socket is short
    os.mkfifo("pipe.png")
    os.mkfifo("pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket.png")
    (root / "a/gone.png").symlink_to("nowhere.png")
    (root / "a/ring.png").symlink_to("ring.png")
    (root / "b/device.png").symlink_to("/dev/zero")
    expected = {"links to nothing": 2, "items of another kind (pipe, socket, device)": 4}
    manifest = index(root)
    listening.close()
    assert len(manifest) == 10
    assert counts(manifest) == expected
    with pytest.raises(InputError, match="There is no DICOM image under"):
        index(root, kind="dicom")


@pytest.mark.timeout(60)
def test_a_pattern_without_an_end_is_refused(root: Path) -> None:
    draw(root / f"a/{'a' * 40}b.png")
    draw(root / f"a/{'x' * 40}.png")
    with pytest.raises(InputError) as caught:
        index(root, group_pattern=r"(a|aa|x|xx)+$")
    assert str(caught.value) == (
        f"--group-pattern '(a|aa|x|xx)+$' takes too long on {'a' * 40}b.png: write it without a "
        "repetition inside of a repetition, such as 'patient[0-9]+'."
    )
