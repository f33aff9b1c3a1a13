"""What `frostline backbones` prints."""

from __future__ import annotations

import pytest

from frostline.cli import app
from frostline.extract.backbones.origins import list_backbones


def test_every_backbone_with_a_short_name_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    app(["backbones"], standalone_mode=False)
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    for known in list_backbones():
        row = rows[known.name]
        assert f"{known.parameters / 1e6:.1f} M" in row
        assert f" {known.dim} " in row
        assert ("at hand" in row) == known.at_hand
