"""The whole paper, dry: six data sets in their layouts, six backbones at their size, two tables."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import phantom_sets
import pytest
from phantom_sets import make_phantom_paper

from frostline.cache import Workspace, read_manifest
from frostline.study.file import read_study
from frostline.study.plan import study_cells
from frostline.study.runner import plan_study

from .conftest import command, environment

# One epoch, random weights, images of 112 pixels, slices with much tumour: what fits a small CPU.
SMALL = (
    "--set",
    "backbones.*.weights=random",
    "--set",
    "protocols.*.epochs=1",
    "--set",
    "protocols.*.image_size=112",
    "--set",
    "replicates=100",
    "--set",
    "device=cpu",
)
FEW_SLICES = ("--set", "datasets.*.options.min_roi=80")


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("study", "more"), [("paper-public", ()), ("paper-mri", FEW_SLICES)])
def test_a_table_of_the_paper_from_files_to_latex(
    tmp_path: Path, study: str, more: tuple[str, ...]
) -> None:
    make_phantom_paper(tmp_path / "data", share=0.0, scale=0.2)
    done = subprocess.run(
        command("run", study, "--data", "data", *SMALL, *more),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
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


@pytest.mark.parametrize("study", ["paper-public", "paper-mri", "standard", "sizes"])
def test_built_in_studies_find_the_layouts(
    tmp_path: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Depth is chosen on validation images: enough of them that every set has one.
    monkeypatch.setattr(phantom_sets, "LEAST", 10 if study == "standard" else 2)
    if study == "paper-mri":
        phantom_sets.make_phantom_sequences(tmp_path / "glioma", share=0.0)
    else:
        phantom_sets.make_phantom_chest(tmp_path / "chest_xray", share=0.0, scale=0.05)
        phantom_sets.make_phantom_amd(tmp_path / "amd", share=0.0, scale=0.05)
        phantom_sets.make_phantom_ham10000(tmp_path / "ham10000", share=0.0, scale=0.05)
    tiny = "backbones=[{name: 'timm:test_vit', weights: random}]"
    chosen = read_study(study, data=tmp_path, settings=[tiny, "device=cpu", "costs=false"])
    plan = plan_study(Workspace(tmp_path / "ws"), chosen)
    assert plan.failed == {}
    # With random weights, fine-tuned and from scratch are the same runs.
    if study == "standard":
        # Of random weights all is from scratch, and few patients have no seeds but repeats.
        assert {step.cell.name for step in plan.runs()} <= {one.name for one in study_cells(chosen)}
        assert {step.cell.step for step in plan.runs()} >= {"frozen", "depth", "depth:1", "depth:2"}
        assert {step.cell.dataset for step in plan.runs()} == set(chosen.datasets)
    else:
        protocols = [one for name, one in chosen.protocols.items() if name != "from scratch"]
        each = sum(len(one.seeds(chosen.seeds)) for one in protocols)
        assert len(plan.runs()) == len(chosen.datasets) * each
    if study == "paper-mri":
        tables = [
            read_manifest(tmp_path / f"ws/manifests/{name}.parquet").table
            for name in chosen.datasets
        ]
        parts = pd.concat(tables).groupby("group_id")["split"].nunique()
        assert (parts == 1).all(), "a patient is on both sides of the split"
