"""What `frostline backbones` prints."""

from __future__ import annotations

import json

import pytest

from frostline.cli import app
from frostline.commands.data import _backbone_table
from frostline.extract.backbones.origins import list_backbones
from frostline.report.tables.writers.terminal import to_terminal


def test_every_backbone_of_the_list_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    app(["backbones"], standalone_mode=False)
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    for known in list_backbones():
        row = rows[known.name]
        if known.parameters:
            assert f"{known.parameters / 1e6:.1f} M" in row
        if known.dim:
            assert f" {known.dim} " in row
        assert ("at hand" in row) == known.at_hand
        assert row.rstrip().endswith(known.weights)


def test_one_of_them_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    app(["backbones", "hf:google/medsiglip-448"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert "Gated Log in to Hugging Face and accept the terms on its page" in said
    assert "Licence Health AI Developer Foundations terms of use" in said
    app(["backbones", "eva-x-b", "--format", "json"], standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out)
    assert found["loads"].startswith("in Python")
    assert found["pretrained_on"].startswith("NIH ChestX-ray14, CheXpert and MIMIC-CXR")
    assert found["dim"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_a_terminal(width: int) -> None:
    lines = to_terminal(_backbone_table(list_backbones(search="chest")), width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("MIMIC-CXR" in line for line in lines)
