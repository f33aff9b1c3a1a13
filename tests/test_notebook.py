"""The notebook runs from its first cell to its last."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAME = "from_images_to_a_figure.ipynb"


@pytest.mark.slow
def test_the_notebook_ends_with_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing of a person's own Jupyter is read or written.
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in (NAME, "draw_images.py"):
        shutil.copy(DOCS / name, tmp_path)
    notebook = nbformat.read(tmp_path / NAME, as_version=4)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert all("image/png" in str(cell) for cell in (outputs[3], outputs[-1]))
    assert "majority" in str(outputs[5])
    assert (tmp_path / "accuracy.pdf").read_bytes().startswith(b"%PDF")


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(DOCS / NAME, as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells)
