"""The notebooks run from their first cell to their last, and what they keep is what they give."""

from __future__ import annotations

import base64
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pandas as pd
import pytest

import frostline

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
LARGEST_FIGURE = 60_000  # bytes
LARGEST_NOTEBOOK = 100_000
# What each leaves in the folder that it runs in, and words among its outputs.
LEAVES = {
    "1_own_folder": ("frostline-workspace/reports/mine/index.html", "majority"),
    "2_frost_line": ("frostline-workspace/manifests/mine.parquet", "Read effnet-lite0 "),
    "3_paper_table": ("differences.tex", r"\begin{tabular}"),
}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def codes(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook: Any) -> list[list[str]]:
    """Of each cell of code, what kinds of output it has."""
    return [
        [one.output_type + "".join(sorted(one.get("data", {}))) for one in cell.outputs]
        for cell in codes(notebook)
    ]


def script() -> ModuleType:
    """`docs/notebooks/execute.py`, as a module."""
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing of a person's own Jupyter is read or written.
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = script().executed(path, tmp_path)
    # Numbers may differ from machine to machine; what there is may not.
    assert kinds(done) == kinds(read(path))
    left, words = LEAVES[path.stem]
    assert (tmp_path / left).is_file()
    assert words in "".join(str(cell.outputs) for cell in codes(done)).replace("\\\\", "\\")


def test_there_are_three() -> None:
    assert [path.stem for path in PATHS] == sorted(LEAVES)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_is_kept_is_small_and_says_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < LARGEST_NOTEBOOK
    assert not re.search(r"/(root|home|tmp|work|Users)/|stderr|Traceback", text)
    outputs = [one for cell in codes(read(path)) for one in cell.outputs]
    figures = [one.data["image/png"] for one in outputs if "image/png" in one.get("data", {})]
    assert figures
    assert all(len(base64.b64decode(figure)) < LARGEST_FIGURE for figure in figures)
    assert LEAVES[path.stem][1] in "".join(map(str, outputs)).replace("\\\\", "\\")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_first_cell_installs_where_frostline_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = codes(read(path))[0].source
    assert "%pip install" in first
    assert "://" not in first
    # %pip is IPython's: a call in its place tells whether it is reached.
    code = re.sub(r"%pip (.*)", r"asked.append('\1')", first)
    asked: list[str] = []
    exec(code, {"asked": asked})
    assert asked == []
    monkeypatch.setitem(sys.modules, "frostline", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(code, {"asked": asked})
    assert asked == ['install --quiet "frostline[demo]"']


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    for link in links:
        assert (FOLDER / link).is_file(), link


def test_tables_are_text_in_a_notebook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"image_id": list("abcd"), "group_id": list("abcd"), "label": list("xyxy")}
    runs = pd.DataFrame({**rows, "prediction": list("xyyy"), "split": "test"})
    wanted = repr(frostline.evaluate(runs))
    assert "majority" in wanted
    # What rich asks IPython for.
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert repr(frostline.evaluate(runs)) == wanted
