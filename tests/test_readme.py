"""README prints what the demo prints: to the digit, of all that is not trained."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shown() -> list[str]:
    """What README shows of the demo, whose block has a marker."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- not run: what the demo prints -->\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def frozen(lines: list[str]) -> list[str]:
    """The sentence that says where to read, and the rows of reading; what is chosen included."""
    text = " ".join(" ".join(lines).split())
    (sentence,) = re.findall(r"Read effnet-lite0 .*?\]\.", text)
    rows = [" ".join(line.split()) for line in lines if "●" in line and "read here" not in line]
    return [sentence, *rows]


@pytest.mark.slow
def test_readme_shows_what_the_demo_prints() -> None:
    folder = os.environ.get("FROSTLINE_DEMO")
    if not folder:
        pytest.skip("FROSTLINE_DEMO names no folder of the demo: .ci/run runs this")
    answer = Path(folder) / "reports" / "demo" / "answer.txt"
    printed = answer.read_text(encoding="utf-8").splitlines()
    assert len(frozen(printed)) == 9
    assert frozen(shown()) == frozen(printed)
