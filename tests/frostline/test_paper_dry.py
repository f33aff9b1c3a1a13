"""The whole paper, dry: six data sets in their layouts, six backbones at their size, two tables."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from frostline.extract.phantom_sets import make_phantom_paper
from frostline.study import read_study

from .conftest import command, environment

# One epoch, random weights, images of 112 pixels, slices with much tumour: what fits a small CPU.
SMALL = (
    "--set", "backbones.*.weights=random", "--set", "protocols.*.epochs=1",
    "--set", "protocols.*.image_size=112", "--set", "replicates=100", "--set", "device=cpu",
)  # fmt: skip
FEW_SLICES = ("--set", "datasets.*.options.min_roi=250")


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("study", "more"), [("paper-public", ()), ("paper-mri", FEW_SLICES)])
def test_a_table_of_the_paper_from_files_to_latex(
    tmp_path: Path, study: str, more: tuple[str, ...]
) -> None:
    make_phantom_paper(tmp_path / "data", share=0.0, scale=0.2)
    done = subprocess.run(
        command("run", study, "--data", "data", *SMALL, *more),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    report = tmp_path / "frostline-workspace" / "reports" / study
    table = (report / "tables" / "paper.tex").read_text()
    assert r"\toprule" in table
    rows = [line for line in table.splitlines() if " & Y & " in line or " & N & " in line]
    assert len(rows) == 36
    for entry in read_study(study).backbone_entries():
        mine = [line for line in rows if f"{entry.name} (" in line]
        assert [" & Y & " in line for line in mine].count(True) == len(mine) / 2 == 3
    found = json.loads((report / "provenance.json").read_text())
    runs = [step for step in found["steps"] if step["kind"] in ("probe", "finetune")]
    assert len(runs) == 36
    assert {step["state"] for step in runs} == {"done"}
    assert len(found["weights"]) == 6
