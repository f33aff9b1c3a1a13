"""Run the notebooks and keep their outputs: `python docs/notebooks/execute.py`, from a clone.

Bars, warnings and what is said on the way are left out: what a cell gives or draws is kept.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parent


def executed(path: Path, folder: Path) -> Any:
    """Run a notebook from its first cell to its last in a folder; give it with its outputs."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook,
        timeout=280,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if _is_result(one)]
    return notebook


def _is_result(output: Any) -> bool:
    if output.output_type == "display_data":
        return "image/png" in output.data
    return output.get("name") != "stderr"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)  # type: ignore[no-untyped-call]
        print(path.name)
